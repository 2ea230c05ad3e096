"""The writer's thread: grouped commits, refusals that harm nobody, failures of the disk, its end."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from parburn.errors import LedgerError, LedgerUnusable, UnitRefused
from parburn.ledger import writer as writer_module
from parburn.ledger.base import Claim, State
from parburn.ledger.writer import Transaction

from .ledgers import attempt, chip, claims_of, opened, run

BOARDS = 128


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite3"


def test_boards_do_not_queue_for_the_disk(path: Path, real_disk: None) -> None:
    async def work() -> None:
        async with opened(path) as ledger:
            claims = [
                claim
                for claim in await claims_of(ledger, [chip(n) for n in range(BOARDS)])
                if not isinstance(claim, LedgerError)
            ]
            assert len(claims) == BOARDS
            await asyncio.gather(*(c.planned("plan", {"CUSTOM_MAC": str(c.index)}) for c in claims))
            before = ledger.commits
            await asyncio.gather(*(c.burn_attempted(attempt()) for c in claims))
            assert ledger.commits - before <= 2
            assert {c.state for c in claims} == {State.BURN_ATTEMPTED}

    run(work())


def test_what_arrives_during_a_commit_is_in_the_next(path: Path) -> None:
    async def work() -> None:
        async with opened(path) as ledger:
            go_on = threading.Event()
            slow = ledger._writer.call(lambda t: go_on.wait(30))
            late = []
            for _turn in range(50):
                late.append(ledger._writer.call(lambda t: t.history.append("late")))
                await asyncio.sleep(0.001)  # each in a turn of its own
            before = ledger.commits
            go_on.set()
            await asyncio.gather(slow, *late)
            assert ledger.commits - before == 2

    run(work())


def test_cpu_of_a_board_is_small(path: Path) -> None:
    """The budget is 0.3 ms a board; three times that, so that a busy machine fails no build."""

    async def board(claim: Claim | LedgerError) -> None:
        assert not isinstance(claim, LedgerError)
        await claim.planned("plan", {"CUSTOM_MAC": str(id(claim))})
        await claim.burn_attempted(attempt(image="x" * 800))
        await claim.step_done("KEY0", State.VERIFIED)
        await claim.step_done("BLOCK0", State.LOCKED)
        await claim.passed("job")

    async def work() -> float:
        async with opened(path) as ledger:
            before = time.process_time()
            claims = await claims_of(ledger, [chip(n) for n in range(BOARDS)])
            await asyncio.gather(*(board(claim) for claim in claims))
            return (time.process_time() - before) / BOARDS

    assert run(work()) < 0.0009


def test_what_a_caller_awaited_is_on_disk(path: Path) -> None:
    async def work() -> None:
        async with opened(path) as ledger:
            (claim,) = await claims_of(ledger, [chip(1)])
            assert not isinstance(claim, LedgerError)
            await claim.planned("plan", {})
            await claim.burn_attempted(attempt())
            other = sqlite3.connect(path)
            try:
                assert other.execute("SELECT state, spent FROM units").fetchall() == [("burn-attempted", 1)]
            finally:
                other.close()
            await claim.incomplete("end of test")

    run(work())


def test_the_disk_is_synced_for_every_commit(path: Path, real_disk: None) -> None:
    async def work() -> None:
        async with opened(path) as ledger:
            (level,) = await ledger._writer.call(
                lambda t: t.connection.execute("PRAGMA synchronous").fetchone()
            )
            (mode,) = await ledger._writer.call(
                lambda t: t.connection.execute("PRAGMA journal_mode").fetchone()
            )
            assert (level, mode) == (2, "wal")

    run(work())


def test_a_refusal_in_a_group_harms_nobody(path: Path) -> None:
    def refuses(transaction: Transaction) -> None:
        raise UnitRefused("no")

    def writes_then_refuses(transaction: Transaction) -> None:
        transaction.history.append("half")
        raise UnitRefused("half done")

    def breaks(transaction: Transaction) -> None:
        transaction.connection.execute("INSERT INTO batches (name) VALUES ('half')")
        raise ZeroDivisionError

    def good(transaction: Transaction) -> int:
        transaction.history.append("good")
        return transaction.history.sequence

    async def work() -> None:
        async with opened(path) as ledger:
            call = ledger._writer.call
            works: list[Callable[[Transaction], int | None]] = []
            works += [good, refuses, good, writes_then_refuses, breaks, good]
            answers = await asyncio.gather(*map(call, works), return_exceptions=True)
            kinds = [type(answer) for answer in answers]
            assert kinds == [int, UnitRefused, int, UnitRefused, LedgerUnusable, int]
            stored = await call(
                lambda t: t.connection.execute(
                    "SELECT event, count(*) FROM history WHERE event IN ('good', 'half') GROUP BY event"
                ).fetchall()
            )
            assert stored == [("good", 3)]
            names = await call(lambda t: t.connection.execute("SELECT name FROM batches").fetchall())
            assert names == [("default",)]

    run(work())


def test_a_cancelled_caller_does_not_undo_its_entry(path: Path) -> None:
    async def work() -> None:
        async with opened(path) as ledger:
            (claim,) = await claims_of(ledger, [chip(1)])
            assert not isinstance(claim, LedgerError)
            await claim.planned("plan", {})
            task = asyncio.ensure_future(claim.burn_attempted(attempt()))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        async with opened(path) as ledger:
            (claim,) = await claims_of(ledger, [chip(1)])
            assert not isinstance(claim, LedgerError)
            assert claim.state is State.INCOMPLETE

    run(work())


def test_a_full_disk_is_said_before_the_burn(path: Path) -> None:
    async def work() -> None:
        async with opened(path) as ledger:
            (claim,) = await claims_of(ledger, [chip(1)])
            assert not isinstance(claim, LedgerError)
            await claim.planned("plan", {})
            call = ledger._writer.call
            pages = await call(lambda t: t.connection.execute("PRAGMA page_count").fetchone()[0])
            await call(lambda t: t.connection.execute(f"PRAGMA max_page_count = {pages}").fetchone())
            with pytest.raises(LedgerUnusable, match="is full") as refused:
                await claim.burn_attempted(attempt(image="x" * 200_000))
            assert "Make room" in refused.value.hint
            assert claim.state is State.PLANNED
            await call(lambda t: t.connection.execute("PRAGMA max_page_count = 1000000").fetchone())
            await claim.burn_attempted(attempt())  # there is room again
            await claim.incomplete("end of test")

    run(work())


def test_another_program_that_holds_the_ledger_is_waited_for_and_then_named(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work() -> None:
        async with opened(path) as ledger:
            await ledger._writer.call(lambda t: None)
        monkeypatch.setattr("parburn.ledger.schema.BUSY_TIMEOUT_S", 0.2)
        holder = sqlite3.connect(path, isolation_level=None)
        try:
            holder.execute("BEGIN IMMEDIATE")
            with pytest.raises(LedgerUnusable, match="Another program held the ledger"):
                async with opened(path):
                    pytest.fail("opened a ledger that was held")
            holder.execute("ROLLBACK")
        finally:
            holder.close()

    run(work())


def test_a_disk_that_hangs_is_given_up(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        async with opened(path) as ledger:
            monkeypatch.setattr(writer_module, "ANSWER_DEADLINE_S", 0.05)
            go_on = threading.Event()
            try:
                with pytest.raises(LedgerUnusable, match="gave no answer"):
                    await ledger._writer.call(lambda t: go_on.wait(30))
                with pytest.raises(LedgerUnusable, match="did not close"):
                    await ledger._writer.aclose()
            finally:
                go_on.set()
            monkeypatch.undo()
            await ledger._writer.aclose()

    with pytest.raises(LedgerUnusable, match="closed"):
        run(work())


def test_the_thread_ends_with_the_ledger(path: Path) -> None:
    async def work() -> None:
        async with opened(path):
            assert any(thread.name == "parburn-ledger" for thread in threading.enumerate())

    run(work())
    assert not any(thread.name == "parburn-ledger" for thread in threading.enumerate())


def test_a_thread_that_broke_refuses_at_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(*_args: object, **_more: object) -> None:
        raise ZeroDivisionError("a defect")

    async def work() -> None:
        async with opened(path) as ledger:
            monkeypatch.setattr(ledger._store, "after_commit", breaks)
            await ledger._writer.call(lambda t: None)
            late = [ledger._writer.call(lambda t: None) for _ in range(3)]
            await asyncio.gather(*late, return_exceptions=True)
            with pytest.raises(LedgerUnusable, match="is closed"):
                await ledger._writer.call(lambda t: None)

    with pytest.raises((LedgerUnusable, ZeroDivisionError)):
        run(work())
