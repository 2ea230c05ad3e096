"""Images of made-up chips for the tests of the eFuse model."""

from __future__ import annotations

from parburn.chips.model import Chip
from parburn.chips.registry import chip_named, chip_names
from parburn.efuse.image import EfuseImage
from parburn.efuse.staged import StagedBurns

REVISION_BIT = 1 << 31  # in the register that the classic chip's revision is composed of


def _rows() -> list[Chip]:
    """Every chip, and every form that its overlays give it by silicon revision."""
    revisions = (None, *range(400))
    found = {
        id(chip): chip for name in chip_names() for chip in (chip_named(name, revision=n) for n in revisions)
    }
    return list(found.values())


ROWS = _rows()
ROW_NAMES = [f"{chip.name}-{number}" for number, chip in enumerate(ROWS)]


def blank(name: str | Chip, **fields: int) -> EfuseImage:
    """A chip with all blocks read; `fields` are burned into it as raw numbers."""
    chip = chip_named(name) if isinstance(name, str) else name
    image = EfuseImage(
        chip,
        {block.index: 0 for block in chip.blocks},
        registers=dict.fromkeys(chip.extra_registers, REVISION_BIT),
    )
    return burned(image, **fields)


def burned(image: EfuseImage, **fields: int) -> EfuseImage:
    """The image with more fields burned, no matter whether a chip would."""
    for name, bits in fields.items():
        f = image.field_named(name)
        assert f.start is not None
        image = image.with_blocks({f.block: image.block(f.block) | bits << f.start})
    return image


def staged_bits(image: EfuseImage, **fields: int) -> StagedBurns:
    """What is staged when these fields are asked for, without any check."""
    staged = StagedBurns()
    for name, bits in fields.items():
        f = image.field_named(name)
        staged.add(f.block, bits << (f.start or 0))
    return staged


def three_quarters() -> EfuseImage:
    """A classic chip in 3/4 coding."""
    return blank("esp32", CODING_SCHEME=1)


def block_names(chip: Chip) -> list[str]:
    """All names of all blocks."""
    return [name for block in chip.blocks for name in block.names]
