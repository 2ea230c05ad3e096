"""Whether the disk of a ledger will be full within a shift."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from benchmarks.large_ledger import make_ledger
from parburn.errors import LedgerUnusable
from parburn.ledger.disk_room import LEAST_PER_UNIT, DiskLeft, disk_left
from parburn.ledger.file_location import LEAST_ROOM

from .ledgers import burn_on, chip, run


def has_room(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    class Room:
        f_bavail, f_frsize = free // 4096, 4096

    monkeypatch.setattr(os, "statvfs", lambda _folder: Room)


def test_a_disk_with_room_says_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "ledger.sqlite3"
    run(burn_on(path, chip(1)))
    has_room(monkeypatch, LEAST_ROOM + 1000 * LEAST_PER_UNIT)
    left = disk_left(path)
    assert left == DiskLeft(1000 * LEAST_PER_UNIT, LEAST_PER_UNIT)
    assert left.amber(1000) is None
    said = left.amber(1001)
    assert said is not None
    assert "about 1000 more boards (4 MB)" in said
    has_room(monkeypatch, LEAST_ROOM // 2)
    assert disk_left(path).units == 0
    assert disk_left(path).amber(0) is None
    assert disk_left(path).amber(1)


def test_what_a_unit_takes_is_learned_from_the_ledger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "ledger.sqlite3"
    make_ledger(path, 200)
    with path.with_name(f"{path.name}-wal").open("ab") as wal:  # what is not in the file yet
        wal.truncate(4_000_000)
    has_room(monkeypatch, LEAST_ROOM + 10**9)
    left = disk_left(path)
    assert 20_000 < left.per_unit < 30_000
    assert left.units == 10**9 // 4096 * 4096 // left.per_unit


def test_no_ledger_has_no_room(tmp_path: Path) -> None:
    for path in (tmp_path / "none", tmp_path / "nowhere" / "none"):
        with pytest.raises(LedgerUnusable):
            disk_left(path)
    (tmp_path / "odd").write_text("no ledger at all" * 100)
    with pytest.raises(LedgerUnusable):
        disk_left(tmp_path / "odd")
