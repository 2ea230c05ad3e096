"""Most tests of the ledger do not wait for the disk; those that ask for `real_disk` do.

None leaves a connection open, in the test or in the ledger: Python 3.13 warns of such a one.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from parburn.ledger import schema


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
