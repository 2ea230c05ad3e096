"""What an image says of the bits it holds."""

from __future__ import annotations

import pytest

from parburn.chips.registry import chip_named
from parburn.coding import CodingScheme
from parburn.efuse.image import BlockNotRead, BlockStatus, EfuseImage
from parburn.errors import EfuseError, UnknownName
from tests.efuse.images import blank, burned, three_quarters


def test_an_unread_block_is_not_guessed() -> None:
    image = EfuseImage(chip_named("esp32s3"), {0: 0})
    with pytest.raises(BlockNotRead) as caught:
        image.field_bits(image.field_named("CUSTOM_MAC"))
    assert caught.value.index == 3


SCHEMES = [
    ("esp32", 0, 1, CodingScheme.NONE, 256),
    ("esp32", 1, 1, CodingScheme.THREE_QUARTERS, 192),
    ("esp32", 3, 3, CodingScheme.NONE, 256),  # NONE_RECOVERY
    ("esp32", 1, 0, CodingScheme.NONE, 224),
]


@pytest.mark.parametrize(("chip", "value", "index", "scheme", "bits"), SCHEMES)
def test_coding_scheme_of_the_classic_controller(
    chip: str, value: int, index: int, scheme: CodingScheme, bits: int
) -> None:
    image = blank(chip, CODING_SCHEME=value)
    assert (image.scheme(index), image.block_bits(index)) == (scheme, bits)


def test_repeat_cannot_be_used_but_block0_can() -> None:
    image = blank("esp32", CODING_SCHEME=2)
    assert image.scheme(0) is CodingScheme.NONE
    with pytest.raises(EfuseError, match="CODING_SCHEME is 2"):
        image.scheme(1)


def test_a_field_is_chosen_by_its_condition() -> None:
    assert blank("esp32").field_named("BLOCK1").bits == 256
    assert three_quarters().field_named("BLOCK1").bits == 192


def test_a_hidden_field_can_be_named_but_is_not_listed() -> None:
    image = blank("esp32")
    custom = image.field_named("CUSTOM_MAC")
    assert custom not in image.fields()
    assert custom in burned(image, MAC_VERSION=1).fields()


def test_an_unknown_name_comes_with_the_nearest() -> None:
    with pytest.raises(UnknownName, match="FLASH_CRYPT_CMT") as caught:
        blank("esp32").field_named("FLASH_CRYPT_CMT")
    assert "FLASH_CRYPT_CNT" in caught.value.hint


def test_composed_fields_come_from_fields_and_registers() -> None:
    image = blank("esp32", CHIP_VER_REV1=1, CHIP_VER_REV2=1)
    assert image.field_bits(image.field_named("WAFER_VERSION_MAJOR")) == 3
    s3 = blank("esp32s3", WAFER_VERSION_MINOR_LO=5, WAFER_VERSION_MINOR_HI=1)
    assert s3.field_bits(s3.field_named("WAFER_VERSION_MINOR")) == 13


def test_protection_is_read_from_the_image() -> None:
    image = blank("esp32s3", WR_DIS=1 << 23, RD_DIS=1)
    block, other = image.chip.block_by_name["BLOCK_KEY0"], image.chip.block_by_name["BLOCK_KEY1"]
    key = image.field_named("BLOCK_KEY0")
    assert not image.is_readable(block)
    assert not image.is_readable(key)
    assert not image.is_readable(key, part=0)
    assert not image.is_writeable(block)
    assert image.is_readable(other)
    assert image.is_writeable(other)
    assert image.is_writeable(image.field_named("WR_DIS"))


def test_with_blocks_keeps_what_is_not_given() -> None:
    image = blank("esp32s3").with_blocks({3: 5}, {3: BlockStatus(1, True)}, 2)
    after = image.with_blocks({4: 6})
    assert (after.block(3), after.block(4)) == (5, 6)
    assert (after.status[3], after.block0_errors) == (BlockStatus(1, True), 2)


def test_key_bits_are_not_in_the_repr() -> None:
    image = blank("esp32s3", BLOCK_KEY0=0x1234567890ABCDEF)
    assert "1311768467294899695" not in repr(image)
    assert "90abcdef" not in repr(image)
