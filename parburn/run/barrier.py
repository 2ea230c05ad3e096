"""Where boards wait for each other: all at once, or one after the other. Knows nothing of what they bring.

A board either arrives at a barrier or withdraws from it; the barrier is complete when every board has done
one of both.
"""

from __future__ import annotations

import asyncio
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
        self._lost: dict[str, ParburnError] = {}
        self._waits: dict[str, asyncio.Future[None]] = {}  # no events: every board comes here twice
        self._complete = Event()
        self._released = False
        if not self._missing:
            self._complete.set()

    async def arrive(self, port: str, value: Brought) -> Taken:
        """Bring a value, wait for the decision, and return what was decided for this board.

        Who is lost or cancelled while it waits takes its value away again: nothing is decided for it.

        Raises:
            ParburnError: the error that was decided for this board, or that of its lost port.
        """
        if port in self._lost:
            raise self._lost[port]
        if port in self._missing:
            self._brought[port] = value
            self._out(port)
        if port not in self._taken and not self._released:
            wait = self._waits[port] = asyncio.get_running_loop().create_future()
            try:
                await wait
            except BaseException:
                self._leave(port)
                raise
            if port in self._lost:
                raise self._lost[port]
        taken = self._taken[port]
        if isinstance(taken, ParburnError):
            raise taken
        return taken

    def withdraw(self, port: str) -> None:
        """Count this board as one that will not come; do nothing if it has arrived or withdrawn before."""
        self._out(port)

    def lose(self, port: str, error: ParburnError) -> None:
        """Count this board as gone: where it waits its wait ends with this error, as does a later arrival."""
        self._lost[port] = error
        self._leave(port)
        self._wake(port)

    def waiting(self) -> tuple[str, ...]:
        """Return the boards that have come and wait for others, in the order they came."""
        return () if self._released else tuple(self._brought)

    async def complete(self) -> Mapping[str, Brought]:
        """Wait for all boards; return what those that came, and are still here, brought, as they came."""
        await self._complete.wait()
        return dict(self._brought)

    def release(self, taken: Mapping[str, Taken | ParburnError]) -> None:
        """Let every board go on with what was decided for it, in the order of `taken`."""
        self._taken = taken
        self._released = True
        for port in (*taken, *self._waits):
            self._wake(port)

    def _wake(self, port: str) -> None:
        wait = self._waits.get(port)
        if wait is not None and not wait.done():
            wait.set_result(None)

    def _leave(self, port: str) -> None:
        self._brought.pop(port, None)

    def _out(self, port: str) -> None:
        self._missing.discard(port)
        if not self._missing:
            self._complete.set()


class OneByOne(Barrier[Brought, Taken]):
    """A barrier at which each board is decided for alone, in the order in which they come.

    Nobody waits in it for a board that has not begun.
    """

    def __init__(self, ports: Iterable[str]) -> None:
        super().__init__(ports)
        self._changed = Event()
        self._waiting: list[str] = []

    async def arrive(self, port: str, value: Brought) -> Taken:
        """Bring a value, wait for this board's decision alone, and return it; see `Barrier.arrive`."""
        if port in self._missing and port not in self._lost:
            self._waiting.append(port)
        return await super().arrive(port, value)

    def waiting(self) -> tuple[str, ...]:
        """Return none: no board waits for one that has not come."""
        return ()

    async def next(self) -> str | None:
        """Return the port of the next board that has come, or None when no more will.

        What they all brought is in `brought`.
        """
        while not self._waiting:
            if not self._missing:
                return None
            self._changed = Event()
            await self._changed.wait()
        return self._waiting.pop(0)

    @property
    def brought(self) -> Mapping[str, Brought]:
        """What the boards that came so far, and are still here, have brought."""
        return self._brought

    def decide(self, port: str, taken: Taken | ParburnError) -> None:
        """Let one board go on with what was decided for it."""
        self._taken = {**self._taken, port: taken}
        self._wake(port)

    def release(self, taken: Mapping[str, Taken | ParburnError]) -> None:
        """Decide for all that are not decided for, also for those that come later."""
        super().release({**taken, **self._taken})

    def _leave(self, port: str) -> None:
        super()._leave(port)
        if port in self._waiting:
            self._waiting.remove(port)

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
        """Let the next board begin: this board's script does nothing any more."""
        self._ended[port].set()
