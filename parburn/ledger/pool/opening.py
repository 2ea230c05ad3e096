"""Opens a pool: the connection with its limits, and what a server must be like to be trusted.

Imports psycopg, which is an extra: only what works with a pool imports this.
"""

from __future__ import annotations

import re
import time
from typing import Any, Final, NamedTuple

import psycopg
from psycopg.conninfo import make_conninfo

from parburn.errors import LedgerUnusable
from parburn.ledger.file_location import pool_folder
from parburn.ledger.pool.schema import SCHEMA, VERSION, server_of
from parburn.ledger.pool.sql import PoolSql
from parburn.ledger.witness import Witness, read_witness
from parburn.ledger_place import PoolAddress

CONNECT_S: Final = 5
LIMITS: Final = {  # so that a station that stalls holds the others for 5 s at most
    "idle_in_transaction_session_timeout": "3s",
    "lock_timeout": "2s",
    "statement_timeout": "5s",
}
CHECKED_SINCE: Final = 140000  # `client_connection_check_interval` is a setting of that version
OLDEST: Final = 130000  # server_version_num
_LOOK_EVERY_S: Final = 0.02
_NOTHING: Final = "Nothing is burned without an entry in the ledger."


def opened(address: PoolAddress) -> psycopg.Connection[Any]:
    """Return a new connection with all its limits.

    Raises:
        psycopg.Error: there is none.
    """
    options: dict[str, str | int] = {
        "application_name": "parburn",
        "connect_timeout": CONNECT_S,
        "keepalives_idle": 5,
        "keepalives_interval": 2,
        "keepalives_count": 3,
        "tcp_user_timeout": 5000,
    }
    if address.is_far and "sslmode" not in address.options:
        options["sslmode"] = "verify-full"
    connection = psycopg.connect(make_conninfo(str(address), **options), autocommit=True)
    try:
        limits = dict(LIMITS)
        if connection.info.server_version >= CHECKED_SINCE:
            limits["client_connection_check_interval"] = "1s"
        settings = [f"SET search_path TO {SCHEMA}"]
        settings += (f"SET {name} TO '{value}'" for name, value in limits.items())
        connection.execute("; ".join(settings))
    except BaseException:
        connection.close()
        raise
    return connection


class Backend(NamedTuple):
    """The server's process behind a connection. A pid alone is given out again."""

    pid: int
    started: str


def backend_of(sql: PoolSql) -> Backend:
    """Return the server's process behind an open connection."""
    return Backend(
        *sql.execute(
            "SELECT pid, CAST(backend_start AS TEXT) FROM pg_stat_activity WHERE pid = pg_backend_pid()"
        ).fetchone()
    )


_END_BACKEND: Final = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = ? AND CAST(backend_start AS TEXT) = ?"
)


def end_backend(sql: PoolSql, backend: Backend, until_s: float) -> None:
    """End the server's process of a connection that broke: what it was doing is done then, or never will be.

    Args:
        sql: Another connection of the same role.
        backend: Which process.
        until_s: When to give up, by the monotonic clock.

    Raises:
        LedgerUnusable: it did not end.
    """
    while sql.execute(_END_BACKEND, backend).fetchone() is not None:
        if time.monotonic() >= until_s:
            raise LedgerUnusable("The pool's server still works for a connection that broke.", hint=_NOTHING)
        time.sleep(_LOOK_EVERY_S)


class PoolFacts(NamedTuple):
    """What a pool says of itself: its name, the key of its digests."""

    uuid: str
    digest_key: bytes


# What the server says when it ends a connection: too long idle in a transaction, by an administrator, after a
# crash, while it starts, too long idle. The first is no OperationalError.
_ENDS: Final = frozenset({"25P03", "57P01", "57P02", "57P03", "57P05"})


def has_ended(sql: PoolSql, error: psycopg.Error) -> bool:
    """Return whether an error means that the connection is gone; it is closed then, for certain."""
    if error.sqlstate in _ENDS:
        sql.raw.close()
    return sql.raw.closed


def check_pool(sql: PoolSql, address: PoolAddress, *, trusted: bool = True) -> PoolFacts:
    """Look at an open pool, within a transaction, before anything in it is used.

    Args:
        sql: Connected to it.
        address: For messages.
        trusted: It must be on the server that it was last accepted on. Whether it is as new as this station's
            witness is `rewound`'s to say.

    Raises:
        LedgerUnusable: none is there, it is of another version, or on another server.
    """
    refuse_server(sql, address)
    if sql.execute("SELECT to_regclass(?)", (f"{SCHEMA}.meta",)).fetchone()[0] is None:
        raise LedgerUnusable(
            f"There is no pool at {address}.",
            hint=f"{_NOTHING} Its owner makes one with: parburn ledger init --ledger {address} --why REASON",
        )
    meta = dict(sql.execute("SELECT name, value FROM meta").fetchall())
    version = int(meta.get("version", "0"))
    if version != VERSION:
        raise LedgerUnusable(
            f"The pool {address} is of version {version}, and this parburn knows {VERSION}.",
            hint="Use the parburn that fits, on all stations.",
        )
    if trusted:
        _refuse_other_server(sql, address)
    return PoolFacts(meta["uuid"], bytes.fromhex(meta["digest_key"]))


def refuse_server(sql: PoolSql, address: PoolAddress) -> None:
    """Raise LedgerUnusable for a server that may lose what it has confirmed, or that cannot hold a pool."""
    version, fsync, commits, standby = sql.execute(
        "SELECT CAST(current_setting('server_version_num') AS INTEGER), current_setting('fsync'),"
        " current_setting('synchronous_commit'), pg_is_in_recovery()"
    ).fetchone()
    why = ""
    if version < OLDEST:
        why = f"is older than version {OLDEST // 10000}"
    elif fsync != "on":
        why = "has fsync=off: a power cut may take back what it has confirmed"
    elif commits == "off":
        why = "has synchronous_commit=off: a crash may take back what it has confirmed"
    elif standby:
        why = "is a standby, which can only be read"
    if why:
        raise LedgerUnusable(
            f"The server of the pool {address} {why}.", hint=f"{_NOTHING} Its administrator mends that."
        )


def _refuse_other_server(sql: PoolSql, address: PoolAddress) -> None:
    system, timeline, refused = sql.execute("SELECT system, timeline, refused FROM pool").fetchone()
    if refused:
        raise LedgerUnusable(f"The pool {address} is refused: {refused}", hint=_adopt(address))
    if (system, timeline) != server_of(sql):
        raise LedgerUnusable(
            f"The pool {address} is on another server than it was, or on another timeline: a dump that was "
            "put back, a recovery to an earlier moment, or a failover. Indexes that it gave out may be "
            "missing.",
            hint=_adopt(address),
        )


def witness_of(uuid: str) -> Witness | None:
    """Return what this station remembers of a pool, None: it never was at it."""
    return read_witness(pool_folder() / uuid)


def refuse_rewound(sql: PoolSql, address: PoolAddress, witness: Witness | None, uuid: str) -> None:
    """Raise LedgerUnusable for a pool that is older than this station's witness of it."""
    if (refused := rewound(sql, address, witness, uuid)) is not None:
        raise refused


def rewound(sql: PoolSql, address: PoolAddress, witness: Witness | None, uuid: str) -> LedgerUnusable | None:
    """Return the refusal of a pool that is older than this station's witness of it; None where it is not."""
    if witness is None:
        return None
    (last,) = sql.execute("SELECT sequence FROM pool").fetchone()
    row = sql.execute("SELECT hash FROM anchors WHERE sequence = ?", (witness.sequence,)).fetchone()
    if witness.uuid != uuid or last < witness.sequence or row is None or row[0] != witness.head:
        return LedgerUnusable(
            f"The pool {address} is older than this station knows it, or another one: it had "
            f"{witness.sequence} links in its chain, and has {last} now.",
            hint=_adopt(address),
        )
    return None


def _adopt(address: PoolAddress) -> str:
    return (
        f"{_NOTHING} If this is meant, its owner says from which index on all are surely free: "
        f"parburn ledger adopt --ledger {address} --first-free N --why REASON"
    )


def translate(error: Exception, address: PoolAddress) -> LedgerUnusable:
    """Return what a failure of the pool means to an operator."""
    text = re.sub(r"\s+", " ", str(error)).strip().rstrip(".")
    if isinstance(error, psycopg.errors.DiskFull):
        return LedgerUnusable(
            f"The disk of the pool {address} is full.", hint=f"{_NOTHING} Make room on its server."
        )
    if isinstance(error, psycopg.errors.UniqueViolation) and "pg_namespace" in text:
        return LedgerUnusable(
            f"Another parburn is just making a pool at {address}.",
            hint="Wait until it has ended, then run this again: it goes on, or says what is there.",
        )
    if isinstance(error, psycopg.errors.InsufficientPrivilege):
        return LedgerUnusable(
            f"The pool {address} gives this role no right to that: {text}.",
            hint=f"{_NOTHING} Its owner gives the rights that docs/pool.md tells.",
        )
    if isinstance(error, psycopg.errors.LockNotAvailable | psycopg.errors.QueryCanceled):
        return LedgerUnusable(
            f"Another station held the pool {address} for too long.", hint=f"{_NOTHING} Try again."
        )
    if isinstance(error, psycopg.OperationalError):
        return LedgerUnusable(
            f"No connection to the pool {address}: {text}.",
            hint=f"{_NOTHING} What was begun goes on once the network and the server are back.",
        )
    return LedgerUnusable(f"The pool {address} failed: {text}.", hint=_NOTHING)
