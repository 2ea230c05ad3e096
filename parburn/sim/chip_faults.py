"""Faults in one simulated chip: its supply, its crystal, its ROM, its eFuse controller, its cells."""

from __future__ import annotations

import random

from parburn.sim.efuse_memory import COPIES, EfuseMemory
from parburn.sim.fault import Fault


class WrongCrystal(Fault):
    """Another crystal than the board should have."""

    def __init__(self, sentence: str, rng: random.Random, mhz: str) -> None:
        super().__init__(sentence, rng)
        self.mhz = int(mhz)

    def crystal_mhz(self, usual: int) -> int:
        """Return the other crystal."""
        self.fired += 1
        return self.mhz


class RomReboot(Fault):
    """The ROM reboots at the n-th packet instead of executing it."""

    def __init__(self, sentence: str, rng: random.Random, packet: str) -> None:
        super().__init__(sentence, rng)
        self.packet = int(packet)

    def reboots(self, packet: int) -> bool:
        """Return whether this is the n-th packet."""
        hit = packet == self.packet
        self.fired += hit
        return hit


class Watchdog(Fault):
    """The watchdog resets the chip after the n-th packet: its answer may be out, the registers are gone."""

    def __init__(self, sentence: str, rng: random.Random, packet: str) -> None:
        super().__init__(sentence, rng)
        self.packet = int(packet)

    def resets_after(self, packet: int) -> bool:
        """Return whether this is the n-th packet."""
        hit = packet == self.packet
        self.fired += hit
        return hit


class HangingController(Fault):
    """From the n-th program command on CMD never shows idle."""

    def __init__(self, sentence: str, rng: random.Random, program: str) -> None:
        super().__init__(sentence, rng)
        self.program = int(program)

    def controller_hangs(self, program: int) -> bool:
        """Return whether this is the n-th program command, or a later one."""
        hangs = program >= self.program
        self.fired += hangs
        return hangs


class BrownOut(Fault):
    """The supply breaks down in the n-th program pulse: a part of the bits burns, the chip resets."""

    def __init__(self, sentence: str, rng: random.Random, program: str, percent: str | None) -> None:
        super().__init__(sentence, rng)
        self.program, self.part = int(program), float(percent or 50) / 100

    def burned(self, memory: EfuseMemory, index: int, cells: int, program: int) -> int:
        """Return a random part of the cells in the n-th pulse, all in others."""
        if program != self.program:
            return cells
        bits = [bit for bit in range(cells.bit_length()) if cells >> bit & 1]
        return sum(1 << bit for bit in self.rng.sample(bits, int(len(bits) * self.part)))

    def brown_out(self, program: int) -> bool:
        """Return whether this is the n-th pulse."""
        hit = program == self.program
        self.fired += hit
        return hit


class BlockFault(Fault):
    """A fault of one block's cells; `bit` counts in the layout of its read registers."""

    def __init__(self, sentence: str, rng: random.Random, bit: str, block: str) -> None:
        super().__init__(sentence, rng)
        self.bit, self.block = int(bit), block.upper()

    def cells_of(self, memory: EfuseMemory, index: int, bit: int) -> int:
        """Return the cells of a bit, all copies of it; 0 in another block."""
        block = memory.chip.blocks[index]
        if self.block not in (name.upper() for name in block.names):
            return 0
        if index or not memory.pgm:
            return 1 << bit
        return sum(1 << (bit + 32 * block.words * n) for n in range(COPIES))


class StubbornBit(BlockFault):
    """A bit refuses to burn, always or in its first pulses only."""

    def __init__(
        self, sentence: str, rng: random.Random, bit: str, block: str, once: str | None, times: str | None
    ) -> None:
        super().__init__(sentence, rng, bit, block)
        self.refusals = int(times) if times else 1 if once else None

    def burned(self, memory: EfuseMemory, index: int, cells: int, program: int) -> int:
        """Return the cells without the bit's own."""
        stuck = self.cells_of(memory, index, self.bit) & cells
        if not stuck or self.fired == self.refusals:
            return cells
        self.fired += 1
        return cells & ~stuck


class LeakingBit(BlockFault):
    """When a bit burns, the next higher one burns too."""

    def burned(self, memory: EfuseMemory, index: int, cells: int, program: int) -> int:
        """Return the cells and, with the bit's own, those of the next higher bit."""
        if not self.cells_of(memory, index, self.bit) & cells:
            return cells
        self.fired += 1
        return cells | self.cells_of(memory, index, self.bit + 1)


class WrongBytes(BlockFault):
    """So many bytes of a block burn wrong at its first program pulse: a coding error."""

    def burned(self, memory: EfuseMemory, index: int, cells: int, program: int) -> int:
        """Return the cells with so many bytes of the block spoiled, once."""
        if self.fired or not cells or not self.cells_of(memory, index, 0):
            return cells
        self.fired += 1
        for place in self.rng.sample(range(memory.chip.blocks[index].words * 4), self.bit):
            byte = cells >> (8 * place) & 0xFF
            cells ^= (byte & -byte or 1) << (8 * place)
        return cells
