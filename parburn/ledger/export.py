"""`parburn ledger export`: all that a ledger says, for other programs. Reads it once, and changes nothing.

What is written is made by SQLite, row by row (its JSON functions are in every build that Python comes with),
so that a million units take no more memory than one. `show` and `verify` are handed on from their modules.
"""

from __future__ import annotations

import csv
import io
import json
import sqlite3
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, fields

import msgspec

from parburn.csv_cells import defused
from parburn.errors import UsageError
from parburn.ledger.declarations import read_declarations
from parburn.ledger.reading import reading
from parburn.ledger.show import show
from parburn.ledger.sql import Sql
from parburn.ledger.verify import verify
from parburn.ledger_place import Place

__all__ = ["export", "export_text", "show", "verify"]

EXPORT_SCHEMA = 1
HISTORY_COLUMNS = ("sequence", "at", "run", "unit", "event", "state", "index", "detail", "hash")
_ROWS_A_PIECE = 500  # of the text that is handed on at once


@dataclass(frozen=True, slots=True)
class ExportedUnit:
    """All that the ledger says of one unit, in the order of the CSV's columns.

    `remaining_steps` are steps of open attempts that were never verified: what a resume has to do.
    `user_bits` are hex by number of the user's blocks that can hold no key. `values_unknown`: the unit is of
    an older ledger, which did not keep them.
    """

    batch: str
    index: int | None
    chip: str
    mac: str
    unique_id: str
    state: str
    spent: bool
    unique_values: dict[str, str]
    passed_jobs: list[str]
    remaining_steps: list[str]
    changed: str
    reason: str
    user_bits: dict[str, str]
    user_layout: str
    records: list[str]
    scrapped: str
    values_unknown: bool


# Each column of a unit as SQLite writes it. What hangs on a unit is found by its number, in order.
_REMAINING = (
    "SELECT label.value FROM attempts, json_each(attempts.steps) AS label"
    " WHERE attempts.unit = units.id AND closed = 0 AND NOT EXISTS (SELECT 1 FROM attempt_steps AS done"
    " WHERE attempt = attempts.id AND done.label = label.value AND done.state IN ('verified', 'locked'))"
    " ORDER BY attempts.id, label.key"
)
_HANGS = "FROM {table} WHERE unit = units.id {more}"
_VALUES = _HANGS.format(table="unique_values", more="AND bound = 1")
_BITS = _HANGS.format(table="user_bits", more="AND bound = 1")
_UNIT_AS_JSON = {
    "batch": "batches.name",
    "index": "idx",
    "chip": "chip",
    "mac": "mac",
    "unique_id": "unique_id",
    "state": "state",
    "spent": "json(CASE spent WHEN 0 THEN 'false' ELSE 'true' END)",
    "unique_values": f"json((SELECT json_group_object(name, value) {_VALUES}))",
    "passed_jobs": f"json((SELECT json_group_array(job) {_HANGS.format(table='passes', more='')}))",
    "remaining_steps": f"json((SELECT json_group_array(value) FROM ({_REMAINING})))",
    "changed": "changed",
    "reason": "reason",
    "user_bits": f"json((SELECT json_group_object(block, bits) {_BITS}))",
    "user_layout": f"coalesce((SELECT max(layout) {_BITS}), '')",
    "records": "json((SELECT json_group_array(digest) FROM"
    f" (SELECT digest {_HANGS.format(table='records', more='ORDER BY digest')})))",
    "scrapped": "scrapped",
    "values_unknown": "json(CASE WHEN EXISTS (SELECT 1 "
    f"{_HANGS.format(table='unknown_values', more='')}) THEN 'true' ELSE 'false' END)",
}
_UNITS = "SELECT json_object({}) FROM units JOIN batches ON batches.id = batch WHERE batch = ? AND ".format(
    ", ".join(f"'{name}', {made}" for name, made in _UNIT_AS_JSON.items())
)
_WITH_INDEX, _WITHOUT = "idx IS NOT NULL ORDER BY idx", "idx IS NULL ORDER BY mac, units.id"
_HISTORY = (
    "SELECT json_object('sequence', seq, 'at', at, 'run', run, 'unit', unit, 'event', event, 'state', state,"
    " 'index', idx, 'detail', json(CASE detail WHEN '' THEN '{}' ELSE detail END), 'hash', hash)"
    " FROM history ORDER BY seq"
)


def export(path: Place | None, form: str = "json") -> str:
    """Return the whole ledger as one text; see `export_text`."""
    return "".join(export_text(path, form))


def export_text(path: Place | None, form: str = "json") -> Generator[str, None, None]:
    """Yield the whole ledger for other programs, in pieces of text. Close it where it is not read to its end.

    Args:
        path: The ledger's file; None for the user's own.
        form: `json` (units, batches, declarations, history) or `csv` (units only).

    Raises:
        UsageError: another form.
        LedgerUnusable: there is no ledger, or it cannot be read.
    """
    if form not in ("json", "csv"):
        raise UsageError(f"A ledger is exported as json or csv, not as {form}.")
    with reading(path) as (connection, _place):
        yield from _pieces(_json(connection) if form == "json" else _csv(connection))


def units_as_json(connection: Sql) -> Iterator[str]:
    """Yield each unit as a JSON object in ASCII: batch by batch, by index, those without an index last."""
    if not isinstance(connection, sqlite3.Connection):
        from parburn.ledger.pool import export as pool_export  # here: psycopg is an extra

        yield from pool_export.units_as_json(connection)
        return
    for (batch,) in connection.execute("SELECT id FROM batches ORDER BY name").fetchall():
        for order in (_WITH_INDEX, _WITHOUT):
            with closing(connection.execute(_UNITS + order, (batch,))) as rows:
                yield from (_ascii(text) for (text,) in rows)


def _ascii(text: str) -> str:
    return text if text.isascii() else json.dumps(json.loads(text))


def _pieces(lines: Iterator[str]) -> Iterator[str]:
    """Yield many lines as one text: each write costs more than it takes to make a line."""
    gathered: list[str] = []
    for line in lines:
        gathered.append(line)
        if len(gathered) >= _ROWS_A_PIECE:
            yield "".join(gathered)
            gathered.clear()
    yield "".join(gathered)


def _json(connection: Sql) -> Iterator[str]:
    (uuid,) = connection.execute("SELECT value FROM meta WHERE name = 'uuid'").fetchone()
    head = {
        "schema": EXPORT_SCHEMA,
        "uuid": uuid,
        "batches": [name for (name,) in connection.execute("SELECT name FROM batches ORDER BY id")],
        "declarations": [asdict(one) for one in read_declarations(connection)],
    }
    yield json.dumps(head).removesuffix("}")
    yield from _list("units", units_as_json(connection))
    yield from _list("history", _history(connection))
    yield "}\n"


def _history(connection: Sql) -> Iterator[str]:
    if not isinstance(connection, sqlite3.Connection):
        from parburn.ledger.pool import export as pool_export  # here, too

        yield from pool_export.history_as_json(connection)
        return
    with closing(connection.execute(_HISTORY)) as rows:
        yield from (_ascii(text) for (text,) in rows)


def _list(name: str, items: Iterator[str]) -> Iterator[str]:
    """Yield a member of the object that is a list, with an item a line."""
    before = f',\n"{name}": [\n '
    empty = True
    for item in items:
        yield before + item
        before, empty = ",\n ", False
    yield f',\n"{name}": []' if empty else "]"


def _csv(connection: Sql) -> Iterator[str]:
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    names = [one.name for one in fields(ExportedUnit)]
    table.writerow(names)
    decode = msgspec.json.Decoder(dict[str, object]).decode
    for text in units_as_json(connection):
        unit = decode(text)
        table.writerow([defused(_cell(unit[name])) for name in names])
        yield out.getvalue()
        out.seek(0)
        out.truncate()
    yield out.getvalue()  # the head, where there is no unit


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return " ".join(f"{name}={one}" for name, one in value.items())
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)
