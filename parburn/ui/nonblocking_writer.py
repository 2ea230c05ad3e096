"""Where observers write. It never blocks its caller and never raises: no reader may stall a burn.

Text for a real file descriptor is written by a thread of its own, so that a terminal stopped by Ctrl-S or
a pager that does not read holds up only that thread. What comes within a moment is written at once: to wake
the thread for each line costs more than the line. When the reader is gone, what follows is dropped.
"""

from __future__ import annotations

import contextlib
import os
import select
import threading
from typing import IO

from parburn.printable import printable

GATHER_S = 0.010  # how long the first of several lines waits for the others; nobody sees it
CLOSE_DEADLINE_S = 60.0  # how long close() waits for a reader that takes nothing


class Untouched:
    """What `rich` writes to: its escapes must arrive."""

    def __init__(self, writer: NonblockingWriter) -> None:
        self.write = writer.write_as_it_is
        self.flush = writer.flush
        self.encoding = writer.encoding


class NonblockingWriter:
    """The writing end of a text stream, for observers and questions."""

    def __init__(self, stream: IO[str], *, close_deadline_s: float = CLOSE_DEADLINE_S) -> None:
        self._stream = stream
        self._close_deadline_s = close_deadline_s
        self.encoding: str = getattr(stream, "encoding", None) or "utf-8"
        self._changed = threading.Condition()
        self._queue: list[bytes] = []
        self._writing = False
        self._idle = False  # the thread waits for text
        self._draining = False  # somebody waits for the reader
        self._given = 0  # bytes that were handed over
        self._taken = 0  # bytes that the reader has taken, to see progress
        self._closing = False
        self.broken = False  # the reader is gone
        self._thread: threading.Thread | None = None
        try:
            self._fd: int | None = stream.fileno()
            stream.flush()
        except (OSError, ValueError, AttributeError):
            self._fd = None

    @property
    def busy(self) -> bool:
        """Whether the reader has not yet taken all: a frame may be left out then."""
        return bool(self._queue) or self._writing

    @property
    def waiting_bytes(self) -> int:
        """How much the reader has not yet taken; whoever writes for days stops at some bound."""
        return 0 if self.broken or self._fd is None else self._given - self._taken

    def write(self, text: str) -> int:
        """Hand text over, without what would steer a terminal; return its length, as a file does."""
        self.write_as_it_is(printable(text))
        return len(text)

    def write_as_it_is(self, text: str) -> int:
        """Hand text over that is ours alone, as escapes of a table are, or was asked for to the letter."""
        if self.broken or self._closing:
            return len(text)
        if self._fd is None:
            self._write_through(text)
            return len(text)
        data = text.encode(self.encoding, "replace")
        with self._changed:
            self._queue.append(data)
            self._given += len(data)
            if self._thread is None:
                self._thread = threading.Thread(target=self._pump, name="parburn-output", daemon=True)
                self._thread.start()
            elif self._idle:
                self._idle = False
                self._changed.notify_all()
        return len(text)

    @property
    def as_it_is(self) -> Untouched:
        """The same end as a file whose `write` changes nothing."""
        return Untouched(self)

    def line(self, text: str) -> None:
        """Write one line."""
        self.write(text + "\n")

    def flush(self) -> None:
        """Do nothing: the thread writes all that it has by itself."""

    def drain(self) -> None:
        """Wait until the reader has taken all, or nothing within the deadline, or is gone."""
        with self._changed:
            self._draining = True
            self._changed.notify_all()
            while self.busy and not self.broken:
                before = self._taken
                if not self._changed.wait(self._close_deadline_s) and self._taken == before:
                    self.broken = True
            self._draining = False

    def close(self) -> None:
        """Drain, and take no more text."""
        self.drain()
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if self._thread is not None and not self.broken:
            self._thread.join(1.0)

    def _write_through(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):
            self.broken = True

    def _pump(self) -> None:
        while True:
            with self._changed:
                while not self._queue and not self._closing:
                    self._idle = True
                    self._changed.wait(3600)
                self._idle = False
                if not self._queue:
                    return
                if not (self._closing or self._draining):
                    self._changed.wait(GATHER_S)
                data = b"".join(self._queue)
                self._queue.clear()
                self._writing = True
            try:
                self._write_all(data)
            except OSError:
                self.broken = True
                self._silence()
            with self._changed:
                self._writing = False
                if self.broken:
                    self._queue.clear()
                self._changed.notify_all()
            if self.broken:
                return

    def _write_all(self, data: bytes) -> None:
        assert self._fd is not None
        rest = memoryview(data)
        while rest:
            try:
                count = os.write(self._fd, rest[:4096])
            except BlockingIOError:  # somebody made the descriptor non-blocking
                select.select([], [self._fd], [], 1.0)
                continue
            rest = rest[count:]
            with self._changed:
                self._taken += count
                self._changed.notify_all()

    def _silence(self) -> None:
        """Point the descriptor elsewhere, or Python reports the broken pipe once more when it ends."""
        assert self._fd is not None
        with contextlib.suppress(OSError):
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self._fd)
            os.close(null)
