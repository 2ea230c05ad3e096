"""Boards whose tty goes and comes because the station reset them: the same one keeps its verdict."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from parburn.sim.control_client import ControlledRig
from tests.station.at_work import arm, bits_of, make_job, running, units

MORE = 'first_article = 0\nafter = "hard-reset"\nbounds.replug_s = 3\n'


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[ControlledRig]:
    with ControlledRig("esp32c3:2", folder=tmp_path / "rig", lines=True) as one:
        yield one


def test_the_same_board_keeps_its_verdict_and_another_one_gets_its_own(
    tmp_path: Path, rig: ControlledRig
) -> None:
    job = make_job(tmp_path, rig, more=MORE)
    assert arm(job).returncode == 0
    with running(job) as station:
        board = rig.insert(0)
        first = station.verdict("A1", "PASS")
        assert not first["hollow"]
        held = bits_of(rig, board.name)
        rig.replug(0)
        station.state("A1", "detecting")
        again = station.verdict("A1", "PASS")
        assert (again["mac"], again["hollow"]) == (board.mac, False), "it is the verdict that it had"
        moves = rig.witness().moves
        time.sleep(1.0)
        assert rig.witness().moves == moves, "it is not reset once more"
        other = rig.swap(0)
        found = station.until(lambda one: one.get("word") == "PASS" and one["mac"] == other.mac, "the other")
        assert found["index"] == 2
        rig.remove(0)
        began = time.monotonic()
        station.state("A1", "empty")
        assert 1.5 < time.monotonic() - began < 8
        assert station.stop() == 0
    assert bits_of(rig, board.name) == held
    assert {one.state for one in units(tmp_path).values()} == {"pass"}
    assert rig.witness().during_burns == 0
