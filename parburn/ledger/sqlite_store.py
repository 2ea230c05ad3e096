"""A ledger in a file of SQLite: how it is opened for a run, its witness, and which runs are alive.

A ledger that is thrown away, or the copy of a dry run, lies in a folder that goes with the run.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from parburn.errors import LedgerUnusable
from parburn.ledger import schema
from parburn.ledger.backup_mark import refuse_backup
from parburn.ledger.file_location import (
    check_place,
    make_private,
    no_ledger_yet,
    refuse_leftovers,
    sweep,
)
from parburn.ledger.history import History
from parburn.ledger.liveness import Process, RunLocks
from parburn.ledger.moved_mark import refuse_moved
from parburn.ledger.sql import Sql
from parburn.ledger.store import EndedRun
from parburn.ledger.witness import Witness, missing_ledger, read_witness, write_witness
from parburn.ledger_place import Place, PoolAddress
from parburn.scratch import Scratch

WITNESS_EVERY_S = 1.0  # of a run that commits all the time: it may lag behind, never lead


def find_ended(connection: Sql, own: int | None, locks: Iterable[RunLocks]) -> list[EndedRun]:
    """Return the runs whose process is gone; see `Store.find_ended`. `locks` show which are alive."""
    asked = tuple(locks)
    return [
        EndedRun(run, True)
        for run, process in connection.execute("SELECT id, process FROM runs WHERE ended IS NULL").fetchall()
        if run != own
        and not any(one.is_held(run) for one in asked)
        and not Process.parse(process).is_visible()
    ]


class SqliteStore:
    """A ledger's file, as one run has it open; see `Store` for what its methods promise."""

    def __init__(
        self, path: Path, folder: Scratch | None, *, new_ledger: bool, copy_of: Place | None = None
    ) -> None:
        self.beat_s: float | None = None
        self.on_away: Callable[[bool], None] | None = None  # a file never is
        self.row_lock = ""  # nobody else writes meanwhile
        self.uuid = ""
        self.digest_key = b""
        self._path = path
        self._copy_of = copy_of  # of a dry run: the ledger that is copied to `path`
        self._folder = folder  # of one that is thrown away
        self._may_be_made = new_ledger or folder is not None
        self._locks: RunLocks | None = None
        self._locks_of_others: RunLocks | None = None  # of the ledger that this is a copy of
        self._witness_at: float | None = None

    @property
    def name(self) -> str:
        """See `Store.name`."""
        return str(self._path)

    @property
    def place(self) -> str:
        """See `Store.place`."""
        return str(self._copy_of or self._path) if self._folder is None or self._copy_of is not None else ""

    @property
    def leaves_a_run(self) -> bool:
        """See `Store.leaves_a_run`."""
        return self._folder is None

    def connect(self) -> tuple[Sql, list[str]]:
        """Open it; see `Store.connect`."""
        notes: list[str] = []
        path = self._path
        check_place(path)
        sweep(path)
        if isinstance(self._copy_of, PoolAddress):
            from parburn.ledger.pool.dry_copy import copy_pool  # here: psycopg is an extra

            copy_pool(self._copy_of, path)
        elif self._copy_of is not None:
            from parburn.ledger.dry_copy import copy_ledger  # here: only a dry run needs it

            copy_ledger(self._copy_of, path)
            self._locks_of_others = RunLocks(self._copy_of, only_looks=True)
        witness = read_witness(path)
        if not path.exists():
            if witness is not None:
                raise missing_ledger(path, witness)
            refuse_leftovers(path)
            if not self._may_be_made:
                raise no_ledger_yet(path)
            if schema.make(path, why="first run") and self._folder is None:
                notes.append(f"A new ledger was made: {path}. It knows of no index that was used before.")
        if make_private(path) and self._folder is None:
            notes.append(f"Others could read the ledger {path}: its rights were mended.")
        connection = schema.connect(path, durable=self._folder is None)
        try:
            refuse_backup(connection, path)  # before anything in it is changed
            refuse_moved(connection, path)
            schema.migrate(connection, path)
            meta = dict(connection.execute("SELECT name, value FROM meta"))
            self.uuid, self.digest_key = meta["uuid"], meta["digest_key"]
            schema.compare_with_witness(connection, path, witness, self.uuid)
            if witness is None and self._folder is None:
                self._first_witness(connection)
            self._locks = RunLocks(path)
        except BaseException:
            connection.close()
            raise
        return connection, notes

    def _first_witness(self, connection: sqlite3.Connection) -> None:
        """Give a ledger that was just made its witness before its second entry."""
        if read_witness(self._path) is None:
            row = connection.execute("SELECT seq, hash FROM history WHERE seq = 1").fetchone()
            write_witness(self._path, Witness(self.uuid, *row))

    def begin(self, connection: Sql, *, at: str, run: int | None, alone: bool) -> History:
        """Begin a transaction that nobody else can write beside; see `Store.begin`."""
        connection.execute("BEGIN IMMEDIATE")
        return History(connection, at=at, run=run)

    def commit(self, connection: Sql, history: History) -> None:
        """See `Store.commit`."""
        connection.execute("COMMIT")

    def roll_back(self, connection: Sql) -> None:
        """See `Store.roll_back`."""
        with contextlib.suppress(sqlite3.Error):  # SQLite may have rolled back by itself
            connection.execute("ROLLBACK")

    def beat(self, connection: Sql, run: int | None) -> None:
        """See `Store.beat`: a lock shows it."""

    def passes(self, error: Exception) -> bool:
        """See `Store.passes`: who holds a file is waited for already."""
        return False

    def after_commit(self, sequence: int, head: str, *, last: bool) -> None:
        """Move the witness on, once in WITNESS_EVERY_S; see `Store.after_commit`."""
        if self._folder is not None:
            return
        now = time.monotonic()
        if not last and self._witness_at is not None and now - self._witness_at < WITNESS_EVERY_S:
            return
        self._witness_at = now
        try:
            before = read_witness(self._path)
            if before is None or before.uuid != self.uuid or before.sequence < sequence:
                write_witness(self._path, Witness(self.uuid, sequence, head))
        except OSError as error:
            if last:
                raise LedgerUnusable(f"The witness of {self._path} cannot be written: {error}.") from error
        except LedgerUnusable:
            if last:
                raise

    def hold(self, run: int) -> None:
        """See `Store.hold`."""
        assert self._locks is not None
        self._locks.hold(run)

    def find_ended(self, connection: Sql, own: int | None) -> list[EndedRun]:
        """See `Store.find_ended`."""
        return find_ended(connection, own, filter(None, (self._locks, self._locks_of_others)))

    def translate(self, error: Exception) -> LedgerUnusable:
        """See `Store.translate`."""
        return schema.translate(error, self._path)

    def close(self) -> None:
        """See `Store.close`."""
        for locks in (self._locks, self._locks_of_others):
            if locks is not None:
                locks.close()
        self._locks = self._locks_of_others = None
        if self._folder is not None:
            self._folder.remove()
