"""A dry run's copy of a ledger: as it was at one moment, and nothing of the ledger is touched."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from parburn.ledger import schema
from parburn.ledger.base import BatchSpec
from parburn.ledger.dry_copy import copy_ledger
from parburn.ledger.file_location import runs_path
from parburn.ledger.liveness import RunLocks
from parburn.ledger.run_ledger import open_ledger
from parburn.ledger.witness import read_witness, write_witness


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    """A ledger with a batch."""
    path = tmp_path / "ledger.sqlite3"

    async def make() -> None:
        await (await open_ledger(path, BatchSpec("a", "", lambda index: ""), new_ledger=True)).aclose()

    asyncio.run(make())
    return path


def test_a_witness_that_moves_on_meanwhile_is_not_the_copys(
    tmp_path: Path, ledger: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = read_witness(ledger)
    assert before is not None
    compare = schema.compare_with_witness

    def then_another_run_commits(*args: Any) -> None:
        compare(*args)
        write_witness(ledger, before._replace(sequence=before.sequence + 5))

    monkeypatch.setattr(schema, "compare_with_witness", then_another_run_commits)
    copy_ledger(ledger, tmp_path / "copy.sqlite3")
    assert read_witness(tmp_path / "copy.sqlite3") == before


def test_looking_at_runs_makes_no_file(ledger: Path) -> None:
    runs_path(ledger).unlink()
    locks = RunLocks(ledger, only_looks=True)
    assert not locks.is_held(1)
    locks.close()
    assert not runs_path(ledger).exists()


def test_looking_sees_who_holds_a_run(ledger: Path) -> None:
    holds, looks = RunLocks(ledger), RunLocks(ledger, only_looks=True)
    holds.hold(3)
    assert [looks.is_held(run) for run in (2, 3, 4)] == [False, True, False]
    holds.close()
    looks.close()
