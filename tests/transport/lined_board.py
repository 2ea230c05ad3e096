"""The other end of a pty that has lines: a board with a reset circuit, which writes down each move."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import select
import struct
import termios
import threading
import time
import tty
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

EXTPROC = 0o200000
DTR, RTS = 1, 2
TIOCPKT, TIOCPKT_IOCTL = 0x5420, 64


class Move(NamedTuple):
    """One change of the lines, in ns of the machine's monotonic clock."""

    at: int
    dtr: bool
    rts: bool


class LinedBoard:
    """One pty with lines. What is sent reaches `feed` in download mode only; it returns the answers.

    `behind` instead: a port of a simulated rig; all passes to it and back.
    """

    def __init__(self, feed: Callable[[bytes], bytes] | None = None, *, behind: str = "") -> None:
        self.feed = feed
        self.moves: list[Move] = []
        self.heard = bytearray()
        self.frames: list[tuple[int, bytes]] = []  # when what was heard
        self.loads = behind != ""  # it is in download mode
        self.held_in_reset = False
        self.resets = 0
        self.master, slave = os.openpty()
        self.port = os.ttyname(slave)
        tty.setraw(slave)
        settings = termios.tcgetattr(slave)
        settings[3] |= EXTPROC
        settings[6][termios.VEOL2] = b"\0"
        termios.tcsetattr(slave, termios.TCSANOW, settings)
        os.close(slave)
        fcntl.ioctl(self.master, TIOCPKT, struct.pack("i", 1))
        self._behind = os.open(behind, os.O_RDWR | os.O_NOCTTY) if behind else -1
        self._wake_read, self._wake_write = os.pipe()
        self._lines = 0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def lines(self) -> tuple[bool, bool]:
        """DTR and RTS as they are now."""
        return bool(self._lines & DTR), bool(self._lines & RTS)

    def states(self) -> list[tuple[bool, bool]]:
        return [(move.dtr, move.rts) for move in self.moves]

    async def noted(self, moves: int) -> None:
        """Wait until the board has noted so many moves: what changes twice in between is seen once."""
        async with asyncio.timeout(5):
            while len(self.moves) < moves:  # noqa: ASYNC110  # a thread notes them
                await asyncio.sleep(0.002)

    def vanish(self) -> None:
        """Close our end: unplugged."""
        if self._thread.is_alive():
            os.write(self._wake_write, b"x")
            self._thread.join(5)
            for number in (self.master, self._wake_read, self._wake_write, self._behind):
                with contextlib.suppress(OSError):
                    os.close(number)

    def _run(self) -> None:
        ends = [self.master, self._wake_read, *([self._behind] if self._behind >= 0 else [])]
        while True:
            ready, _, _ = select.select(ends, [], [])
            if self._wake_read in ready:
                return
            if self._behind in ready:
                with contextlib.suppress(OSError):
                    self._write(self.master, os.read(self._behind, 4096))
            if self.master in ready:
                try:
                    self._take(os.read(self.master, 4097))
                except OSError:  # EIO: no client just now
                    time.sleep(0.002)

    @staticmethod
    def _write(fd: int, data: bytes) -> None:
        while data:
            data = data[os.write(fd, data) :]

    def _take(self, packet: bytes) -> None:
        if packet[0] & TIOCPKT_IOCTL:
            self._circuit(termios.tcgetattr(self.master)[6][termios.VEOL2][0] & (DTR | RTS))
        elif packet[0] == 0 and self.loads and not self.held_in_reset:
            self.heard += packet[1:]
            self.frames.append((time.monotonic_ns(), packet[1:]))
            if self._behind >= 0:
                self._write(self._behind, packet[1:])
            elif self.feed is not None:
                self._write(self.master, self.feed(packet[1:]))

    def _circuit(self, lines: int) -> None:
        """RTS without DTR holds the chip in reset; who lets go with DTR has it in download mode."""
        if lines == self._lines:
            return
        self._lines = lines
        self.moves.append(Move(time.monotonic_ns(), *self.lines))
        in_reset = lines == RTS
        if self.held_in_reset and not in_reset:
            self.loads = bool(lines & DTR)
            self.resets += 1
        self.held_in_reset = in_reset


@contextlib.contextmanager
def lined_board(feed: Callable[[bytes], bytes] | None = None, *, behind: str = "") -> Iterator[LinedBoard]:
    board = LinedBoard(feed, behind=behind)
    try:
        yield board
    finally:
        board.vanish()


@contextlib.contextmanager
def lined_boards(behind: list[str], folder: Path) -> Iterator[list[LinedBoard]]:
    """Boards with lines in front of a rig's, behind links of the same names in another folder."""
    folder.mkdir()
    with contextlib.ExitStack() as stack:
        boards = [stack.enter_context(lined_board(behind=port)) for port in behind]
        for board, port in zip(boards, behind, strict=True):
            (folder / Path(port).name).symlink_to(board.port)
        yield boards
