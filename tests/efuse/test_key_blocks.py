"""Which blocks hold keys, and which fields over them are not to be shown."""

from __future__ import annotations

import pytest

from parburn.chips.model import Chip
from parburn.chips.registry import chip_named
from parburn.chips.table import extend_chip, parse_custom_table
from parburn.efuse.image import EfuseImage
from parburn.efuse.key_blocks import holds_key, is_key, may_hold_key
from parburn.efuse.staged import StagedBurns
from parburn.efuse.user_values import NOT_SHOWN, Declared, rules_of, values_found

TABLE = "SMALL, EFUSE_BLK{block}, 0, 64, A number\nLARGE, EFUSE_BLK{block}, 64, 128, A part of a key\n"


def with_fields(name: str, block: int) -> Chip:
    return extend_chip(chip_named(name), parse_custom_table(TABLE.format(block=block), file="t.csv"))


def image_of(chip: Chip, **fields: int) -> EfuseImage:
    blocks = dict.fromkeys((block.index for block in chip.blocks), 0)
    for name, value in fields.items():
        one = chip.field_by_name[name][0]
        blocks[one.block] |= value << (one.start or 0)
    return EfuseImage(chip, blocks)


@pytest.mark.parametrize(
    ("fields", "secret"), [({}, False), ({"KEY_PURPOSE_5": 8}, True), ({"RD_DIS": 1 << 5}, True)]
)
def test_a_purpose_or_a_lock_makes_a_field_a_key(fields: dict[str, int], secret: bool) -> None:
    chip = with_fields("esp32c3", 9)
    image = image_of(chip, SMALL=0x1122334455667788, LARGE=1 << 90, **fields)
    small, large = (chip.field_by_name[name][0] for name in ("SMALL", "LARGE"))
    assert is_key(image, small) is holds_key(image, chip.blocks[9]) is secret
    assert is_key(image, large)  # as long as half a key: nobody can tell
    shown = {one.name: one.shown for one in values_found(image, rules_of(chip, Declared()))}
    assert (shown["SMALL"] == NOT_SHOWN, shown["LARGE"]) == (secret, NOT_SHOWN)


def test_a_purpose_that_is_staged_counts() -> None:
    chip = with_fields("esp32c3", 9)
    staged = StagedBurns()
    one = chip.field_by_name["KEY_PURPOSE_5"][0]
    staged.add(one.block, 8 << (one.start or 0))
    assert is_key(image_of(chip), chip.field_by_name["SMALL"][0], staged)


@pytest.mark.parametrize(("block", "secret"), [(1, True), (2, True), (3, False)])
def test_blocks_without_a_purpose(block: int, secret: bool) -> None:
    """ESP32: BLOCK1 and BLOCK2 are for keys; BLOCK3, which takes them, has the custom MAC."""
    chip = with_fields("esp32", block)
    assert may_hold_key(chip, chip.blocks[block]) is secret
    assert is_key(image_of(chip), chip.field_by_name["LARGE"][0]) is secret


def test_fields_of_the_chip() -> None:
    chip = chip_named("esp32c3")
    assert not is_key(image_of(chip), chip.field_by_name["CUSTOM_MAC"][0])
    assert is_key(image_of(chip), chip.field_by_name["BLOCK_KEY0"][0])
