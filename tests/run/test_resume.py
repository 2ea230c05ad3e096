"""What goes into the ledger of a chip's bits: keys never in clear, what identifies or calibrates always."""

from __future__ import annotations

import pytest

from parburn.chips.registry import chip_named
from parburn.efuse.image import EfuseImage
from parburn.efuse.values import crc8
from parburn.errors import UnitQuarantined, UnitRefused
from parburn.run.resume import image_from_record, image_record, passed_record, recorded_blocks, refuse_lacking

LEDGER_KEY = b"k" * 32
CHIP = chip_named("esp32c3")
SECRET = int.from_bytes(bytes(range(7, 39)), "little")
MAC = bytes.fromhex("aacdef000102")
CUSTOM_MAC = crc8(MAC) | int.from_bytes(MAC, "little") << 8 | 1 << 184
ADC_POINTS_IN_BLOCK3 = 1 << (3 * 32 + 14)  # BLK3_PART_RESERVE of BLOCK0


@pytest.mark.parametrize(
    ("chip", "block", "bits", "block0", "in_clear"),
    [
        ("esp32", 1, SECRET, 0, False),
        ("esp32", 3, SECRET, 0, False),  # the block of the custom MAC takes keys too
        ("esp32", 3, CUSTOM_MAC, 0, True),
        ("esp32", 3, CUSTOM_MAC ^ 1, 0, False),  # no MAC: its CRC is wrong
        ("esp32", 3, 0x1234 << 96, ADC_POINTS_IN_BLOCK3, True),
        ("esp32", 3, 0, 0, True),
        ("esp32c3", 4, SECRET, 0, False),
        ("esp32c3", 3, SECRET, 0, True),  # user data, which nothing can hide
        ("esp32c2", 3, SECRET, 0, False),
    ],
)
def test_only_what_may_be_a_key_is_a_digest(
    chip: str, block: int, bits: int, block0: int, in_clear: bool
) -> None:
    row = chip_named(chip)
    blocks = {one.index: 0 for one in row.blocks} | {0: block0, block: bits}
    image = EfuseImage(row, blocks, registers=dict.fromkeys(row.extra_registers, 0))
    record = image_record(image, LEDGER_KEY, [block])
    assert (f"{bits:x}" in record) == in_clear
    assert ("hmac:" in record) != in_clear
    assert image_from_record(record, image, LEDGER_KEY).block(block) == bits


def test_fields_that_are_hidden_since_are_not_missed() -> None:
    """BLOCK0 itself can always be read, but not all of its fields."""
    row = chip_named("esp32")
    image = EfuseImage(row, dict.fromkeys(range(4), 0), registers=dict.fromkeys(row.extra_registers, 0))
    coding, rd_dis = (row.field_by_name[name][0] for name in ("CODING_SCHEME", "RD_DIS"))
    assert coding.start is not None
    assert rd_dis.start is not None
    before = image.with_blocks({0: 1 << coding.start | 1 << 20})
    record = image_record(before, LEDGER_KEY, [0])
    hidden = image.with_blocks({0: 1 << coding.start | 1 << 20 | 1 << rd_dis.start + coding.rd_dis[0]})
    assert hidden.as_shown().block(0) != hidden.block(0)
    assert image_from_record(record, hidden.as_shown(), LEDGER_KEY).block(0) == before.block(0)
    with pytest.raises(UnitQuarantined, match="lacks bits"):  # another field is missed all the same
        image_from_record(record, image.with_blocks({0: hidden.as_shown().block(0) & ~(1 << 20)}), LEDGER_KEY)


def c3(**blocks: int) -> EfuseImage:
    row = chip_named("esp32c3")
    held = {int(name[1:]): bits for name, bits in blocks.items()}
    return EfuseImage(row, dict.fromkeys((one.index for one in row.blocks), 0) | held)


WR_DIS_KEY0 = 1 << 23  # bit 23 of BLOCK0


def test_what_earlier_passes_knew_is_kept_beside_what_the_last_one_touched() -> None:
    first = passed_record(c3(b3=3, b4=SECRET), LEDGER_KEY, [0, 3, 4], "")
    assert first == image_record(c3(b3=3, b4=SECRET), LEDGER_KEY, [0, 3, 4])
    second = passed_record(c3(b0=1 << 41, b3=7), LEDGER_KEY, [0, 3], first)
    third = passed_record(c3(b0=1 << 42, b2=9), LEDGER_KEY, [0, 2], second)
    assert recorded_blocks(third, CHIP) == {0, 2}  # only these are known to be so now
    assert recorded_blocks(third, CHIP, with_earlier=True) == {0, 2, 3, 4}
    whole = {"b0": 1 << 42, "b2": 9, "b3": 7, "b4": SECRET}
    for record in (second, third):
        refuse_lacking(record, c3(**(whole | {"b0": 3 << 41})), LEDGER_KEY)
    refuse_lacking(third, c3(**(whole | {"b3": 15})), LEDGER_KEY)  # another batch's bit
    for lacking in ({"b3": 3}, {"b2": 1}, {"b4": 0}):
        with pytest.raises(UnitQuarantined):
            refuse_lacking(third, c3(**(whole | lacking)), LEDGER_KEY)


def test_another_content_where_a_digest_was_is_another_key_once_it_is_locked() -> None:
    """Until then bits may have come, as in a block of serial numbers that takes keys, too."""
    first = passed_record(c3(b4=SECRET), LEDGER_KEY, [0, 4], "")
    record = passed_record(c3(), LEDGER_KEY, [0], first)
    grown = SECRET | 1 << 255
    refuse_lacking(record, c3(b4=grown), LEDGER_KEY)
    refuse_lacking(record, c3(b0=WR_DIS_KEY0, b4=SECRET), LEDGER_KEY)
    with pytest.raises(UnitQuarantined, match="another key"):
        refuse_lacking(record, c3(b0=WR_DIS_KEY0, b4=grown), LEDGER_KEY)
    with pytest.raises(
        UnitQuarantined, match="another key"
    ):  # what the last pass touched is known to the bit
        refuse_lacking(first, c3(b4=grown), LEDGER_KEY)


@pytest.mark.parametrize(
    "record",
    ["", "{}", "[]", "5", '{"blocks": 5}', '{"blocks": {"16": "1"}}', '{"blocks": {"x": "1"}}',
     '{"blocks": {"3": "g"}}', '{"blocks": {"3": 1}}', '{"blocks": {"-1": "1"}}',
     '{"blocks": {}, "earlier": {"99": "0"}}',
     "[" * 100_000],
)  # fmt: skip
def test_a_record_that_nobody_has_written_is_refused(record: str) -> None:
    now = EfuseImage(CHIP, {one.index: 0 for one in CHIP.blocks})
    for look in (
        lambda: recorded_blocks(record, CHIP),
        lambda: refuse_lacking(record, now, LEDGER_KEY),
        lambda: image_from_record(record, now, LEDGER_KEY),
    ):
        with pytest.raises(UnitRefused, match="cannot be understood"):
            look()
