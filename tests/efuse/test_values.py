"""Values to the letter, and texts to bits. The cases were checked against espefuse 4.12 and 5.6."""

from __future__ import annotations

import pytest

from parburn.efuse import values
from parburn.efuse.image import BlockStatus
from parburn.efuse.staged import StagedBurns
from parburn.errors import BadValue
from tests.efuse.images import blank

NO_SUCH_BITS = BlockStatus(2, True)

# chip, field, bits, get(), get_meaning(), get_raw()
SHOWN = [
    ("esp32", "JTAG_DISABLE", 1, True, True, True),
    ("esp32", "JTAG_DISABLE", 0, False, False, False),
    ("esp32", "CODING_SCHEME", 0, 0, "NONE (BLK1-3 len=256 bits)", 0),
    ("esp32", "FLASH_CRYPT_CNT", 3, 3, 3, 3),
    ("esp32", "SPI_PAD_CONFIG_CLK", 29, 29, 29, 29),
    ("esp32", "SPI_PAD_CONFIG_CLK", 30, 32, 32, 30),
    ("esp32", "SPI_PAD_CONFIG_CLK", 31, 33, 33, 31),
    ("esp32", "ADC_VREF", 0, 1100, 1100, 0),
    ("esp32", "ADC_VREF", 3, 1121, 1121, 3),
    ("esp32", "ADC_VREF", 0x13, 1079, 1079, 0x13),
    ("esp32", "ADC1_TP_LOW", 0, 278, 278, 0),
    ("esp32", "ADC1_TP_LOW", 0x7F, 274, 274, 0x7F),
    ("esp32", "ADC2_TP_HIGH", 0x100, 2382, 2382, 0x100),
    ("esp32s3", "KEY_PURPOSE_0", 4, "XTS_AES_128_KEY", "XTS_AES_128_KEY", 4),
    ("esp32s3", "KEY_PURPOSE_0", 0, "USER", "USER", 0),
    ("esp32s3", "KEY_PURPOSE_0", 15, "FORBIDDEN_STATE", "FORBIDDEN_STATE", 15),
    ("esp32s3", "SPI_BOOT_CRYPT_CNT", 7, 7, "Enable", 7),
    ("esp32s3", "TEMP_CALIB", 0x105, -0.5, -0.5, 0x105),
    ("esp32s3", "TEMP_CALIB", 7, 7 * 0.1, 7 * 0.1, 7),
    ("esp32s3", "ADC1_INIT_CODE_ATTEN0", 0x85, 0x85, 0x85, 0x85),
    ("esp32s3", "CUSTOM_MAC", 0x060504030200, "00:02:03:04:05:06 (OK)", None, bytes.fromhex("060504030200")),
    ("esp32s3", "MAC", 0xAABBCCDDEE88, "aa:bb:cc:dd:ee:88 (OK)", None, bytes.fromhex("aabbccddee88")),
    ("esp32s3", "OPTIONAL_UNIQUE_ID", 0xBFBE << 112, "00 " * 14 + "be bf", None, b"\xbf\xbe" + bytes(14)),
]


@pytest.mark.parametrize(("chip", "name", "bits", "shown", "meaning", "raw"), SHOWN)
def test_values_to_the_letter(
    chip: str, name: str, bits: int, shown: object, meaning: object, raw: object
) -> None:
    image = blank(chip, **{name: bits})
    f = image.field_named(name)
    for got, right in (
        (values.get(image, f), shown),
        (values.get_meaning(image, f), shown if meaning is None else meaning),
        (values.get_raw(image, f), raw),
    ):
        assert got == right
        assert type(got) is type(right)


def test_the_classic_mac_shows_its_crc() -> None:
    image = blank("esp32", MAC=0xAABBCCDDEE88, MAC_CRC=0x69)
    assert values.get(image, image.field_named("MAC")) == "aa:bb:cc:dd:ee:88 (CRC 0x69 OK)"
    bad = blank("esp32", MAC=0xAABBCCDDEE88, MAC_CRC=0x01)
    shown = values.get(bad, bad.field_named("MAC"))
    assert shown == "aa:bb:cc:dd:ee:88 (CRC 0x01 invalid - calculated 0x69)"


def test_the_mac_of_a_bad_block_says_so() -> None:
    image = blank("esp32s3").with_blocks({}, {1: NO_SUCH_BITS})
    assert values.get(image, image.field_named("MAC")) == "00:00:00:00:00:00 (Block1 has ERRORS:2 FAIL:1)"


def test_bitstrings_are_as_long_as_the_field() -> None:
    image = blank("esp32s3", KEY_PURPOSE_0=4, MAC=0xAABBCCDDEE88)
    assert values.bitstring_of(image, image.field_named("KEY_PURPOSE_0")).bin == "0100"
    assert values.bitstring_of(image, image.field_named("MAC")).hex == "aabbccddee88"
    assert values.bitstring_of(image, image.field_named("DIS_USB_JTAG")).len == 1
    assert values.block_bitstring(image.block(1), 192).hex[-12:] == "aabbccddee88"


# chip, field, text, bits
PARSED = [
    ("esp32", "JTAG_DISABLE", None, 1),
    ("esp32", "JTAG_DISABLE", "0x1", 1),
    ("esp32", "JTAG_DISABLE", True, 1),
    ("esp32", "FLASH_CRYPT_CNT", None, 1),
    ("esp32", "FLASH_CRYPT_CNT", 7, 7),
    ("esp32", "SPI_PAD_CONFIG_CLK", "32", 30),
    ("esp32", "SPI_PAD_CONFIG_CLK", "0b101", 5),
    ("esp32s3", "SPI_BOOT_CRYPT_CNT", "0", 0),
    ("esp32s3", "SECURE_VERSION", "0xFFFF", 0xFFFF),
    ("esp32s3", "KEY_PURPOSE_0", "XTS_AES_128_KEY", 4),
    ("esp32s3", "KEY_PURPOSE_0", "4", 4),
    ("esp32s3", "KEY_PURPOSE_0", 4, 4),
    ("esp32s3", "OPTIONAL_UNIQUE_ID", "01" + "00" * 15, 1),
    ("esp32s3", "OPTIONAL_UNIQUE_ID", "0x" + "00" * 15 + "01", 1),
    ("esp32s3", "OPTIONAL_UNIQUE_ID", b"\x01" + bytes(15), 1),
    ("esp32s3", "CUSTOM_MAC", "AA:cd:EF:01:02:03", 0x030201EFCDAA),
]


@pytest.mark.parametrize(("chip", "name", "text", "bits"), PARSED)
def test_texts_to_bits(chip: str, name: str, text: values.Text, bits: int) -> None:
    image = blank(chip)
    assert values.parse(image, StagedBurns(), image.field_named(name), text) == bits


REFUSED = [
    ("esp32", "JTAG_DISABLE", "0"),
    ("esp32", "JTAG_DISABLE", "2"),
    ("esp32", "JTAG_DISABLE", "yes"),
    ("esp32", "CLK8M_FREQ", None),
    ("esp32", "CLK8M_FREQ", "0"),
    ("esp32", "CLK8M_FREQ", "256"),
    ("esp32", "CLK8M_FREQ", "-1"),
    ("esp32", "CLK8M_FREQ", "010"),
    ("esp32", "SPI_PAD_CONFIG_CLK", "30"),
    ("esp32", "SPI_PAD_CONFIG_CLK", "31"),
    ("esp32", "SPI_PAD_CONFIG_CLK", "34"),
    ("esp32", "ADC_VREF", "3"),
    ("esp32", "MAC", "aa:cd:ef:01:02:03"),
    ("esp32", "PKG_VERSION", "1"),
    ("esp32s3", "WAFER_VERSION_MINOR", "1"),
    ("esp32s3", "KEY_PURPOSE_0", "USER"),
    ("esp32s3", "KEY_PURPOSE_0", "0x4"),
    ("esp32s3", "KEY_PURPOSE_0", "XTS_AES_256_KEY"),
    ("esp32s3", "KEY_PURPOSE_0", "12"),
    ("esp32s3", "KEY_PURPOSE_0", None),
    ("esp32s3", "KEY_PURPOSE_5", "XTS_AES_128_KEY"),
    ("esp32s3", "OPTIONAL_UNIQUE_ID", "01"),
    ("esp32s3", "OPTIONAL_UNIQUE_ID", "0g" * 16),
    ("esp32s3", "OPTIONAL_UNIQUE_ID", None),
    ("esp32s3", "OPTIONAL_UNIQUE_ID", 5),
    ("esp32s3", "CUSTOM_MAC", "ab:cd:ef:01:02:03"),
    ("esp32s3", "CUSTOM_MAC", "aa:cd:ef:01:02"),
    ("esp32s3", "CUSTOM_MAC", "aacdef010203"),
    ("esp32s3", "CUSTOM_MAC", "aa:cd:ef:01:02:0g"),
    ("esp32s3", "CUSTOM_MAC", None),
    ("esp32s3", "CUSTOM_MAC", 5),
]


@pytest.mark.parametrize(("chip", "name", "text"), REFUSED)
def test_refused_texts(chip: str, name: str, text: values.Text) -> None:
    image = blank(chip)
    with pytest.raises(BadValue):
        values.parse(image, StagedBurns(), image.field_named(name), text)


@pytest.mark.parametrize(("old", "new"), [(0, 1), (1, 3), (3, 7), (0b101, 0b111), (0b010, 0b011)])
def test_a_bare_count_burns_its_next_bit(old: int, new: int) -> None:
    image = blank("esp32", FLASH_CRYPT_CNT=old)
    assert values.parse(image, StagedBurns(), image.field_named("FLASH_CRYPT_CNT"), None) == new


def test_a_full_count_has_no_next_bit() -> None:
    image = blank("esp32", FLASH_CRYPT_CNT=0x7F)
    with pytest.raises(BadValue, match="does not fit"):
        values.parse(image, StagedBurns(), image.field_named("FLASH_CRYPT_CNT"), None)


def test_a_bad_key_is_not_repeated_in_the_error() -> None:
    image = blank("esp32s3")
    with pytest.raises(BadValue) as caught:
        values.parse(image, StagedBurns(), image.field_named("BLOCK_KEY0"), "5ec2e7" * 11)
    assert "5ec2e7" not in str(caught.value) + caught.value.hint + repr(caught.value.__context__)


def test_values_that_a_script_saves() -> None:
    from bitstring import BitArray

    image = blank("esp32s3")
    purpose, unique = image.field_named("KEY_PURPOSE_0"), image.field_named("OPTIONAL_UNIQUE_ID")
    assert values.bits_of(image, purpose, "HMAC_UP") == 8
    assert values.bits_of(image, image.field_named("SECURE_VERSION"), 0) == 0
    assert values.bits_of(image, unique, BitArray(uint=9, length=128)) == 9
    assert values.bits_of(image, unique, b"\x02" + bytes(15)) == 2
    for wrong in (BitArray(uint=1, length=8), b"\x01", 1, [1]):
        with pytest.raises(BadValue):
            values.bits_of(image, unique, wrong)


@pytest.mark.parametrize(
    ("mac", "crc"), [("aabbccddee88", 0x69), ("000000000000", 0), ("aacdef010203", 0x56)]
)
def test_crc8(mac: str, crc: int) -> None:
    assert values.crc8(bytes.fromhex(mac)) == crc
