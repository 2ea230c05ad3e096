"""A connection to PostgreSQL as the ledger's rules see it (`Sql`): statements travel together.

Between the first statement of a transaction and its end the connection is in psycopg's pipeline mode: what
only writes is sent and not waited for, and an answer is waited for where somebody asks for it. A work of
twenty statements costs as many turns of the network as it asks questions.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any

import psycopg
from psycopg.pq import TransactionStatus
from psycopg.types.numeric import Int8Dumper

_WRITES = ("INSERT", "UPDATE", "DELETE")


class _TruthDumper(Int8Dumper):
    """Truth is 0 or 1 in a ledger."""

    def dump(self, obj: Any) -> bytes:
        """Return it as PostgreSQL reads a number."""
        return b"1" if obj else b"0"


@lru_cache(1024)
def translated(text: str) -> str:
    """Return a statement with PostgreSQL's placeholders: `?` and `?1` become `$1`.

    As in SQLite a `?` is numbered one higher than the highest number before it.
    """
    parts: list[str] = []
    highest = at = 0
    quoted = False
    while at < len(text):
        char = text[at]
        at += 1
        if char == "'":
            quoted = not quoted
        if char != "?" or quoted:
            parts.append(char)
            continue
        end = at
        while end < len(text) and text[end].isdigit():
            end += 1
        number = int(text[at:end]) if end > at else highest + 1
        highest, at = max(highest, number), end
        parts.append(f"${number}")
    return "".join(parts)


class PoolRows:
    """What a statement gave, or will have given once somebody asks."""

    __slots__ = ("_cursor", "_sync")

    def __init__(self, cursor: psycopg.RawCursor[Any], sync: Callable[[], None]) -> None:
        self._cursor = cursor
        self._sync = sync

    def _arrived(self) -> psycopg.RawCursor[Any]:
        """Wait for the answer.

        By a Sync, and not by a mere flush: only behind one does the server count a transaction as idle, and
        throw out who stalls in it.
        """
        if self._cursor.pgresult is None:
            self._sync()
        return self._cursor

    @property
    def rowcount(self) -> int:
        """See `Rows.rowcount`."""
        return self._arrived().rowcount

    def fetchone(self) -> Any:
        """See `Rows.fetchone`."""
        return self._arrived().fetchone()

    def fetchmany(self, size: int | None = 1, /) -> list[Any]:
        """See `Rows.fetchmany`."""
        return self._arrived().fetchmany(size or 1)

    def fetchall(self) -> list[Any]:
        """See `Rows.fetchall`."""
        return self._arrived().fetchall()

    def __iter__(self) -> Iterator[Any]:
        """See `Rows`."""
        return self

    def __next__(self) -> Any:
        """See `Rows`."""
        row = self._arrived().fetchone()
        if row is None:
            raise StopIteration
        return row

    def close(self) -> None:
        """See `Rows.close`."""
        self._cursor.close()


class PoolSql:
    """A connection whose transactions are said in words; see the module."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._pipeline: psycopg.Pipeline | None = None
        self._together = contextlib.ExitStack()
        self.total_changes = 0
        self._take(connection)

    def _take(self, connection: psycopg.Connection[Any]) -> None:
        connection.autocommit = True  # BEGIN and COMMIT are statements like others, and travel with them
        connection.prepare_threshold = 2
        adapters = connection.adapters
        adapters.register_dumper(int, Int8Dumper)  # else each size of a number is a statement of its own
        adapters.register_dumper(bool, _TruthDumper)
        self.raw = connection

    def replace(self, connection: psycopg.Connection[Any]) -> None:
        """Go on with another connection; that before is given up."""
        with contextlib.suppress(psycopg.Error):
            self._end()
        self.raw.close()
        self._take(connection)

    def begin(self, *first: str) -> list[PoolRows]:
        """Begin a transaction; return what its first statements give, which go with it in one turn."""
        self._pipeline = self._together.enter_context(self.raw.pipeline())
        self.execute("BEGIN")
        return [self.execute(text) for text in first]

    def commit(self) -> None:
        """End the transaction.

        Raises:
            psycopg.Error: it is undone; or the connection broke, and whether it is done is not known.
        """
        self.execute("COMMIT")
        self._end()

    def roll_back(self) -> None:
        """Undo the transaction. Raises nothing: where the connection is gone, the server does it."""
        with contextlib.suppress(psycopg.Error):
            self._end()
        with contextlib.suppress(psycopg.Error):
            if self.raw.info.transaction_status != TransactionStatus.IDLE:
                self.raw.execute("ROLLBACK")

    def _end(self) -> None:
        self._pipeline = None
        self._together.close()

    def _sync(self) -> None:
        if self._pipeline is not None:
            self._pipeline.sync()

    def execute(self, text: str, values: Sequence[Any] = (), /) -> PoolRows:
        """See `Sql.execute`."""
        cursor = psycopg.RawCursor(self.raw)
        self.total_changes += text.startswith(_WRITES)
        cursor.execute(translated(text), values)
        return PoolRows(cursor, self._sync)

    def executemany(self, text: str, rows: Iterable[Sequence[Any]], /) -> PoolRows:
        """See `Sql.executemany`."""
        cursor = psycopg.RawCursor(self.raw)
        self.total_changes += text.startswith(_WRITES)
        cursor.executemany(translated(text), rows)
        return PoolRows(cursor, self._sync)

    def close(self) -> None:
        """See `Sql.close`."""
        with contextlib.suppress(psycopg.Error):
            self._end()
        self.raw.close()
