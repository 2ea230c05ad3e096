"""What one index's record says is never given to a second chip, whatever batch or files are called."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from parburn.config.records import load_config_files
from parburn.errors import BatchRefused, LedgerError, OutOfIndexes, RecordsUndeclared, UnitRefused
from parburn.ledger.base import BatchSpec
from parburn.ledger.batches import Override
from parburn.ledger_place import Place

from .ledgers import attempt, batch, burn, burn_on, chip, claim_of, claims_of, in_a_file, looking, opened, run

IDS = {1: "one", 2: "two", 3: "three", 4: "four"}


async def name_of(path: Place, spec: BatchSpec) -> str:
    async with opened(path, spec) as ledger:
        return ledger.batch


def test_a_batch_without_name_is_known_by_its_content(path: Place) -> None:
    async def work() -> None:
        assert await name_of(path, batch()) == "default"
        first = await name_of(path, batch(IDS))
        assert first.startswith("config-")
        assert await name_of(path, batch(dict(IDS))) == first
        assert await name_of(path, batch({**IDS, 5: "five"})) != first
        assert await burn_on(path, chip(1), batch(IDS)) == 1
        assert await burn_on(path, chip(2), batch(IDS)) == 2

    run(work())


def test_a_mistyped_name_under_which_nothing_was_burned_leaves_no_doubt(path: Place, tmp_path: Path) -> None:
    async def work() -> None:
        ids = {"a.json": '{"1": 1, "2": 2, "3": 3}'}
        mistyped = files(tmp_path, ids, name="sprnig")
        async with opened(path, mistyped):
            pass
        await burn_on(path, chip(1), files(tmp_path, ids, name="spring"))
        assert await name_of(path, files(tmp_path, ids)) == "spring"

    run(work())


def test_the_same_content_under_another_name_is_refused(path: Place) -> None:
    async def work() -> None:
        await burn_on(path, chip(1), batch(IDS, name="monday"))
        with pytest.raises(BatchRefused, match="belong to the batch monday") as refused:
            await burn_on(path, chip(2), batch(IDS, name="tuesday"))
        assert "--batch monday" in refused.value.hint
        assert await name_of(path, batch(IDS)) == "monday"  # without a name: found by its content
        assert await burn_on(path, chip(2), batch(IDS)) == 2
        async with opened(path, batch(IDS, name="tuesday"), overrides=[Override.SHARED_RECORDS]) as ledger:
            claim = await claim_of(ledger, chip(3))
            assert claim.index == 1
            await burn(claim)
        with pytest.raises(BatchRefused, match="more than one batch: monday, tuesday"):
            await name_of(path, batch(IDS))

    run(work())


def test_the_same_content_elsewhere_is_fine_when_it_has_no_records(path: Place) -> None:
    async def work() -> None:
        await burn_on(path, chip(1), batch(config="wifi settings", name="monday"))
        assert await burn_on(path, chip(2), batch(config="wifi settings", name="tuesday")) == 1

    run(work())


def test_added_records_are_fine_changed_ones_are_not(path: Place) -> None:
    async def work() -> None:
        await burn_on(path, chip(1), batch(IDS, name="A"))
        assert await burn_on(path, chip(2), batch({**IDS, 5: "five"}, name="A")) == 2
        assert await burn_on(path, chip(3), batch({**IDS, 3: "free to change"}, name="A")) == 3
        for records in ({**IDS, 1: "other"}, {2: "two", 3: "free to change"}):
            with pytest.raises(BatchRefused, match="something else for index 1") as refused:
                await burn_on(path, chip(4), batch(records, name="A"))
            assert "--allow-changed-config" in refused.value.hint
        changed = batch({**IDS, 1: "other"}, name="A")
        async with opened(path, changed, overrides=[Override.CHANGED_CONFIG]) as ledger:
            assert (await claim_of(ledger, chip(4))).index == 4

    run(work())


def test_a_second_station_adds_its_file_under_the_same_name(path: Place) -> None:
    async def work() -> None:
        await burn_on(path, chip(1), batch({1: "mac1", 2: "mac2"}, name="A"))
        both = batch({1: "mac1 key1", 2: "mac2 key2"}, name="A")
        assert await burn_on(path, chip(1), both) == 1
        with pytest.raises(BatchRefused, match="something else for index 1"):
            await burn_on(path, chip(1), batch({1: "key1", 2: "key2"}, name="A"))

    run(work())


def test_files_that_share_a_record_with_another_batch_are_refused(path: Place) -> None:
    async def work() -> None:
        await burn_on(path, chip(1), batch(IDS, name="A"))
        shifted = batch({7: "one", 8: "eight"}, name="B")
        async with opened(path, shifted) as ledger:
            claims = await claims_of(ledger, [chip(2), chip(3)], first=7)
            assert [type(c) for c in claims] == [BatchRefused, BatchRefused]
            assert "index 1 of the batch A" in str(claims[0])
        async with opened(path, shifted) as ledger:
            assert (await claim_of(ledger, chip(2), first=8)).index == 8
        async with opened(path, batch({9: "one more"}, name="C")) as ledger:  # one of two files is shared
            with pytest.raises(BatchRefused):
                await claim_of(ledger, chip(5), first=9)
        async with opened(path, shifted, overrides=[Override.SHARED_RECORDS]) as ledger:
            claim = await claim_of(ledger, chip(3), first=7)
            await burn(claim)

    run(work())


def test_added_records_without_a_name_name_the_batch_to_go_on_with(path: Place) -> None:
    async def work() -> None:
        first = await name_of(path, batch(IDS))
        await burn_on(path, chip(1), batch(IDS))
        grown = {**IDS, 5: "five"}
        with pytest.raises(BatchRefused) as refused:
            await burn_on(path, chip(2), batch(grown))
        assert f"--batch {first}" in refused.value.hint
        assert await burn_on(path, chip(2), batch(grown, name=first)) == 2

    run(work())


def test_one_record_under_two_indexes_is_refused(path: Place) -> None:
    async def work() -> None:
        doubled = batch({1: "same", 2: "same", 3: "other"})
        async with opened(path, doubled) as ledger:
            claims = await claims_of(ledger, [chip(1), chip(2)])
            assert [type(c) for c in claims] == [BatchRefused, BatchRefused]
            await burn(await claim_of(ledger, chip(1)))
        async with opened(path, doubled) as ledger:
            with pytest.raises(BatchRefused, match="as index 1"):
                await claim_of(ledger, chip(2))

    run(work())


def test_a_part_of_a_record_may_be_equal_within_a_batch(path: Place) -> None:
    async def work() -> None:
        coloured = batch({1: "mac1 red", 2: "mac2 red"})
        assert await burn_on(path, chip(1), coloured) == 1
        assert await burn_on(path, chip(2), coloured) == 2

    run(work())


def test_a_chip_with_an_identity_gets_no_record_of_another_batch(path: Place) -> None:
    async def work() -> None:
        other = batch({1: "uno", 2: "due"}, name="B")
        await burn_on(path, chip(1), batch(IDS, name="A"))
        async with opened(path, other) as ledger:
            claims = await claims_of(ledger, [chip(1), chip(2)])
            assert isinstance(claims[0], UnitRefused)
            assert "carries index 1 of the batch A" in str(claims[0])
            assert not isinstance(claims[1], LedgerError)
            assert claims[1].index == 1
        assert await burn_on(path, chip(1), batch()) == 1  # without records: a plain job
        async with opened(path, other, overrides=["allow-other-batch"]) as ledger:
            assert (await claim_of(ledger, chip(1))).index == 1

    run(work())


def test_a_record_that_another_run_spent_meanwhile_is_not_burned_again(path: Place) -> None:
    async def work() -> None:
        spec_a, spec_b = batch(IDS, name="A"), batch(IDS, name="B")
        async with opened(path, spec_a) as one, opened(path, spec_b) as other:
            first, second = await claim_of(one, chip(1)), await claim_of(other, chip(2))
            assert first.index == second.index == 1
            await burn(first)
            await second.planned("plan", {})
            with pytest.raises(UnitRefused, match=r"meanwhile.*what the chip aa:bb:cc:00:00:01 carries"):
                await second.burn_attempted(attempt())

    run(work())


# With real files ------------------------------------------------------------------------------------


def files(folder: Path, texts: Mapping[str, str], *declared: str, **more: Any) -> BatchSpec:
    """The batch of these files, for scripts that use the index."""
    for name, text in texts.items():
        (folder / name).write_text(text)
    config = load_config_files([folder / name for name in texts], declared)
    name = more.pop("name", None)
    return BatchSpec(name, config.digest, config.entries, config=config, **{"uses_index": True, **more})


def test_a_file_that_holds_what_a_batch_carries_is_that_batch(path: Place, tmp_path: Path) -> None:
    async def work() -> None:
        await burn_on(path, chip(1), files(tmp_path, {"a.csv": "id\n1\n2\n"}, "a.csv=row"))
        first = await name_of(path, files(tmp_path, {"a.csv": "id\n1\n2\n"}))
        grown = {"a.csv": "id\r\n 1\r\n2\r\n3\r\n", "more.json": '{"1": "x"}'}
        assert await name_of(path, files(tmp_path, grown)) == first  # the form is remembered, too
        assert await burn_on(path, chip(2), files(tmp_path, grown)) == 2
        # Nobody carries the second row of the first column alone: a batch of its own needs its form said.
        with pytest.raises(RecordsUndeclared, match=r"a\.csv does not name its indexes"):
            await name_of(path, files(tmp_path, {"a.csv": "id\n71\n72\n"}))
        other = files(tmp_path, {"a.csv": "id\n71\n72\n"}, "a.csv=row")
        assert await name_of(path, other) != first

    run(work())


def test_a_file_that_holds_a_part_of_it_is_refused(path: Place, tmp_path: Path) -> None:
    async def work() -> None:
        ids = {"a.json": '{"1": 1, "2": 2, "3": 3}'}
        first = await name_of(path, files(tmp_path, ids))
        for number in (1, 2):
            await burn_on(path, chip(number), files(tmp_path, ids))
        for changed in ('{"1": 1, "2": 5, "3": 3}', '{"1": 2, "2": 3}', '{"2": 2}'):
            with pytest.raises(BatchRefused, match="something else for index") as refused:
                await name_of(path, files(tmp_path, {"a.json": changed}))
            assert "blanked, not deleted" in refused.value.hint
            assert f"--batch {first} --configfiles a.json" in refused.value.hint
        with pytest.raises(BatchRefused, match="What index 2 had is under index 1 now"):
            await name_of(path, files(tmp_path, {"a.json": '{"1": 2, "2": 3}'}, name=first))

    run(work())


def test_shared_data_that_have_changed_are_refused(path: Place, tmp_path: Path) -> None:
    async def work() -> None:
        def spec(version: int, wifi: str, *declared: str, **more: Any) -> BatchSpec:
            ids = f'{{"version": {version}, "1": "a", "2": "b"}}'
            return files(tmp_path, {"a.json": ids, "wifi.txt": wifi}, *declared, **more)

        await burn_on(path, chip(1), spec(1, "x\n", "wifi.txt=none"))
        name = await name_of(path, spec(1, "x\r\n"))
        for changed, which in ((spec(2, "x"), "a.json"), (spec(1, "y"), "wifi.txt")):
            with pytest.raises(BatchRefused, match=f"{which} says something else for all boards"):
                await name_of(path, changed._replace(config=changed.view.read_as({"wifi.txt": "none"})))
        async with opened(path, spec(2, "y", name=name), overrides=[Override.CHANGED_CONFIG]) as ledger:
            assert (await claim_of(ledger, chip(2))).index == 2
        assert await name_of(path, spec(2, "y")) == name  # from now on

    run(work())


def test_indexes_without_a_record_are_not_given_out(path: Place, tmp_path: Path) -> None:
    async def work() -> None:
        spec = files(tmp_path, {"a.txt": "one\n\nthree\n", "b.json": '{"5": "x"}'}, "a.txt=line", name="A")
        async with opened(path, spec) as ledger:
            claims = await claims_of(ledger, [chip(n) for n in range(4)])
            assert [getattr(claim, "index", type(claim)) for claim in claims] == [1, 3, 5, OutOfIndexes]
            assert "a.txt has 3, b.json has 1, all are used" in str(claims[3])
        async with opened(path, spec) as ledger:
            (claim,) = await claims_of(ledger, [chip(9)], first=2, last=2)
            assert isinstance(claim, OutOfIndexes)

    run(work())


def test_a_run_without_index_needs_no_forms_and_forgets_none(path: Place, tmp_path: Path) -> None:
    async def work() -> None:
        table = {"a.csv": "id\n1\n2\n"}
        spec = files(tmp_path, table, uses_index=False)
        first = await name_of(path, spec)
        with pytest.raises(RecordsUndeclared):
            await name_of(path, files(tmp_path, table))
        await burn_on(path, chip(1), files(tmp_path, table, "a.csv=row"))
        assert await name_of(path, spec) == first
        async with opened(path, files(tmp_path, table)) as ledger:
            assert ledger.forms == {"a.csv": "row"}

    run(work())


@in_a_file
def test_records_of_an_older_ledger_stay_valid(path: Place, tmp_path: Path) -> None:
    """They are known by the old digest, beside those that are burned from now on."""

    async def work() -> None:
        ids = {"a.json": '{"1": {"mac": "AA", "n": 1}, "2": "b"}'}
        spec = files(tmp_path, ids, name="A")
        await burn_on(path, chip(1), spec)
        with looking(path) as connection:
            connection.execute("DELETE FROM batch_files")
            connection.execute("UPDATE batch_configs SET digest = ?", (spec.view.old_digest,))
            connection.execute("UPDATE records SET digest = ?", (spec.view.old_entries(1),))
        assert await name_of(path, files(tmp_path, ids)) == "A"
        grown = {"a.json": '{"2": "b", "1": {"n": 1, "mac": "AA"}, "3": "c"}'}
        assert await name_of(path, files(tmp_path, grown)) == "A"
        with pytest.raises(BatchRefused):
            await name_of(path, files(tmp_path, {"a.json": '{"1": {"mac": "BB"}, "2": "b"}'}, name="A"))
        fewer = {"a.json": '{"1": {"n": 1, "mac": "AA"}, "3": "c"}'}
        async with opened(path, files(tmp_path, fewer, name="B")) as ledger:
            with pytest.raises(BatchRefused, match="index 1 of the batch A"):
                await claim_of(ledger, chip(2))
        assert await burn_on(path, chip(2), files(tmp_path, grown)) == 2

    run(work())


def test_a_record_that_moved_is_not_given_again_though_the_change_is_allowed(
    path: Place, tmp_path: Path
) -> None:
    """With two files the whole differs: each record of each file is looked at all the same."""

    async def work() -> None:
        def spec(macs: str) -> BatchSpec:
            return files(tmp_path, {"m.json": macs, "x.json": '{"1": "x", "2": "y", "3": "x"}'}, name="A")

        await burn_on(path, chip(1), spec('{"1": "mac1", "2": "mac2", "3": "mac3"}'))
        moved = spec('{"1": "new", "2": "mac1", "3": "mac3"}')
        async with opened(path, moved, overrides=[Override.CHANGED_CONFIG]) as ledger:
            with pytest.raises(BatchRefused, match="as index 1"):
                await claim_of(ledger, chip(2))
        assert await burn_on(path, chip(3), spec('{"1": "mac1", "2": "mac2", "3": "mac3"}')) == 2
        # x.json says x for index 1 and for index 3: that is its own word.
        assert await burn_on(path, chip(4), spec('{"1": "mac1", "2": "mac2", "3": "mac3"}')) == 3

    run(work())
