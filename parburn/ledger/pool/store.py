"""A ledger in a pool in PostgreSQL: its transactions, what a broken connection means, which runs are alive.

A COMMIT whose answer does not come may have been done or not, or may still be on its way. On a new connection
the server's process of the old one is ended first. Then the last entry of the run's chain is there, or it
never will be.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Final

import psycopg

from parburn.errors import LedgerUnusable
from parburn.ledger.file_location import pool_folder
from parburn.ledger.history import History
from parburn.ledger.liveness import Process
from parburn.ledger.pool.history import NO_RUN, End, PoolHistory
from parburn.ledger.pool.opening import (
    Backend,
    backend_of,
    check_pool,
    end_backend,
    has_ended,
    opened,
    refuse_rewound,
    rewound,
    translate,
    witness_of,
)
from parburn.ledger.pool.sql import PoolSql
from parburn.ledger.sql import Sql
from parburn.ledger.store import EndedRun
from parburn.ledger.witness import Witness, write_witness
from parburn.ledger_place import PoolAddress

UNHEARD_S: Final = 60  # a run that was not heard for so long may lose what it has not attempted
BEAT_S: Final = 10.0
WITNESS_EVERY_S: Final = 1.0  # of a run that commits all the time: it may lag behind, never lead
RECONNECT_FOR_S: Final = 10.0
_RECONNECT_EVERY_S: Final = 0.2
_OPEN_RUNS: Final = (
    "SELECT id, process, heard < clock_timestamp() - make_interval(secs => CAST(? AS INTEGER))"
    " FROM runs WHERE ended IS NULL ORDER BY id"
)


class PoolStore:
    """A pool as one run has it open; see `Store` for what its methods promise."""

    def __init__(self, address: PoolAddress) -> None:
        self.row_lock = " FOR UPDATE"
        self.beat_s: float | None = BEAT_S
        self.uuid = ""
        self.digest_key = b""
        self._address = address
        self.on_away: Callable[[bool], None] | None = None  # with it, a way back is waited for without end
        self._is_away = False
        self._sql: PoolSql | None = None
        self._backend: Backend | None = None
        self._ends: dict[int, End] = {}  # of the chains that this run writes, after its last commit
        self._pool: End | None = None  # the end of the pool's chain, where this transaction has its row
        self._seen: End | None = None  # the end of the pool's chain that is known to be on disk
        self._kept: End | None = None  # what the witness tells
        self._keep_at = 0.0  # when it is told next, by the monotonic clock

    @property
    def name(self) -> str:
        """See `Store.name`."""
        return str(self._address)

    @property
    def place(self) -> str:
        """See `Store.place`."""
        return str(self._address)

    @property
    def leaves_a_run(self) -> bool:
        """See `Store.leaves_a_run`."""
        return True

    def connect(self, *, trusted: bool = True) -> tuple[PoolSql, list[str]]:
        """Open it; see `Store.connect`. Not `trusted`: also where it is not what it was."""
        sql = self._sql = PoolSql(opened(self._address))
        try:
            self._backend = backend_of(sql)
            sql.begin()
            facts = check_pool(sql, self._address, trusted=trusted)
            self.uuid, self.digest_key = facts.uuid, facts.digest_key
            older = rewound(sql, self._address, witness_of(facts.uuid), facts.uuid) if trusted else None
            if older is not None:
                sql.execute("UPDATE pool SET refused = ?", (str(older),))  # for all stations
            sql.commit()
            if older is not None:
                raise older
        except BaseException:
            sql.close()
            raise
        return sql, []

    def begin(self, connection: Sql, *, at: str, run: int | None, alone: bool) -> History:
        """Begin a transaction; works that look at other units take the pool's row. See `Store.begin`."""
        sql = _ours(connection)
        if sql.raw.closed:
            self._connect_again(sql)
        self._pool = None
        if alone and run is not None:
            sql.begin()
        else:
            (row,) = sql.begin("SELECT sequence, head FROM pool FOR UPDATE")
            self._pool = End(*row.fetchone())
        # What no run writes, others may have written since.
        return PoolHistory(connection, at=at, run=run, end=None if run is None else self._ends.get(run))

    def commit(self, connection: Sql, history: History) -> None:
        """End the transaction; where the connection breaks meanwhile, find out whether it was done.

        Raises:
            psycopg.Error: it was not done.
        """
        sql = _ours(connection)
        assert isinstance(history, PoolHistory)
        wrote = history.sequence != history.first
        link = history.anchor(self._pool) if wrote and self._pool is not None else None
        end = End(history.sequence, history.head)
        try:
            sql.commit()
        except psycopg.Error as error:
            if not has_ended(sql, error) or not wrote or not self._was_committed(sql, history.chain, end):
                raise
        if history.chain != NO_RUN:
            self._ends[history.chain] = end
        self._seen = link or self._seen

    def _was_committed(self, sql: PoolSql, chain: int, end: End) -> bool:
        """Return whether the transaction that wrote this entry was done, asked on a new connection."""
        self._connect_again(sql)  # from here on nothing of the old one can happen any more
        row = sql.execute(
            "SELECT hash FROM history WHERE chain = ? AND number = ?", (chain, end.number)
        ).fetchone()
        return row is not None and row[0] == end.head

    def _connect_again(self, sql: PoolSql) -> None:
        """Put a new connection in the place of one that broke.

        Raises:
            LedgerUnusable: there is none within RECONNECT_FOR_S, or the pool is not what it was.
        """
        deadline = time.monotonic() + (RECONNECT_FOR_S if self.on_away is None else math.inf)
        self._ends.clear()
        while True:
            try:
                sql.replace(opened(self._address))
                break
            except psycopg.OperationalError as error:
                self._tell_away(True)
                if time.monotonic() >= deadline:
                    raise self.translate(error) from error
                time.sleep(_RECONNECT_EVERY_S)
        try:
            if self._backend is not None:  # kept until it has ended: only then nothing of it can happen
                end_backend(sql, self._backend, time.monotonic() + RECONNECT_FOR_S)
            self._backend = backend_of(sql)
            sql.begin()
            facts = check_pool(sql, self._address)
            if facts.uuid != self.uuid:
                raise LedgerUnusable(f"Another pool is at {self.name} than before: {facts.uuid}.")
            refuse_rewound(sql, self._address, witness_of(self.uuid), self.uuid)
            if self._seen is not None:  # newer than the witness, which lags behind
                refuse_rewound(sql, self._address, Witness(self.uuid, *self._seen), self.uuid)
            sql.commit()
        except BaseException:
            sql.close()
            raise
        self._tell_away(False)

    def _tell_away(self, away: bool) -> None:
        if away != self._is_away:
            self._is_away = away
            if self.on_away is not None:
                self.on_away(away)

    def roll_back(self, connection: Sql) -> None:
        """See `Store.roll_back`."""
        _ours(connection).roll_back()
        self._ends.clear()

    def passes(self, error: Exception) -> bool:
        """See `Store.passes`: a connection that broke, a station that stalls, works that wait for each other.

        Who stalls in a transaction is thrown out by the server after 3 s; a lock is waited for 2 s.
        """
        if not isinstance(error, psycopg.Error) or self._sql is None:
            return False
        lasts = psycopg.errors.QueryCanceled | psycopg.errors.DiskFull
        passing = isinstance(error, psycopg.OperationalError) and not isinstance(error, lasts)
        return has_ended(self._sql, error) or passing

    def beat(self, connection: Sql, run: int | None) -> None:
        """Show that the run is alive, and keep what the pool's chain was."""
        sql = _ours(connection)
        try:
            if sql.raw.closed:
                opened(self._address).close()  # the next work goes on, if there is a way
                self._tell_away(False)
            elif run is not None:
                sql.execute("UPDATE runs SET heard = clock_timestamp() WHERE id = ?", (run,))
        except psycopg.Error:
            sql.raw.close()
            self._tell_away(True)

    def after_commit(self, sequence: int, head: str, *, last: bool) -> None:
        """Keep how far the pool's chain had come; see `Store.after_commit`."""
        now = time.monotonic()
        if self._seen is None or self._seen == self._kept or not (last or now >= self._keep_at):
            return
        self._keep_at = now + WITNESS_EVERY_S
        try:
            folder = pool_folder()
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_witness(folder / self.uuid, Witness(self.uuid, *self._seen))
            self._kept = self._seen
        except OSError as error:
            if last:
                raise LedgerUnusable(f"The witness of {self.name} cannot be written: {error}.") from error

    def hold(self, run: int) -> None:
        """See `Store.hold`: the row itself shows when the run was heard last."""

    def find_ended(self, connection: Sql, own: int | None) -> list[EndedRun]:
        """See `Store.find_ended`: surely where its process was of this machine, and is gone."""
        ended = []
        for run, process, unheard in connection.execute(_OPEN_RUNS, (UNHEARD_S,)).fetchall():
            who = Process.parse(process)
            if run == own or (who.is_of_here() and who.is_visible()):
                continue
            if who.is_of_here() or unheard:
                ended.append(EndedRun(run, who.is_of_here()))
        return ended

    def translate(self, error: Exception) -> LedgerUnusable:
        """See `Store.translate`."""
        return translate(error, self._address)

    def close(self) -> None:
        """See `Store.close`."""


def _ours(connection: Sql) -> PoolSql:
    assert isinstance(connection, PoolSql)
    return connection
