"""One port and the conversation over it: a burst of requests out, its replies in. Knows no command's meaning.

A burst is one future: the data callback feeds the protocol, refills the window and resolves the future when
the last reply is in, so a burst of 200 registers wakes its task once. Frames go to the stream whole. A
burst that was broken off (deadline, garbage, cancellation) leaves replies on their way, so the link is then
`broken`: the next burst is refused until `sync()` has found the ROM in step again.

How long a burst may be silent stands in `reply_deadline`, when the host need not read in `read_pauses`, and
what the line must have shown for that in `pace`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Final

from parburn.errors import CommandRefused, GarbledAnswer, LinkError, PortGone
from parburn.hardware.pace import Pace, heartbeat_of
from parburn.hardware.read_pauses import ReadPauses
from parburn.hardware.reply_deadline import ReplyDeadline, silence_allowed_s
from parburn.hardware.rom_sync import SYNC_TRIES, RomSearch
from parburn.protocol import commands
from parburn.protocol.loader import LoaderProtocol
from parburn.protocol.trace import Trace
from parburn.transport.stream import USB_SERIAL_JTAG, ByteStream

_NO_DELAYS: Final = 0


class LinkCounters:
    """What a conversation cost. A turn is a burst: the host waits with nothing left to send."""

    __slots__ = ("frames", "retries", "rx_bytes", "turns", "tx_bytes")

    def __init__(self) -> None:
        self.turns = self.frames = self.tx_bytes = self.rx_bytes = 0
        self.retries = 0  # SYNCs sent again


class RomLink:
    """A link to one chip's ROM. One burst at a time; everything runs on the event loop."""

    def __init__(self, stream: ByteStream, *, baud: int = 115200, trace: Trace | None = None) -> None:
        self.stream = stream
        self.baud = baud
        self.counters = LinkCounters()
        self.broken = False  # a burst was broken off: sync() first
        self.hasty = False  # judge silence sooner: what is asked now can be asked again
        self.lost: PortGone | None = None
        self.heard_at = 0.0  # when bytes came last, in seconds of the loop
        self._tell_lost: Callable[[PortGone], object] | None = None
        self.trace = trace
        self._secure_download = False  # as the chip's flags say, once they were read
        self._protocol = LoaderProtocol()
        self._waiter: asyncio.Future[None] | None = None
        self._loop = asyncio.get_running_loop()
        self._deadline = ReplyDeadline(self._loop, self._protocol, stream.port)
        # Over a network or inside the chip no line paces what comes, whatever rate it is set to.
        unpaced = stream.over_network or stream.usb_vid_pid == USB_SERIAL_JTAG
        self._pace = Pace(heartbeat_of(self._loop), ruled_out=unpaced)
        self._pauses = ReadPauses(self._protocol, self._loop.time, stream.pause_reads)  # where paced
        self._search = RomSearch(stream, self._protocol, self._write, self.counters)
        if trace is not None:
            self._protocol.observer = trace.answered
        stream.attach(self._on_data, self._on_lost)

    def check_in_step(self) -> None:
        """Check that no more replies have come than were asked for: values may be shifted.

        Raises:
            GarbledAnswer: More have come.
            LinkError: The link is broken; PortGone where it is lost.
        """
        self._check_usable()

    def seconds_at_least(self, size: int) -> float:
        """Return the seconds that so many bytes take on the line; 0 unless the line is known to be paced."""
        return size * 10 / self.baud if self._pace.known else 0.0

    def was_faster(self) -> None:
        """Note that something was there sooner than the line's rate allows."""
        self._pace.was_faster()

    async def sync(self, *, tries: int = SYNC_TRIES) -> None:
        """Get in step again: let the line fall silent, drop what comes, SYNC.

        Raises:
            NoAnswer: Nothing came back.
            GarbledAnswer: What came back is no ROM loader's.
            PortGone: The port vanished.
        """
        await self._in_search(self._search.sync_again(tries))

    async def aclose(self) -> None:
        """Close the port. What was written leaves first, so no frame is cut off."""
        if self.trace is not None:
            self.trace.flush()
        await self.stream.aclose()

    # --- one exchange

    async def _exchange(
        self, frames: list[bytes], opcodes: bytes, timeout_s: float | None = None, delay_us: int = _NO_DELAYS
    ) -> None:
        self._check_usable()
        protocol = self._protocol
        protocol.begin(frames, opcodes)
        if not frames:
            return
        if timeout_s is None:
            timeout_s = silence_allowed_s(
                sum(map(len, frames)), len(frames), baud=self.baud, delay_us=delay_us, hasty=self.hasty
            )
        self.counters.frames += len(frames)
        self._waiter = waiter = self._loop.create_future()
        if not self._pace.ruled_out:
            self._pace.burst_begins(self._loop.time())
        self._deadline.begin(waiter, timeout_s)
        try:
            self._pump()
            if self._pace.known:
                self._pauses.until_due(self.baud)
            await waiter
        except BaseException:
            self._break_off()
            raise
        finally:
            self._waiter = None
            self._deadline.end()

    def _check_free(self) -> None:
        if self._waiter is not None:
            raise RuntimeError("one burst at a time")
        if self.lost is not None:
            raise self.lost

    def _check_usable(self) -> None:
        self._check_free()
        if self._protocol.strays:
            self._break_off()
            raise GarbledAnswer(
                f"{self.stream.port}: the chip sent more answers than it was asked for",
                hint="another program may be using the port, or the line is noisy",
            )
        if self.broken:
            raise LinkError(f"{self.stream.port}: the last exchange was broken off; sync first")

    def _raise_refused(self) -> None:
        for number, reply in self._protocol.refused.items():
            name = commands.COMMAND_NAMES[self._protocol.opcode_of(number)]
            raise CommandRefused(
                f"{self.stream.port}: the chip refuses {name} (error {reply.status:02x} {reply.code:02x})",
                status=reply.status,
                code=reply.code,
                hint="registers cannot be reached in secure download mode" if self._secure_download else "",
            )

    def _break_off(self) -> None:
        """Stop sending; what still comes is nobody's. Frames already handed to the port go out whole."""
        self._protocol.forget()
        self.broken = True

    def _write(self, data: bytes) -> None:
        self.counters.tx_bytes += len(data)
        if not self._pace.ruled_out:
            self._pauses.wrote(len(data), self.baud)
        if self.trace is not None:
            self.trace.sent(data)
        self.stream.write(data)

    def _pump(self) -> None:
        data = self._protocol.data_to_send()
        if data:
            self._write(data)
            if self._protocol.all_sent:
                self.counters.turns += 1

    def _on_data(self, data: bytes) -> None:
        self.heard_at = self._loop.time()
        self.counters.rx_bytes += len(data)
        protocol, waiter = self._protocol, self._waiter
        try:
            protocol.receive_data(data)
        except GarbledAnswer as error:
            self._fail(
                GarbledAnswer(
                    f"{self.stream.port}: {error}",
                    hint="a noisy line, a wrong rate, or another chip's program",
                )
            )
            return
        if waiter is not None and not self._pace.ruled_out:
            answered = self.counters.tx_bytes - protocol.unanswered_bytes
            self._pace.came(len(data), self._loop.time(), self.baud, answered)
        if waiter is None:
            self._search.on_progress()
        elif protocol.complete:
            if not waiter.done():
                waiter.set_result(None)
        else:
            if not protocol.all_sent:
                if not (protocol.unanswered_bytes or self._pace.ruled_out):
                    self._pace.idle(self._loop.time())
                self._pump()
            if self._pace.known:
                self._pauses.until_due(self.baud)

    def _fail(self, error: Exception) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(error)

    def when_lost(self, tell: Callable[[PortGone], object]) -> None:
        """Have `tell` called when the port is lost, also while no burst is under way; at once where it is."""
        self._tell_lost = tell
        if self.lost is not None:
            tell(self.lost)

    def _on_lost(self, error: PortGone) -> None:
        self.lost = error
        self._search.on_lost(error)
        self._fail(error)
        if self._tell_lost is not None:
            self._tell_lost(error)

    async def _in_search(self, search: Coroutine[None, None, None]) -> None:
        try:
            self._check_free()
            await search
        except BaseException:
            search.close()
            if self._waiter is None:
                self._break_off()
            raise
        self._protocol.forget()
        self.broken = False
