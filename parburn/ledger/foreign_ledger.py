"""Another ledger as `import-used` takes it: from its file, or from its export as JSON or CSV.

Only reads, and only a copy. What hangs on a unit is a row of `HANGS_ON_A_UNIT`: a table that is added there
is taken over from files. Digests of keys are under the other ledger's own key and mean nothing here: they
stay behind, and with them the plan of what was begun: a begun unit can be finished with its own ledger only.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import shutil
import sqlite3
import stat
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from parburn.csv_cells import restored
from parburn.errors import LedgerUnusable, UsageError
from parburn.ledger import schema
from parburn.ledger.base import UNDER_WAY, State, UnitIdentity
from parburn.ledger.batches import WITHOUT_CONFIG
from parburn.ledger.declarations import Declarations, exported_declarations, read_declarations
from parburn.ledger.file_location import SQLITE_MAGIC
from parburn.scratch import scratch

# table -> its columns without `unit`, and which of its rows count
HANGS_ON_A_UNIT: Mapping[str, tuple[tuple[str, ...], str]] = {
    "records": (("digest",), "1"),
    "unique_values": (("name", "value", "bound", "conflict"), "bound = 1"),
    "passes": (("job",), "1"),
    "user_bits": (("block", "bound", "layout", "bits"), "bound = 1"),
}
NOT_UNDERSTOOD = (
    *(sqlite3.Error, csv.Error),
    *(ValueError, KeyError, TypeError, AttributeError, RecursionError),
)
LONGEST_IMPORT = 256 << 20  # bytes of a text: an export of a million units
KEYED = "hmac:"  # begins what images keep of key blocks


@dataclass(slots=True)
class OtherUnit:
    """One chip that has spent an index there. `rows` by table, in the columns of `HANGS_ON_A_UNIT`."""

    batch: str
    index: int
    identity: UnitIdentity
    state: State
    reason: str
    image: str = ""
    scrapped: str = ""
    steps: tuple[str, ...] = ()  # of what was begun and is not whole
    values_unknown: bool = False  # a still older ledger did not keep them
    records_unknown: bool = False
    rows: dict[str, list[tuple[Any, ...]]] = field(default_factory=dict)


@dataclass(slots=True)
class OtherLedger:
    """What a ledger's file or export says. A CSV export tells no declarations."""

    units: list[OtherUnit]
    declarations: list[Declarations]
    tells_declarations: bool = True


def read_other(file: Path) -> OtherLedger | None:
    """Read the ledger that `file` is or exports; return None where it is neither.

    Raises:
        UsageError: it cannot be read, or is a damaged export.
        LedgerUnusable: a ledger of a newer parburn, or no ledger of parburn's.
    """
    content = read_import(file)
    try:
        if content.startswith(SQLITE_MAGIC):
            with _copied(file) as connection:
                return _from_file(connection)
        text = content.decode("utf-8-sig")
        if text.lstrip().startswith("{"):
            return _from_json(json.loads(text))
        if text.startswith("batch,index,chip,mac,unique_id,state,"):
            return _from_csv(text)
    except NOT_UNDERSTOOD as error:
        raise UsageError(
            f"{file} is no ledger and no export of one that can be understood.",
            hint="Give the ledger's file, or what `parburn ledger export` wrote.",
        ) from error
    return None


def read_import(file: Path) -> bytes:
    """Return the bytes of a file that is to be imported; of a database only the first ones.

    Raises:
        UsageError: it cannot be read, is no file (a pipe might be waited for for ever), or is too long.
    """
    try:
        if not stat.S_ISREG(file.stat().st_mode):
            raise UsageError(f"{file} is not a file.", hint="Nothing was imported. Save it as a file first.")
        with file.open("rb") as opened:
            content = opened.read(len(SQLITE_MAGIC))
            if content == SQLITE_MAGIC:
                return content
            content += opened.read(LONGEST_IMPORT + 1)
    except OSError as error:
        raise UsageError(
            f"{file} cannot be read: {error.strerror or error}.", hint="Nothing was imported."
        ) from error
    if len(content) > LONGEST_IMPORT:
        raise UsageError(
            f"{file} has more than {LONGEST_IMPORT >> 20} MiB.",
            hint="Nothing was imported. Is it the right file? If it is, import it in parts.",
        )
    return content


@contextlib.contextmanager
def _copied(file: Path) -> Iterator[sqlite3.Connection]:
    """Open a copy of a ledger's file with its log, brought to this version."""
    with scratch("ledger-") as folder:
        copy = folder / "ledger.sqlite3"
        for suffix in ("", "-wal"):
            side = file.with_name(file.name + suffix)
            if side.exists():
                shutil.copyfile(side, copy.with_name(copy.name + suffix))
        try:
            with contextlib.closing(schema.connect(copy, durable=False)) as connection:
                schema.migrate(connection, copy)
                yield connection
        except LedgerUnusable as error:
            raise LedgerUnusable(str(error).replace(str(copy), str(file)), hint=error.hint) from error


def _from_file(connection: sqlite3.Connection) -> OtherLedger:
    units: dict[int, OtherUnit] = {}
    for unit, batch, index, chip, mac, unique_id, state, reason, image, scrapped in connection.execute(
        "SELECT units.id, name, idx, chip, mac, unique_id, state, reason, image_passed, scrapped FROM units"
        " JOIN batches ON batches.id = batch WHERE spent = 1 AND idx IS NOT NULL ORDER BY name, idx"
    ):
        identity = UnitIdentity(chip, mac, unique_id)
        units[unit] = OtherUnit(
            batch, index, identity, _at_rest(State(state)), reason, _in_clear(image), scrapped
        )
    for table, (columns, counts) in HANGS_ON_A_UNIT.items():
        for unit, *row in connection.execute(
            f"SELECT unit, {', '.join(columns)} FROM {table} WHERE {counts}"
        ):
            if unit in units:
                units[unit].rows.setdefault(table, []).append(tuple(row))
    for unit in _marked(connection, "unknown_values") & units.keys():
        units[unit].values_unknown = True
    for unit in _marked(connection, "unlearned_records") & units.keys():
        units[unit].records_unknown = True
    for unit, steps in connection.execute("SELECT unit, steps FROM attempts WHERE closed = 0 ORDER BY id"):
        if unit in units:
            units[unit].steps += tuple(json.loads(steps))
    return OtherLedger(list(units.values()), read_declarations(connection))


def _marked(connection: sqlite3.Connection, table: str) -> set[int]:
    return {unit for (unit,) in connection.execute(f"SELECT unit FROM {table}")}


def _from_json(record: Any) -> OtherLedger:
    units = [_exported(one) for one in record["units"] if one["spent"] and one["index"] is not None]
    declarations = exported_declarations(record)
    _find_unlearned(units, {one.batch for one in declarations if one.configs})
    return OtherLedger(units, declarations)


def _from_csv(text: str) -> OtherLedger:
    units = []
    for cells in csv.DictReader(io.StringIO(text)):
        row = {name: restored(cell) if isinstance(cell, str) else cell for name, cell in cells.items()}
        if row["spent"] != "yes" or not row["index"]:
            continue
        parts = row["records"].split()
        one: dict[str, Any] = dict(row)
        one["index"], one["values_unknown"] = int(row["index"]), row["values_unknown"] == "yes"
        one["unique_values"] = dict(pair.split("=", 1) for pair in row["unique_values"].split())
        one["user_bits"] = dict(pair.split("=", 1) for pair in row["user_bits"].split())
        one["passed_jobs"], one["remaining_steps"] = row["passed_jobs"].split(), [row["remaining_steps"]]
        one["records"] = sorted({*parts, " ".join(sorted(set(parts)))}) if parts else []
        units.append(_exported(one))
    _find_unlearned(units, {unit.batch for unit in units} - {WITHOUT_CONFIG})
    return OtherLedger(units, [], tells_declarations=False)


def _find_unlearned(units: Iterable[OtherUnit], with_files: Set[str]) -> None:
    """Mark the units whose records are unknown: exports do not say it.

    It is so for units of older ledgers, in batches that have (or may have) config files.
    """
    for unit in units:
        unit.records_unknown = unit.values_unknown and not unit.rows["records"] and unit.batch in with_files


def _exported(one: Mapping[str, Any]) -> OtherUnit:
    return OtherUnit(
        one["batch"],
        one["index"],
        UnitIdentity(one["chip"], one["mac"], one["unique_id"]),
        _at_rest(State(one["state"])),
        one["reason"],
        scrapped=one["scrapped"],
        steps=tuple(one["remaining_steps"]),
        values_unknown=bool(one["values_unknown"]),
        rows={
            "records": [(digest,) for digest in one["records"]],
            "unique_values": [(name, value, 1, 0) for name, value in one["unique_values"].items()],
            "passes": [(job,) for job in one["passed_jobs"]],
            "user_bits": [
                (int(block), 1, one["user_layout"], bits) for block, bits in one["user_bits"].items()
            ],
        },
    )


def _at_rest(state: State) -> State:
    return State.INCOMPLETE if state in UNDER_WAY else state


def _in_clear(image: str) -> str:
    """Return an image without what is digested under the other ledger's key."""
    if not image:
        return ""
    said = {
        part: {index: text for index, text in blocks.items() if not text.startswith(KEYED)}
        for part, blocks in json.loads(image).items()
    }
    return json.dumps(said, separators=(",", ":"))
