"""The station of the examples: checked, armed, and run on simulated boards, as its header says."""

from __future__ import annotations

import os
import select
import shutil
import signal
import time
import tomllib
from pathlib import Path

import pytest

from parburn.station.job_file import known_keys, load_job_file
from parburn.station.slots_file import read_slots
from tests.command import NEW_LEDGER, Outcome, finish, parburn, start
from tests.rig import ROOT
from tests.station.at_work import StationProcess

EXAMPLES = ROOT / "examples"
BOARDS = 6


@pytest.fixture
def job(tmp_path: Path) -> Path:
    """A copy of the examples' job: arming writes beside it."""
    folder = tmp_path / "examples"
    shutil.copytree(EXAMPLES, folder, ignore=shutil.ignore_patterns("__pycache__"))
    return folder / "station.toml"


def armed(job: Path, state: Path) -> Outcome:
    return parburn("arm", job, "--operator", "Ada", "--yes-burn", NEW_LEDGER, state=state)


def test_its_slots_file_has_each_kind_of_slot() -> None:
    station = load_job_file(EXAMPLES / "station.toml")
    assert station.slots == EXAMPLES / "station.slots.toml"
    slots = read_slots(EXAMPLES / "station.slots.toml").slots
    assert {slot.kind for slot in slots} == {"plug", "bridge"}
    assert any(slot.also for slot in slots)
    assert set(tomllib.loads((EXAMPLES / "station.toml").read_text())) <= {*known_keys()}


def test_it_is_checked_and_armed_as_its_header_says(job: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    few = job.read_text().replace(
        'index = "1-50000"', 'index = "1-300"'
    )  # of so many nothing more is learned
    assert few != job.read_text()
    job.write_text(few)
    checked = parburn("check", job, state=state)
    assert checked.exit == 0, checked.stderr
    assert "300 of 300 without a fault" in checked.stdout
    early = parburn("station", job, "--plain", state=state)
    assert early.exit == 2
    assert "the job is not armed" in early.stderr
    done = armed(job, state)
    assert done.exit == 0, done.stderr
    assert "CUSTOM_MAC: FREE" in done.stdout
    assert "SERIAL: FREE" in done.stdout
    assert job.with_suffix(".armed").exists()


def test_it_burns_simulated_boards_until_it_is_stopped(tmp_path: Path) -> None:
    station = StationProcess(
        EXAMPLES / "station.toml", "--sim", "esp32c3:4", env={"XDG_STATE_HOME": str(tmp_path)}
    )
    try:
        passed = [station.until(lambda one: one.get("result") == "pass", "pass") for _ in range(BOARDS)]
        assert station.stop(signal.SIGINT) == 0
        ended = station.until(lambda one: one["event"] == "ended", "end")
    finally:
        station.process.kill()
        station.process.wait(10)
    assert [one["index"] for one in passed] == [*range(1, BOARDS + 1)]
    for one in passed:
        assert one["values"] == {
            "CUSTOM_MAC": "02:00:5e:00:00:{:02x}".format(one["index"]),
            "SERIAL": str(26480000 + one["index"]),
        }
    assert station.said[0]["event"] == "station"
    assert station.said[0]["simulated"] is True
    assert ended["passed"] >= BOARDS
    assert ended["exit"] == 0
    assert not (tmp_path / "parburn").exists()  # its ledger was thrown away
    assert not (EXAMPLES / "station.armed").exists()


def test_without_a_terminal_it_says_a_line_for_each_board(tmp_path: Path) -> None:
    process = start("station", EXAMPLES / "station.toml", "--sim", "esp32c3:2", state=tmp_path)
    assert process.stdout is not None
    shown, deadline = b"", time.monotonic() + 60
    while shown.count(b" PASS ") < 2 and time.monotonic() < deadline:
        if select.select([process.stdout], [], [], 1.0)[0]:
            shown += os.read(process.stdout.fileno(), 65536)
    process.send_signal(signal.SIGINT)
    done = finish(process)
    assert shown.count(b" PASS ") >= 2, shown
    assert done.exit == 0
    assert done.stderr == ""
    assert " ended: " in done.stdout.splitlines()[-1]
