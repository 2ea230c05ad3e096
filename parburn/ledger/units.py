"""One unit's way through its states: each function is one work of the writer, and checks before it writes.

The allocation of indexes is in `allocate`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from parburn.errors import LedgerError, UnitRefused
from parburn.events import NO_VALUES
from parburn.ledger import values
from parburn.ledger.base import (
    NO_USER_BITS,
    UNDER_WAY,
    UNTOUCHED,
    Attempt,
    Inputs,
    State,
    UnitIdentity,
    UserBits,
    check_transition,
)
from parburn.ledger.batches import Batch, refuse_foreign_records
from parburn.ledger.sql import Sql
from parburn.ledger.writer import Transaction

FAILURES_THAT_SET_ASIDE = 2  # chips on which the script failed clean with one and the same record
_REASON_AT_MOST = 1000  # characters
NO_COLUMNS: Final[Mapping[str, str | int]] = MappingProxyType({})
SPENT: Final[Mapping[str, str | int]] = MappingProxyType({"spent": 1, "going_back": 0})  # the index, for ever


class Held(NamedTuple):
    """A unit as the run that holds it knows it: what does not change within the run."""

    id: int
    batch: int
    identity: UnitIdentity
    index: int  # type: ignore[assignment]  # not tuple.index
    records: tuple[str, ...]
    job: str  # by which failures of the script are counted
    of: Batch  # what its files say, and what it shares
    claim: int  # the number of the entry that gave it to this claim

    @property
    def holder(self) -> values.Holder:
        """The unit as `values` needs it."""
        return values.Holder(self.id, self.batch, self.identity, self.index, self.of.shares)


def current(transaction: Transaction, unit: Held) -> State:
    """Return the unit's state.

    Raises:
        UnitRefused: this claim holds the unit no more.
    """
    state, run, claim = transaction.connection.execute(
        f"SELECT state, run, claim FROM units WHERE id = ?{transaction.row_lock}", (unit.id,)
    ).fetchone()
    if (run, claim) != (transaction.run, unit.claim):
        raise UnitRefused(
            f"The ledger no longer counts {unit.identity} to this run.",
            hint="Its claim has ended, or somebody worked on the ledger meanwhile. Run again.",
        )
    return State(state)


def writeable(reason: str) -> str:
    """Return text of scripts and systems as text that can be stored, whatever it holds."""
    text = reason[:_REASON_AT_MOST].replace("\0", "\\x00")
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _move(
    transaction: Transaction,
    unit: Held,
    state: State,
    event: str,
    *,
    reason: str = "",
    columns: Mapping[str, str | int] = NO_COLUMNS,
    **detail: Any,
) -> State:
    """Set the unit's state and other columns of its row, and tell the history."""
    reason = reason and writeable(reason)
    more = "".join(f", {name} = ?" for name in columns)
    transaction.connection.execute(
        f"UPDATE units SET state = ?, reason = ?, changed = ?{more} WHERE id = ?",
        (state.value, reason, transaction.at, *columns.values(), unit.id),
    )
    if reason:
        detail["reason"] = reason
    transaction.history.append(event, unit=unit.id, state=state, index=unit.index, **detail)
    return state


def planned(
    transaction: Transaction,
    unit: Held,
    plan_digest: str,
    named: Mapping[str, str],
    held: UserBits,
    shown: Mapping[str, str] = NO_VALUES,
) -> tuple[State, LedgerError | None, str]:
    """Write down a plan and its values, or the refusal of it.

    A refusal must itself be written down, and so it is returned and not raised.

    Returns:
        The unit's state; the refusal or None; why the unit's index is set aside from now on, or nothing.
    """
    before = current(transaction, unit)
    holder = unit.holder
    doubles = values.find_taken(transaction, holder, named, held)
    if doubles and doubles[0].bound:
        return (before, *_set_aside(transaction, unit, before, doubles[0]))
    after = State.PLANNED if before in UNTOUCHED else before
    if before is not after:
        check_transition(before, after)
    values.write_planned(transaction, holder, named, held)
    values.mark_conflicts(transaction, holder, doubles)
    refused = doubles[-1].refusal(unit.identity) if doubles else None
    told: dict[str, Any] = {"shown": dict(shown)} if shown else {}
    _move(
        transaction,
        unit,
        after,
        "planned",
        plan=plan_digest,
        values=dict(named),
        refused=str(refused or ""),
        **told,
    )
    return after, refused, ""


def _set_aside(
    transaction: Transaction, unit: Held, state: State, taken: values.Taken
) -> tuple[LedgerError, str]:
    """Refuse this unit. Its index, unless spent, goes to no board until its record changes."""
    why = ""
    refusal = taken.refusal(unit.identity)
    (spent,) = transaction.connection.execute("SELECT spent FROM units WHERE id = ?", (unit.id,)).fetchone()
    if not spent:
        why = f"{taken.name} {taken.shown} of its record belongs to the chip {taken.mac} already"
        transaction.connection.execute(
            "INSERT INTO taken_values VALUES (?, ?, ?, ?)"
            " ON CONFLICT (batch, idx, job) DO UPDATE SET why = excluded.why",
            (unit.batch, unit.index, unit.job, why),
        )
    transaction.history.append(
        "value-taken", unit=unit.id, state=state, index=unit.index, reason=refusal.message, of=taken.mac
    )
    return refusal, why


def burn_attempted(
    transaction: Transaction, unit: Held, attempt: Attempt, *, arming: str = ""
) -> tuple[State, int]:
    """Spend the index, bind records and values, store the attempt with the arming that it is made under.

    Returns:
        The unit's state and the attempt's id.

    Raises:
        UniqueValueTaken: another chip plans, or got meanwhile, one of its values.
        UnitRefused: its record was given to another chip meanwhile, or this run holds the unit no more.
        LedgerError: the unit's state allows no burn.
    """
    check_transition(current(transaction, unit), State.BURN_ATTEMPTED)
    connection = transaction.connection
    values.refuse_conflicts(transaction, unit.holder)
    _check_records(transaction, unit)
    bound = _bind(transaction, unit)
    told: dict[str, str] = {}
    row = connection.execute(
        "SELECT id FROM attempts WHERE unit = ? AND closed = 0 AND plan_digest = ?",
        (unit.id, attempt.plan_digest),
    ).fetchone()
    if row is not None:  # goes on; its first image and arming stay
        number = int(row[0])
    else:
        (number,) = connection.execute(
            "INSERT INTO attempts (unit, plan_digest, image_before, steps, arming) VALUES (?, ?, ?, ?, ?)"
            " RETURNING id",
            (unit.id, attempt.plan_digest, attempt.image_before, json.dumps(attempt.steps), arming),
        ).fetchone()
        told = {"arming": arming} if arming else {}
    state = _move(
        transaction,
        unit,
        State.BURN_ATTEMPTED,
        "burn-attempted",
        attempt=number,
        plan=attempt.plan_digest,
        steps=attempt.steps,
        image="" if row is not None else text_digest(attempt.image_before),
        columns=SPENT,
        **told,
        **bound,
    )
    return state, number


def text_digest(text: str) -> str:
    """Return the SHA-256 in hex by which the history knows a stored image."""
    return hashlib.sha256(text.encode()).hexdigest()


def inputs_digest(inputs: Inputs) -> str:
    """Return the SHA-256 in hex by which the history knows what a passed job has read."""
    return text_digest(json.dumps(inputs))


def _check_records(transaction: Transaction, unit: Held) -> None:
    """Raise UnitRefused where another process gave the same record to its chip after the claim."""
    refused = refuse_foreign_records(transaction.connection, unit.of, unit.index, unit=unit.id)
    if refused is not None:
        raise UnitRefused(f"Its record was given to another chip meanwhile. {refused}", hint=refused.hint)


def _bind(transaction: Transaction, unit: Held) -> dict[str, Any]:
    """Give the unit its records and planned values for ever; return the new ones for the history."""
    connection = transaction.connection
    bound = values.bind(transaction, unit.holder)
    if unit.records:
        rows = [(digest, unit.id) for digest in unit.records]
        if connection.executemany("INSERT INTO records VALUES (?, ?) ON CONFLICT DO NOTHING", rows).rowcount:
            bound["bound_records"] = unit.records
    return bound


def step_done(transaction: Transaction, unit: Held, attempt: int, label: str, state: State) -> State:
    """Write down that one step of an attempt got as far as `state`; return the unit's state.

    Raises:
        LedgerError: `state` may not follow, or is no state of a step.
        UnitRefused: this run holds the unit no more.
    """
    check_transition(current(transaction, unit), state)
    if state not in UNDER_WAY or state is State.BURN_ATTEMPTED:
        raise LedgerError(f"A step is burned, verified or locked, not {state.value}.")
    transaction.connection.execute(
        "INSERT INTO attempt_steps VALUES (?, ?, ?)"
        " ON CONFLICT (attempt, label) DO UPDATE SET state = excluded.state",
        (attempt, label, state.value),
    )
    return _move(transaction, unit, state, "step", attempt=attempt, label=label)


def passed(
    transaction: Transaction,
    unit: Held,
    job_digest: str,
    image: str,
    inputs: Inputs = (),
    *,
    found: UserBits = NO_USER_BITS,
    found_values: Mapping[str, str] = NO_VALUES,
    arming: str = "",
) -> State:
    """Write down that the job is in the chip; return the unit's state.

    Where there was no plan at all, the index goes back when the run ends, and what was found in the chip is
    recorded as this chip's. See `Claim.passed` for what is raised.
    """
    before = current(transaction, unit)
    connection = transaction.connection
    if found_values or found.bits:
        values.write_found(transaction, unit.holder, found_values, found)
    if before is State.CLAIMED:
        connection.execute("UPDATE units SET going_back = 1 WHERE id = ?", (unit.id,))
        bound = values.bind(transaction, unit.holder)
        return _move(transaction, unit, State.IDENTIFIED, "nothing-asked", job=job_digest, **bound)
    check_transition(before, State.PASS)
    if before is State.QUARANTINED:  # only by what it holds: see `recognized`
        raise LedgerError(f"A unit that is {before.value} cannot become {State.PASS.value} by a job.")
    values.refuse_conflicts(transaction, unit.holder)
    _check_records(transaction, unit)
    bound = _bind(transaction, unit)
    new = connection.execute(
        "INSERT INTO passes VALUES (?, ?) ON CONFLICT DO NOTHING", (unit.id, job_digest)
    ).rowcount
    if arming:
        connection.execute("INSERT INTO pass_armings VALUES (?, ?) ON CONFLICT DO NOTHING", (unit.id, arming))
        bound["arming"] = arming
    connection.execute("UPDATE attempts SET closed = 1 WHERE unit = ? AND closed = 0", (unit.id,))
    if not new:
        connection.execute("DELETE FROM pass_inputs WHERE unit = ? AND job = ?", (unit.id, job_digest))
    if inputs:
        connection.executemany(
            "INSERT INTO pass_inputs VALUES (?, ?, ?, ?)", [(unit.id, job_digest, *one) for one in inputs]
        )
        bound["inputs"] = inputs_digest(inputs)
    columns: dict[str, str | int] = {**SPENT, "cause": ""}
    if image:
        columns["image_passed"] = image
        bound["image"] = text_digest(image)
    return _move(transaction, unit, State.PASS, "passed", columns=columns, job=job_digest, **bound)


def failed_clean(
    transaction: Transaction, unit: Held, reason: str, *, release: bool, script_failed: bool
) -> tuple[State, bool]:
    """Write down that nothing was attempted in this run.

    Returns:
        The unit's state; whether this index is set aside from now on.

    Raises:
        LedgerError: a burn of this unit is under way.
    """
    before = current(transaction, unit)
    connection = transaction.connection
    after = State.FAILED_CLEAN if before in UNTOUCHED else before
    if before in UNDER_WAY:
        raise LedgerError(f"A unit that is {before.value} cannot have failed clean.")
    values.forget_planned(connection, "= ?", unit.id)
    release = release or bool(_why_taken(connection, unit.batch, unit.index, unit.job))
    connection.execute("UPDATE units SET going_back = ? WHERE id = ? AND spent = 0", (int(release), unit.id))
    set_aside = False
    if script_failed and after is State.FAILED_CLEAN:
        connection.execute(
            "INSERT INTO clean_failures VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
            (unit.batch, unit.index, unit.job, unit.id),
        )
        set_aside = is_set_aside(transaction, unit.batch, unit.index, unit.job)
    if before is State.INCOMPLETE:  # why it is not whole stays its reason
        told = writeable(reason)
        transaction.history.append("failed-clean", unit=unit.id, state=before, index=unit.index, reason=told)
        return before, False
    if before is State.PASS:
        reason = f"passed; a later run: {reason}"
    _move(transaction, unit, after, "failed-clean", reason=reason, release=release, set_aside=set_aside)
    return after, set_aside


_OF_INDEX = "WHERE batch = ?1 AND idx = ?2 AND job = ?3"
_FAILED_CHIPS = f"SELECT count(*) FROM clean_failures {_OF_INDEX}"
_WHY_TAKEN = f"SELECT why FROM taken_values {_OF_INDEX}"


def why_set_aside(transaction: Transaction, batch: int, index: int, job: str) -> str:
    """Return why no board gets this index until script or record change; empty: it may be given out."""
    chips, taken = transaction.connection.execute(
        f"SELECT ({_FAILED_CHIPS}), ({_WHY_TAKEN})", (batch, index, job)
    ).fetchone()
    if chips >= FAILURES_THAT_SET_ASIDE:
        return f"the script failed with its record on {FAILURES_THAT_SET_ASIDE} chips"
    return str(taken or "")


def _why_taken(connection: Sql, batch: int, index: int, job: str) -> str:
    row = connection.execute(_WHY_TAKEN, (batch, index, job)).fetchone()
    return str(row[0]) if row else ""


def is_set_aside(transaction: Transaction, batch: int, index: int, job: str) -> bool:
    """Return whether the script of this job failed with this index's record on enough chips.

    `FAILURES_THAT_SET_ASIDE` different chips are enough.
    """
    (chips,) = transaction.connection.execute(_FAILED_CHIPS, (batch, index, job)).fetchone()
    return bool(chips >= FAILURES_THAT_SET_ASIDE)


def ended_badly(transaction: Transaction, unit: Held, state: State, reason: str, cause: str = "") -> State:
    """Make the unit INCOMPLETE or QUARANTINED, with the reason and how it came; return its state."""
    check_transition(current(transaction, unit), state)
    told = {"cause": cause} if cause else {}
    return _move(transaction, unit, state, state.value, reason=reason, columns={"cause": cause}, **told)


def why_put_out(connection: Sql, unit: int) -> str:
    """Why a unit is quarantined that had passed, and on which nothing was attempted since; else empty.

    Then it was put out by what a chip with its identity showed, maybe another one. The one that shows all
    that the unit passed with is its own.
    """
    rows = connection.execute("SELECT state FROM history WHERE unit = ? ORDER BY seq DESC", (unit,))
    before = next((state for (state,) in rows if state != State.QUARANTINED.value), "")
    reason, image = connection.execute(
        "SELECT reason, image_passed FROM units WHERE id = ? AND state = ? AND scrapped = ''",
        (unit, State.QUARANTINED.value),
    ).fetchone() or ("", "")
    return str(reason or "no reason is known") if image and before == State.PASS.value else ""


def recognized(transaction: Transaction, unit: Held) -> State:
    """Make a unit PASS again: its chip is back, and what was seen meanwhile was another one."""
    check_transition(current(transaction, unit), State.PASS)
    reason = why_put_out(transaction.connection, unit.id)
    if not reason:
        raise UnitRefused(f"{unit.identity} was not put into quarantine by another chip.")
    told = f"passed; another chip with its MAC was seen: {reason}"
    return _move(transaction, unit, State.PASS, "recognized", reason=told)


def already_passed(transaction: Transaction, unit: Held) -> State:
    """Write down that this run ended with the unit as it had passed before; return its state.

    Raises:
        LedgerError: the unit is not PASS, or this run holds it no more.
    """
    state = current(transaction, unit)
    if state is not State.PASS:
        raise LedgerError(f"A unit that is {state.value} has not passed already.")
    transaction.history.append("already-passed", unit=unit.id, state=state, index=unit.index)
    return state
