"""One change of a ledger by a process without a run: a transaction, then the witness. It knows no unit."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from parburn.errors import LedgerUnusable
from parburn.ledger import schema
from parburn.ledger.allocate import end_dead_runs
from parburn.ledger.backup_mark import refuse_backup
from parburn.ledger.file_location import check_place
from parburn.ledger.history import History
from parburn.ledger.liveness import RunLocks
from parburn.ledger.moved_mark import refuse_moved
from parburn.ledger.sql import Sql
from parburn.ledger.sqlite_store import find_ended
from parburn.ledger.witness import Witness, read_witness, write_witness
from parburn.ledger.writer import Transaction
from parburn.ledger_place import Place, PoolAddress


@contextlib.contextmanager
def changing(place: Place, *, trusted: bool = True) -> Iterator[Transaction]:
    """Open one transaction on an existing ledger, then write its witness.

    `trusted`: its witness must know it.
    """
    if isinstance(place, PoolAddress):
        from parburn.ledger.pool.reading import changing_pool  # here: psycopg is an extra

        with changing_pool(place, trusted=trusted) as transaction:
            yield transaction
        return
    check_place(place)
    if not place.exists():
        raise LedgerUnusable(
            f"There is no ledger at {place}.",
            hint="Name its file with --ledger, or begin one: parburn ledger init --why TEXT.",
        )
    try:
        with contextlib.closing(schema.connect(place)) as connection:
            refuse_moved(connection, place)
            if trusted:
                refuse_backup(connection, place)  # before anything in it is changed
            schema.migrate(connection, place)
            (uuid,) = connection.execute("SELECT value FROM meta WHERE name = 'uuid'").fetchone()
            connection.execute("BEGIN IMMEDIATE")
            try:
                if trusted:
                    schema.compare_with_witness(connection, place, read_witness(place), uuid)
                transaction = _transaction(connection, place)
                yield transaction
                transaction.history.flush()
                connection.execute("COMMIT")
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            (uuid,) = connection.execute("SELECT value FROM meta WHERE name = 'uuid'").fetchone()  # now
            write_witness(place, Witness(uuid, transaction.history.sequence, transaction.history.head))
    except (
        sqlite3.Error,
        OSError,
        ValueError,
        TypeError,
        KeyError,
        RecursionError,
    ) as error:  # the latter: damaged rows
        raise schema.translate(error, place) from error


def _transaction(connection: Sql, place: Path) -> Transaction:
    at = schema.now()
    transaction = Transaction(connection, History(connection, at=at, run=None), at, None, {})
    locks = RunLocks(place)
    try:
        end_dead_runs(transaction, find_ended(connection, None, (locks,)))
    finally:
        locks.close()
    return transaction
