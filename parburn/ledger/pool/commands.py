"""What `parburn ledger init` and `adopt` do with a pool. Its owner does both, and says why."""

from __future__ import annotations

import contextlib
import secrets
from itertools import chain

import psycopg

from parburn.errors import LedgerUnusable, UsageError
from parburn.ledger.base import State
from parburn.ledger.batches import USED_BEFORE
from parburn.ledger.differences import find_differences, find_strays
from parburn.ledger.pool import schema as pool_schema
from parburn.ledger.pool.opening import opened, refuse_server, translate
from parburn.ledger.pool.reading import changing_pool
from parburn.ledger.pool.sql import PoolSql
from parburn.ledger.pool.verify import find_breaks
from parburn.ledger.writer import Transaction
from parburn.ledger_place import PoolAddress


def init_pool(address: PoolAddress, why: str) -> str:
    """Make a pool in a database that has none; return what was done, for the operator.

    Raises:
        LedgerUnusable: there is one, or it cannot be made.
    """
    try:
        with contextlib.closing(PoolSql(opened(address))) as sql:
            sql.begin()
            refuse_server(sql, address)
            has_stations = pool_schema.make(sql, why=why)
            sql.commit()
    except psycopg.Error as error:
        raise translate(error, address) from error
    roles = (
        f"The role {pool_schema.STATIONS} may burn with it."
        if has_stations
        else f"There is no role {pool_schema.STATIONS}: only its owner may burn with it."
    )
    return f"A new pool was made: {address}. {roles}\n"


def adopt_pool(address: PoolAddress, why: str, *, first_free: int | None) -> str:
    """Accept a pool that was put back, recovered, or failed over; return what was done, for the operator.

    What it gave out after that moment is not known to it: all indexes below `first_free` count as used from
    now on, in each of its batches. It gets another name, so that stations that know the old one say so.

    Raises:
        UsageError: nobody says which indexes are surely free.
        LedgerUnusable: it is broken, or this role may not.
    """
    if first_free is None or first_free < 1:
        raise UsageError(
            "Which index is the first that was surely given to no chip?",
            hint="Give --first-free N: higher than any that was burned. What is below counts as used.",
        )
    with changing_pool(address, trusted=False) as transaction:
        connection = transaction.connection
        for found in chain(find_breaks(connection), find_differences(connection), find_strays(connection)):
            raise LedgerUnusable(
                f"The pool {address} cannot be adopted: {found.what}", hint="Put a good copy back."
            )
        used = sum(
            _spend_below(transaction, batch, name, first_free)
            for batch, name in connection.execute("SELECT id, name FROM batches ORDER BY id").fetchall()
        )
        uuid = secrets.token_hex(16)
        system, timeline = pool_schema.server_of(connection)
        connection.execute("UPDATE meta SET value = ? WHERE name = 'uuid'", (uuid,))
        connection.execute("UPDATE pool SET system = ?, timeline = ?, refused = ''", (system, timeline))
        transaction.history.append("adopted", why=why, witness="", backup="", uuid=uuid)
    return (
        f"The pool {address} was adopted; {used} indexes below {first_free} count as used from now on. "
        "Stations that were armed with it must be armed anew.\n"
    )


def _spend_below(transaction: Transaction, batch: int, name: str, first_free: int) -> int:
    """Spend all indexes of a batch below one that no unit holds; return their number."""
    connection = transaction.connection
    taken = {
        index
        for (index,) in connection.execute(
            "SELECT idx FROM units WHERE batch = ? AND idx < ?", (batch, first_free)
        )
    }
    free = [index for index in range(1, first_free) if index not in taken]
    for index in free:
        who = f"imported-{index}"
        (unit,) = connection.execute(
            "INSERT INTO units (batch, chip, mac, unique_id, idx, state, spent, reason, changed)"
            " VALUES (?, '', '', ?, ?, ?, 1, ?, ?) RETURNING id",
            (batch, who, index, State.PASS.value, USED_BEFORE, transaction.at),
        ).fetchone()
        transaction.history.append(
            "imported", unit=unit, state=State.PASS, index=index, batch=name, chip="", mac="", unique_id=who
        )
    return len(free)
