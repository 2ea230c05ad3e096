"""The eFuse cells of one simulated chip: what is burned, how it decodes, who may see and burn it.

Knows nothing of registers, commands or time. A cell once set stays set. Bits are Python ints with word 0 in
the low 32 bits, as in `parburn.chips.model`.

Cells of a block, by kind:

- BLOCK0 of a PGM controller: four copies of its words, side by side; a bit reads as most copies say.
- any other block of a PGM controller: eight data words and three check words, decoded as RS(44,32).
- a classic controller's block 0: plain. Its other blocks: the words as programmed, decoded by the scheme
  that its coding field names (0 and 3 none, 1 three-quarters, 2 repeat).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from parburn.chips.model import Block, Chip, ControllerKind, Field
from parburn.sim import codes

COPIES = 4
RS_BITS = 8 * (codes.DATA_BYTES + codes.CHECK_BYTES)
THREE_QUARTERS, REPEAT = 1, 2


@dataclass(frozen=True, slots=True)
class Reading:
    """One block as decoded: `bits` in the layout of its read registers, and what the decoder reports.

    `errors` counts wrong bytes (RS), or has a bit per warning (3/4), or has the bits on which the four
    copies differ (BLOCK0).
    """

    bits: int
    errors: int = 0
    fail: bool = False


class EfuseMemory:
    """Cells by block index, with the protections as they were last loaded."""

    def __init__(self, chip: Chip, cells: Mapping[int, int] | None = None) -> None:
        self.chip = chip
        self.pgm = chip.controller is ControllerKind.PGM
        self.cells = {block.index: 0 for block in chip.blocks} | dict(cells or {})
        placed = [f for f in chip.fields if f.block == 0 and f.start is not None]
        self._write_protected = [(f.wr_dis, f.mask) for f in placed if f.wr_dis is not None]
        self._read_protected = [(f.rd_dis, f.mask) for f in placed if f.rd_dis]
        self.wr_dis = self.rd_dis = 0
        self.load_protections()

    # What is there ----------------------------------------------------------------------------------

    def field_place(self, name: str) -> Field | None:
        """Return the first field of that name that has a place of its own; None: there is none."""
        return next((f for f in self.chip.field_by_name.get(name, ()) if f.start is not None), None)

    def field_bits(self, name: str) -> int:
        """Return the true value of a field, whatever protects it; 0 for one that the chip does not have."""
        field = self.field_place(name)
        if field is None or field.start is None:
            return 0
        return (self.reading(field.block).bits & field.mask) >> field.start

    def reading(self, index: int) -> Reading:
        """Decode one block."""
        block, cells = self.chip.blocks[index], self.cells[index]
        if index == 0:
            return self._vote(block, cells) if self.pgm else Reading(cells & block.mask)
        if self.pgm:
            data, errors, fail = codes.rs_decode(cells.to_bytes(RS_BITS // 8, "little"))
            return Reading(int.from_bytes(data, "little") & block.mask, errors, fail)
        scheme = self.field_bits(self.chip.coding_field or "")
        if scheme == THREE_QUARTERS:
            data, warnings = codes.three_quarters_decode(cells.to_bytes(4 * block.words, "little"))
            return Reading(int.from_bytes(data, "little"), warnings)
        if scheme == REPEAT:
            half = 16 * block.words
            return Reading((cells | cells >> half) & ((1 << half) - 1))
        return Reading(cells)

    def _vote(self, block: Block, cells: int) -> Reading:
        size = 32 * block.words
        copies = [cells >> (size * n) & block.mask for n in range(COPIES)]
        a, b, c, d = copies
        most = (a & b) | (c & d) | ((a | b) & (c | d))
        return Reading(most, (a | b | c | d) & ~(a & b & c & d))

    # What is seen -----------------------------------------------------------------------------------

    def load_protections(self) -> None:
        """Take WR_DIS and RD_DIS over from the cells, as the READ command and a reset do."""
        self.wr_dis, self.rd_dis = self.field_bits("WR_DIS"), self.field_bits("RD_DIS")

    def visible(self, index: int) -> int:
        """Return what the read registers of a block show: its bits without those that are read-protected."""
        bits, block = self.reading(index).bits, self.chip.blocks[index]
        if index == 0:
            return bits & ~_masked(self._read_protected, self.rd_dis)
        part = 32 * block.words // max(1, len(block.rd_dis))
        for n, bit in enumerate(block.rd_dis):
            if self.rd_dis >> bit & 1:
                bits &= ~(((1 << part) - 1) << (part * n))
        return bits

    # What is burned ---------------------------------------------------------------------------------

    def allowed(self, index: int, pattern: int) -> int:
        """Return the cells that a program pulse reaches: nothing of what is write-protected.

        For BLOCK0 of a PGM controller the pattern is one copy and the cells are all four.
        """
        block = self.chip.blocks[index]
        if block.wr_dis is not None and index != 0 and self.wr_dis >> block.wr_dis & 1:
            return 0
        if index != 0:
            if not self.pgm:
                return pattern & block.mask
            check = pattern >> 8 * codes.DATA_BYTES << 8 * codes.DATA_BYTES
            return pattern & block.mask | check & ((1 << RS_BITS) - 1)
        held = _masked(((bit,), mask) for bit, mask in self._write_protected if self.wr_dis >> bit & 1)
        pattern &= block.mask & ~held
        if not self.pgm:
            return pattern
        return sum(pattern << (32 * block.words * n) for n in range(COPIES))

    def set_cells(self, index: int, cells: int) -> int:
        """Burn these cells; return which of them were still unburned."""
        fresh = cells & ~self.cells[index]
        self.cells[index] |= fresh
        return fresh

    def preset(self, index: int, bits: int) -> None:
        """Give a block these bits at the factory, with the right check bits. It replaces what was there."""
        block = self.chip.blocks[index]
        if index == 0:
            size = 32 * block.words
            self.cells[0] = sum(bits << (size * n) for n in range(COPIES)) if self.pgm else bits
        elif self.pgm:
            data = bits.to_bytes(codes.DATA_BYTES, "little")
            self.cells[index] = int.from_bytes(data + codes.rs_check_bytes(data), "little")
        elif self.field_bits(self.chip.coding_field or "") == THREE_QUARTERS:
            data = (bits & (1 << 192) - 1).to_bytes(24, "little")
            self.cells[index] = int.from_bytes(codes.three_quarters_encode(data), "little")
        else:
            self.cells[index] = bits
        self.load_protections()

    def preset_field(self, name: str, value: int) -> None:
        """Give a placed field a value at the factory.

        Raises:
            KeyError: no field of that name has a place.
        """
        field = self.field_place(name)
        if field is None or field.start is None:
            raise KeyError(name)
        kept = self.reading(field.block).bits & ~field.mask
        self.preset(field.block, kept | value << field.start & field.mask)


def _masked(rows: Iterable[tuple[tuple[int, ...], int]], protection: int | None = None) -> int:
    """Return all masks whose bits are set in `protection`; with None, all masks."""
    found = 0
    for bits, mask in rows:
        if protection is None or any(protection >> bit & 1 for bit in bits):
            found |= mask
    return found
