"""Ctrl-C before and after a command, and standard streams that are closed or full. Loads nothing heavy.

An interrupt within an import may be lost in it, or end in a traceback; nothing is open yet, so the process
may end on the spot. A descriptor below 3 that is closed would be given to the next file that is opened, and
what somebody prints would go there.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from types import FrameType
from typing import NoReturn

INTERRUPTED = 130
_NOTE = b"parburn: interrupted; nothing was burned\n"


def interrupts_end_at_once() -> None:
    """Let Ctrl-C end the process until `interrupts_are_handled`; not where a shell has it ignored."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, end_now)


def interrupts_are_handled() -> None:
    """Make Ctrl-C a KeyboardInterrupt from now on: who opens anything closes it again."""
    if signal.getsignal(signal.SIGINT) is end_now:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def interrupts_are_over() -> None:
    """Ignore Ctrl-C: all is written and the process ends, there is nothing left to interrupt."""
    if signal.getsignal(signal.SIGINT) in (end_now, signal.default_int_handler):
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def open_standard_streams() -> None:
    """Open closed standard streams to nowhere: Python made no file of them, and whoever prints would fail."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest that is free: this one
    for name, descriptor in (("stdout", 1), ("stderr", 2)):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(descriptor, "w", encoding="utf-8", errors="replace", closefd=False))


def silence_stdout() -> None:
    """Let Python's own flush at the end not stumble once more over what cannot be written."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def end_now(number: int, frame: FrameType | None) -> NoReturn:
    """End the process on a signal: nothing is open yet."""
    os.write(2, _NOTE)
    os._exit(INTERRUPTED)
