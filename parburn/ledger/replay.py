"""Builds from the history what the ledger's tables must say, and names where they say something else.

The chain proves that the history is whole; this proves that the rest of the ledger is what the history made.
An entry is written from the unit's row: a row that was changed by hand goes into the next entry, and then row
and history agree. So each entry is compared with the one before it, too.

It goes through the units by their numbers, some at a time: a million take no more memory than a thousand.
What the history makes of them and what the tables say are two sets of facts, `(unit, kind, ...)`. Where they
are equal, as they nearly always are, nothing else is compared.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec

from parburn.ledger.base import TRANSITIONS, UNTOUCHED, State
from parburn.ledger.history import Break
from parburn.ledger.units import inputs_digest, text_digest
from parburn.ledger.values import value_in

UNITS_AT_A_TIME = 500
_SPENDS = frozenset({"burn-attempted", "passed", "imported", "rebuilt"})
_GIVES_AN_INDEX = frozenset({"claimed", "imported", "rebuilt"})
_FROM_OUTSIDE = frozenset({"imported", "rebuilt"})  # the state is what was found, whatever stood here
_KEEPS_THE_STATE = frozenset({"scrapped", "values-learned", "value-taken"})
# What a unit that was never burned becomes by these; any other keeps its state.
_IF_UNTOUCHED = {
    "claimed-again": State.CLAIMED,
    "planned": State.PLANNED,
    "failed-clean": State.FAILED_CLEAN,
}

Fact = tuple[Any, ...]
_UNIT, _BITS = "unit", "bits"
# Kinds of facts, and what each is called.
_KINDS = {
    "value": "unique values",
    _BITS: "what its user blocks hold",
    "digest": "keyed digests of its values",
    "record": "config records",
    "job": "passed jobs",
    "inputs": "what its passed jobs read",
    "attempt": "attempts",
    "step": "steps",
}
# The parts of a fact of the kind `unit`, behind its number and kind.
_PARTS = (
    "identity", "identity", "identity", "identity", "state", "index", "whether its index is spent",
    "whether it is written off", "what it held when it passed",
)  # fmt: skip


class _Detail(msgspec.Struct):
    """What is looked at of an entry's details; what an event does not have keeps its default."""

    mac: str | None = None
    batch: str = ""
    chip: str = ""
    unique_id: str = ""
    bound_values: list[tuple[str, str]] = []
    bound_bits: list[tuple[int, str, str]] = []
    bound_digests: list[tuple[str, str, str]] = []
    bound_records: list[str] = []
    passed_jobs: list[str] = []
    image_passed: str | None = None
    image: str = ""
    attempt: int = 0
    plan: str = ""
    steps: list[Any] = []
    label: str = ""
    job: str = ""
    inputs: str = ""
    attempts: list[tuple[int, str, str, list[str]]] = []
    scrapped: bool | str = False


_NOTHING = _Detail()
_decode = msgspec.json.Decoder(_Detail).decode


class _ReplayedUnit:
    """One unit as the history makes it. Facts that are never taken back go into `facts` at once."""

    __slots__ = (
        "attempts", "bits", "facts", "image", "index", "inputs", "scrapped", "spent", "state", "steps",
        "unit", "who",
    )  # fmt: skip

    def __init__(self, unit: int, facts: set[Fact]) -> None:
        self.unit = unit
        self.facts = facts
        self.who: tuple[str | None, ...] = ("", "", "", "")  # batch, chip, mac, unique_id
        self.state = ""
        self.index: int | None = None
        self.spent = False
        self.scrapped = False
        self.image = ""  # digest of what it held when it passed
        self.bits: dict[int, tuple[str, str]] = {}  # user block -> layout, hex
        self.inputs: dict[str, str] = {}  # job -> digest of what it read
        # number -> plan, digest of the image, steps, closed
        self.attempts: dict[int, tuple[str, str, tuple[str, ...], bool]] = {}
        self.steps: dict[tuple[int, str], str] = {}

    def follows(self, event: str, state: str, index: int | None, detail: _Detail) -> str:
        """Why an entry cannot follow those before it; empty: it can."""
        if not self.state:
            return ""
        if index != self.index:
            given = event in _GIVES_AN_INDEX and self.index is None
            freed = event == "run-ended" and index is None and not self.spent
            if not (given or freed):
                return f"the index {index}, and it had {self.index}"
        if detail.mac is not None and self.who[2] and detail.mac != self.who[2]:
            return f"the MAC {detail.mac}, and it had {self.who[2]}"
        if not _may_become(event, self.state, state):
            return f"the state {state}, and it was {self.state}"
        return ""

    def apply(self, event: str, state: str, index: int | None, detail: _Detail) -> None:
        """Apply one entry of the unit's history."""
        self.state, self.index = state, index
        if event in _SPENDS:
            self.spent = True
        if event in ("scrapped", "released", "imported"):
            self.scrapped = event == "scrapped" or bool(detail.scrapped)
        if detail is _NOTHING:
            return
        if event == "step":
            self.steps[detail.attempt, detail.label] = state
            return
        if detail.mac is not None:
            self.who = (detail.batch, detail.chip, detail.mac, detail.unique_id)
        self._bind(detail)
        if event in ("burn-attempted", "imported"):
            if detail.image:
                self.attempts[detail.attempt] = detail.plan, detail.image, tuple(detail.steps), False
        elif event == "passed":
            self._pass(detail)
        elif event == "rebuilt":
            self._rebuild(detail)
        elif event == "keys-trusted":
            self.steps |= {(number, label): done for number, label, done in detail.steps}

    def _bind(self, detail: _Detail) -> None:
        unit, add = self.unit, self.facts.add
        for name, value in detail.bound_values:
            add((unit, "value", name, value))
        for block, layout, bits in detail.bound_bits:
            self.bits[block] = layout, bits
        for layout, parts, value in detail.bound_digests:
            add((unit, "digest", layout, parts, value))
        for digest in detail.bound_records:
            add((unit, "record", digest))
        for job in detail.passed_jobs:
            add((unit, "job", job))
        if detail.image_passed is not None:
            self.image = detail.image_passed

    def _pass(self, detail: _Detail) -> None:
        self.facts.add((self.unit, "job", detail.job))
        self.image = detail.image or self.image
        self.inputs.pop(detail.job, None)
        if detail.inputs:
            self.inputs[detail.job] = detail.inputs
        self.attempts = {number: (*one[:3], True) for number, one in self.attempts.items()}

    def _rebuild(self, detail: _Detail) -> None:
        if detail.job:
            self.facts.add((self.unit, "job", detail.job))
        self.image = detail.image
        for number, plan, image, steps in detail.attempts:
            self.attempts[number] = plan, image, tuple(steps), False

    def end(self) -> None:
        """Tell the rest of its facts: it has no more entries."""
        unit, add = self.unit, self.facts.add
        add((unit, _UNIT, *self.who, self.state, self.index, self.spent, self.scrapped, self.image))
        for block, (layout, bits) in self.bits.items():
            add((unit, _BITS, block, layout, bits))
        for job, digest in self.inputs.items():
            add((unit, "inputs", job, digest))
        for number, attempt in self.attempts.items():
            add((unit, "attempt", number, *attempt))
        for (number, label), state in self.steps.items():
            add((unit, "step", number, label, state))


@lru_cache(1024)
def _may_become(event: str, named_before: str, named_after: str) -> bool:
    """Return whether an event may lead from a state to another. Raises ValueError for what is no state."""
    before, after = State(named_before), State(named_after)
    if event in _FROM_OUTSIDE:
        return True
    if event in _KEEPS_THE_STATE:
        return after is before
    if event in _IF_UNTOUCHED:
        return after is (_IF_UNTOUCHED[event] if before in UNTOUCHED else before)
    if before is State.QUARANTINED and after is not before:
        return event in (("recognized",) if after is State.PASS else ("released", "keys-trusted"))
    return after is before or after in TRANSITIONS[before]


class _Share(NamedTuple):
    """Units by their numbers: from `first` on and below `end`; None: to the last."""

    first: int
    end: int | None

    def where(self, column: str = "unit") -> str:
        """Return the condition of a statement; `values` are its parameters."""
        return f"{column} >= ?" + ("" if self.end is None else f" AND {column} < ?")

    @property
    def values(self) -> tuple[int, ...]:
        """The parameters of `where`."""
        return (self.first,) if self.end is None else (self.first, self.end)


FIRST_UNIT = -(1 << 63)  # of any number that a row can have


def find_differences(
    connection: sqlite3.Connection, first: int = FIRST_UNIT, end: int | None = None
) -> Iterator[Break]:
    """Yield where units, values, records, passed jobs or attempts are not what the history says.

    Args:
        connection: The ledger.
        first: The first unit that is looked at.
        end: The number behind the last one; None for all that follow.
    """
    for share in _shares(connection, first, end):
        yield from _differences(connection, share)


def find_strays(connection: sqlite3.Connection) -> Iterator[Break]:
    """Yield steps that belong to no attempt: they hang on no unit, so no unit's history tells of them."""
    (strays,) = connection.execute(
        "SELECT count(*) FROM attempt_steps WHERE attempt NOT IN (SELECT id FROM attempts)"
    ).fetchone()
    if strays:
        yield Break(0, f"{strays} steps are not what the history says: they are of no attempt.")


def _shares(connection: sqlite3.Connection, first: int, end: int | None) -> Iterator[_Share]:
    while True:
        row = connection.execute(
            "SELECT id FROM units WHERE id >= ? ORDER BY id LIMIT 1 OFFSET ?", (first, UNITS_AT_A_TIME)
        ).fetchone()
        if row is None or (end is not None and row[0] >= end):
            yield _Share(first, end)
            return
        yield _Share(first, row[0])
        (first,) = row


def _differences(connection: sqlite3.Connection, share: _Share) -> Iterator[Break]:
    expected: set[Fact] = set()
    try:
        yield from _replayed(connection, share, expected)
    except _NotUnderstood as failed:
        yield Break(failed.sequence, f"Entry {failed.sequence} cannot be understood.")
        return
    stored = _stored(connection, share)
    yield from _not_in_ranges(connection, share, stored)
    if expected != stored:
        yield from _told(expected, stored)


class _NotUnderstood(Exception):  # is caught in this module
    def __init__(self, sequence: int) -> None:
        super().__init__(sequence)
        self.sequence = sequence


_DETAIL = "CASE event WHEN 'planned' THEN '' ELSE detail END"  # a plan makes no fact, and is long


def _replayed(connection: sqlite3.Connection, share: _Share, facts: set[Fact]) -> Iterator[Break]:
    """Gather the facts that the history makes of these units; yield entries that could not follow others."""
    one: _ReplayedUnit | None = None
    for sequence, unit, event, state, index, text in connection.execute(
        f"SELECT seq, unit, event, state, idx, {_DETAIL} FROM history WHERE {share.where()}"
        " ORDER BY unit, seq",
        share.values,
    ):
        if one is None or unit != one.unit:
            if one is not None:
                one.end()
            one = _ReplayedUnit(unit, facts)
        try:
            detail = _decode(text) if text else _NOTHING
            wrong = one.follows(event, state, index, detail)
            one.apply(event, state, index, detail)
        except (msgspec.MsgspecError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise _NotUnderstood(sequence) from error
        if wrong:
            who = _name(one.who[1], one.who[2])
            yield Break(sequence, f"Entry {sequence} gives {who} {wrong}: its row was changed before.")
    if one is not None:
        one.end()


def _told(expected: set[Fact], stored: set[Fact]) -> Iterator[Break]:
    """Yield a sentence for each unit of which the two say different things."""
    rows = {fact[0]: fact for fact in stored if fact[1] == _UNIT}
    made = {fact[0]: fact for fact in expected if fact[1] == _UNIT}
    kinds: dict[int, set[str]] = {}
    for unit, kind, *_ in expected ^ stored:
        kinds.setdefault(unit, set()).add(kind)
    for unit, different in sorted(kinds.items()):
        row = rows.get(unit)
        if row is None and unit in made:
            yield Break(0, f"Unit {unit} has a history, but its row is missing.")
            continue
        blank = (unit, _UNIT, "", "", "", "", "", None, False, False, "")
        parts = zip(_PARTS, made.get(unit, blank)[2:], (row or blank)[2:], strict=True)
        words = dict.fromkeys(name for name, should, found in parts if should != found)
        words |= dict.fromkeys(said for kind, said in _KINDS.items() if kind in different)
        who = _name(*row[3:5]) if row else "A unit without a row"
        yield Break(0, f"{who} is not what its history says: {', '.join(words)}.")


def _not_in_ranges(connection: sqlite3.Connection, share: _Share, stored: set[Fact]) -> Iterator[Break]:
    """Yield values that a chip holds and that a search for them would not find."""
    ranges: dict[str, list[tuple[int, str]]] = {}
    for number, layout, parts in connection.execute("SELECT id, layout, parts FROM ranges"):
        ranges.setdefault(layout, []).append((number, parts))
    if not ranges:
        return
    listed: set[tuple[int, str, int]] = set(
        connection.execute(
            f"SELECT range, value, unit FROM range_values WHERE {share.where()} AND value NOT LIKE 'hmac:%'",
            share.values,
        )
    )
    held: dict[tuple[int, str], dict[int, int]] = {}
    for unit, kind, *more in stored:
        if kind == _BITS:
            block, layout, bits = more
            held.setdefault((unit, layout), {})[block] = int(bits, 16)
    for (unit, layout), blocks in held.items():
        for number, parts in ranges.get(layout, ()):
            value = value_in(parts, blocks)
            if value and (number, value, unit) not in listed:
                chip, mac = _who(connection, unit)
                yield Break(0, f"{_name(chip, mac)} holds a value in {parts} that is not listed.")


def _who(connection: sqlite3.Connection, unit: int) -> tuple[str, str]:
    row = connection.execute("SELECT chip, mac FROM units WHERE id = ?", (unit,)).fetchone()
    return row or ("", "")


def _name(chip: str | None, mac: str | None) -> str:
    return f"The unit {chip} {mac}".rstrip() if chip or mac else "A unit"


# What hangs on units, as facts: SQLite makes them.
_FACTS = (
    "SELECT unit, 'value', name, value FROM unique_values WHERE {} AND bound = 1",
    f"SELECT unit, '{_BITS}', block, layout, bits FROM user_bits WHERE {{}} AND bound = 1",
    "SELECT unit, 'digest', layout, parts, value FROM range_values JOIN ranges ON ranges.id = range"
    " WHERE {} AND bound = 1 AND value LIKE 'hmac:%'",
    "SELECT unit, 'record', digest FROM records WHERE {}",
    "SELECT unit, 'job', job FROM passes WHERE {}",
    "SELECT unit, 'step', attempt, label, attempt_steps.state FROM attempts"
    " JOIN attempt_steps ON attempt = attempts.id WHERE {}",
)


def _stored(connection: sqlite3.Connection, share: _Share) -> set[Fact]:
    """Return the facts that the tables tell of these units."""
    where, values = share.where(), share.values
    facts: set[Fact] = set()
    for unit, *who, state, index, spent, scrapped, image in connection.execute(
        "SELECT units.id, name, chip, mac, unique_id, state, idx, spent, scrapped, image_passed FROM units"
        f" LEFT JOIN batches ON batches.id = batch WHERE {share.where('units.id')}",
        values,
    ):
        held = text_digest(image) if image else ""
        facts.add((unit, _UNIT, *who, state, index, bool(spent), bool(scrapped), held))
    for statement in _FACTS:
        facts.update(connection.execute(statement.format(where), values))
    for number, unit, plan, image, steps, closed in connection.execute(
        f"SELECT id, unit, plan_digest, image_before, steps, closed FROM attempts WHERE {where}", values
    ):
        facts.add((unit, "attempt", number, plan, _digest_of(image), _steps(steps), bool(closed)))
    read: dict[tuple[int, str], list[tuple[str, str]]] = {}
    for unit, job, path, digest in connection.execute(
        f"SELECT unit, job, path, digest FROM pass_inputs WHERE {where} ORDER BY unit, job, path", values
    ):
        read.setdefault((unit, job), []).append((path, digest))
    for (unit, job), inputs in read.items():
        facts.add((unit, "inputs", job, inputs_digest(tuple(inputs))))
    return facts


@lru_cache(256)
def _digest_of(image: str) -> str:
    return text_digest(image)  # blank chips are alike


@lru_cache(256)
def _steps(text: str) -> tuple[str, ...]:
    return tuple(json.loads(text))
