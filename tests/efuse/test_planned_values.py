"""The values of a plan as text: fields by name, key blocks without theirs, on every chip."""

from __future__ import annotations

import pytest

from parburn.chips.model import Codec
from parburn.chips.registry import chip_named, chip_names
from parburn.efuse.layout import layout_of
from parburn.efuse.plan import plan_burns
from parburn.efuse.planned_values import KEY, described, values_in_block0
from parburn.efuse.user_values import Declared, Kind, Place, Written, rules_of, values_of
from tests.efuse.images import blank, staged_bits
from tests.provisioning import KEY as KEY_BYTES

SECRET = int.from_bytes(KEY_BYTES, "little")


@pytest.mark.parametrize("name", chip_names())
def test_every_field_of_block0_has_a_text(name: str) -> None:
    chip = chip_named(name)
    fields = [field for mask, field in layout_of(chip).fields[0]]
    for field in fields:
        for bits in (1, (1 << field.bits) - 1):
            shown = dict(values_in_block0(blank(name), bits << (field.start or 0)))
            assert shown[field.name]
            if (
                field.codec is not Codec.KEYPURPOSE
                and field.name not in ("WR_DIS", "RD_DIS")
                and not field.sources
            ):
                assert shown[field.name] == str(bits)


@pytest.mark.parametrize("name", chip_names())
def test_a_key_block_has_no_text_of_its_key(name: str) -> None:
    chip = chip_named(name)
    keys = [block for block in chip.blocks if block.for_keys]
    block = next((block for block in keys if block.key_purpose), keys[0])
    wanted = {block.name: SECRET & block.mask}
    if block.key_purpose:
        wanted[block.key_purpose] = 4
    image = blank(name)
    plan = plan_burns(image, staged_bits(image, **wanted))
    rows = described(plan, image, ())
    shown = {key: text for row in rows for key, text in row.values}
    assert shown[block.name] == KEY
    assert not any(len(text) > 24 for text in shown.values())
    if block.key_purpose:
        assert not shown[block.key_purpose].isdecimal()


def test_a_value_of_a_user_block_is_shown_and_the_block_is_no_field_of_itself() -> None:
    image = blank("esp32c3")
    chip = image.chip
    mac = chip.field_by_name["CUSTOM_MAC"][0]
    assert mac.start is not None
    bits = 0x010000000002 << mac.start
    block = chip.blocks[mac.block]
    plan = plan_burns(image, staged_bits(image, **{block.name: bits}))
    held = image.with_blocks({mac.block: bits})
    written = (Written(Kind.FIELD, Place(mac.block, mac.start, mac.bits), "CUSTOM_MAC"),)
    (row,) = described(plan, image, values_of(held, written, rules_of(chip, Declared())))
    assert row.fields == ("CUSTOM_MAC",)
    assert dict(row.values) == {"CUSTOM_MAC": "02:00:00:00:00:01"}
    (whole,) = plan_burns(image, staged_bits(image, **{block.name: bits | 1})).describe()
    assert block.name in whole.fields  # a bit that stands in no other field
