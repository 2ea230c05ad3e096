"""Keeps a script that is only computed from changing anything: files, sockets, processes. Burns nothing.

Where scripts run once a record, to learn what they would burn, what they do beside it must not happen ten
thousand times. The interpreter tells of each such act before it is done, whatever module does it; in the
context of such a script it raises instead.
"""

from __future__ import annotations

import contextvars
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_WHAT = {
    "socket.__new__": "a socket",
    "socket.connect": "a connection",
    "socket.getaddrinfo": "a look-up of a name",
    "subprocess.Popen": "another process",
    "os.system": "another process",
    "os.exec": "another process",
    "os.posix_spawn": "another process",
    "os.spawn": "another process",
    "os.startfile": "another process",
    "os.fork": "another process",
    "os.forkpty": "another process",
    "pty.spawn": "another process",
    "os.remove": "removing a file",
    "os.rename": "renaming a file",
    "os.rmdir": "removing a folder",
    "os.mkdir": "making a folder",
    "os.link": "making a link",
    "os.symlink": "making a link",
    "os.truncate": "cutting a file",
    "os.chmod": "changing a file's rights",
    "os.chown": "changing a file's owner",
    "os.utime": "changing a file's time",
    "sqlite3.connect": "a database",
}
# Threads that a script starts inherit its context (see output), and so this.
_guarded: contextvars.ContextVar[bool] = contextvars.ContextVar("parburn_no_side_effects", default=False)
_lock = threading.Lock()
_hooked = False


class SideEffectRefused(PermissionError):
    """A script wanted to change something while it was only computed."""


@contextmanager
def no_side_effects() -> Iterator[None]:
    """Refuse, in this context and until the end of the block, all that changes something outside of it.

    What is refused raises SideEffectRefused inside the script. It is seen by Python's audit events.
    """
    _hook()
    before = _guarded.set(True)
    try:
        yield
    finally:
        _guarded.reset(before)


def _hook() -> None:
    """Install the audit hook, which stays as long as the process; unguarded it looks at one flag."""
    global _hooked
    with _lock:
        if not _hooked:
            sys.addaudithook(_look)
            _hooked = True


def _look(event: str, arguments: tuple[Any, ...]) -> None:
    if not _guarded.get():
        return
    if event == "open":
        path, _, flags = arguments
        if isinstance(flags, int) and flags & _WRITES and path != os.devnull:
            raise _refused(f"opening {path} for writing")
    elif event in _WHAT:
        raise _refused(_WHAT[event])


def _refused(what: str) -> SideEffectRefused:
    return SideEffectRefused(
        f"{what} is refused: the script is only run to learn what it would burn, once a record; "
        "--allow-side-effects lets it"
    )
