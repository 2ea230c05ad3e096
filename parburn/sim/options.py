"""The command line of `parburn sim`. Imports nothing of the rig."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from parburn.printable import printable

if TYPE_CHECKING:
    from _typeshed import SupportsWrite


class _Parser(argparse.ArgumentParser):
    """An ArgumentParser that repeats what was typed without what would steer a terminal."""

    def _print_message(self, message: str, file: SupportsWrite[str] | None = None) -> None:
        super()._print_message(printable(message), file)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return what was asked for. Bad words end the process with code 2, as argparse does."""
    parser = _Parser(
        prog="parburn sim", description="Simulated boards on pseudo-terminals, to play with and to test on."
    )
    parser.add_argument("--chip", help="chip of the boards, or a mix: CHIP:3,OTHER:2")
    parser.add_argument("--count", type=int, help="number of boards (default 1)")
    parser.add_argument(
        "--from-token",
        action="append",
        default=[],
        metavar="TOKEN",
        help="instead of --chip: a board as an EFSR token says it (`parburn --token` prints them); again for "
        "more boards. With one token and --count, the boards after the first have a MAC address of their own",
    )
    parser.add_argument("--dir", type=Path, help="folder for the links ttyUSB0, ttyUSB1, ...")
    parser.add_argument("--state", type=Path, help="folder for the boards' files (default: DIR/state)")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="for new boards: coding=3/4, revision=0.3, crystal=26, or FIELD=VALUE",
    )
    parser.add_argument(
        "--baud-limit", type=int, default=0, metavar="N", help="pace the line: at most N baud"
    )
    parser.add_argument(
        "--usb-latency-ms", type=float, default=0.0, metavar="N", help="answers arrive in USB frames of N ms"
    )
    parser.add_argument(
        "--stay-powered", action="store_true", help="closing a port does not switch the board off and on"
    )
    parser.add_argument(
        "--fault", action="append", default=[], metavar="SENTENCE", help="what goes wrong, in words"
    )
    parser.add_argument("--seed", type=int, help="draw MAC addresses and random faults from this number")
    parser.add_argument(
        "--with-parent", action="store_true", help="end when the process that started us ends"
    )
    parser.add_argument("--show", type=Path, metavar="FILE", help="print the file of a board, and end")
    add_sockets(parser)
    given = parser.parse_args(argv)
    if given.chip and given.from_token:
        parser.error("--chip and --from-token do not go together: a token names its chip")
    if not given.show and not ((given.chip or given.from_token) and given.dir):
        parser.error("--chip (or --from-token) and --dir are needed (or --show FILE)")
    if not given.control and (given.empty or given.bridges):
        parser.error("--empty and --bridges go with --control, which puts boards in and takes them out")
    if not given.lines and (given.presence or given.strapped):
        parser.error("--presence and --strapped go with --lines")
    return given


def add_sockets(parser: argparse.ArgumentParser) -> None:
    """Add what makes sockets of the ports: boards that come and go, and lines that move."""
    sockets = parser.add_argument_group(
        "sockets",
        "Boards that come and go. Each command is one line and gets one: `ok ...` or `error SENTENCE`. "
        "`help` tells the commands. SOCKET is ttyUSB3 or 3.",
    )
    sockets.add_argument(
        "--control",
        metavar="PATH|-",
        help="take commands on a Unix socket, or on standard input (whose end ends the simulator)",
    )
    sockets.add_argument("--empty", action="store_true", help="no board is in at the start")
    sockets.add_argument(
        "--bridges", action="store_true", help="the ports stay when boards go: adapters that are fixed"
    )
    sockets.add_argument(
        "--lines",
        action="store_true",
        help="the ports have DTR and RTS, with the usual circuit for reset and boot pin; closing a port does "
        "not switch its board off. See parburn/sim/line_pins.py",
    )
    sockets.add_argument(
        "--strapped",
        action="store_true",
        help="with --lines: boot pins are soldered low; a reset only resets",
    )
    sockets.add_argument(
        "--presence", choices=["cts"], help="with --lines: CTS shows that a board is in the socket"
    )
    sockets.add_argument(
        "--cut-pulses",
        action="store_true",
        help="a board that is taken out or reset while it burns has only a part of the bits",
    )
    sockets.add_argument(
        "--witness", type=Path, metavar="FILE", help="append each line move and each burn as a JSON line"
    )
