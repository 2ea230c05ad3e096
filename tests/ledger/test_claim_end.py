"""A claim that ends while its run goes on: what a station does each time a board leaves its socket."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from typing import Any

import pytest

from parburn.errors import LedgerUnusable, UnitRefused
from parburn.ledger import run_ledger
from parburn.ledger.base import NO_USER_BITS, Cause, Claim, State
from parburn.ledger.export import export, verify
from parburn.ledger.run_records import run_records
from parburn.ledger.writer import Writer
from parburn.ledger_place import Place

from .ledgers import attempt, burn, chip, claim_of, claims_of, looking, opened, run

COLUMNS = ("id", "batch", "idx", "state", "run", "spent", "going_back", "reason", "claim", "cause", "went_on")


def row(path: Place, index_or_mac: int | str) -> dict[str, Any]:
    column = "idx" if isinstance(index_or_mac, int) else "mac"
    with looking(path) as connection:
        (found,) = connection.execute(
            f"SELECT {', '.join(COLUMNS)} FROM units WHERE {column} = ?", (index_or_mac,)
        )
        return dict(zip(COLUMNS, found, strict=True))


def events(path: Place) -> list[str]:
    with looking(path) as connection:
        return [event for (event,) in connection.execute("SELECT event FROM history ORDER BY seq")]


def test_a_board_that_comes_again_in_the_same_run_goes_on_with_its_index(path: Place) -> None:
    async def work() -> None:
        async with opened(path) as ledger:
            first = await claim_of(ledger, chip(1))
            await first.planned("plan", {})
            await first.burn_attempted(attempt())
            await first.step_done("KEY0", State.VERIFIED)
            with pytest.raises(UnitRefused, match="held by this run already"):
                await claim_of(ledger, chip(1))
            await first.end(cause=Cause.UNPLUGGED)
            assert first.state is State.INCOMPLETE
            second = await claim_of(ledger, chip(1))
            assert (second.index, second.known, second.state) == (first.index, True, State.INCOMPLETE)
            assert second.attempt is not None
            assert second.attempt.remaining == ("BLOCK0",)
            assert second.begun is not None
            assert second.begun.cause is Cause.UNPLUGGED
            await burn(second)
            await second.end()
            third = await claim_of(ledger, chip(1))
            assert third.state is State.PASS
            await third.already_passed()
            await third.end()
            assert third.state is State.PASS

    run(work())
    assert "verifies" in verify(path)


@pytest.mark.parametrize("planned", [False, True])
def test_an_index_that_was_not_attempted_is_free_at_once(path: Place, planned: bool) -> None:
    async def work() -> None:
        async with opened(path) as ledger:
            one = await claim_of(ledger, chip(1))
            if planned:
                await one.planned("plan", {"CUSTOM_MAC": "m"})
            await one.end()
            assert one.state is State.IDENTIFIED
            other = await claim_of(ledger, chip(2))
            assert other.index == one.index == 1
            await burn(other, values={"CUSTOM_MAC": "m"})  # the value went back, too
            again = await claim_of(ledger, chip(1))
            assert (again.index, again.known) == (2, False)

    run(work())
    assert "verifies" in verify(path)


@pytest.mark.parametrize("release", [False, True])
def test_a_failure_keeps_its_index_or_gives_it_back(path: Place, release: bool) -> None:
    async def work() -> None:
        async with opened(path) as ledger:
            one = await claim_of(ledger, chip(1))
            await one.failed_clean("the script", release=release)
            await one.end()
            assert one.state is State.FAILED_CLEAN
            assert (await claim_of(ledger, chip(2))).index == (1 if release else 2)

    run(work())
    assert row(path, chip(1).mac)["reason"] == "the script"
    assert "verifies" in verify(path)


@pytest.mark.parametrize("quarantined", [False, True])
def test_a_begun_unit_that_is_refused_before_its_script_is_left_as_it_was(
    path: Place, quarantined: bool
) -> None:
    before: dict[str, Any] = {}

    async def work() -> None:
        async with opened(path) as ledger:
            one = await claim_of(ledger, chip(1))
            await one.planned("plan", {})
            await one.burn_attempted(attempt())
            await one.incomplete("line lost", cause=Cause.LINE)
            await one.end()
        before.update(row(path, 1))
        async with opened(path) as ledger:
            one = await claim_of(ledger, chip(1))
            await one.end()
            assert one.state is State.INCOMPLETE

    run(work())
    after = row(path, 1)
    changes = {name for name in after if after[name] != before[name]}
    assert changes <= {"claim"}
    assert after["run"] is None
    assert "verifies" in verify(path)


def test_after_its_end_a_claim_can_do_nothing(path: Place) -> None:
    """Also where another claim of this run holds the chip."""
    works: list[Callable[[Claim], Any]] = [
        lambda c: c.planned("p", {}),
        lambda c: c.burn_attempted(attempt()),
        lambda c: c.passed("job"),
        lambda c: c.already_passed(),
        lambda c: c.failed_clean("why", release=True),
        lambda c: c.incomplete("why"),
        lambda c: c.quarantined("why"),
        lambda c: c.recognized(),
        lambda c: c.learned(NO_USER_BITS, {}),
        lambda c: c.goes_on(),
        lambda c: c.allowed_to_go_on("why"),
    ]

    async def work() -> None:
        async with opened(path) as ledger:
            one = await claim_of(ledger, chip(1))
            await one.planned("plan", {})
            await one.burn_attempted(attempt())
            await one.end()
            for holder in (None, await claim_of(ledger, chip(1))):
                for act in works:
                    with pytest.raises(UnitRefused, match="no longer counts"):
                        await act(one)
                with pytest.raises(UnitRefused):
                    await one.step_done("KEY0", State.VERIFIED)
                await one.end()
                assert holder is None or holder.state is State.INCOMPLETE
            second = await claims_of(ledger, [chip(1)])
            assert isinstance(second[0], UnitRefused)  # the end of the first did not end the second

    run(work())


def test_an_end_is_in_order_with_what_was_asked_before_it(path: Place) -> None:
    """A pass that is on its way is written; what comes after the end is not."""

    async def work() -> None:
        async with opened(path) as ledger:
            one = await claim_of(ledger, chip(1))
            await one.planned("plan", {})
            await one.burn_attempted(attempt())
            step = one.step_done("KEY0", State.VERIFIED)
            passed = asyncio.ensure_future(one.passed("job"))
            await asyncio.sleep(0)
            ended = asyncio.ensure_future(one.end())
            await asyncio.sleep(0)
            late = asyncio.ensure_future(one.quarantined("late"))
            await asyncio.gather(step, passed, ended)
            with pytest.raises(UnitRefused):
                await late
            assert one.state is State.PASS

    run(work())
    assert row(path, 1)["state"] == "pass"


def test_an_end_that_could_not_be_written_can_be_asked_again(
    path: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work() -> None:
        async with opened(path) as ledger:
            one = await claim_of(ledger, chip(1))
            with monkeypatch.context() as full:

                def fails(_self: Writer, _connection: sqlite3.Connection, _requests: Any) -> None:
                    raise sqlite3.OperationalError("database or disk is full")

                full.setattr(Writer, "_transact", fails)
                with pytest.raises(LedgerUnusable, match="full"):
                    await one.end()
            await one.end()
            assert one.state is State.IDENTIFIED

    run(work())


def test_the_end_of_the_run_still_ends_what_is_left(path: Place) -> None:
    async def work() -> None:
        async with opened(path) as ledger:
            one, two = await claim_of(ledger, chip(1)), await claim_of(ledger, chip(2))
            for claim in (one, two):
                await claim.planned("plan", {})
                await claim.burn_attempted(attempt())
            await one.end(cause=Cause.STOP)

    run(work())
    assert [row(path, n)["cause"] for n in (1, 2)] == ["stop", "process-end"]
    assert events(path).count("claim-ended") == 1
    assert events(path).count("run-ended") == 1
    assert "verifies" in verify(path)


def test_a_claim_that_ended_is_told_in_the_records_of_its_run(path: Place) -> None:
    async def work() -> None:
        async with opened(path) as ledger:
            one = await claim_of(ledger, chip(1))
            await one.planned("plan", {}, shown={"CUSTOM_MAC": "m"})
            await one.burn_attempted(attempt())
            await one.end()
            await (await claim_of(ledger, chip(2))).end()

    run(work())
    with looking(path) as connection:
        records = list(run_records(connection))
    assert [(one.result, one.reason) for one in records] == [
        ("incomplete", run_ledger.CLAIM_ENDED),
        ("failed", run_ledger.CLAIM_ENDED),
    ]
    assert '"event":"claim-ended"' in export(path)


def test_an_index_in_the_middle_that_goes_back_is_the_next_one(path: Place) -> None:
    """The search for a free index begins behind those that are held; one that goes back is found again."""

    async def work() -> None:
        async with opened(path) as ledger:
            kept = await claim_of(ledger, chip(500))
            for number in range(100):
                claim = await claim_of(ledger, chip(number))
                await burn(claim)
                await claim.end()
            with looking(path) as connection:
                assert connection.execute("SELECT full_to FROM batches").fetchone()[0] > 60
            await kept.end()
            assert (await claim_of(ledger, chip(501))).index == 1
            assert (await claim_of(ledger, chip(502))).index == 102

    run(work())


def test_a_claim_that_was_given_up_does_not_hold_its_chip_when_the_ledger_is_back(path: Place) -> None:
    async def work() -> None:
        async with opened(path) as ledger:
            go_on = threading.Event()
            slow = ledger._writer.call(lambda t: go_on.wait(30))
            await asyncio.sleep(0.05)  # the thread is at it
            ledger._writer.patience_s = 0.05
            with pytest.raises(LedgerUnusable, match="no answer"):
                await ledger.claim_all([chip(1)], first=1, last=None, job_digest="job")
            ledger._writer.patience_s = None
            go_on.set()
            await slow
            assert (await claim_of(ledger, chip(1))).index == 1

    run(work())
