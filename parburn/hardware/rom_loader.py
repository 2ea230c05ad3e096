"""The ROM loader of one chip: its commands, over a link (`rom_link`). Knows no eFuses; opens no port.

What a burst of register operations sends, and what must stand ahead of a write, is made in `burst_frames`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from parburn.chips.model import RegisterWrite
from parburn.errors import GarbledAnswer, LinkError, NoAnswer, PortGone
from parburn.hardware.burst_frames import SAFE_ENTRIES, FrameBuilder, ReadRegs, WriteGuard, WriteRegs
from parburn.hardware.rom_link import RomLink
from parburn.protocol import commands, slip
from parburn.protocol.commands import ChangeBaudrate, SecurityInfo, read_reg_frame
from parburn.protocol.loader import SAFE_RING_BYTES
from parburn.protocol.trace import Trace
from parburn.transport.reset import ResetMode
from parburn.transport.stream import ByteStream

MAGIC_ADDRESS: Final = 0x4000_1000  # a word of every ROM that tells the older chips apart

_BAUD_SOON_S: Final = 0.002  # after a change of rate, until the chip is asked for the first time
_BAUD_ANSWER_S: Final = 0.5  # for that first answer
_BAUD_SETTLE_S: Final = 0.05  # until both sides are quiet, where that first answer was none
_LAST_ENDS: Final = 2  # bytes that follow the answer to CHANGE_BAUDRATE at the old rate


class RomLoader(RomLink):
    """The ROM loader of one chip: registers, security flags, the baud rate, a restart."""

    def __init__(self, stream: ByteStream, *, baud: int = 115200, trace: Trace | None = None) -> None:
        super().__init__(stream, baud=baud, trace=trace)
        self.magic: int | None = None  # word at MAGIC_ADDRESS, once security_info() could read it
        self.was_reset = True  # by us; else its buffer may hold frames of an earlier run
        self._first_baud = baud
        self.frames = FrameBuilder()  # of register operations
        self._crystal_mhz = 1.0
        self._beliefs_mhz: tuple[float, ...] = (1.0,)  # what the ROM may take it for, the likeliest first

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
        """Reset the chip into its loader and get in step with it.

        Args:
            stream: An open port that nobody is attached to.
            before: How to reset.
            attempts: Resets at most; one is always tried.
            baud: The rate that the port is set to.
            on_attempt: Gets 1, 2, .. as the attempts begin.
            trace: Writes down what goes over the wire.

        Raises:
            NoAnswer: No chip answers, or its own program runs.
            GarbledAnswer: What answers is no ROM loader.
            PortGone: The port vanished.
            UsageError: There is no such mode.
        """
        rom = cls(stream, baud=baud, trace=trace)
        rom.was_reset = not before.startswith("no-reset") and not stream.fixed_baud
        if before != "no-reset-no-sync":
            await rom._in_search(rom._search.connect(before, attempts, on_attempt))
        return rom

    async def reconnect(
        self, *, before: ResetMode, attempts: int, on_attempt: Callable[[int], None] | None = None
    ) -> None:
        """Find the ROM anew at its first rate, as `connect` does, and raise what that raises."""
        if self.raised:
            await self.stream.set_baud(self._first_baud)
            self.baud = self._first_baud
        self.set_limits()
        await self._in_search(self._search.connect(before, attempts, on_attempt))

    @property
    def raised(self) -> bool:
        """Whether the rate is another than that of the start."""
        return self.baud != self._first_baud

    def set_limits(self, *, ring_bytes: int = SAFE_RING_BYTES, entries_per_write: int = SAFE_ENTRIES) -> None:
        """Set what this chip's ROM takes; without a chip, what every ROM takes.

        Args:
            ring_bytes: Bytes of requests that may be unanswered at a time.
            entries_per_write: Entries of one WRITE_REG packet.
        """
        self._protocol.ring_bytes = ring_bytes
        self.frames.set_limits(ring_bytes=ring_bytes, entries_per_write=entries_per_write)

    def guard_writes(self, guard: WriteGuard) -> None:
        """From now on put ahead of writes what must stand there."""
        self.frames.guard_writes(guard)

    # --- registers

    async def burst(self, *ops: ReadRegs | WriteRegs, timeout_s: float | None = None) -> list[int]:
        """Send all operations back to back and await all replies once; return the words read, in order.

        Replies carry no checksum: a word may be wrong, so what matters is read twice or compared.

        Args:
            *ops: What the ROM is to do, in this order.
            timeout_s: How long it may be silent, in seconds; None: as `reply_deadline` computes it.

        Raises:
            CommandRefused: The ROM refuses one of the requests. All are answered: the link is in step.
            NoAnswer: Replies are missing when the time is over.
            GarbledAnswer: What came is no reply to what was asked.
            PortGone: The port vanished.
        """
        frames, opcodes, of_guard, delay_us = self.frames.frames_of(ops)
        await self._exchange(frames, opcodes, timeout_s, delay_us)
        self._raise_refused()
        if commands.WRITE_REG in opcodes:
            self.frames.write_executed()
        values = self._protocol.values
        for at in reversed(of_guard):
            del values[at]
        return values

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

        Raises:
            NoAnswer: Replies are missing when the time is over.
            GarbledAnswer: What came is no reply, or has none of the two layouts.
            PortGone: The port vanished.
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
        """Set what this chip's crystal is, and what its ROM takes it for when it computes baud rates.

        Args:
            mhz: The crystal's frequency.
            *believed_mhz: What the ROM may take it for, the likeliest first; none: it knows the right one.
        """
        self._crystal_mhz, self._beliefs_mhz = mhz, believed_mhz or (mhz,)

    async def change_baud(self, baud: int) -> None:
        """Change the rate of chip and port, and see that they understand each other.

        Over a plain socket nothing happens: `baud` then stays what it was.

        Raises:
            NoAnswer: The line does not carry the new rate: nothing comes.
            GarbledAnswer: The line does not carry the new rate: it damages what comes.
            CommandRefused: The ROM does not change its rate.
            LinkError: The port cannot be set to this rate.
            PortGone: The port vanished.
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
