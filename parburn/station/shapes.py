"""The shape of what scripts burn: which things, in which burn, and which values are fixed. Knows no board.

A burn asks for *things*: a field's whole value, a key, bytes of a block, or single bits and locks. Two
records have one shape when they ask for the same things in the same burns; what those things hold may differ.
Some values are part of the shape, and are never free: locks, purposes, single bits, ends of the link.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from hashlib import blake2b
from typing import Final, NamedTuple

from parburn.chips.model import Chip
from parburn.efuse.key_blocks import may_hold_key
from parburn.efuse.layout import layout_of
from parburn.efuse.staging import Wanted
from parburn.efuse.user_values import Kind, Written
from parburn.script.computed_burns import AskedBurn, Computed

DIGEST_BYTES: Final = 16

Value = int | bytes  # the bits, or for what may be a key their digest


class Thing(NamedTuple):
    """One thing that a burn asks for.

    `mask` is where it stands in the block. `whole`: its value is all that stands there; else its bits stand
    beside others. `pinned` is a value that belongs to the shape; None: the value stands in `Shape.values`.
    `secret`: only a digest of its value may be kept.
    """

    name: str
    block: int
    mask: int
    whole: bool
    pinned: int | None = None
    secret: bool = False


class StepShape(NamedTuple):
    """One program command, without what it burns."""

    label: str
    locks: bool
    ends_link: str


class BurnShape(NamedTuple):
    """One burn of the scripts, on a chip that is blank. `forced` are refusals that --force passed over."""

    things: tuple[Thing, ...]
    steps: tuple[StepShape, ...]
    forced: tuple[str, ...] = ()


class Shape(NamedTuple):
    """What one record asks for on one chip. `values` are those of the things that are not pinned."""

    burns: tuple[BurnShape, ...]
    values: tuple[Value, ...]

    def __repr__(self) -> str:  # the values are a unit's own
        return f"Shape({len(self.burns)} burns)"


def shape_of(chip: Chip, computed: Computed) -> Shape:
    """Return the shape of what was computed for one record."""
    places = _places(computed.written)
    keys = {place.block for kind, place, _, by_key in computed.written if kind is Kind.KEY or by_key}
    burns = []
    values: list[Value] = []
    for asked in computed.asked:
        things = []
        for thing, bits in _things(chip, asked, places, keys):
            things.append(thing)
            if thing.pinned is None:
                values.append(kept(bits, secret=thing.secret))
        steps = tuple(StepShape(step.label, step.locks, step.ends_link) for step in asked.plan.steps)
        burns.append(BurnShape(tuple(things), steps, asked.plan.forced))
    return Shape(tuple(burns), tuple(values))


def kept(bits: int, *, secret: bool) -> Value:
    """Return what is kept of a value: itself, or a digest of what may be a key. Nothing is 0 for both."""
    if not secret or not bits:
        return bits
    data = bits.to_bytes((bits.bit_length() + 7) // 8, "little")
    return blake2b(data, digest_size=DIGEST_BYTES).digest()


def _places(written: tuple[Written, ...]) -> dict[int, list[int]]:
    """Return the masks of the places that commands have written as data, the smallest first."""
    found: dict[int, list[int]] = {}
    for one in written:
        if one.kind is not Kind.BITS:
            found.setdefault(one.place.block, []).append(one.place.mask)
    for masks in found.values():
        masks.sort(key=int.bit_count)
    return found


def _things(
    chip: Chip, asked: AskedBurn, places: Mapping[int, list[int]], keys: set[int]
) -> Iterator[tuple[Thing, int]]:
    """Yield what a burn asks for, with its value."""
    masks: dict[int, int] = {}
    seen: dict[tuple[str, int, int], int] = {}
    for one in asked.wanted:
        mask = _extent(chip, one, places)
        masks[one.block] = masks.get(one.block, 0) | mask
        bits = one.bits | asked.bits.get(one.block, 0) & mask
        at = one.name, one.block, mask
        seen[at] = seen.get(at, 0) | bits
    for (name, block, mask), bits in seen.items():
        yield _thing(chip, name, block, mask, bits, keys, whole=True), bits
    for block, all_bits in sorted(asked.bits.items()):
        left = all_bits & ~masks.get(block, 0)
        for name, mask in _parts(chip, block):
            if left & mask:
                yield _thing(chip, name, block, mask, left & mask, keys, whole=False), left & mask


def _extent(chip: Chip, one: Wanted, places: Mapping[int, list[int]]) -> int:
    """Return where a wanted value stands: of bytes of a block the place that the command has written.

    Which of those bytes are zero is part of the value.
    """
    if one.block and one.name in chip.blocks[one.block].names:
        for mask in places.get(one.block, ()):
            if not one.mask & ~mask:
                return mask
    return one.mask


def _thing(chip: Chip, name: str, block: int, mask: int, bits: int, keys: set[int], *, whole: bool) -> Thing:
    if mask.bit_count() == 1 or (block == 0 and (not whole or mask & _never_free(chip))):
        return Thing(name, block, mask, whole, bits)
    row = chip.blocks[block]
    hideable = bool(row.rd_dis) and not row.for_keys
    secret = bool(block) and (may_hold_key(chip, row) or hideable or block in keys)
    return Thing(name, block, mask, whole, None, secret)


@lru_cache(128)
def _never_free(chip: Chip) -> int:
    """Return the bits of BLOCK0 whose value is never free: locks, purposes, and what ends the link."""
    layout = layout_of(chip)
    mask = layout.wr_dis.mask | layout.rd_dis.mask | layout.locks | layout.ends
    for block in chip.blocks:
        for f in chip.field_by_name.get(block.key_purpose or "", ()):
            names = [source.field for source in f.sources if source.field is not None]
            for place in (f, *(chip.field_by_name[name][0] for name in names)):
                if place.start is not None and place.block == 0:
                    mask |= place.mask
    return mask


@lru_cache(256)
def _parts(chip: Chip, block: int) -> tuple[tuple[str, int], ...]:
    """Return the parts in which single bits of a block are told: the two masks of locks apart."""
    layout = layout_of(chip)
    row = chip.blocks[block]
    if block:
        return ((row.name, row.mask),)
    locks = [(one.name, one.mask) for one in (layout.wr_dis, layout.rd_dis)]
    return (*locks, (row.name, row.mask & ~layout.wr_dis.mask & ~layout.rd_dis.mask))
