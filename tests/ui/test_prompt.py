"""Reading one line from a terminal beside a running event loop."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from parburn.ui.prompt import can_ask, read_line


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    master, slave = os.openpty()
    yield master, slave
    os.close(master)
    os.close(slave)


def ask(slave: int, *, deadline_s: float = 5.0, after: list[tuple[float, int, bytes | None]]) -> str | None:
    """Read a line; `after` says what happens when: bytes to type, or None for a stop."""

    async def session() -> str | None:
        stopped = asyncio.Event()
        loop = asyncio.get_running_loop()
        for delay, fd, data in after:
            loop.call_later(delay, stopped.set) if data is None else loop.call_later(
                delay, os.write, fd, data
            )
        return await read_line(slave, stopped, deadline_s=deadline_s)

    return asyncio.run(session())


def test_a_line_typed_in_pieces(terminal: tuple[int, int]) -> None:
    master, slave = terminal
    assert ask(slave, after=[(0.0, master, b"BU"), (0.05, master, b"RN\n")]) == "BURN"


def test_the_end_of_input_is_no_answer(terminal: tuple[int, int]) -> None:
    master, slave = terminal
    assert ask(slave, after=[(0.0, master, b"\x04")]) is None


def test_a_stop_ends_the_question(terminal: tuple[int, int]) -> None:
    master, slave = terminal
    assert ask(slave, after=[(0.05, master, None)]) is None


def test_the_question_has_a_deadline(terminal: tuple[int, int]) -> None:
    assert ask(terminal[1], deadline_s=0.05, after=[]) is None


def test_what_is_typed_after_the_line_is_left_for_others(terminal: tuple[int, int]) -> None:
    master, slave = terminal
    assert ask(slave, after=[(0.0, master, b"BURN\nls\n")]) == "BURN"
    assert os.read(slave, 100) == b"ls\n"


def test_only_a_terminal_can_be_asked(terminal: tuple[int, int]) -> None:
    with os.fdopen(os.dup(terminal[1])) as tty, Path(os.devnull).open() as null:
        assert can_ask(tty, tty)
        assert not can_ask(null, tty)
        tty_closed = os.fdopen(os.dup(terminal[1]))
        tty_closed.close()
        assert not can_ask(tty_closed, tty)
