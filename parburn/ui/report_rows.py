"""The columns of a report, and a row of it from plain values: as CSV, or as JSON. Writes no file, reads none.

`parburn run --report` makes rows of boards that end; whoever has the values from elsewhere makes the same
rows: a `ReportRow` with what is known, all else as it stands here. No column ever holds key material.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from parburn.csv_cells import defused
from parburn.events import NO_VALUES, DeviceReport
from parburn.ui.words import one_line


class RunFacts(NamedTuple):
    """What all rows of a run have in common. `run` is None, and `ledger` empty, where nothing is recorded."""

    run: int | None = None
    batch: str = ""
    ledger: str = ""
    ledger_uuid: str = ""
    station: str = ""
    operator: str = ""
    simulated: bool = False
    dry_run: bool = False
    scripts: Mapping[str, str] = NO_VALUES  # SHA-256 by the file's name, as it was when it was read
    config_files: Mapping[str, str] = NO_VALUES
    tables: Mapping[str, str] = NO_VALUES
    parburn_version: str = ""
    python_version: str = ""


class ReportRow(NamedTuple):
    """One board of one run; its fields are the columns, in their order. Empty or None: not known."""

    slot: str = ""
    port: str = ""
    chip: str = ""
    mac: str = ""
    index: int | None = None  # type: ignore[assignment]  # not tuple.index
    unique_values: Mapping[str, str] = NO_VALUES
    result: str = ""
    error: str = ""
    burned: str = ""
    next_step: str = ""
    seconds: float | None = None
    blocks_done: int | None = None
    blocks_total: int | None = None
    turns: int | None = None
    tx_bytes: int | None = None
    rx_bytes: int | None = None
    retries: int | None = None
    parburn_version: str = ""
    python_version: str = ""
    scripts: Mapping[str, str] = NO_VALUES
    config_files: Mapping[str, str] = NO_VALUES
    tables: Mapping[str, str] = NO_VALUES
    started: str = ""
    ended: str = ""
    run: int | None = None
    batch: str = ""
    ledger: str = ""
    ledger_uuid: str = ""
    station: str = ""
    operator: str = ""
    unique_id: str = ""
    revision: str = ""
    values: Mapping[str, str] = NO_VALUES
    state: str = ""
    simulated: bool | None = False
    dry_run: bool | None = False

    def as_object(self) -> dict[str, Any]:
        """Return the row for JSON, by column."""
        return {
            name: value if value is None or value == "" else _plain(value)
            for name, value in zip(COLUMNS, self, strict=True)
        }


COLUMNS = ReportRow._fields
_encode = msgspec.json.Encoder(enc_hook=dict).encode  # mappings that are no dict
_OF_A_RUN = tuple(name for name in RunFacts._fields if name in COLUMNS)
_OF_A_BOARD = tuple(name for name in DeviceReport._fields if name in COLUMNS and name != "result")


def row_of(report: DeviceReport, facts: RunFacts) -> ReportRow:
    """Return the row of a board that has ended."""
    columns = {name: getattr(report, name) for name in _OF_A_BOARD}
    columns |= {name: getattr(facts, name) for name in _OF_A_RUN}
    columns |= {"result": report.result.value, "seconds": round(report.seconds, 3)}
    return ReportRow(**columns)


def csv_header() -> str:
    """Return the first line of a report as CSV."""
    return _csv_line(COLUMNS)


def csv_line(row: ReportRow) -> str:
    """Return the row as a line of CSV; no cell of it is a formula to a spreadsheet."""
    return _csv_line(["" if value is None or value == "" else _cell(value) for value in row])


def json_line(row: ReportRow) -> str:
    """Return the row as a JSON object on a line of its own."""
    return json.dumps(row.as_object(), ensure_ascii=False) + "\n"


def json_text(row: ReportRow) -> str:
    """Return the row as a JSON object without blanks, in a tenth of the time: for a million of them."""
    try:
        return _encode(dict(zip(COLUMNS, row, strict=True))).decode()
    except UnicodeEncodeError:  # an odd byte in a name
        return _encode(row.as_object()).decode()


def writeable(text: str) -> str:
    """Return text that can be written as UTF-8: file names and scripts may hold anything."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")


class _Written(list[str]):
    """What a writer of CSV writes to: a file in memory would cost more than the line."""

    write = list.append


def _csv_line(cells: tuple[str, ...] | list[str]) -> str:
    plain = ",".join(cells)
    if plain.isprintable() and plain.count(",") == len(cells) - 1 and '"' not in plain:
        return f"{plain}\n"  # as the writer makes it, in a fifth of the time
    line = _Written()
    csv.writer(line, lineterminator="\n").writerow(cells)
    return line[0]


def _plain(value: object) -> object:
    if type(value) is str:
        return writeable(value)
    if isinstance(value, Mapping):
        return {writeable(str(name)): writeable(str(one)) for name, one in value.items()}
    return value


def _cell(value: object) -> str:
    """Return a cell that is not empty. The kinds are asked for by how often they come."""
    if type(value) is str:
        return _text_cell(value)
    if type(value) is int:
        return _text_cell(str(value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return _text_cell("; ".join([f"{name}={one}" for name, one in value.items()])) if value else ""
    return _text_cell(str(value))


def _text_cell(text: str) -> str:
    if text.isascii() and text.isprintable() and text[0].isalnum() and text[-1] != " " and "  " not in text:
        return defused(text) if ";" in text else text  # as nearly all are
    return defused(one_line(writeable(text)))
