"""What the history tells of one unit: what it is, since when, and what was burned into it."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from parburn.errors import LedgerError
from parburn.ledger import schema
from parburn.ledger.base import BatchSpec, Claim, RunNote, State
from parburn.ledger.export import verify
from parburn.ledger.run_ledger import open_ledger
from parburn.ledger.run_records import run_records
from parburn.ledger.unit_life import condition, life_of, total_state
from parburn.ledger_place import Place, PoolAddress
from tests.ledger.ledgers import (
    attempt,
    batch,
    burn,
    chip,
    claim_of,
    claims_of,
    in_a_file,
    looking,
    made,
    make_version_8,
    opened,
    run,
)

SHOWN = {"CUSTOM_MAC": "02:00:00:00:00:01", "DIS_PAD_JTAG": "1"}


async def half(claim: Claim, shown: dict[str, str]) -> None:
    await claim.planned("plan", {}, shown=shown)
    await claim.burn_attempted(attempt())
    await claim.incomplete("cut off")


def seen(path: Place, spec: BatchSpec | None = None) -> Claim:
    """The claim of chip 1 in a run that does nothing with it."""

    async def work() -> Claim:
        async with opened(path, spec) as ledger:
            return await claim_of(ledger, chip(1))

    return run(work())


def history(path: Place, event: str) -> list[str]:
    with looking(path) as connection:
        return [
            at
            for (at,) in connection.execute("SELECT at FROM history WHERE event = ? ORDER BY seq", (event,))
        ]


def in_run(path: Place, *works: Any) -> None:
    """A run for each of these works on chip 1's claim, a few milliseconds apart."""

    async def work(one: Any) -> None:
        async with opened(path) as ledger:
            await one(await claim_of(ledger, chip(1)))

    for one in works:
        run(work(one))
        time.sleep(0.003)


@pytest.mark.parametrize("state", State)
def test_each_state_has_its_words(state: State) -> None:
    words = total_state(state, "2026-11-29T06:40:12.345+00:00")
    if condition(state) == "never burned":
        assert words == "never burned"
    else:
        assert words == f"{condition(state)} since 2026-11-29 06:40"
    assert total_state(state, "") == condition(state)


def test_whole_since_it_passed_whatever_came_later(path: Place) -> None:
    async def whole(claim: Claim) -> None:
        await claim.planned("plan", {"CUSTOM_MAC": SHOWN["CUSTOM_MAC"]}, shown=SHOWN)
        await claim.burn_attempted(attempt())
        await claim.step_done("BLOCK0", State.LOCKED)
        await claim.passed("job")

    async def fails(claim: Claim) -> None:
        await claim.planned("other", {}, shown={"NEVER": "burned"})
        await claim.failed_clean("no", release=False)

    in_run(path, whole, fails, fails)
    claim = seen(path)
    assert (claim.state, claim.state_before) == (State.PASS, State.PASS)
    assert claim.since == history(path, "passed")[0]
    assert claim.burned_values == SHOWN
    assert claim.unique_values == {"CUSTOM_MAC": SHOWN["CUSTOM_MAC"]}
    assert "verifies" in verify(path)


def test_what_an_interrupted_run_planned_was_not_burned(path: Place) -> None:
    """It waited for a turn when the power failed; a later job finds all of its own there."""

    async def whole(claim: Claim) -> None:
        await claim.planned("plan", {}, shown={"A": "1"})
        await claim.burn_attempted(attempt())
        await claim.step_done("BLOCK0", State.LOCKED)
        await claim.passed("job")

    async def interrupted(claim: Claim) -> None:
        await claim.planned("other", {"X": "5"}, shown={"X": "5"})

    async def stages_nothing(claim: Claim) -> None:
        await claim.passed("third job")

    in_run(path, whole, interrupted, stages_nothing)
    assert seen(path).burned_values == {"A": "1"}
    with looking(path) as connection:
        found = [(one.result, one.values) for one in run_records(connection)]
    assert [values for _, values in found] == [{"A": "1"}] * 4
    assert [result for result, _ in found] == ["pass", "failed", "already-pass", "failed"]
    assert "verifies" in verify(path)


def test_half_burned_since_it_was_begun_and_whole_since_it_ended(path: Place) -> None:
    in_run(path, lambda claim: half(claim, SHOWN), lambda claim: half(claim, {"SERIAL": "7"}))
    claim = seen(path)
    assert condition(claim.state) == "half burned"
    assert claim.since == history(path, "burn-attempted")[0]
    assert claim.burned_values == {**SHOWN, "SERIAL": "7"}
    in_run(path, burn)
    assert seen(path).since == history(path, "passed")[0]


def test_a_chip_that_was_never_burned_has_nothing(path: Place) -> None:
    async def refused(claim: Claim) -> None:
        await claim.planned("plan", {}, shown=SHOWN)
        await claim.failed_clean("not confirmed", release=False)

    in_run(path, refused)
    claim = seen(path)
    assert (claim.since, claim.burned_values, condition(claim.state)) == ("", {}, "never burned")


def test_a_chip_that_gets_no_claim_is_told_all_the_same(path: Place) -> None:
    in_run(path, lambda claim: half(claim, SHOWN))

    async def elsewhere() -> LedgerError | Claim:
        async with opened(path, batch({1: "b"}, name="other")) as ledger:
            (outcome,) = await claims_of(ledger, [chip(1)])
            return outcome

    refused = run(elsewhere())
    assert isinstance(refused, LedgerError)
    assert (
        refused.total_state
        == f"half burned since {history(path, 'burn-attempted')[0][:16].replace('T', ' ')}"
    )


def test_the_history_says_where_and_by_whom_a_run_was_made(path: Place) -> None:
    async def work() -> int | None:
        note = RunNote("bench 2", "Ana", {"scripts": {"s.py": "ab"}})
        if isinstance(path, PoolAddress):
            await asyncio.to_thread(made, path)
        ledger = await open_ledger(path, batch(), new_ledger=True, note=note)
        assert (ledger.place, len(ledger.uuid)) == (str(path), 32)
        await ledger.aclose()
        return ledger.run

    number = run(work())
    with looking(path) as connection:
        row = connection.execute("SELECT id, station, operator FROM runs").fetchone()
        (detail,) = connection.execute("SELECT detail FROM history WHERE event = 'run'").fetchone()
    assert row == (number, "bench 2", "Ana")
    assert '"station":"bench 2"' in detail
    assert '"files":{"scripts":{"s.py":"ab"}}' in detail


def test_a_ledger_that_is_thrown_away_has_no_number() -> None:
    async def work() -> tuple[int | None, str, str]:
        ledger = await open_ledger(None, batch(), throw_away=True)
        await ledger.aclose()
        return ledger.run, ledger.place, ledger.uuid

    assert run(work()) == (None, "", "")


@in_a_file
def test_a_ledger_of_before_tells_the_lives_of_its_units(
    path: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has the history, and is migrated when it is opened."""
    in_run(path, burn)
    with looking(path) as connection:
        make_version_8(connection)
        connection.execute("DROP INDEX history_unit")
        for column in ("station", "operator"):
            connection.execute(f"ALTER TABLE runs DROP COLUMN {column}")
        connection.execute("PRAGMA user_version=7")
    assert "verifies" in verify(path)  # looking changes nothing
    claim = seen(path)
    assert claim.since == history(path, "passed")[0]
    with looking(path) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (schema.VERSION,)
        assert connection.execute("SELECT station, operator FROM runs").fetchall() == [("", "")] * 2


@in_a_file
def test_a_life_is_told_in_a_few_seeks(path: Place) -> None:
    in_run(path, burn)
    with looking(path) as connection:
        said: list[str] = []
        connection.set_trace_callback(said.append)
        life_of(connection, 1, State.PASS)
        connection.set_trace_callback(None)
        plans = [row[3] for one in said for row in connection.execute(f"EXPLAIN QUERY PLAN {one}").fetchall()]
    assert len(said) == 3
    assert not [plan for plan in plans if plan.startswith("SCAN")], plans
    assert sum("history_unit" in plan for plan in plans) == 2
