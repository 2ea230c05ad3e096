"""Waits until a name comes to folders or leaves them, by the kernel's inotify. Looks at no file or port.

It only says that it is time to look. It may say so too often or, on another machine's file system, never: who
waits looks at times of its own as well. Where the system has no inotify a wait is a sleep.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import functools
import os
from collections.abc import Callable, Collection
from typing import Any, Final

_MOVED_FROM, _MOVED_TO, _CREATE, _DELETE = 0x40, 0x80, 0x100, 0x200
_NAMES: Final = _MOVED_FROM | _MOVED_TO | _CREATE | _DELETE
_AT_ONCE: Final = 65536  # bytes of notes that are read together, and thrown away
_APART_S: Final = 0.01  # between the end of one look and the next: names that change one after another


class FolderChanges:
    """Changes of names in folders. Made and used on the event loop; `close` ends it."""

    def __init__(self, folders: Collection[str]) -> None:
        """Watch these folders, those that are not there as soon as a wait finds them."""
        self._folders = [os.fsencode(folder) for folder in folders]
        self._changed = asyncio.Event()
        self._add: Callable[..., int] | None = None
        self._fd = -1
        inotify = _inotify() if folders else None
        if inotify is not None:
            initialise, self._add = inotify
            self._fd = initialise(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._fd >= 0:
            asyncio.get_running_loop().add_reader(self._fd, self._read)
        self.watch()

    def watch(self) -> None:
        """See that folders are watched that were made since, or made anew. It is one call a folder."""
        if self._fd >= 0 and self._add is not None:
            for folder in self._folders:
                self._add(self._fd, folder, _NAMES)

    async def wait(self, within_s: float) -> None:
        """Return once a name has changed since the last wait, and at the latest after so many seconds.

        A name that changes alone is told at once.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await asyncio.sleep(_APART_S)
                await self._changed.wait()
        self._changed.clear()
        self.watch()

    def close(self) -> None:
        """Watch no longer."""
        if self._fd >= 0:
            asyncio.get_running_loop().remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1

    def _read(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._fd, _AT_ONCE)
        self._changed.set()


@functools.cache
def _inotify() -> tuple[Callable[..., int], Callable[..., int]] | None:
    """Return the two calls, `init1(flags)` and `add_watch(fd, folder, mask)`; None: this system has none."""
    try:
        library: Any = ctypes.CDLL(None)
        initialise, add = library.inotify_init1, library.inotify_add_watch
    except (OSError, AttributeError):
        return None
    initialise.argtypes, add.argtypes = [ctypes.c_int], [ctypes.c_int, ctypes.c_char_p, ctypes.c_uint32]
    return initialise, add
