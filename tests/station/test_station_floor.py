"""A whole station in one process: single cases that the state machine and the soak have found."""

from __future__ import annotations

from pathlib import Path

from parburn.errors import IdentityUnclear
from parburn.events import Result
from parburn.sim.control_client import ControlledRig
from parburn.station.presence import nobody_knows
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


def test_a_board_is_not_burned_when_its_double_comes_while_it_waits_for_its_turn(tmp_path: Path) -> None:
    """Its plan was approved before: that is looked at once more, last before the attempt is recorded."""
    with ControlledRig("esp32c3:2", folder=tmp_path / "r", lines=True) as rig:
        floor = Floor(rig, tmp_path / "job")
        limiter = floor.around._burning
        limiter.total_tokens = 1
        taken = object()
        floor.do(lambda: limiter.acquire_on_behalf_of_nowait(taken))
        board = rig.insert(0)
        floor.until(lambda: floor.socket(0).detail == "for its turn to burn", "it waits")
        (seated,) = floor.around.presence._seated.values()
        seated.sits_there = nobody_knows  # as on a bridge, whose tty tells nothing
        second = floor.loop.create_task(floor.around.presence.enter(seated.identity, "A2"))
        floor.let(0.05)
        assert not second.done()
        floor.do(lambda: limiter.release_on_behalf_of(taken))
        floor.until(lambda: bool(floor.view.reports), "it has ended")
        ((_, report),) = floor.view.reports
        assert report.result is Result.REFUSED, report
        assert "in A1 and in A2" in report.error
        assert not floor.custom_mac(board.name)
        floor.until(second.done, "the second has waited")
        assert isinstance(second.exception(), IdentityUnclear)
        floor.close()


def test_a_board_behind_a_bridge_is_heard_while_its_verdict_stands(tmp_path: Path) -> None:
    """So a clone that comes meanwhile is no move of it, also where it is taken out a moment later."""
    options = ["--strapped"]
    with ControlledRig("esp32c3:1", folder=tmp_path / "r", lines=True, bridges=True, options=options) as rig:
        floor = Floor(rig, tmp_path / "job", presence="sync")
        rig.insert(0)
        floor.until(lambda: floor.socket(0).word is Word.PASS, "it passes")
        (seated,) = floor.around.presence._seated.values()
        before = seated.heard_at
        assert before > 0
        floor.until(lambda: seated.heard_at > before + 0.5, "it is heard again")
        floor.close()
