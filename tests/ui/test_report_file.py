"""The report as it is written: whole rows under a lock, all or none, from a thread that holds up nobody."""

from __future__ import annotations

import errno
import fcntl
import multiprocessing
import os
import threading
import time
from pathlib import Path

import pytest

from parburn.errors import UsageError
from parburn.events import Finished, LedgerOpened, RunStarted
from parburn.ui import report_appending, report_file
from parburn.ui.fanout import Fanout
from parburn.ui.report_appending import append_rows, check_report
from parburn.ui.report_file import ReportFile
from parburn.ui.report_rows import ReportRow, csv_header, csv_line, json_line
from tests.ui.story import PORTS, REPORTS, SLOTS

ROW = csv_line(ReportRow(slot="a", error="x" * 3000))


def hammer(path: Path, name: str, rows: int) -> None:
    for number in range(rows):
        append_rows(path, [csv_line(ReportRow(slot=name, index=number, error="e" * 5000))])


def test_many_processes_append_whole_rows_and_one_header(tmp_path: Path) -> None:
    path, names, each = tmp_path / "run.csv", "abcdef", 50
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=hammer, args=(path, name, each)) for name in names]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    first, *lines = path.read_text().splitlines(keepends=True)
    assert first == csv_header()
    assert len(lines) == len(names) * each
    for name in names:
        own = [line for line in lines if line.startswith(f"{name},")]
        assert own == [csv_line(ReportRow(slot=name, index=n, error="e" * 5000)) for n in range(each)]


def test_a_full_disk_in_the_middle_of_a_row_leaves_the_file_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run.csv"
    append_rows(path, [ROW])
    before, write = path.read_bytes(), os.write
    room = [100]

    def full(file: int, data: bytes) -> int:
        if not room[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        room[0] -= (done := write(file, data[: room[0]]))
        return done

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        with pytest.raises(OSError, match="No space"):
            append_rows(path, [ROW, ROW])
    assert path.read_bytes() == before
    append_rows(path, [ROW])
    assert path.read_bytes() == before + ROW.encode()


def test_what_could_not_be_written_comes_with_the_next_row(tmp_path: Path) -> None:
    folder = tmp_path / "stick"
    report = ReportFile(folder / "run.csv", lambda: ({}, {}, {}))
    report.emit(Finished(PORTS[0], REPORTS[0]))
    end = time.monotonic() + 10
    while report._why is None and time.monotonic() < end:
        time.sleep(0.01)
    folder.mkdir()  # the stick is plugged in again
    report.emit(Finished(PORTS[1], REPORTS[1]))
    assert report.finish() == ""
    assert [line.split(",")[1] for line in report.path.read_text().splitlines()] == ["port", *PORTS[:2]]


def test_a_file_that_stays_locked_is_told_and_nothing_is_lost_of_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report_appending, "LOCK_DEADLINE_S", 0.2)
    path = tmp_path / "run.csv"
    append_rows(path, [ROW])
    before = path.read_bytes()
    with path.open("r+") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        report = ReportFile(path, lambda: ({}, {}, {}))
        report.emit(Finished(PORTS[0], REPORTS[0]))
        assert report.finish() == (
            f"{path}: another program holds it for more than 0.2 s; rows that are missing: 1"
        )
        with pytest.raises(UsageError, match=r"it cannot be written: another program holds it"):
            check_report(path)
    assert path.read_bytes() == before


def test_a_disk_that_hangs_does_not_hold_up_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_file, "END_DEADLINE_S", 0.2)
    monkeypatch.setattr(report_file, "append_rows", lambda *given: time.sleep(2))
    report = ReportFile(tmp_path / "run.csv", lambda: ({}, {}, {}))
    began = time.monotonic()
    report.emit(Finished(PORTS[0], REPORTS[0]))
    assert "no answer from the disk for 0.2 s" in report.finish()
    report.close()
    assert time.monotonic() - began < 1.5


def test_a_file_that_is_put_in_place_of_another_gets_the_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `logrotate` does it, in the very moment in which the lock is waited for."""
    path, lock = tmp_path / "run.csv", fcntl.flock
    append_rows(path, [ROW])

    def rotated(file: int, kind: int) -> None:
        if not (tmp_path / "old.csv").exists():
            path.rename(tmp_path / "old.csv")
        lock(file, kind)

    monkeypatch.setattr(fcntl, "flock", rotated)
    append_rows(path, [ROW])
    assert (tmp_path / "old.csv").read_text() == path.read_text() == csv_header() + ROW


def test_a_file_of_an_older_parburn_is_refused_while_it_runs_too(tmp_path: Path) -> None:
    path = tmp_path / "run.csv"
    report = ReportFile(path, lambda: ({}, {}, {}))
    path.write_text("slot,port\n")  # somebody was faster
    report.emit(Finished(PORTS[0], REPORTS[0]))
    assert "it has other columns than this version of parburn writes" in report.finish()
    assert path.read_text() == "slot,port\n"


def test_rows_have_what_the_events_before_them_said(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    report = ReportFile(path, lambda: ({"s.py": "ab"}, {}, {}))
    report.emit(LedgerOpened("", 7, "demo", "/l", "cd", "bench", "Ana"))
    report.emit(RunStarted("", PORTS, SLOTS, simulated=True, dry_run=True))
    report.emit(Finished(PORTS[0], REPORTS[0]))
    assert report.finish() == report.finish() == ""
    text = path.read_text()
    for part in ('"run": 7', '"batch": "demo"', '"operator": "Ana"', '"dry_run": true', '{"s.py": "ab"}'):
        assert part in text
    append_rows(path, [json_line(ReportRow())])
    check_report(path)


@pytest.mark.parametrize("size", [10, 100_000])
def test_a_row_of_any_length_may_be_the_first_one(tmp_path: Path, size: int) -> None:
    path = tmp_path / "run.jsonl"
    row = json_line(ReportRow(slot="a", error="é" * size))
    append_rows(path, [row])
    append_rows(path, [row])
    assert path.read_text() == 2 * row
    path.write_text(row.rstrip("\n"))  # as an editor may leave it
    append_rows(path, [row])
    assert path.read_text() == 2 * row
    path.write_text("x" * size)
    with pytest.raises(UsageError, match="other columns"):
        append_rows(path, [row])


def test_a_row_that_cannot_be_made_is_told_and_the_others_are_written(tmp_path: Path) -> None:
    path = tmp_path / "run.csv"
    asked: list[int] = []

    def digests() -> tuple[dict[str, str], ...]:
        asked.append(1)
        if len(asked) == 2:
            raise ValueError("no digest")
        return {}, {}, {}

    report = ReportFile(path, digests)
    failed: list[Exception] = []
    fanout = Fanout([report], on_failure=lambda _, error: failed.append(error))
    for number in range(3):
        fanout.emit(Finished(PORTS[number], REPORTS[number]))
    assert report.finish() == f"{path}: no digest; rows that are missing: 1"
    assert [line.split(",")[1] for line in path.read_text().splitlines()] == ["port", PORTS[0], PORTS[2]]
    assert (fanout.observers, failed) == ((report,), [])


@pytest.mark.parametrize("refusals", [1, 99])
def test_rows_are_written_where_the_system_gives_no_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusals: int
) -> None:
    start, left = threading.Thread.start, [refusals]

    def refused(thread: threading.Thread) -> None:
        if left[0]:
            left[0] -= 1
            raise RuntimeError("can't start new thread")
        start(thread)

    path = tmp_path / "run.csv"
    report = ReportFile(path, lambda: ({}, {}, {}))
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refused)
        for number in range(2):
            report.emit(Finished(PORTS[number], REPORTS[number]))
        assert report.finish() == report.finish() == ""
    report.close()
    assert [line.split(",")[1] for line in path.read_text().splitlines()] == ["port", *PORTS[:2]]


def test_no_row_makes_no_file(tmp_path: Path) -> None:
    report = ReportFile(tmp_path / "run.csv", lambda: ({}, {}, {}))
    report.emit(LedgerOpened("", 7, "demo", "/l", "cd", "bench", "Ana"))
    assert report.finish() == ""
    assert not [*tmp_path.iterdir()]
