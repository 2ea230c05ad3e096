"""What stops a command from outside. While boards are at work a run listens itself, see `run.Operator`."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_SILENT = (signal.SIGTERM, signal.SIGHUP)  # these would end the process without a word


@contextmanager
def stop_signals_interrupt() -> Iterator[None]:
    """Let SIGTERM and SIGHUP raise KeyboardInterrupt, as Ctrl-C does: the command ends with a sentence.

    A signal that we were started to ignore (nohup) is ignored. Not in the main thread: does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    interrupted = False
    taken = [number for number in _SILENT if signal.getsignal(number) is signal.SIG_DFL]

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal interrupted
        if not interrupted:  # a hang-up comes with a SIGTERM behind it: one sentence is enough
            interrupted = True
            raise KeyboardInterrupt

    for number in taken:
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, signal.SIG_DFL)
