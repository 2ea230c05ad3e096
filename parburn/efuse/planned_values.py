"""What a plan leaves in fields and ranges, as text for whoever confirms it. Pure; never the text of a key."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from parburn.chips.model import Block, Chip, Codec, Field
from parburn.efuse import values
from parburn.efuse.image import EfuseImage
from parburn.efuse.key_blocks import holds_key
from parburn.efuse.layout import RD_DIS, WR_DIS, layout_of
from parburn.efuse.plan import BurnPlan
from parburn.efuse.user_values import NOT_SHOWN, UserValue
from parburn.events import PlannedBlock

KEY = "(key)"


def described(plan: BurnPlan, image: EfuseImage, found: Sequence[UserValue]) -> tuple[PlannedBlock, ...]:
    """Return the plan as an operator sees it, a row a block and step, with the values that it leaves.

    Args:
        plan: What will be burned.
        image: The chip before, all blocks of the plan in it.
        found: The values of the user blocks, as they will be.
    """
    writes = []
    blocks: dict[int, int] = {}
    for step in plan.steps:
        for write in step.writes:
            writes.append(write)
            index = write.block.index
            blocks[index] = (blocks[index] if index in blocks else image.block(index)) | write.want
    after = image.with_blocks(blocks)
    rows = []
    for row, write in zip(plan.describe(), writes, strict=True):
        rows.append(row._replace(values=_values(after, write.block, write.want, found)))
    return tuple(rows)


def values_in_block0(image: EfuseImage, bits: int) -> tuple[tuple[str, str], ...]:
    """Return name and text of each field of BLOCK0 that has any of `bits`, with these bits burned."""
    return _of_block0(image.chip, image.block(0) | bits, bits)


@lru_cache(1024)  # BLOCK0 holds no key, and gets the same bits on board after board
def _of_block0(chip: Chip, held: int, bits: int) -> tuple[tuple[str, str], ...]:
    image = EfuseImage(chip, {0: held})
    fields = (chip.field_by_name[name][0] for name in layout_of(chip).names(0, bits))
    return tuple((field.name, _text(image, field)) for field in fields)


def _text(image: EfuseImage, field: Field) -> str:
    bits = image.value_bits(field)
    if field.codec is Codec.KEYPURPOSE:
        return str(values.get(image, field, bits))
    return f"0x{bits:x}" if field.name in (WR_DIS, RD_DIS) else str(bits)


def _values(
    after: EfuseImage, block: Block, want: int, found: Sequence[UserValue]
) -> tuple[tuple[str, str], ...]:
    index = block.index
    if index == 0:
        return _of_block0(after.chip, after.block(0), want)
    if holds_key(after, block):
        return ((block.name, KEY),)
    texts = []
    for value in found:
        for place in value.places:
            if place.block == index and place.mask & want:
                texts.append(
                    (value.name, KEY if value.is_key else "" if value.shown == NOT_SHOWN else value.shown)
                )
                break
    return tuple(texts)
