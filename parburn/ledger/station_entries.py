"""What a station writes into the history: armed, started, ended, halted, resumed. They are of no unit.

They stand in the chain of hashes like all else. A halt holds until an arming or a resume of its batch, also
over a restart. This module decides nothing for a board.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from parburn.errors import LedgerError
from parburn.ledger.history import History
from parburn.ledger.sql import Sql

ARMED: Final = "station-armed"
STARTED: Final = "station-started"
ENDED: Final = "station-ended"
HALTED: Final = "station-halted"
RESUMED: Final = "station-resumed"
EVENTS: Final = (ARMED, STARTED, ENDED, HALTED, RESUMED)
TEXT_AT_MOST: Final = 1000  # characters of one text
# `unit IS NULL` is what the index `history_of_none` is of.
_LAST_FIRST: Final = (
    "SELECT seq, at, event, detail FROM history WHERE unit IS NULL AND event IN ({}) ORDER BY seq DESC"
)


class Halt(NamedTuple):
    """A halt that holds. `at` is UTC, ISO 8601; `sequence` the number of its entry."""

    sequence: int
    at: str
    why: str
    batch: str
    arming: str
    operator: str
    station: str


class _Detail(NamedTuple):
    batch: str = ""
    arming: str = ""
    operator: str = ""
    station: str = ""
    why: str = ""


_NOTHING: Final = _Detail()


def write(history: History, event: str, **detail: object) -> None:
    """Append an entry of a station: `batch`, `arming`, `operator`, `station`, `why`, and what else it tells.

    Raises:
        LedgerError: this is no event of a station, or it names no batch.
    """
    if event not in EVENTS:
        raise LedgerError(f"A station has no entry {event}.")
    told: dict[str, Any] = {
        name: _writeable(value) for name, value in detail.items() if value not in ("", None)
    }
    if not told.get("batch"):
        raise LedgerError(f"The entry {event} names no batch.")
    # `event` and the columns of a unit are not a station's to set.
    if reserved := told.keys() & {"unit", "state", "index", "event"}:
        raise LedgerError(f"The entry {event} cannot tell {', '.join(sorted(reserved))}.")
    history.append(event, **told)


def _writeable(value: object) -> object:
    """Return what can be stored and read back, whatever bytes its texts hold."""
    if isinstance(value, str):
        return value[:TEXT_AT_MOST].encode("utf-8", "backslashreplace").decode("utf-8")
    return value


def find_halt(connection: Sql, batch: str) -> Halt | None:
    """Return the last halt of a batch that neither an arming nor a resume has ended; None: none holds."""
    for sequence, at, event, told in _entries(connection, (ARMED, HALTED, RESUMED)):
        if told.batch == batch:
            who = (batch, told.arming, told.operator, told.station)
            return Halt(sequence, at, told.why, *who) if event == HALTED else None
    return None


def find_halts(connection: Sql) -> list[Halt]:
    """Return the halts of all batches that hold, the last one first."""
    seen: set[str] = set()
    found = []
    for sequence, at, event, told in _entries(connection, (ARMED, HALTED, RESUMED)):
        if told.batch not in seen:
            seen.add(told.batch)
            if event == HALTED:
                who = (told.batch, told.arming, told.operator, told.station)
                found.append(Halt(sequence, at, told.why, *who))
    return found


def dates_of_armings(connection: Sql, armings: Iterable[str]) -> dict[str, str]:
    """Return when each of these armings was made (UTC, ISO), where the history knows; the last of several."""
    wanted = {one for one in armings if one}
    dates: dict[str, str] = {}
    if wanted:
        for _sequence, at, _event, told in _entries(connection, (ARMED,)):
            if told.arming in wanted:
                dates.setdefault(told.arming, at)
                if len(dates) == len(wanted):
                    break
    return dates


def _entries(connection: Sql, events: tuple[str, ...]) -> Iterable[tuple[int, str, str, _Detail]]:
    marks = ", ".join("?" * len(events))
    rows: list[tuple[Any, ...]] = connection.execute(_LAST_FIRST.format(marks), events).fetchall()
    for sequence, at, event, text in rows:
        yield sequence, at, event, _understood(text)


def _understood(text: str) -> _Detail:
    """Return what an entry tells; nothing of one that makes no sense: `ledger verify` looks for such."""
    try:
        told = json.loads(text) if text else {}
    except (ValueError, RecursionError):
        return _NOTHING
    if not isinstance(told, dict):
        return _NOTHING
    found = {name: told[name] for name in _Detail._fields if name in told}
    return _Detail(**found) if all(isinstance(one, str) for one in found.values()) else _NOTHING
