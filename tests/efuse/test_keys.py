"""Keys on every chip: where they go, what is burned along, and which blocks a purpose may not have.

The cases were checked against espefuse 5.6.
"""

from __future__ import annotations

import pytest

from parburn.chips.model import Chip, ControllerKind, KeyPurpose
from parburn.chips.registry import chip_named
from parburn.efuse import staging, values
from parburn.efuse.image import EfuseImage
from parburn.efuse.plan import plan_burns
from parburn.efuse.staged import StagedBurns
from parburn.errors import BadValue, EfuseError
from tests.efuse.images import ROW_NAMES, ROWS, blank, burned

KEY = bytes(range(1, 33))
WHOLE, LOW, HIGH = "XTS_AES_128_KEY", "XTS_AES_128_KEY_DERIVED_FROM_128_EFUSE_BITS", "SECURE_BOOT_DIGEST"


def ask_key(
    image: EfuseImage,
    staged: StagedBurns,
    block: str,
    purpose: str | None,
    key: bytes = KEY,
    *,
    protect: bool = True,
) -> None:
    """Stage a key by names."""
    where = image.chip.block_by_name[block]
    staging.stage_key(image, staged, where, key, purpose, write_protect=protect, read_protect=protect)


def after(image: EfuseImage, staged: StagedBurns) -> EfuseImage:
    """The chip with what is staged burned."""
    return plan_burns(image, staged).apply(image)


def burnable(chip: Chip, block: str) -> list[KeyPurpose]:
    """The purposes that stand for one key in this block."""
    return [
        purpose
        for purpose in chip.key_purposes
        if not purpose.split_into and block not in purpose.not_in_blocks
    ]


@pytest.mark.parametrize("chip", ROWS, ids=ROW_NAMES)
def test_each_purpose_in_each_block(chip: Chip) -> None:
    for block in (one for one in chip.blocks if one.for_keys):
        for purpose in burnable(chip, block.name):
            if purpose.code == 0 and block.key_purpose:
                continue  # nothing to burn: a purpose of 0 stays open
            image, staged = blank(chip), StagedBurns()
            f = staging.key_field(image, block, purpose)
            ask_key(image, staged, block.name, purpose.name, KEY[: f.bits // 8], protect=False)
            shown = after(image, staged)
            key = KEY[: f.bits // 8]
            assert shown.field_bits(f) == int.from_bytes(key, "big" if purpose.reversed else "little")
            if block.key_purpose is not None:
                use = image.field_named(block.key_purpose)
                assert shown.value_bits(use) == purpose.code
                assert values.get(shown, use) == chip.purpose_by_code[purpose.code].name
                assert not shown.is_writeable(use)
            assert all(shown.field_bits(image.field_named(name)) == 1 for name in purpose.sets)
            assert shown.is_writeable(f)
            assert shown.is_readable(f)
            ask_key(image, staged, block.name, purpose.name, KEY[: f.bits // 8])
            shown = after(image, staged)
            assert not shown.is_writeable(f)
            assert shown.is_readable(f) is not purpose.read_protect


@pytest.mark.parametrize("chip", ROWS, ids=ROW_NAMES)
def test_purposes_that_a_block_may_not_have(chip: Chip) -> None:
    image = blank(chip)
    for purpose in chip.key_purposes:
        for name in purpose.not_in_blocks:
            staged, block = StagedBurns(), chip.block_by_name[name]
            with pytest.raises(BadValue):
                ask_key(image, staged, name, purpose.name)
            if block.key_purpose is not None:
                f = image.field_named(block.key_purpose)
                for text in (purpose.name, purpose.code):
                    with pytest.raises(BadValue):
                        values.parse(image, staged, f, text)
            assert not staged


# By chip: purposes that the last key block may not have.
NOT_IN_THE_LAST = {
    "esp32c3": {WHOLE},
    "esp32c6": {WHOLE},
    "esp32h2": {WHOLE, "ECDSA_KEY"},
    "esp32s3": {WHOLE, "XTS_AES_256_KEY", "XTS_AES_256_KEY_1", "XTS_AES_256_KEY_2"},
    "esp32h4": {WHOLE, "XTS_AES_256_KEY", "XTS_AES_256_KEY_1", "XTS_AES_256_KEY_2", "XTS_AES_128_PSRAM_KEY"}
    | {"XTS_AES_256_PSRAM_KEY", "XTS_AES_256_PSRAM_KEY_1", "XTS_AES_256_PSRAM_KEY_2"},
}


@pytest.mark.parametrize(
    "chip", [chip for chip in ROWS if chip.controller is ControllerKind.PGM], ids=lambda c: c.title
)
def test_which_purposes_the_last_block_may_not_have(chip: Chip) -> None:
    refused = {purpose.name for purpose in chip.key_purposes if "BLOCK_KEY5" in purpose.not_in_blocks}
    assert refused == NOT_IN_THE_LAST.get(chip.name, set())


# --- purposes that are no field: halves of one block


def test_two_halves_of_one_block() -> None:
    image, staged = blank("esp32c2"), StagedBurns()
    ask_key(image, staged, "BLOCK_KEY0", LOW, KEY[:16])
    ask_key(image, staged, "BLOCK_KEY0", HIGH, KEY)  # of a digest the first half is taken
    want = int.from_bytes(KEY[:16][::-1] + KEY[:16], "little")
    assert staged.block(3) == want
    shown = after(image, staged)
    low, high, whole = (shown.field_named(f"BLOCK_KEY0{part}") for part in ("_LOW_128", "_HI_128", ""))
    assert [shown.is_readable(f) for f in (low, high, whole)] == [False, True, False]
    assert shown.field_bits(high) == int.from_bytes(KEY[:16], "little")
    assert shown.field_bits(low) == 0
    assert not shown.is_writeable(whole)
    assert shown.field_bits(shown.field_named("XTS_KEY_LENGTH_256")) == 0


def test_a_key_that_fills_the_block_says_so() -> None:
    image, staged = blank("esp32c2"), StagedBurns()
    ask_key(image, staged, "BLOCK3", WHOLE)
    shown = after(image, staged)
    assert shown.field_bits(shown.field_named("XTS_KEY_LENGTH_256")) == 1
    assert shown.field_bits(shown.field_named("RD_DIS")) == 3


@pytest.mark.parametrize(
    ("purpose", "size"), [(WHOLE, 16), (LOW, 32), (HIGH, 24), ("USER", 16), (HIGH, 31), (LOW, 15)]
)
def test_sizes_of_halves(purpose: str, size: int) -> None:
    image, staged = blank("esp32c2"), StagedBurns()
    with pytest.raises(BadValue, match="bytes"):
        ask_key(image, staged, "BLOCK_KEY0", purpose, bytes(size))
    assert not staged


def test_a_key_over_another_that_is_staged_is_refused() -> None:
    image, staged = blank("esp32c2"), StagedBurns()
    ask_key(image, staged, "BLOCK_KEY0", HIGH)
    before = staged.copy()
    with pytest.raises(EfuseError, match="clear"):
        ask_key(image, staged, "BLOCK_KEY0", WHOLE)
    assert staged == before


def test_what_goes_along_must_be_burnable() -> None:
    image, staged = blank("esp32c2", WR_DIS=1 << 2), StagedBurns()
    with pytest.raises(EfuseError, match="XTS_KEY_LENGTH_256 is write-protected"):
        ask_key(image, staged, "BLOCK_KEY0", WHOLE)
    assert not staged
    ask_key(burned(image, XTS_KEY_LENGTH_256=1), staged, "BLOCK_KEY0", WHOLE)


LENGTH = "XTS_KEY_LENGTH_256"


def test_a_key_that_the_chip_would_not_use_is_refused() -> None:
    """With the length bit the chip's key is the whole block, whatever was meant to be derived from a half."""
    image, staged = blank("esp32c2", XTS_KEY_LENGTH_256=1), StagedBurns()
    with pytest.raises(EfuseError, match="is burned: the chip takes all of BLOCK_KEY0") as refused:
        ask_key(image, staged, "BLOCK_KEY0", LOW, KEY[:16])
    assert "--force" in refused.value.hint
    assert not staged
    block = image.chip.block_by_name["BLOCK_KEY0"]
    staging.stage_key(
        image, staged, block, KEY[:16], LOW, write_protect=True, read_protect=True, any_key=True
    )
    assert staged.block(3)
    ask_key(image, StagedBurns(), "BLOCK_KEY0", HIGH)


def test_a_key_and_a_length_that_do_not_go_together_are_refused_in_either_order() -> None:
    image = blank("esp32c2")
    length = image.field_named(LENGTH)
    staged = StagedBurns()
    staging.stage_field(image, staged, length, 1)
    with pytest.raises(EfuseError, match="is asked for: the chip takes all of BLOCK_KEY0"):
        ask_key(image, staged, "BLOCK_KEY0", LOW, KEY[:16])
    assert not staged.block(3)
    staged = StagedBurns()
    ask_key(image, staged, "BLOCK_KEY0", LOW, KEY[:16])
    with pytest.raises(EfuseError, match=f"{LENGTH} would not hold the value"):
        staging.stage_field(image, staged, length, 1)
    assert after(image, staged).field_bits(length) == 0


# chip, burned before, name, whether it may be read-protected
HIDING = [
    ({}, "BLOCK_KEY0_LOW_128", True),
    ({}, "BLOCK_KEY0_HI_128", True),
    ({}, "BLOCK_KEY0", False),  # its key fills a half only
    ({"XTS_KEY_LENGTH_256": 1}, "BLOCK_KEY0", True),
    ({"XTS_KEY_LENGTH_256": 1, "SECURE_BOOT_EN": 1}, "BLOCK_KEY0", False),
    ({"SECURE_BOOT_EN": 1}, "BLOCK_KEY0_HI_128", False),
    ({"SECURE_BOOT_EN": 1}, "BLOCK_KEY0_LOW_128", True),
]


@pytest.mark.parametrize(("before", "name", "allowed"), HIDING)
def test_which_halves_may_be_hidden(before: dict[str, int], name: str, allowed: bool) -> None:
    image, staged = blank("esp32c2", **before), StagedBurns()
    f = image.field_named(name)
    if allowed:
        assert staging.stage_read_protection(image, staged, f)
    else:
        with pytest.raises(EfuseError, match="must stay readable"):
            staging.stage_read_protection(image, staged, f)


# --- purposes of five bits, of which the highest stands elsewhere


def wide() -> EfuseImage:
    """A chip whose key purposes have four bits in one place and one in another."""
    return blank(chip_named("esp32p4", revision=300))


def test_a_purpose_in_two_places() -> None:
    image, staged = wide(), StagedBurns()
    ask_key(image, staged, "BLOCK_KEY0", "ECDSA_KEY_P384_H")
    purpose, high = (image.field_named(f"KEY_PURPOSE_0{part}") for part in ("", "_H"))
    assert (staged.field(purpose), staged.field(high)) == (2, 1)
    assert staged.value(image.chip, purpose) == 18
    shown = after(image, staged)
    assert values.get(shown, purpose) == values.get_meaning(shown, purpose) == "ECDSA_KEY_P384_H"
    assert values.get_raw(shown, purpose) == 2  # its own four bits
    assert values.get_raw(image, purpose, staged.value(image.chip, purpose)) == 2
    assert values.get(image, purpose, staged.value(image.chip, purpose)) == "ECDSA_KEY_P384_H"
    assert values.bitstring_of(shown, purpose).len == 4
    assert values.get_raw(shown, high) is True
    assert not shown.is_writeable(purpose)
    assert not shown.is_writeable(high)
    assert not shown.is_readable(shown.field_named("BLOCK_KEY0"))  # as this purpose wants it


@pytest.mark.parametrize(("text", "bits"), [("CUSTOM_21", 21), ("16", 16), (31, 31), ("CUSTOM_MAX", 31)])
def test_purposes_above_15(text: str | int, bits: int) -> None:
    image, staged = wide(), StagedBurns()
    f = image.field_named("KEY_PURPOSE_3")
    assert values.parse(image, staged, f, text) == bits
    assert staging.stage_field(image, staged, f, bits)
    assert not staging.stage_field(image, staged, f, bits)
    shown = after(image, staged)
    assert shown.value_bits(f) == bits
    assert not staging.stage_field(shown, StagedBurns(), f, bits)


@pytest.mark.parametrize("bits", [16, 3, 19])
def test_a_purpose_never_mixes_with_one_that_is_there(bits: int) -> None:
    image, staged = burned(wide(), KEY_PURPOSE_3=4), StagedBurns()
    with pytest.raises(EfuseError, match="clear"):
        staging.stage_field(image, staged, image.field_named("KEY_PURPOSE_3"), bits)
    assert not staged
    assert staging.stage_field(image, staged, image.field_named("KEY_PURPOSE_3"), 20)


def test_a_high_bit_alone_makes_a_block_taken() -> None:
    image = burned(wide(), KEY_PURPOSE_1_H=1)
    found = staging.next_key_block(image, StagedBurns(), image.chip.block_by_name["BLOCK_KEY0"])
    assert found is not None
    assert found.name == "BLOCK_KEY2"


@pytest.mark.parametrize("text", ["ECDSA_KEY_P384_H", "CUSTOM_16", "CUSTOM_MAX", "16", 31])
def test_before_the_fifth_bit_there_are_no_such_purposes(text: str | int) -> None:
    image = blank("esp32p4")
    with pytest.raises(BadValue, match="cannot be set"):
        values.parse(image, StagedBurns(), image.field_named("KEY_PURPOSE_3"), text)
    assert values.parse(image, StagedBurns(), image.field_named("KEY_PURPOSE_3"), "CUSTOM_15") == 15


# --- what goes along with a key


def test_ecdsa_keys_of_early_revisions_forbid_weak_nonces() -> None:
    early, staged = blank(chip_named("esp32h2", revision=0)), StagedBurns()
    ask_key(early, staged, "BLOCK_KEY0", "ECDSA_KEY")
    assert staged.field(early.field_named("ECDSA_FORCE_USE_HARDWARE_K")) == 1
    later, staged = blank(chip_named("esp32h2", revision=102)), StagedBurns()
    ask_key(later, staged, "BLOCK_KEY0", "ECDSA_KEY")
    assert "ECDSA_FORCE_USE_HARDWARE_K" not in later.chip.field_by_name
    assert staged


@pytest.mark.parametrize("chip", ROWS, ids=ROW_NAMES)
def test_custom_macs(chip: Chip) -> None:
    image, staged = blank(chip), StagedBurns()
    staging.stage_custom_mac(image, staged, values.custom_mac_bytes(chip, "aa:cd:ef:01:02:03"))
    shown = after(image, staged)
    assert str(values.get(shown, shown.field_named("CUSTOM_MAC"))).startswith("aa:cd:ef:01:02:03 (")
    used = chip.field_by_name.get("CUSTOM_MAC_USED", ())
    assert all(shown.field_bits(f) == 1 for f in used)
    assert {index for index, bits in staged.blocks().items() if bits} == {
        *(f.block for f in used),
        shown.field_named("CUSTOM_MAC").block,
    }
