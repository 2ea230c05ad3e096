"""A server for the tests of this folder, and a pool of its own for each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from parburn.ledger_place import PoolAddress
from tests.ledger.ledgers import made
from tests.pool import server as pool_server
from tests.pool.proxy import Proxy, proxy


@pytest.fixture(scope="session")
def server() -> Iterator[pool_server.Server]:
    """A server of PostgreSQL that the tests of this process share."""
    if why := pool_server.why_not():
        pytest.skip(why)
    with pool_server.server() as one:
        yield one


@pytest.fixture
def network(server: pool_server.Server) -> Iterator[Proxy]:
    """A network between stations and the server."""
    with proxy(server.port) as one:
        yield one


@pytest.fixture
def pool(server: pool_server.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PoolAddress:
    """A new pool. This station's memory of pools is the test's own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    address = PoolAddress(server.new_database())
    made(address)
    return address
