"""Finding a ROM loader at the other end and getting in step with it: reset, SYNC, retries. No other commands.

A ROM answers each SYNC eight times. The answers may come in one read, or late, when the next SYNC is already
out; so they are counted against all SYNCs of a try, and only silence or the full count ends the wait.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Final, Protocol

from parburn.errors import GarbledAnswer, LinkError, NoAnswer
from parburn.protocol import commands
from parburn.protocol.loader import LoaderProtocol
from parburn.transport.reset import ResetMode, apply_reset
from parburn.transport.stream import ByteStream

_SYNCS_PER_TRY: Final = 5
_REPLY_S: Final = 0.1  # silence after which a SYNC counts as lost
_PAUSE_S: Final = 0.05  # before the next SYNC
_QUIET_S: Final = 0.05  # a line that long without a byte carries nothing late any more
_QUIET_AT_MOST_S: Final = 1.0
SYNC_TRIES: Final = 3  # of so many SYNCs, where no reset comes between

_BOOT_MODE = re.compile(rb"boot:(0x[0-9a-fA-F]+)")
_WIRING: Final = (
    "is it powered, in download mode (boot pin held low while it is reset), and are TX and RX the right way "
    "round?"
)


class Counters(Protocol):
    """The counters that a search adds to."""

    turns: int
    frames: int
    retries: int


class RomSearch:
    """Runs SYNC over a protocol in its lenient mode. The owner feeds the protocol and calls `on_progress`."""

    def __init__(
        self,
        stream: ByteStream,
        protocol: LoaderProtocol,
        write: Callable[[bytes], None],
        counters: Counters,
    ) -> None:
        self._stream = stream
        self._protocol = protocol
        self._write = write
        self._counters = counters
        self._lost: Exception | None = None
        self._waiter: asyncio.Future[bool] | None = None
        self._wanted = 0
        self._heard_at = 0.0  # loop time of the last byte

    async def connect(
        self, before: ResetMode, attempts: int, on_attempt: Callable[[int], None] | None
    ) -> None:
        """Reset as `before` says and SYNC, at most `attempts` times.

        Args:
            on_attempt: is told the number of each attempt, from 1.

        Raises:
            NoAnswer: nobody answers; the hint says what the boot text tells.
            GarbledAnswer: something answers that is no ROM loader in download mode.
            PortGone: the port vanished.
        """
        self._stream.discard_input()
        for attempt in range(max(attempts, 1)):
            if on_attempt is not None:
                on_attempt(attempt + 1)
            self._protocol.begin_sync()  # before the reset: the boot text tells what is wrong
            await apply_reset(self._stream, before, attempt=attempt)
            if await self._sync():
                return
        raise self._why_not()

    async def sync_again(self, tries: int) -> None:
        """Let late answers pass and SYNC, without moving a line.

        Raises:
            NoAnswer: nobody answers.
            GarbledAnswer: something answers that is no ROM loader in download mode.
            PortGone: the port vanished.
        """
        for _ in range(tries):
            self._protocol.begin_sync()
            await self._quiet()
            if await self._sync():
                return
        raise self._why_not()

    def on_progress(self) -> None:
        """Look whether enough answers are there: bytes came, and the protocol has them already."""
        waiter = self._waiter
        if waiter is not None:
            self._heard_at = waiter.get_loop().time()
            if self._protocol.sync_replies >= self._wanted and not waiter.done():
                waiter.set_result(True)

    def on_lost(self, error: Exception) -> None:
        """Tell whoever waits here that the port is gone."""
        self._lost = error
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(error)

    async def _sync(self) -> bool:
        protocol = self._protocol
        for sent in range(1, _SYNCS_PER_TRY + 1):
            if sent > 1:
                self._counters.retries += 1
                await asyncio.sleep(_PAUSE_S)
            self._counters.frames += 1
            self._counters.turns += 1
            self._write(commands.SYNC_FRAME)
            seen = protocol.sync_replies
            while not await self._replies(commands.SYNC_REPLIES * sent, _REPLY_S):
                if protocol.sync_replies == seen:
                    break
                seen = protocol.sync_replies
            if protocol.sync_replies >= commands.SYNC_REPLIES:
                return True
        return False

    async def _replies(self, count: int, seconds: float) -> bool:
        """Wait until `count` answers to SYNC are there, or so many seconds. Raises PortGone."""
        if self._lost is not None:
            raise self._lost
        if self._protocol.sync_replies >= count:
            return True
        loop = asyncio.get_running_loop()
        self._wanted = count
        waiter: asyncio.Future[bool] = loop.create_future()
        self._waiter = waiter
        deadline = loop.call_later(seconds, _give_up, waiter)
        try:
            return await waiter
        finally:
            deadline.cancel()
            self._waiter = None

    async def _quiet(self) -> None:
        """Wait until the line has been silent for a while."""
        loop = asyncio.get_running_loop()
        began = self._heard_at = loop.time()
        while loop.time() - began < _QUIET_AT_MOST_S:
            asked_at = loop.time()
            await self._replies(1 << 30, _QUIET_S)  # never so many: this waits the time out
            if self._heard_at < asked_at:
                return

    def _why_not(self) -> LinkError:
        port, noise = self._stream.port, self._protocol.noise
        boot = _BOOT_MODE.search(noise)
        if boot and b"waiting for download" in noise:
            return NoAnswer(
                f"{port}: the chip is in download mode but does not hear us",
                hint="the line from our TX to the chip's RX is open",
            )
        if boot:
            return NoAnswer(
                f"{port}: the chip starts its own program (boot mode {boot[1].decode()}) "
                "and does not wait for download",
                hint="hold its boot pin low while it is reset, or try --before usb-reset",
            )
        if noise or self._protocol.sync_replies:
            return GarbledAnswer(
                f"{port}: something answers, but it is no ROM loader in download mode", hint=_WIRING
            )
        return NoAnswer(f"{port}: no answer", hint=_WIRING)


def _give_up(waiter: asyncio.Future[bool]) -> None:
    if not waiter.done():
        waiter.set_result(False)
