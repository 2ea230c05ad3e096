"""Plans: order, words, what is refused before the first bit, and what a chip shows afterwards."""

from __future__ import annotations

import struct
from dataclasses import replace

import pytest
import reedsolo

from parburn.chips.model import Chip, ControllerKind, LinkEndKind
from parburn.chips.registry import chip_named, chip_names
from parburn.chips.table import extend_chip, parse_custom_table
from parburn.coding import encode_three_quarters
from parburn.efuse import rules, staging
from parburn.efuse.image import BlockStatus
from parburn.efuse.plan import BurnPlan, needed_blocks, plan_burns, remaining
from parburn.efuse.staged import StagedBurns
from parburn.errors import ChipDataError, EfuseError, PlanError
from tests.efuse.images import ROW_NAMES, ROWS, blank, burned, staged_bits, three_quarters

KEY = int.from_bytes(range(1, 33), "little")


def labels(plan: BurnPlan) -> list[str]:
    """The steps by name."""
    return [step.label for step in plan.steps]


def test_nothing_staged_is_an_empty_plan() -> None:
    plan = plan_burns(blank("esp32s3"), StagedBurns())
    assert not plan
    assert plan.describe() == ()


def test_blocks_go_from_the_highest_to_block0_and_locks_last() -> None:
    image = blank("esp32s3")
    staged = staged_bits(
        image,
        BLOCK_KEY0=KEY,
        CUSTOM_MAC=0x42,
        KEY_PURPOSE_0=4,
        SPI_BOOT_CRYPT_CNT=1,
        RD_DIS=1,
        WR_DIS=1 << 23,
    )
    plan = plan_burns(image, staged)
    assert labels(plan) == ["BLOCK_KEY0", "BLOCK_USR_DATA", "BLOCK0", "BLOCK0 locks"]
    assert [step.locks for step in plan.steps] == [False, False, False, True]
    assert plan.steps[2].fields == ("KEY_PURPOSE_0",)
    assert set(plan.steps[3].fields) == {"WR_DIS", "RD_DIS", "SPI_BOOT_CRYPT_CNT"}
    assert plan.want(4) == KEY


def test_the_classic_controller_burns_its_blocks_with_one_command() -> None:
    image = blank("esp32")
    plan = plan_burns(image, staged_bits(image, BLOCK1=KEY, BLOCK3=7, JTAG_DISABLE=1, WR_DIS=1 << 7))
    assert labels(plan) == ["BLOCK3+BLOCK1", "BLOCK0 and locks"]
    assert [len(write.words) for step in plan.steps for write in step.writes] == [8, 8, 7]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        # WR_DIS bit 7 and RD_DIS bit 0 are for BLOCK1: JTAG_DISABLE is left alone.
        ({"JTAG_DISABLE": 1, "WR_DIS": 1 << 7, "RD_DIS": 1}, ["BLOCK0 and locks"]),
        # Bit 14 is JTAG_DISABLE's own: it comes when that has been verified, and the others with it.
        ({"JTAG_DISABLE": 1, "WR_DIS": 1 << 7 | 1 << 14}, ["BLOCK0", "BLOCK0 locks"]),
        # RD_DIS bit 3 hides FLASH_CRYPT_CONFIG: nobody could verify it in the same pulse.
        ({"FLASH_CRYPT_CONFIG": 1, "RD_DIS": 8}, ["BLOCK0", "BLOCK0 locks"]),
        # What enables flash encryption comes last, and so do the locks beside it.
        ({"JTAG_DISABLE": 1, "FLASH_CRYPT_CNT": 1, "WR_DIS": 1 << 7}, ["BLOCK0", "BLOCK0 locks"]),
        ({"WR_DIS": 1 << 7}, ["BLOCK0 locks"]),
    ],
)
def test_locks_join_block0_only_where_they_lock_nothing_of_it(
    fields: dict[str, int], expected: list[str]
) -> None:
    image = blank("esp32")
    plan = plan_burns(image, staged_bits(image, **fields))
    assert labels(plan) == expected
    assert plan.steps[-1].locks
    assert not any(step.locks for step in plan.steps[:-1])


def test_no_bit_is_burned_where_nobody_can_read_it() -> None:
    image = burned(blank("esp32"), RD_DIS=8)
    for forced in (False, True):
        staged = staged_bits(image, FLASH_CRYPT_CONFIG=1)
        staged.force = forced
        with pytest.raises(PlanError, match="no burn can be verified: FLASH_CRYPT_CONFIG"):
            plan_burns(image, staged)
    assert plan_burns(image, staged_bits(image, JTAG_DISABLE=1))


def test_a_block0_of_nine_words_runs_on_into_the_check_registers() -> None:
    image = blank("esp32s31")
    staged = StagedBurns()
    staging.stage_bits(image, staged, image.chip.blocks[0], [100, 287])
    (step,) = plan_burns(image, staged).steps
    assert step.writes[0].words == (0, 0, 0, 16, 0, 0, 0, 0, 1 << 31, 0, 0)
    after = plan_burns(image, staged).apply(image)
    assert after.block(0) == 1 << 287 | 1 << 100
    assert not plan_burns(after, staged)


@pytest.mark.parametrize("chip", ROWS, ids=ROW_NAMES)
def test_words_have_all_bits_of_a_block(chip: Chip) -> None:
    image = blank(chip)
    for block in chip.blocks:
        last = image.block_bits(block.index) - 1
        staged = StagedBurns()
        staging.stage_bits(image, staged, block, [last])
        staged.ignored_rules = True
        (step,) = plan_burns(image, staged).steps
        (write,) = step.writes
        assert len(write.words) == (11 if chip.controller is ControllerKind.PGM else block.words)
        assert write.words[last // 32] >> last % 32 & 1


def test_a_field_in_a_part_of_a_block_is_hidden_with_that_part() -> None:
    rows = parse_custom_table("LEFT, EFUSE_BLK3, 93, 60, Over both halves\n", file="t.csv")
    chip = extend_chip(chip_named("esp32c2"), rows)
    image = blank(chip, LEFT=(1 << 60) - 1)
    for bit, left in ((0, ((1 << 25) - 1) << 128), (1, ((1 << 35) - 1) << 93)):
        staged = staged_bits(image, RD_DIS=1 << bit)
        assert plan_burns(image, staged).apply(image).block(3) == left


def test_fields_that_end_the_link_come_after_the_locks() -> None:
    image = blank("esp32s3")
    staged = staged_bits(image, ENABLE_SECURITY_DOWNLOAD=1, WR_DIS=1 << 23 | 1 << 18, SECURE_BOOT_EN=1)
    plan = plan_burns(image, staged)
    assert labels(plan) == ["BLOCK0 locks", "BLOCK0 link end"]
    assert [step.ends_link for step in plan.steps] == ["", LinkEndKind.SECURE_DOWNLOAD]
    # bit 18 of WR_DIS protects the field itself: it must not come before it
    assert plan.steps[1].writes[0].want == staged_bits(
        image, ENABLE_SECURITY_DOWNLOAD=1, WR_DIS=1 << 18
    ).block(0)


def test_a_link_end_at_the_next_reset_is_an_ordinary_lock() -> None:
    image = blank("esp32")
    plan = plan_burns(image, staged_bits(image, UART_DOWNLOAD_DIS=1))
    assert [(step.label, step.locks, step.ends_link) for step in plan.steps] == [
        ("BLOCK0 locks", True, LinkEndKind.NEXT_RESET)
    ]


def test_rs_words_are_data_and_check_words() -> None:
    image = blank("esp32s3")
    (step,) = plan_burns(image, staged_bits(image, BLOCK_KEY0=KEY)).steps
    coded = bytes(reedsolo.RSCodec(12).encode(KEY.to_bytes(32, "little")))
    assert step.writes[0].words == struct.unpack("<11I", coded)


def test_a_block_of_six_words_is_coded_with_zeros() -> None:
    image = blank("esp32s3")
    (step,) = plan_burns(image, staged_bits(image, WAFER_VERSION_MINOR_LO=3)).steps
    data = (3 << 114).to_bytes(32, "little")
    assert step.writes[0].words == struct.unpack("<11I", bytes(reedsolo.RSCodec(12).encode(data)))


def test_block0_of_the_pgm_controller_is_not_coded() -> None:
    image = blank("esp32s3")
    (step,) = plan_burns(image, staged_bits(image, KEY_PURPOSE_0=4)).steps
    assert step.writes[0].words == (0, 0, 4 << 24, *[0] * 8)


def test_three_quarters_words() -> None:
    image = three_quarters()
    (step,) = plan_burns(image, staged_bits(image, BLOCK1=KEY >> 64)).steps
    coded = encode_three_quarters((KEY >> 64).to_bytes(24, "little"))
    assert step.writes[0].words == struct.unpack("<8I", coded)


def test_an_uncoded_block_burns_only_what_is_missing() -> None:
    image = blank("esp32", BLOCK3=0b0110)
    assert plan_burns(image, staged_bits(image, BLOCK3=0b0011)).want(3) == 0b0001


def test_three_quarters_leaves_out_chunks_that_are_there() -> None:
    image = burned(three_quarters(), BLOCK3=0x55)
    plan = plan_burns(image, staged_bits(image, BLOCK3=0x55 | 1 << 48))
    assert plan.want(3) == 1 << 48


# chip, what is burned, what is staged, what the error says
REFUSED = [
    ("esp32s3", {"BLOCK_KEY0": 1}, {"BLOCK_KEY0": 2}, "no second write"),
    ("esp32s3", {"CUSTOM_MAC": 2}, {"BLOCK_USR_DATA": 1}, "no second write"),
    ("esp32", {"CODING_SCHEME": 1, "BLOCK3": 1}, {"BLOCK3": 2}, "bytes 0 to 5"),
    ("esp32", {"CODING_SCHEME": 1, "BLOCK3": 3}, {"BLOCK3": 1 | 1 << 50}, "bytes 0 to 5"),
    ("esp32", {"CODING_SCHEME": 2}, {"SECURE_VERSION": 1}, "nothing can be burned"),
    ("esp32s3", {"WR_DIS": 1 << 23}, {"BLOCK_KEY0": 2}, "write-protected"),
    ("esp32s3", {"RD_DIS": 1}, {"BLOCK_KEY0": 2}, "read-protected"),
    ("esp32s3", {"WR_DIS": 1 << 4}, {"SPI_BOOT_CRYPT_CNT": 1}, "SPI_BOOT_CRYPT_CNT"),
    ("esp32s3", {"WR_DIS": 1}, {"RD_DIS": 1, "BLOCK_KEY0": 3}, "RD_DIS"),
    ("esp32", {"WR_DIS": 2}, {"WR_DIS": 4}, "WR_DIS"),
    ("esp32", {"MAC": 1}, {"MAC": 3}, "MAC says who this chip is"),
    ("esp32", {}, {"MAC_CRC": 1}, "MAC_CRC says who this chip is"),
    ("esp32c2", {}, {"MAC": 1}, "MAC says who this chip is"),
    ("esp32s3", {}, {"OPTIONAL_UNIQUE_ID": 1}, "OPTIONAL_UNIQUE_ID says who this chip is"),
    ("esp32s3", {"MAC": 2}, {"SPI_PAD_CONFIG_CS": 1}, "MAC says who this chip is, and a second write"),
    ("esp32", {"CODING_SCHEME": 0, "RD_DIS": 1 << 3}, {"BLOCK3": 1}, "CODING_SCHEME is read-protected"),
    ("esp32s3", {}, {"DIS_USB_JTAG": 1, "DIS_USB_SERIAL_JTAG": 1}, "must not both"),
    ("esp32s3", {"DIS_USB_JTAG": 1}, {"DIS_USB_SERIAL_JTAG": 1}, "must not both"),
]


@pytest.mark.parametrize(("chip", "before", "asked", "why"), REFUSED)
def test_refused_before_the_first_bit(
    chip: str, before: dict[str, int], asked: dict[str, int], why: str
) -> None:
    image = blank(chip, **before)
    with pytest.raises(EfuseError, match=why):
        plan_burns(image, staged_bits(image, **asked))


# The same bits, or a part of them, in a block that is written: nothing to do
DONE = [
    ("esp32s3", {"BLOCK_KEY0": 7}, {"BLOCK_KEY0": 7}),
    ("esp32s3", {"BLOCK_KEY0": 7}, {"BLOCK_KEY0": 2}),
    ("esp32", {"CODING_SCHEME": 1, "BLOCK3": 7}, {"BLOCK3": 2}),
    ("esp32s3", {"SPI_BOOT_CRYPT_CNT": 7, "WR_DIS": 1 << 4}, {"SPI_BOOT_CRYPT_CNT": 1}),
    ("esp32s3", {"DIS_USB_JTAG": 1, "DIS_USB_SERIAL_JTAG": 1}, {"BLOCK_KEY0": 0}),
]


@pytest.mark.parametrize(("chip", "before", "asked"), DONE)
def test_what_is_there_is_not_planned(chip: str, before: dict[str, int], asked: dict[str, int]) -> None:
    image = blank(chip, **before)
    assert not plan_burns(image, staged_bits(image, **asked))


def test_force_burns_into_a_written_block() -> None:
    image = blank("esp32s3", BLOCK_KEY0=1)
    staged = staged_bits(image, BLOCK_KEY0=2)
    staged.force = True
    assert plan_burns(image, staged).want(4) == 2


def test_force_does_not_make_another_chip_of_it() -> None:
    image = blank("esp32", RD_DIS=1 << 3)
    staged = staged_bits(image, BLOCK3=1)
    staged.force = True
    plan = plan_burns(image, staged)
    assert [reason for reason in plan.forced if "CODING_SCHEME" in reason]
    staged.add(0, image.field_named("MAC").mask)
    with pytest.raises(PlanError, match="MAC says who this chip is") as refused:
        plan_burns(image, staged)
    assert "out of the script" in refused.value.hint
    image = blank("esp32c3", MAC=2)
    staged = staged_bits(image, SPI_PAD_CONFIG_CS=1)
    staged.force = True
    with pytest.raises(PlanError, match="a second write of MAC_SPI_8M_0 would spoil it"):
        plan_burns(image, staged)


def test_block0_can_be_burned_while_the_coding_of_the_others_is_hidden() -> None:
    image = blank("esp32", RD_DIS=1 << 3)
    assert labels(plan_burns(image, staged_bits(image, JTAG_DISABLE=1))) == ["BLOCK0"]


def test_force_does_not_wait_for_protected_bits_of_block0() -> None:
    image = blank("esp32s3", WR_DIS=1 << 4)
    staged = staged_bits(image, SPI_BOOT_CRYPT_CNT=1, KEY_PURPOSE_0=4)
    staged.force = True
    assert plan_burns(image, staged).steps[0].fields == ("KEY_PURPOSE_0",)


def test_a_forbidden_pair_can_be_insisted_on() -> None:
    image = blank("esp32s3")
    staged = staged_bits(image, DIS_USB_JTAG=1, DIS_USB_SERIAL_JTAG=1)
    staged.ignored_rules = True
    assert labels(plan_burns(image, staged)) == ["BLOCK0"]


def test_apply_hides_what_rd_dis_covers() -> None:
    image = blank("esp32s3")
    plan = plan_burns(image, staged_bits(image, BLOCK_KEY0=KEY, BLOCK_KEY1=KEY, RD_DIS=1))
    after = plan.apply(image)
    assert (after.block(4), after.block(5)) == (0, KEY)
    assert not after.is_readable(after.chip.block_by_name["BLOCK_KEY0"])


def test_apply_hides_fields_of_block0_too() -> None:
    image = blank("esp32", FLASH_CRYPT_CONFIG=15, JTAG_DISABLE=1)
    after = plan_burns(image, staged_bits(image, RD_DIS=8)).apply(image)
    assert after.field_bits(after.field_named("FLASH_CRYPT_CONFIG")) == 0
    assert after.field_bits(after.field_named("JTAG_DISABLE")) == 1


def test_apply_follows_a_change_to_three_quarters() -> None:
    image = blank("esp32")
    plain = bytes(range(24))
    staged = staged_bits(image, CODING_SCHEME=1)
    staged.add(3, int.from_bytes(encode_three_quarters(plain), "little"))
    after = plan_burns(image, staged).apply(image)
    assert after.block(3) == int.from_bytes(plain, "little")


def test_recovery_burns_the_same_bits_again() -> None:
    image = blank("esp32s3", BLOCK_KEY0=KEY, KEY_PURPOSE_0=4)
    bad = image.with_blocks({}, {4: BlockStatus(1, True)}, 1)
    staged = StagedBurns()
    staging.stage_recovery(bad, staged)
    plan = plan_burns(bad, staged)
    assert labels(plan) == ["BLOCK_KEY0", "BLOCK0 again"]
    assert all(write.again for step in plan.steps for write in step.writes)
    mended = plan.apply(bad)
    assert (mended.status[4], mended.block0_errors) == (BlockStatus(), 0)
    assert mended.blocks == image.blocks
    assert remaining(plan, bad) == plan
    assert not remaining(plan, mended)


def test_remaining_is_what_the_chip_lacks() -> None:
    image = blank("esp32s3")
    plan = plan_burns(image, staged_bits(image, BLOCK_KEY0=KEY, CUSTOM_MAC=0x42, KEY_PURPOSE_0=4, RD_DIS=1))
    assert remaining(plan, image) == plan
    torn = burned(image, BLOCK_KEY0=KEY, KEY_PURPOSE_0=0)
    assert labels(remaining(plan, torn)) == ["BLOCK_USR_DATA", "BLOCK0 and locks"]
    done = plan.apply(image)
    assert not remaining(plan, done, verified=frozenset({4}))
    with pytest.raises(PlanError, match="no record"):
        remaining(plan, done)


def test_remaining_burns_a_torn_coded_block_whole() -> None:
    image = blank("esp32s3")
    plan = plan_burns(image, staged_bits(image, BLOCK_KEY0=KEY))
    assert remaining(plan, burned(image, BLOCK_KEY0=KEY & 0xFFFF)) == plan


@pytest.mark.parametrize(("errors", "fail"), [(0, False), (3, False), (0, True)])
def test_remaining_burns_no_block_that_reads_well_and_holds_other_data(errors: int, fail: bool) -> None:
    """Whoever wrote it: the check bytes of the whole would spoil it. A pulse that broke off leaves errors."""
    image = blank("esp32s3")
    plan = plan_burns(image, staged_bits(image, BLOCK_KEY0=KEY))
    part = burned(image, BLOCK_KEY0=KEY & 0xFFFF).with_blocks({}, {4: BlockStatus(errors, fail)}, 0)
    if errors or fail:
        assert remaining(plan, part) == plan
    else:
        with pytest.raises(PlanError, match="no second write with other data"):
            remaining(plan, part)


def test_remaining_will_not_burn_into_a_locked_block() -> None:
    image = blank("esp32s3")
    plan = plan_burns(image, staged_bits(image, BLOCK_KEY0=KEY, WR_DIS=1 << 23))
    with pytest.raises(PlanError, match="lacks bits"):
        remaining(plan, burned(image, WR_DIS=1 << 23))


def test_equal_plans_have_equal_digests_under_one_key() -> None:
    image = blank("esp32s3")
    one, same = (plan_burns(image, staged_bits(image, BLOCK_KEY0=KEY)) for _ in range(2))
    other = plan_burns(image, staged_bits(image, BLOCK_KEY0=KEY ^ 1))
    assert one == same
    assert one.keyed_digest(b"k") == same.keyed_digest(b"k")
    assert len({one.keyed_digest(b"k"), one.keyed_digest(b"q"), other.keyed_digest(b"k")}) == 3


def test_what_an_operator_sees_holds_no_key() -> None:
    image = blank("esp32s3")
    plan = plan_burns(image, staged_bits(image, BLOCK_KEY0=KEY))
    (row,) = plan.describe()
    assert (row.block, row.bits, row.fields) == ("BLOCK_KEY0", KEY.bit_count(), ("BLOCK_KEY0",))
    words = plan.steps[0].writes[0].words
    text = repr(plan) + repr(row)
    assert not any(str(word) in text or f"{word:x}" in text for word in (KEY, *words))


def test_needed_blocks() -> None:
    image = blank("esp32s3")
    assert needed_blocks(staged_bits(image, BLOCK_KEY0=1)) == {0, 4}


@pytest.mark.parametrize("name", chip_names())
def test_every_rule_that_a_chip_names_exists(name: str) -> None:
    """An unknown name would be a rule that nobody keeps."""
    assert set(chip_named(name).rules) <= rules.RULES.keys() | rules.READ_RULES.keys()


@pytest.mark.parametrize("chip", ROWS, ids=ROW_NAMES)
def test_every_named_rule_is_known(chip: Chip) -> None:
    assert rules.broken_rule(blank(chip), StagedBurns()) is None


def test_an_unknown_rule_is_never_passed_over() -> None:
    image = blank(replace(chip_named("esp32c3"), rules=("no_such_rule",)))
    with pytest.raises(ChipDataError, match="no_such_rule"):
        plan_burns(image, staged_bits(image, DIS_TWAI=1))
    with pytest.raises(ChipDataError, match="no_such_rule"):
        staging.stage_read_protection(image, StagedBurns(), image.field_named("BLOCK_KEY0"))
