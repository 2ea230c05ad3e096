"""The server's process of a connection ends at each statement of a life; nothing is lost or doubled."""

from __future__ import annotations

import random
import sys

import pytest

from parburn.ledger.export import verify
from parburn.ledger.pool.sql import PoolSql
from parburn.ledger_place import PoolAddress
from tests.ledger.ledgers import burn, chip, claim_of, looking, opened, run

STATEMENTS = 200  # more than a unit's life has
ONE_OF = 4


class Breaks:
    """Ends the connection before or behind one statement, counted over a test."""

    def __init__(self, pool: PoolAddress, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = self.at = 0
        self.behind = False
        self.struck = False
        whole = PoolSql.execute

        def execute(sql: PoolSql, text: str, values: tuple[object, ...] = (), /) -> object:
            mine = self.at and threads_own(sql)
            self.count += bool(mine)
            if mine and self.count == self.at and not self.behind:
                self.strike(pool, sql)
            rows = whole(sql, text, values)
            if mine and self.count == self.at and self.behind:
                sql._sync()
                self.strike(pool, sql)
            return rows

        monkeypatch.setattr(PoolSql, "execute", execute)

    def strike(self, pool: PoolAddress, sql: PoolSql) -> None:
        self.struck = True
        pid = sql.raw.info.backend_pid
        at, self.at = self.at, 0  # the one who looks is not counted
        with looking(pool) as other:
            other.execute("SELECT pg_terminate_backend(CAST(? AS INTEGER), 5000)", (pid,)).fetchone()
        self.at = at


def threads_own(sql: PoolSql) -> bool:
    import threading

    return threading.current_thread().name == "parburn-ledger"


@pytest.fixture
def breaks(pool: PoolAddress, monkeypatch: pytest.MonkeyPatch) -> Breaks:
    return Breaks(pool, monkeypatch)


@pytest.mark.parametrize("behind", [False, True], ids=["before", "behind"])
def test_a_unit_passes_wherever_the_connection_breaks(
    pool: PoolAddress, breaks: Breaks, behind: bool
) -> None:
    """At statements of its life: each fourth, another one by chance; a new unit for each."""
    breaks.behind = behind
    part = random.randrange(ONE_OF)
    sys.stdout.write(f"from {part}")  # what a failure shows

    async def life(number: int) -> bool:
        async with opened(pool) as ledger:
            breaks.count, breaks.at, breaks.struck = 0, number, False
            claim = await claim_of(ledger, chip(number))
            await burn(claim, values={"CUSTOM_MAC": f"02:00:00:00:01:{number:02x}"})
            await claim.end()
        breaks.at = 0
        return breaks.struck

    async def work() -> int:
        for number in range(part + 1, STATEMENTS, ONE_OF):
            if not await life(number):
                return number
        raise AssertionError("a life has more statements than that")

    units = len(range(part + 1, run(work()) + 1, ONE_OF))
    with looking(pool) as sql:
        found = sql.execute("SELECT state, idx FROM units ORDER BY idx").fetchall()
        doubled = sql.execute(
            "SELECT unit, event, detail, count(*) FROM history WHERE unit IS NOT NULL AND event != 'step'"
            " GROUP BY unit, event, detail HAVING count(*) > 1"
        ).fetchall()
    assert found == [("pass", number + 1) for number in range(units)]
    assert doubled == []
    assert "verifies" in verify(pool)
