"""The options of `parburn slots`. It checks no file and imports nothing heavy."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

LEARN = (
    "Learn which socket of a rig is which: you are asked for a board in each, and the file is written at "
    "the end, all of it or nothing. s leaves a socket out, q says that it was all, Ctrl-C writes nothing. "
    "No port is opened, unless two come together: then the chips behind them are identified. Burns nothing."
)
CHECK = (
    "Identify the chip in each socket, as at the start of a shift: node, driver, latency timer, MAC address, "
    "and whether all are distinct; how full the USB controllers are. Exit 0: all well; 1: some are not. "
    "Burns nothing."
)
SHOW = "Show the sockets of a slots file, and what is in them now. Opens no port."


def add_slots(parser: argparse.ArgumentParser) -> None:
    """Give the parser of `parburn slots` its options."""
    parser.description = "The sockets of a rig, by name: learn, check and show them."
    actions = parser.add_subparsers(
        dest="slots_command", metavar="ACTION", required=True, prog="parburn slots"
    )

    def action(name: str, text: str) -> Callable[..., argparse.Action]:
        sub = actions.add_parser(name, help=text.partition(".")[0].partition(":")[0], description=text)
        sub.add_argument("file", type=Path, metavar="FILE", help="the slots file, as rig7.slots.toml")

        def add(*names: str, **options: Any) -> argparse.Action:
            return sub.add_argument(*names, **options)

        add("--debug", action="store_true", default=argparse.SUPPRESS, help="tracebacks")
        return add

    learn = action("learn", LEARN)
    learn("--names", metavar="A1-A8,B1", help="names of the slots, in the order in which you are asked "
          "(default: A1, A2, .. until q)")  # fmt: skip
    learn("--add", action="store_true", help="add to the file, or learn slots of it anew")
    learn(
        "--folder",
        type=Path,
        metavar="DIR",
        help="take the ttys in DIR instead of those on USB: simulated boards",
    )
    _before(learn)
    check = action("check", CHECK)
    check("--json", action="store_true", default=argparse.SUPPRESS, help="one JSON object a line")
    _before(check)
    show = action("show", SHOW)
    show("--json", action="store_true", default=argparse.SUPPRESS, help="one JSON object a line")
    show(
        "--ledger",
        type=Path,
        metavar="FILE",
        help="add what each socket has done at stations with this ledger",
    )


def _before(add: Callable[..., argparse.Action]) -> None:
    from parburn.job import BEFORE_MODES  # here: only these commands need it

    add("--before", type=_dashed, choices=BEFORE_MODES, default=argparse.SUPPRESS,
        help="how to reach the ROM loader")  # fmt: skip


def _dashed(text: str) -> str:
    return text.replace("_", "-")  # as everywhere: esptool 4.x wrote default_reset
