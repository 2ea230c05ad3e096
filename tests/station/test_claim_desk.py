"""Who gets an index when: boards of one moment together, in the order of their slots; one alone at once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import cast

import pytest

from parburn.errors import LedgerError, ParburnError
from parburn.ledger.base import Claim, UnitIdentity
from parburn.station import claim_desk
from parburn.station.claim_desk import ClaimDesk

TOGETHER_S = 0.5  # ten times the real one: a loaded machine wakes nobody in time


@pytest.fixture(autouse=True)
def _wide_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claim_desk, "TOGETHER_S", TOGETHER_S)


def identity(number: int) -> UnitIdentity:
    return UnitIdentity(chip="esp32c3", mac=f"mac {number}", unique_id="")


class _Ledger:
    """Counts what it is asked; its claims are words."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    async def claim_all(self, identities: Sequence[UnitIdentity]) -> Sequence[Claim | ParburnError]:
        self.asked.append([one.mac for one in identities])
        found = [
            LedgerError("taken") if one.mac == "mac 13" else cast(Claim, f"for {one.mac}")
            for one in identities
        ]
        return cast(Sequence[Claim | ParburnError], found)


async def _alone() -> None:
    ledger = _Ledger()
    desk = ClaimDesk(ledger.claim_all)
    loop = asyncio.get_running_loop()
    begun = loop.time()
    assert str(await desk.claim("A1", identity(1))) == "for mac 1"
    assert loop.time() - begun < TOGETHER_S


def test_a_board_that_comes_alone_does_not_wait() -> None:
    asyncio.run(_alone())


async def _together() -> None:
    ledger = _Ledger()
    desk = ClaimDesk(ledger.claim_all)

    async def board(slot: str, number: int, after_s: float) -> object:
        desk.comes(slot)
        await asyncio.sleep(after_s)
        return await desk.claim(slot, identity(number))

    given = [board("A10", 1, 0.0), board("A9", 2, TOGETHER_S / 5), board("A1", 13, TOGETHER_S / 4)]
    found = await asyncio.gather(*given, return_exceptions=True)
    assert ledger.asked == [["mac 13", "mac 2", "mac 1"]]
    assert found[:2] == ["for mac 1", "for mac 2"]
    assert isinstance(found[2], LedgerError)
    await desk.aclose()


def test_boards_of_one_moment_are_claimed_together_in_the_order_of_their_slots() -> None:
    asyncio.run(_together())


async def _until_it_will_not() -> None:
    ledger = _Ledger()
    desk = ClaimDesk(ledger.claim_all)
    loop = asyncio.get_running_loop()
    desk.comes("A1")
    loop.call_later(TOGETHER_S / 10, desk.waits_not_for, "A1")  # refused, say, or pulled
    begun = loop.time()
    assert str(await desk.claim("A2", identity(1))) == "for mac 1"
    assert TOGETHER_S / 10 <= loop.time() - begun < TOGETHER_S


def test_nobody_waits_for_a_board_that_will_not_ask() -> None:
    asyncio.run(_until_it_will_not())


async def _before_one_that_comes() -> None:
    ledger = _Ledger()
    desk = ClaimDesk(ledger.claim_all)
    loop = asyncio.get_running_loop()
    desk.comes("A10")
    begun = loop.time()
    assert str(await desk.claim("A9", identity(1))) == "for mac 1"
    assert loop.time() - begun < TOGETHER_S


def test_a_board_does_not_wait_for_one_that_sits_behind_it() -> None:
    asyncio.run(_before_one_that_comes())


async def _who_has_waited() -> None:
    ledger = _Ledger()
    desk = ClaimDesk(ledger.claim_all)
    loop = asyncio.get_running_loop()
    desk.comes("A1")  # does not say who it is

    async def board(slot: str, number: int, after_s: float) -> float:
        await asyncio.sleep(after_s)
        begun = loop.time()
        await desk.claim(slot, identity(number))
        return loop.time() - begun

    waited = await asyncio.gather(
        board("A8", 1, 0.0), board("A3", 2, TOGETHER_S / 2), board("A9", 3, TOGETHER_S / 2)
    )
    assert ledger.asked == [["mac 2", "mac 1"], ["mac 3"]]
    assert waited[0] >= TOGETHER_S > waited[1]  # who sits before one that has waited goes with it
    assert waited[2] >= TOGETHER_S


def test_who_has_waited_takes_along_only_those_that_sit_before_it() -> None:
    asyncio.run(_who_has_waited())


async def _closes_when_all_is_written() -> None:
    ledger = _Ledger()
    written = asyncio.Event()

    async def slow(identities: Sequence[UnitIdentity]) -> Sequence[Claim | ParburnError]:
        await asyncio.sleep(TOGETHER_S)
        written.set()
        return await ledger.claim_all(identities)

    desk = ClaimDesk(slow)
    asks = asyncio.ensure_future(desk.claim("A1", identity(1)))
    await asyncio.sleep(TOGETHER_S / 5)
    await desk.aclose()
    assert written.is_set()
    assert str(await asks) == "for mac 1"


def test_it_closes_once_what_it_asked_of_the_ledger_is_answered() -> None:
    asyncio.run(_closes_when_all_is_written())


async def _long_silent() -> None:
    ledger = _Ledger()
    desk = ClaimDesk(ledger.claim_all)
    desk.comes("A1")  # it may never say who it is
    async with asyncio.timeout(20 * TOGETHER_S):
        assert str(await desk.claim("A2", identity(1))) == "for mac 1"


def test_a_board_that_does_not_answer_keeps_nobody_waiting() -> None:
    asyncio.run(_long_silent())
