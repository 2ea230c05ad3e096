"""What a plan leaves in fields and ranges, as text for whoever confirms it. Pure; never the text of a key."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from parburn.chips.model import Chip, Codec, Field
from parburn.efuse import values
from parburn.efuse.image import EfuseImage
from parburn.efuse.key_blocks import holds_key
from parburn.efuse.layout import layout_of
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
    wants = {write.block.index: plan.want(write.block.index) for step in plan.steps for write in step.writes}
    after = image.with_blocks({n: image.block(n) | want for n, want in wants.items()})
    writes = [write for step in plan.steps for write in step.writes]
    return tuple(
        row._replace(values=tuple(_values(after, write.block.index, write.want, found)))
        for row, write in zip(plan.describe(), writes, strict=True)
    )


def values_in_block0(chip: Chip, image: EfuseImage, bits: int) -> tuple[tuple[str, str], ...]:
    """Return name and text of each field of BLOCK0 that has any of `bits`, with these bits burned."""
    after = image.with_blocks({0: image.block(0) | bits})
    fields = (chip.field_by_name[name][0] for name in layout_of(chip).names(0, bits))
    return tuple((field.name, _text(after, field)) for field in fields)


def _values(
    after: EfuseImage, index: int, want: int, found: Sequence[UserValue]
) -> Iterator[tuple[str, str]]:
    block = after.chip.blocks[index]
    if index == 0:
        yield from values_in_block0(after.chip, after, want)
    elif holds_key(after, block):
        yield block.name, KEY
    else:
        for value in found:
            if any(place.block == index and place.mask & want for place in value.places):
                yield value.name, KEY if value.is_key else "" if value.shown == NOT_SHOWN else value.shown


def _text(image: EfuseImage, field: Field) -> str:
    bits = image.value_bits(field)
    if field.codec is Codec.KEYPURPOSE:
        return str(values.get_meaning(image, field, bits))
    shown = values.get(image, field, bits)
    if isinstance(shown, bool):
        return str(int(shown))
    return f"0x{shown:x}" if isinstance(shown, int) and field.name in ("WR_DIS", "RD_DIS") else str(shown)
