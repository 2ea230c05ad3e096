"""Builds from the history what the ledger's tables must say, and names where they say something else.

The chain proves that the history is whole; this proves that the rest of the ledger is what the history made.
An entry is written from the unit's row: a row that was changed by hand goes into the next entry, and then row
and history agree. So each entry is compared with the one before it, too.
"""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass, field
from typing import Any

from parburn.ledger.base import TRANSITIONS, UNTOUCHED, State
from parburn.ledger.history import Break, walk
from parburn.ledger.units import inputs_digest, text_digest
from parburn.ledger.values import value_in

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


@dataclass(slots=True)
class _ReplayedUnit:
    who: tuple[str, str, str, str] = ("", "", "", "")  # batch, chip, mac, unique_id
    state: str = ""
    index: int | None = None
    spent: bool = False
    values: set[tuple[str, str]] = field(default_factory=set)
    bits: dict[int, tuple[str, str]] = field(default_factory=dict)  # user block -> layout, hex
    digests: set[tuple[str, str, str]] = field(default_factory=set)  # layout, parts, keyed digest
    records: set[str] = field(default_factory=set)
    scrapped: bool = False
    jobs: set[str] = field(default_factory=set)
    image: str = ""  # digest of what it held when it passed
    inputs: dict[str, str] = field(default_factory=dict)  # job -> digest of what it read
    # number -> plan, digest of the image, steps, closed
    attempts: dict[int, tuple[str, str, tuple[str, ...], bool]] = field(default_factory=dict)
    steps: dict[tuple[int, str], str] = field(default_factory=dict)

    def follows(self, event: str, state: str, index: int | None, detail: dict[str, Any]) -> str:
        """Why an entry cannot follow those before it; empty: it can."""
        if not self.state:
            return ""
        given = event in _GIVES_AN_INDEX and self.index is None
        freed = event == "run-ended" and index is None and not self.spent
        if index != self.index and not (given or freed):
            return f"the index {index}, and it had {self.index}"
        if self.who[2] and detail.get("mac", self.who[2]) != self.who[2]:
            return f"the MAC {detail['mac']}, and it had {self.who[2]}"
        if not self._may_become(event, State(state)):
            return f"the state {state}, and it was {self.state}"
        return ""

    def _may_become(self, event: str, after: State) -> bool:
        before = State(self.state)
        if event in _FROM_OUTSIDE:
            return True
        if event in _KEEPS_THE_STATE:
            return after is before
        if event in _IF_UNTOUCHED:
            return after is (_IF_UNTOUCHED[event] if before in UNTOUCHED else before)
        if before is State.QUARANTINED and after is not before:
            return event in (("recognized",) if after is State.PASS else ("released", "keys-trusted"))
        return after is before or after in TRANSITIONS[before]

    def apply(self, event: str, state: str, index: int | None, detail: dict[str, Any]) -> None:
        """Apply one entry of the unit's history."""
        self.state, self.index = state, index
        self.spent = self.spent or event in _SPENDS
        if event in ("scrapped", "released", "imported"):
            self.scrapped = event == "scrapped" or bool(detail.get("scrapped"))
        if "mac" in detail:
            self.who = (detail["batch"], detail["chip"], detail["mac"], detail["unique_id"])
        self.values |= {(name, value) for name, value in detail.get("bound_values", ())}
        self.bits |= {block: (layout, bits) for block, layout, bits in detail.get("bound_bits", ())}
        self.digests |= {(layout, parts, value) for layout, parts, value in detail.get("bound_digests", ())}
        self.records |= set(detail.get("bound_records", ()))
        self.jobs |= set(detail.get("passed_jobs", ()))
        self.image = detail.get("image_passed", self.image)
        if event in ("burn-attempted", "imported") and detail.get("image"):
            self.attempts[detail["attempt"]] = (
                detail["plan"],
                detail["image"],
                tuple(detail["steps"]),
                False,
            )
        elif event == "step":
            self.steps[detail["attempt"], detail["label"]] = state
        elif event == "rebuilt":
            self.jobs |= {job for job in (detail["job"],) if job}
            self.image = detail["image"]
            for number, plan, image, steps in detail["attempts"]:
                self.attempts[number] = plan, image, tuple(steps), False
        elif event == "keys-trusted":
            self.steps |= {(number, label): done for number, label, done in detail["steps"]}
        elif event == "passed":
            self.jobs.add(detail["job"])
            self.image = detail.get("image", self.image)
            self.inputs.pop(detail["job"], None)
            if "inputs" in detail:
                self.inputs[detail["job"]] = detail["inputs"]
            self.attempts = {number: (*one[:3], True) for number, one in self.attempts.items()}


def find_differences(connection: sqlite3.Connection) -> list[Break]:
    """Return where units, values, records, passed jobs or attempts are not what the history says."""
    expected: dict[int, _ReplayedUnit] = {}
    changed: list[Break] = []
    for sequence, _at, _run, unit, event, state, index, text, _hash in walk(connection):
        if unit is None:
            continue
        try:
            detail = json.loads(text or "{}")
            one = expected.setdefault(unit, _ReplayedUnit())
            wrong = one.follows(event, state, index, detail)
            if wrong:
                what = f"Entry {sequence} gives {_name(one)} {wrong}: its row was changed before"
                changed.append(Break(sequence, f"{what}."))
            one.apply(event, state, index, detail)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return [Break(sequence, f"Entry {sequence} cannot be understood.")]
    stored = _stored(connection)
    differences = changed + _not_in_ranges(connection, stored)
    for unit in sorted(expected.keys() | stored.keys()):
        should, found = expected.get(unit, _ReplayedUnit()), stored.get(unit)
        if found is None:
            differences.append(Break(0, f"Unit {unit} has a history, but its row is missing."))
        elif found != should:
            differences.append(
                Break(0, f"{_name(found)} is not what its history says: {_what(should, found)}.")
            )
    return differences


def _not_in_ranges(connection: sqlite3.Connection, units: dict[int, _ReplayedUnit]) -> list[Break]:
    """Return values that a chip holds and that a search for them would not find."""
    listed: set[tuple[int, str, int]] = set(
        connection.execute("SELECT range, value, unit FROM range_values WHERE value NOT LIKE 'hmac:%'")
    )
    missing = []
    for number, layout, parts in connection.execute("SELECT id, layout, parts FROM ranges").fetchall():
        for unit, one in units.items():
            held = {block: int(bits, 16) for block, (of, bits) in one.bits.items() if of == layout}
            value = value_in(parts, held) if held else ""
            if value and (number, value, unit) not in listed:
                missing.append(Break(0, f"{_name(one)} holds a value in {parts} that is not listed."))
    return missing


def _name(unit: _ReplayedUnit) -> str:
    return f"The unit {unit.who[1]} {unit.who[2]}".rstrip() if any(unit.who) else "A unit without a row"


def _what(should: _ReplayedUnit, found: _ReplayedUnit) -> str:
    parts = {
        "identity": (should.who, found.who),
        "state": (should.state, found.state),
        "index": (should.index, found.index),
        "whether its index is spent": (should.spent, found.spent),
        "unique values": (should.values, found.values),
        "what its user blocks hold": (should.bits, found.bits),
        "keyed digests of its values": (should.digests, found.digests),
        "config records": (should.records, found.records),
        "whether it is written off": (should.scrapped, found.scrapped),
        "passed jobs": (should.jobs, found.jobs),
        "what it held when it passed": (should.image, found.image),
        "what its passed jobs read": (should.inputs, found.inputs),
        "attempts": (should.attempts, found.attempts),
        "steps": (should.steps, found.steps),
    }
    return ", ".join(name for name, (one, other) in parts.items() if one != other)


def _stored(connection: sqlite3.Connection) -> dict[int, _ReplayedUnit]:
    """Return what the tables say."""
    units: dict[int, _ReplayedUnit] = {}
    for unit, state, index, spent, image, scrapped, *who in connection.execute(
        "SELECT units.id, state, idx, spent, image_passed, scrapped, name, chip, mac, unique_id FROM units"
        " LEFT JOIN batches ON batches.id = batch"
    ):
        name, chip, mac, unique_id = who
        units[unit] = _ReplayedUnit((name, chip, mac, unique_id), state, index, bool(spent))
        units[unit].image = text_digest(image) if image else ""
        units[unit].scrapped = bool(scrapped)
    stray = _ReplayedUnit()  # rows of other tables without a unit
    for unit, name, value in connection.execute(
        "SELECT unit, name, value FROM unique_values WHERE bound = 1"
    ):
        units.get(unit, stray).values.add((name, value))
    for unit, block, layout, bits in connection.execute(
        "SELECT unit, block, layout, bits FROM user_bits WHERE bound = 1"
    ):
        units.get(unit, stray).bits[block] = layout, bits
    for unit, layout, parts, value in connection.execute(
        "SELECT unit, layout, parts, value FROM range_values JOIN ranges ON ranges.id = range"
        " WHERE bound = 1 AND value LIKE 'hmac:%'"
    ):
        units.get(unit, stray).digests.add((layout, parts, value))
    for unit, digest in connection.execute("SELECT unit, digest FROM records"):
        units.get(unit, stray).records.add(digest)
    for unit, job in connection.execute("SELECT unit, job FROM passes"):
        units.get(unit, stray).jobs.add(job)
    read: dict[tuple[int, str], list[tuple[str, str]]] = {}
    if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'pass_inputs'").fetchone():
        for unit, job, path, digest in connection.execute(
            "SELECT unit, job, path, digest FROM pass_inputs ORDER BY unit, job, path"
        ):
            read.setdefault((unit, job), []).append((path, digest))
    for (unit, job), inputs in read.items():
        units.get(unit, stray).inputs[job] = inputs_digest(tuple(inputs))
    owners: dict[int, int] = {}
    for number, unit, plan, image, steps, closed in connection.execute(
        "SELECT id, unit, plan_digest, image_before, steps, closed FROM attempts"
    ):
        owners[number] = unit
        one = (plan, text_digest(image), tuple(json.loads(steps)), bool(closed))
        units.get(unit, stray).attempts[number] = one
    for number, label, name in connection.execute("SELECT attempt, label, state FROM attempt_steps"):
        units.get(owners.get(number, 0), stray).steps[number, label] = State(name).value
    if stray != _ReplayedUnit():
        units[0] = stray
    return units
