"""Where a board sits, and how it is seen to come and go: by its tty here, by its answers in `bridge_seat`.

A seat knows nothing of verdicts, and a socket nothing of nodes. Moves no line.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, NamedTuple, Protocol

from anyio import Event, move_on_after, to_thread

from parburn.hardware.identify import Device
from parburn.job import Before
from parburn.station.arrivals import Node
from parburn.transport.tty_nodes import is_there

MAC_REGISTERS: Final = 2  # that are asked for to see who is there
SILENCES: Final = 3  # in a row that are a removal


class Sitting(NamedTuple):
    """One stay of something in a seat: its tty, a number that no other stay has, and since when."""

    port: str
    number: int
    since: float  # monotonic seconds


class Look(NamedTuple):
    """What is needed to see whether a board is still there behind a tty that stays.

    `device` is None where no chip was identified. `hears`: it may be taken for removed after silences; False
    once it was reset, its link was ended, or its verdict was any but PASS. `retry`: it is to be put in again,
    or to be tried again once something was mended, so the same board is new once it was without power.
    `heard` is told of each answer of the board that sits there.
    """

    device: Device | None
    hears: bool
    retry: bool
    heard: Callable[[], object] = lambda: None


class Seat(Protocol):
    """A place for one board."""

    before: Before | None  # how its loader is reached; None: as the job says
    tty_stays: bool  # when its board goes

    async def arrival(self) -> Sitting:
        """Wait until something is there that is there to stay, and return it."""

    def is_there(self, sitting: Sitting) -> bool:
        """Tell whether it is still there, as far as is known."""

    async def sits_for_sure(self, sitting: Sitting) -> bool:
        """Tell whether it is there in this moment; False where that cannot be told."""

    async def removal(self, sitting: Sitting, look: Look) -> None:
        """Wait until it is gone."""

    async def arrival_within(self, seconds: float) -> Sitting | None:
        """Return what arrives within so many seconds; None where nothing does."""

    def left(self, sitting: Sitting) -> None:
        """Take it for gone where the tty cannot tell: its insertion has seen that it is."""

    def end(self, sitting: Sitting) -> None:
        """Take it for gone: an engineer says so."""


class PlugSeat:
    """A seat whose tty comes and goes with the board. `came` and `went` are told by an arrival source."""

    def __init__(self, *, debounce_s: float, on_loss: Callable[[Sitting], object]) -> None:
        """Make an empty seat.

        Args:
            debounce_s: What stays for so long is there.
            on_loss: Is told at once what is gone.
        """
        self.before: Before | None = None
        self.tty_stays = False
        self._debounce_s = debounce_s
        self._on_loss = on_loss
        self._node: Node | None = None
        self._sitting: Sitting | None = None
        self._number = 0
        self._changed = Event()

    def came(self, node: Node) -> None:
        """Note that a tty is there."""
        self._number += 1
        self._node, self._sitting = node, Sitting(node.path, self._number, time.monotonic())
        self._tell()

    def went(self, node: Node) -> None:
        """Note that a tty is gone; do nothing where another one has come meanwhile."""
        if self._node is not None and self._node.key == node.key and self._sitting is not None:
            gone = self._sitting
            self._node = self._sitting = None
            self._tell()
            self._on_loss(gone)

    def left(self, sitting: Sitting) -> None:
        """Do nothing: the tty tells."""

    def end(self, sitting: Sitting) -> None:
        """Let what sits here count as new."""
        if self._sitting == sitting and self._node is not None:
            self.came(self._node)

    async def arrival(self) -> Sitting:
        """Wait for a tty that is there, and the same, after the debounce; see `Seat`."""
        while True:
            sitting = self._sitting
            if sitting is None:
                await self._changed.wait()
                continue
            with move_on_after(self._debounce_s):
                await self._gone(sitting)
            if self._sitting == sitting:
                return sitting

    async def arrival_within(self, seconds: float) -> Sitting | None:
        """See `Seat`."""
        with move_on_after(seconds):
            return await self.arrival()
        return None

    def is_there(self, sitting: Sitting) -> bool:
        """See `Seat`."""
        return self._sitting == sitting

    async def sits_for_sure(self, sitting: Sitting) -> bool:
        """Ask the kernel whether its tty is there: the source tells it a moment later that it is not."""
        node = self._node
        if node is None or self._sitting != sitting:
            return False
        return await to_thread.run_sync(is_there, node.path, node.key)

    async def removal(self, sitting: Sitting, look: Look) -> None:
        """See `Seat`."""
        await self._gone(sitting)

    async def _gone(self, sitting: Sitting) -> None:
        while self._sitting == sitting:
            await self._changed.wait()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = Event()
