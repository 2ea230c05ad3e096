"""What the sockets of a rig have done: counted, kept over a kill, bounded, and never a board's trouble."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parburn.station import statistics
from parburn.station.statistics import LAST, LEAST, SlotCounts, Statistics, place_beside

T = TypeVar("T")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return place_beside(tmp_path / "ledger.sqlite3")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "WRITE_EVERY_S", 0.01)


def run(work: Coroutine[Any, Any, T]) -> T:
    async def limited() -> T:
        async with asyncio.timeout(30):
            return await work

    return asyncio.run(limited())


def with_statistics(path: Path, do: Callable[[Statistics], T]) -> T:
    async def work() -> T:
        found = await Statistics.open(path)
        try:
            return do(found)
        finally:
            await found.aclose()

    return run(work())


def test_what_is_counted_is_kept(path: Path) -> None:
    def day(found: Statistics) -> None:
        assert found.picture("A1") == SlotCounts("A1")
        assert found.picture("A1").p50_s is None
        found.count("A1", "pass", 1.0, True)
        found.count("A1", "pass", 3.0, True, retries=2)
        found.count("A1", "no answer", 9.0, False, retries=1)
        found.count("A1", "pass", 0.4, True, of_yield=False)
        found.count("B2", "garbled", 0.5, False)

    with_statistics(path, day)
    for _ in range(2):
        one, other = with_statistics(path, lambda found: (found.picture("A1"), found.picture("B2")))
        assert (one.insertions, one.passes, one.retries) == (4, 3, 3)
        assert one.failures == {"no answer": 1}
        assert one.last == ((True, 1.0), (True, 3.0), (False, 9.0))
        assert one.p50_s == 2.0
        assert one.passed_of_last is None
        assert (other.insertions, other.failures, other.p50_s) == (1, {"garbled": 1}, None)


def fill(found: Statistics, slot: str, passes: int, failures: int) -> None:
    for number in range(passes + failures):
        found.count(slot, "no answer", 1.0, number < passes)


@pytest.mark.parametrize(
    ("sockets", "low"),
    [
        ({"A": (50, 0), "B": (50, 0), "C": (45, 5)}, {"C"}),
        ({"A": (50, 0), "B": (50, 0), "C": (46, 4)}, set()),
        ({"A": (40, 10), "B": (40, 10), "C": (35, 15)}, {"C"}),
        ({"A": (50, 0), "B": (45, 5)}, set()),  # two have no median
        ({"A": (50, 0), "B": (50, 0), "C": (0, LEAST - 1)}, set()),  # too few
        ({"A": (50, 0), "B": (50, 0), "C": (0, LEAST)}, {"C"}),
        ({"A": (0, 50), "B": (0, 50), "C": (0, 50)}, set()),  # it is not the sockets
        ({}, set()),
    ],
)
def test_a_socket_far_under_the_median_is_found(
    path: Path, sockets: dict[str, tuple[int, int]], low: set[str]
) -> None:
    def day(found: Statistics) -> set[str]:
        for slot, (passes, failures) in sockets.items():
            fill(found, slot, passes, failures)
        return found.low_yield([*sockets, "never used"])

    assert with_statistics(path, day) == low


def test_a_mended_socket_is_not_blamed_for_long(path: Path) -> None:
    def day(found: Statistics) -> tuple[set[str], set[str]]:
        for slot in ("A", "B", "C"):
            fill(found, slot, 50, 0)
        fill(found, "C", 0, 10)
        bad = found.low_yield("ABC")
        fill(found, "C", LAST, 0)
        return bad, found.low_yield("ABC")

    assert with_statistics(path, day) == ({"C"}, set())


@settings(deadline=None)
@given(st.lists(st.tuples(st.text(max_size=80), st.booleans()), max_size=120))
def test_counts_are_bounded_and_add_up(insertions: list[tuple[str, bool]]) -> None:
    counts = SlotCounts("A1")
    for kind, passed in insertions:
        counts = counts.counted(kind, 0.1, passed=passed, retries=0, of_yield=True)
    assert counts.insertions == len(insertions)
    assert counts.passes + sum(counts.failures.values()) == counts.insertions
    assert len(counts.failures) <= statistics.MOST_KINDS
    assert len(counts.last) == min(LAST, len(insertions))


def test_sockets_are_bounded(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "MOST_SLOTS", 3)

    def day(found: Statistics) -> tuple[str, ...]:
        for number in range(9):
            found.count(f"A{number}", "pass", 1.0, True)
        return found.take_notes()

    assert with_statistics(path, day) == ("More than 3 sockets are not counted.",)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM sockets").fetchone() == (3,)


def test_odd_names_are_kept(path: Path) -> None:
    names = ["", "\udcff", "\x00", "ä" * 500, "A1'; DROP TABLE sockets; --"]

    def day(found: Statistics) -> None:
        for name in names:
            found.count(name, name, float("inf"), False)

    with_statistics(path, day)
    assert with_statistics(path, lambda found: [found.picture(name).insertions for name in names]) == [1] * 5


def test_the_size_stays(path: Path) -> None:
    def day(found: Statistics) -> None:
        for number in range(20_000):
            found.count(f"A{number % 128}", f"kind {number % 500}", 1.234567, number % 3 > 0)

    with_statistics(path, day)
    size = path.stat().st_size
    assert size < 1_000_000
    with_statistics(path, day)
    assert path.stat().st_size <= size + 100_000


KILLED = """
import asyncio, os, signal, sys, time
from pathlib import Path
from parburn.station import statistics
async def main():
    found = await statistics.Statistics.open(Path(sys.argv[1]))
    for number in range(10**9):
        found.count(f"A{number % 8}", "no answer", 1.0, number % 2 == 0)
        print(number, flush=True)
        await asyncio.sleep(0.001)
asyncio.run(main())
"""


def test_a_kill_loses_a_second_at_most(path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", KILLED, path], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        begun = time.monotonic()
        while time.monotonic() - begun < 2.5:
            process.stdout.readline()
        process.kill()
    assert process.returncode == -signal.SIGKILL
    kept = with_statistics(path, lambda found: sum(found.picture(f"A{n}").insertions for n in range(8)))
    assert kept > 50


def damaged(path: Path, how: str) -> None:
    if how == "cut":
        path.write_bytes(path.read_bytes()[:5000])
    elif how == "noise":
        path.write_bytes(os.urandom(8192))
    elif how == "odd rows":
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("UPDATE sockets SET last = '[[1]]'")
    elif how == "odd numbers":
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("UPDATE sockets SET passes = 'many'")
    elif how == "odd kinds":
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("UPDATE sockets SET failures = '[1]'")
    else:
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("ALTER TABLE sockets ADD COLUMN more")


@pytest.mark.parametrize("how", ["cut", "noise", "odd rows", "odd numbers", "odd kinds", "more columns"])
def test_a_damaged_file_is_set_aside(path: Path, how: str) -> None:
    with_statistics(path, lambda found: found.count("A1", "pass", 1.0, True))
    damaged(path, how)

    def day(found: Statistics) -> tuple[str, ...]:
        found.count("A1", "pass", 1.0, True)
        return found.take_notes()

    (note,) = with_statistics(path, day)
    assert "was set aside as ledger.sqlite3.sockets.sqlite3.damaged" in note
    assert path.with_name(f"{path.name}.damaged").exists()
    assert with_statistics(path, lambda found: (found.picture("A1").insertions, found.take_notes())) == (
        1,
        (),
    )


def test_a_place_that_cannot_be_written_is_one_note(tmp_path: Path) -> None:
    async def work() -> None:
        found = await Statistics.open(tmp_path / "nowhere" / "s.sqlite3")
        for _ in range(20):
            found.count("A1", "pass", 1.0, True)
            await asyncio.sleep(0.02)
        assert found.picture("A1").insertions == 20
        (note,) = found.take_notes()
        assert "cannot be written" in note
        (tmp_path / "nowhere").mkdir()  # it is mended: all of it is written
        await asyncio.sleep(0.2)
        await found.aclose()
        assert found.take_notes() == ()

    run(work())
    path = tmp_path / "nowhere" / "s.sqlite3"
    assert with_statistics(path, lambda found: found.picture("A1").insertions) == 20


def test_a_file_that_cannot_be_read_is_left_as_it_is(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_statistics(path, lambda found: fill(found, "A1", 7, 0))
    monkeypatch.setattr(statistics, "BUSY_S", 0.05)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode=EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")

        def day(found: Statistics) -> tuple[str, ...]:
            found.count("A1", "pass", 1.0, True)
            assert found.picture("A1").insertions == 1
            return found.take_notes()

        (note,) = with_statistics(path, day)
        assert "cannot be read" in note
    assert with_statistics(path, lambda found: found.picture("A1").insertions) == 7


def test_a_file_that_breaks_meanwhile_is_set_aside_and_begun_again(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = statistics._write
    broken = [True]

    def breaks(connection: sqlite3.Connection, changed: list[SlotCounts]) -> None:
        if "A1" in {one.slot for one in changed} and broken and broken.pop():
            raise sqlite3.DatabaseError("database disk image is malformed")
        write(connection, changed)

    async def work() -> tuple[str, ...]:
        found = await Statistics.open(path)
        found.count("B1", "pass", 1.0, True)
        await asyncio.sleep(0.3)
        monkeypatch.setattr(statistics, "_write", breaks)
        for _ in range(5):
            found.count("A1", "pass", 1.0, True)
            await asyncio.sleep(0.1)
        await found.aclose()
        return found.take_notes()

    (note,) = run(work())
    assert "was set aside" in note
    counts = with_statistics(path, lambda found: [found.picture(slot).insertions for slot in ("A1", "B1")])
    assert counts == [5, 1]


def test_a_disk_that_hangs_holds_nobody(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "CLOSE_S", 0.1)
    monkeypatch.setattr(statistics, "_write", lambda _connection, _changed: time.sleep(5))

    async def work() -> float:
        found = await Statistics.open(path)
        begun = time.monotonic()
        for _ in range(1000):
            found.count("A1", "pass", 1.0, True)
        await asyncio.sleep(0.05)
        await found.aclose()
        return time.monotonic() - begun

    assert run(work()) < 2


def test_it_writes_once_a_second_at_most(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "WRITE_EVERY_S", 0.3)
    writes: list[int] = []
    write = statistics._write

    def noted(connection: sqlite3.Connection, changed: list[SlotCounts]) -> None:
        writes.append(len(changed))
        write(connection, changed)

    monkeypatch.setattr(statistics, "_write", noted)

    async def work() -> None:
        found = await Statistics.open(path)
        for number in range(100):
            found.count(f"A{number % 4}", "pass", 1.0, True)
            await asyncio.sleep(0.01)
        await found.aclose()

    run(work())
    assert 2 <= len(writes) <= 8
    assert max(writes) == 4
