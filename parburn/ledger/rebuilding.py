"""What `ledger rebuild` found in chips becomes theirs: index, record, values, and what is left to burn.

Nothing that the ledger knows is changed. Indexes below the highest that was found, on no board that was
there, are spent too: their boards may be in the field. When such a board comes, rebuilding gives it its own.
Works within the caller's transaction.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from parburn.errors import LedgerError, UnitRefused, UsageError
from parburn.ledger import values
from parburn.ledger.base import Attempt, State, UnitIdentity, UserBits, check_transition
from parburn.ledger.batches import Batch, refuse_foreign_records
from parburn.ledger.units import text_digest
from parburn.ledger.writer import Transaction

NOT_THERE = "not among the boards of a ledger rebuild"
_GAP = "not-found-"  # begins the unique id of a unit that stands for an index alone


class FoundUnit(NamedTuple):
    """A chip and the record that it carries.

    `state` is PASS where the chip holds all of the record's plan, QUARANTINED where some of it cannot be
    read, else INCOMPLETE. `attempts` are the burns that are to go on; their `done` names the steps that
    somebody must vouch for.
    """

    identity: UnitIdentity
    index: int  # type: ignore[assignment]  # not tuple.index
    state: State
    reason: str
    job: str
    image: str
    attempts: tuple[Attempt, ...]
    named: Mapping[str, str]
    held: UserBits


class Known(NamedTuple):
    """A chip that the ledger knows already: it was left as it is."""

    batch: str
    index: int | None  # type: ignore[assignment]  # not tuple.index
    state: str


class Rebuilt(NamedTuple):
    """The answer for each chip (None: bound now), and how many indexes were spent for boards not there."""

    outcomes: list[Known | LedgerError | None]
    gaps: int
    highest: int


def find_known(transaction: Transaction, identities: Sequence[UnitIdentity]) -> list[Known | None]:
    """Return what the ledger knows of these chips, where they have an index; None for the others."""
    found: list[Known | None] = []
    for one in identities:
        row = transaction.connection.execute(
            "SELECT name, idx, state FROM units JOIN batches ON batches.id = batch"
            " WHERE mac = ? AND chip = ? AND unique_id = ? AND (idx IS NOT NULL OR spent = 1)"
            " ORDER BY units.id DESC LIMIT 1",
            (one.mac, one.chip, one.unique_id),
        ).fetchone()
        found.append(None if row is None else Known(*row))
    return found


def bind_found(
    transaction: Transaction, batch: Batch, found: Sequence[FoundUnit], *, first: int, why: str
) -> Rebuilt:
    """Give each chip what it carries; spend the indexes from `first` on of boards that were not there."""
    known = find_known(transaction, [one.identity for one in found])
    outcomes: list[Known | LedgerError | None] = []
    for one, before in zip(found, known, strict=True):
        outcomes.append(before if before is not None else _bind(transaction, batch, one, why))
    bound = [one.index for one, outcome in zip(found, outcomes, strict=True) if outcome is None]
    gaps = _spend_gaps(transaction, batch, first, max(bound)) if bound else 0
    return Rebuilt(outcomes, gaps, max(bound, default=0))


def _bind(transaction: Transaction, batch: Batch, found: FoundUnit, why: str) -> LedgerError | None:
    connection = transaction.connection
    row = connection.execute(
        "SELECT id, mac, unique_id FROM units WHERE batch = ? AND idx = ?", (batch.id, found.index)
    ).fetchone()
    if row is not None and not row[2].startswith(_GAP):
        return UnitRefused(
            f"it carries the record of index {found.index}, which the chip {row[1] or 'of an import'} has",
            hint="Two chips carry one record: take both out of the line.",
        )
    refused = refuse_foreign_records(connection, batch, found.index, unit=row[0] if row else -1)
    if refused is not None:
        return refused
    connection.execute("SAVEPOINT one_unit")
    try:
        unit = _write_unit(transaction, batch, found, None if row is None else row[0])
        holder = values.Holder(unit, batch.id, found.identity, found.index, batch.shares)
        values.write_found(transaction, holder, found.named, found.held)
    except LedgerError as taken:
        transaction.ranges.clear()
        connection.execute("ROLLBACK TO one_unit")
        connection.execute("RELEASE one_unit")
        return taken
    connection.execute("RELEASE one_unit")
    _tell(transaction, batch, found, unit, values.bind(transaction, holder), why)
    return None


def _write_unit(transaction: Transaction, batch: Batch, found: FoundUnit, gap: int | None) -> int:
    """Write the unit's row: a new one, the one that the chip had without an index, or that of the gap."""
    connection = transaction.connection
    who = found.identity
    own = connection.execute(
        "SELECT id FROM units WHERE batch = ? AND mac = ? AND chip = ? AND unique_id = ?",
        (batch.id, who.mac, who.chip, who.unique_id),
    ).fetchone()
    if own is not None and gap is not None:  # one row can be this chip's only
        raise UnitRefused(
            f"the ledger knows it without an index, and index {found.index} as spent",
            hint="Nothing was burned. Begin with a new ledger, and rebuild that from all boards.",
        )
    columns = (
        found.index,
        found.state.value,
        found.reason or "bound by ledger rebuild",
        found.image,
        transaction.at,
    )
    unit = own[0] if own is not None else gap
    if unit is not None:
        connection.execute(
            "UPDATE units SET chip = ?, mac = ?, unique_id = ?, idx = ?, state = ?, reason = ?,"
            " image_passed = ?, changed = ?, spent = 1, going_back = 0 WHERE id = ?",
            (who.chip, who.mac, who.unique_id, *columns, unit),
        )
        return int(unit)
    (made,) = connection.execute(
        "INSERT INTO units (batch, chip, mac, unique_id, idx, state, reason, image_passed, changed, spent)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 1) RETURNING id",
        (batch.id, who.chip, who.mac, who.unique_id, *columns),
    ).fetchone()
    return int(made)


def _tell(
    transaction: Transaction, batch: Batch, found: FoundUnit, unit: int, bound: dict[str, object], why: str
) -> None:
    """Write its records, its passed job or its open attempts; and the history of all of it."""
    connection = transaction.connection
    records = batch.records(found.index)
    connection.executemany(
        "INSERT INTO records VALUES (?, ?) ON CONFLICT DO NOTHING", [(digest, unit) for digest in records]
    )
    if found.state is State.PASS:
        connection.execute("INSERT INTO passes VALUES (?, ?) ON CONFLICT DO NOTHING", (unit, found.job))
    attempts = [_write_attempt(transaction, unit, one) for one in found.attempts]
    transaction.history.append(
        "rebuilt",
        unit=unit,
        state=found.state,
        index=found.index,
        batch=batch.name,
        chip=found.identity.chip,
        mac=found.identity.mac,
        unique_id=found.identity.unique_id,
        job=found.job if found.state is State.PASS else "",
        image=text_digest(found.image) if found.image else "",
        attempts=attempts,
        bound_records=records,
        reason=found.reason,
        why=why,
        **bound,
    )


def _write_attempt(transaction: Transaction, unit: int, attempt: Attempt) -> list[object]:
    connection = transaction.connection
    (number,) = connection.execute(
        "INSERT INTO attempts (unit, plan_digest, image_before, steps) VALUES (?, ?, ?, ?) RETURNING id",
        (unit, attempt.plan_digest, attempt.image_before, json.dumps(attempt.steps)),
    ).fetchone()
    connection.executemany(
        "INSERT INTO hidden_steps VALUES (?, ?, ?)",
        [(number, label, state.value) for label, state in attempt.done.items()],
    )
    return [number, attempt.plan_digest, text_digest(attempt.image_before), list(attempt.steps)]


def _spend_gaps(transaction: Transaction, batch: Batch, first: int, highest: int) -> int:
    """Spend all indexes that no unit holds, with their records; return their number."""
    connection = transaction.connection
    taken = {
        index
        for (index,) in connection.execute(
            "SELECT idx FROM units WHERE batch = ? AND idx BETWEEN ? AND ?", (batch.id, first, highest)
        )
    }
    free = [n for n in range(first, highest) if n not in taken and batch.has_record(n)]
    for index in free:
        who = f"{_GAP}{index}"
        (unit,) = connection.execute(
            "INSERT INTO units (batch, chip, mac, unique_id, idx, state, spent, reason, changed)"
            " VALUES (?, '', '', ?, ?, ?, 1, ?, ?) RETURNING id",
            (batch.id, who, index, State.PASS.value, NOT_THERE, transaction.at),
        ).fetchone()
        records = batch.records(index)
        connection.executemany(
            "INSERT INTO records VALUES (?, ?) ON CONFLICT DO NOTHING", [(digest, unit) for digest in records]
        )
        transaction.history.append(
            "imported", unit=unit, state=State.PASS, index=index, batch=batch.name, chip="", mac="",
            unique_id=who, bound_records=records,
        )  # fmt: skip
    return len(free)


def trust_hidden(transaction: Transaction, unit: int, index: int | None, why: str) -> bool:
    """Take hidden keys of a rebuilt unit as right, since somebody vouches for them.

    Returns:
        False where the unit has no hidden key.

    Raises:
        LedgerError: the unit's state allows it no more.
    """
    connection = transaction.connection
    steps = connection.execute(
        "SELECT attempt, label, hidden_steps.state FROM hidden_steps JOIN attempts ON attempts.id = attempt"
        " WHERE unit = ? AND closed = 0 ORDER BY attempt, label",
        (unit,),
    ).fetchall()
    if not steps:
        return False
    (state,) = connection.execute("SELECT state FROM units WHERE id = ?", (unit,)).fetchone()
    check_transition(State(state), State.INCOMPLETE)
    connection.executemany("INSERT INTO attempt_steps VALUES (?, ?, ?) ON CONFLICT DO NOTHING", steps)
    connection.execute(
        "UPDATE units SET state = ?, reason = ?, changed = ? WHERE id = ?",
        (State.INCOMPLETE.value, f"its hidden keys are trusted: {why}", transaction.at, unit),
    )
    transaction.history.append(
        "keys-trusted", unit=unit, state=State.INCOMPLETE, index=index, steps=steps, why=why
    )
    return True


def refuse_to_trust(mac: str) -> UsageError:
    """Return the refusal for a unit that has no key which somebody might vouch for."""
    return UsageError(
        f"The chip {mac} has no hidden key that ledger rebuild could not read.",
        hint="Release it without --trust-hidden-keys, if it is quarantined for another reason.",
    )
