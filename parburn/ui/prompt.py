"""Asks the operator for one line on the terminal without blocking the event loop.

The descriptor is read by the loop and not in a thread: a thread that waits in a read cannot be ended, and
would take the first line that is typed for the shell after parburn.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Any

from parburn.ui.nonblocking_writer import NonblockingWriter

CONFIRM_DEADLINE_S = 3600.0  # nobody is there
TRIES = 3  # words; the wrong one may have been a slip
_SHOWN_S = 2.0  # how long the terminal may take to show what stands above a question
_LOOK_S = 0.01


def can_ask(stdin: IO[str] | None = None, stderr: IO[str] | None = None) -> bool:
    """Return whether there is a terminal to ask on and to answer from."""
    stdin = sys.stdin if stdin is None else stdin
    stderr = sys.stderr if stderr is None else stderr
    try:
        return stdin is not None and stdin.isatty() and (sys.stdout.isatty() or stderr.isatty())
    except ValueError:  # closed
        return False


async def read_line(
    fd: int, stopped: asyncio.Event, *, deadline_s: float = CONFIRM_DEADLINE_S, limit: int = 4096
) -> str | None:
    """Return the next line typed; None at the end of input, when `stopped` is set, or at the deadline.

    Args:
        fd: The descriptor of the terminal.
        stopped: Ends the waiting.
        deadline_s: How long to wait for a line, in seconds.
        limit: Bytes after which a line counts as ended.
    """
    loop = asyncio.get_running_loop()
    typed: asyncio.Future[str | None] = loop.create_future()
    text = bytearray()

    def take() -> None:
        try:
            data = os.read(fd, 1024)
        except OSError:
            data = b""
        text.extend(data)
        if not typed.done() and (not data or b"\n" in data or len(text) > limit):
            loop.remove_reader(fd)  # at once: the next line is not ours
            typed.set_result(text.decode("utf-8", "replace").partition("\n")[0] if data else None)

    loop.add_reader(fd, take)
    stop = asyncio.ensure_future(stopped.wait())
    either: set[asyncio.Future[Any]] = {typed, stop}
    try:
        await asyncio.wait(either, timeout=deadline_s, return_when=asyncio.FIRST_COMPLETED)
        return typed.result() if typed.done() and not stopped.is_set() else None
    finally:
        loop.remove_reader(fd)
        typed.cancel()
        stop.cancel()


@contextmanager
def lines_into(lines: asyncio.Queue[str | None], fd: int, *, limit: int = 4096) -> Iterator[None]:
    """Put each line that is typed into a queue, and None at the end of input, for the time of a block.

    Args:
        lines: Gets them.
        fd: A terminal or a pipe.
        limit: Bytes of a line; of a longer one its end.
    """
    loop = asyncio.get_running_loop()
    rest = bytearray()

    def take() -> None:
        try:
            data = os.read(fd, 1024)
        except OSError:
            data = b""
        rest.extend(data)
        *whole, begun = rest.split(b"\n")
        rest[:] = begun[-limit:]
        for line in whole:
            lines.put_nowait(line.decode("utf-8", "replace"))
        if not data:
            loop.remove_reader(fd)
            lines.put_nowait(None)

    loop.add_reader(fd, take)
    try:
        yield
    finally:
        loop.remove_reader(fd)


async def ask_for(
    word: str,
    question: str,
    out: NonblockingWriter,
    fd: int,
    stopped: asyncio.Event,
    *,
    discard: Callable[[int], object],
) -> bool:
    """Ask until the word is typed, TRIES times at most; return whether it was.

    What was typed before a question was shown is thrown away: nobody has read it then.

    Args:
        word: The word that is asked for.
        question: The line on which it is typed.
        out: Shows the question.
        fd: The descriptor of the terminal.
        stopped: Ends the waiting.
        discard: Throws away what a descriptor has received.
    """
    again = ""
    for _ in range(TRIES):
        await _is_shown(out)
        discard(fd)
        out.write(again + question)
        typed = await read_line(fd, stopped)
        while typed is not None and not await _is_shown(out):  # stopped by Ctrl-S: nobody has read it
            typed = await read_line(fd, stopped)
        if typed is None:
            out.line("")
            return False
        if typed.strip() == word:
            return True
        again = f"That was not {word}; Ctrl-C stops. "
    return False


async def _is_shown(out: NonblockingWriter) -> bool:
    """Wait until the terminal has what was written, _SHOWN_S at most; return whether it has."""
    for _ in range(int(_SHOWN_S / _LOOK_S)):
        if not out.busy:
            return True
        await asyncio.sleep(_LOOK_S)
    return False
