"""Real processes: killed at every write, and two at work on one ledger."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from parburn.errors import LedgerError
from parburn.ledger.base import Begun, Cause, State
from parburn.ledger.export import export, verify
from parburn.ledger.liveness import Process, RunLocks
from parburn.ledger_place import Place

from .ledgers import burn, burn_on, chip, claims_of, opened, run

BOARDS = 3


def start(path: Place, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.ledger.a_run", str(path), *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )


def said_by(process: subprocess.Popen[str]) -> list[list[str]]:
    with process:
        output, _ = process.communicate(timeout=60)
    return [line.split() for line in output.splitlines()]


def units(path: Place) -> dict[str, dict[str, object]]:
    return {unit["mac"]: unit for unit in json.loads(export(path))["units"]}


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("commit", range(1, 9))
def test_killed_at_a_commit(path: Place, commit: int, when: str) -> None:
    """The run of three boards is killed right before or after its n-th commit; then the same boards again."""
    process = start(path, 0, BOARDS, when, commit)
    said = said_by(process)
    assert process.returncode == -signal.SIGKILL

    async def again() -> None:
        async with opened(path) as ledger:
            for outcome in await claims_of(ledger, [chip(n) for n in range(BOARDS)]):
                assert not isinstance(outcome, LedgerError)
                now[outcome.identity.mac] = (outcome.index, outcome.state)

    now: dict[str, tuple[int, State]] = {}
    run(again())
    assert sorted(index for index, _ in now.values()) == [1, 2, 3]
    for mac, index in [(mac, int(index)) for word, mac, index in said if word == "attempted"]:
        assert now[mac][0] == index
        assert now[mac][1] in (State.INCOMPLETE, State.PASS)
    for mac in [mac for word, mac, _index in said if word == "passed"]:
        assert now[mac][1] is State.PASS
    assert "verifies" in verify(path)


def test_what_was_not_attempted_goes_to_the_next_chips(path: Place) -> None:
    said_by(start(path, 0, BOARDS, "after", 3))  # open, claim, plan
    others = range(100, 100 + BOARDS)

    async def work() -> list[int]:
        async with opened(path) as ledger:
            assert any("cut off with 3 boards" in note for note in ledger.notes)
            claims = await claims_of(ledger, [chip(n) for n in others])
            return [claim.index for claim in claims if not isinstance(claim, LedgerError)]

    assert run(work()) == [1, 2, 3]


def test_a_station_of_96_boards_that_is_killed_goes_on(path: Place) -> None:
    """Every unit that was under way was begun under its arming and ended with the process; none is lost."""
    boards, arming = 96, "a" * 64
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.ledger.a_station", str(path), arming, str(boards)],
        stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "all at work\n"
    before = units(path)
    process.kill()
    said_by(process)

    async def again() -> None:
        async with opened(path, arming=arming) as ledger:
            assert any("cut off with 96 boards" in note for note in ledger.notes)
            for number in range(boards):
                (claim,) = await claims_of(ledger, [chip(number)])
                assert not isinstance(claim, LedgerError)
                if number % 3:
                    assert claim.begun == Begun(arming, "", Cause.PROCESS_END, 0)
                    assert claim.index == before[claim.identity.mac]["index"]
                    assert await claim.goes_on() == 1
                else:
                    assert (claim.begun, claim.known) == (None, False)
                await burn(claim, values={"CUSTOM_MAC": claim.identity.mac})
                await claim.end()

    run(again())
    after = units(path)
    assert {unit["state"] for unit in after.values()} == {"pass"}
    assert sorted(unit["index"] for unit in after.values()) == list(range(1, boards + 1))  # type: ignore[type-var]
    assert "verifies" in verify(path)


def test_two_processes_at_once(path: Place) -> None:
    processes = [start(path, number * 100, 20) for number in range(3)]
    said = [line for process in processes for line in said_by(process)]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert sorted(int(index) for word, _mac, index in said if word == "passed") == list(range(1, 61))
    stored = units(path)
    assert {mac: int(index) for word, mac, index in said if word == "passed"} == {
        mac: unit["index"] for mac, unit in stored.items()
    }
    assert {unit["state"] for unit in stored.values()} == {"pass"}
    assert "verifies" in verify(path)


def test_a_living_process_keeps_its_claims(path: Place) -> None:
    process = start(path, 0, BOARDS, "wait", 3)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "waiting\n"
        assert run(burn_on(path, chip(50))) == BOARDS + 1
    finally:
        process.kill()
        said_by(process)
    assert run(burn_on(path, chip(51))) == 1


def test_locks_show_who_is_alive(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite3"
    one, other = RunLocks(path), RunLocks(path)
    one.hold(7)
    assert other.is_held(7)
    assert not other.is_held(8)
    one.close()
    assert not other.is_held(7)
    other.close()


def test_a_process_is_known_for_good() -> None:
    me = Process.current()
    assert me.is_visible()
    assert Process.parse(str(me)) == me
    assert not Process(me.boot, me.space, me.pid, me.started + 1).is_visible()
    assert not Process("another boot", me.space, me.pid, me.started).is_visible()
    child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    try:
        from parburn.ledger.liveness import _start_time

        other = Process(me.boot, me.space, child.pid, _start_time(child.pid) or 0)
        assert other.is_visible()
    finally:
        child.communicate(b"", timeout=30)
    assert not other.is_visible()
