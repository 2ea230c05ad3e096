"""What stops a command from outside: at once, or, while boards are at work, as a wish."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_KNOCK = signal.SIGURG  # what nobody handles, and whose default is to do nothing
_KNOCKS_S = (0.02, 0.2, 1.0)  # after a stop signal; where it was heard they do nothing
_LAST_BYTE = b"\0"  # the number of no signal
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
        with _stop_signals_end_reads():
            yield
    finally:
        for number in taken:
            signal.signal(number, signal.SIG_DFL)


@contextmanager
def _stop_signals_end_reads() -> Iterator[None]:
    """See that a stop signal is heard by a main thread that waits in a read, whenever it comes.

    One that comes between Python's last look for signals and the system call does not end that call: its
    handler would wait as long as the read. A thread knocks once more, with a signal that does nothing else.
    """
    main, over = threading.get_ident(), threading.Event()
    ours, theirs = os.pipe()
    os.set_blocking(theirs, False)

    def knock() -> None:
        while _LAST_BYTE not in (numbers := os.read(ours, 64)):
            if not set(STOP_SIGNALS).isdisjoint(numbers):
                for pause_s in _KNOCKS_S:
                    if not over.wait(pause_s):
                        signal.pthread_kill(main, _KNOCK)

    knocking = threading.Thread(target=knock, name="parburn-signals", daemon=True)
    handled = signal.signal(_KNOCK, lambda number, frame: None)
    before = signal.set_wakeup_fd(theirs, warn_on_full_buffer=False)
    knocking.start()
    try:
        yield
    finally:
        over.set()
        signal.set_wakeup_fd(before)
        os.write(
            theirs, _LAST_BYTE
        )  # closing would not end it: a child that was forked has the pipe open, too
        knocking.join()
        os.close(theirs)
        os.close(ours)
        signal.signal(_KNOCK, handled)


@contextmanager
def stop_requested_by_signals(request: Callable[[], object]) -> Iterator[None]:
    """Within, have each stop signal call `request` on the loop that runs. Then they do what they did before.

    SIGHUP only where we were not started to ignore it (nohup).
    """
    loop = asyncio.get_running_loop()
    nohup = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    # Shells start `parburn ... &` with SIGINT ignored; who then sends one means it all the same.
    taken = [number for number in STOP_SIGNALS if not (nohup and number == signal.SIGHUP)]
    before = {number: signal.getsignal(number) for number in taken}
    for number in taken:
        loop.add_signal_handler(number, request)
    try:
        yield
    finally:
        for number in taken:
            loop.remove_signal_handler(number)
            signal.signal(number, before[number])


@contextmanager
def redrawn_after_a_stop(redraw: Callable[[], object]) -> Iterator[None]:
    """Within, have `redraw` called on the loop that runs when we go on after Ctrl-Z.

    Until then another program has had the terminal.
    """
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGCONT, redraw)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGCONT)
