"""`--report` by the installed command: it appends, loses nobody's rows, says who, where, when and what."""

from __future__ import annotations

import csv
import fcntl
import json
import os
import pty
import signal
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from parburn.ui.report_rows import COLUMNS
from tests.command import COMMAND, Outcome, environment, finish, parburn, start
from tests.provisioning import said, script
from tests.rig import Rig, start_rig

MAC = "espefuse(esp, efuses, args, 'burn_custom_mac 02:00:00:00:09:%02x' % args.index)\n"
FLAG = "espefuse(esp, efuses, args, 'burn_efuse DIS_PAD_JTAG 1')\n"
FAILS = "raise esptool.FatalError('no')\n"


def csv_rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        found = list(csv.DictReader(file))
    assert all(tuple(row) == COLUMNS and None not in row.values() for row in found)
    return found


def json_rows(path: Path) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in path.read_text().splitlines()]
    assert all(tuple(row) == COLUMNS for row in found)
    return found


def burn(rig: Rig, path: Path, report: Path, *words: object, state: Path, **extra: Any) -> Outcome:
    return parburn(
        "--ports", *rig.ports, "--scripts", path, "--do-not-confirm", "--json", "--report", report, *words,
        state=state, **extra,
    )  # fmt: skip


# It appends -------------------------------------------------------------------------------------------


def test_the_next_load_is_appended_and_a_passed_board_keeps_its_values(tmp_path: Path) -> None:
    path, report = script(tmp_path, "job", MAC + FLAG), tmp_path / "run.csv"
    with start_rig("esp32c3:2", tmp_path=tmp_path) as rig:
        assert burn(rig, path, report, state=tmp_path).exit == 0
        before = report.read_bytes()
        assert burn(rig, path, report, state=tmp_path).exit == 0
    assert report.read_bytes().startswith(before)
    assert report.read_text().count("slot,port,") == 1
    rows = csv_rows(report)
    assert [row["result"] for row in rows] == ["pass"] * 2 + ["already-pass"] * 2
    assert [row["run"] for row in rows] == ["1", "1", "2", "2"]
    for row in rows:
        since = rows[0]["ended"][:16].replace("T", " ")
        assert row["values"] == f"CUSTOM_MAC=02:00:00:00:09:0{row['index']}; DIS_PAD_JTAG=1"
        assert row["unique_values"] == f"CUSTOM_MAC=02:00:00:00:09:0{row['index']}"
        assert row["state"].startswith("whole since ")
        assert row["state"][12:] in (since, rows[1]["ended"][:16].replace("T", " "))
    assert {row["burned"] for row in rows[:2]} == {"all 2 steps were burned and verified"}
    assert {row["burned"] for row in rows[2:]} == {"nothing was burned in this run; the chip is whole"}


def test_every_row_and_every_object_says_when_where_by_whom_and_of_which_chip(tmp_path: Path) -> None:
    path, report, begun = script(tmp_path, "job", MAC), tmp_path / "run.jsonl", datetime.now(UTC)
    words = ("--batch", "demo", "--operator", "Ana")
    with start_rig("esp32c3:1,esp32:1", tmp_path=tmp_path) as rig:
        first = burn(rig, path, report, *words, state=tmp_path, PARBURN_STATION="bench 2")
        second = burn(rig, path, report, state=tmp_path, PARBURN_OPERATOR="Eva")
    assert parburn("ledger", "export", "-o", tmp_path / "all.json", state=tmp_path).exit == 0
    exported = json.loads((tmp_path / "all.json").read_text())
    rows = json_rows(report)
    ended = datetime.now(UTC)
    assert [row["station"] for row in rows] == ["bench 2"] * 2 + [os.uname().nodename] * 2
    assert [row["operator"] for row in rows] == ["Ana"] * 2 + ["Eva"] * 2
    assert {row["batch"] for row in rows[:2]} == {"demo"}
    assert {(row["ledger"], row["ledger_uuid"]) for row in rows} == {
        (str(tmp_path / "parburn" / "ledger.sqlite3"), exported["uuid"])
    }
    for row in rows:
        times = [datetime.fromisoformat(row[name]) for name in ("started", "ended")]
        assert begun - timedelta(milliseconds=1) <= times[0] <= times[1] <= ended
        assert all(one.utcoffset() == timedelta(0) for one in times)
        assert row["revision"] == ("v0.2" if row["chip"] == "esp32c3" else "v3.0")
        assert len(row["unique_id"]) == (32 if row["chip"] == "esp32c3" else 0)
    for number, outcome in enumerate((first, second), 1):
        for event in outcome.events:
            assert event["station"] == rows[2 * number - 1]["station"]
            assert event["operator"] == rows[2 * number - 1]["operator"]
            assert begun - timedelta(milliseconds=1) <= datetime.fromisoformat(event["time"]) <= ended
        known = [event for event in outcome.events if event["event"] in ("start", "result", "summary")]
        assert len(known) == 4
        assert {(event["run"], event["ledger_uuid"]) for event in known} == {(number, exported["uuid"])}
        for result in outcome.results:
            row = next(row for row in rows if (row["port"], row["run"]) == (result["port"], number))
            for name in ("unique_id", "revision", "values", "state", "started", "ended"):
                assert result[name] == row[name], name
    told = [entry["detail"] for entry in exported["history"] if entry["event"] == "run"]
    assert [(one["station"], one["operator"]) for one in told] == [
        ("bench 2", "Ana"), (os.uname().nodename, "Eva"),
    ]  # fmt: skip
    assert list(told[0]["files"]["scripts"].values()) == list(rows[0]["scripts"].values())


def test_a_folder_gets_a_file_for_each_run(tmp_path: Path) -> None:
    path, folder = script(tmp_path, "job", MAC), tmp_path / "reports.csv"
    folder.mkdir()
    with start_rig("esp32c3:2", tmp_path=tmp_path) as rig:
        for _ in range(2):
            assert burn(rig, path, folder, state=tmp_path).exit == 0
    files = sorted(folder.iterdir())
    assert [file.name.partition("_run")[2] for file in files] == ["1.csv", "2.csv"]
    assert [[row["result"] for row in csv_rows(file)] for file in files] == [
        ["pass"] * 2, ["already-pass"] * 2,
    ]  # fmt: skip
    done = [
        parburn(
            "--sim", "esp32c3:1", "--scripts", path, "--do-not-confirm", "--report", folder, state=tmp_path
        )
        for _ in range(2)
    ]
    assert [one.exit for one in done] == [0, 0]
    assert len(list(folder.iterdir())) == 4


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_two_runs_at_once_write_one_file(tmp_path: Path, form: str) -> None:
    path, report = script(tmp_path, "job", MAC), tmp_path / f"run.{form}"
    words = ("--sim", "esp32c3:8", "--scripts", path, "--do-not-confirm", "--quiet", "--report", report)
    started = [start(*words, state=tmp_path / str(n)) for n in range(3)]
    assert [finish(one).exit for one in started] == [0] * 3
    rows = csv_rows(report) if form == "csv" else json_rows(report)
    assert [row["result"] for row in rows] == ["pass"] * 24
    assert len({row["port"] for row in rows}) == 24


# What is refused --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("run.json", "[]", "Name it run.jsonl"),
        ("run.txt", None, "must end in .csv or .jsonl"),
        ("reports", None, "or be a folder that is there"),
        ("run.csv", "slot,port,chip\n1,2,3\n", "Name another file, as run-4.csv"),
        ("run-3.csv", "id;mac\n", "Name another file, as run-4.csv"),
        ("run.jsonl", '[{"slot": 1}]\n', "Name another file, as run-2.jsonl"),
        ("run.csv", "\x00\x01\xff", "Name another file, as run-4.csv"),
        ("gone/run.csv", None, "there is no folder gone"),
        ("pipe.csv", None, "it is no file"),
    ],
)
def test_what_is_none_of_ours_is_refused_with_the_name_to_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: str | None, told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe.csv")
    for number in (2, 3):
        Path(f"run-{number}.csv").write_text("taken\n")
    if content is not None:
        Path(name).write_text(content)
    before = {file.name: file.is_file() and file.read_bytes() for file in tmp_path.iterdir()}
    path = script(Path(), "job", MAC)
    words = ("--sim", "esp32c3:1", "--scripts", path, "--do-not-confirm", "--report", name)
    done = parburn(*words, state=tmp_path / "state")
    assert done.exit == 2, said(done)
    assert f"--report {name}: " in done.stderr
    assert told in done.stderr
    assert "nothing was overwritten" in done.stderr
    path.unlink()
    assert {file.name: file.is_file() and file.read_bytes() for file in tmp_path.iterdir()} == before


def test_an_edited_report_is_still_appended_to(tmp_path: Path) -> None:
    """With a byte order mark, other line ends and no end of the last line, as editors leave it."""
    path, report = script(tmp_path, "job", MAC), tmp_path / "run.csv"
    words = ("--sim", "esp32c3:1", "--scripts", path, "--do-not-confirm", "--report", report)
    assert parburn(*words, state=tmp_path).exit == 0
    edited = report.read_text().strip().replace("\n", "\r\n")
    report.write_text("\ufeff" + edited, newline="")
    assert parburn(*words, state=tmp_path).exit == 0
    with report.open(newline="", encoding="utf-8-sig") as file:
        assert [row["result"] for row in csv.DictReader(file)] == ["pass"] * 2


# What cannot be written -------------------------------------------------------------------------------


def test_a_report_that_cannot_be_written_is_an_exit_code_and_a_sentence(tmp_path: Path) -> None:
    folder = tmp_path / "record"
    folder.mkdir()
    path = script(tmp_path, "job", f"import shutil\nshutil.rmtree({str(folder)!r}, True)\n{MAC}")
    with start_rig("esp32c3:2", tmp_path=tmp_path) as rig:
        done = burn(rig, path, folder / "run.csv", state=tmp_path)
    assert done.words == ["pass"] * 2
    assert done.exit == done.events[-1]["exit"] == 6
    assert f"the report could not be written: {folder / 'run.csv'}: No such file or directory" in done.stderr
    assert "rows that are missing: 2; what was burned is in the ledger" in done.stderr
    assert [one["level"] for one in done.events if one["event"] == "note"][-1] == "warning"


def test_a_board_that_failed_keeps_its_exit_code_where_the_report_fails_too(tmp_path: Path) -> None:
    folder = tmp_path / "record"
    folder.mkdir()
    path = script(tmp_path, "job", f"import shutil\nshutil.rmtree({str(folder)!r}, True)\n{FAILS}")
    words = ("--sim", "esp32c3:1", "--scripts", path, "--do-not-confirm", "--report", folder / "run.csv")
    done = parburn(*words, state=tmp_path)
    assert done.exit == 1
    assert "the report could not be written" in done.stderr


def test_a_file_that_is_locked_for_a_while_is_waited_for(tmp_path: Path) -> None:
    path, report = script(tmp_path, "job", MAC), tmp_path / "run.csv"
    words = ("--sim", "esp32c3:1", "--scripts", path, "--do-not-confirm", "--quiet", "--report", report)
    assert parburn(*words, state=tmp_path).exit == 0
    process = start(*words, state=tmp_path)
    time.sleep(0.5)
    with report.open("r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        time.sleep(2)
    assert finish(process).exit == 0
    assert len(csv_rows(report)) == 2


def test_a_run_that_is_killed_leaves_the_rows_of_the_boards_that_had_ended(tmp_path: Path) -> None:
    report = tmp_path / "run.csv"
    path = script(tmp_path, "job", f"import time\nif args.index == 1:\n    {FAILS}time.sleep(50)\n")
    with start_rig("esp32c3:3", tmp_path=tmp_path) as rig:
        process = start("--ports", *rig.ports, "--scripts", path, "--do-not-confirm", "--report", report,
                        state=tmp_path)  # fmt: skip
        end = time.monotonic() + 30
        while time.monotonic() < end and not (report.exists() and report.read_text().count("\n") == 2):
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    (row,) = csv_rows(report)
    assert (row["result"], row["port"], row["state"]) == ("failed", rig.ports[0], "never burned")


@pytest.mark.parametrize(("mask", "mode"), [(0o027, 0o640), (0o077, 0o600), (0o002, 0o664)])
def test_outputs_follow_the_umask(tmp_path: Path, mask: int, mode: int) -> None:
    path = script(tmp_path, "job", MAC)
    outputs = [tmp_path / name for name in ("run.csv", "run.trace", "all.json")]
    words = ("--sim", "esp32c3:1", "--ledger", tmp_path / "l.db", "--scripts", path, "--do-not-confirm")
    before = os.umask(mask)
    try:
        assert parburn(*words, "--report", outputs[0], "--trace", outputs[1], state=tmp_path).exit == 0
        export = ("ledger", "export", "--ledger", tmp_path / "l.db", "-o", outputs[2])
        assert parburn(*export, state=tmp_path).exit == 0
    finally:
        os.umask(before)
    assert [one.stat().st_mode & 0o777 for one in outputs] == [mode] * 3


# What stands in it ------------------------------------------------------------------------------------


def test_the_record_says_that_a_chip_is_half_burned(tmp_path: Path) -> None:
    report = tmp_path / "run.csv"
    breaks = script(tmp_path, "breaks", f"{MAC}efuses.burn_all()\n{FAILS}")
    with start_rig("esp32c3:1", tmp_path=tmp_path) as rig:
        for path in (breaks, script(tmp_path, "fails", FAILS), script(tmp_path, "whole", MAC)):
            burn(rig, path, report, "--batch", "a", state=tmp_path)
        burn(rig, script(tmp_path, "fails", FAILS), report, "--batch", "a", state=tmp_path)
        shown = burn(rig, script(tmp_path, "show", "pass\n"), report, "--batch", "b", state=tmp_path)
        looked = parburn("--ports", *rig.ports, "--commands", "summary", "--report", report, state=tmp_path)
    assert looked.exit == 0
    assert shown.exit == 0
    broken, failed, whole, later, other, read = csv_rows(report)
    begun = broken["ended"][:16].replace("T", " ")
    assert (broken["result"], broken["state"]) == ("incomplete", f"half burned since {begun}")
    assert broken["values"] == "CUSTOM_MAC=02:00:00:00:09:01"
    assert (failed["result"], failed["state"][:17]) == ("failed", "half burned since")
    assert failed["burned"] == "nothing was burned in this run; the chip is half burned"
    assert failed["values"] == broken["values"]
    assert (whole["result"], whole["state"][:11]) == ("pass", "whole since")
    assert (later["result"], later["state"]) == ("failed", whole["state"])
    assert "that PASS stays in the ledger" in later["burned"]
    assert (other["batch"], other["state"]) == ("b", "burned in another batch")
    assert (read["state"], read["run"]) == ("not known", "")


def test_a_board_that_is_refused_by_another_batch_is_told_as_half_burned(tmp_path: Path) -> None:
    report, path = tmp_path / "run.csv", script(tmp_path, "job", MAC)
    breaks = script(tmp_path, "breaks", f"{MAC}efuses.burn_all()\n{FAILS}")
    with start_rig("esp32c3:1", tmp_path=tmp_path) as rig:
        assert burn(rig, breaks, report, "--batch", "a", state=tmp_path).exit == 1
        assert burn(rig, path, report, "--batch", "b", state=tmp_path).exit == 3
    row = csv_rows(report)[-1]
    assert (row["result"], row["state"][:17]) == ("refused", "half burned since")
    assert row["burned"] == "nothing was burned in this run; the chip is half burned"


def test_a_dry_run_says_so_and_what_would_be_burned(tmp_path: Path) -> None:
    report, path = tmp_path / "run.csv", script(tmp_path, "job", MAC + FLAG)
    with start_rig("esp32c3:1", tmp_path=tmp_path) as rig:
        assert burn(rig, path, report, "--dry-run", state=tmp_path).exit == 0
        assert rig.programs(0) == 0
        assert burn(rig, path, report, state=tmp_path).exit == 0
        assert burn(rig, path, report, "--dry-run", state=tmp_path).exit == 0
    row, burned, again = csv_rows(report)
    assert (again["run"], again["ledger_uuid"], again["state"]) == (
        "",
        burned["ledger_uuid"],
        burned["state"],
    )
    assert again["values"] == burned["values"] == row["values"]
    assert (row["dry_run"], row["simulated"]) == ("yes", "no")
    assert row["values"] == "CUSTOM_MAC=02:00:00:00:09:01; DIS_PAD_JTAG=1"
    assert row["state"] == "not known"


def test_no_cell_is_a_formula_and_odd_bytes_break_nothing(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"=odd \xff.py")
    path.write_text(f"{MAC}print('\\udcff')\nraise esptool.FatalError('-\\udcff\\x1b[31m')\n")
    files = ("--configfiles", tmp_path / os.fsdecode(b"\xe9.json"))
    files[1].write_text("{}")
    for name in ("run.csv", "run.jsonl"):
        done = finish(
            _in_folder(tmp_path, "--scripts", path.name, *files, "--report", name, "--operator", "@Ana")
        )
        assert done.exit == 1, said(done)
        assert "Traceback" not in done.stderr
        for event in done.events:
            json.dumps(event, ensure_ascii=False).encode("utf-8")
    (row,) = csv_rows(tmp_path / "run.csv")
    assert (row["operator"], row["scripts"][:13]) == ("'@Ana", "'=odd \\udcff.")
    assert not [cell for cell in row.values() if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]
    (same,) = json_rows(tmp_path / "run.jsonl")
    assert (same["operator"], *same["scripts"]) == ("@Ana", "=odd \\udcff.py")
    assert "\\udcff" in same["error"]


def _in_folder(folder: Path, *words: object) -> subprocess.Popen[str]:
    assert COMMAND
    job = [COMMAND, "--sim", "esp32c3:1", "--do-not-confirm", "--json", *map(str, words)]
    return subprocess.Popen(
        job, cwd=folder, env=environment(folder / "state"), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


@pytest.mark.parametrize("name", ["", "a\nb", "x" * 101, "\udcff"])
def test_a_name_that_cannot_be_recorded_is_refused(tmp_path: Path, name: str) -> None:
    path = script(tmp_path, "job", MAC)
    words = ("--sim", "esp32c3:1", "--scripts", path, "--do-not-confirm")
    told = parburn(*words, "--operator", name, state=tmp_path)
    of_environment = parburn(*words, state=tmp_path, PARBURN_STATION=name)
    if not name:  # nobody
        assert (told.exit, of_environment.exit) == (0, 0)
        return
    assert (told.exit, of_environment.exit) == (2, 2)
    assert "--operator needs a printable name of at most 100 characters" in told.stderr
    assert "PARBURN_STATION is no printable name" in of_environment.stderr


def test_the_time_that_a_person_takes_is_no_time_of_the_board(tmp_path: Path) -> None:
    assert COMMAND
    path, report = script(tmp_path, "job", MAC), tmp_path / "run.csv"
    with start_rig("esp32c3:2", tmp_path=tmp_path) as rig:
        ours, theirs = pty.openpty()
        job = ("--new-ledger", "--scripts", str(path), "--report", str(report))
        words = [COMMAND, "--ports", *rig.ports, *job]
        process = subprocess.Popen(
            words, stdin=theirs, stdout=theirs, stderr=theirs, env=environment(tmp_path)
        )
        os.close(theirs)
        seen = b""
        while b"Type BURN" not in seen:
            seen += os.read(ours, 4096)
        time.sleep(3)
        os.write(ours, b"BURN\n")
        try:
            while os.read(ours, 4096):
                pass
        except OSError:
            pass
        assert process.wait(60) == 0
        os.close(ours)
    for row in csv_rows(report):
        whole = datetime.fromisoformat(row["ended"]) - datetime.fromisoformat(row["started"])
        assert whole > timedelta(seconds=3)
        assert 0 < float(row["seconds"]) < whole.total_seconds() - 2.9


# Links ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["a link", "a link to nothing", "a second name"])
@pytest.mark.parametrize("option", ["--report", "--trace", "-o"])
def test_no_output_may_be_a_link(tmp_path: Path, option: str, way: str) -> None:
    target, output = tmp_path / "another's", tmp_path / "out.csv"
    if way != "a link to nothing":
        target.write_bytes(b"")
    if way == "a second name":
        output.hardlink_to(target)
    else:
        output.symlink_to(target)
    path = script(tmp_path, "job", MAC)
    assert parburn("ledger", "init", "--why", "a test", state=tmp_path).exit == 0
    words = ("--sim", "esp32c3:1", "--scripts", path, "--do-not-confirm", option, output)
    done = parburn(*(("ledger", "export", "-o", output) if option == "-o" else words), state=tmp_path)
    assert done.exit == 2, said(done)
    assert ("a file that has a second name" if way == "a second name" else "is a link to") in done.stderr
    assert not target.exists() or target.read_bytes() == b""


def test_a_trace_replaces_only_a_trace(tmp_path: Path) -> None:
    path, other, trace = script(tmp_path, "job", MAC), tmp_path / "read.csv", tmp_path / "run.trace"
    other.write_text("what a script reads by itself\n")
    words = ("--sim", "esp32c3:1", "--scripts", path, "--do-not-confirm", "--trace")
    done = parburn(*words, other, state=tmp_path)
    assert done.exit == 2
    assert "is no trace of an earlier run" in done.stderr
    assert other.read_text() == "what a script reads by itself\n"
    for _ in range(2):
        assert parburn(*words, trace, state=tmp_path).exit == 0
    assert trace.read_text().count("# '> '") == 1
