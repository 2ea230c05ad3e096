"""Most tests of the ledger do not wait for the disk; those that ask for `real_disk` do.

None leaves a connection open, in the test or in the ledger: Python 3.13 warns of such a one.
"""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from parburn.ledger import schema
from parburn.ledger_place import Place, PoolAddress
from tests.pool import server as pool_server


@pytest.fixture(scope="session")
def pool() -> Iterator[pool_server.Server]:
    """A server of PostgreSQL, for all tests of this process that ask."""
    if why := pool_server.why_not():
        pytest.skip(why)
    with pool_server.server() as one:
        yield one


@pytest.fixture(params=["sqlite", "postgresql"])
def path(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """Where a ledger may be made: in a file, and in a database of its own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    if request.param == "sqlite":
        return tmp_path / "ledger.sqlite3"
    return PoolAddress(request.getfixturevalue("pool").new_database())


# What a work may ask that does not take the pool's row: it sees its own unit, whatever others write.
OF_ONE_UNIT = re.compile(
    r"BEGIN$|COMMIT$|ROLLBACK$|INSERT INTO (history|attempt_steps) "
    r"|SELECT [a-z, ]+ FROM units WHERE id = \? FOR UPDATE$|UPDATE units SET .* WHERE id = \?$"
    r"|SELECT number, hash FROM history WHERE chain = \? ORDER BY number DESC LIMIT 1$"
)


@pytest.fixture(autouse=True)
def _alone_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail where a work that says it looks at no other unit asks for more."""
    if pool_server.why_not():
        return
    from parburn.ledger.pool.sql import PoolSql
    from parburn.ledger.pool.store import PoolStore

    begin, execute = PoolStore.begin, PoolSql.execute
    alone: set[PoolSql] = set()

    def begun(self: PoolStore, connection: Any, *, at: str, run: int | None, alone_: bool) -> Any:
        alone.discard(connection)
        history = begin(self, connection, at=at, run=run, alone=alone_)
        if self._pool is None:
            alone.add(connection)
        return history

    def executed(self: PoolSql, text: str, values: Any = (), /) -> Any:
        if self in alone:
            assert OF_ONE_UNIT.match(text), text
        return execute(self, text, values)

    monkeypatch.setattr(
        PoolStore,
        "begin",
        lambda self, connection, *, at, run, alone: begun(self, connection, at=at, run=run, alone_=alone),
    )
    monkeypatch.setattr(PoolSql, "execute", executed)


@pytest.fixture
def real_disk() -> None:
    """Sync the disk as in earnest."""


@pytest.fixture(autouse=True)
def _quick_disk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "real_disk" not in request.fixturenames:
        monkeypatch.setattr(os, "fsync", lambda _descriptor: None)
        monkeypatch.setattr(schema, "connect", partial(schema.connect, durable=False))


@pytest.fixture(autouse=True)
def _all_closed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fail a test after which a connection is open."""
    opened: list[int] = []
    connect = sqlite3.connect

    class Counted(sqlite3.Connection):
        def close(self) -> None:
            if id(self) in opened:
                opened.remove(id(self))
            super().close()

    def counted(*args: Any, **kwargs: Any) -> sqlite3.Connection:
        connection = connect(*args, factory=Counted, **kwargs)
        opened.append(id(connection))
        kept.append(connection)  # so that no other one gets its id
        return connection

    kept: list[sqlite3.Connection] = []
    monkeypatch.setattr(sqlite3, "connect", counted)
    yield
    assert not opened, f"{len(opened)} connections of {len(kept)} were left open"
