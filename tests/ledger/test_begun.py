"""Units that were begun: their arming, how they ended, how often they went on by themselves."""

from __future__ import annotations

import pytest

from parburn.errors import LedgerUnusable, UnitRefused
from parburn.ledger import schema, station_entries
from parburn.ledger.base import Begun, Cause, Claim, State
from parburn.ledger.batches import WITHOUT_CONFIG
from parburn.ledger.export import verify
from parburn.ledger.without_run import allow_to_go_on, note
from parburn.ledger_place import Place

from .ledgers import attempt, burn, chip, claim_of, in_a_file, looking, make_version_8, opened, run
from .test_history import change

A, B = "a" * 64, "b" * 64


async def begin(claim: Claim, plan: str = "plan", cause: str = "") -> None:
    await claim.planned(plan, {})
    await claim.burn_attempted(attempt(plan))
    await claim.incomplete("cut off", cause=cause)


def begun_under(path: Place, arming: str, cause: str = Cause.LINE) -> None:
    async def work() -> None:
        async with opened(path, arming=arming) as ledger:
            await begin(await claim_of(ledger, chip(1)), cause=cause)

    run(work())


def seen_under(path: Place, arming: str) -> Claim:
    async def work() -> Claim:
        async with opened(path, arming=arming) as ledger:
            return await claim_of(ledger, chip(1))

    return run(work())


@pytest.mark.parametrize("by", [A, B, ""])
@pytest.mark.parametrize("under", [A, B, ""])
def test_a_claim_tells_under_which_arming_its_unit_was_begun(path: Place, by: str, under: str) -> None:
    begun_under(path, by)
    assert seen_under(path, under).begun == Begun(by, "", Cause.LINE, 0)
    assert "verifies" in verify(path)


def test_a_unit_that_is_new_whole_or_quarantined_was_not_begun(path: Place) -> None:
    async def work() -> None:
        async with opened(path, arming=A) as ledger:
            claim = await claim_of(ledger, chip(1))
            assert claim.begun is None
            await burn(claim)
            await claim.end()
            assert (await claim_of(ledger, chip(1))).begun is None

    run(work())


@pytest.mark.parametrize("first", [A, ""])
def test_of_several_burns_any_other_arming_counts(path: Place, first: str) -> None:
    """A run may finish what a station began; the station then finds a burn that is not its own."""

    async def work() -> None:
        for arming, plan in ((first, "plan"), (B, "plan 2")):
            async with opened(path, arming=arming) as ledger:
                await begin(await claim_of(ledger, chip(1)), plan)

    run(work())
    for under, told in ((B, first), (first, B)):
        begun = seen_under(path, under).begun
        assert begun is not None
        assert begun.arming == told


def test_an_attempt_that_goes_on_keeps_its_first_arming(path: Place) -> None:
    begun_under(path, A)
    begun_under(path, "")  # a run, with the same plan
    begun = seen_under(path, A).begun
    assert begun is not None
    assert begun.arming == A
    assert "verifies" in verify(path)


def test_the_date_of_the_arming_is_told_where_it_is_known(path: Place) -> None:
    begun_under(path, A)
    note(path, station_entries.ARMED, batch="batch of another", arming=A, operator="Eve")
    begun = seen_under(path, B).begun
    assert begun is not None
    with looking(path) as connection:
        (at,) = connection.execute("SELECT at FROM history WHERE event = 'station-armed'").fetchone()
    assert begun.armed_on == at


@pytest.mark.parametrize("cause", [*Cause, ""])
def test_how_it_ended_is_kept(path: Place, cause: str) -> None:
    begun_under(path, A, cause)
    begun = seen_under(path, A).begun
    assert begun is not None
    assert begun.cause is Cause(cause or "other")
    assert "verifies" in verify(path)


def test_an_unknown_cause_is_a_mistake_of_ours(path: Place) -> None:
    with pytest.raises(ValueError, match="weather"):
        begun_under(path, A, "weather")


def test_a_pass_or_a_quarantine_forgets_how_the_burn_before_it_ended(path: Place) -> None:
    async def work() -> None:
        async with opened(path) as ledger:
            claim = await claim_of(ledger, chip(1))
            await begin(claim, cause=Cause.LINE)
            await claim.quarantined("odd bits")

    run(work())
    with looking(path) as connection:
        assert connection.execute("SELECT cause FROM units").fetchall() == [("",)]
    assert "verifies" in verify(path)


def test_going_on_is_counted_for_life_and_survives_restarts(path: Place) -> None:
    begun_under(path, A)

    async def work() -> None:
        for times in (1, 2):
            async with opened(path, arming=A) as ledger:
                claim = await claim_of(ledger, chip(1))
                assert claim.begun is not None
                assert claim.begun.went_on == times - 1
                assert await claim.goes_on() == times
                await claim.end()
                assert claim.state is State.INCOMPLETE
        async with opened(path, arming=A) as ledger:
            claim = await claim_of(ledger, chip(1))
            await burn(claim)
            await claim.planned("plan 2", {})
            await claim.burn_attempted(attempt("plan 2"))
            await claim.incomplete("again", cause=Cause.LINE)
            await claim.end()
            claim = await claim_of(ledger, chip(1))
            assert claim.begun == Begun(A, "", Cause.LINE, 2)  # a pass in between gives it no new life

    run(work())
    assert "verifies" in verify(path)


def test_who_is_whole_does_not_go_on(path: Place) -> None:
    async def work() -> None:
        async with opened(path) as ledger:
            claim = await claim_of(ledger, chip(1))
            with pytest.raises(UnitRefused, match="not begun"):
                await claim.goes_on()
            with pytest.raises(UnitRefused, match="not begun"):
                await claim.allowed_to_go_on("why")
            with pytest.raises(UnitRefused, match="not begun"):
                await ledger.allow_to_go_on(chip(1), "why")
            with pytest.raises(UnitRefused, match="no unit"):
                await ledger.allow_to_go_on(chip(2), "why")

    run(work())


@pytest.mark.parametrize("how", ["claim", "ledger", "file"])
def test_somebody_may_let_it_go_on(path: Place, how: str) -> None:
    begun_under(path, A, Cause.OTHER)

    async def work() -> None:
        async with opened(path, arming=A) as ledger:
            claim = await claim_of(ledger, chip(1))
            await claim.goes_on()
            if how == "claim":
                await claim.allowed_to_go_on("the cable was mended \udcff")
            await claim.end()
            if how == "ledger":
                await ledger.allow_to_go_on(chip(1), "the cable was mended")

    run(work())
    if how == "file":
        allow_to_go_on(path, batch=WITHOUT_CONFIG, identity=chip(1), why="the cable was mended")
    begun = seen_under(path, A).begun
    assert begun == Begun(A, "", Cause.ALLOWED, 0)
    with looking(path) as connection:
        (detail,) = connection.execute(
            "SELECT detail FROM history WHERE event = 'allowed-to-go-on'"
        ).fetchone()
    assert "the cable was mended" in detail
    assert "verifies" in verify(path)


def test_nobody_lets_a_unit_go_on_that_another_run_holds(path: Place) -> None:
    begun_under(path, A)

    async def work() -> None:
        async with opened(path) as ledger, opened(path) as other:
            await claim_of(ledger, chip(1))
            with pytest.raises(UnitRefused, match="another parburn"):
                await other.allow_to_go_on(chip(1), "why")

    run(work())


def test_a_pass_tells_under_which_armings_it_was_made(path: Place) -> None:
    async def work() -> None:
        for arming in (A, "", B, B):
            async with opened(path, arming=arming) as ledger:
                claim = await claim_of(ledger, chip(1))
                await claim.planned("plan", {})
                await claim.passed("job")
        async with opened(path, arming=A) as ledger:
            assert (await claim_of(ledger, chip(1))).passed_under == {A, B}
            assert (await claim_of(ledger, chip(2))).passed_under == frozenset()

    run(work())
    assert "verifies" in verify(path)


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ("UPDATE units SET went_on = 0", "gives The unit chip aa:bb:cc:00:00:01 1 times of going on"),
        ("UPDATE units SET cause = 'stop'", "how its last attempt ended"),
        ("UPDATE attempts SET arming = 'other'", "attempts"),
    ],
)
def test_a_changed_count_shows_after_a_later_station(path: Place, statement: str, says: str) -> None:
    begun_under(path, A)

    async def work() -> None:
        async with opened(path, arming=A) as ledger:
            await (await claim_of(ledger, chip(1))).goes_on()

    run(work())
    change(path, statement)
    run(work())
    with pytest.raises(LedgerUnusable, match="does not verify") as refused:
        verify(path)
    assert says in str(refused.value)


@in_a_file
def test_a_begun_unit_of_version_8_was_begun_by_a_run_and_ended_somehow(path: Place) -> None:
    begun_under(path, "", "")

    with looking(path) as connection:
        make_version_8(connection)
    assert "verifies" in verify(path)  # looking changes nothing
    assert seen_under(path, A).begun == Begun("", "", Cause.OTHER, 0)
    with looking(path) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (schema.VERSION,) == (9,)
    assert "verifies" in verify(path)


def test_what_a_dead_station_left_ended_with_its_process(
    path: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    from parburn.ledger.liveness import Process

    monkeypatch.setattr(Process, "is_visible", lambda _self: False)

    async def work() -> None:
        async with opened(path, arming=A) as ledger:
            claim = await claim_of(ledger, chip(1))
            await claim.planned("plan", {})
            await claim.burn_attempted(attempt())
            await ledger._abandon()  # a kill: nothing more is written
            ledger._closed = True
        async with opened(path, arming=A) as ledger:
            assert (await claim_of(ledger, chip(1))).begun == Begun(A, "", Cause.PROCESS_END, 0)

    run(work())
    assert "verifies" in verify(path)
