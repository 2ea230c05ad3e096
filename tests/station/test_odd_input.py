"""Names, numbers and words that nobody expects, given to the installed station."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from parburn.sim.control_client import ControlledRig
from tests.station.at_work import arm, command, make_job, running

FREE = "first_article = 0\n"


@pytest.mark.parametrize("name", ["\\u001b[31mred\\u0007", "a\\nb", "x" * 3000, " ", "../../up"])
def test_odd_names_of_jobs_are_refused_or_shown_in_one_line(tmp_path: Path, name: str) -> None:
    with ControlledRig("esp32c3:1", folder=tmp_path / "rig", lines=True) as rig:
        job = make_job(tmp_path, rig, more=FREE)
        job.write_text(job.read_text().replace('name = "job"', f'name = "{name}"'))
        armed = arm(job)
        assert "\x1b" not in armed.stdout + armed.stderr
        assert "\x07" not in armed.stdout + armed.stderr
        assert "Traceback" not in armed.stderr
        if armed.returncode:
            assert armed.returncode == 2, armed.stderr
            assert "name" in armed.stderr
            return
        with running(job) as station:
            rig.insert(0)
            station.verdict("A1", "PASS")
            assert station.stop() == 0


@pytest.mark.parametrize("slot", ["unlock", "resume", "PASS", "station"])
def test_a_slot_may_be_named_like_a_word(tmp_path: Path, slot: str) -> None:
    with ControlledRig("esp32c3:1", folder=tmp_path / "rig", lines=True) as rig:
        job = make_job(tmp_path, rig, more=f"{FREE}retries = 1\n[stop]\nconsecutive_failures = 1\n")
        slots = tmp_path / "rig.slots.toml"
        slots.write_text(slots.read_text().replace("A1 =", f"{slot} ="))
        armed = arm(job)
        if armed.returncode:
            assert slot in armed.stderr
            return
        with running(job) as station:
            rig.dead(0)
            station.state(slot, "locked")
            rig.remove(0)
            said = command("station", "unlock", slot, "--job", str(job))
            assert said.returncode == 0, said.stderr
            station.state(slot, "empty")
            assert station.stop() == 0


@pytest.mark.parametrize("operator", ["O" * 5000, "\x1b[2J\x07Ada\nGrace", "Ünsal 王"])
def test_odd_operators_are_kept_and_steer_no_terminal(tmp_path: Path, operator: str) -> None:
    with ControlledRig("esp32c3:1", folder=tmp_path / "rig", lines=True) as rig:
        job = make_job(tmp_path, rig, more=FREE)
        assert arm(job).returncode == 0
        with running(job, "--operator", operator) as station:
            rig.insert(0)
            station.verdict("A1", "PASS")
            assert "\x1b" not in json.dumps(station.said, ensure_ascii=False)
            assert station.stop() == 0
        ledger = str(tmp_path / "ledger.sqlite3")
        assert command("ledger", "verify", "--ledger", ledger).returncode == 0


def test_no_slots_are_refused(tmp_path: Path) -> None:
    with ControlledRig("esp32c3:1", folder=tmp_path / "rig", lines=True) as rig:
        job = make_job(tmp_path, rig, more=FREE)
        (tmp_path / "rig.slots.toml").write_text("[slots]\n")
        armed = arm(job)
        said = armed if armed.returncode else command("station", str(job), "--json")
        assert said.returncode == 2
        assert "slot" in said.stderr


def test_256_slots_open_and_a_few_of_them_burn(tmp_path: Path) -> None:
    with ControlledRig("esp32c3:8", folder=tmp_path / "rig", lines=True) as rig:
        job = make_job(tmp_path, rig, more=FREE)
        more = [f'B{n} = {{ place = "{tmp_path}/rig/ttyUSB{n}", kind = "plug" }}' for n in range(8, 256)]
        slots = tmp_path / "rig.slots.toml"
        slots.write_text(slots.read_text() + "\n".join(more) + "\n")
        assert arm(job).returncode == 0
        with running(job) as station:
            start = station.until(lambda one: one["event"] == "station", "start")
            assert len(start["sockets"]) == 256
            for number in range(8):
                rig.insert(number)
            assert {one["word"] for one in station.verdicts(8).values()} == {"PASS"}
            assert station.stop() == 0
