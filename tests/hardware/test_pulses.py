"""No frame that is cut or damaged burns what was not planned: two kinds whole, and each rule switched off.

`python -m tests.pulses --all` tries all kinds.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import pytest

from parburn.chips.model import RegisterWrite
from parburn.hardware import controller, crystal
from parburn.hardware import rom_loader as rom
from parburn.hardware.burst_frames import WriteGuard
from parburn.hardware.controller import Controller, PgmController
from parburn.hardware.programming_registers import (
    CMD_PROGRAM,
    ClassicRegisters,
    PgmRegisters,
    ProgrammingRegisters,
)
from parburn.hardware.rom_loader import RomLoader
from tests.pulses.__main__ import USUAL
from tests.pulses.faults import Fault
from tests.pulses.record import Setup, jobs_of, setups
from tests.pulses.replay import Replay
from tests.pulses.rom import ENTRY_BYTES, WRITE_REG
from tests.pulses.whole import judged, judged_kills

SETUPS = {one.name: one for one in setups()}
NUMBER_BITS = 4
FEW_PAIRS = 20_000
LEDGERS_IN_SUITE = {"esp32c3-v0.2": (True,), "esp32-v3.0": (True, False)}  # all of it is `--all`


@pytest.mark.long
@pytest.mark.parametrize("name", USUAL)
def test_no_fault_burns_what_was_not_planned(name: str) -> None:
    found = judged(SETUPS[name], pairs=FEW_PAIRS, ledgers=LEDGERS_IN_SUITE[name])
    assert not found.harmful, "\n".join(found.harmful[:20])
    assert found.singles.faults > 100_000
    assert found.killed.faults > 100_000


def test_the_known_pairs_are_the_four_bits_of_the_number_and_do_burn_another_block() -> None:
    job = jobs_of(SETUPS["esp32c3-v0.2"])[0]
    assert job.plan is not None
    found = Replay(job).known_pairs()
    assert found.faults == len(found.harmful) == NUMBER_BITS * len(job.plan.steps)


def test_every_kind_is_recorded_as_the_model_knows_it() -> None:
    """What the model of the ROM answers to undamaged frames is what the simulator answers, and each planned
    pulse was read back and recorded before."""
    for setup in setups():
        for job in jobs_of(setup):
            assert not Replay(job).doubts, job.name


# --- each rule switched off

Patch = Callable[[pytest.MonkeyPatch], None]


def no_number_in_the_command(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(PgmController, "_program_value", lambda self, step: CMD_PROGRAM)


def no_harmless_read_behind_a_poll(patch: pytest.MonkeyPatch) -> None:
    whole = RomLoader.guard_writes

    def without(self: RomLoader, guard: WriteGuard) -> None:
        whole(self, guard._replace(unsafe=-1))

    patch.setattr(rom.RomLoader, "guard_writes", without)


def op_code_stays_in_conf(patch: pytest.MonkeyPatch) -> None:
    whole = Controller._read_command
    patch.setattr(Controller, "_read_command", lambda self: whole(self)[1:])


def staged_words_at_the_place_of_cmd(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(PgmRegisters, "_no_command_second", lambda self, entries: entries)


def timing_is_staged_first(patch: pytest.MonkeyPatch) -> None:
    def arranged(self: PgmRegisters, writes: tuple[RegisterWrite, ...]) -> tuple[RegisterWrite, ...]:
        data = {*self.addresses, self._cmd}
        return (
            *(one for one in writes if one.address not in data),
            *sorted((one for one in writes if one.address in data), reverse=True),
        )

    patch.setattr(PgmRegisters, "_arranged", arranged)


def conf_is_cleared_whatever_stands_beside_it(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(controller, "_no_op_code", lambda chip, timing: RegisterWrite(chip.registers["CONF"], 0))


def timing_beside_a_zero_is_not_read_back(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ClassicRegisters, "to_read_back", ProgrammingRegisters.to_read_back)


def timing_that_stands_there_is_written(patch: pytest.MonkeyPatch) -> None:
    whole = ProgrammingRegisters.set_timing
    patch.setattr(ProgrammingRegisters, "set_timing", lambda self, timing, reading: whole(self, timing, {}))


def two_frames_share_no_second_end(patch: pytest.MonkeyPatch) -> None:
    whole = RomLoader._exchange

    def without(self: RomLoader, frames: list[bytes], *rest: Any, **more: Any) -> Any:
        return whole(self, [b"\xc0" + frame.lstrip(b"\xc0") for frame in frames], *rest, **more)

    patch.setattr(RomLoader, "_exchange", without)


RULES: tuple[tuple[Patch, str], ...] = (
    (no_number_in_the_command, "esp32c3-v0.2"),
    (no_harmless_read_behind_a_poll, "esp32c3-v0.2"),
    (op_code_stays_in_conf, "esp32c3-v0.2"),
    (staged_words_at_the_place_of_cmd, "esp32s3-v0.2"),
    (timing_is_staged_first, "esp32c3-v0.2"),
    (conf_is_cleared_whatever_stands_beside_it, "esp32s2-v0.2"),
    (conf_is_cleared_whatever_stands_beside_it, "esp32c5-v0.2"),
    (timing_beside_a_zero_is_not_read_back, "esp32-v3.0"),
    (timing_that_stands_there_is_written, "esp32c3-v0.2"),
)


def harm_of_single_faults(setup: Setup) -> int:
    """In the first two jobs."""
    return sum(len(Replay(job).singles().harmful) for job in jobs_of(setup)[:2])


def harm_of_a_lost_end_and_a_cut_staging(setup: Setup) -> int:
    """The frame that takes the op code out is cut, and the tail of one that stages is lost."""
    replay, found = Replay(jobs_of(setup)[1]), 0
    for breath, frames in enumerate(replay.breaths):
        staging = [n for n, one in enumerate(frames) if n > 2 and one.body[1] == WRITE_REG]
        if staging and frames[0].address == replay.registers.conf:
            for cut in range(1, 12):
                for hollow in range(20, 28):
                    faults = ((0, Fault("cut", cut)), (staging[0], Fault("hollow", hollow)))
                    found += bool(replay.harm_of(breath, faults)[0])
    return found


def test_a_lost_end_takes_one_frame_only(monkeypatch: pytest.MonkeyPatch) -> None:
    setup = SETUPS["esp32p4-v0.2"]
    assert not harm_of_a_lost_end_and_a_cut_staging(setup)
    two_frames_share_no_second_end(monkeypatch)
    assert harm_of_a_lost_end_and_a_cut_staging(setup)


@pytest.mark.parametrize(("rule", "name"), RULES, ids=lambda one: getattr(one, "__name__", one))
def test_a_rule_that_is_off_is_found(rule: Patch, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rule(monkeypatch)
    assert harm_of_single_faults(SETUPS[name])


@pytest.mark.long
def test_timing_of_a_chip_that_was_not_reset_is_read_back_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crystal, "whole_timing", lambda chip, writes, reading: writes)
    assert judged_kills(SETUPS["esp32s2-v0.2"], ledgers=(True,)).killed.harmful


def test_the_first_write_of_each_job_takes_an_op_code_out_of_conf() -> None:
    for setup in setups():
        conf = setup.kind.chip.registers["CONF"]
        for job in jobs_of(setup):
            written = (f for breath in Replay(job).breaths for f in breath if f.body[1] == WRITE_REG)
            first = next(written)
            assert first.address == conf, job.name
            assert len(first.body) == 8 + ENTRY_BYTES
            value, mask = struct.unpack_from("<II", first.body, 12)
            for op_code in (controller.CONF_PROGRAM, controller.CONF_READ):
                left = (op_code & ~mask | value & mask) & controller.OP_CODE_MASK
                assert left not in (controller.CONF_PROGRAM, controller.CONF_READ)


@pytest.mark.parametrize("name", ["esp32s2-v0.2", "esp32c5-v0.2", "esp32s3-v0.2", "esp32c2-v0.2"])
def test_none_is_found_where_the_rules_hold(name: str) -> None:
    assert not harm_of_single_faults(SETUPS[name])
