"""Opens a ledger for looking only: what is read is of one moment, and nothing in it is changed."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from parburn.errors import LedgerUnusable
from parburn.ledger import schema
from parburn.ledger.file_location import place_of, refuse_no_file
from parburn.ledger.sql import Sql
from parburn.ledger.witness import read_witness
from parburn.ledger_place import Place, PoolAddress

DAMAGE = (
    sqlite3.Error,
    ValueError,
    TypeError,
    KeyError,
    RecursionError,
)  # the latter: rows that are not ours
STEPS_BETWEEN = 1_000_000  # of SQLite's machine: some hundredths of a second


@contextlib.contextmanager
def reading(path: Place | None) -> Iterator[tuple[Sql, Place]]:
    """Open the ledger at `path` (None: the user's own) and yield it with its place.

    One of an older version is read from a copy that has the form of this version.

    Raises:
        LedgerUnusable: there is no ledger, or it cannot be read, also where the caller finds that out.
    """
    if isinstance(path, PoolAddress):
        from parburn.ledger.pool.reading import reading_pool  # here: psycopg is an extra

        with reading_pool(path) as sql:
            yield sql, path
        return
    with reading_file(path) as opened:
        yield opened


@contextlib.contextmanager
def reading_trusted(path: Place | None) -> Iterator[tuple[Sql, Place]]:
    """Open a ledger as `reading` does; it must be as new as its witness knows it."""
    if isinstance(path, PoolAddress):
        from parburn.ledger.pool.reading import reading_pool  # here: psycopg is an extra

        with reading_pool(path, trusted=True) as sql:
            yield sql, path
        return
    witness = read_witness(place_of(path))
    with reading_file(path) as (connection, place):
        schema.compare_with_witness(connection, place, witness, name_and_key(connection)[0])
        yield connection, place


@contextlib.contextmanager
def reading_file(path: Place | None) -> Iterator[tuple[sqlite3.Connection, Path]]:
    """Open a ledger in a file as `reading` does."""
    place = place_of(path)
    refuse_no_file(place)
    if not place.exists():
        witness = read_witness(place)
        was = f" Its witness knows of one with {witness.sequence} entries." if witness else ""
        raise LedgerUnusable(
            f"There is no ledger at {place}.{was}", hint="Name its file with --ledger, or burn a first board."
        )
    try:
        with contextlib.closing(schema.connect_to_read(place)) as connection:
            _let_signals_in(connection)
            if schema.check_version(connection, place) == schema.VERSION:
                yield connection, place
                return
            with contextlib.closing(schema.migrated_copy(connection)) as copy:  # looking changes nothing
                yield copy, place
    except DAMAGE as error:
        if str(error) == "interrupted":  # by a signal's handler: see `_let_signals_in`
            raise KeyboardInterrupt from error
        raise schema.translate(error, place) from error


def name_and_key(connection: Sql) -> tuple[str, bytes]:
    """Return which ledger it is, and the key for its digests."""
    meta = dict(connection.execute("SELECT name, value FROM meta").fetchall())
    key = meta["digest_key"]  # a pool keeps it as text
    return str(meta["uuid"]), bytes.fromhex(key) if isinstance(key, str) else bytes(key)


def _let_signals_in(connection: sqlite3.Connection) -> None:
    """Let Ctrl-C end a long statement: Python runs the handlers of signals where it runs any code of its own.

    What such a handler raises ends the statement, and SQLite says "interrupted".
    """
    connection.set_progress_handler(lambda: 0, STEPS_BETWEEN)


def is_copy(connection: sqlite3.Connection) -> bool:
    """Return whether this is the copy of a ledger of an older version, which no other process can open."""
    (row,) = connection.execute("PRAGMA database_list").fetchmany(1)
    return not row[2]
