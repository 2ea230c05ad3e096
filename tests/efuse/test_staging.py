"""What may be asked for, and that a refusal leaves nothing behind."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from parburn.efuse import staging, values
from parburn.efuse.image import BlockStatus, EfuseImage
from parburn.efuse.staged import StagedBurns
from parburn.errors import BadValue, EfuseError, UnknownName
from tests.efuse.images import blank, burned, staged_bits, three_quarters

KEY = bytes(range(32))


def ask(image: EfuseImage, staged: StagedBurns, name: str, bits: int, force: bool | None = None) -> bool:
    """Stage a field by name."""
    return staging.stage_field(image, staged, image.field_named(name), bits, force=force)


def shows(image: EfuseImage, staged: StagedBurns, name: str) -> int:
    """What is staged in a field."""
    return staged.field(image.field_named(name))


def test_what_is_there_or_asked_for_adds_nothing() -> None:
    image, staged = blank("esp32s3", SPI_BOOT_CRYPT_CNT=3), StagedBurns()
    assert not ask(image, staged, "SPI_BOOT_CRYPT_CNT", 3)
    assert not staged
    assert ask(image, staged, "SPI_BOOT_CRYPT_CNT", 7)
    assert not ask(image, staged, "SPI_BOOT_CRYPT_CNT", 7)
    assert shows(image, staged, "SPI_BOOT_CRYPT_CNT") == 7


# chip, what is burned, field, bits asked for, what the error says
REFUSED = [
    ("esp32s3", {"SPI_BOOT_CRYPT_CNT": 1}, "SPI_BOOT_CRYPT_CNT", 2, "clear"),
    ("esp32s3", {"SPI_BOOT_CRYPT_CNT": 3}, "SPI_BOOT_CRYPT_CNT", 1, "holds 3, and 1 was asked for"),
    ("esp32s3", {"SPI_BOOT_CRYPT_CNT": 3}, "SPI_BOOT_CRYPT_CNT", 0, "holds 3, and 0 was asked for"),
    ("esp32s3", {"SOFT_DIS_JTAG": 3}, "SOFT_DIS_JTAG", 1, "holds 3, and 1 was asked for"),
    ("esp32s3", {"KEY_PURPOSE_0": 9}, "KEY_PURPOSE_0", 8, "holds SECURE_BOOT_DIGEST0"),
    ("esp32s3", {"BLOCK_KEY0": 7}, "BLOCK_KEY0", 3, "clear, and a burned bit stays$"),
    ("esp32s3", {"RD_DIS": 1}, "BLOCK_KEY0", 0, "read-protected"),
    ("esp32", {"CODING_SCHEME": 3}, "CODING_SCHEME", 1, "CODING_SCHEME has bits burned"),
    ("esp32", {"FLASH_CRYPT_CNT": 127}, "FLASH_CRYPT_CNT", 63, "holds 127, and 63 was asked for"),
    ("esp32c5", {"RECOVERY_BOOTLOADER_FLASH_SECTOR_HI": 1}, "RECOVERY_BOOTLOADER_FLASH_SECTOR", 1, "clear"),
    ("esp32s3", {"WR_DIS": 1 << 4}, "SPI_BOOT_CRYPT_CNT", 1, "write-protected"),
    ("esp32s3", {"RD_DIS": 1}, "BLOCK_KEY0", 5, "read-protected"),
    ("esp32s3", {"WR_DIS": 1}, "RD_DIS", 1, "write-protected"),
    ("esp32", {"RD_DIS": 8}, "CODING_SCHEME", 1, "read-protected"),
    ("esp32", {"MAC_VERSION": 2}, "CUSTOM_MAC", 0x030201EFCDAA, "MAC_VERSION is 2"),
    ("esp32s3", {}, "MAC", 1, "factory"),
    ("esp32", {}, "ADC_VREF", 1, "factory"),
    ("esp32s3", {}, "WAFER_VERSION_MINOR", 1, "computed"),
    ("esp32s3", {}, "SPI_BOOT_CRYPT_CNT", 8, "does not fit"),
]


@pytest.mark.parametrize(("chip", "before", "name", "bits", "why"), REFUSED)
def test_refused_fields(chip: str, before: dict[str, int], name: str, bits: int, why: str) -> None:
    image = blank(chip, **before)
    staged = staged_bits(image, WR_DIS=2)
    untouched = staged.copy()
    with pytest.raises(EfuseError, match=why):
        ask(image, staged, name, bits)
    assert staged == untouched


def test_force_goes_past_the_checks_of_a_field() -> None:
    image, staged = blank("esp32s3", SPI_BOOT_CRYPT_CNT=1), StagedBurns()
    assert ask(image, staged, "SPI_BOOT_CRYPT_CNT", 2, force=True)
    assert staged.force
    assert ask(image, staged, "SECURE_VERSION", 1)  # has no such option: the force stays
    assert staged.force
    ask(image, staged, "SECURE_VERSION", 3, force=False)
    assert not staged.force


def test_the_classic_custom_mac_brings_version_and_crc() -> None:
    image, staged = blank("esp32"), StagedBurns()
    mac = values.custom_mac_bytes(image.chip, "aa:cd:ef:01:02:03")
    staging.stage_custom_mac(image, staged, mac)
    after = image.with_blocks(staged.blocks())
    assert values.get(after, after.field_named("CUSTOM_MAC")) == "aa:cd:ef:01:02:03 (CRC 0x56 OK)"
    assert shows(image, staged, "MAC_VERSION") == 1


def test_another_custom_mac_over_a_staged_one_is_refused_whole() -> None:
    image, staged = blank("esp32s3"), StagedBurns()
    staging.stage_custom_mac(image, staged, bytes.fromhex("aacdef010203"))
    untouched = staged.copy()
    with pytest.raises(EfuseError, match="clear"):
        staging.stage_custom_mac(image, staged, bytes.fromhex("10cdef010203"))
    assert staged == untouched


def test_a_key_brings_purpose_and_protections() -> None:
    image, staged = blank("esp32s3"), StagedBurns()
    block = image.chip.block_by_name["BLOCK_KEY1"]
    staging.stage_key(
        image, staged, block, KEY, "XTS_AES_128_KEY", write_protect=True, read_protect=True, force=False
    )
    assert shows(image, staged, "BLOCK_KEY1") == int.from_bytes(KEY, "big")  # reversed
    assert shows(image, staged, "KEY_PURPOSE_1") == 4
    assert shows(image, staged, "RD_DIS") == 1 << 1
    assert shows(image, staged, "WR_DIS") == 1 << 9 | 1 << 24


def test_a_digest_stays_readable_and_in_order() -> None:
    image, staged = blank("esp32s3"), StagedBurns()
    block = image.chip.block_by_name["BLOCK_KEY0"]
    staging.stage_key(
        image, staged, block, KEY, "SECURE_BOOT_DIGEST0", write_protect=False, read_protect=True
    )
    assert shows(image, staged, "BLOCK_KEY0") == int.from_bytes(KEY, "little")
    assert shows(image, staged, "RD_DIS") == 0
    assert shows(image, staged, "WR_DIS") == 1 << 8  # the purpose, never the key


CLASSIC_KEYS = [
    ("flash_encryption", "BLOCK1", True, True, "big", 1 << 0, 1 << 7),
    ("secure_boot_v2", "BLOCK2", False, True, "little", 0, 1 << 8),
    (None, "BLOCK3", False, True, "little", 0, 1 << 9),
]


@pytest.mark.parametrize(("use", "name", "read", "write", "order", "rd_dis", "wr_dis"), CLASSIC_KEYS)
def test_classic_keys(
    use: str | None, name: str, read: bool, write: bool, order: str, rd_dis: int, wr_dis: int
) -> None:
    image, staged = blank("esp32"), StagedBurns()
    block = image.chip.block_by_name[name]
    staging.stage_key(image, staged, block, KEY, use, write_protect=write, read_protect=read)
    assert staged.block(block.index) == int.from_bytes(KEY, "big" if order == "big" else "little")
    assert (shows(image, staged, "RD_DIS"), shows(image, staged, "WR_DIS")) == (rd_dis, wr_dis)


# what is burned, block, key, purpose
REFUSED_KEYS: list[tuple[dict[str, int], str, bytes, str, type[EfuseError]]] = [
    ({}, "BLOCK_KEY0", KEY[:31], "HMAC_UP", BadValue),
    ({}, "BLOCK_KEY0", KEY, "USELESS", UnknownName),
    ({}, "BLOCK_KEY0", KEY + KEY, "XTS_AES_256_KEY", BadValue),
    ({}, "BLOCK_KEY5", KEY, "XTS_AES_128_KEY", BadValue),
    ({"BLOCK_KEY0": 1 << 255}, "BLOCK_KEY0", KEY, "HMAC_UP", EfuseError),
    ({"RD_DIS": 1}, "BLOCK_KEY0", KEY, "HMAC_UP", EfuseError),
    ({"WR_DIS": 1 << 23}, "BLOCK_KEY0", KEY, "HMAC_UP", EfuseError),
    ({"WR_DIS": 1 << 8}, "BLOCK_KEY0", KEY, "HMAC_UP", EfuseError),
    ({"KEY_PURPOSE_0": 5}, "BLOCK_KEY0", KEY, "HMAC_UP", EfuseError),
    ({"KEY_PURPOSE_0": 4}, "BLOCK_KEY0", KEY, "USER", EfuseError),
    ({"WR_DIS": 1}, "BLOCK_KEY0", KEY, "HMAC_UP", EfuseError),  # RD_DIS can no longer be burned
]


@pytest.mark.parametrize(("before", "name", "key", "purpose", "error"), REFUSED_KEYS)
def test_a_refused_key_stages_nothing(
    before: dict[str, int], name: str, key: bytes, purpose: str, error: type[EfuseError]
) -> None:
    image, staged = blank("esp32s3", **before), StagedBurns()
    block = image.chip.block_by_name[name]
    with pytest.raises(error):
        staging.stage_key(image, staged, block, key, purpose, write_protect=True, read_protect=True)
    assert staged == StagedBurns()


def test_the_key_is_not_in_the_repr_of_what_is_staged() -> None:
    image, staged = blank("esp32s3"), StagedBurns()
    ask(image, staged, "BLOCK_KEY0", int.from_bytes(KEY, "little"))
    assert repr(staged) == "StagedBurns({4: '80 bits'}, force=False)"


def test_block_data_with_and_without_an_offset() -> None:
    image, staged = blank("esp32s3"), StagedBurns()
    block = image.chip.block_by_name["BLOCK_USR_DATA"]
    staging.stage_block_data(image, staged, block, b"\x01\x02", offset=30)
    assert staged.block(3) == 0x0201 << 240
    staging.stage_block_data(image, staged, block, KEY[:30] + bytes(2))
    assert staged.block(3) == 0x0201 << 240 | int.from_bytes(KEY[:30], "little")


REFUSED_DATA = [
    ("esp32s3", "BLOCK3", 31, 0),
    ("esp32s3", "BLOCK3", 33, 0),
    ("esp32s3", "BLOCK3", 1, 32),
    ("esp32s3", "BLOCK3", 2, 31),
    ("esp32s3", "BLOCK3", 32, -1),
    ("esp32s3", "BLOCK1", 32, 0),
    ("esp32", "BLOCK0", 32, 0),
]


@pytest.mark.parametrize(("chip", "name", "size", "offset"), REFUSED_DATA)
def test_refused_block_data(chip: str, name: str, size: int, offset: int) -> None:
    image, staged = blank(chip), StagedBurns()
    with pytest.raises(BadValue):
        staging.stage_block_data(
            image, staged, image.chip.block_by_name[name], bytes(size), offset=offset, force=True
        )
    assert staged == StagedBurns()


@pytest.mark.parametrize("bit", [-1, 192, 300])
def test_bits_outside_a_block_are_refused(bit: int) -> None:
    image, staged = three_quarters(), StagedBurns()
    with pytest.raises(BadValue, match="0 to 191"):
        staging.stage_bits(image, staged, image.chip.block_by_name["BLOCK3"], [0, bit])
    assert not staged
    staging.stage_bits(image, staged, image.chip.block_by_name["BLOCK3"], [0, 191])
    assert staged.block(3) == 1 | 1 << 191


Protect = Callable[[EfuseImage, StagedBurns], bool]


def test_protections_once() -> None:
    image, staged = blank("esp32s3", KEY_PURPOSE_0=4), StagedBurns()
    key = image.field_named("BLOCK_KEY0")
    assert staging.stage_read_protection(image, staged, key)
    assert staging.stage_write_protection(image, staged, key)
    locked = burned(image, RD_DIS=1, WR_DIS=1 << 23)
    assert not staging.stage_read_protection(locked, StagedBurns(), key)
    assert not staging.stage_write_protection(locked, StagedBurns(), key)


REFUSED_PROTECTIONS = [
    ("esp32s3", {}, "BLOCK_KEY0", "must stay readable"),
    ("esp32s3", {"KEY_PURPOSE_0": 9}, "BLOCK_KEY0", "must stay readable"),
    ("esp32s3", {}, "CUSTOM_MAC", "no bit in RD_DIS"),
    ("esp32", {"ABS_DONE_1": 1, "CHIP_VER_REV1": 1, "CHIP_VER_REV2": 1}, "BLOCK2", "secure boot V2"),
    ("esp32c2", {}, "BLOCK_KEY0", "must stay readable"),
    ("esp32c2", {"XTS_KEY_LENGTH_256": 1, "SECURE_BOOT_EN": 1}, "BLOCK_KEY0", "secure boot is on"),
    ("esp32c2", {"SECURE_BOOT_EN": 1}, "BLOCK_KEY0_HI_128", "secure boot is on"),
]


@pytest.mark.parametrize(("chip", "before", "name", "why"), REFUSED_PROTECTIONS)
def test_refused_read_protection(chip: str, before: dict[str, int], name: str, why: str) -> None:
    image, staged = blank(chip, **before), StagedBurns()
    with pytest.raises(EfuseError, match=why):
        staging.stage_read_protection(image, staged, image.field_named(name))
    assert not staged


def test_a_script_may_read_protect_whatever_it_likes() -> None:
    image, staged = blank("esp32s3"), StagedBurns()
    assert staging.stage_read_protection(image, staged, image.field_named("BLOCK_KEY0"), check_use=False)


def test_a_field_without_a_lock_cannot_be_write_protected() -> None:
    image = blank("esp32s3")
    with pytest.raises(EfuseError, match="no bit in WR_DIS"):
        staging.stage_write_protection(image, StagedBurns(), image.field_named("WR_DIS"))


def test_recovery_takes_the_blocks_with_errors() -> None:
    image = blank("esp32s3", BLOCK_KEY0=5, WR_DIS=1 << 24, BLOCK_KEY1=1)
    bad = image.with_blocks({}, {n: BlockStatus(1, False) for n in (4, 5, 6)}, 3)
    staged = StagedBurns()
    assert not staging.stage_recovery(image, staged)
    assert staging.stage_recovery(bad, staged)
    assert staged.recovering == {0, 4}  # 5 is write-protected, 6 is empty


def test_all_or_nothing_takes_everything_back() -> None:
    staged = StagedBurns()
    staged.add(3, 1)
    before = staged.copy()

    def half() -> None:
        with staged.all_or_nothing():
            staged.add(3, 2)
            staged.add(4, 1)
            staged.force = True
            raise EfuseError("the second group is wrong")

    with pytest.raises(EfuseError):
        half()
    assert staged == before


def test_the_next_key_block_is_free_in_the_chip_and_in_what_is_staged() -> None:
    image = blank("esp32s3", BLOCK_KEY1=1, KEY_PURPOSE_2=4, WR_DIS=1 << 11)
    blocks = image.chip.block_by_name
    staged = StagedBurns()

    def after(name: str, *taken: str) -> str | None:
        block = staging.next_key_block(image, staged, blocks[name], frozenset(taken))
        return None if block is None else block.name

    assert after("BLOCK_KEY0") == "BLOCK_KEY4"  # 1 is written, 2 has a purpose, the purpose of 3 is locked
    assert after("BLOCK_KEY0", "BLOCK_KEY4") == "BLOCK_KEY5"
    assert after("BLOCK_KEY5") == "BLOCK_KEY0"
    staged.add(blocks["BLOCK_KEY4"].index, 1)
    assert after("BLOCK_KEY0") == "BLOCK_KEY5"
    assert after("BLOCK_KEY0", "BLOCK_KEY5") is None
