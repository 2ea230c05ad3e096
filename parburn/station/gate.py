"""Which boards may begin: none while the station is halted, one alone until the first article has passed.

It takes the place of a run's confirmation. Boards that must wait keep their order. Knows no chip.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

FIRST_ARTICLE: Final = "the first board after an arming burns alone: this one waits until it is PASS"


class _Place:
    """One board that waits."""

    def __init__(self, slot: str, on_hold: Callable[[str], object]) -> None:
        self.slot = slot
        self.let_in: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._on_hold = on_hold
        self._told = ""

    def tell(self, why: str) -> None:
        """Say why it waits, where that is new."""
        if why != self._told:
            self._told = why
            self._on_hold(why)


class Gate:
    """The gate of a station. Everything here runs on the event loop."""

    def __init__(self, *, first_articles: int, halt: str = "") -> None:
        """Let boards begin one at a time until so many have passed; 0: no board waits for another."""
        self.halt = halt
        self.held = ""  # by something that passes by itself
        self.articles_left = first_articles
        self._at_work: set[str] = set()
        self._waiting: list[_Place] = []

    def why_closed(self) -> str:
        """Return why a board would have to wait now; empty where it may begin."""
        if self.halt:
            return f"halted: {self.halt}"
        if self.held:
            return self.held
        return FIRST_ARTICLE if self.articles_left and self._at_work else ""

    async def enter(self, slot: str, *, on_hold: Callable[[str], object]) -> None:
        """Wait until the board in this slot may begin; then `ended` must follow, whatever happens to it.

        Args:
            slot: Its socket.
            on_hold: Is told why it waits, and again when the reason is another one.
        """
        if not self._waiting and not self.why_closed():
            self._at_work.add(slot)
            return
        place = _Place(slot, on_hold)
        self._waiting.append(place)
        place.tell(self.why_closed() or FIRST_ARTICLE)
        try:
            await place.let_in
        except BaseException:
            if place in self._waiting:
                self._waiting.remove(place)
            else:  # it was let in, and will never begin
                self.ended(slot, passed=False)
            raise

    def ended(self, slot: str, *, passed: bool) -> None:
        """Note how a board ended that had begun; do nothing for one that had not.

        Args:
            slot: Its socket.
            passed: It was burned, and holds what the job wants.
        """
        if slot in self._at_work:
            self._at_work.discard(slot)
            self.articles_left -= 1 if passed and self.articles_left else 0
            self._let_in()

    def close(self, why: str) -> None:
        """Halt: no board begins until `open`. Those at work come to their end. The first reason stays."""
        self.halt = self.halt or why
        for place in self._waiting:
            place.tell(self.why_closed())

    def hold(self, why: str) -> None:
        """Let no board begin while something is away; empty: it is back."""
        self.held = why
        self._let_in()

    def open(self) -> None:
        """End a halt."""
        self.halt = ""
        self._let_in()

    def _let_in(self) -> None:
        while self._waiting and not self.why_closed():
            place = self._waiting.pop(0)
            self._at_work.add(place.slot)
            if not place.let_in.done():
                place.let_in.set_result(None)
        for place in self._waiting:
            place.tell(self.why_closed())
