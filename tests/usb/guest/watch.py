"""Looks at parburn's system calls on USB ttys, and can hold it in one of them: a board is pulled just then.

`USB_HOLD="tcsetattr@/dev/ttyUSB0 ioctl:TIOCMBIS@/dev/ttyUSB1"` holds the first such calls until /exchange/go
exists.
`USB_WATCH=FILE` writes each call and the thread that made it. Both are for the forks of `serve`.
"""

from __future__ import annotations

import fcntl
import os
import pathlib
import sys
import termios
import threading
import time
from typing import Any

GO = pathlib.Path("/exchange/go")
HOLD_S = 120  # a test that never lets go fails by itself
CALLS = {
    "open": os,
    "close": os,
    "flock": fcntl,
    "ioctl": fcntl,
    "tcgetattr": termios,
    "tcsetattr": termios,
    "tcflush": termios,
    "tcdrain": termios,
}
REQUESTS = {
    value: name for name, value in vars(termios).items() if name.startswith("TIOC") and isinstance(value, int)
}


def tty_of(target: object) -> str:
    """The USB tty that a call is for, by path or descriptor; empty for anything else."""
    try:
        name = os.ttyname(target) if isinstance(target, int) else os.path.realpath(str(target))
    except OSError:
        return ""
    return name if name.startswith(("/dev/ttyUSB", "/dev/ttyACM")) else ""


class Watch:
    """Stands in front of the calls."""

    def __init__(self) -> None:
        self._hold_at = os.environ.get("USB_HOLD", "").split()
        self._log = os.environ.get("USB_WATCH", "")

    def before(self, name: str, target: object, more: tuple[Any, ...]) -> None:
        """Called before each call."""
        tty = tty_of(target)
        if not tty:
            return
        if name == "ioctl":
            name = f"ioctl:{REQUESTS.get(more[0], hex(more[0]))}"
        if self._log:
            thread = "loop" if threading.current_thread() is threading.main_thread() else "thread"
            with pathlib.Path(self._log).open("a") as file:
                file.write(f"{name} {tty} {thread}\n")
        if f"{name}@{tty}" in self._hold_at:
            self._hold_at.remove(f"{name}@{tty}")
            sys.stderr.write(f"HELD {name}@{tty}\n")
            sys.stderr.flush()
            until = time.monotonic() + HOLD_S
            while not GO.exists() and time.monotonic() < until:
                time.sleep(0.05)


def install() -> None:
    """Stand in front of the calls, if that was asked for."""
    if not {"USB_HOLD", "USB_WATCH"} & os.environ.keys():
        return
    watch = Watch()

    def watched(name: str, real: Any) -> Any:
        def call(target: Any, *more: Any, **named: Any) -> Any:
            watch.before(name, target, more)
            return real(target, *more, **named)

        return call

    for name, module in CALLS.items():
        setattr(module, name, watched(name, getattr(module, name)))
