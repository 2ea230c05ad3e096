"""The actions of `parburn ledger`, each a function that gives its text. What is here changes nothing.

`init`, `adopt`, `release`, `scrap` and `import_used` are handed on from `maintenance`.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from parburn.csv_cells import defused
from parburn.errors import LedgerUnusable, UsageError
from parburn.ledger import history, schema
from parburn.ledger.declarations import read_declarations
from parburn.ledger.file_location import place_of, refuse_no_file
from parburn.ledger.learning import doubles_lines, unknown_note
from parburn.ledger.maintenance import adopt, import_used, init, release, scrap
from parburn.ledger.replay import find_differences
from parburn.ledger.units import FAILURES_THAT_SET_ASIDE
from parburn.ledger.witness import Witness, read_witness

__all__ = ["adopt", "export", "import_used", "init", "release", "scrap", "show", "verify"]

EXPORT_SCHEMA = 1
DOUBLES_SHOWN = 20
HISTORY_COLUMNS = ("sequence", "at", "run", "unit", "event", "state", "index", "detail", "hash")


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


def show(path: Path | None) -> str:
    """Return the units as a table of plain text, a line each, then the indexes that are set aside.

    Raises:
        LedgerUnusable: there is no ledger at `path` (None: the user's own), or it cannot be read.
    """
    with _reading(path) as (connection, place):
        units = list(_units(connection))
        aside = _set_aside(connection)
    if not units:
        return f"The ledger {place} has no units yet.\n"
    rows = [
        (
            unit.batch,
            "-" if unit.index is None else str(unit.index),
            unit.chip or "-",
            unit.mac or "-",
            unit.state,
            _cell(unit.unique_values) + (" (values unknown)" if unit.values_unknown else ""),
            unit.changed[:19].replace("T", " "),
            f"scrapped: {unit.scrapped}" if unit.scrapped else unit.reason,
        )
        for unit in units
    ]
    header = ("BATCH", "INDEX", "CHIP", "MAC", "STATE", "UNIQUE VALUES", "CHANGED (UTC)", "REASON")
    text = _columns([header, *rows])
    held = sum(1 for unit in units if unit.index is not None)
    return f"{text}{aside}{len(units)} units, {held} with an index. Ledger: {place}\n"


def _set_aside(connection: sqlite3.Connection) -> str:
    """Return a line for each free index whose record failed on several chips, or has another chip's value."""
    rows = connection.execute(
        "SELECT name, idx, count(*) FROM clean_failures JOIN batches ON batches.id = batch"
        " WHERE NOT EXISTS (SELECT 1 FROM units WHERE units.batch = batches.id AND idx = clean_failures.idx)"
        " GROUP BY batch, idx, job HAVING count(*) >= ? ORDER BY name, idx",
        (FAILURES_THAT_SET_ASIDE,),
    )
    lines = [
        f"Set aside: index {index} of {batch}, whose record failed on {chips} chips.\n"
        for batch, index, chips in rows
    ]
    taken = connection.execute(
        "SELECT name, idx, why FROM taken_values JOIN batches ON batches.id = batch WHERE NOT EXISTS"
        " (SELECT 1 FROM units WHERE units.batch = batches.id AND idx = taken_values.idx) ORDER BY name, idx"
    )
    lines += [f"Set aside: index {index} of {batch}: {why}.\n" for batch, index, why in taken]
    return "".join(lines)


def export(path: Path | None, form: str = "json") -> str:
    """Return the whole ledger for other programs.

    Args:
        path: The ledger's file; None for the user's own.
        form: `json` (units, batches, declarations, history) or `csv` (units only).

    Raises:
        UsageError: another form.
        LedgerUnusable: there is no ledger, or it cannot be read.
    """
    with _reading(path) as (connection, _place):
        if form == "json":
            return _json(connection)
        if form == "csv":
            return _csv(connection)
    raise UsageError(f"A ledger is exported as json or csv, not as {form}.")


def verify(path: Path | None) -> str:
    """Check the whole chain, the units against it, the witness, and the file; return what was found good.

    Raises:
        LedgerUnusable: there is no ledger, or something was changed, removed or cut; the message names the
            first places.
    """
    witness = _witness_before(path)
    with _reading(path) as (connection, place):
        breaks = [f"The file is damaged: {text}." for text in schema.find_damage(connection, place)]
        breaks += [found.what for found in (*history.find_breaks(connection), *find_differences(connection))]
        (uuid,) = connection.execute("SELECT value FROM meta WHERE name = 'uuid'").fetchone()
        (entries,) = connection.execute("SELECT count(*) FROM history").fetchone()
        unknown, doubles = unknown_note(connection), doubles_lines(connection)
        try:
            if isinstance(witness, LedgerUnusable):
                raise witness
            schema.compare_with_witness(connection, place, witness, uuid)
        except LedgerUnusable as refused:
            breaks.append(str(refused))
    if breaks:
        more = f" And {len(breaks) - 5} more." if len(breaks) > 5 else ""
        raise LedgerUnusable(
            f"The ledger {place} does not verify. {' '.join(breaks[:5])}{more}",
            hint="Put a good copy back from a backup; do not burn with this one.",
        )
    return (
        f"The ledger {place} verifies: {entries} entries, its units and its witness agree.\n"
        f"{_doubles_text(unknown, doubles)}"
    )


def _doubles_text(unknown: str, doubles: Sequence[str]) -> str:
    """Return what is known of values that two chips have, and what cannot be known."""
    shown = doubles[:DOUBLES_SHOWN]
    more = [f"And {len(doubles) - len(shown)} more."] if len(doubles) > len(shown) else []
    lines = [f"Double: {line}" for line in shown] + more
    if unknown:
        lines.append(
            f"{unknown} Until then nobody can say that there are no {'more ' * bool(doubles)}doubles."
        )
    return "".join(f"{line}\n" for line in lines)


def _witness_before(path: Path | None) -> Witness | LedgerUnusable | None:
    """Read the witness before the ledger: a run at work may replace it, and it must not be ahead of us."""
    try:
        return read_witness(place_of(path))
    except LedgerUnusable as damaged:
        return damaged


@contextlib.contextmanager
def _reading(path: Path | None) -> Iterator[tuple[sqlite3.Connection, Path]]:
    place = place_of(path)
    refuse_no_file(place)
    if not place.exists():
        witness = read_witness(place)
        was = f" Its witness knows of one with {witness.sequence} entries." if witness else ""
        raise LedgerUnusable(
            f"There is no ledger at {place}.{was}", hint="Name its file with --ledger, or burn a first board."
        )
    try:
        with contextlib.closing(schema.connect_to_read(place)) as connection:
            if schema.check_version(connection, place) == schema.VERSION:
                yield connection, place
                return
            with contextlib.closing(schema.migrated_copy(connection)) as copy:  # looking changes nothing
                yield copy, place
    except (
        sqlite3.Error,
        ValueError,
        TypeError,
        KeyError,
        RecursionError,
    ) as error:  # the latter: rows that are not ours
        raise schema.translate(error, place) from error


def _units(connection: sqlite3.Connection) -> Iterator[ExportedUnit]:
    values: dict[int, dict[str, str]] = {}
    for unit, name, value in connection.execute(
        "SELECT unit, name, value FROM unique_values WHERE bound = 1 ORDER BY unit, name"
    ):
        values.setdefault(unit, {})[name] = value
    jobs: dict[int, list[str]] = {}
    for unit, job in connection.execute("SELECT unit, job FROM passes ORDER BY unit, job"):
        jobs.setdefault(unit, []).append(job)
    bits: dict[int, dict[str, str]] = {}
    layouts: dict[int, str] = {}
    for unit, block, layout, held in connection.execute(
        "SELECT unit, block, layout, bits FROM user_bits WHERE bound = 1 ORDER BY unit, block"
    ):
        bits.setdefault(unit, {})[str(block)] = held
        layouts[unit] = layout
    records: dict[int, list[str]] = {}
    for unit, digest in connection.execute("SELECT unit, digest FROM records ORDER BY unit, digest"):
        records.setdefault(unit, []).append(digest)
    scrapped: dict[int, str] = dict(connection.execute("SELECT id, scrapped FROM units WHERE scrapped != ''"))
    unknown = {unit for (unit,) in connection.execute("SELECT unit FROM unknown_values")}
    remaining = _remaining(connection)
    rows = connection.execute(
        "SELECT units.id, name, idx, chip, mac, unique_id, state, spent, changed, reason FROM units"
        " JOIN batches ON batches.id = batch ORDER BY name, idx IS NULL, idx, mac"
    )
    for unit, batch, index, chip, mac, unique_id, state, spent, changed, reason in rows:
        yield ExportedUnit(
            batch=batch,
            index=index,
            chip=chip,
            mac=mac,
            unique_id=unique_id,
            state=state,
            spent=bool(spent),
            unique_values=values.get(unit, {}),
            passed_jobs=jobs.get(unit, []),
            remaining_steps=remaining.get(unit, []),
            changed=changed,
            reason=reason,
            user_bits=bits.get(unit, {}),
            user_layout=layouts.get(unit, ""),
            records=records.get(unit, []),
            scrapped=scrapped.get(unit, ""),
            values_unknown=unit in unknown,
        )


def _remaining(connection: sqlite3.Connection) -> dict[int, list[str]]:
    """Return per unit the steps of open attempts that were never verified, postponed locks among them."""
    done = {
        (attempt, label)
        for attempt, label in connection.execute(
            "SELECT attempt, label FROM attempt_steps WHERE state IN ('verified', 'locked')"
        )
    }
    remaining: dict[int, list[str]] = {}
    for attempt, unit, steps in connection.execute(
        "SELECT id, unit, steps FROM attempts WHERE closed = 0 ORDER BY id"
    ):
        labels = [label for label in json.loads(steps) if (attempt, label) not in done]
        remaining.setdefault(unit, []).extend(labels)
    return remaining


def _json(connection: sqlite3.Connection) -> str:
    (uuid,) = connection.execute("SELECT value FROM meta WHERE name = 'uuid'").fetchone()
    entries = [
        dict(zip(HISTORY_COLUMNS, (*row[:7], json.loads(row[7] or "{}"), row[8]), strict=True))
        for row in list(history.walk(connection))  # whole: a damaged row must leave nothing half read
    ]
    record = {
        "schema": EXPORT_SCHEMA,
        "uuid": uuid,
        "batches": [name for (name,) in connection.execute("SELECT name FROM batches ORDER BY id")],
        "declarations": [asdict(one) for one in read_declarations(connection)],
        "units": [asdict(unit) for unit in _units(connection)],
        "history": entries,
    }
    return json.dumps(record, indent=1) + "\n"


def _csv(connection: sqlite3.Connection) -> str:
    file = io.StringIO()
    table = csv.DictWriter(file, [one.name for one in fields(ExportedUnit)], lineterminator="\n")
    table.writeheader()
    for unit in _units(connection):
        table.writerow({name: defused(_cell(value)) for name, value in asdict(unit).items()})
    return file.getvalue()


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return " ".join(f"{name}={one}" for name, one in value.items())
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def _columns(rows: Sequence[Sequence[object]]) -> str:
    """Return text in columns; characters that are not printable cannot move a terminal's cursor."""
    texts = [["".join(c if c.isprintable() else "?" for c in str(cell)) for cell in row] for row in rows]
    widths = [max(len(cell) for cell in column) for column in zip(*texts, strict=True)]
    return "".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() + "\n"
        for row in texts
    )
