"""Gives indexes to boards that come one by one: those of one moment in the order of their slots.

Boards that are put in together should get their indexes in the order in which they sit. Order is a comfort,
never safety. So a board waits only for those that answer already and are not known yet, and of these for
none that sits behind it. Those that are ready at once share a transaction of the ledger: each waits for the
disk.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Final, NamedTuple

from parburn.errors import InternalError, LedgerError, ParburnError
from parburn.ledger.base import Cause, Claim, UnitIdentity
from parburn.natural_order import natural_key

TOGETHER_S: Final = 0.05  # boards that are identified within this time are one moment's

ClaimAll = Callable[[Sequence[UnitIdentity]], Awaitable[Sequence[Claim | ParburnError]]]


class _Place(NamedTuple):
    """A board that waits for its claim, until `latest` (loop time) for those that sit before it."""

    order: tuple[tuple[int, int, str], ...]
    identity: UnitIdentity
    latest: float
    claim: asyncio.Future[Claim]


class ClaimDesk:
    """Where boards get their claims. Everything here runs on the event loop."""

    def __init__(self, claim_all: ClaimAll) -> None:
        self._claim_all = claim_all
        self._places: list[_Place] = []
        self._coming: set[str] = set()  # sockets of boards of which it is just being found out who they are
        self._changed = asyncio.Event()
        self._round: asyncio.Task[None] | None = None
        self._given_out: set[asyncio.Task[None]] = set()  # transactions under way
        self._unended: dict[UnitIdentity, tuple[Claim, Cause]] = {}  # the ledger did not take their end

    def comes(self, slot: str) -> None:
        """Learn that the board in this socket answers, and may soon ask for its claim."""
        self._coming.add(slot)

    def waits_not_for(self, slot: str) -> None:
        """Learn that this board has asked, or will not soon. Does nothing the second time."""
        self._coming.discard(slot)
        self._changed.set()

    async def claim(self, slot: str, identity: UnitIdentity) -> Claim:
        """Return the claim of an identified chip.

        Who is cancelled meanwhile gets none: it is ended as soon as it is there.

        Raises:
            ParburnError: it gets none, and why.
        """
        loop = asyncio.get_running_loop()
        place = _Place(natural_key(slot), identity, loop.time() + TOGETHER_S, loop.create_future())
        self._places.append(place)
        self.waits_not_for(slot)
        if self._round is None:
            self._round = asyncio.ensure_future(self._give_out())
        return await place.claim

    async def aclose(self) -> None:
        """Wait until nobody is being given anything."""
        while pending := {task for task in (self._round, *self._given_out) if task is not None}:
            await asyncio.wait(pending)

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
        """Give out claims until nobody waits for one."""
        try:
            while self._places:
                ready = self._take_ready()
                if ready:
                    giving = asyncio.ensure_future(self._give(ready))
                    self._given_out.add(giving)
                    giving.add_done_callback(self._given_out.discard)
                elif self._places:
                    await self._until_changed(min(place.latest for place in self._places))
        finally:
            self._round = None

    async def _until_changed(self, latest: float) -> None:
        self._changed.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout_at(latest):
                await self._changed.wait()

    def _take_ready(self) -> list[_Place]:
        """Take out, in order, who waits for nobody before it, and whoever sits before one of them."""
        now = asyncio.get_running_loop().time()
        first_coming = min(map(natural_key, self._coming), default=None)
        last_ready = max(
            (
                place.order
                for place in self._places
                if first_coming is None or place.order < first_coming or place.latest <= now
            ),
            default=None,
        )
        if last_ready is None:
            return []
        ready = [place for place in self._places if place.order <= last_ready and not place.claim.done()]
        self._places = [place for place in self._places if place.order > last_ready]
        return sorted(ready, key=lambda place: place.order)

    async def _give(self, places: Sequence[_Place]) -> None:
        identities = [place.identity for place in places]
        try:
            await self._end_left(identities)
            outcomes = await self._claim_all(identities)
        except ParburnError as error:
            outcomes = [error] * len(places)
        except Exception as error:
            outcomes = [InternalError(error)] * len(places)
        for place, outcome in zip(places, outcomes, strict=True):
            if isinstance(outcome, ParburnError):
                if not place.claim.done():
                    place.claim.set_exception(outcome)
            elif not place.claim.done():
                place.claim.set_result(outcome)
        for place, outcome in zip(places, outcomes, strict=True):
            if place.claim.cancelled() and not isinstance(outcome, ParburnError):
                await self.give_back(outcome)  # its board went away in this moment
