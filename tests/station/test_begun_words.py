"""The word for a board that was begun earlier and fails before a further burn: never that of a good one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from parburn.sim.control_client import ControlledRig
from tests.station.at_work import running, units, until_units
from tests.station.killed_at_once import BURNED, held_job


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[ControlledRig]:
    with ControlledRig("esp32c3:2", folder=tmp_path / "rig", lines=True) as one:
        yield one


def test_a_begun_board_whose_script_fails_now_is_not_told_to_be_tried_as_a_new_one(
    tmp_path: Path, rig: ControlledRig
) -> None:
    fails = tmp_path / "fails"
    before = (
        f"import os\nif not args.rehearsal and os.path.exists({str(fails)!r}): raise ValueError('away')\n"
    )
    job, _hold = held_job(tmp_path, rig, before=before)
    with running(job) as station:
        rig.insert(0)
        until_units(tmp_path, 1, *BURNED)
        station.kill()
    fails.touch()
    with running(job) as station:
        found = station.verdict("A1")
        assert [one.state for one in units(tmp_path).values()] == ["incomplete"]
        assert found["word"] == "RED BIN", found
        rig.insert(1)
        assert station.verdict("A2")["word"] == "RETRY", "nothing was burned into this one"
        assert station.stop() == 0


def test_a_clone_does_not_stop_a_board_between_its_burns(tmp_path: Path, rig: ControlledRig) -> None:
    job, hold = held_job(tmp_path, rig)
    with running(job) as station:
        rig.insert(0)
        until_units(tmp_path, 1, *BURNED)
        rig.clone(0, 1)
        second = station.verdict("A2", "RED BIN")
        assert "A1" in second["detail"]
        hold.unlink()
        station.verdict("A1", "PASS")
        assert station.stop() == 0
    assert [one.state for one in units(tmp_path).values()] == ["pass"]
