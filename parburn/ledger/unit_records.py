"""All that a ledger knows of a unit or a chip: its row, its open attempts, and its history. Looks only."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from parburn.ledger.base import Attempt, State, UnitIdentity
from parburn.ledger.run_facts import NOT_KNOWN, facts_by_run
from parburn.ledger.sql import Sql
from parburn.ledger.unit_filter import plain_mac, units_with
from parburn.ledger.unit_life import UnitLife, life_of


class UnitRecord(NamedTuple):
    """A unit as the ledger has it.

    `image_passed` is what it held when it passed (see `Attempt.image_before`), `attempts` are those that are
    not whole, `steps` how far each step of all attempts came, `user_bits` what its user blocks hold.
    `known_at` is the number of the entry that told last what it holds; 0 where none did.
    `taken_over`: some of it was burned with another ledger, whose digests of keys stayed there.
    """

    unit: int
    batch: str
    index: int | None  # type: ignore[assignment]  # not tuple.index
    identity: UnitIdentity
    state: State
    reason: str
    scrapped: str
    image_passed: str
    attempts: tuple[Attempt, ...]
    steps: Mapping[str, State]
    user_bits: Mapping[int, int]
    values_unknown: bool
    known_at: int
    life: UnitLife
    taken_over: bool = False


class UnitEntry(NamedTuple):
    """One entry of a unit's history, with what is known of its run."""

    at: str
    run: int | None
    station: str
    operator: str
    event: str
    state: str
    index: int | None  # type: ignore[assignment]  # not tuple.index
    detail: Mapping[str, Any]


_COLUMNS = (
    "SELECT units.id, name, idx, chip, mac, unique_id, state, reason, scrapped, image_passed,"
    " EXISTS (SELECT 1 FROM unknown_values WHERE unit = units.id),"
    " EXISTS (SELECT 1 FROM history WHERE unit = units.id AND event = 'imported') FROM units"
    " JOIN batches ON batches.id = batch"
)
_KNOWN_AT = (
    "SELECT coalesce(max(seq), 0) FROM history WHERE unit = ?"
    " AND event IN ('passed', 'burn-attempted', 'imported', 'rebuilt')"
)


def find_units(connection: Sql, text: str, *, batch: str | None = None) -> list[int]:
    """Return the units that a word means: a factory MAC, an index or a value, whichever of it there is.

    Args:
        connection: The ledger.
        text: The word.
        batch: Only units of this batch; None for all.
    """
    by_value, values = units_with(connection, text)
    rows = connection.execute(
        "SELECT units.id FROM units JOIN batches ON batches.id = batch"
        " WHERE (name = ?1 OR CAST(?1 AS TEXT) IS NULL)"
        f" AND units.id IN (SELECT id FROM units WHERE mac = ? UNION {_BY_INDEX} UNION {by_value})"
        " ORDER BY name, idx, units.id",
        (batch, plain_mac(text), int(text) if _is_index(text) else -1, *values),
    )
    return [unit for (unit,) in rows]


_BY_INDEX = (  # batch by batch, since that is how they can be found without reading all units
    "SELECT units.id FROM batches JOIN units ON units.batch = batches.id AND units.idx = ?"
)


def _is_index(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 12


def unit_record(connection: Sql, unit: int) -> UnitRecord:
    """Return what the ledger knows of a unit that it has."""
    row = connection.execute(f"{_COLUMNS} WHERE units.id = ?", (unit,)).fetchone()
    return _record(connection, row)


def chip_records(connection: Sql, identity: UnitIdentity) -> list[UnitRecord]:
    """Return all units of a chip, one a batch; what was told last of it comes last."""
    rows = connection.execute(
        f"{_COLUMNS} WHERE mac = ? AND chip = ? AND unique_id = ?",
        (identity.mac, identity.chip, identity.unique_id),
    ).fetchall()
    return sorted((_record(connection, row) for row in rows), key=lambda one: one.known_at)


def _record(connection: Sql, row: tuple[Any, ...]) -> UnitRecord:
    unit, batch, index, chip, mac, unique_id, name, reason, scrapped, image, unknown, imported = row
    bits = connection.execute("SELECT block, bits FROM user_bits WHERE unit = ? AND bound = 1", (unit,))
    (known_at,) = connection.execute(_KNOWN_AT, (unit,)).fetchone()
    state = State(name)
    return UnitRecord(
        unit=unit,
        batch=batch,
        index=index,
        identity=UnitIdentity(chip, mac, unique_id),
        state=state,
        reason=reason,
        scrapped=scrapped,
        image_passed=image,
        attempts=_open_attempts(connection, unit),
        steps=_steps(connection, unit),
        user_bits={block: int(held, 16) for block, held in bits},
        values_unknown=bool(unknown),
        known_at=known_at,
        life=life_of(connection, unit, state),
        taken_over=bool(imported),
    )


def _open_attempts(connection: Sql, unit: int) -> tuple[Attempt, ...]:
    rows = connection.execute(
        "SELECT id, plan_digest, image_before, steps FROM attempts WHERE unit = ? AND closed = 0 ORDER BY id",
        (unit,),
    ).fetchall()
    return tuple(
        Attempt(plan, image, tuple(json.loads(steps)), _done(connection, number))
        for number, plan, image, steps in rows
    )


def _steps(connection: Sql, unit: int) -> dict[str, State]:
    rows = connection.execute(
        "SELECT label, attempt_steps.state FROM attempts JOIN attempt_steps ON attempt = attempts.id"
        " WHERE unit = ? ORDER BY attempt",
        (unit,),
    )
    return {label: State(state) for label, state in rows}


def _done(connection: Sql, attempt: int) -> dict[str, State]:
    rows = connection.execute("SELECT label, state FROM attempt_steps WHERE attempt = ?", (attempt,))
    return {label: State(state) for label, state in rows}


def entries_of(connection: Sql, unit: int) -> Iterator[UnitEntry]:
    """Yield the history of a unit, oldest first."""
    facts = facts_by_run(connection)
    for sequence, at, run, event, state, index, detail in connection.execute(
        "SELECT seq, at, run, event, state, idx, detail FROM history WHERE unit = ? ORDER BY seq", (unit,)
    ):
        made = NOT_KNOWN if run is None else facts(run, sequence)
        said = json.loads(detail or "{}")
        yield UnitEntry(at, run, made.station, made.operator, event, state, index, said)
