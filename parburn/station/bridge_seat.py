"""A seat whose tty stays: a bridge on the rig, before which chips come and go, seen by their answers.

Three ways to see one come: it answers a SYNC (a board strapped to download mode; no line moves), a modem line
of the lid says so, or a reset pulse and a SYNC (a bridge with an auto-reset circuit; only while the seat is
empty, never after a verdict).

And two to see it go. With a modem line: the line. Else by silence, which is only believed of a board that
passed and could be heard until then: a board that was reset runs its own program, one whose link was ended
says nothing, and one that failed may never have answered. Of these only another chip's answer, or an
engineer, ends the stay; or the same chip's, if it was without power and is to be tried again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final, Literal

from anyio import Event

from parburn.errors import LinkError, ParburnError, PortGone
from parburn.hardware.presence_look import Answer, PresenceLook
from parburn.job import Before
from parburn.run.around import Ports
from parburn.station.seats import MAC_REGISTERS, SILENCES, Look, Sitting
from parburn.transport.reset import apply_reset
from parburn.transport.stream import ByteStream

PresenceBy = Literal["sync", "reset", "cts", "dsr", "dcd"]
ANSWER_S: Final = 0.1  # for one answer
PULSE_EVERY_S: Final = 1.0
RETRY_OPEN_S: Final = 5.0
BEAT_S: Final = 0.02  # looks begin at a multiple of it, so the loop wakes once for several sockets
BEATS: Final = 10  # at least, between two looks: a pause is as long as it was asked for, but for a twentieth
MODEM_LINES: Final = ("cts", "dsr", "dcd")


class BridgeSeat:
    """One bridge. Everything here runs on the event loop."""

    def __init__(
        self,
        find: Callable[[], Awaitable[str]],
        ports: Ports,
        *,
        by: PresenceBy,
        look_s: float,
        debounce_s: float,
        on_silence: Callable[[bool], object],
    ) -> None:
        """Make an empty seat.

        Args:
            find: Tells its tty. It is asked at each opening: a bridge that was plugged in anew may have
                another number, and its old one may be another bridge's by then.
            ports: Opens it, and keeps it open.
            by: How a board is seen.
            look_s: Seconds between two looks.
            debounce_s: What is there for so long is there.
            on_silence: Is told whether the board was silent at the last look.
        """
        self.before: Before | None = "no-reset" if by == "sync" else None
        self.tty_stays = True
        self._find, self._ports = find, ports
        self._by = by
        self._look_s, self._debounce_s = look_s, debounce_s
        self._on_silence = on_silence
        self._number = 0
        self._sitting: Sitting | None = None
        self._ended = Event()

    def is_there(self, sitting: Sitting) -> bool:
        """See `Seat`."""
        return self._sitting == sitting

    async def sits_for_sure(self, sitting: Sitting) -> bool:
        """Return False: its tty stays when it goes, and a look that finds nobody takes a while."""
        return False

    def left(self, sitting: Sitting) -> None:
        """See `Seat`."""
        if self._sitting == sitting:
            self._sitting = None

    def end(self, sitting: Sitting) -> None:
        """See `Seat`."""
        if self._sitting == sitting:
            self._ended.set()

    async def arrival_within(self, seconds: float) -> Sitting | None:
        """Return None: a bridge stays when its chip is reset, so nobody comes back."""
        return None

    async def arrival(self) -> Sitting:
        """See `Seat`. A port that cannot be opened is an arrival, too: its insertion says what is wrong."""
        while True:
            port = await self._find()
            try:
                stream = await self._ports.open(port)
            except ParburnError:
                return self._sits(port)
            try:
                await self._until_somebody(stream)
                return self._sits(port)
            except PortGone:
                await asyncio.sleep(RETRY_OPEN_S)
            except LinkError:  # the adapter hangs, or others burn for too long
                return self._sits(port)
            finally:
                await self._ports.give_back(stream)

    async def removal(self, sitting: Sitting, look: Look) -> None:
        """See `Seat`."""
        if self._sitting != sitting:
            return
        self._ended = Event()
        try:
            async with asyncio.TaskGroup() as tasks:
                watching = tasks.create_task(self._until_gone(look))
                ended = tasks.create_task(self._ended.wait())
                await asyncio.wait({watching, ended}, return_when=asyncio.FIRST_COMPLETED)
                watching.cancel()
                ended.cancel()
            self._sitting = None  # not where the wait was given up: then it sits there still
        finally:
            self._on_silence(False)

    def _sits(self, port: str) -> Sitting:
        self._number += 1
        self._sitting = Sitting(port, self._number, time.monotonic())
        return self._sitting

    # To see one come ------------------------------------------------------------------------------------

    async def _until_somebody(self, stream: ByteStream) -> None:
        look = PresenceLook(stream)
        while True:
            if await self._seen(stream, look):
                await asyncio.sleep(self._debounce_s)
                if await self._seen(stream, look, again=True):
                    return
            await _pause(PULSE_EVERY_S if self._by == "reset" else self._look_s)

    async def _seen(self, stream: ByteStream, look: PresenceLook, *, again: bool = False) -> bool:
        if self._by in MODEM_LINES:
            return await stream.input_line(self._by)
        if self._by == "reset" and not again:
            await apply_reset(stream, "default-reset")
        return await look.synchronises(ANSWER_S)

    # To see it go ---------------------------------------------------------------------------------------

    async def _until_gone(self, look: Look) -> None:
        while True:
            try:
                stream = await self._ports.open(await self._find())
            except ParburnError:
                await asyncio.sleep(RETRY_OPEN_S)
                continue
            try:
                await self._looked_away(stream, look)
                return
            except LinkError:
                await asyncio.sleep(RETRY_OPEN_S)
            finally:
                await self._ports.give_back(stream)

    async def _looked_away(self, stream: ByteStream, look: Look) -> None:
        asks, silences = PresenceLook(stream), 0
        while True:
            await _pause(self._look_s)
            if self._by in MODEM_LINES:
                if not await stream.input_line(self._by):
                    return
                continue
            there = await self._who(asks, look)
            if there is None:
                silences += 1
            elif there:
                if look.retry and silences >= SILENCES:
                    return  # it was away
                silences = 0
                look.heard()
            else:
                return
            self._on_silence(silences > 0)
            if silences >= SILENCES and look.hears:
                return

    async def _who(self, asks: PresenceLook, look: Look) -> bool | None:
        """Return True for the board that was there, or somebody; False for another one; None for silence."""
        device = look.device
        if device is None:  # nobody was identified: who answers now is another
            return None if not await asks.synchronises(ANSWER_S) else False
        registers = device.identity.registers[:MAC_REGISTERS]
        answer, values = await asks.read(registers, ANSWER_S)
        if answer is Answer.NOTHING and await asks.synchronises(ANSWER_S):
            if look.retry:
                return False
            answer, values = await asks.read(registers, ANSWER_S)  # a chip that was switched on anew
        if answer is Answer.VALUES:
            masks = device.identity.masks
            seen = tuple(value & mask for value, mask in zip(values, masks, strict=False))
            return seen == device.identity.values[: len(values)]
        return True if answer is Answer.SOMETHING else None


async def _pause(seconds: float) -> None:
    await asyncio.sleep(pause_to_beat(time.monotonic(), seconds))  # the loop's clock


def pause_to_beat(now: float, seconds: float) -> float:
    """Return the seconds from `now` to the beat that is nearest to so many seconds later."""
    beat_s = min(BEAT_S, seconds / BEATS)
    return beat_s * round((now + seconds) / beat_s) - now
