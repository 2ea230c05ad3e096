"""Values by their bits, as the ledger keeps them: ranges, holders, keys, what was declared, migration."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from anyio import to_thread

from parburn.errors import LedgerUnusable, UniqueValueTaken
from parburn.ledger import schema
from parburn.ledger.base import RangeValue, State, UserBits
from parburn.ledger.export import export, show, verify
from parburn.ledger.run_ledger import RunLedger
from parburn.ledger.values import value_in
from parburn.ledger.witness import Witness, write_witness
from parburn.ledger_place import Place

from .ledgers import attempt, batch, burn, chip, claim_of, in_a_file, looking, opened, run

LAYOUT = "3:256"
SERIAL = "3[64:96]"


def record(
    bits: int, *parts: str, option: str = "--same X", layout: str = LAYOUT, block: int = 3
) -> UserBits:
    """A chip that holds these bits in its user block, with values of its own in `parts`."""
    ranges = tuple(
        RangeValue("X", part, value_in(part, {block: bits}), "shown", option)
        for part in parts
        if value_in(part, {block: bits})
    )
    return UserBits(layout, ((block, f"{bits:x}"),), ranges)


def key(text: str, option: str = "--same BLOCK_KEY0") -> UserBits:
    return UserBits(LAYOUT, (), (RangeValue("BLOCK_KEY0", "BLOCK_KEY0", f"hmac:{text}", "-", option, True),))


async def burned(ledger: RunLedger, number: int, held: UserBits) -> None:
    claim = await claim_of(ledger, chip(number))
    await claim.planned("plan", {}, held)
    await claim.burn_attempted(attempt())
    await claim.step_done("KEY0", State.VERIFIED)
    await claim.passed("job")


@pytest.mark.parametrize(
    ("parts", "bits", "hex_"),
    [
        (SERIAL, 1001 << 64, "3e9"),
        ("3[64:72]", 1001 << 64, "e9"),
        ("3[0:8]+3[64:72]", 1001 << 64 | 5, "e905"),
        (SERIAL, 1, ""),
        ("4[0:8]", 1, ""),  # a block that is not known
        ("3[0:4]+4[0:8]", 1, ""),
    ],
)
def test_a_value_in_its_range(parts: str, bits: int, hex_: str) -> None:
    assert value_in(parts, {3: bits}) == hex_


@pytest.mark.parametrize("again", [SERIAL, "3[64:104]", "3[64:80]", "3[0:128]"])
def test_a_range_that_is_new_is_filled_from_what_chips_hold(path: Place, again: str) -> None:
    async def work() -> None:
        async with opened(path) as ledger:
            await burned(ledger, 1, record(1001 << 64, SERIAL))
            await burned(ledger, 2, record(1002 << 64, SERIAL))
        async with opened(path, batch(name="other")) as ledger:
            claim = await claim_of(ledger, chip(3))
            with pytest.raises(UniqueValueTaken, match="belongs to the chip aa:bb:cc:00:00:02") as refused:
                await claim.planned("plan", {}, record(1002 << 64, again))
            assert "--same X" in refused.value.hint
            assert claim.state is State.CLAIMED
            await claim.planned("plan", {}, record(1003 << 64, again))
            assert any("set aside" in note for note in ledger.notes)

    run(work())
    assert "verifies" in verify(path)


def test_chips_of_another_layout_are_not_compared_by_bits(path: Place) -> None:
    async def work() -> None:
        async with opened(path) as ledger:
            await burned(ledger, 1, record(1001 << 64, SERIAL))
            await burned(ledger, 2, record(1001 << 64, SERIAL, layout="other"))

    run(work())


def test_who_declares_a_value_the_same_is_not_compared_but_known_to_others(path: Place) -> None:
    async def work() -> None:
        async with opened(path) as ledger:
            await burned(ledger, 1, record(7 << 64))
            await burned(ledger, 2, record(7 << 64))
            claim = await claim_of(ledger, chip(3))
            with pytest.raises(UniqueValueTaken):
                await claim.planned("plan", {}, record(7 << 64, SERIAL))

    run(work())


def test_two_plans_with_one_value_are_both_refused(path: Place) -> None:
    async def work() -> None:
        async with opened(path) as one, opened(path, batch(name="other")) as other:
            first, second = await claim_of(one, chip(1)), await claim_of(other, chip(2))
            await first.planned("plan", {}, record(5 << 64, SERIAL))
            with pytest.raises(UniqueValueTaken, match="neither is burned"):
                await second.planned("plan", {}, record(5 << 64, "3[64:104]"))
            await second.failed_clean("taken", release=True)

    run(work())


def test_the_attempt_sees_what_was_planned_in_a_wider_range_meanwhile(path: Place) -> None:
    """Its bits are equal in our range, though it compares a longer one that differs."""

    async def work() -> None:
        async with opened(path) as one, opened(path, batch(name="other")) as other:
            first, second = await claim_of(one, chip(1)), await claim_of(other, chip(2))
            await first.planned("plan", {}, record(5 << 64, SERIAL))
            await second.planned("plan", {}, record(5 << 64 | 1 << 96, "3[64:104]"))
            with pytest.raises(UniqueValueTaken, match="given to the chip aa:bb:cc:00:00:02 meanwhile"):
                await first.burn_attempted(attempt())
            await second.burn_attempted(attempt())
            await second.incomplete("end of test")

    run(work())


def test_a_chip_goes_on_with_its_own_value(path: Place) -> None:
    async def work() -> None:
        for _ in range(2):
            async with opened(path) as ledger:
                await burned(ledger, 1, record(5 << 64, SERIAL))

    run(work())


def test_a_chip_has_its_values_in_any_batch(path: Place) -> None:
    async def work() -> None:
        held = record(5 << 64, SERIAL)
        async with opened(path) as ledger:
            claim = await claim_of(ledger, chip(1))
            await claim.passed("job", found=held, found_values={"CUSTOM_MAC": "m", "SERIAL": "5"})
        async with opened(path, batch(name="other")) as ledger:
            claim = await claim_of(ledger, chip(1))
            await claim.planned("plan", {"CUSTOM_MAC": "m", "SERIAL": "5"}, held)
            await claim.passed("job")

    run(work())
    assert "verifies" in verify(path)


def test_what_was_only_planned_is_free_again(path: Place) -> None:
    async def work() -> None:
        async with opened(path) as ledger:
            claim = await claim_of(ledger, chip(1))
            await claim.planned("plan", {}, record(5 << 64, SERIAL))
            await claim.failed_clean("not confirmed", release=True)
            await burned(ledger, 2, record(5 << 64, SERIAL))
            claim = await claim_of(ledger, chip(3))
            await claim.planned("plan", {}, record(6 << 64, SERIAL))
        async with opened(path) as ledger:  # the run ended with a plan only
            await burned(ledger, 4, record(6 << 64, SERIAL))

    run(work())


def test_values_are_shared_with_chips_of_a_batch_that_was_named(path: Place) -> None:
    async def work() -> None:
        async with opened(path, batch(name="product")) as ledger:
            await burned(ledger, 1, record(5 << 64, SERIAL))
            await burn(await claim_of(ledger, chip(9)), values={"CUSTOM_MAC": "m", "SERIAL": "1"})
        async with opened(path, batch(name="second chip")) as ledger:
            assert ledger._batch is not None
            ledger._batch = ledger._batch._replace(shares=frozenset({1}))
            await burned(ledger, 2, record(5 << 64, SERIAL))
            claim = await claim_of(ledger, chip(3))
            with pytest.raises(UniqueValueTaken, match="aa:bb:cc:00:00:02"):  # within this batch it is taken
                await claim.planned("plan", {}, record(5 << 64, SERIAL))
            with pytest.raises(UniqueValueTaken, match="CUSTOM_MAC m"):  # never the same
                await claim.planned("plan", {"CUSTOM_MAC": "m"})
            await burn(claim, values={"SERIAL": "1"})

    run(work())


@pytest.mark.parametrize(
    ("before", "then", "refused"),
    [
        ("a", "a", False),
        ("aaa", "a", False),
        ("ab", "c", False),
        ("ab", "a", True),
        ("ba", "a", True),
        ("aab", "b", True),
    ],
)
def test_keys_are_equal_on_all_boards_or_different_on_all(
    path: Place, before: str, then: str, refused: bool
) -> None:
    async def work() -> None:
        async with opened(path) as ledger:
            for number, text in enumerate(before):
                await burned(ledger, number, key(text))
            claim = await claim_of(ledger, chip(9))
            if refused:
                with pytest.raises(UniqueValueTaken) as error:
                    await claim.planned("plan", {}, key(then))
                assert "--same BLOCK_KEY0" in error.value.hint
            else:
                await claim.planned("plan", {}, key(then))

    run(work())
    assert "verifies" in verify(path)


def test_keys_of_another_batch_count_where_they_are_each_chips_own(path: Place) -> None:
    async def work() -> None:
        async with opened(path, batch(name="shared")) as ledger:
            await burned(ledger, 1, key("product"))
        async with opened(path, batch(name="own")) as ledger:
            await burned(ledger, 2, key("a"))
            await burned(ledger, 3, key("b"))
        async with opened(path, batch(name="next")) as ledger:
            claim = await claim_of(ledger, chip(4))
            with pytest.raises(UniqueValueTaken, match="aa:bb:cc:00:00:02"):
                await claim.planned("plan", {}, key("a"))
            with pytest.raises(UniqueValueTaken):
                await claim.planned("plan", {}, key("product", option=""))  # declared unique
            await claim.planned("plan", {}, key("product"))

    run(work())


def test_what_is_found_in_a_chip_is_its_own_without_an_index(path: Place) -> None:
    async def work() -> None:
        async with opened(path) as ledger:
            claim = await claim_of(ledger, chip(1))
            await claim.passed("job", found=record(5 << 64), found_values={"CUSTOM_MAC": "m"})
            assert claim.state is State.IDENTIFIED
        async with opened(path) as ledger:
            claim = await claim_of(ledger, chip(2))
            assert claim.index == 1
            with pytest.raises(UniqueValueTaken, match="batch default, no index"):
                await claim.planned("plan", {"CUSTOM_MAC": "m"})
            with pytest.raises(UniqueValueTaken):
                await claim.planned("plan", {}, record(5 << 64, SERIAL))
            with pytest.raises(UniqueValueTaken):
                await claim.passed("job", found=record(1), found_values={"CUSTOM_MAC": "m"})

    run(work())
    assert "verifies" in verify(path)
    assert '"3":"50000000000000000"' in export(path)


def test_what_is_found_is_not_burned_by_who_planned_it_before(path: Place) -> None:
    async def work() -> None:
        async with opened(path) as ledger:
            first, second = await claim_of(ledger, chip(1)), await claim_of(ledger, chip(2))
            await first.planned("plan", {"CUSTOM_MAC": "m"})
            await second.passed("job", found_values={"CUSTOM_MAC": "m"})
            with pytest.raises(UniqueValueTaken, match="neither is burned"):
                await first.burn_attempted(attempt())

    run(work())


def test_what_may_be_equal_is_found_in_many_chips(path: Place) -> None:
    async def work() -> None:
        held = record(12 << 96, "3[96:112]")._replace(options=(("WEEK", "--same WEEK"),))
        async with opened(path) as ledger:
            for number in range(3):
                claim = await claim_of(ledger, chip(number))
                await claim.passed("job", found=held, found_values={"WEEK": "12"})

    run(work())
    assert "verifies" in verify(path)


def test_an_index_whose_value_is_taken_is_set_aside_until_it_may_be_equal(path: Place) -> None:
    async def work() -> None:
        async with opened(path) as ledger:
            await burned(ledger, 1, record(5 << 64, SERIAL))
            claim = await claim_of(ledger, chip(2))
            with pytest.raises(UniqueValueTaken):
                await claim.planned("plan", {}, record(5 << 64, SERIAL))
            await claim.failed_clean("taken", release=False)
        said = await to_thread.run_sync(show, path)
        assert "Set aside: index 2 of default: X shown of its record belongs to the chip" in said
        async with opened(path) as ledger:
            assert (await claim_of(ledger, chip(3))).index == 3
        async with opened(path, batch()._replace(same=("X",))) as ledger:
            assert (await claim_of(ledger, chip(4))).index == 2

    run(work())


def test_what_is_declared_is_remembered_and_taken_over_by_like_batches(path: Place) -> None:
    async def declared(spec: object, *, says: str = "") -> tuple[tuple[str, ...], tuple[str, ...]]:
        async with opened(path, spec) as ledger:  # type: ignore[arg-type]  # a BatchSpec
            assert any("takes over" in note for note in ledger.notes) == bool(says)
            assert not says or any(says in note for note in ledger.notes)
            return ledger.declared

    async def work() -> None:
        one = batch(name="one")._replace(scripts="s1")
        assert await declared(one._replace(same=("WEEK",), unique=("SERIAL",))) == (("WEEK",), ("SERIAL",))
        assert await declared(one) == (("WEEK",), ("SERIAL",))
        like = batch(name="like")._replace(scripts="s1")
        assert await declared(like, says="--unique SERIAL, --same WEEK") == (("WEEK",), ("SERIAL",))
        assert await declared(like._replace(unique=("WEEK",))) == ((), ("SERIAL", "WEEK"))
        assert await declared(like) == ((), ("SERIAL", "WEEK"))
        assert await declared(batch(name="unlike")._replace(scripts="s2")) == ((), ())

    run(work())


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ("DELETE FROM user_bits", "what its user blocks hold"),
        ("UPDATE user_bits SET bits = '5'", "what its user blocks hold"),
        ("DELETE FROM range_values WHERE value NOT LIKE 'hmac:%'", "that is not listed"),
        ("DELETE FROM range_values WHERE value LIKE 'hmac:%'", "keyed digests"),
    ],
)
def test_tampering_with_values_shows(path: Place, statement: str, says: str) -> None:
    async def work() -> None:
        async with opened(path) as ledger:
            await burned(ledger, 1, record(1001 << 64, SERIAL))
            await burned(ledger, 2, key("a"))

    run(work())
    assert "verifies" in verify(path)
    with looking(path) as connection:
        assert connection.execute(statement).rowcount > 0
    with pytest.raises(LedgerUnusable, match=says):
        verify(path)


@in_a_file
def test_values_of_a_ledger_of_before_stay_taken(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its names go on being compared; the values that it did not know are only those of fields and bits."""
    with monkeypatch.context() as before:
        before.setattr(schema, "MIGRATIONS", schema.MIGRATIONS[:2])
        before.setattr(schema, "VERSION", 2)
        assert schema.make(path, why="before")
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute("INSERT INTO batches (name) VALUES ('old')")
        connection.execute(
            "INSERT INTO units (batch, chip, mac, unique_id, idx, state, spent, changed)"
            " VALUES (1, 'chip', 'aa:bb:cc:00:00:01', '', 1, 'pass', 1, '')"
        )
        connection.executemany(
            "INSERT INTO unique_values VALUES (1, ?, ?, 1, 0)",
            [("CUSTOM_MAC", "02:00:00:00:00:01"), ("PRODUCT", "4c 61 6d 70 31")],
        )
        (head,) = connection.execute("SELECT hash FROM history").fetchone()
        (uuid,) = connection.execute("SELECT value FROM meta WHERE name = 'uuid'").fetchone()
        connection.close()
        write_witness(path, Witness(uuid, 1, head))

    async def work() -> None:
        async with opened(path) as ledger:
            claim = await claim_of(ledger, chip(2))
            for named in ({"CUSTOM_MAC": "02:00:00:00:00:01"}, {"PRODUCT": "4c 61 6d 70 31"}):
                with pytest.raises(UniqueValueTaken, match="index 1 of the batch old"):
                    await claim.planned("plan", named)
            await burn(claim, values={"CUSTOM_MAC": "02:00:00:00:00:02"})

    run(work())
