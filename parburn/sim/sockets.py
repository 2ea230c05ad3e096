"""Sockets: ports of a rig into which boards are put, and from which they are taken, while it serves.

What the commands of `control` do is here; how they are spelled is there. All of it happens in the rig's loop,
between two events, so nobody sees half of it. A refused command (UsageError) changes nothing.

A board that is taken out leaves its eFuses in its file and nothing else; put in again, it has power for the
first time. Its faults are of one stay in a socket, but a board that is dead stays dead.
"""

from __future__ import annotations

import argparse
import re
import select
import time
from typing import Any

from parburn.errors import UsageError
from parburn.sim.board import SimulatedBoard
from parburn.sim.fault import Faults
from parburn.sim.faults import parse_faults
from parburn.sim.line_pins import LinePort, move_pins, named, power_on
from parburn.sim.pty_port import PtyPort
from parburn.sim.rig import Rig
from parburn.sim.witness import Witness
from parburn.sim.workshop import Place, Workshop

_NEVER = float("inf")
_NAME = re.compile(r"[A-Za-z0-9_][\w.-]*", re.ASCII)
DEAD = "the link is silent after 0 bytes"


class SocketRig(Rig):
    """A rig whose boards come and go, and whose ports may have lines."""

    def __init__(self, given: argparse.Namespace, workshop: Workshop) -> None:
        """Make the ports, with a board each unless they begin empty.

        Args:
            given: The command line.
            workshop: Where boards come from.
        """
        self.places: list[Place] = workshop.places()
        self.witness = Witness(given.witness)
        self._given, self._workshop = given, workshop
        self._nothing = workshop.nothing(self.places)
        waiting = self.places if given.empty and given.fault else []
        self._next_faults: dict[int, list[str]] = {place.number: list(given.fault) for place in waiting}
        self._dead: set[str] = set()
        self._speakers: dict[SimulatedBoard, PtyPort] = {}  # of boards with two nodes: who spoke last
        kind = LinePort if given.lines else PtyPort
        boards = [self._nothing if given.empty else workshop.first_board(place) for place in self.places]
        super().__init__(
            [kind(board, place.link) for board, place in zip(boards, self.places, strict=True)],
            stay_powered=given.stay_powered or given.lines,
            new_board=self._board_of_a_fault,
        )

    def open(self) -> None:
        """Make the ports that are there from the start, and switch their boards on."""
        for port in self.ports:
            if port.board is not self._nothing:
                self._switch_on(port)
            if self._given.bridges or port.board is not self._nothing:
                self._plug_in(port)

    def close(self) -> None:
        """Take every port away."""
        super().close()
        self.witness.close()

    # What is asked of the sockets -------------------------------------------------------------------

    def number_of(self, text: str) -> int:
        """Return the number of a socket that is named `ttyUSB3` or `3`.

        Raises:
            UsageError: there is none.
        """
        digits = text.removeprefix("ttyUSB")
        if not (digits.isascii() and digits.isdecimal()) or int(digits) >= len(self.ports):
            last = len(self.ports) - 1
            raise UsageError(f"there is no socket {text}", hint=f"They are ttyUSB0 to ttyUSB{last}.")
        return int(digits)

    def insert(self, number: int, name: str | None = None, *, chip: str | None = None) -> SimulatedBoard:
        """Put a board in: the one of this name, or a new one, with another chip than the socket's if asked.

        Raises:
            UsageError: the socket is not empty, or there is no such board, or it is in a socket.
        """
        self._must_be_empty(number)
        board = self._fetch(number, name, chip)
        self._seat(number, board)
        return board

    def remove(self, number: int, *, forget: bool = False) -> str:
        """Take out the board of a socket, with all its nodes. Return its name.

        Raises:
            UsageError: the socket is empty.
        """
        name = self._board_in(number).name
        self._clear(number)
        if forget:
            self.forget(name)
        return name

    def swap(
        self, number: int, name: str | None = None, *, chip: str | None = None, forget: bool = False
    ) -> SimulatedBoard:
        """Take the board out and put another in, with nothing between.

        Raises:
            UsageError: as for `insert` and `remove`.
        """
        self._board_in(number)
        board = self._fetch(number, name, chip)
        self.remove(number, forget=forget)
        self._seat(number, board)
        return board

    def replug(self, number: int, other: int | None = None) -> SimulatedBoard:
        """Take a board out and put it in again, there or in another socket.

        Raises:
            UsageError: the socket is empty, or the other is not.
        """
        name = self._board_in(number).name
        if other is not None and other != number:
            self._must_be_empty(other)
        target = number if other is None else other
        faults = self._faults(target, name)
        self._clear(number)
        board = self._workshop.board_again(name, faults=faults)
        self._next_faults.pop(target, None)
        self._seat(target, board)
        return board

    def twin(self, number: int, other: int) -> SimulatedBoard:
        """Let a board answer at another socket, too: its second node. Who speaks is answered.

        Raises:
            UsageError: the socket is empty, or the other is not.
        """
        board = self._board_in(number)
        self._must_be_empty(other)
        self._speakers.setdefault(board, self.ports[number])
        self._seat(other, board)
        return board

    def untwin(self, number: int) -> str:
        """Take away one node of a board that has another. Return the board's name.

        Raises:
            UsageError: the board has no other.
        """
        board, port = self._board_in(number), self.ports[number]
        left = [one for one in self._nodes(board) if one is not port]
        if not left:
            raise UsageError(f"the board in {self.places[number].link.name} has no other node")
        self._empty(port)
        self._speakers[board] = left[0]
        if len(left) == 1:
            del self._speakers[board]
        self._attend(left[0], time.monotonic())
        return board.name

    def clone(self, number: int, other: int) -> SimulatedBoard:
        """Put another chip with the same MAC address and unique id, else as from the factory, elsewhere.

        Raises:
            UsageError: the socket is empty, or the other is not.
        """
        board = self._board_in(number)
        self._must_be_empty(other)
        found = self._workshop.clone(board, faults=self._faults(other, ""))
        self._next_faults.pop(other, None)
        self._seat(other, found)
        return found

    def fault(self, number: int, sentence: str) -> None:
        """Give the next board of a socket one fault more.

        Raises:
            UsageError: no fault reads so.
        """
        parse_faults([sentence], board=number, seed=0)
        self._next_faults.setdefault(number, []).append(sentence)

    def dead(self, number: int) -> SimulatedBoard:
        """Let the board of a socket answer nothing, ever. An empty socket gets a new one of this kind."""
        port = self.ports[number]
        if port.board is self._nothing:
            board = self._workshop.another_board(
                self.places[number], chip=None, faults=parse_faults([DEAD], board=number, seed=0)
            )
            self._seat(number, board)
        else:
            board = port.board
            faults = parse_faults([DEAD], board=number, seed=0)
            board.give_faults(faults, time.monotonic(), stay_powered=True)
            board.controller.awaits_read = False
            board.controller.abandon()
        self._dead.add(board.name)
        return board

    def forget(self, name: str) -> None:
        """Throw away a board that is in no socket: its file goes.

        Raises:
            UsageError: it is in one, or there is none.
        """
        self._must_lie_outside(name)
        self._workshop.forget(name)
        self._dead.discard(name)

    def boards(self) -> dict[str, dict[str, Any] | None]:
        """Return by socket what is in it."""
        return {
            place.link.name: None if port.board is self._nothing else self._described(port)
            for place, port in zip(self.places, self.ports, strict=True)
        }

    def _described(self, port: PtyPort) -> dict[str, Any]:
        board = port.board
        nodes = [
            place.link.name for place, one in zip(self.places, self.ports, strict=True) if one.board is board
        ]
        found: dict[str, Any] = {"board": board.name, "mac": mac_of(board), "chip": board.chip.name}
        found |= {"nodes": nodes} if len(nodes) > 1 else {}
        found |= {"port": port.link.name} if port.link.name not in nodes else {}
        return found | ({"faults": board.faults.sentence} if board.faults else {})

    # How it is done ---------------------------------------------------------------------------------

    def _board_in(self, number: int) -> SimulatedBoard:
        board = self.ports[number].board
        if board is self._nothing:
            raise UsageError(f"{self.places[number].link.name} is empty")
        return board

    def _must_be_empty(self, number: int) -> None:
        board = self.ports[number].board
        if board is not self._nothing:
            raise UsageError(f"{board.name} is in {self.places[number].link.name}")

    def _must_lie_outside(self, name: str) -> None:
        if not _NAME.fullmatch(name):
            raise UsageError(f"{name} is no name of a board")
        for place, port in zip(self.places, self.ports, strict=True):
            if port.board.name == name:
                raise UsageError(f"{name} is in {place.link.name}")
        if not self._workshop.file_of(name).exists():
            raise UsageError(f"there is no board {name}")

    def _nodes(self, board: SimulatedBoard) -> list[PtyPort]:
        return [port for port in self.ports if port.board is board]

    def _fetch(self, number: int, name: str | None, chip: str | None) -> SimulatedBoard:
        """Make a board, or fetch it from its file."""
        if name is None:
            made = self._workshop.another_board
            board = made(self.places[number], chip=chip, faults=self._faults(number, ""))
        else:
            if chip:
                raise UsageError(f"{name} has the chip that it has", hint="Leave the name or chip= out.")
            self._must_lie_outside(name)
            board = self._workshop.board_again(name, faults=self._faults(number, name))
        self._next_faults.pop(number, None)
        return board

    def _faults(self, number: int, name: str) -> Faults:
        """Return what goes wrong with the board that comes next; none of it is used up yet."""
        texts = self._next_faults.get(number, [])
        return parse_faults(texts + [DEAD] * (name in self._dead), board=number, seed=self._given.seed or 0)

    def _seat(self, number: int, board: SimulatedBoard) -> None:
        """Put a board behind an empty port, and the port where it is not."""
        port = self.ports[number]
        port.board = board
        self._switch_on(port)
        try:
            if port.master < 0:
                self._plug_in(port)
        except BaseException:
            port.close()
            self._empty(port)
            raise
        self._attend(port, time.monotonic())

    def _switch_on(self, port: PtyPort) -> None:
        board, given = port.board, self._given
        self.witness.watch(board)
        board.cuts_pulses = given.cut_pulses
        if isinstance(port, LinePort):
            if board not in self._speakers:
                power_on(board, port.pins if port.master >= 0 else 0, strapped=given.strapped)
            if given.presence:
                self._show_presence(port, present=True)

    def _clear(self, number: int) -> None:
        """Take the board away from all its ports, and the ports with it if they go with boards."""
        board = self.ports[number].board
        board.lose_power(time.monotonic())
        self._speakers.pop(board, None)
        for port in self._nodes(board):
            self._empty(port)

    def _empty(self, port: PtyPort) -> None:
        port.board = self._nothing
        port.wake_at = port.comes_back_at = _NEVER
        link = self.places[self.ports.index(port)].link
        if port.master >= 0 and not (self._given.bridges and port.link == link):
            self._unplug(port)
        port.link = link
        if isinstance(port, LinePort):
            self._show_presence(port, present=False)
        if port.master < 0 and self._given.bridges:
            self._plug_in(port)  # a fault had taken it away

    def _show_presence(self, port: LinePort, *, present: bool) -> None:
        """Move CTS. Where nobody has the port open, the kernel tells us of it as of one more hang-up."""
        if present == port.cts:
            return
        self._events += self._epoll.poll(0)
        port.show_presence(present)
        if port.master >= 0:
            self._forget_hang_up(port)

    def _board_of_a_fault(self, gone: SimulatedBoard) -> SimulatedBoard:
        board = self._workshop.new_board(gone)
        self.witness.watch(board)
        return board

    # What the loop does otherwise -------------------------------------------------------------------

    def _on_event(self, port: PtyPort, event: int) -> None:
        now = time.monotonic()
        data = port.read() if event & select.EPOLLIN else b""
        if isinstance(port, LinePort) and port.status:
            self._heed_lines(port, port.moved(), now)
        if data:
            port.attached = True
            if port.board in self._speakers:
                self._speakers[port.board] = port
            port.board.receive(data, now, port.host_baud())
        if event & select.EPOLLHUP:
            self._on_hang_up(port, now)
        self._attend(port, now)

    def _heed_lines(self, port: LinePort, move: tuple[int, int] | None, now: float) -> None:
        if move is None:
            return
        port.attached = True
        self.witness.moved(str(port.link), named(*move), now)
        if port.board is not self._nothing:
            port.board.advance(now)
            move_pins(port.board, *move, now, strapped=self._given.strapped)

    def _on_hang_up(self, port: PtyPort, now: float) -> None:
        self.witness.closed(str(port.link), now)
        if isinstance(port, LinePort):
            self._heed_lines(port, port.let_go(), now)
        port.board.advance(now)
        port.board.controller.abandon()
        super()._on_hang_up(port, now)

    def _attend(self, port: PtyPort, now: float) -> None:
        super()._attend(self._speakers.get(port.board, port) if self._speakers else port, now)

    def _vanish(self, port: PtyPort, now: float) -> None:
        super()._vanish(port, now)
        if isinstance(port, LinePort):
            power_on(port.board, 0, strapped=self._given.strapped)


def mac_of(board: SimulatedBoard) -> str:
    """Return a board's factory MAC address, aa:bb:cc:dd:ee:ff."""
    return board.memory.field_bits(board.chip.mac_field).to_bytes(6, "big").hex(":")
