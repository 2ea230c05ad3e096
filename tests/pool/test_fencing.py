"""Stations that were not heard for long: what others may take from them, and what they may still do."""

from __future__ import annotations

import time

import pytest

from parburn.errors import LedgerError, UnitHeld, UnitRefused
from parburn.ledger.base import Cause, State
from parburn.ledger.export import verify
from parburn.ledger.liveness import Process
from parburn.ledger.pool import store as pool_store
from parburn.ledger.run_ledger import RunLedger
from parburn.ledger_place import PoolAddress
from tests.ledger.ledgers import attempt, burn, chip, claim_of, claims_of, looking, opened, run


def far_away(pool: PoolAddress, ledger: RunLedger, *, heard_s_ago: int) -> None:
    """Make a run one of another machine, that was heard last so long ago."""
    process = str(Process("another-boot", "pid:[1]", 7, 7))
    with looking(pool) as sql:
        sql.execute(
            "UPDATE runs SET process = ?, heard = clock_timestamp() - make_interval(secs => ?) WHERE id = ?",
            (process, float(heard_s_ago), ledger.run),
        )


def test_a_claim_that_was_not_attempted_expires(pool: PoolAddress) -> None:
    async def work() -> None:
        async with opened(pool) as lost, opened(pool) as other:
            claim = await claim_of(lost, chip(1))
            await claim.planned("plan", {"CUSTOM_MAC": "02:00:00:00:00:01"})
            far_away(pool, lost, heard_s_ago=30)
            (held,) = await claims_of(other, [chip(1)])
            assert isinstance(held, UnitHeld)
            assert (await claim_of(other, chip(2))).index == 2
            far_away(pool, lost, heard_s_ago=61)
            mine = await claim_of(other, chip(3))
            assert mine.index == 1
            await burn(mine, values={"CUSTOM_MAC": "02:00:00:00:00:01"})
            with pytest.raises(UnitRefused, match="no longer counts"):
                await claim.burn_attempted(attempt())
            again = await claim_of(lost, chip(1))  # it is back, and goes on
            assert again.index == 3
            await burn(again, values={"CUSTOM_MAC": "02:00:00:00:00:03"})

    run(work())
    assert "verifies" in verify(pool)


def test_what_was_attempted_stays_with_its_chip_and_goes_on_where_that_is(pool: PoolAddress) -> None:
    async def work() -> None:
        async with opened(pool) as lost, opened(pool) as other:
            claim = await claim_of(lost, chip(1))
            await claim.planned("plan", {"CUSTOM_MAC": "02:00:00:00:00:01"})
            await claim.burn_attempted(attempt())
            await claim.step_done("KEY0", State.BURNED)
            far_away(pool, lost, heard_s_ago=3600)
            assert (await claim_of(other, chip(2))).index == 2  # never another chip's
            await claim.step_done("KEY0", State.VERIFIED)  # nobody has taken it up
            mine = await claim_of(other, chip(1))
            assert (mine.index, mine.state, mine.known) == (1, State.INCOMPLETE, True)
            assert mine.begun is not None
            assert mine.begun.cause is Cause.PROCESS_END
            for late in (claim.step_done("BLOCK0", State.BURNED), claim.passed("job"), claim.incomplete("?")):
                with pytest.raises(UnitRefused, match="no longer counts"):
                    await late
            await burn(mine, values={"CUSTOM_MAC": "02:00:00:00:00:01"})

    run(work())
    assert "verifies" in verify(pool)


def test_a_run_shows_that_it_is_alive(pool: PoolAddress, monkeypatch: pytest.MonkeyPatch) -> None:
    import asyncio

    monkeypatch.setattr(pool_store, "BEAT_S", 0.05)

    async def work() -> None:
        async with opened(pool) as ledger, opened(pool) as other:
            await claim_of(ledger, chip(1))
            far_away(pool, ledger, heard_s_ago=3600)
            await asyncio.sleep(0.5)
            (held,) = await claims_of(other, [chip(1)])
            assert isinstance(held, UnitHeld)

    run(work())


def test_a_run_that_is_never_idle_shows_that_it_is_alive(
    pool: PoolAddress, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_store, "BEAT_S", 0.2)

    async def work() -> None:
        async with opened(pool) as ledger, opened(pool) as other:
            await claim_of(ledger, chip(1))
            far_away(pool, ledger, heard_s_ago=3600)
            for _ in range(30):  # one work after the other, for longer than between two beats
                await ledger._writer.call(lambda _: time.sleep(0.02))
            (held,) = await claims_of(other, [chip(1)])
            assert isinstance(held, UnitHeld)

    run(work())


def test_a_run_of_this_machine_whose_process_is_gone_is_known_to_be(
    pool: PoolAddress,
) -> None:
    gone = str(Process.current()._replace(started=1))

    async def work() -> None:
        async with opened(pool) as dead, opened(pool) as other:
            await claim_of(dead, chip(1))
            with looking(pool) as sql:
                sql.execute("UPDATE runs SET process = ? WHERE id = ?", (gone, dead.run))
            outcome = (await claims_of(other, [chip(2)]))[0]
            assert not isinstance(outcome, LedgerError)
            assert outcome.index == 1

    run(work())
