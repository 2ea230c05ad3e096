"""The first barrier does not wait for ever: who is late is out, closed, and told to come in the next run."""

from __future__ import annotations

import re
import time
from pathlib import Path

import anyio
import pytest

from parburn.errors import LeftOut
from parburn.run.stragglers import Stragglers
from tests.command import Outcome, parburn
from tests.rig import start_rig

SILENT = "on board 1: the link is silent after 0 bytes"
ONE_BIT = ("--commands", "burn_bit BLOCK3 3", "--same", "BLOCK_USR_DATA", "--json", "--do-not-confirm")


class Clock:
    """Time that passes when it is told to."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def waits(came: list[float], *, wait_s: float = 2.5) -> float:
    """How long after the start a board that does not come is waited for."""
    clock = Clock()
    stragglers = Stragglers(wait_s=wait_s, expect=None, clock=clock)
    stragglers._passed_s()
    for seconds in came:
        clock.now = 100.0 + seconds
        stragglers.came()
    return clock.now - 100.0 + stragglers._left()


@pytest.mark.parametrize(
    ("came", "wait_s", "waits_s"),
    [
        ([0.1, 0.3], 2.5, 2.5),
        ([0.3, 2.0], 2.5, 4.0),
        ([3.0], 2.5, 6.0),
        ([0.3], 20.0, 20.0),
        ([0.3], 0.1, 0.6),
    ],
)
def test_twice_the_time_of_the_others_and_at_least_so_long(
    came: list[float], wait_s: float, waits_s: float
) -> None:
    assert waits(came, wait_s=wait_s) == pytest.approx(waits_s)


def test_who_is_on_its_way_when_the_time_is_over_is_out_also_at_its_next_step() -> None:
    async def late(stragglers: Stragglers, ends: list[str]) -> None:
        try:
            with stragglers.waited_for("late"):
                await anyio.sleep(30)
        except LeftOut:
            ends.append("out")

    async def run() -> None:
        ends: list[str] = []
        stragglers = Stragglers(wait_s=0.05, expect=None)
        with stragglers.waited_for("first"):
            pass
        stragglers.came()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(late, stragglers, ends)
            await stragglers.leave_out_late(lambda: 1)
        assert ends == ["out"]
        with pytest.raises(LeftOut, match="not there after"), stragglers.waited_for("opened late"):
            await anyio.sleep(30)

    anyio.run(run)


def burned(ports: list[str], state: Path, *more: object) -> tuple[Outcome, float]:
    began = time.monotonic()
    outcome = parburn("--ports", *ports, *ONE_BIT, *more, state=state)
    return outcome, time.monotonic() - began


def test_a_dead_board_costs_the_good_ones_no_more_than_its_share(tmp_path: Path) -> None:
    """Measured from the command's own seconds: what it takes to start does not count."""
    with start_rig("esp32c3", 4, tmp_path, faults=[SILENT]) as rig:
        outcome, _ = burned(rig.ports, tmp_path)
        assert outcome.words == ["pass", "no-answer", "pass", "pass"], outcome.stdout
        assert outcome.exit == 1
        dead = outcome.results[1]
        assert max(result["seconds"] for result in outcome.results) < 4.5  # all attempts take 5 s
        assert re.search(r"not there after \d+\.\d s, the others went on without it", dead["error"])
        assert "next run" in dead["hint"]
        assert rig.programs(1) == 0
        again, _ = burned(rig.ports, tmp_path, "--wait", "0.4")
        assert again.words == ["already-pass", "no-answer", "already-pass", "already-pass"]
        assert max(result["seconds"] for result in again.results) < 2.4


def test_with_expect_everyone_is_waited_for_until_all_are_there_or_were_tried(tmp_path: Path) -> None:
    with start_rig("esp32c3", 3, tmp_path, faults=[SILENT]) as rig:
        outcome, _ = burned(rig.ports, tmp_path, "--expect", 3, "--wait", "0.2")
        assert (outcome.exit, outcome.words) == (2, ["refused", "no-answer", "refused"])
        assert outcome.results[1]["seconds"] > 4
        assert "others went on" not in outcome.results[1]["error"]
        enough, _ = burned(rig.ports, tmp_path, "--expect", 2, "--wait", "0.2")
        assert enough.words == ["pass", "no-answer", "pass"]
        assert max(result["seconds"] for result in enough.results) < 4


def test_a_board_alone_has_all_its_attempts(tmp_path: Path) -> None:
    with start_rig("esp32c3", 1, tmp_path, faults=["the link is silent after 0 bytes"]) as rig:
        outcome, _ = burned(rig.ports, tmp_path, "--wait", "0.2")
        assert outcome.words == ["no-answer"]
        assert "others" not in outcome.results[0]["error"]
