"""Takes another ledger's units into this one: all of them or none. Works within the caller's transaction."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from parburn.errors import UnitRefused, UsageError
from parburn.ledger.base import State
from parburn.ledger.declarations import batch_id, contradictions, take_declarations
from parburn.ledger.foreign_ledger import HANGS_ON_A_UNIT, OtherLedger, OtherUnit
from parburn.ledger.units import text_digest
from parburn.ledger.values import list_in_ranges
from parburn.ledger.writer import Transaction

BEGUN_ELSEWHERE = "begun under another ledger"  # stands for its plan, which no script can make here
_NOTHING_SEEN = '{"blocks":{}}'
_DECLARE_ANEW = (
    "Where two declarations contradict: a run with the right --same or --unique on one of the two ledgers "
    "declares anew; files that lie otherwise are those of another batch: take them over with --batch NAME."
)
_NONE_IN_CSV = (
    "A CSV export says nothing of what was declared: give --records, --same and --unique once more, or take "
    "the ledger's file or its JSON export over."
)


def take_over(
    transaction: Transaction, other: OtherLedger, file: Path, why: str, *, batch: str | None = None
) -> str:
    """Take another ledger's units into this one, all or none; return what was taken, as sentences.

    Args:
        transaction: Where it is done.
        other: What was read of the other ledger. Its batches are renamed here.
        file: Its file, for what is told.
        why: The reason; it stays in the history.
        batch: The only batch that is taken, or the new name of a single one; None takes all of them.

    Raises:
        UsageError: it has several batches, none of which is `batch`.
        UnitRefused: it contradicts this ledger; nothing was taken.
    """
    _rename(other, file, batch)
    conflicts = [conflict for unit in other.units for conflict in _conflicts(transaction, unit)]
    conflicts += _doubled(other)
    declared = [text for one in other.declarations for text in contradictions(transaction.connection, one)]
    if conflicts or declared:
        hints = ["Sort these boards out by hand: two chips may carry one identity."] * bool(conflicts)
        hints += [_DECLARE_ANEW] * bool(declared)
        raise UnitRefused(
            f"{file} contradicts this ledger, nothing was taken: {' '.join([*conflicts, *declared])}",
            hint=" ".join(hints),
        )
    taken = sum(_take(transaction, unit) for unit in other.units)
    into = sorted({unit.batch for unit in other.units} | {one.batch for one in other.declarations})
    transaction.history.append("taken-over", why=why, batches=into, units=taken)
    text = f"{taken} chips were taken over, of {len(other.units)} in {file}; batches: {', '.join(into)}.\n"
    for one in other.declarations:
        words = take_declarations(transaction, one)
        text += f"What was declared for the batch {one.batch} was taken over: {words}.\n" if words else ""
    return text + ("" if other.tells_declarations else f"{_NONE_IN_CSV}\n")


def _rename(other: OtherLedger, file: Path, batch: str | None) -> None:
    """Leave what belongs to `batch`, under that name; None: all of it, under its own names."""
    if batch is None:
        return
    names = {unit.batch for unit in other.units} or {one.batch for one in other.declarations}
    if batch not in names and len(names) > 1:
        raise UsageError(
            f"{file} has the batches {', '.join(sorted(names))}: they are not one.",
            hint="Name one of them with --batch, or leave --batch out to take all under their own names.",
        )
    meant = {batch} if batch in names else names
    other.units = [unit for unit in other.units if unit.batch in meant]
    other.declarations = [one for one in other.declarations if one.batch in meant]
    for unit in other.units:
        unit.batch = batch
    for one in other.declarations:
        one.batch = batch


def _conflicts(transaction: Transaction, unit: OtherUnit) -> Iterator[str]:
    """Yield why a unit cannot stand beside what this ledger holds."""
    connection, who = transaction.connection, unit.identity
    rows = connection.execute(
        "SELECT idx, spent FROM units JOIN batches ON batches.id = batch"
        " WHERE name = ? AND chip = ? AND mac = ? AND unique_id = ?",
        (unit.batch, *who),
    )
    for index, spent in rows:
        if index is not None and (index != unit.index or not spent):
            yield f"{who} has index {index} of {unit.batch} here and {unit.index} there."
    rows = connection.execute(
        "SELECT chip, mac, unique_id FROM units JOIN batches ON batches.id = batch"
        " WHERE name = ? AND idx = ?",
        (unit.batch, unit.index),
    )
    for row in rows:
        if tuple(row) != tuple(who):
            yield f"Index {unit.index} of {unit.batch} is held by {row[0]} {row[1]} here, by {who} there."
    for (digest,) in unit.rows.get("records", ()):
        rows = connection.execute(
            "SELECT chip, mac, unique_id, idx FROM records JOIN units ON units.id = unit WHERE digest = ?",
            (digest,),
        )
        for row in rows:
            if tuple(row[:3]) != tuple(who):
                yield f"The record of {who} (index {unit.index}) is on {row[1]} here (index {row[3]})."
    for name, value, *_ in unit.rows.get("unique_values", ()):
        rows = connection.execute(
            "SELECT chip, mac, unique_id FROM unique_values JOIN units ON units.id = unit"
            " WHERE name = ? AND value = ? AND bound = 1",
            (name, value),
        )
        for row in rows:
            if tuple(row) != tuple(who):
                yield f"{name} {value} of {who} belongs to {row[0]} {row[1]} here."


def _doubled(other: OtherLedger) -> Iterator[str]:
    """Yield indexes that the file itself gives to two chips, as an edited export may."""
    seen: dict[tuple[str, int], OtherUnit] = {}
    for unit in other.units:
        first = seen.setdefault((unit.batch, unit.index), unit)
        if first.identity != unit.identity:
            yield f"Index {unit.index} of {unit.batch} is on {first.identity} and on {unit.identity} there."


def _take(transaction: Transaction, unit: OtherUnit) -> int:
    """Take one unit; return 1, or 0 where it is known already."""
    connection = transaction.connection
    batch = batch_id(connection, unit.batch)
    known = connection.execute(
        "SELECT id, idx FROM units WHERE batch = ? AND chip = ? AND mac = ? AND unique_id = ?",
        (batch, *unit.identity),
    ).fetchone()
    if known is not None and known[1] is not None:
        return 0
    values = (unit.index, unit.state.value, unit.reason or "taken over", transaction.at, unit.image)
    if known is not None:
        number = int(known[0])
        connection.execute(
            "UPDATE units SET idx = ?, state = ?, reason = ?, changed = ?, image_passed = ?, spent = 1"
            " WHERE id = ?",
            (*values, number),
        )
    else:
        (number,) = connection.execute(
            "INSERT INTO units"
            " (idx, state, reason, changed, image_passed, batch, chip, mac, unique_id, spent)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 1) RETURNING id",
            (*values, batch, *unit.identity),
        ).fetchone()
    for table, rows in unit.rows.items():
        names = ", ".join(HANGS_ON_A_UNIT[table][0])
        marks = ", ".join("?" for _ in HANGS_ON_A_UNIT[table][0])
        connection.executemany(
            f"INSERT INTO {table} (unit, {names}) VALUES (?, {marks}) ON CONFLICT DO NOTHING",
            [(number, *row) for row in rows],
        )
    list_in_ranges(connection, number)
    for table, unknown in (
        ("unknown_values", unit.values_unknown),
        ("unlearned_records", unit.records_unknown),
    ):
        if unknown:
            connection.execute(f"INSERT INTO {table} VALUES (?) ON CONFLICT DO NOTHING", (number,))
    connection.execute("UPDATE units SET scrapped = ? WHERE id = ?", (unit.scrapped, number))
    detail = _begun(transaction, number, unit) if unit.state is State.INCOMPLETE else {}
    transaction.history.append(
        "imported",
        unit=number,
        state=unit.state,
        index=unit.index,
        batch=unit.batch,
        chip=unit.identity.chip,
        mac=unit.identity.mac,
        unique_id=unit.identity.unique_id,
        bound_values=[row[:2] for row in unit.rows.get("unique_values", ())],
        bound_bits=[(block, layout, bits) for block, _, layout, bits in unit.rows.get("user_bits", ())],
        bound_records=[row[0] for row in unit.rows.get("records", ())],
        passed_jobs=[row[0] for row in unit.rows.get("passes", ())],
        image_passed=text_digest(unit.image) if unit.image else "",
        scrapped=unit.scrapped,
        **detail,
    )
    return 1


def _begun(transaction: Transaction, number: int, unit: OtherUnit) -> dict[str, object]:
    """Open an attempt with a plan that no script can make here: whatever is planned is refused."""
    (attempt,) = transaction.connection.execute(
        "INSERT INTO attempts (unit, plan_digest, image_before, steps) VALUES (?, ?, ?, ?) RETURNING id",
        (number, BEGUN_ELSEWHERE, _NOTHING_SEEN, json.dumps(unit.steps)),
    ).fetchone()
    return {
        "attempt": attempt,
        "plan": BEGUN_ELSEWHERE,
        "steps": unit.steps,
        "image": text_digest(_NOTHING_SEEN),
    }
