"""A port's lines stand still once it is being closed, whatever its driver is still at."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable

import pytest

from parburn.transport import line_moves
from parburn.transport.line_moves import LineMoves

STEPS = ((True, False, 0.02), (False, True, 0.02), (False, False, 0.02))


class Lines:
    """Takes the moves; each takes `seconds` in the driver."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.moved: list[tuple[bool, bool]] = []

    def move(self, dtr: bool, rts: bool, _is_over: Callable[[], bool]) -> None:
        time.sleep(self.seconds)
        self.moved.append((dtr, rts))


def ended_at_work(lines: Lines, then: float) -> tuple[list[tuple[bool, bool]], float]:
    """The moves at the end of a port whose sequence is at work, and how long that took."""

    async def run() -> float:
        moves = LineMoves()
        thread = threading.Thread(target=moves.carry_out, args=(STEPS, lines.move, threading.Event()))
        thread.start()
        while not moves._at_work:  # noqa: ASYNC110  # a thread sets it
            await asyncio.sleep(0)
        began = time.monotonic()
        await moves.end()
        took = time.monotonic() - began
        at_the_end.extend(lines.moved)
        await asyncio.sleep(then)
        thread.join()
        moves.carry_out(STEPS, lines.move, threading.Event())  # one that was asked for and had not begun
        return took

    at_the_end: list[tuple[bool, bool]] = []
    return at_the_end, asyncio.run(run())


def test_a_sequence_that_goes_on_comes_to_its_end() -> None:
    lines = Lines()
    at_the_end, took = ended_at_work(lines, 0)
    assert at_the_end == lines.moved == [step[:2] for step in STEPS]
    assert took < 1


def test_one_that_is_held_up_moves_once_more_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line_moves, "MOVES_END_S", 0.1)
    lines = Lines(0.3)
    at_the_end, took = ended_at_work(lines, 0.8)
    assert at_the_end == []
    assert lines.moved == [(True, False)]  # the driver had it already
    assert 0.1 <= took < 0.3


def test_one_that_was_given_up_goes_no_further() -> None:
    lines, given_up = Lines(), threading.Event()
    given_up.set()
    LineMoves().carry_out(STEPS, lines.move, given_up)
    assert lines.moved == []
