"""The mirror of the programming registers, alone: what it writes, what it believes, what it forgets."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from parburn.chips.model import Chip, ControllerKind, RegisterWrite
from parburn.chips.registry import chip_named
from parburn.efuse.image import EfuseImage
from parburn.efuse.plan import BurnStep, plan_burns
from parburn.efuse.staging import StagedBurns, stage_key
from parburn.hardware.crystal import timing_for
from parburn.hardware.programming_registers import (
    BLOCK_NUMBER_SHIFT,
    CMD_PROGRAM,
    ClassicRegisters,
    PgmRegisters,
    ProgrammingRegisters,
)

KEY = bytes(range(0x51, 0x71))
OTHER = bytes(range(0xA1, 0xC1))
CHIPS = ("esp32c3", "esp32", "esp32s2", "esp32c2")


def registers(name: str, second: int | None = None) -> ProgrammingRegisters:
    chip = chip_named(name)
    if chip.controller is ControllerKind.CLASSIC:
        return ClassicRegisters(chip)
    return PgmRegisters(chip, lambda writes: second if second is not None and second < len(writes) else None)


def step_of(chip: Chip, key: bytes, number: int = 0) -> BurnStep:
    blocks = [block for block in chip.blocks if block.for_keys]
    image = EfuseImage(chip, {block.index: 0 for block in chip.blocks})
    block = blocks[number % len(blocks)]
    staged = StagedBurns()
    stage_key(image, staged, block, key[: image.block_bits(block.index) // 8], None, write_protect=False,
              read_protect=False)  # fmt: skip
    return plan_burns(image, staged).steps[0]


def after(held: Mapping[int, int], writes: tuple[RegisterWrite, ...]) -> dict[int, int]:
    """What registers hold once these writes are done."""
    now = dict(held)
    for one in writes:
        now[one.address] = now.get(one.address, 0) & ~one.mask | one.value & one.mask
    return now


def read(held: Mapping[int, int], addresses: tuple[int, ...]) -> dict[int, int]:
    return {address: held.get(address, 0) for address in addresses}


@pytest.mark.parametrize("name", CHIPS)
def test_the_writes_make_the_registers_hold_what_the_step_needs(name: str) -> None:
    chip, mirror = chip_named(name), registers(name)
    mirror.set_timing(timing_for(chip, next(iter(chip.timing))), {})
    held: dict[int, int] = {}
    for number, key in enumerate((KEY, OTHER, KEY)):
        step = step_of(chip, key, number)
        held = after(held, mirror.writes_for(step))
        assert mirror.accept(step, read(held, mirror.to_read_back(step)))
        assert read(held, tuple(mirror.wanted(step))) == mirror.wanted(step)
        mirror.begin_burn()


@pytest.mark.parametrize("name", CHIPS)
def test_only_what_differs_is_written_and_the_timing_once(name: str) -> None:
    chip, mirror = chip_named(name), registers(name)
    timing = timing_for(chip, next(iter(chip.timing)))
    mirror.set_timing(timing, {})
    step = step_of(chip, KEY)
    held = after({}, mirror.writes_for(step))
    assert mirror.accept(step, read(held, mirror.to_read_back(step)))
    assert not [one for one in mirror.writes_for(step) if one.mask]  # one that does nothing may stand there
    assert set(mirror.to_read_back(step)) == set(mirror.wanted(step))  # all data words, and no timing


@pytest.mark.parametrize("name", CHIPS)
def test_one_wrong_bit_anywhere_is_not_accepted_and_written_anew(name: str) -> None:
    chip = chip_named(name)
    timing = timing_for(chip, next(iter(chip.timing)))
    step = step_of(chip, KEY)
    whole = registers(name)
    whole.set_timing(timing, {})
    held = after({}, whole.writes_for(step))
    masks = {one.address: one.mask for one in timing}
    for address in whole.to_read_back(step):
        bit = (masks.get(address, 1) & -masks.get(address, 1)) or 1
        mirror = registers(name)
        mirror.set_timing(timing, {})
        mirror.writes_for(step)
        wrong = {**held, address: held.get(address, 0) ^ bit}
        assert not mirror.accept(step, read(wrong, mirror.to_read_back(step)))
        mended = after(wrong, mirror.writes_for(step))
        assert mirror.accept(step, read(mended, mirror.to_read_back(step)))


@pytest.mark.parametrize("name", CHIPS)
def test_timing_that_stands_there_is_read_back_and_not_written(name: str) -> None:
    chip, mirror = chip_named(name), registers(name)
    timing = timing_for(chip, next(iter(chip.timing)))
    mirror.set_timing(timing, {one.address: one.value for one in timing})
    step = step_of(chip, KEY)
    assert not {one.address for one in mirror.writes_for(step)} & {one.address for one in timing}
    assert {one.address for one in timing} <= set(mirror.to_read_back(step))


@pytest.mark.parametrize("name", CHIPS)
def test_nothing_is_taken_for_known_after_a_burn_or_a_restart(name: str) -> None:
    chip, mirror = chip_named(name), registers(name)
    step = step_of(chip, KEY)
    held = after({}, mirror.writes_for(step))
    assert mirror.accept(step, read(held, mirror.to_read_back(step)))
    mirror.begin_burn()
    written = {one.address for one in mirror.writes_for(step)}
    assert written == {address for address, word in mirror.wanted(step).items() if word}  # a zero stays
    mirror.forget()
    assert {one.address for one in mirror.writes_for(step)} == set(mirror.wanted(step))


@pytest.mark.parametrize("name", CHIPS)
def test_a_key_is_cleared_once_and_what_is_none_stays(name: str) -> None:
    chip, mirror = chip_named(name), registers(name)
    assert not mirror.clearing_writes()
    step = step_of(chip, KEY)
    held = after({}, mirror.writes_for(step))  # written, whether it was read back or not
    held = after(held, mirror.clearing_writes())
    assert not any(held.get(address, 0) for address in mirror.addresses)


def test_no_program_command_stands_at_the_place_of_cmd() -> None:
    chip = chip_named("esp32c3")
    for second in range(12):
        mirror = registers("esp32c3", second)
        writes = mirror.writes_for(step_of(chip, KEY))
        assert not writes[second].value & CMD_PROGRAM
        wanted = mirror.wanted(step_of(chip, KEY))
        assert after({}, writes).items() >= {a: w for a, w in wanted.items() if w}.items()


def test_the_block_number_is_written_without_a_command() -> None:
    chip = chip_named("esp32c3")
    step = step_of(chip, KEY)
    number = registers("esp32c3").wanted(step)[chip.registers["CMD"]]
    assert number == step.writes[0].block.index << BLOCK_NUMBER_SHIFT
    assert not number & 3
