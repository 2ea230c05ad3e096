"""Boards before bridges whose ttys stay: one that is pulled in mid burn and put back goes on."""

from __future__ import annotations

import time
from pathlib import Path

from parburn.sim.control_client import ControlledRig
from tests.station.at_work import arm, make_job, running, units, until_units
from tests.station.killed_at_once import BURNED, FREE, held_script


def test_a_board_that_is_pulled_in_mid_burn_and_put_back_goes_on(tmp_path: Path) -> None:
    hold = tmp_path / "hold"
    with ControlledRig("esp32c3:1", folder=tmp_path / "rig", bridges=True) as rig:
        job = make_job(tmp_path, rig, script=held_script(hold), more=FREE)
        bridge = f'A1 = {{place = "{rig.ports[0]}", kind = "bridge", presence = "sync"}}'
        (tmp_path / "rig.slots.toml").write_text(f"[slots]\n{bridge}\n")
        assert arm(job).returncode == 0
        with running(job) as station:
            rig.insert(0)
            station.verdict("A1", "PASS")
            rig.remove(0)
            station.state("A1", "empty")
            hold.touch()
            begun = rig.insert(0)
            until_units(tmp_path, 1, *BURNED)
            rig.remove(0)
            hold.unlink()
            station.until(lambda one: "put it back" in one.get("detail", ""), "put it back")
            time.sleep(1.0)
            rig.insert(0, begun.name)
            station.until(lambda one: one.get("word") == "PASS", "PASS")
            assert station.stop() == 0
    assert {one.state for one in units(tmp_path).values()} == {"pass"}
