"""RomLoader: LoaderProtocol + ByteStream + deadlines. Knows commands, no eFuses; opens no port.

A burst is one future: the data callback feeds the protocol, refills the window and resolves the future when
the last answer is in, so a burst of 200 registers wakes its task once. Frames go to the stream whole. A burst
that was broken off (deadline, garbage, cancellation) leaves answers on their way, so the loader is then
`broken`: the next burst is refused until `sync()` has found the ROM in step again.

A WRITE_REG behind another frame of its burst begins with two ENDs: where the end of the frame before it is
lost, the first of them ends that one, and the second begins this one. Else two frames would be lost at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Final, NamedTuple

from parburn.chips.model import RegisterWrite
from parburn.errors import CommandRefused, GarbledAnswer, LinkError, NoAnswer, PortGone
from parburn.hardware.pace import Pace, heartbeat_of
from parburn.hardware.rom_sync import SYNC_TRIES, RomSearch
from parburn.protocol import commands, slip
from parburn.protocol.commands import (
    ChangeBaudrate,
    SecurityInfo,
    known_write_reg_packets,
    read_reg_frame,
    read_reg_frames,
    write_reg_packets,
)
from parburn.protocol.loader import SAFE_RING_BYTES, LoaderProtocol
from parburn.protocol.trace import Trace
from parburn.transport.reset import ResetMode
from parburn.transport.stream import USB_SERIAL_JTAG, ByteStream

MAGIC_ADDRESS: Final = 0x4000_1000  # a word of every ROM that tells the older chips apart

_SAFE_ENTRIES: Final = 15  # of WRITE_REG in one packet, where the ring is 256 bytes
_ENTRY_BYTES: Final = 16
_PACKET_FRAME_BYTES: Final = 10  # of a WRITE_REG packet: header and two ENDs
_FLOOR_S: Final = 3.0  # silence is judged after this much more than the line itself needs
_HASTY_FLOOR_S: Final = 1.0  # where a false alarm costs no more than a SYNC
_LINE_SLACK: Final = 1.5
_REST_AT_LEAST_S: Final = 0.002  # a shorter rest costs more than it saves
_REST_ENDS_BEFORE_S: Final = 0.0015  # the answer that is waited for
_BAUD_SOON_S: Final = 0.002  # after a change of rate, until the chip is asked for the first time
_BAUD_ANSWER_S: Final = 0.5  # for that first answer
_BAUD_SETTLE_S: Final = 0.05  # until both sides are quiet, where that first answer was none
_LAST_ENDS: Final = 2  # bytes that follow the answer to CHANGE_BAUDRATE at the old rate

_NO_DELAYS: Final = 0
_COMMAND_ENTRIES: Final = 3  # at most, of the packet that starts the controller
_READ: Final = bytes((commands.READ_REG,))
_WRITE: Final = bytes((commands.WRITE_REG,))

Packets = tuple[tuple[int, bytes], ...]  # number of entries, frame


class ReadRegs(NamedTuple):
    """Read these registers, in this order."""

    addresses: tuple[int, ...]


class WriteRegs(NamedTuple):
    """Execute these writes, in this order. Never shares a packet with the operation after it."""

    writes: tuple[RegisterWrite, ...]

    def __repr__(self) -> str:  # the values may be a key's
        return f"WriteRegs({len(self.writes)} writes)"


class WriteGuard(NamedTuple):
    """What must stand ahead of certain writes.

    A ROM executes a frame that was cut on what its buffer still holds: a READ_REG leaves its address where
    the next WRITE_REG has that of its first entry. So behind READ_REGs of `unsafe` one of `harmless` goes out
    ahead of any WRITE_REG; at the end of a burst at once, so that its answer is there before anything is
    written.
    `first` is the first write of a connection, in a packet of its own: nobody knows what the last one, which
    may have been killed, has left.
    """

    unsafe: int
    harmless: int
    first: RegisterWrite


class LinkCounters:
    """What a conversation cost. A turn is a burst: the host waits with nothing left to send."""

    __slots__ = ("frames", "retries", "rx_bytes", "turns", "tx_bytes")

    def __init__(self) -> None:
        self.turns = self.frames = self.tx_bytes = self.rx_bytes = 0
        self.retries = 0  # SYNCs sent again


def _told_apart(packets: Packets, before: Sequence[bytes]) -> list[bytes]:
    """The frames of these packets; those behind another one begin with two ENDs, as the head above says."""
    frames = [slip.END + frame for _, frame in packets]
    if not before:
        frames[0] = packets[0][1]
    return frames


class RomLoader:
    """The ROM loader of one chip. One burst at a time; everything runs on the event loop."""

    def __init__(self, stream: ByteStream, *, baud: int = 115200, trace: Trace | None = None) -> None:
        self.stream = stream
        self.baud = baud
        self.counters = LinkCounters()
        self.magic: int | None = None  # word at MAGIC_ADDRESS, once security_info() could read it
        self.broken = False  # a burst was broken off: sync() first
        self.was_reset = True  # by us; else its buffer may hold frames of an earlier run
        self.hasty = False  # judge silence sooner: what is asked now can be asked again
        self.lost: PortGone | None = None
        self._tell_lost: Callable[[PortGone], object] | None = None
        self.trace = trace
        self._first_baud = baud
        self._secure_download = False  # as the chip's flags say, once they were read
        self._protocol = LoaderProtocol()
        self._cut: tuple[tuple[RegisterWrite, ...], Packets] = (), ()  # writes that are about to be sent
        self.set_limits()
        self._waiter: asyncio.Future[None] | None = None
        self._loop = asyncio.get_running_loop()
        self._alarm: asyncio.TimerHandle | None = None  # outlives bursts: setting one costs more than a look
        self._deadline_at = self._timeout_s = 0.0
        self._answered_before = 0  # of the burst, when its deadline was set
        self._crystal_mhz = 1.0
        self._beliefs_mhz: tuple[float, ...] = (1.0,)  # what the ROM may take it for, the likeliest first
        # Over a network or inside the chip no line paces what comes, whatever rate it is set to.
        unpaced = stream.over_network or stream.usb_vid_pid == USB_SERIAL_JTAG
        self._pace = Pace(heartbeat_of(self._loop), ruled_out=unpaced)
        self._sent_at = 0.0  # when the line has carried what was written, at the earliest
        self._guard: WriteGuard | None = None
        self._keyless: frozenset[int] = frozenset()  # registers that the guard knows, which hold no key
        self._first_written = False
        self._search = RomSearch(stream, self._protocol, self._write, self.counters)
        if trace is not None:
            self._protocol.observer = trace.answered
        stream.attach(self._on_data, self._on_lost)

    @classmethod
    async def connect(
        cls,
        stream: ByteStream,
        *,
        before: ResetMode = "default-reset",
        attempts: int = 7,
        baud: int = 115200,
        on_attempt: Callable[[int], None] | None = None,
        trace: Trace | None = None,
    ) -> RomLoader:
        """Reset the chip into its loader and get in step with it; `on_attempt` gets 1, 2, ..

        Raises NoAnswer, GarbledAnswer, PortGone; UsageError for an unknown mode.
        """
        rom = cls(stream, baud=baud, trace=trace)
        rom.was_reset = not before.startswith("no-reset") and not stream.fixed_baud
        if before != "no-reset-no-sync":
            await rom._in_search(rom._search.connect(before, attempts, on_attempt))
        return rom

    async def reconnect(
        self, *, before: ResetMode, attempts: int, on_attempt: Callable[[int], None] | None = None
    ) -> None:
        """Find the ROM anew at its first rate, as `connect` does. Raises what that raises."""
        if self.raised:
            await self.stream.set_baud(self._first_baud)
            self.baud = self._first_baud
        self.set_limits()
        await self._in_search(self._search.connect(before, attempts, on_attempt))

    @property
    def raised(self) -> bool:
        """Whether the rate is another than that of the start."""
        return self.baud != self._first_baud

    def check_in_step(self) -> None:
        """Raise GarbledAnswer where more answers have come than were asked for: values may be shifted."""
        self._check_usable()

    def set_limits(
        self, *, ring_bytes: int = SAFE_RING_BYTES, entries_per_write: int = _SAFE_ENTRIES
    ) -> None:
        """Set what this chip's ROM takes: unanswered bytes on the line, WRITE_REG entries in a packet."""
        self._protocol.ring_bytes = ring_bytes
        # A packet that fills the ring goes alone, and the line falls silent until its answer is here: halves.
        self._longest = ring_bytes // 2
        entries_in_half = (self._longest - _PACKET_FRAME_BYTES) // _ENTRY_BYTES
        self._per_packet = max(1, min(entries_per_write, entries_in_half))
        self._cut = (), ()

    def guard_writes(self, guard: WriteGuard) -> None:
        """From now on put ahead of writes what must stand there."""
        self._guard = guard
        self._keyless = frozenset((guard.unsafe, guard.harmless, guard.first.address))

    # --- registers

    async def burst(self, *ops: ReadRegs | WriteRegs, timeout_s: float | None = None) -> list[int]:
        """Send all operations back to back and await all answers once; return the words read, in order.

        The deadline follows from the bytes on the line, the rate and the entries' delays, unless given; it is
        renewed as long as answers come.
        Raises CommandRefused (after all answers: still in step), NoAnswer, GarbledAnswer, PortGone.
        """
        frames, opcodes, ours, delay_us = self._framed(ops)
        await self._exchange(frames, opcodes, timeout_s, delay_us)
        self._raise_refused()
        self._first_written |= self._guard is not None and commands.WRITE_REG in opcodes
        values = self._protocol.values
        for at in reversed(ours):
            del values[at]
        return values

    def _framed(self, ops: Sequence[ReadRegs | WriteRegs]) -> tuple[list[bytes], bytes, list[int], int]:
        """Frames and opcodes of these operations, with what the guard puts ahead of them; which of the values
        read are not the caller's, and the delays of all entries."""
        frames: list[bytes] = []
        opcodes = bytearray()
        delay_us = _NO_DELAYS
        guard, first_written = self._guard, self._first_written
        last_read: int | None = None  # by what stands in the ROM's buffer now
        ours: list[int] = []
        reads = 0
        for op in ops:
            if isinstance(op, ReadRegs):
                if op.addresses:
                    frames += read_reg_frames(op.addresses)
                    opcodes += _READ * len(op.addresses)
                    reads += len(op.addresses)
                    last_read = op.addresses[-1]
            elif op.writes:
                if guard is not None:
                    if last_read == guard.unsafe:
                        frames.append(read_reg_frame(guard.harmless))
                        opcodes += _READ
                        ours.append(reads)
                        reads += 1
                    if not first_written:
                        frames += _told_apart(self._packets((guard.first,)), frames)
                        opcodes += _WRITE
                        first_written = True
                last_read = None
                packets = self._packets(op.writes)
                frames += _told_apart(packets, frames)
                opcodes += _WRITE * len(packets)
                delay_us += sum([one.delay_us for one in op.writes])
        if guard is not None and last_read == guard.unsafe:
            frames.append(read_reg_frame(guard.harmless))
            opcodes += _READ
            ours.append(reads)
        self._cut = (), ()
        return frames, bytes(opcodes), ours, delay_us

    def _packets(self, writes: tuple[RegisterWrite, ...]) -> Packets:
        """WRITE_REG packets for these writes. Commands are the same for all boards, and hold no key."""
        if writes == self._cut[0]:
            return self._cut[1]
        short = len(writes) <= _COMMAND_ENTRIES and self._keyless.issuperset([one.address for one in writes])
        return (known_write_reg_packets if short else write_reg_packets)(
            writes, self._per_packet, self._longest
        )

    def second_left(self, writes: tuple[RegisterWrite, ...]) -> int | None:
        """Which of these writes the ROM's buffer has at its second place when all are executed, or None."""
        self._cut = writes, self._packets(writes)
        at, second = 0, None
        for size, _ in self._cut[1]:
            second = at + 1 if size > 1 else second
            at += size
        return second

    def seconds_at_least(self, size: int) -> float:
        """The time that so many bytes take on the line; 0 unless it is known to take as long as its rate."""
        return size * 10 / self.baud if self._pace.known else 0.0

    def was_faster(self) -> None:
        """Note that something was there sooner than the line's rate allows."""
        self._pace.was_faster()

    async def read_regs(self, addresses: Sequence[int]) -> list[int]:
        """Read registers; one turn."""
        return await self.burst(ReadRegs(tuple(addresses)))

    async def write_regs(self, writes: Sequence[RegisterWrite]) -> None:
        """Write registers; one turn."""
        await self.burst(WriteRegs(tuple(writes)))

    # --- other commands

    async def security_info(self) -> SecurityInfo | None:
        """Ask for flags, key purposes and chip id; None when this ROM has no such command.

        A READ_REG of the magic word goes first, in the same turn, and `magic` keeps it: a command that is
        refused right after SYNC is refused eight times, and a READ_REG ends that.
        """
        frames = [read_reg_frame(MAGIC_ADDRESS), commands.SECURITY_INFO_FRAME]
        await self._exchange(frames, bytes((commands.READ_REG, commands.GET_SECURITY_INFO)))
        protocol = self._protocol
        self.magic = None if 0 in protocol.refused else protocol.values[0]
        if 1 in protocol.refused:
            return None
        try:
            info = SecurityInfo.parse(protocol.replies[0].data)
        except ValueError as error:
            self._break_off()
            raise GarbledAnswer(f"{self.stream.port}: {error}") from error
        self._secure_download = info.secure_download
        return info

    def set_crystal(self, mhz: int, *believed_mhz: float) -> None:
        """Set what this chip's crystal is and what its ROM may take it for, the likeliest first: it computes
        baud rates with that."""
        self._crystal_mhz, self._beliefs_mhz = mhz, believed_mhz or (mhz,)

    async def change_baud(self, baud: int) -> None:
        """Change the rate of chip and port, and see that they understand each other.

        Over a plain socket nothing happens: `baud` then stays what it was. Raises NoAnswer or GarbledAnswer
        when the line does not carry the new rate.
        """
        if self.stream.fixed_baud or baud == self.baud:
            return
        await self._set_both_rates(baud)
        if await self._answers_after(_BAUD_SOON_S, _BAUD_ANSWER_S):
            return
        if len(self._beliefs_mhz) > 1:
            if await self._answers_after(_BAUD_SETTLE_S, _BAUD_ANSWER_S):
                return
            if await self._finds_belief(baud):
                await self._set_both_rates(baud)
            else:
                await self._set_port_rate(baud)
        await self._answers_after(_BAUD_SETTLE_S, None)

    async def _finds_belief(self, baud: int) -> bool:
        """Whether the chip answers at the rate that it has made of `baud` by another belief of its ROM's.

        It does what it is told, so what it was told and what it takes its crystal for say where it is.
        """
        told_by, *others = self._beliefs_mhz
        for mhz in others:
            try:
                await self._set_port_rate(round(baud * told_by / mhz))
                await self.sync()
            except PortGone:
                raise
            except LinkError:  # no answer there, or no rate of this port's
                continue
            self._beliefs_mhz = (mhz,)
            return True
        return False

    async def leave_at_baud(self, baud: int) -> None:
        """Change the rate as the last thing before the port is closed: nobody talks at it any more."""
        if not self.stream.fixed_baud and baud != self.baud:
            await self._set_both_rates(baud)

    async def _set_both_rates(self, baud: int) -> None:
        told = int(baud * self._beliefs_mhz[0] / self._crystal_mhz)
        frame = slip.encode(ChangeBaudrate(told).to_bytes())
        await self._exchange([frame], bytes((commands.CHANGE_BAUDRATE,)))
        self._raise_refused()
        await asyncio.sleep(2 * _LAST_ENDS * 10 / self.baud)
        await self._set_port_rate(baud)

    async def _set_port_rate(self, baud: int) -> None:
        try:
            await self.stream.set_baud(baud)
        except BaseException:
            self._break_off()
            raise
        self.baud = baud

    async def _answers_after(self, settle_s: float, timeout_s: float | None) -> bool:
        """Whether the chip answers at the new rate; without a time limit of the caller's, raise if not."""
        try:
            await asyncio.sleep(settle_s)
        except BaseException:
            self._break_off()
            raise
        self.stream.discard_input()
        self._protocol.forget()
        self.broken = False
        try:
            # In secure download mode this is refused, which is an answer too.
            await self._exchange([read_reg_frame(MAGIC_ADDRESS)], bytes((commands.READ_REG,)), timeout_s)
        except (NoAnswer, GarbledAnswer) as error:
            if timeout_s is not None:
                return False
            error.hint = f"the line does not carry {self.baud} baud: choose a lower --baud"
            raise
        return True

    async def reboot(self) -> None:
        """Let the ROM answer once more and restart; whatever its boot pins say comes next."""
        await self._exchange([commands.REBOOT_FRAME], bytes((commands.FLASH_DEFL_END,)))
        self._raise_refused()

    async def sync(self, *, tries: int = SYNC_TRIES) -> None:
        """Get in step again: let the line fall silent, drop what comes, SYNC. Raises NoAnswer, PortGone."""
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
            size = sum(map(len, frames)) + commands.REPLY_BYTES * len(frames)
            floor_s = min(_FLOOR_S, _HASTY_FLOOR_S) if self.hasty else _FLOOR_S
            timeout_s = floor_s + size * 10 / self.baud * _LINE_SLACK + delay_us * 2e-6
        self.counters.frames += len(frames)
        self._waiter = waiter = self._loop.create_future()
        if not self._pace.ruled_out:
            self._pace.burst_begins(self._loop.time())
        self._set_deadline(timeout_s, 0)
        try:
            self._pump()
            self._rest()
            await waiter
        except BaseException:
            self._break_off()
            raise
        finally:
            self._waiter = None

    def _set_deadline(self, timeout_s: float, answered: int) -> None:
        """Of the burst that is under way. The alarm of an earlier one looks again when it rings."""
        self._timeout_s, self._answered_before = timeout_s, answered
        self._deadline_at = self._loop.time() + timeout_s
        if self._alarm is not None and self._alarm.when() > self._deadline_at:
            self._alarm.cancel()
            self._alarm = None
        if self._alarm is None:
            self._alarm = self._loop.call_at(self._deadline_at, self._on_alarm)

    def _on_alarm(self) -> None:
        self._alarm = None
        waiter = self._waiter
        if waiter is None or waiter.done():
            return
        if self._loop.time() < self._deadline_at:
            self._alarm = self._loop.call_at(self._deadline_at, self._on_alarm)
        else:
            self._on_deadline(waiter)

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
        self._sent_at = max(self._sent_at, self._loop.time()) + len(data) * 10 / self.baud
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
            self._rest()

    def _rest(self) -> None:
        """Sleep through the answers that must come before anything can be done.

        They cannot be here sooner than the line carries them, nor sooner than it has carried the request of
        the last of them; and waking up for each chunk of a few bytes costs more than all the parsing.
        """
        if self._pace.known:
            byte_s = 10 / self.baud
            count = self._protocol.answers_needed()
            asked_s = self._sent_at - self._loop.time() - self._protocol.bytes_sent_after(count) * byte_s
            answered_s = commands.REPLY_BYTES * byte_s + max(
                asked_s, (count - 1) * commands.REPLY_BYTES * byte_s
            )
            if answered_s - _REST_ENDS_BEFORE_S > _REST_AT_LEAST_S:
                self.stream.rest(answered_s - _REST_ENDS_BEFORE_S)

    def _fail(self, error: Exception) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(error)

    def _on_deadline(self, waiter: asyncio.Future[None]) -> None:
        protocol = self._protocol
        if protocol.only_repeats_missing:  # a ROM that does not repeat its errors
            waiter.set_result(None)
            return
        if protocol.answered > self._answered_before:  # slow (a busy machine, a far bridge), not silent
            self._set_deadline(self._timeout_s, protocol.answered)
            return
        waiter.set_exception(
            NoAnswer(
                f"{self.stream.port}: the chip did not answer within {self._timeout_s:.1f} s "
                f"({protocol.answered} of {protocol.asked} answers came)",
                hint="it may have been reset or lost its supply",
            )
        )

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
