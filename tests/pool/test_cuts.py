"""The network breaks at each packet of a unit's life, in either direction; the unit passes, once."""

from __future__ import annotations

import random
import sys

import pytest

from parburn.ledger.export import verify
from parburn.ledger_place import PoolAddress
from tests.ledger.ledgers import burn, chip, claim_of, looking, opened, run
from tests.pool.proxy import Proxy, through

PACKETS = 400  # more than a life has
ONE_OF = 3


@pytest.mark.parametrize("behind", [False, True], ids=["lost", "arrived"])
def test_a_unit_passes_wherever_the_network_breaks(pool: PoolAddress, network: Proxy, behind: bool) -> None:
    """At packets of its life: each third, another one by chance; a new unit for each."""
    part = random.randrange(ONE_OF)
    sys.stdout.write(f"from {part}")  # what a failure shows
    address = through(network, pool)
    network.behind = behind

    async def life(number: int) -> bool:
        async with opened(address) as ledger:
            network.packets, network.cut_at, network.cuts = 0, number, 0
            claim = await claim_of(ledger, chip(number))
            await burn(claim, values={"CUSTOM_MAC": f"02:00:00:00:01:{number:02x}"})
            await claim.end()
        network.cut_at = 0
        return bool(network.cuts)

    async def work() -> int:
        for number in range(part + 1, PACKETS, ONE_OF):
            if not await life(number):
                return number
        raise AssertionError("a life has more packets than that")

    units = len(range(part + 1, run(work()) + 1, ONE_OF))
    with looking(pool) as sql:
        found = sql.execute("SELECT state, idx FROM units ORDER BY idx").fetchall()
        doubled = sql.execute(
            "SELECT unit, event, detail, count(*) FROM history WHERE unit IS NOT NULL"
            " GROUP BY unit, event, detail HAVING count(*) > 1"
        ).fetchall()
    assert found == [("pass", number + 1) for number in range(units)]
    assert doubled == []
    assert "verifies" in verify(pool)
