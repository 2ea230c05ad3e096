"""A station that stalls holds the others for 5 s at most, and finds out that it is behind."""

from __future__ import annotations

import asyncio
import time

import pytest

from parburn.ledger.export import verify
from parburn.ledger.writer import Transaction
from parburn.ledger_place import PoolAddress
from tests.ledger.ledgers import burn, chip, claim_of, opened, run


@pytest.mark.parametrize("asks", [False, True], ids=["ends", "asks"])
def test_a_station_that_stalls_in_a_transaction_holds_nobody_for_long(pool: PoolAddress, asks: bool) -> None:
    """It finds out where it ends its transaction, or where it asks for more in it."""

    async def work() -> float:
        async with opened(pool) as stalled, opened(pool) as other:
            held, tries = asyncio.Event(), list[int]()
            loop = asyncio.get_running_loop()

            def stalls(transaction: Transaction) -> None:
                tries.append(1)
                loop.call_soon_threadsafe(held.set)
                if len(tries) == 1:
                    time.sleep(7)
                if asks:
                    transaction.connection.execute("SELECT 1").fetchone()

            stall = stalled._writer.call(stalls)
            await held.wait()
            began = time.monotonic()
            claim = await claim_of(other, chip(1))
            took = time.monotonic() - began
            await burn(claim, values={"CUSTOM_MAC": "02:00:00:00:00:01"})
            await stall  # its transaction was thrown out, and done again
            await burn(await claim_of(stalled, chip(2)), values={"CUSTOM_MAC": "02:00:00:00:00:02"})
            return took

    assert 2 < run(work()) < 5
    assert "verifies" in verify(pool)
