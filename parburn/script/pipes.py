"""Pipes in the place of files (`<(make-key)` of a shell, a FIFO, /dev/stdin): read once a run.

Each byte of a pipe goes to one reader only. So the first board that asks reads all of it, and every other
board of the run gets the same. Nothing of it is kept anywhere but in memory.
"""

from __future__ import annotations

import os
import select
import stat
import threading
from pathlib import Path

from parburn.errors import EfuseError

MOST_BYTES = 1 << 20  # keys and data of eFuse blocks are far smaller
LOOK_AGAIN_S = 0.25  # a script that is to be stopped is stopped between two looks
_CHUNK = 1 << 16


def is_pipe(found: os.stat_result) -> bool:
    """Tell whether what is read from it is gone then."""
    return stat.S_ISFIFO(found.st_mode) or stat.S_ISSOCK(found.st_mode)


class Pipes:
    """The pipes of one run, for the threads of all its scripts."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._contents: dict[tuple[int, int], bytes | None] = {}  # by device and inode; None: it broke off

    def content(self, name: str | Path) -> bytes | None:
        """Return what the pipe of this name holds; None where it is no pipe.

        Waits for whoever writes into it, as long as the script is let. Raises EfuseError, OSError.
        """
        found = Path(name).stat()
        if stat.S_ISCHR(found.st_mode) or stat.S_ISBLK(found.st_mode):
            raise EfuseError(f"{name} is a device", hint="Give a file, or a pipe.")
        if not is_pipe(found):
            return None
        key = found.st_dev, found.st_ino
        while not self._lock.acquire(timeout=LOOK_AGAIN_S):
            pass  # another board reads it
        try:
            if key not in self._contents:
                self._contents[key] = None
                self._contents[key] = _read(name)
            content = self._contents[key]
        finally:
            self._lock.release()
        if content is None:
            raise EfuseError(
                f"{name} is a pipe, and reading it for another board broke off",
                hint="Write what it gives into a file, and name that.",
            )
        return content


def _read(name: str | Path) -> bytes:
    descriptor = os.open(name, os.O_RDONLY | os.O_NONBLOCK)
    try:
        content = b""
        while True:
            while not select.select([descriptor], [], [], LOOK_AGAIN_S)[0]:
                pass
            part = os.read(descriptor, _CHUNK)
            content += part
            if not part:
                return content
            if len(content) > MOST_BYTES:
                raise EfuseError(f"{name} is a pipe that gives more than {MOST_BYTES} bytes")
    finally:
        os.close(descriptor)
