"""The eFuse controllers: turns one step of a plan into register bursts. Knows nothing of scripts or ledgers.

Two kinds of hardware exist (TRM, chapter eFuse Controller):

* `PgmController`: every block is written through the shared PGM_DATA0..7 and CHECK_VALUE0..2 registers; the
  block's number goes into CMD.
* `ClassicController` (first generation): each block has WDATA registers of its own, and one program command
  burns all four sets at once.

The line has no checksum and the ROM executes what it gets, so the order of docs/safety.md is kept here:

1. *stage*: load the programming registers and read all of them back, with timing and block number;
2. compare; only then *program*: CONF and CMD in a packet of their own, then poll until idle;
3. *reload*: take the program op code out of CONF, then CONF and CMD with the read command, poll idle, read
   the blocks and the error registers, and in the same burst stage the next step.

That is two turns a step, and one for the first staging.

The ROM's buffer is one and never cleared, and what arrives of a frame is executed on top of what stands
there. So each prefix of each frame must be harmless on each frame before it (`tests/pulses` tries them all):

* A poll of CMD leaves CMD's address where a WRITE_REG has that of its first entry, and `CMD <- 5A5A` is a
  program command for block 6. So a harmless register is read behind each poll (`burst_frames.WriteGuard`).
* The program entries stay in the buffer behind their packet, and a cut read command would run them again. So
  CONF loses the op code first, in a packet of one entry: it covers CONF's place and cannot reach CMD's.
* The packet of the program command has the block's number in CMD's value, although it was read back and the
  mask leaves it alone: where the mask is damaged, or stale, the right number is written.
* A program packet that is cut behind CMD's address takes CMD's value from the entry that was staged at that
  place: staging is so arranged that this is no program command.
* A damaged length runs the program packet on into the entries that were staged. Staging is so arranged that
  what an earlier step left among them only clears bits: words that are not zero come first, and the next
  staging, which writes each of them again, reaches at least as far; then CMD, zeros, and timing, which is the
  same for all steps. What an earlier run may have left, where we did not reset the chip, stands in the
  registers as well: all of it is written over, and so is the buffer.
* A write that changes nothing is missed nowhere when a flipped bit of its address takes it to CLK or to a
  timing register. So timing that stands there is not written again, CONF is cleared only where these
  neighbours have zeros, and of a chip that we did not reset CLK and timing are read back whole.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import lru_cache

from parburn.chips.model import Block, Chip, ControllerKind, RegisterWrite, merged_writes
from parburn.efuse.image import BlockStatus, EfuseImage
from parburn.efuse.plan import BurnStep
from parburn.errors import BoardSwapped, ControllerStuck, GarbledAnswer, StagingMismatch
from parburn.hardware.burst_frames import ReadRegs, WriteGuard, WriteRegs
from parburn.hardware.programming_registers import (
    BLOCK_NUMBER_SHIFT,
    CMD_PROGRAM,
    ClassicRegisters,
    PgmRegisters,
    ProgrammingRegisters,
)
from parburn.hardware.rom_loader import RomLoader

CONF_PROGRAM = 0x5A5A
CONF_READ = 0x5AA5
OP_CODE_MASK = 0xFFFF
CMD_READ = 0x1
CMD_BUSY = CMD_READ | CMD_PROGRAM

DEC_STATUS_ERRORS = 0xFFF
CLK_UNUSED = 0xFFFE_FFF8  # bits of CLK that are reserved, and zero (TRM, EFUSE_CLK_REG)

READ_REG_BYTES = 14  # of a request, at least
POLLS = 2  # reads of CMD behind a read command; both must show idle
IDLE_DEADLINE_S = 0.5  # the longest operation in any manual takes 0.1 s
READ_ATTEMPTS = 2


def join_words(words: Sequence[int]) -> int:
    """Return one int of 32-bit words, word 0 in the low bits."""
    return int.from_bytes(struct.pack(f"<{len(words)}I", *words), "little")


def write_guard(chip: Chip) -> WriteGuard:
    """Return what stands ahead of writes to this chip: see the head of this module."""
    every_timing = tuple(write for writes in chip.timing.values() for write in merged_writes(writes))
    return WriteGuard(chip.registers["CMD"], chip.dummy_register, _no_op_code(chip, every_timing))


def _no_op_code(chip: Chip, timing: tuple[RegisterWrite, ...]) -> RegisterWrite:
    """Return the write that takes the op code out of CONF: CONF <- 0.

    One flipped bit of its address may hit CLK or a timing register, which nobody reads again. Where there are
    such neighbours the write leaves them as they are: it clears only bits that are zero in all of them or,
    where the op code has none of these, writes what stands there, which is no op code either.
    """
    conf, clock = chip.registers["CONF"], chip.registers.get("CLK")
    if clock is not None and all(one.address != clock for one in timing):
        timing = (*timing, RegisterWrite(clock, 0, CLK_UNUSED))
    beside = [one for one in timing if (one.address ^ conf).bit_count() == 1]
    cleared = OP_CODE_MASK
    for one in beside:
        cleared &= one.mask & ~one.value
    if cleared & CONF_PROGRAM or not beside:
        return RegisterWrite(conf, 0, cleared if beside else 0xFFFFFFFF)
    kept = OP_CODE_MASK
    for one in beside:
        kept &= one.mask & ~(one.value ^ beside[0].value)  # what all of them hold alike
    return RegisterWrite(conf, beside[0].value & kept, kept)


class Controller:
    """What both kinds of controller share: reading, polling, verified staging. Not used by itself."""

    def __init__(self, rom: RomLoader, chip: Chip) -> None:
        self.rom = rom
        self.chip = chip
        self.registers = self._registers_of(rom, chip)
        self.set_timing((), {})  # none is needed to read
        self._idle_in_time = True  # after READ: else nothing is staged in the burst that waits for it
        self._guarded: tuple[int, ...] = ()
        self._same_board: Callable[[Sequence[int]], None] = lambda values: None
        self._conf = chip.registers["CONF"]
        self._cmd = chip.registers["CMD"]

    def set_timing(self, timing: tuple[RegisterWrite, ...], reading: Mapping[int, int]) -> None:
        """Take the writes that set the timing, and what those registers held: see `ProgrammingRegisters`."""
        self.registers.set_timing(timing, reading)
        self._disarmed = WriteRegs((_no_op_code(self.chip, timing),))

    # What the two kinds differ in -------------------------------------------------------------------

    @staticmethod
    def _registers_of(rom: RomLoader, chip: Chip) -> ProgrammingRegisters:
        raise AssertionError("a Controller is either classic or pgm")

    @staticmethod
    def _error_registers(chip: Chip, block: Block) -> tuple[int, ...]:
        """Return the registers that report this block's coding errors."""
        raise AssertionError("a Controller is either classic or pgm")

    def _program_value(self, step: BurnStep) -> int:
        """Return CMD's value that programs what is staged for this step."""
        raise AssertionError("a Controller is either classic or pgm")

    def block_status(self, reading: Mapping[int, int]) -> tuple[dict[int, BlockStatus], int | None]:
        """Return the error reports of the blocks whose registers were read, and BLOCK0's own.

        BLOCK0's are error bits in its own layout; None when its registers were not read.
        """
        raise AssertionError("a Controller is either classic or pgm")

    # Reading ----------------------------------------------------------------------------------------

    def addresses(self, blocks: Iterable[int]) -> tuple[int, ...]:
        """Return the read registers of these blocks, and the error registers that speak of them."""
        return self._addresses(self.chip, frozenset(blocks))

    @classmethod
    @lru_cache(1024)
    def _addresses(cls, chip: Chip, blocks: frozenset[int]) -> tuple[int, ...]:
        wanted = [chip.blocks[index] for index in sorted(blocks)]
        words = [address for block in wanted for address in chip.read_registers[block.index]]
        errors = dict.fromkeys(a for block in wanted for a in cls._error_registers(chip, block))
        return (*words, *errors)

    def image_of(self, reading: Mapping[int, int], blocks: Collection[int], base: EfuseImage) -> EfuseImage:
        """Return `base` with these blocks taken from the reading, and the error reports that it holds."""
        status, block0_errors = self.block_status(reading)
        bits = {
            index: join_words([reading[a] for a in self.chip.read_registers[index]]) for index in set(blocks)
        }
        image = base.with_blocks(bits, status, block0_errors)
        if self.chip.scheme_field is None:
            return image
        # Under 3/4 coding the last words of a block hold no data.
        return image.with_blocks({n: bits[n] & ((1 << image.block_bits(n)) - 1) for n in bits})

    def _words(self, blocks: Iterable[int]) -> tuple[int, ...]:
        """Return the read registers of these blocks, without their error registers."""
        registers = self.chip.read_registers
        return tuple([address for index in sorted(set(blocks)) for address in registers[index]])

    async def read_blocks(self, blocks: Collection[int], base: EfuseImage) -> EfuseImage:
        """Read these blocks in one burst; they replace what `base` holds of them.

        Raises:
            BoardSwapped: another chip answers; seen only once `guard` was called.
            GarbledAnswer: the registers of `guard` read differently again and again.
            LinkError, CommandRefused: the burst failed.
        """
        return self.image_of(await self._read_guarded(self.addresses(blocks)), blocks, base)

    async def read_bits(self, blocks: Collection[int], base: EfuseImage) -> EfuseImage:
        """Read these blocks as `read_blocks` does, and not the error registers."""
        return self.image_of(await self._read_guarded(self._words(blocks)), blocks, base)

    def guard(self, registers: Sequence[int], same_board: Callable[[Sequence[int]], None]) -> None:
        """End every burst that stages or reads with these registers from now on: they tell who answers.

        They come last: a board that is put in after they were read has lost, with its supply, whatever was
        staged before.

        Args:
            same_board: raises BoardSwapped for the values of another chip.
        """
        self._guarded, self._same_board = tuple(registers), same_board

    async def _still_same(self, values: Sequence[int]) -> bool:
        """Tell whether what was read belongs to our chip. Raises BoardSwapped when two readings deny it."""
        try:
            self._same_board(values)
        except BoardSwapped:
            self._same_board(await self.rom.read_regs(self._guarded))
            self.rom.counters.retries += 1
            return False
        return True

    async def _read_guarded(self, addresses: Sequence[int]) -> Mapping[int, int]:
        """Read registers of our chip, and of no other that has taken its place."""
        for _ in range(READ_ATTEMPTS):
            values = await self.rom.read_regs((*addresses, *self._guarded))
            if await self._still_same(values[len(addresses) :]):
                return dict(zip(addresses, values, strict=False))
        raise GarbledAnswer(
            "the chip's identity read differently again and again",
            hint="The line damages data: use a shorter cable or a lower --baud, then run again.",
        )

    # Staging ----------------------------------------------------------------------------------------

    async def stage(self, step: BurnStep, also_read: Sequence[int] = ()) -> Mapping[int, int]:
        """Load the programming registers for this step, verified; nothing is burned by this.

        Args:
            also_read: registers that are read in the same burst, before the writes.

        Returns:
            What `also_read` held, by address.

        Raises:
            StagingMismatch: the registers twice do not hold what was written.
            BoardSwapped: another chip answers.
            LinkError, CommandRefused: the burst failed.
        """
        registers = self.registers
        for _ in range(READ_ATTEMPTS + registers.guessed):
            back = registers.to_read_back(step)
            writes = WriteRegs(registers.writes_for(step))
            values = await self.rom.burst(
                ReadRegs(tuple(also_read)), writes, ReadRegs(back), ReadRegs(self._guarded)
            )
            before, values = dict(zip(also_read, values, strict=False)), values[len(also_read) :]
            same = await self._still_same(values[len(back) :])
            if registers.accept(step, dict(zip(back, values, strict=False))) and same:
                return before
            self.rom.counters.retries += 1
        raise StagingMismatch(
            f"the programming registers for {step.label} do not hold what was written to them",
            hint="The line damages data: use a shorter cable or a lower --baud, then run again.",
        )

    # Burning ----------------------------------------------------------------------------------------

    def _command(self, conf: int, cmd: int, wait_ms: float) -> WriteRegs:
        """Return the writes of CONF and CMD, in a packet of their own.

        CMD is written by mask, so that the block's number, which was read back, stays; the program command's
        value has it as well.

        The ROM then waits at a harmless register, except where the line is known to be so slow that the poll
        that follows takes long enough to get there. That third entry of a program packet may stay in the
        ROM's buffer behind a shorter read packet: it starts nothing.
        """
        starting = (RegisterWrite(self._conf, conf), RegisterWrite(self._cmd, cmd, CMD_BUSY))
        if wait_ms / 1000 <= self.rom.seconds_at_least(READ_REG_BYTES):
            return WriteRegs(starting)
        waiting = RegisterWrite(self.chip.dummy_register, 0, 0, delay_us=round(wait_ms * 1000))
        return WriteRegs((*starting, waiting))

    async def _wait_idle(self, what: str, polls: Sequence[int]) -> None:
        """Return once CMD shows idle twice in a row: on the PGM chips one idle reading may be false."""
        deadline = time.monotonic() + IDLE_DEADLINE_S
        if any(value & CMD_BUSY for value in polls[-2:]):
            self.rom.was_faster()  # than the operation: from now on the ROM waits before it polls
        while any(value & CMD_BUSY for value in polls[-2:]):
            if time.monotonic() > deadline:
                raise ControllerStuck(
                    f"the eFuse controller is still busy {IDLE_DEADLINE_S:g} s after {what}",
                    hint="Check the board's supply and clock, power-cycle it, then run again.",
                )
            polls = await self.rom.read_regs([self._cmd] * POLLS)

    async def program(self, step: BurnStep) -> None:
        """Burn what `stage` has loaded. Must follow a `stage` or `reload` that returned for this step.

        Raises:
            ControllerStuck: the controller is still busy long after the program command.
            LinkError, CommandRefused: the burst failed; whether the command was executed is not known.
        """
        self.registers.begin_burn()
        polls = await self.rom.burst(
            self._command(CONF_PROGRAM, self._program_value(step), self.chip.program_ms),
            ReadRegs((self._cmd,)),  # only after READ may one idle reading be false
        )
        await self._wait_idle("the program command", polls)

    async def reload(
        self, blocks: Collection[int], base: EfuseImage, following: BurnStep | None
    ) -> tuple[EfuseImage, bool]:
        """Make the burned bits visible, read these blocks, and stage the following step.

        The read command makes RD_DIS act: what it hides is gone from the new image too, read again or not.

        Args:
            following: None: the programming registers are cleared instead.

        Returns:
            The new image, and whether the following step is staged and verified.

        Raises:
            ControllerStuck: the controller is still busy long after the read command.
            BoardSwapped: another chip answers.
            LinkError, CommandRefused: the burst failed.
        """
        addresses = self.addresses(blocks)
        command = self._read_command()
        polling = ReadRegs((self._cmd,) * POLLS)
        in_time = self._idle_in_time
        writes: tuple[RegisterWrite, ...] = ()
        back: tuple[int, ...] = ()
        if in_time and following is not None:
            back = self.registers.to_read_back(following)
            writes = self.registers.writes_for(following)
        elif in_time:
            writes = self.registers.clearing_writes()
        staging = (WriteRegs(writes), ReadRegs((*back, *self._guarded)))
        values = await self.rom.burst(*command, polling, ReadRegs(addresses), *staging)
        polls, values = values[:POLLS], values[POLLS:]
        same = await self._still_same(values[len(addresses) + len(back) :])
        idle = not any(value & CMD_BUSY for value in polls[-2:])
        reading = dict(zip(addresses, values, strict=False))
        staged = False
        if not (idle and same):
            # What was read and written behind the polls met a busy controller: take neither.
            self._idle_in_time &= idle
            await self._wait_idle("the read command", polls)
            self.registers.forget_words()
            reading = dict(await self._read_guarded(addresses))
        elif following is not None and in_time:
            staged = self.registers.accept(following, dict(zip(back, values[len(addresses) :], strict=False)))
        if following is None and not (idle and in_time):
            await self.clear()
        return self.image_of(reading, blocks, base).as_shown(), staged

    async def reload_unanswered(self) -> None:
        """Send the read command after which the chip may stop answering (download mode locked).

        Raises:
            LinkError, CommandRefused: the chip did not answer as before, which here may be what was burned.
        """
        await self.rom.burst(*self._read_command())

    def _read_command(self) -> tuple[WriteRegs, WriteRegs]:
        """Return the read command, behind a packet that takes the program op code out of CONF."""
        return self._disarmed, self._command(CONF_READ, CMD_READ, self.chip.read_ms)

    async def clear(self) -> None:
        """Leave no key in the programming registers after a commit that broke off.

        Raises:
            LinkError, CommandRefused: the burst failed.
        """
        await self.rom.burst(WriteRegs(self.registers.clearing_writes()))

    def forget(self) -> None:
        """Forget what all registers hold: the ROM may have restarted."""
        self.registers.forget()


class PgmController(Controller):
    """Shared PGM registers with the block number in CMD: every chip since the second generation."""

    @staticmethod
    def _registers_of(rom: RomLoader, chip: Chip) -> ProgrammingRegisters:
        return PgmRegisters(chip, rom.frames.second_left)

    def _program_value(self, step: BurnStep) -> int:
        (write,) = step.writes
        return write.block.index << BLOCK_NUMBER_SHIFT | CMD_PROGRAM

    @staticmethod
    def _error_registers(chip: Chip, block: Block) -> tuple[int, ...]:
        return chip.block0_errors if block.errors is None else block.errors.addresses

    def block_status(self, reading: Mapping[int, int]) -> tuple[dict[int, BlockStatus], int | None]:
        """Return RS error counts and fail bits; BLOCK0's repeat errors stand in its layout behind WR_DIS."""
        status: dict[int, BlockStatus] = {}
        block0_errors = None
        if self.chip.block0_errors[0] in reading:
            block0_errors = join_words([0, *(reading[a] for a in self.chip.block0_errors)])
            status[0] = BlockStatus(errors=block0_errors.bit_count(), fail=block0_errors != 0)
        for index, errors, registers in self.chip.error_reports:
            if registers <= reading.keys():
                status[index] = BlockStatus(*errors.read(reading))
        return status, block0_errors


class ClassicController(Controller):
    """WDATA registers per block; one program command burns all sets, so all are staged and read back."""

    @staticmethod
    def _registers_of(rom: RomLoader, chip: Chip) -> ProgrammingRegisters:
        return ClassicRegisters(chip)

    def _program_value(self, step: BurnStep) -> int:
        return CMD_PROGRAM

    @staticmethod
    def _error_registers(chip: Chip, block: Block) -> tuple[int, ...]:
        return (chip.registers["DEC_STATUS"],)

    def block_status(self, reading: Mapping[int, int]) -> tuple[dict[int, BlockStatus], int | None]:
        """Return what the 3/4 decoder says: one common error word for all blocks but BLOCK0."""
        word = reading.get(self.chip.registers["DEC_STATUS"])
        if word is None:
            return {}, None
        failed = word & DEC_STATUS_ERRORS != 0
        status = {
            block.index: BlockStatus(errors=0, fail=failed and block.index != 0) for block in self.chip.blocks
        }
        return status, 0


CONTROLLERS: Mapping[ControllerKind, type[Controller]] = {
    ControllerKind.CLASSIC: ClassicController,
    ControllerKind.PGM: PgmController,
}
