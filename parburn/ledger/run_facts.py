"""Where a run was made, by whom, and of which files, as its own entry of the history says. Looks only.

The row of a run says some of it, too; but only what is in the chain of hashes cannot be changed unseen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from typing import Final, NamedTuple

import msgspec

from parburn.ledger.base import NO_FILES
from parburn.ledger.sql import Sql

RUNS_KEPT = 256  # of which it is remembered where they were made


class RunOrigin(NamedTuple):
    """Where a run was made, by whom, and of which files."""

    station: str = ""
    operator: str = ""
    files: Mapping[str, Mapping[str, str]] = NO_FILES


NOT_KNOWN: Final = RunOrigin()


class _RunDetail(msgspec.Struct):
    """The details of a run's own entry."""

    number: int = 0
    station: str = ""
    operator: str = ""
    files: dict[str, dict[str, str]] = {}


_decode = msgspec.json.Decoder(_RunDetail).decode


def facts_by_run(connection: Sql) -> Callable[[int, int], RunOrigin]:
    """Return what finds a run's facts by its number and an entry that it made.

    Neighbours are mostly of the same few runs, so some are kept.
    """
    kept: dict[int, RunOrigin] = {}

    def facts(run: int, entry: int) -> RunOrigin:
        if run not in kept:
            while len(kept) >= RUNS_KEPT:
                del kept[next(iter(kept))]
            kept[run] = _facts(connection, run, entry)
        return kept[run]

    return facts


def _facts(connection: Sql, run: int, entry: int) -> RunOrigin:
    """Return a run's facts; `entry` is one that it made, and its own entry stands before that.

    Runs begin in the order of their numbers: it is looked for backwards, however many began in between, and
    no further than to an earlier run.
    """
    rows = connection.execute(
        "SELECT detail FROM history WHERE seq < ? AND event = 'run' ORDER BY seq DESC", (entry,)
    )
    with closing(rows):
        for (text,) in rows:
            with suppress(msgspec.MsgspecError):  # who looks for such entries is `ledger verify`
                begun = _decode(text)
                if begun.number == run:
                    return RunOrigin(begun.station, begun.operator, begun.files)
                if begun.number < run:
                    break
    return NOT_KNOWN


def find_changed_runs(connection: Sql) -> Iterator[int]:
    """Yield the runs whose rows name another station or operator than their own entries."""
    rows = {
        run: (station, operator)
        for run, station, operator in connection.execute("SELECT id, station, operator FROM runs")
    }
    for (text,) in connection.execute("SELECT detail FROM history WHERE event = 'run' ORDER BY seq"):
        with suppress(msgspec.MsgspecError):  # entries that make no sense are told elsewhere
            begun = _decode(text)
            if rows.get(begun.number, (begun.station, begun.operator)) != (begun.station, begun.operator):
                yield begun.number
