"""Claims of boards that come and go: none is lost, and none keeps others waiting, when the ledger is away."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from parburn.errors import LedgerUnusable, ParburnError
from parburn.ledger.base import Cause, UnitIdentity
from parburn.station.claim_desk import ClaimDesk


class Claim:
    def __init__(self, identity: UnitIdentity, ledger: Ledger) -> None:
        self.identity, self.ledger = identity, ledger
        self.ended = ""

    async def failed_clean(self, reason: str, *, release: bool) -> None:
        self.ledger.check()

    async def end(self, *, cause: str = "other") -> None:
        self.ledger.check()
        self.ended = Cause(cause).value
        self.ledger.held.discard(self.identity)


class Ledger:
    def __init__(self) -> None:
        self.is_away = False
        self.held: set[UnitIdentity] = set()
        self.claims: list[Claim] = []
        self.meanwhile: asyncio.Task[object] | None = None  # goes away while claims are made

    def check(self) -> None:
        if self.is_away:
            raise LedgerUnusable("locked")

    async def claim_all(self, identities: Sequence[UnitIdentity]) -> list[Claim | ParburnError]:
        self.check()
        await asyncio.sleep(0)
        found: list[Claim | ParburnError] = []
        for one in identities:
            if one in self.held:
                found.append(LedgerUnusable(f"{one} is held by this run already"))
                continue
            self.held.add(one)
            self.claims.append(Claim(one, self))
            found.append(self.claims[-1])
        if self.meanwhile is not None:
            self.meanwhile.cancel()
            self.is_away = True
            await asyncio.sleep(0)
        return found


def chip(number: int) -> UnitIdentity:
    return UnitIdentity("esp32c3", f"aa:bb:cc:00:00:{number:02x}")


def test_a_claim_that_cannot_be_given_back_keeps_no_other_board_waiting_and_is_ended_later() -> None:
    async def run() -> None:
        ledger = Ledger()
        desk = ClaimDesk(ledger.claim_all)  # type: ignore[arg-type]  # claims of a test
        ledger.meanwhile = gone = asyncio.ensure_future(desk.claim("A1", chip(1)))
        stays = asyncio.ensure_future(desk.claim("A2", chip(2)))
        claim = await asyncio.wait_for(stays, 2)
        assert claim.identity == chip(2)
        assert gone.cancelled()
        ledger.is_away, ledger.meanwhile = False, None
        assert (await desk.claim("A1", chip(1))).identity == chip(1)
        assert ledger.claims[0].ended == "unplugged"

    asyncio.run(run())


def test_a_claim_whose_end_was_not_written_is_ended_before_its_chip_gets_another() -> None:
    async def run() -> None:
        ledger = Ledger()
        desk = ClaimDesk(ledger.claim_all)  # type: ignore[arg-type]  # claims of a test
        first = await desk.claim("A1", chip(1))
        desk.not_ended(first, Cause.LEDGER)
        ledger.is_away = True
        with pytest.raises(LedgerUnusable, match="locked"):
            await desk.claim("A1", chip(1))
        ledger.is_away = False
        assert (await desk.claim("A1", chip(1))) is not first
        assert ledger.claims[0].ended == "ledger"

    asyncio.run(run())
