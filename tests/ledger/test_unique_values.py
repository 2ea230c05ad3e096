"""A unique value is one chip's, within a run and for ever."""

from __future__ import annotations

import pytest

from parburn.errors import UniqueValueTaken
from parburn.ledger.base import State
from parburn.ledger_place import Place

from .ledgers import attempt, batch, burn, burn_on, chip, claim_of, opened, run


def test_a_burned_value_is_refused_to_others_in_any_batch(path: Place) -> None:
    async def work() -> None:
        await burn_on(path, chip(1), CUSTOM_MAC="02:00:00:00:00:01")
        for spec in (batch(), batch(name="other")):
            async with opened(path, spec) as ledger:
                claim = await claim_of(ledger, chip(2))
                with pytest.raises(UniqueValueTaken, match="belongs to the chip aa:bb:cc:00:00:01"):
                    await claim.planned("plan", {"CUSTOM_MAC": "02:00:00:00:00:01"})
                assert claim.state is State.CLAIMED
                await claim.planned("plan", {"CUSTOM_MAC": "02:00:00:00:00:02"})

    run(work())


def test_one_value_in_two_plans_of_a_run_refuses_both(path: Place) -> None:
    async def work() -> None:
        async with opened(path) as ledger:
            first, second = await claim_of(ledger, chip(1)), await claim_of(ledger, chip(2))
            await first.planned("plan", {"UNIQUE_ID": "77"})
            with pytest.raises(UniqueValueTaken, match="neither is burned"):
                await second.planned("plan", {"UNIQUE_ID": "77"})
            for claim in (first, second):
                with pytest.raises(UniqueValueTaken, match="neither is burned"):
                    await claim.burn_attempted(attempt())
                with pytest.raises(UniqueValueTaken):
                    await claim.passed("job")
                assert claim.state is State.PLANNED
                await claim.failed_clean("doubled", release=False)
        async with opened(path) as ledger:  # with mended files both can go on
            first, second = await claim_of(ledger, chip(1)), await claim_of(ledger, chip(2))
            await burn(first, values={"UNIQUE_ID": "77"})
            await burn(second, values={"UNIQUE_ID": "78"})

    run(work())


def test_a_chip_may_keep_its_own_value(path: Place) -> None:
    async def work() -> None:
        await burn_on(path, chip(1), CUSTOM_MAC="m")
        await burn_on(path, chip(1), CUSTOM_MAC="m")

    run(work())


def test_the_same_text_under_another_name_is_another_value(path: Place) -> None:
    async def work() -> None:
        await burn_on(path, chip(1), CUSTOM_MAC="m")
        await burn_on(path, chip(2), UNIQUE_ID="m")

    run(work())


def test_values_of_an_attempt_stay_taken_though_it_never_passed(path: Place) -> None:
    async def work() -> None:
        async with opened(path) as ledger:
            claim = await claim_of(ledger, chip(1))
            await claim.planned("plan", {"CUSTOM_MAC": "m"})
            await claim.burn_attempted(attempt())
            await claim.incomplete("unplugged")
        async with opened(path) as ledger:
            claim = await claim_of(ledger, chip(2))
            with pytest.raises(UniqueValueTaken):
                await claim.planned("plan", {"CUSTOM_MAC": "m"})

    run(work())


def test_values_of_a_clean_failure_are_free_again(path: Place) -> None:
    async def work() -> None:
        async with opened(path) as ledger:
            claim = await claim_of(ledger, chip(1))
            await claim.planned("plan", {"CUSTOM_MAC": "m"})
            await claim.failed_clean("not confirmed", release=False)
            await burn(await claim_of(ledger, chip(2)), values={"CUSTOM_MAC": "m"})

    run(work())


def test_values_planned_by_another_run_at_work_conflict_too(path: Place) -> None:
    async def work() -> None:
        async with opened(path) as one, opened(path, batch(name="other")) as other:
            first, second = await claim_of(one, chip(1)), await claim_of(other, chip(2))
            await first.planned("plan", {"CUSTOM_MAC": "m"})
            with pytest.raises(UniqueValueTaken):
                await second.planned("plan", {"CUSTOM_MAC": "m"})
            with pytest.raises(UniqueValueTaken):
                await first.burn_attempted(attempt())

    run(work())
