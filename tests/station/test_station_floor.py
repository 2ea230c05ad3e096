"""A whole station in one process: single cases that the state machine and the soak have found."""

from __future__ import annotations

from pathlib import Path

from parburn.sim.control_client import ControlledRig
from parburn.station.states import SocketState
from parburn.station.words import Word
from tests.station.floor import Floor

LOOP_IS_NOT_WATCHED = "the test blocks its loop between two steps"


def test_the_port_of_a_bridge_stays_open_when_boards_go(tmp_path: Path) -> None:
    """Closing it and opening it again would take the lines of all, and move its own."""
    options = ["--presence", "cts"]
    with ControlledRig("esp32c3:1", folder=tmp_path / "r", lines=True, bridges=True, options=options) as rig:
        floor = Floor(rig, tmp_path / "job", presence="cts")
        for _ in range(2):
            rig.insert(0)
            floor.until(lambda: floor.socket(0).word is Word.PASS, "it passes")
            rig.remove(0)
            floor.until(lambda: floor.socket(0).state is SocketState.EMPTY, "it is empty")
        assert rig.witness().closes == 0
        floor.close()
