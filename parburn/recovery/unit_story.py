"""One unit's life as lines of text: what it is and holds, and each entry of its history. Pure; never keys."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from parburn.chips.registry import chip_named
from parburn.errors import ParburnError
from parburn.ledger.base import State
from parburn.ledger.unit_life import total_state
from parburn.ledger.unit_records import UnitEntry, UnitRecord
from parburn.recovery.recorded_chip import key_lines, recorded_chip

NO_RUN = "outside of a run"


def story_of(record: UnitRecord, entries: Iterable[UnitEntry]) -> Iterator[tuple[int, str]]:
    """Yield the lines of a unit's life, each with how far it is indented."""
    yield 0, _title(record)
    yield 1, f"state: {record.state.value}, {total_state(record.state, record.life.since)}"
    for name, text in _facts(record):
        if text:
            yield 1, f"{name}: {text}"
    yield 1, "history (UTC):"
    yield from _history(entries)


def _title(record: UnitRecord) -> str:
    place = "no index" if record.index is None else f"index {record.index}"
    who = f"{record.identity.chip} {record.identity.mac}".strip() or "a chip that is not known"
    return f"{who}: {place} of the batch {record.batch}"


def _facts(record: UnitRecord) -> Iterator[tuple[str, str]]:
    yield "scrapped", record.scrapped
    yield "reason", record.reason
    yield "unique id", record.identity.unique_id
    yield "values", _pairs(record.life.values)
    if record.values_unknown:
        yield "values", "not all are known, an older ledger did not keep them (parburn ledger learn)"
    for text in _keys(record):
        yield "key", text
    for attempt in record.attempts:
        done = [f"{label} {state.value}" for label, state in attempt.done.items()]
        yield (
            "begun and not whole",
            f"{', '.join(done) or 'no step is verified'}; left: " + ", ".join(attempt.remaining),
        )


def _keys(record: UnitRecord) -> list[str]:
    try:
        return list(key_lines(recorded_chip(chip_named(record.identity.chip), [record])))
    except ParburnError:  # a chip that this version does not know, or a record that nobody wrote
        return []


def _pairs(values: Mapping[str, Any]) -> str:
    return " ".join(f"{name}={value}" for name, value in values.items())


def _history(entries: Iterable[UnitEntry]) -> Iterator[tuple[int, str]]:
    where: tuple[str, int | None] = ("", None)
    for entry in entries:
        day, time = entry.at[:10], entry.at[11:19]
        if (day, entry.run) != where:
            where = (day, entry.run)
            yield 2, f"{day}, {_run(entry)}"
        said = _SAID.get(entry.event, _by_its_name)(entry)
        yield 3, f"{time} {said}"


def _run(entry: UnitEntry) -> str:
    if entry.run is None:
        return NO_RUN
    named = (("station", entry.station), ("operator", entry.operator))
    return ", ".join((f"run {entry.run}", *(f"{name} {value}" for name, value in named if value)))


def _planned(entry: UnitEntry) -> str:
    values = _pairs({**entry.detail.get("values", {}), **entry.detail.get("shown", {})})
    refused = entry.detail.get("refused")
    return f"planned{': ' * bool(values)}{values}" + (f"; refused: {refused}" if refused else "")


def _step(entry: UnitEntry) -> str:
    return f"{entry.detail.get('label', '')} {_STEP.get(entry.state, entry.state)}"


_STEP = dict.fromkeys((State.VERIFIED.value, State.LOCKED.value), "burned and verified")


def _by_its_name(entry: UnitEntry) -> str:
    why = entry.detail.get("reason") or entry.detail.get("why") or ""
    return f"{entry.event}{': ' * bool(why)}{why}"


def _worded(words: str) -> Callable[[UnitEntry], str]:
    def said(entry: UnitEntry) -> str:
        why = entry.detail.get("reason") or entry.detail.get("why") or ""
        place = "no index" if entry.index is None else f"index {entry.index}"
        return words.format(index=place) + (f": {why}" if why else "")

    return said


# How each kind of entry is told; any other by its name and its reason.
_SAID: Mapping[str, Callable[[UnitEntry], str]] = {
    "claimed": _worded("got {index}"),
    "claimed-again": _worded("was in the line again, with {index}"),
    "planned": _planned,
    "burn-attempted": lambda entry: f"burn begun: {', '.join(entry.detail.get('steps', ()))}",
    "step": _step,
    "passed": _worded("passed"),
    "already-passed": _worded("had passed before, nothing was left to burn"),
    "nothing-asked": _worded("nothing was asked for"),
    "failed-clean": _worded("nothing was burned"),
    "recognized": _worded("known again by what it holds, and passed"),
    "run-ended": _worded("the run ended; {index} from then on"),
    "claim-ended": _worded("its claim ended; {index} from then on"),
    "goes-on": _worded("goes on by itself"),
    "allowed-to-go-on": _worded("somebody let it go on"),
    "value-taken": _worded("refused, another chip has its value"),
    "values-learned": _worded("its values were learned"),
    "imported": _worded("taken over from another ledger, with {index}"),
    "rebuilt": _worded("found by ledger rebuild, with {index}"),
    "keys-trusted": _worded("somebody vouched for its hidden keys"),
    "released": _worded("released"),
    "scrapped": _worded("written off"),
}
