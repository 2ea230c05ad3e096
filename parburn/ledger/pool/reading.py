"""Opens a pool without a run: for looking, at one moment of its life, or for one change by a command."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import psycopg

from parburn.ledger.allocate import end_dead_runs
from parburn.ledger.pool.opening import check_pool, opened, refuse_rewound, translate, witness_of
from parburn.ledger.pool.sql import PoolSql
from parburn.ledger.pool.store import PoolStore
from parburn.ledger.schema import now
from parburn.ledger.writer import Transaction
from parburn.ledger_place import PoolAddress


@contextlib.contextmanager
def reading_pool(address: PoolAddress, *, trusted: bool = False) -> Iterator[PoolSql]:
    """Open a pool for looking only; all that is read is of one moment.

    Raises:
        LedgerUnusable: there is none, or it cannot be read.
    """
    try:
        with contextlib.closing(PoolSql(opened(address))) as sql:
            sql.execute("SET statement_timeout TO 0")  # a large pool is read for long, and holds nobody
            sql.execute("SET idle_in_transaction_session_timeout TO 0")
            sql.begin("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            facts = check_pool(sql, address, trusted=trusted)
            if trusted:
                refuse_rewound(sql, address, witness_of(facts.uuid), facts.uuid)
            yield sql
    except psycopg.Error as error:
        raise translate(error, address) from error


@contextlib.contextmanager
def changing_pool(address: PoolAddress, *, trusted: bool = True) -> Iterator[Transaction]:
    """Open one transaction on a pool that is there, for a process without a run. See `changing.changing`."""
    store = PoolStore(address)
    try:
        sql, _ = store.connect(trusted=trusted)
        with contextlib.closing(sql):
            at = now()
            history = store.begin(sql, at=at, run=None, alone=False)
            try:
                transaction = Transaction(sql, history, at, None, {}, store.row_lock)
                end_dead_runs(transaction, store.find_ended(sql, None))
                yield transaction
                history.flush()
                store.commit(sql, history)
            except BaseException:
                store.roll_back(sql)
                raise
            store.after_commit(history.sequence, history.head, last=True)
    except psycopg.Error as error:
        raise translate(error, address) from error
