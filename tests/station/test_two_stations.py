"""Two stations, a run and a look at the ports beside each other, on one machine and one ledger."""

from __future__ import annotations

import subprocess
from pathlib import Path

from parburn.sim.control_client import ControlledRig
from tests.command import COMMAND, environment
from tests.station.at_work import (
    SCRIPT,
    arm,
    bits_of,
    boards_in,
    command,
    make_job,
    running,
    units,
    until_units,
)
from tests.station.killed_at_once import BURNED, held_script

FREE = "first_article = 0\n"
BOARDS = 6


def with_ledger(job: Path, ledger: Path) -> Path:
    """Let a job use another ledger than that beside it."""
    job.write_text(job.read_text().replace('path = "ledger.sqlite3"', f'path = "{ledger}"'))
    return job


def jobs_on_one_ledger(base: Path, *rigs: ControlledRig) -> list[Path]:
    """Arm the same job for each rig, all with one ledger."""
    found = []
    for number, rig in enumerate(rigs):
        folder = base / f"line{number}"
        folder.mkdir()
        job = with_ledger(make_job(folder, rig, more=FREE), base / "ledger.sqlite3")
        new = () if (base / "ledger.sqlite3").exists() else ("--new-ledger",)
        done = subprocess.run(
            [str(COMMAND), "arm", str(job), "--operator", "E", "--yes-burn", *new],
            capture_output=True,
            text=True,
            env=environment(base / "state"),
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        found.append(job)
    return found


def test_two_stations_on_one_ledger_double_nothing(tmp_path: Path) -> None:
    with (
        ControlledRig(f"esp32c3:{BOARDS}", folder=tmp_path / "rig0", lines=True) as left,
        ControlledRig(f"esp32c3:{BOARDS}", folder=tmp_path / "rig1", lines=True) as right,
    ):
        first, second = jobs_on_one_ledger(tmp_path, left, right)
        with running(first) as one, running(second) as other:
            for station in (one, other):
                station.until(lambda said: said["event"] == "station", "start")
            for number in range(BOARDS):
                left.insert(number)
                right.insert(number)
            found = [*one.verdicts(BOARDS).values(), *other.verdicts(BOARDS).values()]
            assert {said["word"] for said in found} == {"PASS"}, found
            assert sorted(said["index"] for said in found) == list(range(1, 2 * BOARDS + 1))
            assert one.stop() == 0
            assert other.stop() == 0
        values = [
            bits_of(rig, board)["BLOCK_USR_DATA"]
            for rig in (left, right)
            for board in boards_in(rig).values()
        ]
        assert len(set(values)) == len(values)
        assert left.witness().during_burns == right.witness().during_burns == 0
    assert sorted(unit.number or 0 for unit in units(tmp_path).values()) == list(range(1, 2 * BOARDS + 1))
    assert command("ledger", "verify", "--ledger", str(tmp_path / "ledger.sqlite3")).returncode == 0


def test_a_run_beside_a_station_doubles_nothing_and_leaves_its_boards_alone(tmp_path: Path) -> None:
    hold = tmp_path / "hold"
    with ControlledRig("esp32c3:4", folder=tmp_path / "rig", lines=True) as rig:
        job = make_job(tmp_path, rig, script=held_script(hold), more=FREE)
        slots = tmp_path / "rig.slots.toml"
        lines = slots.read_text().splitlines()
        slots.write_text("\n".join(lines[:3]) + "\n")  # A1 and A2 are the station's
        assert arm(job).returncode == 0
        (tmp_path / "plain.py").write_text(SCRIPT)
        hold.touch()
        with running(job) as station:
            rig.insert(0)
            until_units(tmp_path, 1, *BURNED)
            for number in (2, 3):
                rig.insert(number)
            run = command(
                "run", "--ports", *rig.ports[2:], "--scripts", str(tmp_path / "plain.py"), "--do-not-confirm",
                "--json", "--ledger", str(tmp_path / "ledger.sqlite3"), "--batch", "beside",
            )  # fmt: skip
            assert run.returncode == 0, run.stdout + run.stderr
            taken = command(
                "run", "--ports", rig.ports[0], "--scripts", str(tmp_path / "plain.py"), "--do-not-confirm",
                "--json", "--ledger", str(tmp_path / "ledger.sqlite3"), "--batch", "beside",
            )  # fmt: skip
            assert taken.returncode != 0
            hold.unlink()
            assert station.verdict("A1", "PASS")["index"] == 1
            assert station.stop() == 0
        values = [bits_of(rig, board)["BLOCK_USR_DATA"] for board in boards_in(rig).values()]
        assert len(set(values)) == 3
        assert rig.witness().during_burns == 0


def test_a_look_at_the_ports_moves_no_line_while_boards_burn(tmp_path: Path) -> None:
    slow = ("--baud-limit", "115200")
    with ControlledRig(f"esp32c3:{BOARDS + 1}", folder=tmp_path / "rig", lines=True, options=slow) as rig:
        job = make_job(tmp_path, rig, more=FREE)
        slots = tmp_path / "rig.slots.toml"
        slots.write_text("\n".join(slots.read_text().splitlines()[: BOARDS + 1]) + "\n")
        assert arm(job).returncode == 0
        looks = 0
        with running(job) as station:
            station.until(lambda one: one["event"] == "station", "start")
            rig.insert(BOARDS)  # that one is not the station's: it is looked at again and again
            for number in range(BOARDS):
                rig.insert(number)
                seen = command("ports", "--probe", "--ports", rig.ports[BOARDS], "--json")
                assert seen.returncode == 0, seen.stderr
                looks += "esp32c3" in seen.stdout.lower()
            busy = command("ports", "--probe", "--ports", rig.ports[0], "--json")
            assert "esp32c3" not in busy.stdout.lower(), "the station holds that one"
            found = station.verdicts(BOARDS)
            assert {said["word"] for said in found.values()} == {"PASS"}
            assert station.stop() == 0
        assert looks >= BOARDS - 1
        witness = rig.witness()
        assert witness.moves > 2 * BOARDS
        assert witness.during_burns == 0
