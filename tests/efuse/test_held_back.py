"""What ends the connection is parted from a burn, with every lock over it, and is planned last of all."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parburn.chips.model import Chip
from parburn.efuse.held_back import NOTHING_HELD, HeldBack, hold_back, plan_to_the_end
from parburn.efuse.layout import layout_of
from parburn.efuse.plan import plan_burns
from parburn.efuse.staged import StagedBurns, Wanted
from parburn.errors import PlanError
from tests.efuse.images import ROW_NAMES, ROWS, blank, burned, staged_bits


@pytest.mark.parametrize("chip", ROWS, ids=ROW_NAMES)
def test_every_field_that_ends_the_connection_is_held_back_with_its_locks(chip: Chip) -> None:
    image, layout = blank(chip), layout_of(chip)
    names = [*chip.link_end_by_field, *chip.usb_ends]
    assert names
    for name in names:
        one = chip.field_by_name[name][0]
        wr_dis = 1 << one.wr_dis if one.wr_dis is not None else 0
        staged = staged_bits(image, **{name: 1}, WR_DIS=wr_dis)
        staged.add(1, 1)
        now, held = hold_back(image, staged, NOTHING_HELD)
        assert dict(now.blocks()) == {1: 1}
        assert held.bits == staged.block(0)
        assert held.over(image).field_bits(one) == 1
        assert not held.bits & ~(layout.ends | layout.wr_dis.mask)


def test_a_lock_that_is_asked_for_later_is_held_back_too() -> None:
    image = blank("esp32s3")
    _, held = hold_back(image, staged_bits(image, DIS_DOWNLOAD_MODE=1), NOTHING_HELD)
    now, both = hold_back(image, staged_bits(image, WR_DIS=1 << 18 | 1 << 23), held)
    assert now.block(0) == 1 << 23
    assert both.bits == held.bits | 1 << 18


def test_locks_of_locks_are_held_back() -> None:
    """Bit 1 of an ESP32's WR_DIS freezes WR_DIS itself; bit 2 is over UART_DOWNLOAD_DIS."""
    image = blank("esp32")
    staged = staged_bits(image, UART_DOWNLOAD_DIS=1, WR_DIS=0b110, JTAG_DISABLE=1)
    now, held = hold_back(image, staged, NOTHING_HELD)
    assert now.block(0) == image.field_named("JTAG_DISABLE").mask
    assert held.bits == staged.block(0) & ~now.block(0)
    assert held.bits & 0b110 == 0b110


def test_a_lock_over_other_fields_is_burned_at_once() -> None:
    image = blank("esp32c3")
    staged = staged_bits(image, DIS_DOWNLOAD_MODE=1, WR_DIS=1 << 23, RD_DIS=1)
    now, held = hold_back(image, staged, NOTHING_HELD)
    assert now.block(0) == staged.block(0) & ~held.bits
    assert held.bits == image.field_named("DIS_DOWNLOAD_MODE").mask


def test_what_is_burned_already_is_not_held_back() -> None:
    image = burned(blank("esp32"), UART_DOWNLOAD_DIS=1)
    staged = staged_bits(image, UART_DOWNLOAD_DIS=1, WR_DIS=4)
    assert hold_back(image, staged, NOTHING_HELD) == (staged, NOTHING_HELD)


def test_a_value_of_the_whole_block_is_parted() -> None:
    image = blank("esp32c3")
    end = image.field_named("DIS_DOWNLOAD_MODE").mask
    staged = StagedBurns()
    staged.add(0, end | 1 << 40)
    staged.want(Wanted("BLOCK0", 0, (1 << 192) - 1, end | 1 << 40, kept=True))
    now, held = hold_back(image, staged, NOTHING_HELD)
    (wanted,) = now.wanted
    assert (wanted.mask & end, wanted.bits, now.block(0)) == (0, 1 << 40, 1 << 40)
    assert plan_burns(image, now).want(0) == 1 << 40
    assert plan_to_the_end(image, now, held).want(0) == end | 1 << 40


def test_what_was_held_back_comes_last_in_steps_of_its_own() -> None:
    image = blank("esp32")
    staged = staged_bits(image, ABS_DONE_1=1, BLOCK2=7)
    held = HeldBack(staged_bits(image, UART_DOWNLOAD_DIS=1, WR_DIS=4).block(0))
    plan = plan_to_the_end(image, staged, held)
    assert [step.label for step in plan.steps] == ["BLOCK2", "BLOCK0 locks", "BLOCK0 locks, last"]
    assert plan.steps[-1].ends_link == "next-reset"
    assert plan.want(0) == staged.block(0) | held.bits


def test_of_two_ends_neither_is_in_front_of_the_other() -> None:
    image = blank("esp32s3")
    held = HeldBack(image.field_named("ENABLE_SECURITY_DOWNLOAD").mask)
    plan = plan_to_the_end(image, staged_bits(image, DIS_DOWNLOAD_MODE=1, DIS_ICACHE=1), held)
    assert [(step.label, step.ends_link) for step in plan.steps] == [
        ("BLOCK0", ""), ("BLOCK0 link end, last", "no-download"),
    ]  # fmt: skip


def test_nothing_gets_past_a_lock_that_is_held_back() -> None:
    image = blank("esp32s3")
    held = HeldBack(staged_bits(image, DIS_DOWNLOAD_MODE=1, WR_DIS=1 << 18).block(0))
    staged = staged_bits(image, UART_PRINT_CONTROL=3)
    with pytest.raises(PlanError, match="UART_PRINT_CONTROL"):
        plan_to_the_end(image, staged, held)
    staged.force = True
    now, _ = hold_back(image, staged, held)
    assert not now
    assert plan_to_the_end(image, staged, held).want(0) == held.bits


def test_a_repair_of_block0_does_not_burn_what_is_held_back() -> None:
    image = blank("esp32s3", DIS_ICACHE=1)._replace(block0_errors=1 << 40)
    held = HeldBack(image.field_named("DIS_DOWNLOAD_MODE").mask)
    staged = StagedBurns()
    staged.recovering = frozenset({0})
    now, _ = hold_back(image, staged, held)
    assert plan_burns(image, now).want(0) == image.block(0)


@settings(max_examples=300, deadline=None)
@given(
    chip=st.sampled_from(ROWS),
    burns=st.lists(st.integers(0, (1 << 160) - 1), min_size=1, max_size=4),
    thin=st.integers(0, (1 << 160) - 1),
)
def test_however_it_is_asked_for_all_of_it_is_planned_and_ends_come_last(
    chip: Chip, burns: list[int], thin: int
) -> None:
    image, layout, held = blank(chip), layout_of(chip), NOTHING_HELD
    size = 32 * layout.blocks[0].words
    ends = layout.ends
    asked = 0
    for bits in burns:
        staged = StagedBurns()
        staged.add(0, bits & (thin | ends) & ((1 << size) - 1))
        asked |= staged.block(0)
        now, after = hold_back(image, staged, held)
        assert not now.block(0) & (ends | after.bits)
        assert held.bits & ~after.bits == 0
        # No lock that is burned now would keep a held bit from being burned.
        wr_dis = now.block(0) >> (layout.wr_dis.start or 0) & ((1 << layout.wr_dis.bits) - 1)
        rd_dis = now.block(0) >> (layout.rd_dis.start or 0) & ((1 << layout.rd_dis.bits) - 1)
        assert not layout.protected(0, wr_dis) & after.bits
        assert not layout.hidden(0, rd_dis) & after.bits
        frozen = layout.protected(0, (held.bits & layout.wr_dis.mask) >> (layout.wr_dis.start or 0))
        assert now.block(0) | after.bits | frozen >= staged.block(0) & ~frozen
        assert not staged.block(0) & ~(now.block(0) | after.bits | frozen)
        held = after
    assert not ends & asked & ~held.bits
