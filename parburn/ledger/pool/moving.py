"""`parburn ledger move`: a ledger's file becomes a pool, with all that it knows. A killed one goes on.

The file and its witness are marked before the first row is copied: from then on nobody burns with either. All
is copied in one transaction, the history word for word as the chain of no run. Once both sides are proved the
file is marked as moved, for good.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any, Final

import psycopg

from parburn.errors import LedgerUnusable, ParburnError, UsageError
from parburn.ledger import schema
from parburn.ledger.allocate import end_dead_runs
from parburn.ledger.backup_mark import refuse_backup
from parburn.ledger.differences import find_differences, find_strays
from parburn.ledger.file_location import check_place, place_of
from parburn.ledger.history import History
from parburn.ledger.history import find_breaks as find_breaks_of_file
from parburn.ledger.liveness import RunLocks
from parburn.ledger.moved_mark import MovedMark, read_moved, remove_moved, write_moved
from parburn.ledger.pool import schema as pool_schema
from parburn.ledger.pool.history import NO_RUN, End, PoolHistory
from parburn.ledger.pool.opening import opened, refuse_server, translate
from parburn.ledger.pool.sql import PoolSql
from parburn.ledger.pool.verify import find_breaks as find_breaks_of_pool
from parburn.ledger.reading import name_and_key
from parburn.ledger.sqlite_store import find_ended
from parburn.ledger.witness import Witness, read_witness, write_witness
from parburn.ledger.writer import Transaction
from parburn.ledger_place import Place, PoolAddress

_NOT_ALIKE: Final = ("meta", "history")
_ENTRY: Final = "at, run, unit, event, state, idx, detail, hash"


def move(path: Place | None, to: PoolAddress, why: str, *, abort: bool = False) -> str:
    """Move a ledger's file into a database that has no pool; return what was done, for the operator.

    Args:
        path: The file; None for the user's own.
        to: The database, as the role that is to own the pool.
        why: The reason; it stays in the history.
        abort: Take a move back that was begun and of which nothing is there.

    Raises:
        UsageError: no reason is given.
        LedgerUnusable: the file is in use, damaged, or on its way to another pool; or there is a pool.
    """
    if not why.strip():
        raise UsageError("A reason is needed.", hint="--why REASON; it stays in the history.")
    place = place_of(path)
    check_place(place)
    if not place.exists():
        raise LedgerUnusable(f"There is no ledger at {place}.", hint="Name its file with --ledger.")
    try:
        with contextlib.closing(schema.connect(place)) as file, _pool(to) as pool:
            if abort:
                return _take_back(file, place, pool, to, why)
            uuid, _ = name_and_key(file)
            if not _is_there(pool, uuid):
                if read_moved(file) is None:
                    schema.migrate(file, place)
                    _refuse_broken(place, chain(find_breaks_of_file(file), *_of_units(file)))
                _mark(file, place, to, why)
                _copy(file, pool)
            _prove(file, pool, place, to)
            end = _end(file)
            _begin(file, place, to)
            write_moved(file, _moved(file, to, done=True))
            file.execute("COMMIT")
            write_witness(place, Witness(_moved(file, to, done=True).witness_name, *end))
            (units,) = pool.execute("SELECT count(*) FROM units").fetchone()
    except psycopg.Error as error:
        raise translate(error, to) from error
    except ParburnError:
        raise
    except (sqlite3.Error, OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise schema.translate(error, place) from error
    return (
        f"The ledger {place} was moved to {to}: {units} units, {end.number} entries. The file stays where it "
        "is, and no run uses it any more.\n"
    )


@contextlib.contextmanager
def _pool(to: PoolAddress) -> Iterator[PoolSql]:
    with contextlib.closing(PoolSql(opened(to))) as pool:
        pool.execute("SET statement_timeout TO 0")
        pool.execute("SET idle_in_transaction_session_timeout TO 0")
        refuse_server(pool, to)
        yield pool


def _is_there(pool: PoolSql, uuid: str) -> bool:
    """Return whether this ledger is in the pool already; a move that was cut off late.

    Raises:
        LedgerUnusable: another one is.
    """
    if pool.execute("SELECT to_regclass(?)", (f"{pool_schema.SCHEMA}.meta",)).fetchone()[0] is None:
        return False
    (there,) = pool.execute("SELECT value FROM meta WHERE name = 'uuid'").fetchone()
    if there != uuid:
        raise LedgerUnusable(
            "There is another pool in this database.", hint="It is never overwritten. Use another database."
        )
    return True


# The file -------------------------------------------------------------------------------------------


def _begin(file: sqlite3.Connection, place: Path, to: PoolAddress) -> None:
    """Begin a change of the file; it may be on its way to this pool, and to no other.

    Raises:
        LedgerUnusable: it is, or it is a backup, or not the ledger that its witness knows.
    """
    file.execute("BEGIN IMMEDIATE")
    try:
        refuse_backup(file, place)
        mark = read_moved(file)
        if mark is None:
            schema.compare_with_witness(file, place, read_witness(place), name_and_key(file)[0])
        elif mark.to != str(to):
            raise LedgerUnusable(
                f"The ledger {place} is {mark.witness_name}, and not to {to}.",
                hint=f"Name that one: --to {mark.to}",
            )
    except BaseException:
        file.execute("ROLLBACK")
        raise


def _mark(file: sqlite3.Connection, place: Path, to: PoolAddress, why: str) -> None:
    """Mark file and witness, so that nobody burns with them from now on.

    Raises:
        LedgerUnusable: a run is at work with it.
    """
    _begin(file, place, to)
    try:
        if read_moved(file) is None:
            at = schema.now()
            history = History(file, at=at, run=None)
            locks = RunLocks(place)
            try:
                transaction = Transaction(file, history, at, None, {})
                end_dead_runs(transaction, find_ended(file, None, (locks,)))
            finally:
                locks.close()
            (alive,) = file.execute("SELECT count(*) FROM runs WHERE ended IS NULL").fetchone()
            if alive:
                raise LedgerUnusable(
                    f"{alive} runs or stations are at work with the ledger {place}.",
                    hint="Nothing was changed. Let them come to their end, then move it.",
                )
            history.append("moved", why=why, to=str(to))
            history.flush()
            write_moved(file, MovedMark(str(to), at, done=False))
        file.execute("COMMIT")
    except BaseException:
        file.execute("ROLLBACK")
        raise
    write_witness(place, Witness(_moved(file, to, done=False).witness_name, *_end(file)))


def _moved(file: sqlite3.Connection, to: PoolAddress, *, done: bool) -> MovedMark:
    mark = read_moved(file)
    return MovedMark(str(to), schema.now() if mark is None else mark.at, done)


def _end(file: sqlite3.Connection) -> End:
    return End(*file.execute("SELECT seq, hash FROM history ORDER BY seq DESC LIMIT 1").fetchone())


def _take_back(file: sqlite3.Connection, place: Path, pool: PoolSql, to: PoolAddress, why: str) -> str:
    if read_moved(file) is None:
        raise LedgerUnusable(f"The ledger {place} is not being moved.", hint="There is nothing to take back.")
    uuid, _ = name_and_key(file)
    if _is_there(pool, uuid):
        raise LedgerUnusable(
            f"All of the ledger {place} is in {to} already: stations may be at work with it.",
            hint="It cannot be taken back. Go on without --abort.",
        )
    _begin(file, place, to)
    try:
        remove_moved(file)
        history = History(file, at=schema.now(), run=None)
        history.append("move-taken-back", why=why, to=str(to))
        history.flush()
        file.execute("COMMIT")
    except BaseException:
        file.execute("ROLLBACK")
        raise
    write_witness(place, Witness(uuid, *_end(file)))
    return f"The move of the ledger {place} to {to} was taken back: runs may use the file again.\n"


# The copy -------------------------------------------------------------------------------------------


def _copy(file: sqlite3.Connection, pool: PoolSql) -> None:
    """Copy all of it in one transaction."""
    uuid, key = name_and_key(file)
    with pool.raw.transaction():
        pool_schema.make_empty(pool, uuid, key)
        tables = [row[0] for row in file.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            if table not in _NOT_ALIKE:
                names = [row[1] for row in file.execute(f"PRAGMA table_info({table})")]
                _copy_rows(pool, table, names, file.execute(f"SELECT {', '.join(names)} FROM {table}"))
                if "id" in names:
                    _go_on_behind(pool, table, "id")
        rows = file.execute(f"SELECT seq, {NO_RUN}, seq, {_ENTRY} FROM history ORDER BY seq")
        _copy_rows(pool, "history", ["seq", "chain", "number", *_ENTRY.split(", ")], rows)
        _go_on_behind(pool, "history", "seq")
        PoolHistory(pool, at=schema.now(), run=None, end=_end(file)).anchor(End(0, ""))


def _copy_rows(pool: PoolSql, table: str, names: list[str], rows: Iterator[Any]) -> None:
    with pool.raw.cursor() as cursor, cursor.copy(f"COPY {table} ({', '.join(names)}) FROM STDIN") as copy:
        for row in rows:
            copy.write_row(row)


def _go_on_behind(pool: PoolSql, table: str, column: str) -> None:
    """Let numbers that the database gives go on behind those that were copied."""
    pool.execute(
        f"SELECT setval(pg_get_serial_sequence('{table}', '{column}'), greatest(max({column}), 1))"
        f" FROM {table}"
    ).fetchone()


def _of_units(sql: Any) -> tuple[Iterator[Any], Iterator[Any]]:
    return find_differences(sql), find_strays(sql)


def _prove(file: sqlite3.Connection, pool: PoolSql, place: Path, to: PoolAddress) -> None:
    """Raise LedgerUnusable where the two do not say the same, or one of them is broken."""
    end = _end(file)
    there = pool.execute(
        "SELECT number, hash FROM history WHERE chain = ? AND number = ?", (NO_RUN, end.number)
    ).fetchone()
    if there is None or tuple(there) != end:
        raise LedgerUnusable(
            f"The pool {to} has another history than the ledger {place}.",
            hint="Nothing was burned with it yet.",
        )
    _refuse_broken(to, chain(find_breaks_of_pool(pool), *_of_units(pool)))


def _refuse_broken(place: Place, breaks: Iterator[Any]) -> None:
    for found in breaks:
        raise LedgerUnusable(
            f"The ledger {place} cannot be moved: {found.what}", hint="Put a good copy back."
        )
