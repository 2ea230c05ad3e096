"""Routes what a script prints to its board. The only module that changes names of the whole process.

stdout is one for the process, so it is replaced by a router while any script runs: text written inside a
script's context goes to that script's `BoardOutput`, all else where it went before. Threads that a script
starts inherit its context (`Thread.start` is wrapped meanwhile), `os.chdir` is refused in that context,
wherever it is called from. All of it is undone when the last script has ended.
"""

from __future__ import annotations

import contextvars
import os
import sys
import threading
from collections import deque
from collections.abc import Callable
from itertools import groupby
from typing import Any, TextIO

from parburn.script.key_mask import BEFORE, KeyMask, Shown

SINK: contextvars.ContextVar[BoardOutput | None] = contextvars.ContextVar(
    "parburn_script_output", default=None
)

CHDIR_REFUSED = (
    "os.chdir is refused in a script: the folder belongs to the whole process, and the scripts of all other "
    "boards would look for their files elsewhere. Use absolute paths."
)
LONGEST = 1_000_000  # characters kept for one board; what a script prints beyond that is dropped, and says so
MASKED_AT_ONCE = 16_384  # characters; more of them would hold up the event loop at a flush


class Printed(str):
    """Text for the operator. `parts`: its pieces, so that what shows a chip on purpose is told apart."""

    __slots__ = ("parts",)
    parts: tuple[str, ...]

    def __new__(cls, parts: tuple[str, ...]) -> Printed:
        """Put a text together."""
        printed = super().__new__(cls, "".join(parts))
        printed.parts = parts
        return printed


class BoardOutput:
    """What one board's script printed, without keys.

    Written from the script's threads, handed on in order at each `flush`: a script that prints does not wake
    the loop. Keys are taken out as late as can be: a script may print one before it gives it to a command.
    """

    def __init__(self, deliver: Callable[[str], None], keys: KeyMask | None = None) -> None:
        self._deliver = deliver
        self._keys = keys or KeyMask()
        self._pieces: deque[str] = deque()
        self._masked: list[str] = []
        self._before = ""  # the end of what was masked last: a key may begin there
        self._waiting = 0
        self._lock = threading.Lock()
        self._length = 0
        self._closed = False

    def close(self) -> None:
        """Deliver what is waiting, and drop what comes later: the script has ended. On the loop's thread."""
        self.flush()
        self._closed = True

    def write(self, text: str) -> None:
        """Keep the text for the next flush."""
        if self._closed or self._length > LONGEST:
            return
        self._length += len(text)
        if self._length > LONGEST:
            text = "\n[the rest of this script's output is left out]\n"
        self._pieces.append(text)
        self._waiting += len(text)
        if self._waiting > MASKED_AT_ONCE:
            self._mask()

    def flush(self) -> None:
        """Deliver what is waiting. On the loop's thread only."""
        self._mask()
        with self._lock:
            parts, self._masked = tuple(self._masked), []
        if parts and not self._closed:
            self._deliver(Printed(parts))

    def _mask(self) -> None:
        """Take the keys out of what is waiting, in the thread that calls."""
        pieces = self._pieces
        with self._lock:
            self._waiting = 0
            waiting = [pieces.popleft() for _ in range(len(pieces))]
            for kind, some in groupby(waiting, type):
                text = "".join(some)
                if kind is Shown:
                    self._masked.append(Shown(text))
                    self._before = ""
                else:
                    self._masked.append(self._keys.masked_after(self._before, text))
                    self._before = (self._before + text)[-BEFORE:]


class _Router:
    """Stands in sys.stdout or sys.stderr: a script's text goes to its board, all else to `behind`."""

    def __init__(self, behind: TextIO) -> None:
        self.behind = behind

    def write(self, text: str) -> int:
        sink = SINK.get()
        if sink is None:
            return self.behind.write(text)
        sink.write(str(text))
        return len(text)

    def writelines(self, lines: list[str]) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        if SINK.get() is None:
            self.behind.flush()

    def isatty(self) -> bool:
        return SINK.get() is None and self.behind.isatty()

    def close(self) -> None:
        """Do nothing: a script cannot close the terminal of all boards."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.behind, name)


_lock = threading.Lock()
_users = 0
_undo: list[Callable[[], None]] = []


def route() -> None:
    """Route the output of scripts until as many `unroute` came. A script's own thread unroutes at its end."""
    global _users
    with _lock:
        _users += 1
        _install()


def unroute() -> None:
    """Undo one `route`; the last one puts everything back."""
    global _users
    with _lock:
        _users -= 1
        if _users == 0:
            while _undo:
                _undo.pop()()


def _install() -> None:
    """Put the router and the guards in place where they are not (somebody may have replaced them since)."""
    for name in ("stdout", "stderr"):
        if not isinstance(getattr(sys, name), _Router):
            _replace(sys, name, _Router(getattr(sys, name)))
    chdir, start = os.chdir, threading.Thread.start
    if getattr(chdir, "for_scripts", False):
        return

    def guarded_chdir(path: Any) -> None:
        if SINK.get() is not None:
            raise PermissionError(CHDIR_REFUSED)
        chdir(path)

    def start_in_context(thread: threading.Thread) -> None:
        if SINK.get() is not None:
            context, run = contextvars.copy_context(), thread.run
            thread.run = lambda: context.run(run)  # type: ignore[method-assign]  # for this one thread
            thread.daemon = True  # a script's thread must not keep the process from ending
        start(thread)

    guarded_chdir.__dict__["for_scripts"] = True
    _replace(os, "chdir", guarded_chdir)
    _replace(threading.Thread, "start", start_in_context)


def _replace(owner: Any, name: str, value: object) -> None:
    before = getattr(owner, name)
    setattr(owner, name, value)

    def undo() -> None:
        if getattr(owner, name) is value:  # somebody else replaced it since: theirs stays
            setattr(owner, name, before)

    _undo.append(undo)
