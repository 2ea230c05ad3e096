"""`parburn report`: made from the ledger at any time, it says what the runs' own reports said. Through the
installed command."""

from __future__ import annotations

import csv
import fcntl
import io
import json
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from parburn.cli.output import put_out
from parburn.errors import UsageError
from parburn.ui.report_appending import append_rows
from parburn.ui.report_rows import COLUMNS, ReportRow, csv_line
from tests.command import Outcome, parburn
from tests.provisioning import KEY, PROVISION, mac, said, script
from tests.rig import ROOT, start_rig

# What the ledger does not know: the line, the program, and what was seen of the chip beside its identity.
UNKNOWN = frozenset({
    "slot", "port", "seconds", "turns", "tx_bytes", "rx_bytes", "retries", "parburn_version",
    "python_version", "revision", "simulated",
})  # fmt: skip
# Words for people: the run tells more of them than the ledger keeps.
WORDS = frozenset({"error", "burned", "next_step"})
# Where a burn goes on, the ledger counts the steps that were found there, too.
STEPS = frozenset({"blocks_done", "blocks_total"})
# Of its own clock: the ledger's entries are written within the time that the run tells.
TIMES = frozenset({"started", "ended"})


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


class Line:
    """A ledger, and the report that its runs append to."""

    def __init__(self, folder: Path, ids: Path, key: Path) -> None:
        self.folder, self.ids = folder, ids
        self.ledger, self.appended = folder / "ledger.sqlite", folder / "runs.csv"
        self.work = script(folder, "work", PROVISION.replace("{key}", str(key)))

    def burn(self, ports: list[str], *more: object) -> Outcome:
        """Burn by the script."""
        return parburn(
            "--ports", *ports, "--scripts", self.work, "--configfiles", self.ids, "--ledger", self.ledger,
            "--batch", "gateway", "--do-not-confirm", "--json", "--report", self.appended, *more,
            state=self.folder,
        )  # fmt: skip

    def report(self, *words: object) -> list[dict[str, str]]:
        """The report that is made from the ledger."""
        done = parburn("report", *words, "--ledger", self.ledger, state=self.folder)
        assert done.exit == 0, said(done)
        return list(csv.DictReader(io.StringIO(done.stdout)))

    def report_to(self, output: Path, *words: object) -> Outcome:
        """Make the report into a file."""
        return parburn("report", "-o", output, *words, "--ledger", self.ledger, state=self.folder)


@pytest.fixture
def line(tmp_path: Path, ids: Path, key: Path) -> Line:
    return Line(tmp_path, ids, key)


def by_unit(rows: list[dict[str, str]]) -> dict[tuple[str, str], dict[str, str]]:
    found = {(row["mac"], row["run"]): row for row in rows}
    assert len(found) == len(rows)
    return found


def test_it_says_what_the_reports_of_the_runs_say(tmp_path: Path, line: Line) -> None:
    """Passes, a board that broke off and went on, boards that had passed before; two stations."""
    fault = "on board 1: the controller never becomes idle after program 1"
    with start_rig("esp32c3:2,esp32:1", tmp_path=tmp_path, faults=[fault]) as rig:
        done = line.burn(rig.ports, "--station", "=line 2", "--operator", "Kim")
        assert sorted(done.words) == ["incomplete", "pass", "pass"], said(done)
    with start_rig("esp32c3:2,esp32:1", tmp_path=tmp_path) as rig:
        done = line.burn(rig.ports, "--operator", "Lee")
        assert sorted(done.words) == ["already-pass", "already-pass", "pass"], said(done)
    ours, theirs = by_unit(line.report()), by_unit(read(line.appended))
    assert ours.keys() == theirs.keys()
    for who, row in ours.items():
        other = theirs[who]
        assert [*row] == [*other] == [*COLUMNS]
        for name in set(COLUMNS) - UNKNOWN - WORDS - STEPS - TIMES - {"state"}:
            assert row[name] == other[name], (who, name)
        assert all(int(row[name]) >= int(other[name]) for name in STEPS)
        for name in UNKNOWN:
            assert row[name] == ""
        assert other["started"] <= row["started"] <= row["ended"]
        assert row["state"].startswith("whole since ")  # what it is now
    assert {row["station"] for row in ours.values() if row["operator"] == "Kim"} == {"'=line 2"}
    assert KEY.hex() not in str(ours)


def test_a_run_that_was_killed_is_in_it_and_what_was_taken_over(tmp_path: Path, line: Line) -> None:
    with start_rig("esp32c3", 2, tmp_path=tmp_path) as rig:
        assert line.burn(rig.ports[:1]).exit == 0
        used = tmp_path / "used.txt"
        used.write_text(f"7,esp32c3,{rig.mac(1)}\n")
        words = ("import-used", used, "--batch", "old", "--why", "sheet", "--ledger", line.ledger)
        assert parburn("ledger", *words, state=tmp_path).exit == 0
    with closing(sqlite3.connect(line.ledger)) as connection:
        connection.execute("INSERT INTO runs (batch, started, process) VALUES (1, '2026', 'x')")
        connection.commit()
    rows = line.report()
    assert [(row["batch"], row["index"], row["run"]) for row in rows] == [
        ("gateway", "1", "1"),
        ("old", "7", ""),
    ]
    assert rows[1]["burned"] == "taken over from another ledger"
    assert [row["batch"] for row in line.report("old")] == ["old"]


def test_a_run_that_was_killed_is_told_as_it_left_its_boards(tmp_path: Path) -> None:
    """Three boards; the run was killed after its last attempt, and the next run found that out."""
    ledger = tmp_path / "ledger.sqlite"
    words = [sys.executable, "-m", "tests.ledger.a_run", str(ledger), "0"]
    killed = subprocess.run([*words, "3", "after", "4"], cwd=ROOT, capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert subprocess.run([*words[:-1], "7", "1"], cwd=ROOT, capture_output=True, check=False).returncode == 0
    done = parburn("report", "--format", "json", "--ledger", ledger, state=tmp_path)
    rows = [row for row in json.loads(done.stdout) if row["run"] == 1]
    results = {row["result"] for row in rows}
    assert results <= {"failed", "incomplete"}
    assert "incomplete" in results
    assert all(row["error"] for row in rows)
    assert all(row["state"].startswith("half burned since") for row in rows if row["result"] == "incomplete")


def test_filters_and_forms(tmp_path: Path, line: Line) -> None:
    with start_rig("esp32c3", 3, tmp_path=tmp_path) as rig:
        assert line.burn(rig.ports).exit == 0
    assert len(line.report("--since", "1h")) == 3
    assert line.report("--since", "2999-01-01") == []
    whole = parburn("report", "gateway", "--format", "json", "--ledger", line.ledger, state=tmp_path)
    rows: list[dict[str, Any]] = json.loads(whole.stdout)
    assert [row["index"] for row in rows] == [1, 2, 3]
    assert all([*row] == [*COLUMNS] for row in rows)
    assert rows[0]["values"]["CUSTOM_MAC"] == rows[0]["unique_values"]["CUSTOM_MAC"]
    empty = ("report", "--format", "json", "--since", "2999-01-01", "--ledger", line.ledger)
    assert json.loads(parburn(*empty, state=tmp_path).stdout) == []
    output = tmp_path / "out.csv"
    assert parburn("report", "-o", output, "--ledger", line.ledger, state=tmp_path).exit == 0
    assert len(read(output)) == 3


def test_it_overwrites_no_ledger_and_names_what_is_not_there(tmp_path: Path, line: Line) -> None:
    with start_rig("esp32c3", 1, tmp_path=tmp_path) as rig:
        assert line.burn(rig.ports).exit == 0
    before = line.ledger.read_bytes()
    link = tmp_path / "link.csv"
    link.symlink_to(line.ledger)
    for output in (line.ledger, f"{line.ledger}-wal", f"{line.ledger}.witness", link, tmp_path):
        done = parburn("report", "-o", output, "--ledger", line.ledger, state=tmp_path)
        assert done.exit == 2, said(done)
    assert line.ledger.read_bytes() == before
    done = parburn("report", "none", "--ledger", line.ledger, state=tmp_path)
    assert (done.exit, "has no batch none" in done.stderr) == (2, True), said(done)
    done = parburn("report", "--ledger", tmp_path / "no.sqlite", state=tmp_path)
    assert (done.exit, "There is no ledger" in done.stderr) == (2, True), said(done)


def test_a_run_that_was_killed_before_it_burned_has_not_passed(tmp_path: Path, line: Line) -> None:
    """The board had passed another job before; what is not known of a run is not told of it."""
    dies = script(tmp_path, "dies", "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n")
    words = ("--batch", "gateway", "--do-not-confirm", "--json", "--ledger", line.ledger)
    with start_rig("esp32c3", 1, tmp_path=tmp_path) as rig:
        assert line.burn(rig.ports).exit == 0
        job = ("--ports", *rig.ports, "--scripts", dies, "--configfiles", line.ids)
        assert parburn(*job, *words, state=tmp_path).exit == -signal.SIGKILL
        killed = line.report()[1]
        assert (killed["run"], killed["result"], killed["error"]) == ("2", "", "")
        assert line.burn(rig.ports).words == ["already-pass"]
    results = [(row["run"], row["result"], row["error"]) for row in line.report()]
    gone = "the process of that run is gone"
    assert results == [("1", "pass", ""), ("2", "failed", gone), ("3", "already-pass", "")]
    told = parburn("ledger", "history", "1", "--ledger", line.ledger, state=tmp_path)
    assert "had passed before, nothing was left to burn" in " ".join(told.stdout.split())
    verified = parburn("ledger", "verify", "--ledger", line.ledger, state=tmp_path)
    assert verified.exit == 0, said(verified)


def test_a_run_has_no_values_that_were_burned_later(tmp_path: Path, line: Line) -> None:
    bad = script(tmp_path, "bad", "raise SystemExit('not today')\n")
    words = ("--batch", "gateway", "--do-not-confirm", "--ledger", line.ledger)
    with start_rig("esp32c3", 1, tmp_path=tmp_path) as rig:
        bit = ("--ports", *rig.ports, "--configfiles", line.ids, "--commands", "burn_efuse DIS_USB_JTAG 1")
        done = parburn(*bit, *words, state=tmp_path)
        assert done.exit == 0, said(done)
        failed = ("--ports", *rig.ports, "--scripts", bad, "--configfiles", line.ids)
        assert parburn(*failed, *words, state=tmp_path).exit == 1
        assert line.burn(rig.ports).words == ["pass"]
    rows = [(row["result"], row["unique_values"], row["values"]) for row in line.report()]
    unique = f"CUSTOM_MAC={mac(1)}"
    assert rows[:2] == [("pass", "", "DIS_USB_JTAG=1"), ("failed", "", "DIS_USB_JTAG=1")]
    assert rows[2][:2] == ("pass", unique)
    assert rows[2][2].startswith(f"{unique}; DIS_USB_JTAG=1; ")


@pytest.mark.long
def test_it_replaces_its_own_reports_and_nothing_else(tmp_path: Path, line: Line) -> None:
    with start_rig("esp32c3", 2, tmp_path=tmp_path) as rig:
        assert line.burn(rig.ports[:1]).exit == 0
        own = {form: tmp_path / f"own.{form}" for form in ("csv", "json")}
        for form in (*own, *own):
            assert line.report_to(own[form], "--format", form).exit == 0
        empty = tmp_path / "empty.csv"
        empty.touch()
        assert line.report_to(empty).exit == 0
        jsonl, notes, mixed = tmp_path / "runs.jsonl", tmp_path / "notes.csv", tmp_path / "mixed.csv"
        listed = tmp_path / "listed.json"
        listed.write_text("[1, 2]")
        notes.write_text("slot,what\n1,loose\n")
        mixed.write_bytes(own["csv"].read_bytes())
        for number, file in enumerate((jsonl, mixed)):
            assert line.burn(rig.ports[number:], "--report", file).exit == 0
    for file in (line.appended, jsonl, notes, mixed, listed, line.work):
        before = file.read_bytes()
        for form in own:
            done = line.report_to(file, "--format", form)
            assert done.exit == 2, said(done)
            assert f"{file.stem}-2{file.suffix}" in done.stderr.replace("\n", " ")
        assert file.read_bytes() == before
    assert line.report_to(own["json"], "--format", "csv").exit == 0
    assert len(read(own["json"])) >= 2
    assert not [*tmp_path.glob(".parburn-*")]


def test_no_run_appends_to_a_report_while_it_is_replaced(tmp_path: Path, line: Line) -> None:
    """A run has made the file while the report was made; another program holds its lock."""
    output = tmp_path / "out.csv"

    def pieces() -> Generator[str, None, None]:
        yield "slot,port,chip\n"
        append_rows(output, [csv_line(ReportRow(slot="a", port="/dev/x"))])

    with pytest.raises(UsageError, match="has not made it alone"):
        put_out(pieces(), output, own_only=True)
    assert [row["slot"] for row in read(output)] == ["a"]
    assert [*tmp_path.glob(".parburn-*")] == []
    output.unlink()
    with start_rig("esp32c3", 1, tmp_path=tmp_path) as rig:
        assert line.burn(rig.ports).exit == 0
    assert line.report_to(output).exit == 0
    before = output.read_bytes()
    with output.open("r+b") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        done = line.report_to(output)
    assert (done.exit, "another program holds it" in done.stderr) == (2, True), said(done)
    assert output.read_bytes() == before
