"""The installed station is killed, stopped and started again: begun boards, halts, records, other folders."""

from __future__ import annotations

import json
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from parburn.sim.control_client import ControlledRig
from tests.station.at_work import (
    SCRIPT,
    arm,
    command,
    make_job,
    running,
    units,
    until_units,
)
from tests.station.killed_at_once import BURNED, FREE, held_job, kill_and_rearm

SOCKETS = 4
MANY = 16


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[ControlledRig]:
    with ControlledRig(f"esp32c3:{SOCKETS}", folder=tmp_path / "rig", lines=True) as one:
        yield one


def test_boards_begun_under_another_arming_wait_unchanged_for_theirs(tmp_path: Path) -> None:
    found = kill_and_rearm(tmp_path, MANY)
    seconds = found.pop("seconds")
    assert seconds
    assert found == {
        "boards": MANY,
        "refused": [["RED BIN", "begun under the job armed on", MANY]],
        "scripts ran": False,
        "halted": False,
        "unchanged": MANY,
        "same arming": True,
        "passed": [["PASS", "", MANY]],
        "quarantined": 0,
        "same index": MANY,
        "moves during burns": 0,
        "ledger verified": True,
    }


def test_a_killed_board_goes_on_by_itself_once_and_then_on_an_engineers_word(
    tmp_path: Path, rig: ControlledRig
) -> None:
    job, hold = held_job(tmp_path, rig)
    with running(job) as station:
        rig.insert(0)
        until_units(tmp_path, 1, *BURNED)
        station.kill()
    with running(job) as station:  # it goes on by itself, and is killed once more
        station.state("A1", "burning")
        until_units(tmp_path, 1, *BURNED)
        station.kill()
    hold.unlink()
    with running(job) as station:
        waits = station.verdict("A1", "LEAVE IN")
        assert "parburn station resume A1" in waits["detail"] or "an engineer" in waits["detail"]
        bare = command("station", "resume", "A1", "--job", str(job))
        assert bare.returncode == 2
        assert "reason" in bare.stderr
        said = command("station", "resume", "A1", "--why", "the supply was weak", "--job", str(job))
        assert said.returncode == 0, said.stderr
        assert station.verdict("A1", "PASS")["index"] == 1
        assert station.stop() == 0
    history = command("ledger", "history", "1", "--ledger", str(tmp_path / "ledger.sqlite3"))
    assert "the supply was weak" in history.stdout, history.stdout + history.stderr


def test_a_killed_board_goes_on_by_itself(tmp_path: Path, rig: ControlledRig) -> None:
    job, hold = held_job(tmp_path, rig)
    with running(job) as station:
        rig.insert(0)
        rig.insert(1)
        until_units(tmp_path, 2, *BURNED)
        station.kill()
    hold.unlink()
    rig.swap(1)  # another board sits where one was begun
    with running(job) as station:
        found = station.verdicts(2)
        assert {one["word"] for one in found.values()} == {"PASS"}
        assert sorted(one["index"] for one in found.values()) in ([1, 3], [2, 3])
        assert station.stop() == 0


HALTING = SCRIPT + "if not args.rehearsal: espefuse(esp, efuses, args, 'burn_efuse DIS_PAD_JTAG 1')\n"


def halted(job: Path, rig: ControlledRig) -> None:
    """Let a station of this job halt, and end."""
    with running(job) as station:
        rig.insert(0)
        station.verdict("A1", "LEAVE IN")
        station.kill()
    rig.remove(0)


def test_a_halt_ends_when_the_job_is_armed_again(tmp_path: Path, rig: ControlledRig) -> None:
    job = make_job(tmp_path, rig, script=HALTING, more=FREE)
    assert arm(job).returncode == 0
    halted(job, rig)
    with running(job) as station:
        rig.insert(1)
        assert "halted" in station.state("A2", "hold")["detail"]
        station.kill()
    (tmp_path / "burn.py").write_text(SCRIPT)
    assert arm(job).returncode == 0
    with running(job) as station:
        station.verdict("A2", "PASS")
        assert station.stop() == 0


def test_resume_is_kept_for_the_next_start_and_used_once(tmp_path: Path, rig: ControlledRig) -> None:
    job = make_job(tmp_path, rig, script=HALTING, more=FREE)
    assert arm(job).returncode == 0
    halted(job, rig)
    said = command("station", "resume", "--why", "seen to", "--job", str(job))
    assert said.returncode == 0, said.stderr
    assert "kept for the next start" in said.stdout
    with running(job) as station:
        rig.insert(1)
        resumed = station.until(lambda one: one["event"] == "resumed", "resumed")
        assert resumed["why"] == "seen to"
        station.verdict("A2", "LEAVE IN")  # the same script: it halts anew
        assert station.stop() == 0
    rig.remove(1)
    with running(job) as station:
        rig.insert(2)
        assert "halted" in station.state("A3", "hold")["detail"]
        assert station.stop() == 0


def test_a_copied_folder_and_a_missing_ledger_are_refused(tmp_path: Path, rig: ControlledRig) -> None:
    here = tmp_path / "here"
    here.mkdir()
    job = make_job(here, rig)
    assert arm(job).returncode == 0
    ledger = here / "ledger.sqlite3"
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("burn.py", "rig.slots.toml", "job.toml", "job.armed"):
        shutil.copy(here / name, copy / name)
    missing = command("station", str(copy / "job.toml"), "--json")
    assert missing.returncode == 2
    assert "ledger" in missing.stderr
    assert not (copy / "ledger.sqlite3").exists(), "nothing was made"
    made = command("ledger", "init", "--ledger", str(copy / "ledger.sqlite3"), "--why", "a second PC")
    assert made.returncode == 0, made.stderr
    other = command("station", str(copy / "job.toml"), "--json")
    assert other.returncode == 2
    assert "the ledger is another one" in other.stderr
    ledger.unlink()
    gone = command("station", str(job), "--json")
    assert gone.returncode == 2
    assert not ledger.exists(), "nothing was made"


def test_a_first_article_is_not_asked_for_again_under_the_same_arming(
    tmp_path: Path, rig: ControlledRig
) -> None:
    job = make_job(tmp_path, rig)
    assert arm(job).returncode == 0
    with running(job) as station:
        rig.insert(0)
        station.verdict("A1", "PASS")
        station.kill()
    with running(job) as station:
        station.verdict("A1", "PASS")
        for number in (1, 2):
            rig.insert(number)
        station.verdicts(2)
        assert "hold" not in station.states()
        assert station.stop() == 0
    (tmp_path / "burn.py").write_text(SCRIPT + "# anew\n")
    assert arm(job).returncode == 0
    for number in (1, 2):
        rig.swap(number)
    with running(job) as station:
        found = station.verdicts(3)
        assert {one["word"] for one in found.values()} == {"PASS"}
        assert found["A1"]["hollow"]
        assert "hold" in station.states()
        assert station.stop() == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_one_signal_lets_a_burn_come_to_its_end(tmp_path: Path, rig: ControlledRig, number: int) -> None:
    job, hold = held_job(tmp_path, rig)
    with running(job) as station:
        rig.insert(0)
        until_units(tmp_path, 1, *BURNED)
        station.process.send_signal(number)
        time.sleep(0.3)
        rig.insert(1)  # too late: it does not begin
        time.sleep(0.7)
        hold.unlink()
        station.verdict("A1", "PASS")
        assert station.close() == 0
    assert [one.state for one in units(tmp_path).values() if one.attempts] == ["pass"]


def test_two_signals_stop_between_two_burns_and_the_board_goes_on_at_the_next_start(
    tmp_path: Path, rig: ControlledRig
) -> None:
    job, hold = held_job(tmp_path, rig)
    with running(job) as station:
        rig.insert(0)
        until_units(tmp_path, 1, *BURNED)
        station.process.send_signal(signal.SIGINT)
        time.sleep(0.3)
        began = time.monotonic()
        station.process.send_signal(signal.SIGINT)
        assert station.close() == 0
        assert time.monotonic() - began < 15
    hold.unlink()
    assert [one.state for one in units(tmp_path).values()] == ["incomplete"]
    with running(job) as station:
        station.verdict("A1", "PASS")
        assert station.stop() == 0


RECORDS = """\
entry = json.load(args.configfiles[0])[str(args.index)]
espefuse(esp, efuses, args, 'burn_custom_mac ' + entry['mac'])
"""


def test_records_added_at_the_end_are_used_and_changed_ones_refuse_the_start(
    tmp_path: Path, rig: ControlledRig
) -> None:
    records = {str(n): {"mac": f"02:bb:00:00:00:{n:02x}"} for n in range(1, 5)}

    def write(count: int) -> None:
        few = {index: records[index] for index in list(records)[:count]}
        (tmp_path / "ids.json").write_text(json.dumps(few))

    write(2)
    more = FREE + 'configfiles = ["ids.json"]  # they say the indexes\n'
    job = make_job(tmp_path, rig, script=RECORDS, more=more)
    armed = arm(job)
    assert armed.returncode == 0, armed.stderr
    for number in range(3):
        rig.insert(number)
    with running(job) as station:
        words = sorted(one["word"] for one in station.verdicts(3).values())
        assert words == ["LEAVE IN", "PASS", "PASS"], words
        assert station.stop() == 0
    assert command("station", "resume", "--why", "records came", "--job", str(job)).returncode == 0
    write(4)
    with running(job) as station:
        rig.insert(3)
        found = station.verdicts(4)
        assert {one["word"] for one in found.values()} == {"PASS"}, found
        assert sorted(one["index"] for one in found.values()) == [1, 2, 3, 4]
        assert station.stop() == 0
    records["2"] = {"mac": "02:bb:00:00:00:99"}
    write(4)
    changed = command("station", str(job), "--json")
    assert changed.returncode == 2
    assert "index 2" in changed.stderr
    records["2"] = {"mac": "02:bb:00:00:00:02"}
    records["5"] = {"mac": "02:bb:00:00:00:01"}  # doubled: rehearsal finds it before a board is touched
    write(5)
    doubled = command("station", str(job), "--json")
    assert doubled.returncode == 2
    assert "5" in doubled.stderr
