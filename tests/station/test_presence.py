"""One chip sits in one socket: a second one with its identity is refused, a board that moves is not."""

from __future__ import annotations

import asyncio

import pytest

from parburn.errors import IdentityUnclear
from parburn.ledger.base import UnitIdentity
from parburn.station import presence
from parburn.station.presence import Presence

CHIP = UnitIdentity("esp32c3", "aa:bb:cc:00:00:01")
OTHER = UnitIdentity("esp32c3", "aa:bb:cc:00:00:02")


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presence, "MOVE_S", 0.3)
    monkeypatch.setattr(presence, "SEEN_S", 0.05)


def test_a_second_one_is_refused_and_says_where_the_first_is_and_the_first_is_refused_too() -> None:
    async def run() -> None:
        seats = Presence()
        first = await seats.enter(CHIP, "A1")
        await seats.enter(OTHER, "A2")
        with pytest.raises(IdentityUnclear, match="answers in B7 and in A1"):
            await seats.enter(CHIP, "B7")
        assert first.refusal is not None
        assert "A1 and in B7" in str(first.refusal)
        assert seats.where(CHIP) == "A1"

    asyncio.run(run())


def test_the_first_is_refused_at_once_and_not_when_the_second_has_waited() -> None:
    """It may be about to burn."""

    async def run() -> None:
        seats = Presence()
        first = await seats.enter(CHIP, "A1")
        second = asyncio.ensure_future(seats.enter(CHIP, "A2"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not second.done()
        assert first.refusal is not None
        with pytest.raises(IdentityUnclear):
            await second

    asyncio.run(run())


def test_one_that_sits_there_for_sure_is_a_double_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits whether it may have moved: it may be taken out meanwhile."""
    monkeypatch.setattr(presence, "SEEN_S", 60.0)

    async def run() -> None:
        seats = Presence()
        there = True

        async def sits_there() -> bool:
            return there

        first = await seats.enter(CHIP, "A1", sits_there=sits_there)
        async with asyncio.timeout(1):
            with pytest.raises(IdentityUnclear):
                await seats.enter(CHIP, "A2")
        assert first.refusal is not None
        there = False
        moved = asyncio.ensure_future(seats.enter(CHIP, "A3"))
        await asyncio.sleep(0.01)
        seats.leave(first)
        assert (await moved).slot == "A3"

    asyncio.run(run())


@pytest.mark.parametrize("gone", [False, True])
def test_one_that_answered_when_the_second_was_known_is_a_double_also_if_it_leaves_meanwhile(
    gone: bool,
) -> None:
    """Else the second is taken for it, and what it lacks puts the first one's unit into quarantine."""

    async def run() -> None:
        seats = Presence()
        first = await seats.enter(CHIP, "A1")
        first.node_is_gone = gone
        second = asyncio.ensure_future(seats.enter(CHIP, "A5"))
        await asyncio.sleep(0.01)
        first.heard_at = asyncio.get_running_loop().time()
        seats.leave(first)
        with pytest.raises(IdentityUnclear, match="answers in A5 and in A1"):
            await second
        assert not seats.where(CHIP)

    asyncio.run(run())


def test_a_board_that_moved_waits_for_the_end_in_its_first_socket() -> None:
    async def run() -> None:
        seats = Presence()
        first = await seats.enter(CHIP, "A1")
        first.node_is_gone = True
        moved = asyncio.ensure_future(seats.enter(CHIP, "A2"))
        await asyncio.sleep(0.1)
        assert not moved.done()
        seats.leave(first)
        assert (await moved).slot == "A2"
        assert first.refusal is None
        assert seats.where(CHIP) == "A2"
        seats.leave(first)  # late, and once more: it takes nobody else away
        assert seats.where(CHIP) == "A2"

    asyncio.run(run())


def test_a_board_that_moved_before_anybody_saw_it_leave_is_no_double() -> None:
    async def run() -> None:
        seats = Presence()
        first = await seats.enter(CHIP, "A1")
        moved = asyncio.ensure_future(seats.enter(CHIP, "A2"))
        await asyncio.sleep(0.01)
        seats.leave(first)
        assert (await moved).slot == "A2"

    asyncio.run(run())


def test_a_move_whose_first_end_never_comes_is_refused() -> None:
    async def run() -> None:
        seats = Presence()
        first = await seats.enter(CHIP, "A1")
        first.node_is_gone = True
        with pytest.raises(IdentityUnclear):
            await seats.enter(CHIP, "A2")

    asyncio.run(run())
