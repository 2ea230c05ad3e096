"""The other end of a pty: answers with a `FakeRom` in a thread of its own, and can be told to misbehave."""

from __future__ import annotations

import contextlib
import os
import select
import threading
from collections.abc import Callable, Iterator

from tests.protocol.fake_rom import FakeRom


class PtyBoard:
    """One pty with something behind it. `feed` makes answers of what came; None leaves the line silent."""

    def __init__(self, feed: Callable[[bytes], bytes] | None = None) -> None:
        self.master, self.slave = os.openpty()
        self.port = os.ttyname(self.slave)
        self.feed = feed
        self.heard = bytearray()
        self._wake_read, self._wake_write = os.pipe()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._stopped = False

    def start(self) -> None:
        """Begin to answer; a client holds the port from now on, not we."""
        self._thread.start()

    def send(self, data: bytes) -> None:
        """Send something nobody asked for."""
        os.write(self.master, data)

    def vanish(self) -> None:
        """Close our end: unplugged."""
        if not self._stopped:
            self._stopped = True
            os.write(self._wake_write, b"x")
            self._thread.join(5)
            for number in (self.master, self.slave, self._wake_read, self._wake_write):
                os.close(number)

    def _run(self) -> None:
        while True:
            ready, _, _ = select.select([self.master, self._wake_read], [], [])
            if self._wake_read in ready:
                return
            with contextlib.suppress(OSError):  # EIO: no client just now
                data = os.read(self.master, 4096)
                self.heard += data
                if self.feed is not None:
                    os.write(self.master, self.feed(data))


@contextlib.contextmanager
def pty_board(
    rom: FakeRom | None = None, *, feed: Callable[[bytes], bytes] | None = None
) -> Iterator[PtyBoard]:
    """A board on a pty for the length of a test."""
    board = PtyBoard(rom.feed if rom is not None else feed)
    board.start()
    try:
        yield board
    finally:
        board.vanish()
