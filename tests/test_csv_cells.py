"""A cell that begins as a formula is defused, and an export can be read again."""

from __future__ import annotations

import csv
import json
from itertools import product
from pathlib import Path

import pytest

from parburn.csv_cells import FORMULA, defused, restored
from parburn.ui.report_rows import ReportRow, csv_line
from tests.command import parburn
from tests.provisioning import script


@pytest.mark.parametrize(
    "text", ["", "plain", "'quoted", "=1+1", "'=1", "''@x", *(f"{one}a" for one in FORMULA), "a=b", "-"]
)
def test_each_text_comes_back(text: str) -> None:
    cell = defused(text)
    assert not cell.startswith(FORMULA)
    assert restored(cell) == text
    assert (cell == text) == (not text.lstrip("'").startswith(FORMULA))


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("a;=1", "a;'=1"),
        ("a; =1", "a;' =1"),
        ("a;'=1", "a;''=1"),
        ("a;' =1", "a;'' =1"),
        ("=1;=2;+3", "'=1;'=2;'+3"),
        (";@x", ";'@x"),
        ("'=1; '-2", "''=1;' '-2"),
        ("a\n=1;\n-2", "a\n'=1;\n'-2"),
        ("A=1; B=2", "A=1; B=2"),
        ("a;'b", "a;'b"),
        ("a;' b;", "a;' b;"),
    ],
)
def test_no_formula_begins_where_a_spreadsheet_separates_by_semicolons(text: str, cell: str) -> None:
    assert defused(text) == cell
    assert restored(cell) == text


def test_any_text_comes_back() -> None:
    for letters in product(";'= \n\ta", repeat=5):
        text = "".join(letters)
        assert restored(defused(text)) == text
        assert not [one for one in defused(text).split(";") if one.lstrip(" ").startswith(FORMULA)][1:]


def test_a_row_of_a_report_has_no_formula_behind_a_semicolon() -> None:
    row = ReportRow(operator="Kim;=1+1", error="no;@SUM(A1)", values={"A": "1", "B": "x;-2"})
    line = csv_line(row)
    for text in ("Kim;'=1+1", "no;'@SUM(A1)", "A=1; B=x;'-2"):
        assert text in line
    assert not [one for one in line.split(";") if one.startswith(FORMULA)]


def test_an_export_is_defused_and_is_taken_over_as_it_was(tmp_path: Path) -> None:
    path = script(tmp_path, "job", "espefuse(esp, efuses, args, 'burn_custom_mac 02:00:00:00:09:01')\n")
    words = ("--sim", "esp32c3:1", "--scripts", path, "--do-not-confirm", "--batch", "=cmd()")
    assert parburn(*words, "--ledger", tmp_path / "a.db", state=tmp_path).exit == 0
    table = tmp_path / "a.csv"
    export = ("ledger", "export", "--ledger", tmp_path / "a.db", "--format", "csv", "-o", table)
    assert parburn(*export, state=tmp_path).exit == 0
    with table.open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["batch"] == "'=cmd()"
    for action in (("init",), ("import-used", table)):
        done = parburn("ledger", *action, "--ledger", tmp_path / "b.db", "--why", "a test", state=tmp_path)
        assert done.exit == 0, done.stderr
    whole = ("ledger", "export", "--ledger", tmp_path / "b.db", "-o", tmp_path / "b.json")
    assert parburn(*whole, state=tmp_path).exit == 0
    assert json.loads((tmp_path / "b.json").read_text())["batches"][-1] == "=cmd()"
