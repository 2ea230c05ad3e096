"""The rig: many simulated boards on pseudo-terminals, served by one loop. `parburn sim` starts here.

The loop sleeps until bytes come or until a board says that something of its is due; nothing is polled.
"""

from __future__ import annotations

import argparse
import heapq
import os
import random
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from parburn.errors import ParburnError, UsageError
from parburn.printable import printable
from parburn.sim.board import BOOT_S, SimulatedBoard
from parburn.sim.factory import Product
from parburn.sim.fault import Fault
from parburn.sim.faults import parse_faults
from parburn.sim.pty_port import PtyPort
from parburn.sim.state_file import BoardFile, describe, open_board, read_board
from parburn.sim.token_board import BoardToken, product_of, read_token

if TYPE_CHECKING:
    from _typeshed import SupportsWrite

_EDGE = select.EPOLLIN | select.EPOLLHUP | select.EPOLLET
_NEVER = float("inf")


class Rig:
    """Ports, one loop, and the files of their boards."""

    def __init__(
        self,
        ports: Sequence[PtyPort],
        *,
        stay_powered: bool,
        new_board: Callable[[SimulatedBoard], SimulatedBoard],
    ) -> None:
        """Take the ports; `open` puts the boards on them.

        Args:
            ports: The ports with their boards.
            stay_powered: See `SimulatedBoard.give_faults`.
            new_board: Makes the board that a fault puts in another's place.
        """
        self.ports = list(ports)
        self.new_board = new_board
        self.stay_powered = stay_powered
        self._epoll = select.epoll()
        self._by_fd: dict[int, PtyPort] = {}
        self._due: list[tuple[float, int, PtyPort]] = []
        self._stops: set[int] = set()
        self._events: list[tuple[int, int]] = []

    def open(self) -> None:
        """Put every board on its port."""
        for port in self.ports:
            self._plug_in(port)

    def close(self) -> None:
        """Take every port away."""
        for port in self.ports:
            port.close()
        self._epoll.close()

    def stop_on(self, fd: int) -> None:
        """Let `serve` return when this descriptor becomes readable."""
        self._stops.add(fd)
        self._epoll.register(fd, select.EPOLLIN)

    def serve(self) -> None:
        """Serve until a descriptor given to `stop_on` becomes readable."""
        while True:
            wait_s = max(0.0, self._due[0][0] - time.monotonic()) if self._due else None
            select.select([self._epoll], [], [], 0.0 if self._events else wait_s)
            self._events += self._epoll.poll(0)
            if self._handle_events():
                return
            self._run_due()

    def serve_pending(self) -> None:
        """Handle what has come, without waiting for more."""
        self._events += self._epoll.poll(0)
        while self._handle_events():
            pass
        self._run_due()

    def _handle_events(self) -> bool:
        """Handle events up to the first that asks us to stop; return whether there was one."""
        while self._events:
            fd, event = self._events.pop(0)
            if fd in self._stops:
                return True
            port = self._by_fd.get(fd)
            if port is not None:
                self._on_event(port, event)
        return False

    def _plug_in(self, port: PtyPort) -> None:
        port.open()
        self._by_fd[port.master] = port
        self._epoll.register(port.master, _EDGE)
        self._forget_hang_up(port)

    def _forget_hang_up(self, port: PtyPort) -> None:
        """Take out the event of our own opening of this port, and keep all others."""
        for fd, event in self._epoll.poll(0):
            self._events.append((fd, event & ~select.EPOLLHUP if fd == port.master else event))

    def _unplug(self, port: PtyPort) -> None:
        del self._by_fd[port.master]
        port.close()

    def _on_event(self, port: PtyPort, event: int) -> None:
        now = time.monotonic()
        data = port.read() if event & select.EPOLLIN else b""
        if data:
            port.attached = True
            port.board.receive(data, now, port.host_baud())
        if event & select.EPOLLHUP:
            self._on_hang_up(port, now)
        self._attend(port, now)

    def _on_hang_up(self, port: PtyPort, now: float) -> None:
        if port.attached and not self.stay_powered:
            port.board.power_cycle(now)
        port.attached = False
        if port.sweep():
            self._forget_hang_up(port)
        else:
            self._unplug(port)
            self._plug_in(port)

    def _attend(self, port: PtyPort, now: float) -> None:
        """Bring a board up to now, hand over what it has to say, and note when it wants to be seen again."""
        board = port.board
        board.advance(now)
        port.write(board.take_output(now))
        if board.unplugged and port.master >= 0:
            self._vanish(port, now)
        elif board.swapped:
            board = self._swap(port, now)
        wake_at = min(board.next_event(), port.comes_back_at)
        if wake_at != port.wake_at:
            port.wake_at = wake_at
            if wake_at != _NEVER:
                heapq.heappush(self._due, (wake_at, id(port), port))

    def _run_due(self) -> None:
        now = time.monotonic()
        while self._due and self._due[0][0] <= now:
            wake_at, _, port = heapq.heappop(self._due)
            if wake_at != port.wake_at:
                continue  # it has been seen to since
            port.wake_at = _NEVER
            if now >= port.comes_back_at:
                port.comes_back_at = _NEVER
                self._plug_in(port)
            self._attend(port, now)

    def _vanish(self, port: PtyPort, now: float) -> None:
        what, port.board.unplugged = port.board.unplugged, None
        self._unplug(port)
        port.board.to_chip.clear()
        port.board.power_cycle(now)
        if what and what.name:
            port.link = port.link.with_name(what.name)
            port.comes_back_at = now + what.after_s

    def _swap(self, port: PtyPort, now: float) -> SimulatedBoard:
        """Put another board behind an open port; one that comes from another port leaves its own there."""
        gone, what = port.board, port.board.swapped
        gone.swapped = None
        gone.power_cycle(now)
        others = [one for n, one in enumerate(self.ports) if what and n == what.other and one is not port]
        for other in others:
            other.board.power_cycle(now)
            port.board, other.board = other.board, gone
        if not others:
            port.board = self.new_board(gone)
        return port.board


class _Parser(argparse.ArgumentParser):
    """An ArgumentParser that repeats what was typed without what would steer a terminal."""

    def _print_message(self, message: str, file: SupportsWrite[str] | None = None) -> None:
        super()._print_message(printable(message), file)


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
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
    given = parser.parse_args(argv)
    if given.chip and given.from_token:
        parser.error("--chip and --from-token do not go together: a token names its chip")
    if not given.show and not ((given.chip or given.from_token) and given.dir):
        parser.error("--chip (or --from-token) and --dir are needed (or --show FILE)")
    return given


def chips_of(text: str, count: int | None) -> list[str]:
    """Return chip names, one a board, of `NAME` with a count, or of `NAME:3,OTHER:2`.

    Raises:
        UsageError: a name or number is not understood.
    """
    found: list[str] = []
    for part in text.split(","):
        name, colon, number = part.partition(":")
        if colon and not number.isdecimal():
            raise UsageError(f"--chip {text}: {number!r} is no number of boards")
        found += [name.strip()] * (int(number) if colon else count or 1)
    if ":" in text and count is not None and count != len(found):
        raise UsageError(f"--chip {text} makes {len(found)} boards, but --count says {count}")
    return found


def tokens_of(texts: Sequence[str], count: int | None) -> list[tuple[BoardToken, int]]:
    """Return a token a board, with the number of the copy; one token may make several.

    Raises:
        UsageError: a text is no token, or the numbers do not fit.
    """
    tokens = [read_token(text) for text in texts]
    if len(tokens) == 1:
        return [(tokens[0], copy) for copy in range(count or 1)]
    if count is not None and count != len(tokens):
        raise UsageError(f"--from-token makes {len(tokens)} boards, but --count says {count}")
    earlier: list[BoardToken] = []
    found = []
    for token in tokens:
        found.append((token, earlier.count(token)))
        earlier.append(token)
    return found


class Workshop:
    """Makes the boards of a rig: those of its ports, and the new ones that faults ask for."""

    def __init__(self, given: argparse.Namespace) -> None:
        self._given = given
        self._settings: dict[str, str] = {}
        for text in given.set:
            key, equals, value = text.partition("=")
            if not equals:
                raise UsageError(f"--set {text}: it reads KEY=VALUE")
            self._settings[key.strip()] = value.strip()
        self._state: Path = given.state or given.dir / "state"
        self._seed = random.randrange(1 << 32) if given.seed is None else given.seed
        self._swapped_in = 0

    def ports(self) -> list[PtyPort]:
        """Return a port with its board for each chip that was asked for."""
        given = self._given
        given.dir.mkdir(parents=True, exist_ok=True)
        self._state.mkdir(parents=True, exist_ok=True)
        ports = []
        tokens = tokens_of(given.from_token, given.count) if given.from_token else []
        chips = [token.chip.name for token, _ in tokens] or chips_of(given.chip, given.count)
        for number, chip in enumerate(chips):
            faults = parse_faults(given.fault, board=number, seed=given.seed or 0)
            token = tokens[number] if tokens else None
            board = self._board(f"ttyUSB{number}", chip, f"{self._seed}:{number}", faults or None, token)
            ports.append(PtyPort(board, given.dir / f"ttyUSB{number}"))
        return ports

    def new_board(self, gone: SimulatedBoard) -> SimulatedBoard:
        """Return a new board with the chip of the one that is gone, without faults."""
        self._swapped_in += 1
        name = f"new{self._swapped_in}"
        return self._board(name, gone.chip.name, f"{self._seed}:{name}", None)

    def _board(
        self,
        name: str,
        chip: str,
        seed: str,
        faults: Fault | None,
        token: tuple[BoardToken, int] | None = None,
    ) -> SimulatedBoard:
        path, rng = self._state / f"{name}.json", random.Random(seed)
        notes: list[str] = []

        def from_token(token: BoardToken, copy: int) -> Product:
            made, said = product_of(token, copy=copy, settings=self._settings, rng=rng)
            notes.extend(said)
            return made

        make = None if token is None else lambda: from_token(*token)
        kept, new = open_board(path, chip, settings=self._settings, rng=rng, make=make)
        if (self._settings or token) and not new:
            notes.append("it is kept as it is: --set and --from-token are for new boards")
        sys.stderr.write(printable("".join(f"{kept.path}: {text}\n" for text in notes)))
        return board_of(
            kept, faults, baud_limit=self._given.baud_limit, usb_frame_s=self._given.usb_latency_ms / 1000
        )


def board_of(
    kept: BoardFile, faults: Fault | None, *, baud_limit: int = 0, usb_frame_s: float = 0.0
) -> SimulatedBoard:
    """Return the board of a file, booted, without the boot log that nobody saw."""
    board = SimulatedBoard(
        kept.product.memory,
        crystal_mhz=kept.product.crystal_mhz,
        registers=kept.product.registers,
        faults=faults,
        baud_limit=baud_limit,
        usb_frame_s=usb_frame_s,
        on_burn=kept.record,
        now=time.monotonic() - BOOT_S,  # it is up already
    )
    board.to_host.clear()  # nobody has the port open to see the first boot log
    return board


@contextmanager
def _stop_signals(rig: Rig, *, with_parent: bool) -> Iterator[None]:
    """Let SIGINT, SIGTERM, SIGHUP and, if asked, the end of the parent end the rig's loop."""
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    rig.stop_on(ours.fileno())
    old_fd = signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    parent = os.pidfd_open(os.getppid()) if with_parent else -1
    if with_parent:
        rig.stop_on(parent)
    try:
        yield
    finally:
        signal.set_wakeup_fd(old_fd)
        ours.close()
        theirs.close()
        if with_parent:
            os.close(parent)


def main(argv: Sequence[str] | None = None) -> int:
    """Run `parburn sim`. Return the exit code: 0 when it was told to end, 2 for bad input."""
    given = _parse(argv)
    try:
        if given.show:
            sys.stdout.write(printable(describe(read_board(given.show))))
            return 0
        workshop = Workshop(given)
        rig = Rig(workshop.ports(), stay_powered=given.stay_powered, new_board=workshop.new_board)
        try:
            with _stop_signals(rig, with_parent=given.with_parent):
                rig.open()
                sys.stdout.write(printable(f"ready: {len(rig.ports)} boards in {given.dir}\n"))
                sys.stdout.flush()
                rig.serve()
        finally:
            rig.close()
    except ParburnError as error:
        hint = f"  {error.hint}\n" if error.hint else ""
        sys.stderr.write(printable(f"parburn sim: {error}\n{hint}"))
        return 2
    return 0
