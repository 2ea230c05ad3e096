"""What a ledger's rules may ask of its database: the common subset of SQLite and PostgreSQL.

An open `sqlite3.Connection` is a `Sql` as it is; `pool.sql.PoolSql` is the other one. The rules are written
once, in text that both understand:

- placeholders are `?`, or `?1`, `?2` for values that are used more than once; where nothing else tells its
  type (`?1 IS NULL`), a value stands in `CAST(?1 AS TEXT)`,
- what is there already is left with `ON CONFLICT DO NOTHING`, or changed with `ON CONFLICT (its key) DO
  UPDATE SET`,
- the number of a new row comes back with `RETURNING id`,
- truth is 0 or 1, compared with `=`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol


class Rows(Protocol):
    """What a statement gave."""

    @property
    def rowcount(self) -> int:
        """How many rows were changed by all executions together."""

    def fetchone(self) -> Any:
        """Return the next row as a tuple, None behind the last."""

    def fetchmany(self, size: int | None = 1, /) -> list[Any]:
        """Return up to `size` rows."""

    def fetchall(self) -> list[Any]:
        """Return the rest of the rows."""

    def __iter__(self) -> Iterator[Any]:
        """Yield the rest of the rows."""

    def __next__(self) -> Any:
        """Return the next row."""

    def close(self) -> None:
        """Want no more rows."""


class Sql(Protocol):
    """A connection within its transaction."""

    @property
    def total_changes(self) -> int:
        """How many rows were written since it was opened: it grows with each change."""

    def execute(self, text: str, values: Sequence[Any] = ..., /) -> Rows:
        """Do one statement."""

    def executemany(self, text: str, rows: Iterable[Sequence[Any]], /) -> Rows:
        """Do one statement for each row of values."""

    def close(self) -> None:
        """End the connection."""
