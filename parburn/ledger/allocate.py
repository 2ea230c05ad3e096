"""Who gets which index: all chips of a barrier at once, in their order, within one transaction.

A chip that the batch knows keeps its index. The others get the lowest free ones; an index is free unless a
unit holds it. Everything is decided before anything is written.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple

from parburn.errors import (
    BatchRefused,
    BegunElsewhere,
    LedgerError,
    OutOfIndexes,
    UnitHeld,
    UnitQuarantined,
    UnitRefused,
    UnitScrapped,
)
from parburn.ledger import unit_ends, units
from parburn.ledger.base import UNTOUCHED, Attempt, Inputs, State, UnitIdentity, check_transition
from parburn.ledger.batches import Batch, Override, command_of, refuse_foreign_records
from parburn.ledger.begun import BegunUnit, begun_unit
from parburn.ledger.sql import Sql
from parburn.ledger.station_entries import dates_of_armings
from parburn.ledger.store import EndedRun
from parburn.ledger.unit_life import NO_LIFE, UnitLife, life_of, total_state
from parburn.ledger.units import Held
from parburn.ledger.values import is_unknown
from parburn.ledger.writer import Transaction

_FULL_STEP = 64  # the start of the search is moved when so many more indexes are held

NO_INPUTS: Final[Mapping[str, Inputs]] = MappingProxyType({})
NO_DATES: Final[Mapping[str, str]] = MappingProxyType({})


class Granted(NamedTuple):
    """A claim as the database knows it."""

    held: Held
    known: bool
    state: State
    passed_jobs: frozenset[str] = frozenset()
    attempts: tuple[Attempt, ...] = ()
    image_passed: str = ""
    inputs: Mapping[str, Inputs] = NO_INPUTS  # of each job that was passed
    unheard_of: bool = False
    values_unknown: bool = False
    put_out_by: str = ""  # why it is quarantined, though it may be the chip that passed
    life: UnitLife = NO_LIFE
    begun: BegunUnit | None = None  # of a unit that is INCOMPLETE
    armed_on: Mapping[str, str] = NO_DATES  # when its armings were made, where that is known
    passed_under: frozenset[str] = frozenset()


class Allocation(NamedTuple):
    """The answer of `claim_all`: per chip a claim or why not, and sentences for the operator."""

    outcomes: list[Granted | LedgerError]
    notes: list[str]


class _UnitRow(NamedTuple):
    """A row of `units` for an identity that is to be claimed."""

    id: int
    batch: int
    batch_name: str
    index: int | None  # type: ignore[assignment]  # not tuple.index
    state: State
    run: int | None
    spent: bool


def end_dead_runs(transaction: Transaction, ended: Iterable[EndedRun]) -> list[str]:
    """Release the units that runs hold which ended without a word, and return sentences for the operator.

    One of which nobody is sure keeps what it has attempted: see `take_up`.
    """
    notes = []
    for one in ended:
        if not one.surely:
            unit_ends.expire_run(transaction, one.run)
            continue
        left = unit_ends.end_run(transaction, one.run, "the process of that run is gone")
        if left:
            notes.append(
                f"An earlier run (number {one.run}) was cut off with {left} boards at work; they can go on."
            )
    return notes


def take_up(transaction: Transaction, identities: Sequence[UnitIdentity], ended: Sequence[EndedRun]) -> None:
    """End what runs that were not heard for long still hold of these chips: who has them goes on with them.

    The chip itself is here, so nobody burns it there; and whatever that run writes of it from now on is
    refused.
    """
    unheard = {one.run for one in ended if not one.surely}
    if unheard:
        for identity in identities:
            for unit in _units_of(transaction.connection, identity):
                if unit.run in unheard:
                    unit_ends.end_unit(transaction, unit.id, "its station was not heard for long")


def claim_all(
    transaction: Transaction,
    batch: Batch,
    identities: Sequence[UnitIdentity],
    *,
    first: int,
    last: int | None,
    job: str,
) -> Allocation:
    """Give every chip its index or the reason why it gets none, in the order of `identities`.

    Args:
        transaction: Where it is done; all refusals are decided before anything is written.
        batch: The batch of this run.
        identities: The chips of the barrier, in the order of their ports.
        first: The lowest index that a new chip may get.
        last: The highest one; None for no end.
        job: Digest of the job: an index whose record failed under it on several chips is set aside.
    """
    allocation = Allocation([], [])
    times = Counter(identities)
    rows = [_units_of(transaction.connection, identity) for identity in identities]
    outcomes: list[LedgerError | None] = [
        _doubled(identity) if times[identity] > 1 else _refusal(transaction, batch, identity, found)
        for identity, found in zip(identities, rows, strict=True)
    ]
    own = [next((unit for unit in found if unit.batch == batch.id), None) for found in rows]
    newcomers = [
        n for n, unit in enumerate(own) if outcomes[n] is None and (unit is None or unit.index is None)
    ]
    chosen = _choose(transaction, batch, [rows[n] for n in newcomers], first, last, job, allocation.notes)
    indexes = dict(zip(newcomers, chosen, strict=True))
    for n, identity in enumerate(identities):
        refused, unit, index = outcomes[n], own[n], indexes.get(n)
        if refused is not None:
            refused.total_state = _total_state(transaction.connection, rows[n])
            allocation.outcomes.append(refused)
        elif isinstance(index, LedgerError):
            allocation.outcomes.append(index)
        elif index is not None:
            granted = _grant_new(transaction, batch, identity, unit, index, job)
            allocation.outcomes.append(granted._replace(unheard_of=_never_attempted(rows[n])))
        else:
            assert unit is not None
            granted = _grant_known(transaction, batch, identity, unit, job)
            allocation.outcomes.append(granted._replace(unheard_of=_never_attempted(rows[n])))
    return allocation


def _total_state(connection: Sql, found: Sequence[_UnitRow]) -> str:
    """Return in words what a chip that gets no claim is: where it is of several batches, what is worst."""
    spent = sorted((unit for unit in found if unit.spent), key=lambda unit: unit.state is State.PASS)
    if not spent:
        return ""
    return total_state(spent[0].state, life_of(connection, spent[0].id, spent[0].state).since)


def _never_attempted(found: Sequence[_UnitRow]) -> bool:
    return not any(unit.spent for unit in found)


def _units_of(connection: Sql, identity: UnitIdentity) -> list[_UnitRow]:
    """Return the units of a chip, also one that was imported by its MAC without a unique id."""
    return [
        _UnitRow(row[0], row[1], row[2], row[3], State(row[4]), row[5], bool(row[6]))
        for row in connection.execute(
            "SELECT units.id, batch, name, idx, state, run, spent FROM units"
            " JOIN batches ON batches.id = batch WHERE mac = ? AND chip = ? AND unique_id IN (?, '')"
            " ORDER BY unique_id DESC",
            (identity.mac, identity.chip, identity.unique_id),
        )
    ]


# Who is refused -------------------------------------------------------------------------------------


def _doubled(identity: UnitIdentity) -> LedgerError:
    return UnitRefused(
        f"{identity} is at two ports of this run.",
        hint="One board behind two ports, or two chips with one identity: sort it out, then run again.",
    )


def _refusal(
    transaction: Transaction, batch: Batch, identity: UnitIdentity, found: Sequence[_UnitRow]
) -> LedgerError | None:
    """Return why a chip may not be touched, whatever index it would get; None where it may."""
    for unit in found:
        (off,) = transaction.connection.execute(
            "SELECT scrapped FROM units WHERE id = ?", (unit.id,)
        ).fetchone()
        if off:
            return UnitScrapped(
                f"{identity}, index {unit.index} of the batch {unit.batch_name}, is written off: {off}",
                hint="Do not use this chip. If it was a mistake: "
                f"parburn ledger release {identity.mac} --why REASON.",
            )
        elsewhere = "" if unit.batch == batch.id else f" of the batch {unit.batch_name}"
        if unit.state is State.QUARANTINED:
            if not elsewhere and unit.run is None and units.why_put_out(transaction.connection, unit.id):
                continue  # it may be the chip that passed: what it holds will show
            (reason,) = transaction.connection.execute(
                "SELECT reason FROM units WHERE id = ?", (unit.id,)
            ).fetchone()
            return UnitQuarantined(
                f"{identity}, index {unit.index}{elsewhere}, is quarantined: {reason}",
                hint="Do not use this chip. After it was examined: "
                f"parburn ledger release {identity.mac} --why REASON.",
            )
        if unit.run is not None:
            who = "this run" if unit.run == transaction.run else f"another parburn, run {unit.run}"
            return UnitHeld(
                f"{identity} is held by {who} already.", hint="Wait until that has ended, then run again."
            )
        if elsewhere and unit.state not in UNTOUCHED and unit.state is not State.PASS:
            return BegunElsewhere(
                f"{identity} was begun as index {unit.index}{elsewhere} and is not whole.",
                hint=f"It can be continued with that identity only: --batch {unit.batch_name} and its files.",
            )
    return None


def _carries_other(connection: Sql, batch: Batch, found: Sequence[_UnitRow]) -> _UnitRow | None:
    """Return the unit of another batch whose records this chip carries."""
    if Override.OTHER_BATCH in batch.overrides:
        return None
    for unit in found:
        if unit.batch != batch.id and unit.spent:
            row = connection.execute("SELECT 1 FROM records WHERE unit = ? LIMIT 1", (unit.id,)).fetchone()
            if row is not None:
                return unit
    return None


# Which index ----------------------------------------------------------------------------------------


def _choose(
    transaction: Transaction,
    batch: Batch,
    newcomers: Sequence[Sequence[_UnitRow]],
    first: int,
    last: int | None,
    job: str,
    notes: list[str],
) -> list[int | LedgerError]:
    """Return an index for each newcomer, or why not. One record of another chip refuses them all."""
    if not newcomers:
        return []
    connection = transaction.connection
    chosen: list[int | LedgerError] = []
    free = _usable(transaction, batch, first, last, job, notes)
    index: int | None = None
    given: dict[str, int] = {}  # whole records of this call, with their indexes
    for found in newcomers:
        other = _carries_other(connection, batch, found)
        index = next(free, None) if index is None else index  # one that nobody took is the next one's
        if index is None:
            chosen.append(_out_of_indexes(batch, first, last))
            continue
        records = batch.records(index)
        if other is not None and records:
            chosen.append(
                UnitRefused(
                    f"This chip carries index {other.index} of the batch {other.batch_name}.",
                    hint="It keeps its index with that batch and all of its files, in any order: "
                    f"{command_of(connection, other.batch, other.batch_name, batch.config)}. "
                    "If it is to get a record of this batch too: --allow-other-batch.",
                )
            )
            continue
        refused = refuse_foreign_records(connection, batch, index)
        if refused is None and records and records[-1] in given and not _shares(batch):
            refused = BatchRefused(
                f"The config files say for index {index} what they say for index {given[records[-1]]}.",
                hint="Mend the config files. If chips are to share records: --allow-shared-records.",
            )
        if refused is not None:
            return [refused] * len(newcomers)
        given.update(dict.fromkeys(records[-1:], index))
        chosen.append(index)
        index = None
    return chosen


def _shares(batch: Batch) -> bool:
    return Override.SHARED_RECORDS in batch.overrides


def _out_of_indexes(batch: Batch, first: int, last: int | None) -> OutOfIndexes:
    config = batch.config
    if config.has_records and (last is None or last >= config.last):
        left = "all are used" if first == 1 else f"none is free from {first} on"
        return OutOfIndexes(
            f"No record is left: {config.counts()}, {left}.",
            hint="Append records behind those that are there.",
        )
    return OutOfIndexes(
        f"No index is left from {first} to {last}.",
        hint="Widen --index A-B, if the config files have more records.",
    )


def _usable(
    transaction: Transaction, batch: Batch, first: int, last: int | None, job: str, notes: list[str]
) -> Iterator[int]:
    """Yield the free indexes from `first` to `last`, without those that are set aside."""
    free = _free(transaction.connection, batch.id, first)
    while last is None or first <= last:
        index = next(free)
        if last is not None and index > last:
            return
        if not batch.has_record(index):
            if index >= batch.config.last:  # asked here only: of a million records it takes its time
                return
            first = batch.config.next_after(index)
            if first != index + 1:
                free = _free(transaction.connection, batch.id, first)
            continue
        why = units.why_set_aside(transaction, batch.id, index, record_job(job, batch, index))
        if why:
            notes.append(
                f"Index {index} is set aside: {why}. It comes back when the script or the record changes."
            )
            continue
        yield index


def record_job(job: str, batch: Batch, index: int) -> str:
    """Return the key under which failures of the script are counted: the job with this index's record."""
    return " ".join((job, *batch.records(index)[-1:]))


def _free(connection: Sql, batch: int, first: int) -> Iterator[int]:
    """Yield the indexes from `first` on that no unit holds, without end."""
    full_from, full_to = connection.execute(
        "SELECT full_from, full_to FROM batches WHERE id = ?", (batch,)
    ).fetchone()
    candidate = full_to + 1 if full_from <= first <= full_to else first
    rows = connection.execute(
        "SELECT idx FROM units WHERE batch = ? AND idx >= ? ORDER BY idx", (batch, candidate)
    )
    for (taken,) in rows:
        yield from range(candidate, taken)
        candidate = taken + 1
    while True:
        yield candidate
        candidate += 1


def remember_full(transaction: Transaction, batch: int, first: int) -> None:
    """Move the start of the search for free indexes behind those that units hold without a gap.

    One that goes back moves it there again (`unit_ends`). A station claims for one chip at a time: it
    must not look at all the others each time, only because one in between keeps an index that is not spent.
    """
    connection = transaction.connection
    full_from, full_to = connection.execute(
        "SELECT full_from, full_to FROM batches WHERE id = ?", (batch,)
    ).fetchone()
    if not full_from <= first <= full_to + 1:
        full_from, full_to = first, first - 1
    end = full_to
    for (index,) in connection.execute(
        "SELECT idx FROM units WHERE batch = ? AND idx > ? ORDER BY idx", (batch, full_to)
    ):
        if index != end + 1:
            break
        end = index
    if end - full_to >= _FULL_STEP:
        connection.execute(
            "UPDATE batches SET full_from = ?, full_to = ? WHERE id = ?", (full_from, end, batch)
        )


# Writing it down ------------------------------------------------------------------------------------


def _held(
    transaction: Transaction, unit: int, batch: Batch, identity: UnitIdentity, index: int, job: str
) -> Held:
    """Return the unit for a claim whose entry was written last."""
    claim = transaction.history.sequence
    transaction.connection.execute("UPDATE units SET claim = ? WHERE id = ?", (claim, unit))
    return Held(
        id=unit,
        batch=batch.id,
        identity=identity,
        index=index,
        records=batch.records(index),
        job=record_job(job, batch, index),
        of=batch,
        claim=claim,
    )


def _grant_new(
    transaction: Transaction,
    batch: Batch,
    identity: UnitIdentity,
    unit: _UnitRow | None,
    index: int,
    job: str,
) -> Granted:
    connection = transaction.connection
    if unit is not None:
        check_transition(unit.state, State.CLAIMED)
        connection.execute(
            "UPDATE units SET idx = ?, state = ?, run = ?, reason = '', changed = ? WHERE id = ?",
            (index, State.CLAIMED.value, transaction.run, transaction.at, unit.id),
        )
        number = unit.id
    else:
        (number,) = connection.execute(
            "INSERT INTO units (batch, chip, mac, unique_id, idx, state, run, changed)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?) RETURNING id",
            (
                batch.id,
                identity.chip,
                identity.mac,
                identity.unique_id,
                index,
                State.CLAIMED.value,
                transaction.run,
                transaction.at,
            ),
        ).fetchone()
    transaction.history.append(
        "claimed",
        unit=number,
        state=State.CLAIMED,
        index=index,
        batch=batch.name,
        chip=identity.chip,
        mac=identity.mac,
        unique_id=identity.unique_id,
    )
    return Granted(
        _held(transaction, number, batch, identity, index, job),
        known=False,
        state=State.CLAIMED,
        life=NO_LIFE if unit is None else life_of(connection, number, State.CLAIMED),
    )


def _grant_known(
    transaction: Transaction, batch: Batch, identity: UnitIdentity, unit: _UnitRow, job: str
) -> Granted:
    connection = transaction.connection
    assert unit.index is not None
    state = State.CLAIMED if unit.state in UNTOUCHED else unit.state
    connection.execute(
        "UPDATE units SET state = ?, run = ? WHERE id = ?", (state.value, transaction.run, unit.id)
    )
    learned = connection.execute(
        "UPDATE units SET unique_id = ? WHERE id = ? AND unique_id != ?",
        (identity.unique_id, unit.id, identity.unique_id),
    ).rowcount
    who = {"batch": batch.name, **identity._asdict()} if learned else {}
    transaction.history.append("claimed-again", unit=unit.id, state=state, index=unit.index, **who)
    jobs = connection.execute("SELECT job FROM passes WHERE unit = ?", (unit.id,)).fetchall()
    (image,) = connection.execute("SELECT image_passed FROM units WHERE id = ?", (unit.id,)).fetchone()
    begun = begun_unit(connection, unit.id) if state is State.INCOMPLETE else None
    return Granted(
        _held(transaction, unit.id, batch, identity, unit.index, job),
        known=True,
        state=state,
        passed_jobs=frozenset(job for (job,) in jobs),
        attempts=_open_attempts(connection, unit.id),
        image_passed=image,
        inputs=_inputs(connection, unit.id),
        values_unknown=is_unknown(connection, unit.id),
        put_out_by=units.why_put_out(connection, unit.id) if state is State.QUARANTINED else "",
        life=life_of(connection, unit.id, unit.state),
        begun=begun,
        armed_on=NO_DATES if begun is None else dates_of_armings(connection, begun.armings),
        passed_under=_passed_under(connection, unit.id),
    )


def _passed_under(connection: Sql, unit: int) -> frozenset[str]:
    rows = connection.execute("SELECT arming FROM pass_armings WHERE unit = ?", (unit,))
    return frozenset(arming for (arming,) in rows)


def _inputs(connection: Sql, unit: int) -> dict[str, Inputs]:
    found: dict[str, list[tuple[str, str]]] = {}
    for job, path, digest in connection.execute(
        "SELECT job, path, digest FROM pass_inputs WHERE unit = ? ORDER BY job, path", (unit,)
    ):
        found.setdefault(job, []).append((path, digest))
    return {job: tuple(inputs) for job, inputs in found.items()}


def _open_attempts(connection: Sql, unit: int) -> tuple[Attempt, ...]:
    attempts = []
    (changed,) = connection.execute("SELECT changed FROM units WHERE id = ?", (unit,)).fetchone()
    for number, plan, image, steps in connection.execute(
        "SELECT id, plan_digest, image_before, steps FROM attempts WHERE unit = ? AND closed = 0 ORDER BY id",
        (unit,),
    ).fetchall():
        done = connection.execute("SELECT label, state FROM attempt_steps WHERE attempt = ?", (number,))
        attempts.append(
            Attempt(
                plan, image, tuple(json.loads(steps)), {label: State(state) for label, state in done}, changed
            )
        )
    return tuple(attempts)
