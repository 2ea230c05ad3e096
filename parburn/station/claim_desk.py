"""Gives indexes to boards that come one by one: those of one moment together, in the order of their slots.

A transaction for each board would wait for the disk each time; and boards that are put in together should
get their indexes in the order in which they sit. Order is a comfort, never safety. A board that comes alone
does not wait for others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from parburn.errors import InternalError, LedgerError, ParburnError
from parburn.ledger.base import Cause, Claim, UnitIdentity
from parburn.natural_order import natural_key

TOGETHER_S: Final = 0.05

ClaimAll = Callable[[Sequence[UnitIdentity]], Awaitable[Sequence[Claim | ParburnError]]]
Place = tuple[str, UnitIdentity, "asyncio.Future[Claim]"]


class ClaimDesk:
    """Where boards get their claims. Everything here runs on the event loop."""

    def __init__(self, claim_all: ClaimAll) -> None:
        self._claim_all = claim_all
        self._places: list[Place] = []
        self._round: asyncio.Task[None] | None = None
        self._coming = 0  # boards of which it is just being found out who they are
        self._unended: dict[UnitIdentity, tuple[Claim, Cause]] = {}  # the ledger did not take their end

    @contextmanager
    def coming(self) -> Iterator[None]:
        """Be told, for a block, that a board may soon ask for its claim."""
        self._coming += 1
        try:
            yield
        finally:
            self._coming -= 1

    async def claim(self, slot: str, identity: UnitIdentity) -> Claim:
        """Return the claim of an identified chip.

        Who is cancelled meanwhile gets none: it is ended as soon as it is there.

        Raises:
            ParburnError: it gets none, and why.
        """
        place: asyncio.Future[Claim] = asyncio.get_running_loop().create_future()
        self._places.append((slot, identity, place))
        if self._round is None:
            self._round = asyncio.ensure_future(self._give_out())
        return await place

    async def aclose(self) -> None:
        """Wait until nobody is being given anything."""
        if self._round is not None:
            await asyncio.wait({self._round})

    async def give_back(self, claim: Claim) -> None:
        """End a claim whose board was gone before anything began: its index is free again."""
        try:
            await claim.failed_clean("its board was taken out before its script began", release=True)
            await claim.end()
        except LedgerError:
            self.not_ended(claim, Cause.UNPLUGGED)

    def not_ended(self, claim: Claim, cause: Cause) -> None:
        """Note a claim that the ledger could not end: it is ended before its chip gets another one.

        Args:
            claim: It; else its chip would be held by this very run for as long as that lasts.
            cause: What ended it, should something have been attempted.
        """
        self._unended[claim.identity] = claim, cause

    async def _end_left(self, identities: Sequence[UnitIdentity]) -> None:
        for identity in identities:
            claim, cause = self._unended.get(identity, (None, Cause.OTHER))
            if claim is not None:
                await claim.end(cause=cause)
                self._unended.pop(identity, None)

    async def _give_out(self) -> None:
        if self._coming:
            await asyncio.sleep(TOGETHER_S)
        places, self._places = sorted(self._places, key=lambda place: natural_key(place[0])), []
        self._round = None
        places = [place for place in places if not place[2].done()]
        if not places:
            return
        identities = [identity for _, identity, _ in places]
        try:
            await self._end_left(identities)
            outcomes = await self._claim_all(identities)
        except ParburnError as error:
            outcomes = [error] * len(places)
        except Exception as error:
            outcomes = [InternalError(error)] * len(places)
        for (_, _, place), outcome in zip(places, outcomes, strict=True):
            if isinstance(outcome, ParburnError):
                if not place.done():
                    place.set_exception(outcome)
            elif not place.done():
                place.set_result(outcome)
        for (_, _, place), outcome in zip(places, outcomes, strict=True):
            if place.cancelled() and not isinstance(outcome, ParburnError):
                await self.give_back(outcome)  # its board went away in this moment
