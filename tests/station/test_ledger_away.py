"""The ledger is held by somebody else, or its disk is full, while boards burn."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from parburn.sim.control_client import ControlledRig
from tests.station.at_work import arm, bits_of, boards_in, command, make_job, running, units

FREE = "first_article = 0\n"
SOCKETS = 4


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[ControlledRig]:
    with ControlledRig(f"esp32c3:{SOCKETS}", folder=tmp_path / "rig", lines=True) as one:
        yield one


@contextmanager
def held(ledger: Path) -> Iterator[None]:
    """Keep everybody else from writing the ledger."""
    with closing(sqlite3.connect(ledger, isolation_level=None, timeout=20)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


def test_a_ledger_held_for_seconds_only_delays_boards(tmp_path: Path, rig: ControlledRig) -> None:
    job = make_job(tmp_path, rig, more=FREE)
    assert arm(job).returncode == 0
    with running(job) as station:
        rig.insert(0)
        station.verdict("A1", "PASS")
        with held(tmp_path / "ledger.sqlite3"):
            for number in range(1, SOCKETS):
                rig.insert(number)
            time.sleep(3)
        found = station.verdicts(SOCKETS - 1)
        assert {one["word"] for one in found.values()} == {"PASS"}, found
        assert not any(one["event"] == "halt" for one in station.said)
        assert station.stop() == 0
    assert command("ledger", "verify", "--ledger", str(tmp_path / "ledger.sqlite3")).returncode == 0


def test_a_ledger_held_for_long_halts_and_no_chip_has_what_is_not_written(
    tmp_path: Path, rig: ControlledRig
) -> None:
    job = make_job(tmp_path, rig, more=FREE)
    assert arm(job).returncode == 0
    with running(job) as station:
        rig.insert(0)
        station.verdict("A1", "PASS")
        with held(tmp_path / "ledger.sqlite3"):
            for number in range(1, SOCKETS):
                rig.insert(number)
            found = station.halted(SOCKETS - 1, within_s=60)
            assert {one["word"] for one in found.values()} == {"LEAVE IN"}, found
            assert all("ledger" in one["detail"] for one in found.values())
            assert any(one["event"] == "halt" for one in station.said)
            for mac, board in boards_in(rig).items():
                if mac not in units(tmp_path):
                    assert set(bits_of(rig, board)["BLOCK_USR_DATA"]) <= set("0x")
        said = command("station", "resume", "--why", "the backup is over", "--job", str(job))
        assert said.returncode == 0, said.stderr
        for number in range(1, SOCKETS):
            if found[f"A{number + 1}"]["state"] != "hold":  # what waited goes on by itself
                rig.replug(number)
        deadline = time.monotonic() + 40
        passed: set[str] = set()
        while len(passed) < SOCKETS - 1 and time.monotonic() < deadline:
            one = station.until(lambda one: one.get("word") == "PASS", "PASS")
            passed.add(one["slot"])
        assert station.stop() == 0
    assert sorted(one.number or 0 for one in units(tmp_path).values()) == [1, 2, 3, 4]
    assert {one.state for one in units(tmp_path).values()} == {"pass"}
    assert command("ledger", "verify", "--ledger", str(tmp_path / "ledger.sqlite3")).returncode == 0


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("unshare"), reason="mounts a small disk")
def test_a_full_disk_halts_and_the_station_goes_on_with_room_again(tmp_path: Path) -> None:
    done = subprocess.run(
        ["unshare", "-m", sys.executable, "-m", "tests.station.on_full_disk", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert set(found["full"]) == {"LEAVE IN"}
    assert "disk" in found["halt"] or "room" in found["halt"] or "full" in found["halt"], found
    assert found["blank"] == found["boards"]
    assert found["passed"] == found["boards"]
    assert found["indexes"] == list(range(1, found["boards"] + 2))
    assert found["verified"]
