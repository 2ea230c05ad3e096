"""The installed station on simulated sockets: a verdict for each board, whatever is done with it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from parburn.sim.control_client import ControlledRig
from tests.station.at_work import SCRIPT, arm, command, make_job, running


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[ControlledRig]:
    with ControlledRig("esp32c3:4", folder=tmp_path / "rig", lines=True) as one:
        yield one


def test_boards_pass_one_after_the_other_and_the_first_article_is_alone(
    tmp_path: Path, rig: ControlledRig
) -> None:
    job = make_job(tmp_path, rig)
    armed = arm(job)
    assert armed.returncode == 0, armed.stderr
    with running(job, "--operator", "Ada") as station:
        for number in (0, 1):
            rig.insert(number)
        found = [station.until(lambda one: one.get("state") == "verdict", "a verdict") for _ in range(2)]
        assert {one["word"] for one in found} == {"PASS"}
        assert sorted(one["index"] for one in found) == [1, 2]
        assert any(one.get("state") == "hold" for one in station.said), "the second one waited for the first"
        name = rig.remove(0)
        station.state("A1", "empty")
        rig.insert(0, name)
        again = station.verdict("A1", "PASS")
        assert again["hollow"]
        assert station.stop() == 0
    assert rig.witness().during_burns == 0
    assert command("ledger", "verify", "--ledger", str(tmp_path / "ledger.sqlite3")).returncode == 0


def test_a_job_that_is_not_armed_or_was_changed_does_not_start(tmp_path: Path, rig: ControlledRig) -> None:
    job = make_job(tmp_path, rig)
    bare = command("station", str(job), "--json")
    assert bare.returncode == 2
    assert "not armed" in bare.stderr
    assert arm(job).returncode == 0
    (tmp_path / "burn.py").write_text(SCRIPT + "# one word more\n")
    changed = command("station", str(job), "--json")
    assert changed.returncode == 2
    assert "burn.py was changed since the job was armed" in changed.stderr


def test_a_second_station_on_the_slots_is_refused(tmp_path: Path, rig: ControlledRig) -> None:
    job = make_job(tmp_path, rig)
    assert arm(job).returncode == 0
    with running(job) as station:
        station.until(lambda one: one["event"] == "station", "start")
        second = command("station", str(job), "--json")
        assert second.returncode == 2
        assert f"process {station.process.pid}" in second.stderr


def test_statistics_that_cannot_be_read_are_told_and_harm_nothing(tmp_path: Path, rig: ControlledRig) -> None:
    job = make_job(tmp_path, rig)
    assert arm(job).returncode == 0
    (tmp_path / "ledger.sqlite3.sockets.sqlite3").write_text("no database" * 100)
    with running(job) as station:
        note = station.until(lambda one: one["event"] == "note", "a note")
        assert "set aside" in note["text"]
        assert note["level"] == "warning"
        rig.insert(0)
        station.verdict("A1", "PASS")
        assert station.stop() == 0


def test_a_board_pulled_in_mid_burn_is_asked_back_and_goes_on_by_itself(
    tmp_path: Path, rig: ControlledRig
) -> None:
    job = make_job(tmp_path, rig, more="first_article = 0\n")
    assert arm(job).returncode == 0
    with running(job) as station:
        rig.fault(0, "the port vanishes after 2100 bytes")
        board = rig.insert(0)
        left = station.verdict("A1")
        assert "put it back" in left["detail"]
        rig.remove(0)  # its tty is gone already
        rig.insert(0)  # another one: it waits
        station.state("A1", "hold")
        rig.remove(0)
        assert "put it back" in station.verdict("A1", "LEAVE IN")["detail"]
        rig.insert(0, board.name)
        assert station.verdict("A1", "PASS")["mac"] == board.mac
        assert station.stop() == 0


def test_a_chip_in_two_sockets_is_refused_in_both_places(tmp_path: Path, rig: ControlledRig) -> None:
    job = make_job(tmp_path, rig, more="first_article = 0\n")
    assert arm(job).returncode == 0
    with running(job) as station:
        rig.insert(0)
        station.verdict("A1", "PASS")
        rig.clone(0, 1)
        second = station.verdict("A2")
        assert second["word"] == "RED BIN"
        assert "A1" in second["detail"]
        assert station.stop() == 0


def test_dead_boards_lock_their_socket_until_it_is_unlocked(tmp_path: Path, rig: ControlledRig) -> None:
    job = make_job(tmp_path, rig, more="first_article = 0\nretries = 1\n[stop]\nconsecutive_failures = 2\n")
    assert arm(job).returncode == 0
    with running(job) as station:
        rig.dead(0)
        assert station.verdict("A1", "RETRY")["state"] == "verdict"
        rig.remove(0)
        station.state("A1", "empty")
        rig.dead(0)
        station.state("A1", "locked")
        rig.remove(0)
        said = command("station", "unlock", "A1", "--job", str(job))
        assert said.returncode == 0, said.stderr
        station.state("A1", "empty")
        rig.insert(0)
        station.verdict("A1", "PASS")
        assert "not locked" in command("station", "unlock", "A2", "--job", str(job)).stderr
        assert station.stop() == 0


def test_a_script_that_burns_otherwise_than_armed_halts_until_somebody_says_why(
    tmp_path: Path, rig: ControlledRig
) -> None:
    script = SCRIPT + "if not args.rehearsal: espefuse(esp, efuses, args, 'burn_efuse DIS_PAD_JTAG 1')\n"
    job = make_job(tmp_path, rig, script=script, more="first_article = 0\n")
    assert arm(job).returncode == 0
    with running(job) as station:
        rig.insert(0)
        station.verdict("A1", "LEAVE IN")
        assert any(one["event"] == "halt" for one in station.said)
        assert station.stop() == 0
    with running(job) as station:  # a halt outlives its station
        rig.insert(1)
        assert "halted" in station.state("A2", "hold")["detail"]
        said = command("station", "resume", "--why", "looked at it", "--job", str(job))
        assert said.returncode == 0, said.stderr
        station.verdict("A2", "LEAVE IN")
        assert station.stop() == 0


def test_rules_that_are_turned_off_lock_no_socket_and_halt_nothing(
    tmp_path: Path, rig: ControlledRig
) -> None:
    script = SCRIPT + "if not args.rehearsal: raise ValueError('a record of the line')\n"
    rules = "[stop]\nconsecutive_failures = 0\nsame_script_error_on = 0\n"
    job = make_job(tmp_path, rig, script=script, more=f"first_article = 0\nretries = 1\n{rules}")
    assert arm(job).returncode == 0
    with running(job) as station:
        for _ in range(3):
            rig.insert(0)
            assert station.verdict("A1", "RETRY")["state"] == "verdict"
            rig.remove(0)
            station.state("A1", "empty")
        rig.dead(1)
        assert station.verdict("A2", "RETRY")["state"] == "verdict"
        assert station.stop() == 0
    assert not any(one["event"] == "halt" for one in station.said)
