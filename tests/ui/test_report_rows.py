"""A row of a report: its columns, its cells as CSV and its object as JSON, whatever the texts hold."""

from __future__ import annotations

import csv
import io
import json
import random

import pytest

from parburn.events import DeviceReport, Result
from parburn.ui import report_rows
from parburn.ui.report_rows import COLUMNS, ReportRow, RunFacts, csv_header, csv_line, json_line, row_of
from tests.ui.story import REPORTS

FACTS = RunFacts(
    7, "demo", "/l.sqlite3", "ab" * 16, "bench 2", "Ana", scripts={"burn.py": "ab" * 32}, parburn_version="1"
)
BEFORE = (
    "slot", "port", "chip", "mac", "index", "unique_values", "result", "error", "burned", "next_step",
    "seconds", "blocks_done", "blocks_total", "turns", "tx_bytes", "rx_bytes", "retries",
    "parburn_version", "python_version", "scripts", "config_files", "tables",
)  # fmt: skip


def cells(row: ReportRow) -> dict[str, str]:
    (found,) = csv.DictReader([csv_header(), csv_line(row)])
    return found


def test_the_columns_of_earlier_reports_have_kept_their_names() -> None:
    assert COLUMNS[: len(BEFORE)] == BEFORE
    assert set(RunFacts._fields) <= set(COLUMNS)


def test_a_row_has_what_the_board_and_the_run_say() -> None:
    report = REPORTS[0]._replace(values={"CUSTOM_MAC": "aa:bb", "SERIAL": "7"}, state="whole since x")
    row = row_of(report, FACTS)
    assert (row.port, row.result, row.run, row.station) == (report.port, "pass", 7, "bench 2")
    found = cells(row)
    assert tuple(found) == COLUMNS
    assert found["values"] == "CUSTOM_MAC=aa:bb; SERIAL=7"
    assert found["scripts"] == f"burn.py={'ab' * 32}"
    assert (found["seconds"], found["index"], found["dry_run"]) == ("0.412", "5", "no")
    value = json.loads(json_line(row))
    assert tuple(value) == COLUMNS
    assert value["values"] == {"CUSTOM_MAC": "aa:bb", "SERIAL": "7"}
    assert (value["seconds"], value["index"], value["dry_run"]) == (0.412, 5, False)


def test_a_row_may_know_less_and_has_all_columns() -> None:
    row = ReportRow(mac="aa:bb:cc:dd:ee:ff", state="half burned")
    assert tuple(cells(row)) == tuple(json.loads(json_line(row))) == COLUMNS
    assert json.loads(json_line(row))["seconds"] is None


@pytest.mark.parametrize("first", ["=", "+", "-", "@", "\t=", "\r+", " \t-", "\n@"])
def test_no_cell_is_a_formula(first: str) -> None:
    text = f"{first}HYPERLINK(1)"
    report = DeviceReport("p", text, Result.FAILED, error=text, unique_values={text: "1"})
    found = cells(row_of(report, FACTS._replace(operator=text, scripts={text: text})))
    for name in ("slot", "error", "unique_values", "operator", "scripts"):
        assert found[name][0] == "'", name
        assert found[name][1] in "=+-@"
    assert not [cell for cell in found.values() if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]


@pytest.mark.parametrize("text", ["odd \udcff byte", "\ud83d", 'a,"b"\nc', "\x1b[31m\x00", "Größe 🙂"])
def test_any_text_can_be_written_and_stays_one_line(text: str) -> None:
    report = DeviceReport("p", text, Result.FAILED, error=text, values={text: text})
    row = row_of(report, FACTS._replace(scripts={text: text}))
    for line in (csv_line(row), json_line(row)):
        assert line.count("\n") == 1
        line.encode("utf-8")
    assert "\x1b" not in csv_line(row)
    assert tuple(cells(row)) == COLUMNS
    assert set(json.loads(json_line(row))) == set(COLUMNS)


def test_a_line_is_what_the_writer_of_csv_makes_of_it() -> None:
    """Lines without quotes are joined instead; no reader may see that."""
    rng = random.Random(1)
    for _ in range(5000):
        lengths = [rng.randrange(4) for _ in range(rng.randrange(2, 5))]
        cells = ["".join(rng.choice("a ,\"'\n\r\täb;=\u2028") for _ in range(length)) for length in lengths]
        out = io.StringIO()
        csv.writer(out, lineterminator="\n").writerow(cells)
        assert report_rows._csv_line(cells) == out.getvalue()
