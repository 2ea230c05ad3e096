"""No frame that is cut or damaged burns what was not planned: two kinds whole, and each rule switched off.

`python -m tests.pulses --all` tries all kinds.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from parburn import controller, rom
from parburn.chips.model import RegisterWrite
from parburn.controller import ClassicController, Controller, PgmController
from parburn.rom import RomLoader, WriteGuard
from tests.pulses.__main__ import USUAL
from tests.pulses.record import Setup, jobs_of, setups
from tests.pulses.replay import Replay
from tests.pulses.whole import judged, judged_kills

SETUPS = {one.name: one for one in setups()}
NUMBER_BITS = 4
FEW_PAIRS = 20_000


@pytest.mark.parametrize("name", USUAL)
def test_no_fault_burns_what_was_not_planned(name: str) -> None:
    found = judged(SETUPS[name], pairs=FEW_PAIRS)
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
    patch.setattr(PgmController, "_program_value", lambda self, step: controller.CMD_PROGRAM)


def no_harmless_read_behind_a_poll(patch: pytest.MonkeyPatch) -> None:
    whole = RomLoader.guard_writes

    def without(self: RomLoader, guard: WriteGuard) -> None:
        whole(self, guard._replace(unsafe=-1))

    patch.setattr(rom.RomLoader, "guard_writes", without)


def op_code_stays_in_conf(patch: pytest.MonkeyPatch) -> None:
    whole = Controller._read_command
    patch.setattr(Controller, "_read_command", lambda self: whole(self)[1:])


def first_write_is_any(patch: pytest.MonkeyPatch) -> None:
    whole = RomLoader.guard_writes

    def without(self: RomLoader, guard: WriteGuard) -> None:
        whole(self, guard)
        self._first_written = True

    patch.setattr(rom.RomLoader, "guard_writes", without)


def staged_words_at_the_place_of_cmd(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(PgmController, "_no_command_second", lambda self, entries, number: entries)


def timing_is_staged_first(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        PgmController, "_arranged", lambda self, writes, timing: (*timing, *sorted(writes, reverse=True))
    )


def conf_is_cleared_whatever_stands_beside_it(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(controller, "_no_op_code", lambda conf, timing: RegisterWrite(conf, 0))


def timing_beside_a_zero_is_not_read_back(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ClassicController, "_staging_addresses", Controller._staging_addresses)


RULES: tuple[tuple[Patch, str], ...] = (
    (no_number_in_the_command, "esp32c3-v0.2"),
    (no_harmless_read_behind_a_poll, "esp32c3-v0.2"),
    (op_code_stays_in_conf, "esp32c3-v0.2"),
    (staged_words_at_the_place_of_cmd, "esp32s3-v0.2"),
    (timing_is_staged_first, "esp32c3-v0.2"),
    (conf_is_cleared_whatever_stands_beside_it, "esp32s2-v0.2"),
    (conf_is_cleared_whatever_stands_beside_it, "esp32c5-v0.2"),
    (timing_beside_a_zero_is_not_read_back, "esp32-v3.0"),
)


def harm_of_single_faults(setup: Setup) -> int:
    """In the first two jobs."""
    return sum(len(Replay(job).singles().harmful) for job in jobs_of(setup)[:2])


@pytest.mark.parametrize(("rule", "name"), RULES, ids=lambda one: getattr(one, "__name__", one))
def test_a_rule_that_is_off_is_found(rule: Patch, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rule(monkeypatch)
    assert harm_of_single_faults(SETUPS[name])


def test_a_first_write_that_is_not_conf_is_found_behind_a_kill(monkeypatch: pytest.MonkeyPatch) -> None:
    first_write_is_any(monkeypatch)
    assert judged_kills(SETUPS["esp32c3-v0.2"]).killed.harmful


def test_an_earlier_run_that_nothing_covers_is_found_behind_a_kill(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Controller, "_covering", lambda self: rom.WriteRegs(()))
    assert judged_kills(SETUPS["esp32-v3.0"]).killed.harmful


@pytest.mark.parametrize("name", ["esp32s2-v0.2", "esp32c5-v0.2", "esp32s3-v0.2", "esp32c2-v0.2"])
def test_none_is_found_where_the_rules_hold(name: str) -> None:
    assert not harm_of_single_faults(SETUPS[name])
