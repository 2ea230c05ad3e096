"""What goes wrong where nobody waits, in a library's thread or a callback of the loop: a sentence for it.

Python prints such an error with its traceback to stderr, in the middle of whatever stands there. With --debug
it still does.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from parburn.cli import saying

Tell = Callable[[str], object]

LIBRARIES = frozenset({"anyio", "asyncio", "concurrent", "parburn", "rich", "serial", "serial_asyncio"})


@contextmanager
def told(tell: Tell, *, debug: bool) -> Iterator[None]:
    """Within, have errors of background work told as sentences; call it where the event loop runs.

    A thread that a script has begun itself shows its own traceback, as the script does.
    """
    if debug:
        yield
        return
    loop = asyncio.get_running_loop()
    before = threading.excepthook

    def thread_failed(given: threading.ExceptHookArgs) -> None:
        if _runs_library(given.exc_traceback):
            _tell_from_thread(loop, tell, _sentence("a thread", given.exc_value or given.exc_type))
        else:
            before(given)

    def callback_failed(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        tell(_sentence("a step in the background", context.get("exception") or context["message"]))

    threading.excepthook = thread_failed
    loop.set_exception_handler(callback_failed)
    try:
        yield
    finally:
        threading.excepthook = before
        loop.set_exception_handler(None)


def on_stderr(text: str) -> None:
    """Tell it beside the output."""
    saying.tell(f"parburn: {text}\n")


def _sentence(what: str, error: object) -> str:
    kind = type(error).__name__ if isinstance(error, BaseException) else ""
    said = f"{kind}: {error}" if kind else str(error)
    return f"{what} ended with an error ({said}); what waits for it is told so. --debug shows more"


def _runs_library(trace: TracebackType | None) -> bool:
    """Whether the code that a thread was made for is a library's or ours."""
    while trace is not None:
        name = str(trace.tb_frame.f_globals.get("__name__", ""))
        if name != "threading":
            return name.partition(".")[0] in LIBRARIES
        trace = trace.tb_next
    return True


def _tell_from_thread(loop: asyncio.AbstractEventLoop, tell: Tell, text: str) -> None:
    try:
        loop.call_soon_threadsafe(tell, text)
    except RuntimeError:  # the loop has ended
        on_stderr(text)
