"""What a burn puts in, as a record tells it: each field of BLOCK0 of each chip, no masks, no keys."""

from __future__ import annotations

import pytest

from parburn.chips.model import Chip
from parburn.chips.registry import chip_named
from parburn.efuse.image import EfuseImage
from parburn.efuse.plan import BlockWrite, BurnPlan, BurnStep
from parburn.efuse.user_values import NOT_SHOWN, Place, Take, UserValue
from parburn.run.burned_values import MASKS, burned_values
from tests.efuse.images import ROW_NAMES, ROWS


def of_block0(chip: Chip, want: int) -> tuple[BurnPlan, EfuseImage]:
    """A plan, and a chip of which no other block was read."""
    write = BlockWrite(chip.blocks[0], want, ())
    return BurnPlan(chip, (BurnStep((write,), "BLOCK0", ()),)), EfuseImage(chip, {0: 0})


@pytest.mark.parametrize("chip", ROWS, ids=ROW_NAMES)
def test_every_field_of_block0_has_a_text(chip: Chip) -> None:
    for field in chip.fields:
        if field.block == 0 and field.start is not None:
            told = burned_values(*of_block0(chip, field.mask), ())
            assert (field.name in told) == (field.name not in MASKS)
            assert all(text and text.isprintable() for text in told.values()), told
    whole = burned_values(*of_block0(chip, chip.blocks[0].mask), ())
    assert set(whole) == {f.name for f in chip.fields if f.block == 0 and f.start is not None} - set(MASKS)


def test_a_bit_is_1_and_a_key_is_never_told() -> None:
    chip = chip_named("esp32c3")
    plan, image = of_block0(chip, chip.field_by_name["DIS_PAD_JTAG"][0].mask)
    places = (Place(4, 0, 256),)
    values = [
        UserValue("BLOCK_KEY0", places, 7, "0x7", Take.KEY, secret=True, is_key=True),
        UserValue("HIDDEN", places, 7, NOT_SHOWN, Take.OWN, secret=True),
        UserValue("SERIAL", places, 7, "7", Take.SAME, secret=False),
    ]
    assert burned_values(plan, image, values) == {"SERIAL": "7", "DIS_PAD_JTAG": "1"}
    assert burned_values(BurnPlan(chip), image, values) == {"SERIAL": "7"}
