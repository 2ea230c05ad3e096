"""What is there already: equal for values, keys and purposes, a part of it for masks and single bits only."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from parburn.chips.registry import chip_named
from parburn.efuse import staging
from parburn.efuse.image import EfuseImage
from parburn.efuse.plan import needed_blocks, plan_burns, remaining
from parburn.efuse.staged import StagedBurns
from parburn.errors import BadValue, EfuseError, PlanError
from tests.efuse.images import blank, burned, three_quarters

KEY = bytes(range(1, 33))
Ask = Callable[[EfuseImage, StagedBurns], object]


def value(name: str, bits: int, force: bool | None = None) -> Ask:
    """`burn_efuse NAME BITS`."""
    return lambda image, staged: staging.stage_field(
        image, staged, image.field_named(name), bits, force=force
    )


def single(block: str, *bits: int, force: bool | None = None) -> Ask:
    """`burn_bit BLOCK BITS`."""
    return lambda image, staged: staging.stage_bits(
        image, staged, image.chip.block_by_name[block], bits, force=force
    )


def data(block: str, content: bytes, offset: int = 0, force: bool | None = None) -> Ask:
    """`burn_block_data BLOCK FILE`."""
    return lambda image, staged: staging.stage_block_data(
        image, staged, image.chip.block_by_name[block], content, offset=offset, force=force
    )


def key(
    block: str, purpose: str | None, content: bytes = KEY, *, lock: bool = True, force: bool | None = None
) -> Ask:
    """`burn_key BLOCK FILE PURPOSE`."""
    return lambda image, staged: staging.stage_key(
        image, staged, image.chip.block_by_name[block], content, purpose,
        write_protect=lock, read_protect=lock, force=force,
    )  # fmt: skip


def mac(address: str) -> Ask:
    """`burn_custom_mac ADDRESS`."""
    return lambda image, staged: staging.stage_custom_mac(image, staged, bytes.fromhex(address))


# chip, the command before, the command that contradicts it, what the refusal says
CONTRADICTIONS: list[tuple[str, Ask, Ask, str]] = [
    ("esp32s3", data("BLOCK_KEY0", b"\xff" * 32), key("BLOCK_KEY0", "XTS_AES_128_KEY"), "bits staged"),
    ("esp32s3", key("BLOCK_KEY0", "HMAC_UP"), data("BLOCK_KEY0", b"\xff" * 32), "other data staged"),
    ("esp32s3", key("BLOCK_KEY0", "HMAC_UP"), single("BLOCK_KEY0", 5), "BLOCK_KEY0 would not hold"),
    ("esp32s3", key("BLOCK_KEY0", "HMAC_UP", lock=False), value("BLOCK_KEY0", (1 << 256) - 1), "would not"),
    ("esp32s3", single("BLOCK_KEY0", 5), key("BLOCK_KEY0", "HMAC_UP"), "bits staged"),
    ("esp32s3", value("KEY_PURPOSE_0", 9), key("BLOCK_KEY0", "HMAC_UP"), "KEY_PURPOSE_0 has bits staged"),
    ("esp32s3", value("KEY_PURPOSE_0", 9), key("BLOCK_KEY0", "USER"), "KEY_PURPOSE_0 has bits staged"),
    ("esp32s3", key("BLOCK_KEY0", "HMAC_UP"), value("KEY_PURPOSE_0", 12), "KEY_PURPOSE_0 would not hold"),
    ("esp32s3", key("BLOCK_KEY0", "USER"), value("KEY_PURPOSE_0", 4), "KEY_PURPOSE_0 would not hold"),
    ("esp32s3", key("BLOCK_KEY0", "HMAC_UP"), single("BLOCK0", 90), "KEY_PURPOSE_0 would not hold"),
    ("esp32s3", key("BLOCK_KEY0", "HMAC_UP"), data("BLOCK0", b"\4", 11), "other data staged in byte 11"),
    ("esp32s3", value("SPI_BOOT_CRYPT_CNT", 3), value("SPI_BOOT_CRYPT_CNT", 1), "bits staged"),
    ("esp32s3", value("SPI_BOOT_CRYPT_CNT", 1), single("BLOCK0", 83), "SPI_BOOT_CRYPT_CNT would not hold"),
    ("esp32s3", mac("aacdef010202"), mac("aacdef010203"), "CUSTOM_MAC would not hold"),
    ("esp32s3", mac("aacdef010203"), data("BLOCK3", b"\xff", 26), "other data|CUSTOM_MAC would not hold"),
    ("esp32s3", data("BLOCK3", b"\1", 4), data("BLOCK3", b"\3", 4), "other data staged in byte 4"),
    ("esp32s3", data("BLOCK3", b"\3", 4), data("BLOCK3", b"\1", 4), "other data staged in byte 4"),
    ("esp32s3", data("BLOCK3", b"\1", 4), single("BLOCK3", 33), "BLOCK_USR_DATA would not hold"),
    ("esp32", mac("aacdef010203"), value("MAC_VERSION", 3), "MAC_VERSION would not hold"),
    ("esp32", key("BLOCK1", "flash_encryption"), single("BLOCK1", 0), "BLOCK1 would not hold"),
    ("esp32c2", key("BLOCK_KEY0", "SECURE_BOOT_DIGEST"), single("BLOCK3", 130), "HI_128 would not hold"),
]  # fmt: skip


@pytest.mark.parametrize(("chip", "before", "after", "why"), CONTRADICTIONS)
def test_two_commands_of_one_script_never_mix(chip: str, before: Ask, after: Ask, why: str) -> None:
    image, staged = blank(chip), StagedBurns()
    before(image, staged)
    untouched = staged.copy()
    with pytest.raises(EfuseError, match=why) as refused:
        after(image, staged)
    assert staged == untouched
    assert "force" not in refused.value.hint
    assert plan_burns(image, staged)


# chip, commands that go together
TOGETHER: list[tuple[str, tuple[Ask, ...]]] = [
    ("esp32s3", (key("BLOCK_KEY0", "HMAC_UP"), key("BLOCK_KEY0", "HMAC_UP"))),
    ("esp32s3", (data("BLOCK_KEY0", KEY[::-1]), key("BLOCK_KEY0", "XTS_AES_128_KEY"))),  # the very bytes
    ("esp32s3", (value("KEY_PURPOSE_0", 8), key("BLOCK_KEY0", "HMAC_UP"))),
    ("esp32s3", (value("SPI_BOOT_CRYPT_CNT", 1), value("SPI_BOOT_CRYPT_CNT", 3))),  # a counter grows
    ("esp32s3", (value("WR_DIS", 1 << 4), value("WR_DIS", 1 << 5), value("WR_DIS", 1 << 4))),
    ("esp32s3", (mac("aacdef010203"), mac("aacdef010203"))),
    ("esp32s3", (data("BLOCK3", b"\1", 4), data("BLOCK3", b"\2", 5), mac("aacdef010203"))),
    ("esp32s3", (single("BLOCK3", 1), single("BLOCK3", 2))),
    ("esp32s3", (single("BLOCK0", 82), value("SPI_BOOT_CRYPT_CNT", 1))),
    ("esp32c2", (key("BLOCK_KEY0", "SECURE_BOOT_DIGEST"),
                 key("BLOCK_KEY0", "XTS_AES_128_KEY_DERIVED_FROM_128_EFUSE_BITS", KEY[:16]))),
]  # fmt: skip


@pytest.mark.parametrize(("chip", "asks"), TOGETHER)
def test_commands_that_agree_go_together_and_are_there_afterwards(chip: str, asks: tuple[Ask, ...]) -> None:
    image, staged = blank(chip), StagedBurns()
    for ask in asks:
        ask(image, staged)
    plan = plan_burns(image, staged)
    everything = frozenset(range(len(image.chip.blocks)))
    assert not remaining(plan, plan.apply(image), verified=everything)


# chip, what is burned, the command that is refused, what the refusal says
BURNED: list[tuple[str, dict[str, int], Ask, str]] = [
    ("esp32s3", {"BLOCK_KEY0": (1 << 256) - 1}, key("BLOCK_KEY0", "XTS_AES_128_KEY"), "not this key"),
    ("esp32s3", {"BLOCK_KEY0": 1}, key("BLOCK_KEY0", "HMAC_UP"), "not this key"),
    ("esp32", {"BLOCK1": 1}, key("BLOCK1", "flash_encryption"), "not this key"),  # uncoded: it could be grown
    ("esp32", {"BLOCK2": (1 << 256) - 1}, key("BLOCK2", "secure_boot_v2"), "not this key"),
    ("esp32", {"CODING_SCHEME": 1, "BLOCK1": (1 << 192) - 1},
     key("BLOCK1", "flash_encryption", KEY[:24]), "not this key"),
    ("esp32s3", {"KEY_PURPOSE_0": 9}, key("BLOCK_KEY0", "HMAC_UP"), "holds SECURE_BOOT_DIGEST0"),
    ("esp32s3", {"KEY_PURPOSE_0": 9}, key("BLOCK_KEY0", "USER"), "holds SECURE_BOOT_DIGEST0"),
    ("esp32", {"BLOCK3": 0x0300}, data("BLOCK3", b"\1", 1), "other data burned in byte 1"),
    ("esp32", {"BLOCK3": 0x0100}, data("BLOCK3", b"\3", 1), "other data burned in byte 1"),
    ("esp32s3", {"BLOCK_USR_DATA": 0x0300}, data("BLOCK3", b"\1", 1), "other data burned in byte 1"),
    ("esp32s3", {"CUSTOM_MAC": 0x0302FF}, mac("000000010203"), "it would show another value"),
    ("esp32", {"MAC_VERSION": 1, "CUSTOM_MAC": 1}, mac("030000000000"), "it would show another value"),
    ("esp32", {"MAC_VERSION": 3}, mac("aacdef010203"), "MAC_VERSION is 3"),
]  # fmt: skip


@pytest.mark.parametrize(("chip", "before", "ask", "why"), BURNED)
def test_what_is_burned_beyond_the_wanted_is_refused(
    chip: str, before: dict[str, int], ask: Ask, why: str
) -> None:
    image, staged = blank(chip, **before), StagedBurns()
    with pytest.raises(EfuseError, match=why) as refused:
        ask(image, staged)
    assert staged == StagedBurns()
    assert "force" not in refused.value.hint
    assert "another board" in refused.value.hint


# chip, what is burned, a command that finds all it wants
THERE: list[tuple[str, dict[str, int], Ask]] = [
    ("esp32s3", {"BLOCK_KEY0": int.from_bytes(KEY, "big"), "KEY_PURPOSE_0": 4, "WR_DIS": 1 << 8},
     key("BLOCK_KEY0", "XTS_AES_128_KEY", lock=False)),
    ("esp32", {"BLOCK3": 0x0300_01}, data("BLOCK3", b"\3", 2)),
    ("esp32s3", {"BLOCK_USR_DATA": 0x0301}, data("BLOCK3", b"\3", 1)),
    ("esp32s3", {"SPI_BOOT_CRYPT_CNT": 3}, single("BLOCK0", 82)),
    ("esp32s3", {"WR_DIS": 3}, value("WR_DIS", 1)),
    ("esp32s3", {"CUSTOM_MAC": 0x030201EFCDAA}, mac("aacdef010203")),
]  # fmt: skip


@pytest.mark.parametrize(("chip", "before", "ask"), THERE)
def test_what_is_there_is_not_burned_again(chip: str, before: dict[str, int], ask: Ask) -> None:
    image, staged = blank(chip, **before), StagedBurns()
    ask(image, staged)
    assert not plan_burns(image, staged)


def test_uncoded_data_may_be_added_where_either_side_is_zero() -> None:
    image, staged = blank("esp32", BLOCK3=0x11_00_33), StagedBurns()
    data("BLOCK3", bytes((0x33, 0x22)) + bytes(30))(image, staged)
    assert plan_burns(image, staged).apply(image).block(3) == 0x11_22_33


def test_three_quarters_takes_what_is_equal() -> None:
    image, staged = burned(three_quarters(), BLOCK1=int.from_bytes(KEY[:24], "big")), StagedBurns()
    key("BLOCK1", "flash_encryption", KEY[:24])(image, staged)
    assert [step.label for step in plan_burns(image, staged).steps] == ["BLOCK0 locks"]


def test_a_lock_is_never_burned_over_other_content_not_even_by_force() -> None:
    image = blank("esp32", BLOCK1=(1 << 256) - 1)
    for lock in (False, True):
        staged = StagedBurns()
        key("BLOCK1", "flash_encryption", lock=lock, force=True)(image, staged)
        if not lock:
            assert not plan_burns(image, staged)  # nothing is left to burn, and nothing is locked
            continue
        with pytest.raises(PlanError, match="what is locked must be right to the bit") as refused:
            plan_burns(image, staged)
        assert "force" not in refused.value.hint


def test_a_wrong_purpose_is_never_locked_not_even_by_force() -> None:
    image, staged = blank("esp32s3", KEY_PURPOSE_0=9), StagedBurns()
    key("BLOCK_KEY0", "HMAC_UP", lock=False, force=True)(image, staged)
    with pytest.raises(PlanError, match=r"KEY_PURPOSE_0 .*what is locked must be right"):
        plan_burns(image, staged)


def test_the_plan_asks_again_what_staging_asked() -> None:
    image, staged = blank("esp32s3"), StagedBurns()
    value("SPI_BOOT_CRYPT_CNT", 1)(image, staged)
    assert needed_blocks(staged) == {0}
    assert plan_burns(image, staged)
    with pytest.raises(PlanError, match="SPI_BOOT_CRYPT_CNT has bits burned"):
        plan_burns(burned(image, SPI_BOOT_CRYPT_CNT=2), staged)
    staged.force = True
    assert plan_burns(burned(image, SPI_BOOT_CRYPT_CNT=2), staged).forced


def test_a_value_in_two_places_is_held_in_both() -> None:
    image, staged = blank(chip_named("esp32p4", revision=300)), StagedBurns()
    value("KEY_PURPOSE_0", 4)(image, staged)
    with pytest.raises(EfuseError, match="KEY_PURPOSE_0 would not hold"):
        value("KEY_PURPOSE_0_H", 1)(image, staged)
    value("KEY_PURPOSE_0", 20)(image, staged)  # the same field, grown
    assert staged.value(image.chip, image.field_named("KEY_PURPOSE_0")) == 20
    high = burned(image, KEY_PURPOSE_0_H=1)
    with pytest.raises(EfuseError, match="KEY_PURPOSE_0 has bits burned"):
        value("KEY_PURPOSE_0", 4)(high, StagedBurns())


def test_a_value_is_held_by_what_a_block_burns_alone() -> None:
    image, staged = blank("esp32"), StagedBurns()
    key("BLOCK1", "flash_encryption")(image, staged)
    value("JTAG_DISABLE", 1)(image, staged)
    alone, rest = staged.only(1), staged.without(1)
    after = plan_burns(image, alone).apply(image)
    assert after.block(1) == int.from_bytes(KEY, "big")
    assert {one.block for one in alone.wanted} == {1}
    assert not rest.block(1)
    with pytest.raises(EfuseError, match="BLOCK1 would not hold"):
        single("BLOCK1", 0)(after, rest)  # its locks are still to come
    assert plan_burns(after, rest)


def test_what_is_wanted_shows_no_key_and_goes_with_the_burn() -> None:
    image, staged = blank("esp32s3"), StagedBurns()
    key("BLOCK_KEY0", "HMAC_UP")(image, staged)
    assert repr(staged.wanted[0]) == "Wanted(BLOCK_KEY0, 256 bits)"
    assert staged.copy() == staged
    staged.clear()
    assert not staged.wanted


# content, what the refusal says
NO_KEYS = [
    (bytes(32), "all 32 bytes .* are equal"),
    (b"\xff" * 32, "all 32 bytes .* are equal"),
    (KEY[:31], "31 bytes"),
    (b"", "0 bytes"),
]


@pytest.mark.parametrize(("content", "why"), NO_KEYS)
def test_a_file_that_is_no_key_is_refused(content: bytes, why: str) -> None:
    image, staged = blank("esp32s3"), StagedBurns()
    with pytest.raises(BadValue, match=why) as refused:
        key("BLOCK_KEY0", "XTS_AES_128_KEY", content)(image, staged)
    assert "--force" in refused.value.hint
    assert staged == StagedBurns()


@pytest.mark.parametrize(
    ("content", "burned_bytes"),
    [(b"\xff" * 32, b"\xff" * 32), (KEY[:31], KEY[:31] + b"\0"), (bytes(32), bytes(32))],
)
def test_force_takes_such_a_key(content: bytes, burned_bytes: bytes) -> None:
    image, staged = blank("esp32s3"), StagedBurns()
    block = image.chip.block_by_name["BLOCK_KEY0"]
    staging.stage_key(
        image, staged, block, content, "XTS_AES_128_KEY",
        write_protect=True, read_protect=True, any_key=True,
    )  # fmt: skip
    assert staged.block(4) == int.from_bytes(burned_bytes, "big")
    with pytest.raises(BadValue, match=r"0 bytes|33 bytes"):
        staging.stage_key(
            image, staged, block, b"" if content[0] else KEY + b"\1", "XTS_AES_128_KEY",
            write_protect=True, read_protect=True, any_key=True,
        )  # fmt: skip
