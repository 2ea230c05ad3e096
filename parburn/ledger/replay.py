"""Builds from the history what the ledger's tables must say, and names where they say something else.

The chain proves that the history is whole; this proves that the rest of the ledger is what the history made.
"""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass, field
from typing import Any

from parburn.ledger.base import State
from parburn.ledger.history import Break, walk
from parburn.ledger.units import text_digest

_SPENDS = frozenset({"burn-attempted", "passed", "imported"})


@dataclass(slots=True)
class _Unit:
    who: tuple[str, str, str, str] = ("", "", "", "")  # batch, chip, mac, unique_id
    state: str = ""
    index: int | None = None
    spent: bool = False
    values: set[tuple[str, str]] = field(default_factory=set)
    records: set[str] = field(default_factory=set)
    scrapped: bool = False
    jobs: set[str] = field(default_factory=set)
    image: str = ""  # digest of what it held when it passed
    # number -> plan, digest of the image, steps, closed
    attempts: dict[int, tuple[str, str, tuple[str, ...], bool]] = field(default_factory=dict)
    steps: dict[tuple[int, str], str] = field(default_factory=dict)

    def apply(self, event: str, state: str, index: int | None, detail: dict[str, Any]) -> None:
        """One entry of the unit's history."""
        self.state, self.index = state, index
        self.spent = self.spent or event in _SPENDS
        if event in ("scrapped", "released", "imported"):
            self.scrapped = event == "scrapped" or bool(detail.get("scrapped"))
        if "mac" in detail:
            self.who = (detail["batch"], detail["chip"], detail["mac"], detail["unique_id"])
        self.values |= {(name, value) for name, value in detail.get("bound_values", ())}
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
        elif event == "passed":
            self.jobs.add(detail["job"])
            self.image = detail.get("image", self.image)
            self.attempts = {number: (*one[:3], True) for number, one in self.attempts.items()}


def find_differences(connection: sqlite3.Connection) -> list[Break]:
    """Where units, values, records, passed jobs or attempts are not what the history says."""
    expected: dict[int, _Unit] = {}
    for sequence, _at, _run, unit, event, state, index, text, _hash in walk(connection):
        if unit is None:
            continue
        try:
            expected.setdefault(unit, _Unit()).apply(event, state, index, json.loads(text or "{}"))
        except (ValueError, KeyError, TypeError, AttributeError):
            return [Break(sequence, f"Entry {sequence} cannot be understood.")]
    stored = _stored(connection)
    differences = []
    for unit in sorted(expected.keys() | stored.keys()):
        should, found = expected.get(unit, _Unit()), stored.get(unit)
        if found is None:
            differences.append(Break(0, f"Unit {unit} has a history, but its row is missing."))
        elif found != should:
            differences.append(
                Break(0, f"{_name(found)} is not what its history says: {_what(should, found)}.")
            )
    return differences


def _name(unit: _Unit) -> str:
    return f"The unit {unit.who[1]} {unit.who[2]}".rstrip() if any(unit.who) else "A unit without a row"


def _what(should: _Unit, found: _Unit) -> str:
    parts = {
        "identity": (should.who, found.who),
        "state": (should.state, found.state),
        "index": (should.index, found.index),
        "whether its index is spent": (should.spent, found.spent),
        "unique values": (should.values, found.values),
        "config records": (should.records, found.records),
        "whether it is written off": (should.scrapped, found.scrapped),
        "passed jobs": (should.jobs, found.jobs),
        "what it held when it passed": (should.image, found.image),
        "attempts": (should.attempts, found.attempts),
        "steps": (should.steps, found.steps),
    }
    return ", ".join(name for name, (one, other) in parts.items() if one != other)


def _stored(connection: sqlite3.Connection) -> dict[int, _Unit]:
    """What the tables say."""
    units: dict[int, _Unit] = {}
    for unit, state, index, spent, image, scrapped, *who in connection.execute(
        "SELECT units.id, state, idx, spent, image_passed, scrapped, name, chip, mac, unique_id FROM units"
        " LEFT JOIN batches ON batches.id = batch"
    ):
        name, chip, mac, unique_id = who
        units[unit] = _Unit((name, chip, mac, unique_id), state, index, bool(spent))
        units[unit].image = text_digest(image) if image else ""
        units[unit].scrapped = bool(scrapped)
    stray = _Unit()  # rows of other tables without a unit
    for unit, name, value in connection.execute(
        "SELECT unit, name, value FROM unique_values WHERE bound = 1"
    ):
        units.get(unit, stray).values.add((name, value))
    for unit, digest in connection.execute("SELECT unit, digest FROM records"):
        units.get(unit, stray).records.add(digest)
    for unit, job in connection.execute("SELECT unit, job FROM passes"):
        units.get(unit, stray).jobs.add(job)
    owners: dict[int, int] = {}
    for number, unit, plan, image, steps, closed in connection.execute(
        "SELECT id, unit, plan_digest, image_before, steps, closed FROM attempts"
    ):
        owners[number] = unit
        one = (plan, text_digest(image), tuple(json.loads(steps)), bool(closed))
        units.get(unit, stray).attempts[number] = one
    for number, label, name in connection.execute("SELECT attempt, label, state FROM attempt_steps"):
        units.get(owners.get(number, 0), stray).steps[number, label] = State(name).value
    if stray != _Unit():
        units[0] = stray
    return units
