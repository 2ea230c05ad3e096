"""The eFuse controller of one simulated chip: registers, op codes, busy time, program and read.

Knows nothing of the serial line. Time is a float of seconds that the caller passes in.

CONF takes the op code (0x5A5A program, 0x5AA5 read), CMD starts it: bit 0 READ, bit 1 PGM, and on the PGM
kind bits 2-5 the block number, which stays. A command whose op code does not match does nothing. While an
operation runs CMD shows its bit and takes no other. The read registers change only when a READ is over, or
at reset. On the PGM kind the first look at CMD after READ shows idle, whatever is true: a known fault of the
silicon, for which a host has to look twice.

A program command with timing registers that do not suit the crystal burns badly: some bits stay unburned.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass

from parburn.chips.model import Chip, LinkEndKind
from parburn.sim.efuse_memory import EfuseMemory, Reading
from parburn.sim.fault import Fault
from parburn.sim.registers import Registers

READ, PROGRAM = 1, 2
OP_READ, OP_PROGRAM = 0x5AA5, 0x5A5A
BLOCK_SHIFT, BLOCK_MASK = 2, 0xF
WEAK_PART = 0.75  # of the bits burn with the wrong timing
_HARDEST_FIRST = tuple(LinkEndKind)


@dataclass(frozen=True, slots=True)
class ProgramPulse:
    """One program pulse: how many bits it set in which blocks, and what was wrong with it."""

    number: int
    fresh_bits: dict[int, int]
    note: str


class EfuseController:
    """Both kinds of controller; the chip row tells which."""

    def __init__(
        self,
        memory: EfuseMemory,
        registers: Registers,
        *,
        crystal_mhz: int,
        faults: Fault,
        on_burn: Callable[[ProgramPulse], None] = lambda record: None,
    ) -> None:
        self.memory, self.registers = memory, registers
        self.chip: Chip = memory.chip
        self.pgm = memory.pgm
        self.crystal_mhz = crystal_mhz
        self.faults = faults
        self.on_burn = on_burn
        self.programs = 0
        self.shows_idle_once = self.pgm  # a fault of the silicon, and its field that keeps its value: both
        self.keeps_block_number = self.pgm  # can be switched off, since emulators do not have them
        self.link_state: LinkEndKind | None = None  # None: the link is open
        self.browned_out = False
        self.burning = False  # from a program command until the READ after its pulse has ended
        self.awaits_read = True  # False: the end of the pulse ends it
        self.on_burning: Callable[[bool], None] = lambda burning: None
        self._abandoned = False
        self._cmd, self._conf = self.chip.registers["CMD"], self.chip.registers["CONF"]
        self._operation = 0
        self._block = 0
        self._done_at = math.inf
        self._look = 0
        readable = {b.read_address + 4 * n for b in self.chip.blocks for n in range(b.words)}
        registers.read_only |= readable | set(self.chip.error_registers) | set(self.chip.block0_errors)
        self.load()

    # Registers --------------------------------------------------------------------------------------

    def reset(self) -> None:
        """Power on: nothing runs, the registers are loaded from the cells."""
        self._operation, self._done_at, self._look, self._block = 0, math.inf, 0, 0
        self.browned_out = False
        self._set_burning(False)
        self.load()

    def abandon(self) -> None:
        """Note that the host is gone: after the pulse that may run no READ comes."""
        self._abandoned = True
        if self._operation != PROGRAM or math.isinf(self._done_at):
            self._set_burning(False)

    def _set_burning(self, burning: bool) -> None:
        if burning != self.burning:
            self.burning = burning
            self.on_burning(burning)

    def load(self) -> None:
        """Refresh read registers, error registers and protections from the cells."""
        memory, words = self.memory, self.registers.words
        memory.load_protections()
        readings = {block.index: memory.reading(block.index) for block in self.chip.blocks}
        for block in self.chip.blocks:
            seen = memory.visible(block.index)
            for n in range(block.words):
                words[block.read_address + 4 * n] = seen >> (32 * n) & 0xFFFFFFFF
        words.update(self._error_words(readings))
        states = [end.kind for end in self.chip.link_ends if memory.field_bits(end.field)]
        self.link_state = min(states, key=_HARDEST_FIRST.index, default=None)

    def _error_words(self, readings: dict[int, Reading]) -> dict[int, int]:
        words = dict.fromkeys((*self.chip.error_registers, *self.chip.block0_errors), 0)
        if not self.pgm:
            warnings = [readings[b.index].errors << (4 * n) for n, b in enumerate(self.chip.blocks[1:])]
            words[self.chip.registers["DEC_STATUS"]] = sum(warnings)
            return words
        unreported = self.chip.blocks[0].words - len(self.chip.block0_errors)
        for n, address in enumerate(self.chip.block0_errors):
            words[address] = readings[0].errors >> 32 * (n + unreported) & 0xFFFFFFFF
        for block in self.chip.blocks:
            place, reading = block.errors, readings[block.index]
            if place is None or block.index == 0:
                continue
            words[place.address] |= min(reading.errors, place.count_mask) << place.count_shift
            if reading.fail and place.fail_bit is not None:
                at = place.address if place.fail_address is None else place.fail_address
                words[at] = words.get(at, 0) | 1 << place.fail_bit
        return words

    def next_event(self) -> float:
        """Return when the running operation ends; infinity when none does."""
        return self._done_at

    def settle(self, now: float) -> None:
        """Let an operation whose time is over end."""
        if now < self._done_at:
            return
        operation, self._operation, self._done_at = self._operation, 0, math.inf
        block = self._block
        if operation == PROGRAM and not self.keeps_block_number:
            self._block = 0
        if operation == READ:
            self.load()
            self._set_burning(False)
        elif operation == PROGRAM:
            self._program(block)
            if self._abandoned or not self.awaits_read:
                self._set_burning(False)

    def cut(self, now: float) -> None:
        """Break off the program pulse that runs now: it burns as many of its bits as it had time for."""
        self.settle(now)
        if self._operation == PROGRAM and not math.isinf(self._done_at):
            part = 1 - (self._done_at - now) / (self.chip.program_ms / 1000)
            self._operation, self._done_at = 0, math.inf
            self._program(self._block, part=part)

    def read_cmd(self, now: float) -> int:
        """Return CMD as a host sees it now."""
        self.settle(now)
        self._look += 1
        shown = self._operation
        if shown == READ and self._look == 1 and self.shows_idle_once:
            shown = 0
        return shown | (self._block << BLOCK_SHIFT if self.pgm else 0)

    def write_cmd(self, value: int, now: float) -> None:
        """Write CMD, which starts an operation if none runs and the op code in CONF matches."""
        self.settle(now)
        if self._operation:
            return
        if self.pgm:
            self._block = value >> BLOCK_SHIFT & BLOCK_MASK
        op_code = self.registers.words.get(self._conf, 0) & 0xFFFF
        if value & PROGRAM and op_code == OP_PROGRAM:
            self._operation = PROGRAM
            self._done_at = now + self.chip.program_ms / 1000
            self._abandoned = False
            self._set_burning(True)
        elif value & READ and op_code == OP_READ:
            self._operation, self._look = READ, 0
            self._done_at = now + self.chip.read_ms / 1000
        count = self.programs + (self._operation == PROGRAM)
        if self._operation and self.faults.controller_hangs(count):
            self._done_at = math.inf  # never ends; a program pulse has burned all the same
            if self._operation == PROGRAM:
                self._program(self._block)
                if not self.awaits_read:
                    self._set_burning(False)

    # Programming ------------------------------------------------------------------------------------

    def _program(self, selected: int, *, part: float = 1.0) -> None:
        self.programs += 1
        notes = [] if self.timing_is_right() else ["wrong timing for the crystal"]
        notes += ["the pulse was cut"] if part < 1 else []
        fresh: dict[int, int] = {}
        for index, pattern in self._patterns(selected).items():
            cells = self.memory.allowed(index, pattern) & ~self.memory.cells[index]
            if notes:
                cells = self._weakly(index, cells, min(part, WEAK_PART))
            spoiled = self.faults.burned(self.memory, index, cells, self.programs)
            notes += ["a fault spoiled it"] if spoiled != cells else []
            cells = spoiled
            fresh[index] = self.memory.set_cells(index, cells).bit_count()
        if not self.pgm:
            for block in self.chip.blocks:
                for n in range(block.words):
                    self.registers.words[block.write_address + 4 * n] = 0
        self.browned_out = self.faults.brown_out(self.programs)
        self.on_burn(ProgramPulse(self.programs, {k: v for k, v in fresh.items() if v}, "; ".join(notes)))

    def _patterns(self, selected: int) -> dict[int, int]:
        """Return by block what the programming registers hold."""
        if self.pgm:
            if selected >= len(self.chip.blocks):
                return {}
            data, check = self.chip.registers["PGM_DATA0"], self.chip.registers["CHECK_VALUE0"]
            addresses = [data + 4 * n for n in range(8)] + [check + 4 * n for n in range(3)]
            return {selected: self._join(addresses)}
        return {
            b.index: self._join([b.write_address + 4 * n for n in range(b.words)]) for b in self.chip.blocks
        }

    def _join(self, addresses: list[int]) -> int:
        words = self.registers.words
        return sum(words.get(address, 0) << (32 * n) for n, address in enumerate(addresses))

    def timing_is_right(self) -> bool:
        """Return whether the timing registers hold what this crystal needs."""
        wanted: dict[int, tuple[int, int]] = {}
        for write in self.chip.timing.get(self.crystal_mhz, ()):
            value, mask = wanted.get(write.address, (0, 0))
            wanted[write.address] = (value & ~write.mask) | (write.value & write.mask), mask | write.mask
        words = self.registers.words
        return self.crystal_mhz in self.chip.timing and all(
            words.get(a, 0) & mask == value & mask for a, (value, mask) in wanted.items()
        )

    def _weakly(self, index: int, cells: int, part: float) -> int:
        """Return the cells that burn in a pulse of the wrong length: about this part, and never all.

        They are always the same ones.
        """
        least = round(256 * (1 - part))
        burned = 0
        for bit in range(cells.bit_length()):
            if cells >> bit & 1 and hashlib.blake2b(b"%d:%d" % (index, bit)).digest()[0] >= least:
                burned |= 1 << bit
        return burned if burned != cells else cells & (cells - 1)
