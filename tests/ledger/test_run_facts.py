"""Where a run was made and by whom is told by its own entry, however many runs began in between."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

from parburn.ledger.base import RunNote
from parburn.ledger.run_ledger import open_ledger
from parburn.ledger.run_records import run_records
from parburn.ledger.unit_records import entries_of
from tests.command import parburn
from tests.provisioning import said

from .ledgers import batch, burn, chip, claim_of, run

FILES = {"scripts": {"s.py": "ab"}}


def made(path: Path, others: int = 0) -> None:
    """A run by Ana in which chip 1 passes; between its begin and that, other runs begin."""

    async def work() -> None:
        note = RunNote("bench 2", "Ana", FILES)
        ledger = await open_ledger(path, batch(), new_ledger=True, note=note)
        for number in range(others):
            other = await open_ledger(path, batch(), note=RunNote("bench 3", f"O{number}"))
            await other.aclose()
        await burn(await claim_of(ledger, chip(1)))
        await ledger.aclose()

    run(asyncio.wait_for(work(), 60))


def test_a_changed_name_is_told_nowhere_and_shows(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite3"
    made(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE runs SET operator = 'Bob', station = 'other'")
        connection.commit()
        assert {(one.station, one.operator) for one in entries_of(connection, 1)} == {("bench 2", "Ana")}
        assert [one.facts for one in run_records(connection)] == [("bench 2", "Ana", FILES)]
    for words in (("ledger", "history", "1"), ("report",)):
        done = parburn(*words, "--ledger", path, state=tmp_path)
        assert (done.exit, "Ana" in done.stdout, "Bob" in done.stdout) == (0, True, False), said(done)
    done = parburn("ledger", "verify", "--ledger", path, state=tmp_path)
    assert (done.exit, "Run 1 is not what the history says" in done.stderr) == (2, True), said(done)


def test_its_files_are_found_behind_any_number_of_other_runs(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite3"
    made(path, others=20)
    with closing(sqlite3.connect(path)) as connection:
        assert [one.facts for one in run_records(connection)] == [("bench 2", "Ana", FILES)]
