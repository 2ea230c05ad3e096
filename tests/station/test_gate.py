"""Who may begin: one alone until the first article has passed, nobody while halted; in order, all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from parburn.station.gate import FIRST_ARTICLE, Gate


class Board:
    def __init__(self, gate: Gate, slot: str) -> None:
        self.gate, self.slot = gate, slot
        self.told: list[str] = []
        self.inside = False
        self.task = asyncio.ensure_future(self._enter())

    async def _enter(self) -> None:
        await self.gate.enter(self.slot, on_hold=self.told.append)
        self.inside = True


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def in_loop(test: Callable[[], object]) -> None:
    async def run() -> None:
        await test()  # type: ignore[misc]

    asyncio.run(run())


def test_the_first_board_is_alone_until_it_has_passed_and_the_others_follow_in_order() -> None:
    async def run() -> None:
        gate = Gate(first_articles=1)
        a, b, c = (Board(gate, slot) for slot in "ABC")
        await settle()
        assert (a.inside, b.inside, c.inside) == (True, False, False)
        assert b.told == c.told == [FIRST_ARTICLE]
        gate.ended("A", passed=False)  # no first article yet: the next one is alone
        await settle()
        assert (b.inside, c.inside) == (True, False)
        gate.ended("B", passed=True)
        await settle()
        assert c.inside
        d = Board(gate, "D")
        await settle()
        assert d.inside, "once the first article has passed nobody waits"

    asyncio.run(run())


def test_no_first_article_lets_all_in_at_once() -> None:
    async def run() -> None:
        gate = Gate(first_articles=0)
        boards = [Board(gate, slot) for slot in "ABC"]
        await settle()
        assert all(board.inside for board in boards)

    asyncio.run(run())


def test_a_halt_holds_those_that_have_not_begun_and_says_why() -> None:
    async def run() -> None:
        gate = Gate(first_articles=0)
        gate.close("a doubled value")
        gate.close("another reason")
        board = Board(gate, "A")
        await settle()
        assert not board.inside
        assert board.told == ["halted: a doubled value"]
        gate.open()
        await settle()
        assert board.inside

    asyncio.run(run())


def test_who_waits_is_told_when_the_reason_changes() -> None:
    async def run() -> None:
        gate = Gate(first_articles=1)
        Board(gate, "A")
        held = Board(gate, "B")
        await settle()
        gate.close("stop")
        gate.close("stop")
        assert held.told == [FIRST_ARTICLE, "halted: stop"]

    asyncio.run(run())


def test_who_is_let_in_and_cancelled_in_the_same_moment_does_not_keep_the_gate() -> None:
    async def run() -> None:
        gate = Gate(first_articles=1)
        Board(gate, "A")
        b, c = Board(gate, "B"), Board(gate, "C")
        await settle()
        gate.ended("A", passed=False)  # lets B in
        b.task.cancel()
        await settle()
        assert c.inside
        assert not b.inside

    asyncio.run(run())


@settings(deadline=None)  # a loop each
@given(
    st.lists(st.sampled_from(["enter", "pass", "fail", "cancel", "halt", "open"]), max_size=40),
    st.integers(0, 2),
)
def test_never_two_at_work_before_the_articles_have_passed_and_nobody_waits_at_an_open_gate(
    steps: list[str], articles: int
) -> None:
    async def run() -> None:
        gate = Gate(first_articles=articles)
        boards: list[Board] = []
        for step in steps:
            inside = [board for board in boards if board.inside]
            waiting = [board for board in boards if not board.task.done()]
            if step == "enter":
                boards.append(Board(gate, f"S{len(boards)}"))
            elif step in ("pass", "fail") and inside:
                inside[0].inside = False
                gate.ended(inside[0].slot, passed=step == "pass")
            elif step == "cancel" and waiting:
                waiting[0].task.cancel()
            elif step == "halt":
                gate.close("stop")
            elif step == "open":
                gate.open()
            await settle()
            at_work = [board.slot for board in boards if board.inside]
            left = [board for board in boards if not board.task.done()]
            if gate.articles_left and not gate.halt and step not in ("halt", "open"):
                assert len(at_work) <= 1 or gate.articles_left < articles
            if not gate.why_closed():
                assert not left, "the gate is open, and somebody waits before it"
        for board in boards:
            board.task.cancel()

    asyncio.run(run())
