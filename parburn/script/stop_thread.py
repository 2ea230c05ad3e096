"""Stops a thread that runs a script: raises ScriptStopped in it. Waits for nothing.

CPython has a call for it, PyThreadState_SetAsyncExc. On 3.11 that call must not be made while a debugger or a
tracer (coverage) is at work: until the other thread runs Python code again, which one that sleeps does not,
each traced function that begins in any thread spins for ever at its first instruction (RESUME, which looks at
a flag of all threads and starts anew). There the script's thread gets a trace function of ours, which raises
in it, and hands all else to the tracer that was there.
"""

from __future__ import annotations

import sys
import threading
from types import FrameType
from typing import Any
from weakref import WeakKeyDictionary

from parburn.script.bridge import ScriptStopped

_watched: WeakKeyDictionary[threading.Thread, _Watch] = WeakKeyDictionary()


def raise_in(thread: threading.Thread) -> None:
    """Raise ScriptStopped in the thread as soon as it runs Python code again."""
    if thread.ident is None or not thread.is_alive():
        return
    if is_traced():
        watch = _watched.get(thread)  # None: a debugger came after it had begun, and it is not stopped
        if watch is not None:
            watch.stopped = True
        return
    import ctypes  # here: only a script that must be stopped needs it

    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(ScriptStopped))


def let_be_stopped(*, traced: bool) -> None:
    """Prepare the thread that calls for `raise_in`. `traced` is what `is_traced` said to its starter."""
    if traced:
        watch = _watched[threading.current_thread()] = _Watch(sys.gettrace())
        sys.settrace(watch)


def is_traced() -> bool:
    """Return whether a tracer is at work, here or in new threads, that does not bear a stop."""
    traced = sys.gettrace() is not None or threading.gettrace() is not None
    return traced and sys.version_info < (3, 12)


class _Watch:
    """A trace function that raises once it is `stopped`; until then the one `before` it has its say."""

    def __init__(self, before: Any) -> None:
        self.stopped = False
        self._before = before

    def __call__(self, frame: FrameType, event: str, arg: object) -> Any:
        return self._local(self._before)(frame, event, arg)

    def _local(self, inner: Any) -> Any:
        """Return the trace function of one frame, around that of the tracer."""

        def trace(frame: FrameType, event: str, arg: object) -> Any:
            nonlocal inner
            if self.stopped:
                self.stopped = False
                raise ScriptStopped
            if inner is not None:
                inner = inner(frame, event, arg)
                if sys.gettrace() is not self:  # coverage puts itself back, as a function in C
                    sys.settrace(self)
            return trace

        return trace
