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
