"""A plan template in words that an engineer can check: what is burned, where, and what is free. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from parburn.efuse import values
from parburn.efuse.image import EfuseImage
from parburn.efuse.layout import RD_DIS, WR_DIS, Layout, layout_of
from parburn.errors import ParburnError
from parburn.station.template import Fixed, Free, Part, PlanTemplate, TemplateBurn, Variant

SHOWN_BITS = 64  # a longer value is not repeated in a line
SHOWN_VARIANTS = 5


def template_lines(template: PlanTemplate, chip: str, image: EfuseImage) -> Iterator[str]:
    """Yield the lines for one kind of chip, whose tables are joined to the image's chip."""
    variants = template.chips.get(chip, ())
    yield f"{image.chip.title}: {_count(len(variants), 'plan')}"
    for number, variant in enumerate(variants, start=1):
        if number > SHOWN_VARIANTS:
            left = variants[SHOWN_VARIANTS:]
            firsts = ", ".join(str(one.first) for one in left)
            yield f"  and {_count(len(left), 'more plan')}, the first records: index {firsts}"
            return
        yield from _variant_lines(variant, image)


def _variant_lines(variant: Variant, image: EfuseImage) -> Iterator[str]:
    burns = _count(len(variant.burns), "burn")
    yield f"  {_count(variant.records, 'record')}, the first: index {variant.first}; {burns}"
    for number, burn in enumerate(variant.burns, start=1):
        yield f"    burn {number}: {', then '.join(step.label for step in burn.steps) or 'nothing new'}"
        for part in burn.parts:
            yield from (f"      {line}" for line in _part_lines(part, image))
        yield from (f"      {line}" for line in _burn_lines(burn))


def _burn_lines(burn: TemplateBurn) -> Iterator[str]:
    for step in burn.steps:
        if step.ends_link:
            yield f"ends the link: {step.ends_link}"
    for reason in burn.forced:
        yield f"FORCED: {reason}"


def _part_lines(part: Part, image: EfuseImage) -> Iterator[str]:
    thing, holds = part
    layout = layout_of(image.chip)
    block = layout.blocks[thing.block].name
    if thing.block == 0 and thing.name in (WR_DIS, RD_DIS) and isinstance(holds, Fixed) and holds.bits:
        yield _lock_line(layout, thing.name, holds.bits)
        return
    name = thing.name if thing.name in (block, *layout.blocks[thing.block].names) else f"{block} {thing.name}"
    if not thing.whole and thing.block == 0 and isinstance(holds, Fixed) and holds.bits:
        name = f"{block} {', '.join(layout.names(0, holds.bits))}"
    yield f"{name}: {_value(part, image)}"


def _value(part: Part, image: EfuseImage) -> str:
    thing, holds = part
    if isinstance(holds, Free):
        return "FREE, each record's own" + (", or none" if holds.may_be_zero else "")
    if holds.bits is None:
        return "one value that all units have (not shown)"
    start = (thing.mask & -thing.mask).bit_length() - 1
    bits = holds.bits >> start
    if not thing.whole:
        return f"{_count(bits.bit_count(), 'bit')}"
    try:
        f = image.field_named(thing.name)
        if f.block == thing.block and f.mask == thing.mask:
            shown = str(values.get(image, f, bits))
            return shown if len(shown) <= SHOWN_BITS else _count(bits.bit_count(), "bit")
    except ParburnError:
        pass
    return f"0x{bits:x}" if thing.mask.bit_count() <= SHOWN_BITS else _count(bits.bit_count(), "bit")


def _lock_line(layout: Layout, name: str, bits: int) -> str:
    field, table, told = (
        (layout.wr_dis, layout.protects, "locks against writing")
        if name == WR_DIS
        else (layout.rd_dis, layout.hides, "hides from software")
    )
    bits >>= field.start or 0
    names: dict[str, None] = {}
    for number in range(field.bits):
        if bits >> number & 1:
            for block, mask in table.get(number, ()):
                names.update(dict.fromkeys(layout.names(block, mask) or (layout.blocks[block].name,)))
    return f"{told}: {', '.join(names) or 'nothing that has a name'} ({name} 0x{bits:x})"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")
