"""Who gets which index, what keeps it, what gives it back; resume; refusals of units."""

from __future__ import annotations

import asyncio
from pathlib import Path

import anyio
import pytest
from anyio import to_thread

from parburn.errors import (
    LedgerError,
    LedgerUnusable,
    OutOfIndexes,
    UnitHeld,
    UnitQuarantined,
    UnitRefused,
)
from parburn.ledger.base import Attempt, Claim, State, UnitIdentity
from parburn.ledger.export import show, verify
from parburn.ledger.run_ledger import RunLedger, open_ledger
from parburn.ledger_place import Place, PoolAddress

from .ledgers import attempt, batch, burn, burn_on, chip, claim_of, claims_of, looking, made, opened, run


def indexes(claims: list[Claim | LedgerError]) -> list[int | str]:
    return [type(c).__name__ if isinstance(c, LedgerError) else c.index for c in claims]


def test_indexes_follow_the_order_of_the_barrier(path: Place) -> None:
    async def work() -> None:
        async with opened(path) as ledger:
            claims = await claims_of(ledger, [chip(30), chip(10), chip(20)], first=5)
            assert indexes(claims) == [5, 6, 7]
            assert [c.known for c in claims if not isinstance(c, LedgerError)] == [False] * 3

    run(work())


def test_a_known_chip_keeps_its_index_and_others_fill_the_gaps(path: Place) -> None:
    async def work() -> None:
        async with opened(path) as ledger:
            first, second = await claims_of(ledger, [chip(1), chip(2)])
            assert not isinstance(first, LedgerError)
            assert not isinstance(second, LedgerError)
            await first.failed_clean("script", release=True)
            await burn(second)
        async with opened(path) as ledger:
            claims = await claims_of(ledger, [chip(3), chip(2), chip(4)])
            assert indexes(claims) == [1, 2, 3]
            assert [c.known for c in claims if not isinstance(c, LedgerError)] == [False, True, False]

    run(work())


def test_a_known_chip_keeps_its_index_outside_the_asked_range(path: Place) -> None:
    async def work() -> None:
        assert await burn_on(path, chip(1)) == 1
        async with opened(path) as ledger:
            assert indexes(await claims_of(ledger, [chip(1), chip(2)], first=10, last=12)) == [1, 10]

    run(work())


def test_out_of_indexes(path: Place) -> None:
    async def work() -> None:
        async with opened(path) as ledger:
            claims = await claims_of(ledger, [chip(n) for n in range(4)], first=2, last=3)
            assert indexes(claims) == [2, 3, "OutOfIndexes", "OutOfIndexes"]
            assert isinstance(claims[3], OutOfIndexes)
            assert claims[3].hint

    run(work())


def test_a_released_index_stays_with_its_chip_until_the_run_ends(path: Place) -> None:
    async def work() -> None:
        async with opened(path) as ledger:
            claim = await claim_of(ledger, chip(1))
            await claim.failed_clean("the script raised", release=True)
            assert (await claim_of(ledger, chip(2))).index == 2
        async with opened(path) as ledger:
            assert (await claim_of(ledger, chip(3))).index == 1

    run(work())


def test_an_index_that_is_not_released_stays_with_its_chip(path: Place) -> None:
    async def work() -> None:
        async with opened(path) as ledger:
            claim = await claim_of(ledger, chip(1))
            await claim.planned("plan", {})
            await claim.failed_clean("not confirmed", release=False)
            assert claim.state is State.FAILED_CLEAN
        async with opened(path) as ledger:
            assert indexes(await claims_of(ledger, [chip(2), chip(1)])) == [2, 1]

    run(work())


def test_a_script_that_asks_for_nothing_gives_its_index_back(path: Place) -> None:
    async def work() -> None:
        async with opened(path) as ledger:
            claim = await claim_of(ledger, chip(1))
            await claim.passed("job")
            assert claim.state is State.IDENTIFIED
        async with opened(path) as ledger:
            assert indexes(await claims_of(ledger, [chip(2), chip(1)])) == [1, 2]

    run(work())


def test_an_empty_plan_because_all_is_there_binds_the_index(path: Place) -> None:
    async def work() -> None:
        async with opened(path) as ledger:
            claim = await claim_of(ledger, chip(1))
            await claim.planned("plan", {"CUSTOM_MAC": "m"})
            await claim.passed("job")
        async with opened(path) as ledger:
            first, second = await claims_of(ledger, [chip(2), chip(1)])
            assert indexes([first, second]) == [2, 1]
            assert not isinstance(second, LedgerError)
            assert second.passed_jobs == {"job"}

    run(work())


def test_attempted_is_spent_even_when_the_run_says_failed_clean_later(path: Place) -> None:
    async def work() -> None:
        async with opened(path) as ledger:
            claim = await claim_of(ledger, chip(1))
            await claim.planned("plan", {})
            await claim.burn_attempted(attempt())
            with pytest.raises(LedgerError, match="cannot have failed clean"):
                await claim.failed_clean("no", release=True)
        async with opened(path) as ledger:
            first, second = await claims_of(ledger, [chip(2), chip(1)])
            assert indexes([first, second]) == [2, 1]
            assert not isinstance(second, LedgerError)
            assert second.state is State.INCOMPLETE
            await second.failed_clean("the line", release=True)  # of this run: changes nothing
            assert second.state is State.INCOMPLETE
        async with opened(path) as ledger:
            assert (await claim_of(ledger, chip(1))).index == 1

    run(work())


def test_resume_gives_the_first_image_and_what_was_done(path: Place) -> None:
    async def work() -> None:
        async with opened(path) as ledger:
            claim = await claim_of(ledger, chip(1))
            assert claim.attempt is None
            await claim.planned("p1", {})
            await claim.burn_attempted(Attempt("p1", "image one", ("KEY0",)))
            await claim.step_done("KEY0", State.BURNED)
            await claim.step_done("KEY0", State.VERIFIED)
            await claim.planned("p2", {})
            assert claim.state is State.VERIFIED
            await claim.burn_attempted(Attempt("p2", "image two", ("KEY1", "LOCK")))
            await claim.step_done("KEY1", State.VERIFIED)
            await claim.incomplete("unplugged")
        for _again in range(2):
            async with opened(path) as ledger:
                claim = await claim_of(ledger, chip(1))
                assert (claim.known, claim.state) == (True, State.INCOMPLETE)
                assert claim.attempt is not None
                assert claim.attempt.image_before == "image one"
                assert [a.plan_digest for a in claim.attempts] == ["p1", "p2"]
                assert [a.remaining for a in claim.attempts] == [(), ("LOCK",)]
                await claim.planned("p2", {})
                assert claim.state is State.INCOMPLETE
                await claim.burn_attempted(Attempt("p2", "image that moved on", ("KEY1", "LOCK")))
        async with opened(path) as ledger:
            claim = await claim_of(ledger, chip(1))
            assert [a.image_before for a in claim.attempts] == ["image one", "image two"]
            await claim.burn_attempted(Attempt("p2", "", ("KEY1", "LOCK")))
            await claim.step_done("LOCK", State.LOCKED)
            await claim.passed("job")
        async with opened(path) as ledger:
            claim = await claim_of(ledger, chip(1))
            assert (claim.state, claim.attempts) == (State.PASS, ())
            assert claim.passed_jobs == {"job"}

    run(work())


def test_another_job_on_a_passed_unit(path: Place) -> None:
    async def work() -> None:
        await burn_on(path, chip(1))
        async with opened(path) as ledger:
            claim = await claim_of(ledger, chip(1))
            await claim.planned("keys", {})
            assert claim.state is State.PASS
            await claim.failed_clean("not confirmed", release=True)
            assert claim.state is State.PASS
        async with opened(path) as ledger:
            claim = await claim_of(ledger, chip(1))
            await claim.planned("keys", {})
            await claim.burn_attempted(attempt("keys"))
            await claim.step_done("KEY0", State.VERIFIED)
            await claim.passed("second job")
        async with opened(path) as ledger:
            claim = await claim_of(ledger, chip(1))
            assert claim.index == 1
            assert claim.passed_jobs == {"job", "second job"}

    run(work())


def test_what_a_passed_job_has_read_is_kept_and_verified(path: Place) -> None:
    read = (("/a/key.bin", "aa"), ("/b/nested.py", ""))

    async def passed(job: str, inputs: tuple[tuple[str, str], ...]) -> Claim:
        async with opened(path) as ledger:
            claim = await claim_of(ledger, chip(1))
            await claim.planned(job, {})
            await claim.passed(job, inputs=inputs)
        async with opened(path) as ledger:
            return await claim_of(ledger, chip(1))

    async def work() -> None:
        claim = await passed("job", read)
        assert (claim.passed_inputs("job"), claim.passed_inputs("other job")) == (read, ())
        claim = await passed("other job", read[:1])
        assert (claim.passed_inputs("job"), claim.passed_inputs("other job")) == (read, read[:1])
        claim = await passed("job", read[1:])  # passed once more, with other files
        assert claim.passed_inputs("job") == read[1:]
        claim = await passed("job", ())
        assert (claim.passed_inputs("job"), claim.passed_inputs("other job")) == ((), read[:1])

    run(work())
    assert "verifies" in verify(path)
    with looking(path) as connection:
        connection.execute("UPDATE pass_inputs SET digest = 'bb'")
    with pytest.raises(LedgerUnusable, match="what its passed jobs read"):
        verify(path)


def test_a_quarantined_unit_is_refused(path: Place) -> None:
    async def work() -> None:
        async with opened(path) as ledger:
            claim = await claim_of(ledger, chip(1))
            await claim.planned("plan", {})
            await claim.burn_attempted(attempt())
            await claim.quarantined("one bit too many in KEY0")
            with pytest.raises(LedgerError, match="cannot become"):
                await claim.passed("job")
        async with opened(path) as ledger:
            with pytest.raises(UnitQuarantined, match="index 1, is quarantined: one bit too many") as refused:
                await claim_of(ledger, chip(1))
            assert "ledger release aa:bb:cc:00:00:01" in refused.value.hint
        async with opened(path, batch(name="other")) as ledger:
            with pytest.raises(UnitQuarantined, match="of the batch default"):
                await claim_of(ledger, chip(1))

    run(work())


def test_a_unit_that_another_chip_put_out_comes_back_only_by_what_it_holds(path: Place) -> None:
    async def put_out(reason: str, *, image: str) -> None:
        async with opened(path) as ledger:
            claim = await claim_of(ledger, chip(1))
            await claim.planned("plan", {})
            await claim.burn_attempted(attempt())
            await claim.step_done("KEY0", State.VERIFIED)
            await claim.step_done("BLOCK0", State.LOCKED)
            await claim.passed("job", image)
        async with opened(path) as ledger:
            await (await claim_of(ledger, chip(1))).quarantined(reason)

    async def come_back() -> None:
        async with opened(path) as ledger:
            claim = await claim_of(ledger, chip(1))  # nothing is said of it yet
            assert (claim.state, claim.put_out_by) == (State.QUARANTINED, "it lacks bits")
        async with opened(path) as ledger:
            claim = await claim_of(ledger, chip(1))  # that run decided nothing
            with pytest.raises(LedgerError):
                await claim.burn_attempted(attempt())
            await claim.recognized()
            assert (claim.state, claim.put_out_by) == (State.PASS, "")
        async with opened(path) as ledger:
            claim = await claim_of(ledger, chip(1))
            assert claim.put_out_by == ""
            with pytest.raises(LedgerError):
                await claim.recognized()
            await claim.planned("more", {})
            await claim.burn_attempted(attempt("more"))
            await claim.quarantined("one bit too many")  # seen in a burn: of this chip
        async with opened(path) as ledger:
            with pytest.raises(UnitQuarantined, match="one bit too many"):
                await claim_of(ledger, chip(1))

    run(put_out("it lacks bits", image='{"blocks":{"3":"5"}}'))
    run(come_back())
    assert "verifies" in verify(path)


def test_a_unit_of_which_nothing_is_known_stays_put_out(path: Place) -> None:
    async def work() -> None:
        async with opened(path) as ledger:
            await burn(await claim_of(ledger, chip(1)))  # without an image
        async with opened(path) as ledger:
            await (await claim_of(ledger, chip(1))).quarantined("it lacks bits")
        async with opened(path) as ledger:
            with pytest.raises(UnitQuarantined, match="is quarantined: it lacks bits"):
                await claim_of(ledger, chip(1))

    run(work())


def test_a_unit_begun_in_another_batch_is_continued_there_only(path: Place) -> None:
    async def work() -> None:
        async with opened(path, batch(name="A")) as ledger:
            claim = await claim_of(ledger, chip(1))
            await claim.planned("plan", {})
            await claim.burn_attempted(attempt())
            await claim.incomplete("unplugged")
        async with opened(path, batch(name="B")) as ledger:
            with pytest.raises(UnitRefused, match="begun as index 1 of the batch A") as refused:
                await claim_of(ledger, chip(1))
            assert "--batch A" in refused.value.hint

    run(work())


def test_one_identity_twice_at_the_barrier_is_refused_twice(path: Place) -> None:
    async def work() -> None:
        async with opened(path) as ledger:
            claims = await claims_of(ledger, [chip(1), chip(2), chip(1)])
            assert indexes(claims) == ["UnitRefused", 1, "UnitRefused"]

    run(work())


def test_same_mac_of_other_chip_kind_or_unique_id_is_another_unit(path: Place) -> None:
    async def work() -> None:
        mac = chip(1).mac
        several = [UnitIdentity("a", mac), UnitIdentity("b", mac), UnitIdentity("b", mac, "00ff")]
        async with opened(path) as ledger:
            assert indexes(await claims_of(ledger, several)) == [1, 2, 3]

    run(work())


def test_a_chip_held_by_a_living_run_is_refused(path: Place) -> None:
    async def work() -> None:
        async with opened(path) as one, opened(path) as other:
            await claim_of(one, chip(1))
            claims = await claims_of(other, [chip(1), chip(2)])
            assert indexes(claims) == ["UnitHeld", 2]
            with pytest.raises(UnitHeld, match="held by this run"):
                await claim_of(other, chip(2))

    run(work())


def test_a_claim_that_somebody_took_away_cannot_burn(path: Place) -> None:
    async def work() -> None:
        async with opened(path) as ledger:
            claim = await claim_of(ledger, chip(1))
            await claim.planned("plan", {})
            await ledger._writer.call(lambda t: t.connection.execute("UPDATE units SET run = NULL"))
            with pytest.raises(UnitRefused, match="no longer counts"):
                await claim.burn_attempted(attempt())

    run(work())


def test_a_record_on_which_the_script_fails_is_set_aside(path: Place) -> None:
    spec = batch({1: "bad", 2: "good", 3: "fine"})

    async def fail(number: int, job: str = "job") -> int:
        async with opened(path, spec) as ledger:
            claim = await claim_of(ledger, chip(number), job=job)
            await claim.failed_clean("KeyError: 'mac'", release=True, script_failed=True)
            said = [note for note in ledger.notes if "set aside" in note]
            assert len(said) == (number == 2 and job == "job")
            return claim.index

    async def work() -> None:
        assert [await fail(1), await fail(1), await fail(2)] == [1, 1, 1]
        async with opened(path, spec) as ledger:
            assert indexes(await claims_of(ledger, [chip(3), chip(4)])) == [2, 3]
            assert any("Index 1 is set aside" in note for note in ledger.notes)
            assert "Set aside: index 1 of config-" in await to_thread.run_sync(show, path)
        assert await fail(5, job="mended script") == 1  # another job, another try

    run(work())


def test_any_text_can_be_a_reason(path: Place) -> None:
    async def work() -> None:
        async with opened(path) as ledger:
            claim = await claim_of(ledger, chip(1))
            await claim.failed_clean("\udcff \x00 é " + "x" * 5000, release=True)

    run(work())
    assert "verifies" in verify(path)
    assert "\\udcff \\x00 é" in show(path)


def test_a_line_failure_does_not_count_against_a_record(path: Place) -> None:
    async def work() -> None:
        for number in range(4):
            async with opened(path) as ledger:
                claim = await claim_of(ledger, chip(number))
                assert claim.index == 1
                await claim.failed_clean("unplugged", release=True)

    run(work())


def test_steps_need_an_attempt_and_a_state_of_a_step(path: Place) -> None:
    async def work() -> None:
        async with opened(path) as ledger:
            claim = await claim_of(ledger, chip(1))
            with pytest.raises(LedgerError, match="without an attempt"):
                await claim.step_done("KEY0", State.VERIFIED)
            with pytest.raises(LedgerError, match="cannot become"):
                await claim.burn_attempted(attempt())  # without a plan
            await claim.planned("plan", {})
            await claim.burn_attempted(attempt())
            with pytest.raises(LedgerError, match="burned, verified or locked"):
                await claim.step_done("KEY0", State.INCOMPLETE)
            await claim.incomplete("end of test")

    run(work())


def test_a_run_that_ends_in_the_middle_lets_go(path: Place) -> None:
    async def work() -> None:
        async with opened(path) as ledger:
            claims = [await claim_of(ledger, chip(n)) for n in range(3)]
            await claims[1].planned("plan", {"CUSTOM_MAC": "m"})
            await claims[2].planned("plan", {})
            await claims[2].burn_attempted(attempt())
        async with opened(path) as ledger:
            again = await claims_of(ledger, [chip(9), chip(8), chip(2)])
            assert indexes(again) == [1, 2, 3]
            assert not isinstance(again[0], LedgerError)
            assert not isinstance(again[2], LedgerError)
            assert again[2].state is State.INCOMPLETE
            await again[0].planned("plan", {"CUSTOM_MAC": "m"})  # was planned only: free again

    run(work())


def test_the_search_for_a_free_index_skips_what_is_full(path: Place) -> None:
    async def work() -> None:
        async with opened(path) as ledger:
            claims = await claims_of(ledger, [chip(n) for n in range(100)])
            for claim in claims:
                assert not isinstance(claim, LedgerError)
            await asyncio.gather(*(burn(c) for c in claims if not isinstance(c, LedgerError)))
        async with opened(path) as ledger:
            assert (await claim_of(ledger, chip(200))).index == 101
            full = await ledger._writer.call(
                lambda t: t.connection.execute("SELECT full_from, full_to FROM batches").fetchone()
            )
            assert full == (1, 100)
            assert (await claim_of(ledger, chip(201), first=50)).index == 102
            assert (await claim_of(ledger, chip(202), first=500)).index == 500

    run(work())


def test_a_closed_ledger_refuses(path: Place) -> None:
    async def work() -> None:
        if isinstance(path, PoolAddress):
            await asyncio.to_thread(made, path)
        ledger = await open_ledger(path, batch(), new_ledger=True)
        claim = await claim_of(ledger, chip(1))
        await ledger.aclose()
        await ledger.aclose()
        with pytest.raises(LedgerUnusable, match="closed"):
            await claim.planned("plan", {})

    run(work())


def test_the_digest_key_stays_and_differs_between_ledgers(tmp_path: Path) -> None:
    async def key(name: str) -> bytes:
        async with opened(tmp_path / name) as ledger:
            return ledger.keyed_digest_key()

    async def work() -> None:
        first, again, other = await key("a"), await key("a"), await key("b")
        assert first == again != other
        assert len(first) == 32

    run(work())


def test_throw_away_leaves_nothing(tmp_path: Path) -> None:
    async def work() -> Path:
        ledger: RunLedger = await open_ledger(None, batch(), throw_away=True)
        assert (await claim_of(ledger, chip(1))).index == 1
        assert ledger.notes == ()
        place = anyio.Path(ledger._store.name)
        assert await place.exists()
        await ledger.aclose()
        return Path(place)

    assert not run(work()).parent.exists()


def test_notes_are_told_once_and_not_kept(tmp_path: Path) -> None:
    async def work() -> None:
        ledger: RunLedger = await open_ledger(tmp_path / "ledger", batch(), new_ledger=True)
        assert len(ledger.take_notes()) == 1  # that it is new
        for n in range(1000):
            ledger.add_note(f"note {n}")
            ledger.add_note(f"note {n}")
            assert ledger.take_notes() == (f"note {n}",)
        assert ledger.notes == ()
        assert len(ledger._noted) < 1000
        await ledger.aclose()

    run(work())
