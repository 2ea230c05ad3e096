"""What a pulse that nobody planned leaves in a block, on every chip, and what a good board may hold too.

The pulse is done on the simulator's cells, with its own decoders; nobody has read the block before.
"""

from __future__ import annotations

import random
from collections.abc import Collection
from dataclasses import replace

import pytest

from parburn.chips.model import Block, Chip, ControllerKind
from parburn.chips.registry import chip_named, chip_names
from parburn.efuse.image import BlockStatus, EfuseImage
from parburn.efuse.plan import BurnPlan, BurnStep, plan_burns
from parburn.efuse.staged import StagedBurns
from parburn.efuse.unplanned_pulse import Findings, look_for_stray
from parburn.sim.efuse_memory import EfuseMemory
from parburn.sim.factory import make_product
from tests.efuse.images import staged_bits

KEY = random.Random(11).randbytes(32)
PGM = [name for name in chip_names() if chip_named(name).controller is ControllerKind.PGM]


def made(name: str) -> EfuseMemory:
    """The cells of a chip as it leaves the factory."""
    return make_product(name, mac=bytes.fromhex("240ac4010203"), settings={}, rng=random.Random(1)).memory


def image_of(memory: EfuseMemory, blocks: Collection[int] | None = None) -> EfuseImage:
    """What the chip shows of these blocks, or of all."""
    chip = memory.chip
    every = [block.index for block in chip.blocks]
    readings = {index: memory.reading(index) for index in (every if blocks is None else blocks)}
    return EfuseImage(
        chip,
        {index: one.bits for index, one in readings.items()},
        {index: BlockStatus(one.errors, one.fail) for index, one in readings.items() if index},
        readings[0].errors,
        dict.fromkeys(chip.extra_registers, 0),
    )


def pulse(memory: EfuseMemory, block: int, step: BurnStep) -> None:
    """Burn what is staged for a step into a block."""
    words = step.writes[0].words
    pattern = sum(word << 32 * n for n, word in enumerate(words))
    memory.set_cells(block, memory.allowed(block, pattern))


def key_block(chip: Chip) -> Block:
    """The first that takes keys."""
    return next(block for block in chip.blocks if block.for_keys)


def key_plan(memory: EfuseMemory, key: bytes = KEY) -> BurnPlan:
    """A key and nothing else: one step."""
    staged = StagedBurns()
    staged.add(key_block(memory.chip).index, int.from_bytes(key, "little"))
    return plan_burns(image_of(memory), staged)


def judged(
    memory: EfuseMemory, plan: BurnPlan, before: EfuseImage, *, sure: Collection[int] | None = None
) -> Findings:
    """What is found once the plan's first step is burned where it belongs."""
    step = plan.steps[0]
    pulse(memory, step.writes[0].block.index, step)
    burned = BurnPlan(memory.chip, (step,))
    known = {0, step.writes[0].block.index} if sure is None else sure
    return look_for_stray(plan, burned, before, image_of(memory), known)


def first_reading(memory: EfuseMemory, plan: BurnPlan) -> EfuseImage:
    """Of BLOCK0 and the first step's block only."""
    return image_of(memory, {0, plan.steps[0].writes[0].block.index})


@pytest.mark.parametrize("name", PGM)
def test_a_key_that_landed_in_any_other_block_is_found_there(name: str) -> None:
    for block in chip_named(name).blocks:
        memory = made(name)
        plan = key_plan(memory)
        mine = plan.steps[0].writes[0].block
        if block.index in (mine.index, 0):
            continue
        before = first_reading(memory, plan)
        pulse(memory, block.index, plan.steps[0])
        found = judged(memory, plan, before)
        assert found.stray == f"{block.name} holds the data that was staged for {mine.name}"
        assert block.name not in found.told.split(", ")


@pytest.mark.parametrize("name", PGM)
def test_a_key_that_landed_in_block0_is_bits_that_nobody_asked_for(name: str) -> None:
    memory = made(name)
    plan = key_plan(memory)
    before = first_reading(memory, plan)
    pulse(memory, 0, plan.steps[0])
    assert "BLOCK0 has " in judged(memory, plan, before).stray


@pytest.mark.parametrize("name", PGM)
def test_a_chip_that_burned_only_what_was_planned_is_found_good(name: str) -> None:
    memory = made(name)
    plan = key_plan(memory)
    found = judged(memory, plan, first_reading(memory, plan))
    assert not found.stray
    for block in memory.chip.blocks:
        known = {0, plan.steps[0].writes[0].block.index}
        shown = memory.reading(block.index).bits != 0 and block.index not in known
        assert (block.name in found.told.split(", ")) == shown
    everything = made(name)
    plan = key_plan(everything)
    assert judged(everything, plan, image_of(everything)) == Findings()


def block0_step(memory: EfuseMemory, bits: int) -> BurnPlan:
    """One step for BLOCK0, whatever its bits mean."""
    image = image_of(memory)
    plan = plan_burns(image, staged_bits(image, SECURE_VERSION=1))
    (write,) = plan.steps[0].writes
    words = tuple(bits >> 32 * n & 0xFFFFFFFF for n in range(len(write.words)))
    assert not bits & image.block(0)
    return replace(plan, steps=(plan.steps[0]._replace(writes=(write._replace(want=bits, words=words),)),))


def test_data_of_block0_that_the_decoder_mends_away_is_known_by_the_count_of_wrong_bytes() -> None:
    memory = made("esp32c3")
    held = memory.reading(2).bits  # bits that the factory left free there, in three bytes
    free = [next(bit for bit in range(8 * n, 8 * n + 8) if not held >> bit & 1) for n in (5, 8, 12)]
    plan = block0_step(memory, sum(1 << bit for bit in free))
    before = first_reading(memory, plan)
    pulse(memory, 9, plan.steps[0])
    assert memory.reading(9).bits == 0  # it was mended
    assert judged(memory, plan, before).stray == "BLOCK_KEY5 holds the data that was staged for BLOCK0"
    factory = made("esp32c3")
    before = first_reading(factory, plan)
    pulse(factory, 2, plan.steps[0])
    assert factory.reading(2).bits == held
    assert "BLOCK_SYS_DATA holds" in judged(factory, plan, before).stray


def test_one_cell_that_failed_at_the_factory_is_no_pulse() -> None:
    memory = made("esp32c3")
    plan = block0_step(memory, 1 << 5 | 1 << 45)
    before = first_reading(memory, plan)
    memory.cells[9] |= 1 << 5
    found = judged(memory, plan, before)
    assert not found.stray
    assert "BLOCK_KEY5" in found.told


def test_a_coding_error_that_was_not_reported_before_is_found_though_the_block_was_never_read() -> None:
    memory = made("esp32c3")
    plan = key_plan(memory)
    read = image_of(memory)
    before = read._replace(blocks={0: read.block(0), 4: read.block(4)})
    memory.cells[9] |= 1 << 5
    assert "BLOCK_KEY5 reports 1 coding errors" in judged(memory, plan, before).stray


@pytest.mark.parametrize("bits", [1 << 5, 3 << 5, 0x1F << 5])
def test_few_bits_that_a_block_had_from_the_factory_are_no_pulse(bits: int) -> None:
    memory = made("esp32c3")
    memory.preset(9, bits)
    plan = key_plan(memory, bits.to_bytes(32, "little"))
    before = first_reading(memory, plan)
    found = judged(memory, plan, before)
    assert not found.stray
    assert "BLOCK_KEY5" in found.told


def test_a_block_that_is_full_holds_the_bits_of_any_data_and_is_no_pulse() -> None:
    memory = made("esp32c3")
    memory.preset(9, (1 << 256) - 1)
    plan = key_plan(memory)
    assert not judged(memory, plan, first_reading(memory, plan)).stray


@pytest.mark.parametrize("key", [b"\xff" * 32, bytes(31) + b"\x3f"])
def test_a_block_that_holds_the_data_and_nothing_else_is_the_pulse_s(key: bytes) -> None:
    memory = made("esp32c3")
    plan = key_plan(memory, key)
    before = first_reading(memory, plan)
    pulse(memory, 9, plan.steps[0])
    assert "BLOCK_KEY5 holds the data" in judged(memory, plan, before).stray


def test_a_key_that_a_block_held_when_it_was_read_is_no_pulse() -> None:
    memory = made("esp32c3")
    plan = key_plan(memory)
    pulse(memory, 9, plan.steps[0])
    before = image_of(memory)
    assert judged(memory, plan, before) == Findings()


# --- blocks that were read before


def test_any_bit_that_a_block_of_the_plan_has_gained_is_found() -> None:
    memory = made("esp32c3")
    plan = key_plan(memory)
    before = image_of(memory)
    memory.preset(9, 1 << 77)
    assert judged(memory, plan, before, sure={0, 4, 9}).stray == "BLOCK_KEY5 has 1 bits that nobody asked for"


def test_a_coding_error_is_found_where_nothing_was_to_be_burned() -> None:
    memory = made("esp32c3")
    plan = key_plan(memory)
    before = image_of(memory)
    memory.cells[2] ^= 1 << 300
    assert "BLOCK_SYS_DATA reports 1 coding errors" in judged(memory, plan, before).stray


def test_what_one_damaged_byte_of_a_single_reading_explains_is_told_only() -> None:
    memory = made("esp32c3")
    plan = key_plan(memory)
    held = image_of(memory)
    assert held.block(2)
    byte = next(n for n in range(32) if held.block(2) >> 8 * n & 0xFF and held.block(2) >> 8 * n + 8)
    damaged = held.with_blocks({2: held.block(2) & ~(0xFF << 8 * byte)})
    assert judged(memory, plan, damaged) == Findings(told="BLOCK_SYS_DATA")
    again = image_of(memory).with_blocks({2: held.block(2) & ~(0xFFFF << 8 * byte)})
    assert "BLOCK_SYS_DATA has" in judged(memory, plan, again).stray


def test_a_block_that_showed_nothing_has_gained_whatever_it_shows() -> None:
    memory = made("esp32c3")
    plan = key_plan(memory)
    before = image_of(memory)
    memory.preset(9, 1 << 5)
    assert "BLOCK_KEY5 has 1 bits" in judged(memory, plan, before).stray


def test_the_classic_chip_s_blocks_are_judged_in_their_own_coding() -> None:
    for settings in ({}, {"coding": "3/4"}):
        memory = make_product("esp32", mac=bytes(range(6)), settings=settings, rng=random.Random(1)).memory
        plan = key_plan(memory, KEY[: 24 if settings else 32])
        before = first_reading(memory, plan)
        words = plan.steps[0].writes[0].words
        memory.set_cells(3, sum(word << 32 * n for n, word in enumerate(words)))
        assert judged(memory, plan, before).stray == "BLOCK3 holds the data that was staged for BLOCK1"


def test_no_finding_shows_what_a_block_holds() -> None:
    memory = made("esp32c3")
    plan = key_plan(memory)
    before = first_reading(memory, plan)
    pulse(memory, 9, plan.steps[0])
    shown = repr(judged(memory, plan, before))
    assert not any(f"{word:x}" in shown for word in plan.steps[0].writes[0].words)
