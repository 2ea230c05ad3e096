"""Learns which socket of a rig is which place: asks for a board in each, and takes the one that comes.

It opens no port but to ask two nodes that come together whether they are one board, and writes nothing: it
returns slots.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple

from parburn.errors import ParburnError
from parburn.natural_order import natural_key
from parburn.station.arrivals import ArrivalSource, Node
from parburn.station.slots_file import Slot

SETTLE_S: Final = 1.0  # from a node to the next one of the same board: two functions, each with its driver
SKIP: Final = ("s", "skip")
QUIT: Final = ("q", "quit")

Probe = Callable[[str], Awaitable[str]]  # a port's chip's MAC; raises ParburnError


class Came(NamedTuple):
    """A node that came. `mac` is the chip's behind it; empty where none answers, or nobody asked."""

    place: str
    path: str
    mac: str = ""


class InputEnded(Exception):  # no error of ours: who learns is told by it
    """Nobody is there any more who puts boards in."""


class Learner:
    """The learning of one rig, slot after slot."""

    def __init__(
        self,
        names: Iterator[str],
        known: Sequence[Slot] = (),
        *,
        source: ArrivalSource,
        answers: asyncio.Queue[str | None],
        probe: Probe,
        say: Callable[[str], object],
        settle_s: float = SETTLE_S,
    ) -> None:
        """Prepare it.

        Args:
            names: Names of slots to be asked for, one after the other; may be without end.
            known: Slots that are known; one whose name comes up is learned anew.
            source: Tells what comes, in slots that are called as their places.
            answers: Lines that are typed; None at their end.
            probe: Asks for the MAC of the chip behind a port.
            say: Shows a sentence.
            settle_s: How long the nodes of one board may take to come, one after the other.
        """
        self._names = names
        self._slots = {slot.name: slot for slot in known}
        self._source = source
        self._answers = answers
        self._probe = probe
        self._say = say
        self._settle_s = settle_s
        self._inside: dict[str, Node] = {}  # by place: what is plugged in now
        self._fresh: dict[str, Node] = {}  # of it, what came since the last question
        self._stirred = asyncio.Event()
        self.learned: list[str] = []

    async def learn(self, there: Mapping[str, Node]) -> tuple[Slot, ...]:
        """Return all slots, known and learned.

        Args:
            there: What is plugged in before the first question: it does not count as put in.

        Raises:
            InputEnded: the lines have ended.
            ParburnError: it cannot be seen what comes.
        """
        self._inside = dict(there)
        watching = asyncio.ensure_future(self._source.run(self._arrived, self._left))
        try:
            for name in self._names:
                slot = await self._slot(name, watching)
                if slot is QUITTED:
                    break
                if slot is not None:
                    self._slots[name] = slot
                    self.learned.append(name)
        finally:
            watching.cancel()
            await asyncio.wait({watching})
        return tuple(sorted(self._slots.values(), key=lambda slot: natural_key(slot.name)))

    def _arrived(self, place: str, node: Node) -> None:
        if self._inside.get(place) != node:
            self._inside[place] = node
            self._fresh[place] = node
            self._stirred.set()

    def _left(self, place: str, node: Node) -> None:
        self._inside.pop(place, None)
        if self._fresh.pop(place, None) is not None:
            self._stirred.set()

    async def _slot(self, name: str, watching: asyncio.Future[None]) -> Slot | None:
        """Return the slot of this name; None where it is skipped, QUITTED where no more are to be learned."""
        self._say(f"{name}: put a board into it (s and Enter: leave it out, q: that was all)")
        answer = asyncio.ensure_future(self._answers.get())
        try:
            while True:
                stirred = asyncio.ensure_future(self._stirred.wait())
                waited: set[asyncio.Future[Any]] = {answer, stirred, watching}
                await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
                stirred.cancel()
                if watching.done():
                    watching.result()
                if answer.done():
                    word = answer.result()
                    if word is None:
                        raise InputEnded
                    if word.strip().lower() in SKIP:
                        self._say(f"{name} is left out")
                        return None
                    if word.strip().lower() in QUIT:
                        return QUITTED
                    if word.strip():
                        self._say(f"{word.strip()!r} is neither s nor q")
                    answer = asyncio.ensure_future(self._answers.get())
                elif (slot := await self._taken(name)) is not None:
                    return slot
        finally:
            answer.cancel()

    async def _taken(self, name: str) -> Slot | None:
        """Return the slot of what has come; None, and say why, where it cannot be told."""
        await self._settled()
        came = [Came(place, node.path) for place, node in self._fresh.items()]
        self._fresh.clear()
        others = [slot for slot in self._slots.values() if slot.name != name]
        came = [one for one in came if not any(one.place in slot.also for slot in others)]
        holders = {slot.place: slot.name for slot in others}
        fresh = [one for one in came if one.place not in holders]
        old = self._slots.get(name, Slot(name, ""))._replace(also=())
        if not fresh:
            if came:
                self._say(f"that was the socket of {holders[came[0].place]}: put the board into {name}")
            return None
        if len(fresh) == 1:
            self._say(f"{name} is {_named(fresh[0])}")
            return old._replace(place=fresh[0].place)
        self._say(f"{len(fresh)} ports came together: asking who is behind each")
        # One after the other: a chip with two ways to it is reset by each.
        asked = [await self._asked(one) for one in sorted(fresh, key=lambda one: natural_key(one.place))]
        judged = one_board(asked)
        if isinstance(judged, str):
            self._say(f"{judged}; then put a board into {name} again")
            return None
        first, *more = judged
        self._say(f"{name} is {_named(first)}; of the same board: {_listed(more)}")
        return old._replace(place=first.place, also=tuple(one.place for one in more))

    async def _settled(self) -> None:
        """Wait until nothing came or left for a while."""
        loop = asyncio.get_running_loop()
        until = loop.time() + 5 * self._settle_s  # a loose contact comes and goes without end
        while self._stirred.is_set() and loop.time() < until:
            self._stirred.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._settle_s):
                    await self._stirred.wait()
        self._stirred.clear()

    async def _asked(self, one: Came) -> Came:
        try:
            return one._replace(mac=await self._probe(one.path))
        except ParburnError:
            return one


QUITTED: Final = Slot("", "")


def one_board(asked: Sequence[Came]) -> tuple[Came, ...] | str:
    """Return the nodes of one board, the one to be used first; or a sentence: what to do.

    A node behind which no chip answers (a debugger's, the second half of an adapter) belongs to the board
    that came with it.
    """
    macs = {one.mac for one in asked if one.mac}
    if not macs:
        return f"no chip answers at {_listed(asked)}: take the board out"
    if len(macs) > 1:
        return f"these are {len(macs)} boards ({', '.join(sorted(macs))}): take all of them out but one"
    return tuple(sorted(asked, key=lambda one: (not one.mac, natural_key(one.place))))


def _listed(nodes: Sequence[Came]) -> str:
    return ", ".join(one.path for one in nodes)


def _named(one: Came) -> str:
    return one.path if one.place == one.path else f"{one.place} ({one.path})"
