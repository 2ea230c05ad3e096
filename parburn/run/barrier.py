"""Where boards wait for each other: all at once, or one after the other. Knows nothing of what they bring.

A board either arrives at a barrier or withdraws from it; the barrier is complete when every board has done
one of both.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Generic, TypeVar

from anyio import Event

from parburn.errors import ParburnError

Brought = TypeVar("Brought")
Taken = TypeVar("Taken")


class Barrier(Generic[Brought, Taken]):
    """Where all boards meet. Each brings a value, waits, and takes what was decided for it."""

    def __init__(self, ports: Iterable[str]) -> None:
        self._missing = set(ports)
        self._brought: dict[str, Brought] = {}
        self._taken: Mapping[str, Taken | ParburnError] = {}
        self._complete = Event()
        self._released = Event()
        if not self._missing:
            self._complete.set()

    async def arrive(self, port: str, value: Brought) -> Taken:
        """Bring a value and wait for the decision; raises the error that was decided for this board."""
        if port in self._missing:
            self._brought[port] = value
            self._out(port)
        await self._released.wait()
        taken = self._taken[port]
        if isinstance(taken, ParburnError):
            raise taken
        return taken

    def withdraw(self, port: str) -> None:
        """This board will not come. Does nothing when it has arrived or withdrawn before."""
        self._out(port)

    def waiting(self) -> tuple[str, ...]:
        """The boards that have come and wait for others, in the order they came."""
        return () if self._released.is_set() else tuple(self._brought)

    async def complete(self) -> Mapping[str, Brought]:
        """Wait for all boards; what those that came have brought, in the order they came."""
        await self._complete.wait()
        return self._brought

    def release(self, taken: Mapping[str, Taken | ParburnError]) -> None:
        """Let every board go on with what was decided for it."""
        self._taken = taken
        self._released.set()

    def _out(self, port: str) -> None:
        self._missing.discard(port)
        if not self._missing:
            self._complete.set()


class OneByOne(Barrier[Brought, Taken]):
    """A barrier at which each board is decided for alone, in the order in which they come: nobody waits in it
    for a board that has not begun."""

    def __init__(self, ports: Iterable[str]) -> None:
        super().__init__(ports)
        self._decided: dict[str, Event] = {}
        self._changed = Event()
        self._waiting: list[str] = []

    async def arrive(self, port: str, value: Brought) -> Taken:
        if port in self._missing:
            self._brought[port] = value
            self._decided[port] = Event()
            self._waiting.append(port)
            self._out(port)
        if port in self._decided and port not in self._taken and not self._released.is_set():
            await self._decided[port].wait()
        taken = self._taken[port]
        if isinstance(taken, ParburnError):
            raise taken
        return taken

    def waiting(self) -> tuple[str, ...]:
        """None waits for a board that has not come."""
        return ()

    async def next(self) -> str | None:
        """The next board that has come, None when no more will; what they all brought is in `brought`."""
        while not self._waiting:
            if not self._missing:
                return None
            self._changed = Event()
            await self._changed.wait()
        return self._waiting.pop(0)

    @property
    def brought(self) -> Mapping[str, Brought]:
        """What the boards that came so far have brought."""
        return self._brought

    def decide(self, port: str, taken: Taken | ParburnError) -> None:
        """Let one board go on with what was decided for it."""
        self._taken = {**self._taken, port: taken}
        self._decided[port].set()

    def release(self, taken: Mapping[str, Taken | ParburnError]) -> None:
        """Decide for all that are not decided for, also for those that come later."""
        self._taken = {**taken, **self._taken}
        self._released.set()
        for decided in self._decided.values():
            decided.set()

    def _out(self, port: str) -> None:
        super()._out(port)
        self._changed.set()


class Turns:
    """Whose turn it is under `--one-at-a-time`: a board begins when all before it have ended."""

    def __init__(self, ports: Sequence[str]) -> None:
        self._ended = {port: Event() for port in ports}

    async def wait(self, port: str) -> None:
        """Wait until the boards at the ports before this one have ended."""
        for other, ended in self._ended.items():
            if other == port:
                return
            if not ended.is_set():
                await ended.wait()

    def ended(self, port: str) -> None:
        """This board's script does nothing any more."""
        self._ended[port].set()
