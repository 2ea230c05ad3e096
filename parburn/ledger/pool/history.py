"""The history of a pool: a chain of hashes a run, and the pool's own chain that knows how far each came.

A run writes into its own chain, so that stations need not wait for each other with each entry. What no run
wrote stands in the chain 0. Works that take the pool's row add a link to its chain: a run's end that is cut
off shows in it.
"""

from __future__ import annotations

import hashlib
import json
from typing import NamedTuple

from parburn.ledger.history import GENESIS, History
from parburn.ledger.sql import Sql

NO_RUN = 0  # the chain of entries that no run made
_INSERT = (
    "INSERT INTO history (chain, number, at, run, unit, event, state, idx, detail, hash)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


def anchor_hash(before: str, sequence: int, at: str, chain: int, number: int, head: str) -> str:
    """Return the SHA-256 of a link of the pool's chain in hex.

    Args:
        before: The hash of the link before it; GENESIS for the first.
        sequence: Its number.
        at: When it was written, UTC, ISO 8601.
        chain: The run whose chain it knows, 0 for that of no run.
        number: How many entries that chain had.
        head: The hash of the last of them.
    """
    body = json.dumps([sequence, at, chain, number, head], separators=(",", ":"))
    return hashlib.sha256((before + body).encode("ascii")).hexdigest()


class End(NamedTuple):
    """The end of a chain: how many entries it has, and the hash of the last."""

    number: int
    head: str


class PoolHistory(History):
    """The end of one run's chain within one transaction."""

    def __init__(self, connection: Sql, *, at: str, run: int | None, end: End | None = None) -> None:
        """Take the end of the chain as it is known, or look it up."""
        self.chain = NO_RUN if run is None else run
        self._end = end
        super().__init__(connection, at=at, run=run)
        self.first = self.sequence  # how many entries there were before

    def _last(self) -> End:
        if self._end is not None:
            return self._end
        row = self._connection.execute(
            "SELECT number, hash FROM history WHERE chain = ? ORDER BY number DESC LIMIT 1", (self.chain,)
        ).fetchone()
        return End(*row) if row else End(0, GENESIS)

    def flush(self) -> None:
        """Store the entries that were appended."""
        if self.pending:
            self._connection.executemany(_INSERT, [(self.chain, *row) for row in self.pending])
            self.pending.clear()

    def anchor(self, pool: End) -> End:
        """Add a link to the pool's chain that knows this chain as it is now; return the end of the pool's."""
        link = End(
            pool.number + 1,
            anchor_hash(pool.head, pool.number + 1, self._at, self.chain, self.sequence, self.head),
        )
        self._connection.execute(
            "INSERT INTO anchors VALUES (?, ?, ?, ?, ?, ?)",
            (link.number, self._at, self.chain, self.sequence, self.head, link.head),
        )
        self._connection.execute("UPDATE pool SET sequence = ?, head = ?", link)
        return link
