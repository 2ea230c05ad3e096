"""The append-only history as a hash chain: one entry for every change of a unit, a batch or the ledger.

An entry's hash is SHA-256 over the hash before it and the entry's own columns, so that a changed, removed or
cut entry shows. Only appends and checks.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import NamedTuple

from parburn.ledger.base import State
from parburn.ledger.sql import Sql

GENESIS = ""  # the hash before the first entry
LAST = (1 << 63) - 1  # that an entry can have
_COLUMNS = "seq, at, run, unit, event, state, idx, detail, hash"
_INSERT = f"INSERT INTO history ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
_encode = json.JSONEncoder(separators=(",", ":"), sort_keys=True).encode

Row = tuple[int, str, int | None, int | None, str, str, int | None, str, str]


def entry_hash(before: str, columns: tuple[object, ...]) -> str:
    """Return the SHA-256 of an entry in hex.

    Args:
        before: The hash of the entry before it; GENESIS for the first.
        columns: All columns but the hash itself, in the table's order.
    """
    body = _encode(columns)
    return hashlib.sha256((before + body).encode("ascii")).hexdigest()


class History:
    """The end of the chain within one transaction."""

    def __init__(self, connection: Sql, *, at: str, run: int | None) -> None:
        self._connection = connection
        self._at = at
        self._run = run
        self.sequence, self.head = self._last()
        self.pending: list[Row] = []

    def _last(self) -> tuple[int, str]:
        """Return how many entries there are, and the hash of the last."""
        last = self._connection.execute("SELECT seq, hash FROM history ORDER BY seq DESC LIMIT 1").fetchone()
        return (int(last[0]), str(last[1])) if last else (0, GENESIS)

    def append(
        self,
        event: str,
        *,
        unit: int | None = None,
        state: State | None = None,
        index: int | None = None,
        **detail: object,
    ) -> None:
        """Add an entry, which `flush()` will store. `state` and `index` are the unit's after the event."""
        self.sequence += 1
        text = _encode(detail) if detail else ""
        columns = (self.sequence, self._at, self._run, unit, event, state.value if state else "", index, text)
        self.head = entry_hash(self.head, columns)
        self.pending.append((*columns, self.head))

    def flush(self) -> None:
        """Store the entries that were appended."""
        if self.pending:
            self._connection.executemany(_INSERT, self.pending)
            self.pending.clear()


class Break(NamedTuple):
    """Where the chain or what hangs on it is broken: the entry's number (0: no single one), a sentence."""

    sequence: int
    what: str


def walk(connection: Sql) -> Iterator[Row]:
    """Yield all entries in order."""
    yield from connection.execute(f"SELECT {_COLUMNS} FROM history ORDER BY seq")


# An entry's columns as `entry_hash` joins them, made by SQLite: it does so in half the time. Where the two
# differ (they do for text that is not ASCII) the entry is looked at once more.
_JOINED = (
    "SELECT seq, hash, json_array(seq, at, run, unit, event, state, idx, detail) FROM history"
    " WHERE seq BETWEEN ? AND ? ORDER BY seq"
)


def find_breaks(connection: Sql, first: int = 1, last: int = LAST) -> Iterator[Break]:
    """Check every entry against the one before it, and yield where the chain is broken.

    Args:
        connection: The ledger.
        first: The first entry that is checked.
        last: The last one.
    """
    expected, before = first, _hash_before(connection, first)
    if before is None:
        yield Break(first - 1, f"Entry {first - 1} is missing.")
    sha256 = hashlib.sha256
    for sequence, stored, joined in connection.execute(_JOINED, (first if first > 1 else -LAST, last)):
        if sequence != expected:
            missing = f"{expected}" if sequence == expected + 1 else f"{expected} to {sequence - 1}"
            yield Break(expected, f"Entry {missing} is missing.")
        elif before is None or sha256((before + joined).encode()).hexdigest() == stored:
            pass
        elif not _is_whole(connection, before, sequence):
            yield Break(sequence, f"Entry {sequence} was changed.")
        expected, before = sequence + 1, stored


def _hash_before(connection: Sql, first: int) -> str | None:
    """Return the hash that the first entry is checked with; None: the entry before it is missing."""
    if first <= 1:
        return GENESIS
    row = connection.execute("SELECT hash FROM history WHERE seq = ?", (first - 1,)).fetchone()
    return str(row[0]) if row else None


def _is_whole(connection: Sql, before: str, sequence: int) -> bool:
    row = connection.execute(f"SELECT {_COLUMNS} FROM history WHERE seq = ?", (sequence,)).fetchone()
    return bool(entry_hash(before, row[:8]) == row[8])
