"""Replays the history of units: what the tables must say of them, as facts. It reads no table but that.

The chain proves that the history is whole; this proves that the rest of the ledger is what the history made.
An entry is written from the unit's row: a row that was changed by hand goes into the next entry, and then row
and history agree. So each entry is compared with the one before it, too.

What it makes of a unit are facts, `(unit, kind, ...)`; `differences` compares them with those of the tables.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec

from parburn.ledger.base import TRANSITIONS, UNTOUCHED, State
from parburn.ledger.history import Break
from parburn.ledger.sql import Sql

_SPENDS = frozenset({"burn-attempted", "passed", "imported", "rebuilt"})
_GIVES_AN_INDEX = frozenset({"claimed", "imported", "rebuilt"})
_FROM_OUTSIDE = frozenset({"imported", "rebuilt"})  # the state is what was found, whatever stood here
_KEEPS_THE_STATE = frozenset({"scrapped", "values-learned", "value-taken", "goes-on", "allowed-to-go-on"})
_FREES_AN_INDEX = frozenset({"run-ended", "claim-ended"})
# What a unit that was never burned becomes by these; any other keeps its state.
_IF_UNTOUCHED = {
    "claimed-again": State.CLAIMED,
    "planned": State.PLANNED,
    "failed-clean": State.FAILED_CLEAN,
}

# Of these an empty cause counts, too; of others only one that is told.
_TELLS_A_CAUSE = frozenset({"incomplete", "quarantined", "passed"})

Fact = tuple[Any, ...]
UNIT, BITS = "unit", "bits"  # kinds of facts


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
    arming: str = ""
    cause: str = ""
    went_on: int | None = None


_NOTHING = _Detail()
_decode = msgspec.json.Decoder(_Detail).decode


class _ReplayedUnit:
    """One unit as the history makes it. Facts that are never taken back go into `facts` at once."""

    __slots__ = (
        "attempts", "bits", "cause", "facts", "image", "index", "inputs", "scrapped", "spent", "state",
        "steps", "unit", "went_on", "who",
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
        self.cause = ""
        self.went_on = 0
        # number -> plan, digest of the image, steps, arming, closed
        self.attempts: dict[int, tuple[str, str, tuple[str, ...], str, bool]] = {}
        self.steps: dict[tuple[int, str], str] = {}

    def follows(self, event: str, state: str, index: int | None, detail: _Detail) -> str:
        """Why an entry cannot follow those before it; empty: it can."""
        if not self.state:
            return ""
        if index != self.index:
            given = event in _GIVES_AN_INDEX and self.index is None
            freed = event in _FREES_AN_INDEX and index is None and not self.spent
            if not (given or freed):
                return f"the index {index}, and it had {self.index}"
        if detail.mac is not None and self.who[2] and detail.mac != self.who[2]:
            return f"the MAC {detail.mac}, and it had {self.who[2]}"
        if not _may_become(event, self.state, state):
            return f"the state {state}, and it was {self.state}"
        if event == "goes-on" and detail.went_on != self.went_on + 1:
            return f"{detail.went_on} times of going on by itself, and it had {self.went_on}"
        return ""

    def apply(self, event: str, state: str, index: int | None, detail: _Detail) -> None:
        """Apply one entry of the unit's history."""
        self.state, self.index = state, index
        if event in _SPENDS:
            self.spent = True
        if event in ("scrapped", "released", "imported"):
            self.scrapped = event == "scrapped" or bool(detail.scrapped)
        if event in _TELLS_A_CAUSE or detail.cause:
            self.cause = detail.cause
        if detail is _NOTHING:
            return
        if event == "step":
            self.steps[detail.attempt, detail.label] = state
            return
        if detail.mac is not None:
            self.who = (detail.batch, detail.chip, detail.mac, detail.unique_id)
        if detail.went_on is not None:
            self.went_on = detail.went_on
        self._bind(detail)
        if event in ("burn-attempted", "imported"):
            if detail.image:
                made = detail.plan, detail.image, tuple(detail.steps), detail.arming, False
                self.attempts[detail.attempt] = made
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
        if detail.arming:
            self.facts.add((self.unit, "arming", detail.arming))
        self.image = detail.image or self.image
        self.inputs.pop(detail.job, None)
        if detail.inputs:
            self.inputs[detail.job] = detail.inputs
        self.attempts = {number: (*one[:4], True) for number, one in self.attempts.items()}

    def _rebuild(self, detail: _Detail) -> None:
        if detail.job:
            self.facts.add((self.unit, "job", detail.job))
        self.image = detail.image
        for number, plan, image, steps in detail.attempts:
            self.attempts[number] = plan, image, tuple(steps), "", False

    def end(self) -> None:
        """Tell the rest of its facts: it has no more entries."""
        unit, add = self.unit, self.facts.add
        row = (*self.who, self.state, self.index, self.spent, self.scrapped, self.image)
        add((unit, UNIT, *row, self.cause, self.went_on))
        for block, (layout, bits) in self.bits.items():
            add((unit, BITS, block, layout, bits))
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


class NotUnderstood(Exception):
    """An entry is none that we wrote; `sequence` is its number."""

    def __init__(self, sequence: int) -> None:
        super().__init__(sequence)
        self.sequence = sequence


class UnitRange(NamedTuple):
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


_DETAIL = "CASE event WHEN 'planned' THEN '' ELSE detail END"  # a plan makes no fact, and is long


def replayed(connection: Sql, share: UnitRange, facts: set[Fact]) -> Iterator[Break]:
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
            raise NotUnderstood(sequence) from error
        if wrong:
            who = name_of(one.who[1], one.who[2])
            yield Break(sequence, f"Entry {sequence} gives {who} {wrong}: its row was changed before.")
    if one is not None:
        one.end()


def name_of(chip: str | None, mac: str | None) -> str:
    """Return what a chip is called in a sentence."""
    return f"The unit {chip} {mac}".rstrip() if chip or mac else "A unit"
