"""The report file: a row per board, whole or not at all."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import pytest

from parburn import __version__
from parburn.ui.report import COLUMNS, Inputs, write_report
from tests.ui.story import REPORTS

INPUTS = Inputs({"burn.py": "ab" * 32}, {"ids.json": "cd" * 32}, {})


def test_csv_has_a_row_per_board(tmp_path: Path) -> None:
    path = tmp_path / "report.csv"
    write_report(path, REPORTS, INPUTS)
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(REPORTS)
    assert tuple(rows[0]) == COLUMNS
    assert rows[0]["port"] == REPORTS[0].port
    assert rows[0]["slot"] == REPORTS[0].slot
    assert rows[0]["unique_values"] == "CUSTOM_MAC=aa:bb"
    assert rows[0]["scripts"] == f"burn.py={'ab' * 32}"
    assert rows[0]["parburn_version"] == __version__
    assert rows[3]["error"] == "BLOCK1 shows other bits [31mthan planned"
    assert rows[3]["result"] == "quarantined"


def test_json_has_the_same_rows_with_their_types(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    write_report(path, REPORTS, INPUTS)
    rows = json.loads(path.read_text())
    assert [tuple(row) for row in rows] == [COLUMNS] * len(REPORTS)
    assert rows[0]["index"] == 5
    assert rows[0]["seconds"] == 0.412
    assert rows[0]["turns"] == 10
    assert rows[0]["unique_values"] == {"CUSTOM_MAC": "aa:bb"}
    assert rows[0]["config_files"] == {"ids.json": "cd" * 32}


def test_an_old_report_is_replaced_and_nothing_else_is_left(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text("old")
    write_report(path, REPORTS[:1], INPUTS)
    assert len(json.loads(path.read_text())) == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.json"]


def test_a_report_that_cannot_be_written_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "report.csv"
    path.write_text("old")

    def full(self: Path, target: object) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space"):
        write_report(path, REPORTS, INPUTS)
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.csv"]


def test_a_report_may_go_to_a_device() -> None:
    write_report(Path(os.devnull), REPORTS, INPUTS)
    assert Path(os.devnull).is_char_device()
