"""What each run did to each unit, from the history: the rows of a report that is made later. Looks only.

It goes through the units by their numbers, some at a time: a million take no more memory than a thousand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, NamedTuple

import msgspec

from parburn.events import NO_VALUES, Result
from parburn.ledger.base import State
from parburn.ledger.run_facts import NOT_KNOWN, RunOrigin, facts_by_run
from parburn.ledger.sql import Sql
from parburn.ledger.unit_life import ENDS_A_PLAN, condition, total_state

UNITS_AT_A_TIME = 500  # fewer than the parameters that a statement may have
DRY_RUN = "dry run"  # the reason that a dry run leaves
_FROM_OUTSIDE = ("imported", "rebuilt")
_ENDS_A_CLAIM = frozenset({"run-ended", "claim-ended"})
_SAYS_PASS = frozenset({"passed", "nothing-asked", "already-passed"})  # of how a run ended
_PASSED, _ALREADY = Result.PASS.value, Result.ALREADY_PASS.value
_FAILED, _REFUSED = Result.FAILED.value, Result.REFUSED.value
_STATE_PASS = State.PASS.value
_CONDITIONS = {state.value: condition(state) for state in State}  # what a unit is, in words
_ENDS = {
    State.QUARANTINED.value: Result.QUARANTINED.value,
    State.INCOMPLETE.value: Result.INCOMPLETE.value,
}


class RunRecord(NamedTuple):
    """One unit in one run; `run` is None where it was taken over from another ledger.

    `result` is empty where the run has not ended yet, or none is known. `unique_values` were this
    unit's, and `values` burned, by the end of the run; `state` is what the unit is now.
    """

    batch: str
    chip: str
    mac: str
    unique_id: str
    index: int | None  # type: ignore[assignment]  # not tuple.index
    unique_values: Mapping[str, str]
    values: Mapping[str, str]
    state: str
    run: int | None
    facts: RunOrigin
    started: str
    ended: str
    result: str
    reason: str
    attempted: bool
    steps_done: int
    steps: int


class _Detail(msgspec.Struct):
    """What is looked at of an entry's details."""

    values: dict[str, str] = {}
    shown: dict[str, str] = {}
    steps: list[Any] = []
    reason: str = ""
    why: str = ""
    of: int | str | None = None
    bound_values: list[tuple[str, str]] = []


_decode = msgspec.json.Decoder(_Detail).decode
_NOTHING = _Detail()
# Only these are looked at; others are long, and read for nothing.
_LOOKED_AT = (
    "CASE WHEN event IN ('planned', 'burn-attempted', 'failed-clean', 'incomplete', 'quarantined',"
    " 'run-ended', 'claim-ended', 'value-taken', 'imported', 'rebuilt')"
    " OR (event IN ('passed', 'nothing-asked', 'values-learned') AND detail LIKE '%\"bound_values\"%')"
    " THEN detail ELSE '' END"
)
_UNITS = (
    "SELECT units.id, name, chip, mac, unique_id, state FROM units JOIN batches ON batches.id = batch"
    " WHERE units.id IN ({})"
)
_ENTRIES = (
    f"SELECT unit, run, at, event, state, idx, {_LOOKED_AT}, seq FROM history"
    " WHERE unit IN ({}) ORDER BY unit, seq"
)


class _InRun:
    """One unit within one run, as its entries are read."""

    __slots__ = (
        "attempted",
        "done",
        "ended",
        "first",
        "index",
        "reason",
        "result",
        "started",
        "steps",
        "unique",
        "values",
    )

    def __init__(self, at: str, first: int) -> None:
        self.started = self.ended = at
        self.first = first  # its first entry
        self.index: int | None = None
        self.result = ""
        self.reason = ""
        self.attempted = False
        self.done = 0
        self.steps = 0
        self.unique: Mapping[str, str] = NO_VALUES  # bound to the unit by its end
        self.values: Mapping[str, str] = NO_VALUES  # burned by its end


class _History:
    """One unit's history, as its entries are read."""

    __slots__ = ("burned", "now", "planned", "run_before", "runs", "since", "unique", "was_pass")

    def __init__(self) -> None:
        self.runs: dict[int | None, _InRun] = {}
        self.burned: dict[str, str] = {}
        self.planned: dict[str, str] = {}
        self.unique: dict[str, str] = {}
        self.now = ""  # what the unit is, in words
        self.since = ""
        self.was_pass = False
        self.run_before: int | None = None

    def add(
        self, run: int | None, at: str, event: str, state: str, index: int | None, text: str, sequence: int
    ) -> None:
        """Add an entry. Most are steps, and say little: what they do not say is not looked for."""
        if state:
            now = _CONDITIONS[state]
            if now != self.now:
                self.now, self.since = now, "" if event in _FROM_OUTSIDE else at
        if self.planned and (event in ENDS_A_PLAN or run != self.run_before):
            self.planned = {}
        self.run_before = run
        detail = _decode(text) if text else _NOTHING
        if detail.bound_values:
            self.unique = dict(sorted((self.unique | dict(detail.bound_values)).items()))
        if event in _ENDS_A_CLAIM and isinstance(detail.of, int):
            run = detail.of
        if run is not None or event in _FROM_OUTSIDE:
            one = self.runs.get(run)
            if one is None:
                one = self.runs[run] = _InRun(at, sequence)
            one.ended = at
            if index is not None:
                one.index = index
            if event == "step":
                one.done += 1
            elif event != "claimed":
                self._burned(one, event, detail)
                one.unique, one.values = self.unique, self.burned
                self._result(one, event, state, detail)
        self.was_pass = state == _STATE_PASS

    def _burned(self, one: _InRun, event: str, detail: _Detail) -> None:
        if event == "planned":
            self.planned = detail.values | detail.shown
        elif event in ("burn-attempted", "passed"):
            self.burned = self.burned | self.planned if self.planned else self.burned
            self.planned = {}
        if event == "burn-attempted":
            one.attempted = True
            one.steps += len(detail.steps)

    def _result(self, one: _InRun, event: str, state: str, detail: _Detail) -> None:
        outside = event in _FROM_OUTSIDE
        if event == "failed-clean":
            one.result, one.reason = _PASSED if detail.reason == DRY_RUN else _FAILED, detail.reason
        elif event == "value-taken":
            one.result, one.reason = _REFUSED, detail.reason
        elif event in _ENDS_A_CLAIM:
            if not one.result:
                half = state == State.INCOMPLETE.value and not one.attempted  # since an earlier run
                one.result, one.reason = _FAILED if half else _ENDS.get(state, _FAILED), detail.why
        elif event in _ENDS or (outside and state in _ENDS):
            one.result, one.reason = _ENDS[state], detail.reason or one.reason
        elif event in _SAYS_PASS or (outside and state == _STATE_PASS):
            one.result = _ALREADY if not one.attempted and self.was_pass else _PASSED


def run_records(
    connection: Sql, *, batch: str | None = None, since: str | None = None
) -> Iterator[RunRecord]:
    """Yield what each run did to each unit, unit by unit, and for each its runs in their order.

    Args:
        connection: The ledger.
        batch: Only units of this batch; None for all.
        since: Only what ended at this time or later, as the ledger writes it; None for all.
    """
    facts = facts_by_run(connection)
    units = _units(connection, batch, since)
    while numbers := list(islice(units, UNITS_AT_A_TIME)):
        marks = ", ".join("?" * len(numbers))
        rows = connection.execute(_UNITS.format(marks), numbers).fetchall()
        histories = _histories(connection.execute(_ENTRIES.format(marks), numbers))
        for row in sorted(rows):
            for record in _of_unit(row, histories.get(row[0]), facts):
                if since is None or record.ended >= since:
                    yield record


def _units(connection: Sql, batch: str | None, since: str | None) -> Iterator[int]:
    of_batch = "batch IN (SELECT id FROM batches WHERE name = ?1 OR CAST(?1 AS TEXT) IS NULL)"
    if since is None:
        rows = connection.execute(f"SELECT id FROM units WHERE {of_batch} ORDER BY id", (batch,))
    else:
        rows = connection.execute(
            f"SELECT DISTINCT unit FROM history JOIN units ON units.id = unit WHERE {of_batch} AND at >= ?2"
            " ORDER BY unit",
            (batch, since),
        )
    return (unit for (unit,) in rows)


def _histories(entries: Iterable[tuple[Any, ...]]) -> dict[int, _History]:
    found: dict[int, _History] = {}
    number, one = None, _History()
    for unit, run, at, event, state, index, text, sequence in entries:
        if unit != number:
            number = unit
            one = found[unit] = _History()
        one.add(run, at, event, state, index, text, sequence)
    return found


def _of_unit(
    row: tuple[Any, ...],
    history: _History | None,
    facts: Callable[[int, int], RunOrigin],
) -> Iterator[RunRecord]:
    if history is None:
        return
    _unit, batch, chip, mac, unique_id, name = row
    now = total_state(State(name), history.since)
    for run, one in history.runs.items():
        yield RunRecord(
            batch=batch,
            chip=chip,
            mac=mac,
            unique_id=unique_id,
            index=one.index,
            unique_values=one.unique,
            values={**one.unique, **one.values},
            state=now,
            run=run,
            facts=NOT_KNOWN if run is None else facts(run, one.first),
            started=one.started,
            ended=one.ended,
            result=one.result,
            reason=one.reason,
            attempted=one.attempted,
            steps_done=one.done,
            steps=one.steps,
        )
