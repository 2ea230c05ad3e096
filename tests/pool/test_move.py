"""A ledger's file becomes a pool; killed anywhere it goes on or is taken back, and nobody burns with both."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from parburn.errors import LedgerUnusable
from parburn.ledger import maintenance
from parburn.ledger.base import State
from parburn.ledger.export import export, show, verify
from parburn.ledger.file_location import witness_path
from parburn.ledger.pool import moving
from parburn.ledger.pool.moving import move
from parburn.ledger_place import PoolAddress
from tests.ledger.ledgers import attempt, batch, burn, burn_on, chip, claim_of, looking, opened, run
from tests.pool.server import Server

WHY = "a second rig"
ROOT = Path(__file__).parents[2]


@pytest.fixture
def to(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PoolAddress:
    """A database without a pool."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return PoolAddress(server.new_database())


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A ledger with units in many states."""
    path = tmp_path / "ledger.sqlite3"

    async def work() -> None:
        async with opened(path, batch({1: "a", 2: "b", 3: "c", 4: "d"}, name="A")) as ledger:
            await burn(await claim_of(ledger, chip(1)), values={"CUSTOM_MAC": "02:00:00:00:00:01"})
            half = await claim_of(ledger, chip(2))
            await half.planned("plan", {"CUSTOM_MAC": "02:00:00:00:00:02"})
            await half.burn_attempted(attempt())
            await half.step_done("KEY0", State.VERIFIED)
            await half.incomplete("unplugged", cause="unplugged")
            out = await claim_of(ledger, chip(3))
            await out.planned("plan 3", {})
            await out.burn_attempted(attempt("plan 3"))
            await out.quarantined("a bit too many")

    run(work())
    return path


def told(place: Path | PoolAddress) -> dict[str, object]:
    """What it says of its units, and its history without what a move adds."""
    said = json.loads(export(place))
    events = [{**one, "sequence": 0} for one in said["history"] if not one["event"].startswith("move")]
    return {"units": said["units"], "history": events, "declarations": said["declarations"]}


def test_all_of_it_is_in_the_pool_and_the_file_is_used_no_more(
    server: Server, file: Path, to: PoolAddress
) -> None:
    before, backup = told(file), file.with_name("backup")
    shutil.copy(file, backup)
    assert "3 units" in move(file, to, WHY)
    assert told(to) == before
    assert told(file) == before
    assert "verifies" in verify(to)
    assert f"moved to {to}" in verify(file)
    with pytest.raises(LedgerUnusable, match="was moved to"):
        run(burn_on(file, chip(9)))
    with pytest.raises(LedgerUnusable, match=r"is moved to .*, and not to"):
        move(file, PoolAddress(server.new_database()), WHY)
    with pytest.raises(LedgerUnusable, match="was moved to"):
        maintenance.adopt(file, why="no")
    shutil.copy(backup, file)  # somebody puts a copy from before in its place
    with pytest.raises(LedgerUnusable, match="moved to"):
        run(burn_on(file, chip(9)))

    async def work() -> None:
        async with opened(to, batch({1: "a", 2: "b", 3: "c", 4: "d"}, name="A")) as ledger:
            half = await claim_of(ledger, chip(2))
            assert (half.index, half.state, half.known) == (2, State.INCOMPLETE, True)
            assert half.attempt is not None
            assert half.attempt.done == {"KEY0": State.VERIFIED}
            await burn(half, values={"CUSTOM_MAC": "02:00:00:00:00:02"})
            assert (await claim_of(ledger, chip(4))).index == 4

    run(work())
    assert "verifies" in verify(to)
    assert "4 units" in show(to)


def test_a_ledger_at_work_is_not_moved(file: Path, to: PoolAddress) -> None:
    async def work() -> None:
        import asyncio

        async with opened(file, batch(name="B")) as ledger:
            with pytest.raises(LedgerUnusable, match="1 runs or stations are at work"):
                await asyncio.to_thread(move, file, to, WHY)
            await burn(await claim_of(ledger, chip(20)))

    run(work())
    assert "4 units" in move(file, to, WHY)


def test_a_broken_file_is_not_moved(file: Path, to: PoolAddress) -> None:
    with looking(file) as connection:
        connection.execute("UPDATE units SET idx = 7 WHERE idx = 1")
    with pytest.raises(LedgerUnusable, match=r"cannot be moved: .*index"):
        move(file, to, WHY)
    with looking(file) as connection:
        connection.execute("UPDATE units SET idx = 1 WHERE idx = 7")
    assert "3 units" in move(file, to, WHY)


def test_a_move_of_which_nothing_is_there_can_be_taken_back(
    server: Server, file: Path, to: PoolAddress, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise LedgerUnusable("the disk is full")

    with monkeypatch.context() as broken:
        broken.setattr(moving, "_copy_rows", full)
        with pytest.raises(LedgerUnusable, match="the disk is full"):
            move(file, to, WHY)
    with pytest.raises(LedgerUnusable, match="is being moved to"):
        run(burn_on(file, chip(9)))
    with pytest.raises(LedgerUnusable, match=r"is moving to .*, and not to"):
        move(file, PoolAddress(server.new_database()), WHY)
    assert "was taken back" in move(file, to, "mended", abort=True)
    assert run(burn_on(file, chip(9))) > 0
    assert "verifies" in verify(file)
    assert "4 units" in move(file, to, WHY)
    with pytest.raises(LedgerUnusable, match=r"is in .* already"):
        move(file, to, WHY, abort=True)


def test_a_pool_that_is_there_is_never_overwritten(file: Path, to: PoolAddress) -> None:
    run(burn_on(to, chip(1)))
    with pytest.raises(LedgerUnusable, match="another pool"):
        move(file, to, WHY)
    assert run(burn_on(file, chip(9), batch({1: "a", 2: "b", 3: "c", 4: "d"}, name="A"))) == 4


KILLED = """
import os, signal, sys
from pathlib import Path
from parburn.ledger.pool import moving
from parburn.ledger_place import PoolAddress

count = 0
def die(frame, event, argument):
    global count
    if event in ("call", "return") and frame.f_code.co_filename == moving.__file__:
        count += 1
        if count == int(sys.argv[3]):
            os.kill(os.getpid(), signal.SIGKILL)
    return die
sys.settrace(die)
moving.move(Path(sys.argv[1]), PoolAddress(sys.argv[2]), "killed")
sys.settrace(None)
print(count)
"""


ONE_OF = 8


def test_killed_anywhere_it_goes_on(server: Server, file: Path, to: PoolAddress) -> None:
    """At calls and ends of functions of the move: each eighth, another one by chance."""
    whole, begin = told(file), random.randrange(ONE_OF)
    sys.stdout.write(f"from {begin}")  # what a failure shows
    for number in range(begin + 1, 1000, ONE_OF):
        folder = file.parent / str(number)
        folder.mkdir()
        place, pool = folder / file.name, PoolAddress(server.new_database())
        shutil.copy(file, place)
        shutil.copy(witness_path(file), witness_path(place))
        done = subprocess.run(
            [sys.executable, "-c", KILLED, str(place), str(pool), str(number)],
            capture_output=True, text=True, check=False, timeout=60, cwd=ROOT, env=dict(os.environ),
        )  # fmt: skip
        if done.returncode == 0:
            assert number > 30, done.stdout
            return
        assert done.returncode == -signal.SIGKILL, done.stderr
        if "mov" not in verify(place):  # nothing was marked yet
            assert run(burn_on(place, chip(9), batch(name="B"))) == 1
            with pytest.raises(LedgerUnusable, match="no pool"):
                verify(pool)
            continue
        with pytest.raises(LedgerUnusable, match="mov"):
            run(burn_on(place, chip(9), batch(name="B")))
        move(place, pool, "again")
        assert told(pool) == whole
        assert "verifies" in verify(pool)
        assert "moved to" in verify(place)
    raise AssertionError("a move has fewer calls than that")
