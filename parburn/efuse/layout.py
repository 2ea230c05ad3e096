"""Masks derived once from a chip row, so that staging and planning are a few int operations. Knows no bits.

A `Layout` holds, for the blocks of one chip: what a set bit of WR_DIS protects, what a set bit of RD_DIS
hides, and which bits of BLOCK0 lock the chip or end the link.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from parburn.chips.model import Block, Chip, Field, LinkEndKind

WR_DIS = "WR_DIS"
RD_DIS = "RD_DIS"
# Kinds of link end after which nothing can be read.
ENDS_ANSWERS = (LinkEndKind.SECURE_DOWNLOAD, LinkEndKind.NO_DOWNLOAD)


class Layout(NamedTuple):
    """The masks of one chip. `protects` and `hides` map a bit number to (block index, mask) pairs."""

    chip: Chip
    blocks: dict[int, Block]
    wr_dis: Field
    rd_dis: Field
    protects: dict[int, tuple[tuple[int, int], ...]]
    hides: dict[int, tuple[tuple[int, int], ...]]
    locks: int  # bits of BLOCK0 that are burned last
    link_ends: tuple[tuple[int, LinkEndKind], ...]  # (mask in BLOCK0, kind)
    ends: int  # bits of BLOCK0 after which a board may never answer again, over any kind of port
    fields: dict[int, tuple[tuple[int, Field], ...]]  # block index -> (mask, field), places only

    def names(self, index: int, bits: int) -> tuple[str, ...]:
        """Return the names of the block's fields that have any of `bits`, each once, in table order."""
        if index == 0:
            return _names_in_block0(self.chip, bits)
        whole, parts = self.blocks[index].mask, 0
        itself: dict[str, None] = {}
        names: dict[str, None] = {}
        for mask, field in self.fields[index]:
            if mask & bits:
                if mask == whole:
                    itself[field.name] = None
                else:
                    names[field.name] = None
                    parts |= mask
        # A block is no field of itself, unless bits are left that stand in no other field.
        return (*itself, *names) if bits & ~parts else tuple(names)

    def protected(self, index: int, wr_dis: int) -> int:
        """Return the bits of a block that a value of WR_DIS keeps from being burned."""
        return _covered(self.protects, index, wr_dis)

    def hidden(self, index: int, rd_dis: int) -> int:
        """Return the bits of a block that a value of RD_DIS makes read as 0."""
        return _covered(self.hides, index, rd_dis)


@lru_cache(1024)  # BLOCK0 has most of the fields, holds no key, and gets the same bits on board after board
def _names_in_block0(chip: Chip, bits: int) -> tuple[str, ...]:
    fields = layout_of(chip).fields[0]
    return tuple(dict.fromkeys(field.name for mask, field in fields if mask & bits))


def _covered(table: dict[int, tuple[tuple[int, int], ...]], index: int, bits: int) -> int:
    mask = 0
    while bits:
        low = bits & -bits
        for block, covered in table.get(low.bit_length() - 1, ()):
            if block == index:
                mask |= covered
        bits ^= low
    return mask


def _parts(block: Block, protection: tuple[int, ...]) -> list[tuple[int, int]]:
    """Split a block evenly over the protection bits, the lowest part to the first."""
    size = 32 * block.words // max(len(protection), 1)
    return [(bit, ((1 << size) - 1) << (size * part)) for part, bit in enumerate(protection)]


@lru_cache(128)
def layout_of(chip: Chip) -> Layout:
    """Return the chip's masks, derived at first use. Every chip row has the fields WR_DIS and RD_DIS."""
    protects: dict[int, list[tuple[int, int]]] = {}
    hides: dict[int, list[tuple[int, int]]] = {}
    fields: dict[int, list[tuple[int, Field]]] = {block.index: [] for block in chip.blocks}
    for block in chip.blocks:
        if block.wr_dis is not None:
            protects.setdefault(block.wr_dis, []).append((block.index, block.mask))
        for bit, mask in _parts(block, block.rd_dis):
            hides.setdefault(bit, []).append((block.index, mask))
    for field in chip.fields:
        if field.start is None:
            continue
        fields[field.block].append((field.mask, field))
        if field.wr_dis is not None:
            protects.setdefault(field.wr_dis, []).append((field.block, field.mask))
        # One bit hides the whole field, wherever it stands; of several, each hides its part of the block.
        parts = _parts(chip.blocks[field.block], field.rd_dis) if len(field.rd_dis) > 1 else ()
        for bit, mask in parts or ((bit, field.mask) for bit in field.rd_dis):
            hides.setdefault(bit, []).append((field.block, mask & field.mask))
    locks = 0
    for name in chip.burned_last:
        locks |= chip.field_by_name[name][0].mask
    ends = 0
    for name in (*(end.field for end in chip.link_ends), *chip.usb_ends):
        ends |= chip.field_by_name[name][0].mask
    return Layout(
        chip=chip,
        blocks={block.index: block for block in chip.blocks},
        wr_dis=chip.field_by_name[WR_DIS][0],
        rd_dis=chip.field_by_name[RD_DIS][0],
        protects={bit: _merged(pairs) for bit, pairs in protects.items()},
        hides={bit: _merged(pairs) for bit, pairs in hides.items()},
        locks=locks,
        link_ends=tuple((chip.field_by_name[end.field][0].mask, end.kind) for end in chip.link_ends),
        ends=ends,
        fields={index: tuple(pairs) for index, pairs in fields.items()},
    )


def _merged(pairs: list[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    by_block: dict[int, int] = {}
    for block, mask in pairs:
        by_block[block] = by_block.get(block, 0) | mask
    return tuple(by_block.items())
