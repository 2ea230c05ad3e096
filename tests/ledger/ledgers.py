"""Short ways to ledgers, chips and claims for the tests of this folder. Runs one event loop per call."""

from __future__ import annotations

import asyncio
import hashlib
import sqlite3
from collections.abc import AsyncIterator, Collection, Coroutine, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar

import pytest

from parburn.errors import LedgerError
from parburn.ledger.base import Attempt, BatchSpec, Claim, RunNote, State, UnitIdentity
from parburn.ledger.batches import Override
from parburn.ledger.run_ledger import RunLedger, open_ledger
from parburn.ledger.sql import Sql
from parburn.ledger_place import Place, PoolAddress

T = TypeVar("T")

in_a_file = pytest.mark.parametrize("path", ["sqlite"], indirect=True)  # no pool was ever of that kind


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run with a deadline: a ledger that hangs fails its test."""

    async def limited() -> T:
        async with asyncio.timeout(60):
            return await work

    return asyncio.run(limited())


def chip(number: int, name: str = "chip") -> UnitIdentity:
    return UnitIdentity(name, f"aa:bb:cc:00:{number >> 8:02x}:{number & 255:02x}")


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def batch(
    records: Mapping[int, str] | None = None, *, name: str | None = None, config: str = ""
) -> BatchSpec:
    """A batch whose records are digested from `records`; spaces separate what several files say."""
    said = records or {}
    content = config or (repr(sorted(said.items())) if said else "")
    return BatchSpec(
        name=name,
        config_digest=digest(content) if content else "",
        entries=lambda index: " ".join(digest(word) for word in said.get(index, "").split()),
    )


@contextmanager
def looking(path: Place) -> Iterator[Any]:
    """The tables behind a ledger, past its rules: each statement is a change of its own."""
    if isinstance(path, PoolAddress):
        from parburn.ledger.pool.opening import opened as connected
        from parburn.ledger.pool.sql import PoolSql

        sql: Sql = PoolSql(connected(path))
    else:
        sql = sqlite3.connect(path, isolation_level=None)
    try:
        yield sql
    finally:
        sql.close()


def made(address: PoolAddress) -> None:
    """Make a pool where none is."""
    import psycopg  # here, as in `looking`: it is an extra

    from parburn.ledger.pool import schema as pool_schema
    from parburn.ledger.pool.sql import PoolSql

    sql = PoolSql(psycopg.connect(str(address)))
    try:
        sql.begin()
        pool_schema.make(sql, why="a test")
        sql.commit()
    except (LedgerError, psycopg.errors.UniqueViolation):  # there is one, or another process makes it
        sql.roll_back()
    finally:
        sql.close()


@asynccontextmanager
async def opened(
    path: Place | None,
    spec: BatchSpec | None = None,
    *,
    overrides: Collection[Override | str] = (),
    arming: str = "",
) -> AsyncIterator[RunLedger]:
    """A ledger that is made where none is."""
    note = RunNote(arming=arming)
    if isinstance(path, PoolAddress):
        await asyncio.to_thread(made, path)
    ledger = await open_ledger(path, spec or batch(), new_ledger=True, overrides=overrides, note=note)
    try:
        yield ledger
    finally:
        await ledger.aclose()


async def claims_of(
    ledger: RunLedger,
    chips: Sequence[UnitIdentity],
    *,
    first: int = 1,
    last: int | None = None,
    job: str = "job",
) -> list[Claim | LedgerError]:
    return await ledger.claim_all(chips, first=first, last=last, job_digest=job)


async def claim_of(ledger: RunLedger, one: UnitIdentity, **options: Any) -> Claim:
    (claim,) = await claims_of(ledger, [one], **options)
    if isinstance(claim, LedgerError):
        raise claim
    return claim


def attempt(plan: str = "plan", *, image: str = "{}", steps: tuple[str, ...] = ("KEY0", "BLOCK0")) -> Attempt:
    return Attempt(plan, image, steps)


async def burn(claim: Claim, *, plan: str = "plan", values: Mapping[str, str] | None = None) -> None:
    """From the claim to PASS."""
    await claim.planned(plan, values or {})
    await claim.burn_attempted(attempt(plan))
    await claim.step_done("KEY0", State.VERIFIED)
    await claim.step_done("BLOCK0", State.LOCKED)
    await claim.passed("job")


async def burn_on(path: Place, one: UnitIdentity, spec: BatchSpec | None = None, **values: str) -> int:
    """A whole run with one chip; its index."""
    async with opened(path, spec) as ledger:
        claim = await claim_of(ledger, one)
        await burn(claim, values=values)
        return claim.index


def make_version_8(connection: sqlite3.Connection) -> None:
    """Take from a ledger what version 9 added."""
    connection.execute("DROP INDEX history_of_none")
    connection.execute("DROP TABLE pass_armings")
    connection.execute("ALTER TABLE attempts DROP COLUMN arming")
    for column in ("claim", "cause", "went_on"):
        connection.execute(f"ALTER TABLE units DROP COLUMN {column}")
    connection.execute("PRAGMA user_version=8")
