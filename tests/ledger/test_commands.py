"""`parburn ledger show|export|verify|init|adopt|release|import-used`."""

from __future__ import annotations

import csv
import io
import json
import shutil
import sqlite3
import time
from contextlib import closing
from functools import partial
from pathlib import Path
from unittest.mock import patch

import pytest
from anyio import to_thread

from parburn.errors import (
    BatchRefused,
    LedgerError,
    LedgerUnusable,
    UniqueValueTaken,
    UnitQuarantined,
    UnitRefused,
    UsageError,
)
from parburn.ledger import export, maintenance, schema
from parburn.ledger.base import Attempt, BatchSpec, State, UnitIdentity
from parburn.ledger.file_location import is_missing, runs_path, witness_path
from parburn.ledger_place import Place, PoolAddress

from .ledgers import attempt, batch, burn, burn_on, chip, claim_of, claims_of, in_a_file, opened, run


async def quarantine(path: Place) -> None:
    async with opened(path) as ledger:
        claim = await claim_of(ledger, chip(1))
        await claim.planned("plan", {})
        await claim.burn_attempted(attempt())
        await claim.quarantined("a bit too many\x1b[2J in KEY0")


def event_of(path: Place, event: str) -> dict[str, object]:
    (entry,) = [one for one in json.loads(export.export(path))["history"] if one["event"] == event]
    detail = entry["detail"]
    assert isinstance(detail, dict)
    return detail


@pytest.fixture
def used(path: Place) -> Place:
    async def work() -> None:
        async with opened(path, batch(name="A")) as ledger:
            await burn(await claim_of(ledger, chip(1)), values={"CUSTOM_MAC": "02:00:00:00:00:01"})
            claim = await claim_of(ledger, chip(2))
            await claim.planned("plan", {})
            await claim.burn_attempted(Attempt("plan", "{}", ("KEY0", "BLOCK0", "LOCK")))
            await claim.step_done("KEY0", State.VERIFIED)
            await claim.incomplete("=unplugged")
        async with opened(path, batch(name="A")) as ledger:
            await (await claim_of(ledger, chip(3))).failed_clean("the script raised", release=True)

    run(work())
    return path


def test_show(used: Place) -> None:
    lines = export.show(used).splitlines()
    assert lines[0].startswith("INDEX    CHIP       MAC                STATE           CHANGED (UTC)")
    assert lines[1] == "batch A"
    assert lines[2].split()[:4] == ["1", "chip", chip(1).mac, "pass"]
    assert lines[3].split() == ["CUSTOM_MAC=02:00:00:00:00:01"]
    assert lines[4].split()[:4] == ["2", "chip", chip(2).mac, "incomplete"]
    assert lines[5].strip() == "=unplugged"
    assert lines[6].split()[:4] == ["-", "chip", chip(3).mac, "failed-clean"]
    assert lines[7].strip() == "the script raised"
    assert lines[8] == "batch A: 1 failed-clean, 1 incomplete, 1 pass"
    assert lines[9:] == ["3 units, 2 with an index.", f"Ledger: {used}"]


def test_show_of_an_empty_ledger(path: Place) -> None:
    maintenance.init(path, why="a new line")
    assert export.show(path) == f"The ledger {path} has no units yet.\n"


def test_show_moves_no_cursor(path: Place) -> None:
    run(quarantine(path))
    assert "\x1b" not in export.show(path)


def test_export_json(used: Place) -> None:
    record = json.loads(export.export(used))
    assert record["schema"] == 1
    assert record["batches"] == ["A"]
    first, second, third = record["units"]
    assert first["unique_values"] == {"CUSTOM_MAC": "02:00:00:00:00:01"}
    assert first["passed_jobs"] == ["job"]
    assert (second["state"], second["remaining_steps"]) == ("incomplete", ["BLOCK0", "LOCK"])
    assert (third["index"], third["spent"]) == (None, False)
    assert [one["sequence"] for one in record["history"]] == list(range(1, len(record["history"]) + 1))
    assert record["history"][0]["event"] == "made"
    events = [one["event"] for one in record["history"] if one["unit"] == 1]
    assert events == ["claimed", "planned", "burn-attempted", "step", "step", "passed"]


def test_export_csv(used: Place) -> None:
    rows = list(csv.DictReader(io.StringIO(export.export(used, "csv"))))
    assert [row["index"] for row in rows] == ["1", "2", ""]
    assert [row["spent"] for row in rows] == ["yes", "yes", "no"]
    assert rows[1]["remaining_steps"] == "BLOCK0 LOCK"
    with pytest.raises(UsageError, match="not as xml"):
        export.export(used, "xml")


def test_keys_are_nowhere_in_what_is_shown(used: Place) -> None:
    async def key() -> bytes:
        async with opened(used) as ledger:
            return ledger.keyed_digest_key()

    secret = run(key())
    for text in (export.show(used), export.export(used), export.export(used, "csv")):
        assert secret.hex() not in text


@in_a_file
def test_looking_changes_nothing(used: Path) -> None:
    before = used.read_bytes()
    export.show(used)
    export.export(used)
    assert "verifies" in export.verify(used)
    assert used.read_bytes() == before


@pytest.mark.parametrize("look", [export.show, export.export, export.verify])
def test_looking_at_no_ledger_makes_none(path: Place, look: object) -> None:
    assert callable(look)
    with pytest.raises(LedgerUnusable, match=r"There is no (ledger|pool) at"):
        look(path)
    assert isinstance(path, PoolAddress) or not path.exists()


def test_looking_while_a_run_is_at_work(path: Place) -> None:
    async def work() -> None:
        async with opened(path) as ledger:
            await burn(await claim_of(ledger, chip(1)))
            await claim_of(ledger, chip(2))
            assert "claimed" in await to_thread.run_sync(export.show, path)
            assert "verifies" in await to_thread.run_sync(export.verify, path)

    run(work())


@in_a_file
def test_init_is_needed_after_a_loss_and_says_why(used: Path) -> None:
    with pytest.raises(LedgerUnusable, match="There is a ledger"):
        maintenance.init(used, why="a try")
    used.unlink()
    with pytest.raises(UsageError, match="reason"):
        maintenance.init(used, why=" ")
    assert "import-used" in maintenance.init(used, why="the disk died")
    assert run(burn_on(used, chip(1))) == 1
    made = event_of(used, "made")
    assert made["why"] == "the disk died"
    assert "entries" in str(made["replaces"])
    assert "verifies" in export.verify(used)


@in_a_file
def test_init_puts_the_log_of_the_lost_ledger_aside(path: Path) -> None:
    path.with_name(path.name + "-wal").write_bytes(b"log")
    maintenance.init(path, why="lost")
    assert path.with_name(path.name + "-wal.lost").read_bytes() == b"log"
    assert "verifies" in export.verify(path)


@in_a_file
def test_what_its_runs_locked_shows_that_there_was_a_ledger(used: Path) -> None:
    """Ledger and witness are both gone, and the third file is not: no new beginning."""
    runs = runs_path(used)
    assert runs.exists()
    used.unlink()
    witness_path(used).unlink()
    assert not is_missing(used)
    with pytest.raises(LedgerUnusable, match=r"is missing, but .*\.runs shows that there was one") as refused:
        run(burn_on(used, chip(1)))
    assert "ledger init" in refused.value.hint
    assert "import-used" in maintenance.init(used, why="it is lost")
    assert "was left" in str(event_of(used, "made")["replaces"])
    assert run(burn_on(used, chip(1))) == 1
    assert runs.exists()


@in_a_file
def test_adopt_an_older_copy(path: Path) -> None:
    run(burn_on(path, chip(1)))
    shutil.copy(path, path.with_name("copy"))
    run(burn_on(path, chip(2)))
    shutil.copy(path.with_name("copy"), path)
    with pytest.raises(LedgerUnusable, match="older"):
        run(burn_on(path, chip(3)))
    assert "adopted" in maintenance.adopt(path, why="restored from backup")
    assert event_of(path, "adopted")["why"] == "restored from backup"
    assert run(burn_on(path, chip(3))) == 2
    assert "verifies" in export.verify(path)


@in_a_file
def test_adopt_without_a_witness_and_with_a_damaged_one(path: Path) -> None:
    run(burn_on(path, chip(1)))
    witness_path(path).unlink()
    assert "was: none" in maintenance.adopt(path, why="moved from the old machine")
    witness_path(path).write_text("junk")
    assert "was: damaged" in maintenance.adopt(path, why="again")
    assert run(burn_on(path, chip(2))) == 2


@in_a_file
def test_adopt_refuses_a_changed_ledger(path: Path) -> None:
    import sqlite3

    run(burn_on(path, chip(1)))
    connection = sqlite3.connect(path)
    connection.execute("UPDATE units SET spent = 0")
    connection.commit()
    connection.close()
    with pytest.raises(LedgerUnusable, match=r"cannot be adopted: .* whether its index is spent"):
        maintenance.adopt(path, why="I did nothing")


def test_release_lets_a_unit_go_on_with_its_own_index(path: Place) -> None:
    async def go_on() -> None:
        async with opened(path) as ledger:
            claim = await claim_of(ledger, chip(1))
            assert (claim.index, claim.state) == (1, State.INCOMPLETE)
            assert claim.attempt is not None
            assert (await claim_of(ledger, chip(2))).index == 2

    run(quarantine(path))
    with pytest.raises(UnitQuarantined):
        run(burn_on(path, chip(1)))
    with pytest.raises(UsageError, match="no chip"):
        maintenance.release(path, ["00:00:00:00:00:00"], why="x")
    assert "index 1 of default" in maintenance.release(
        path, [chip(1).mac.upper().replace(":", "-")], why="bench says fine"
    )
    run(go_on())
    assert event_of(path, "released")["why"] == "bench says fine"
    with pytest.raises(UnitRefused, match="is incomplete, not quarantined"):
        maintenance.release(path, [chip(1).mac], why="again")
    assert "verifies" in export.verify(path)


def test_release_waits_for_a_run_at_work(path: Place) -> None:
    async def work() -> None:
        async with opened(path) as ledger:
            claim = await claim_of(ledger, chip(1))
            await claim.planned("plan", {})
            await claim.burn_attempted(attempt())
            await claim.quarantined("odd")
            with pytest.raises(UnitRefused, match="held by a run"):
                await to_thread.run_sync(partial(maintenance.release, path, [chip(1).mac], why="hurry"))

    run(work())


def test_import_used(path: Place, tmp_path: Path) -> None:
    file = tmp_path / "used.csv"
    file.write_text("# from the old sheet\n1-3\n5\n7, ESP32-C3, AA:BB:CC:00:00:07\n\n")

    async def work() -> None:
        async with opened(path) as ledger:
            kept = UnitIdentity("esp32c3", "aa:bb:cc:00:00:07")
            claims = await claims_of(ledger, [chip(1), chip(2), kept, chip(3)])
            assert [getattr(claim, "index", claim) for claim in claims] == [4, 6, 7, 8]

    maintenance.init(path, why="new machine")
    assert "5 indexes" in maintenance.import_used(path, file, why="old sheet", batch="default")
    assert "0 indexes" in maintenance.import_used(path, file, why="twice", batch="default")
    run(work())
    assert "verifies" in export.verify(path)


def test_a_chip_imported_by_its_mac_keeps_the_index_whatever_its_unique_id(
    path: Place, tmp_path: Path
) -> None:
    file = tmp_path / "used.csv"
    file.write_text("1,esp32c3,aa:bb:cc:00:00:07\n2,esp32c3,aa:bb:cc:00:00:08\n")
    seven, eight = (UnitIdentity("esp32c3", f"aa:bb:cc:00:00:0{n}", f"{n:032x}") for n in (7, 8))

    async def work() -> None:
        for _ in range(2):
            async with opened(path) as ledger:
                claims = await claims_of(ledger, [chip(1), eight, seven])
                found = [(getattr(one, "index", one), getattr(one, "known", one)) for one in claims[1:]]
                assert found == [(2, True), (1, True)]

    maintenance.init(path, why="new machine")
    maintenance.import_used(path, file, why="old sheet", batch="default")
    run(work())
    assert "verifies" in export.verify(path)
    file.write_text("5,esp32c3,aa:bb:cc:00:00:07\n")
    with pytest.raises(UnitRefused, match="is in the ledger already"):
        maintenance.import_used(path, file, why="x", batch="default")


@pytest.mark.parametrize(
    "line", ["x", "3-1", "1,2", '"1\n2"', "1-2,esp32,aa:bb:cc:dd:ee:ff", "1,esp32,nonsense", "-5", "1e3"]
)
def test_import_used_names_the_line(path: Place, tmp_path: Path, line: str) -> None:
    maintenance.init(path, why="new")
    file = tmp_path / "used.csv"
    file.write_text(f"# head\n{line}\n")
    with pytest.raises(UsageError, match=r"used\.csv:2: expected N"):
        maintenance.import_used(path, file, why="x", batch="default")


@pytest.mark.parametrize("lines", ["1-999999999", "5\n1-500000\n600001-1200000\n"])
def test_too_many_used_indexes_are_refused_at_once(path: Place, tmp_path: Path, lines: str) -> None:
    maintenance.init(path, why="new")
    file = tmp_path / "used.csv"
    file.write_text(lines)
    began = time.monotonic()
    with pytest.raises(UsageError, match="at most 1000000 are taken at once") as refused:
        maintenance.import_used(path, file, why="x", batch="default")
    assert time.monotonic() - began < 5
    assert "in parts" in refused.value.hint
    assert "no units" in export.show(path)


@in_a_file
def test_used_indexes_are_imported_in_a_time_that_grows_with_their_number_only(
    path: Path, tmp_path: Path
) -> None:
    """Steps of the database's machine, and not seconds: each index costs the same, however many there are."""
    maintenance.init(path, why="new")
    file = tmp_path / "used.csv"
    counted: list[int] = []

    def count() -> None:
        counted[-1] += 1

    real = schema.connect

    def connect(place: Path, *, durable: bool = True) -> sqlite3.Connection:
        connection = real(place, durable=durable)
        connection.set_progress_handler(count, 100)
        return connection

    with patch.object(schema, "connect", connect):
        for first, last in ((1, 1000), (1001, 5000), (5001, 6000)):
            counted.append(0)
            file.write_text(f"{first}-{last}\n")
            said = maintenance.import_used(path, file, why="x", batch="default")
            assert f"{last - first + 1} indexes" in said
    assert 0 < counted[2] < 2 * counted[0]
    assert "verifies" in export.verify(path)


def test_import_used_takes_nothing_from_a_chip(path: Place, tmp_path: Path) -> None:
    file = tmp_path / "used.csv"
    file.write_text("9\n1,chip,aa:bb:cc:00:00:09\n")
    run(burn_on(path, chip(1)))
    with pytest.raises(UnitRefused, match=r"used\.csv:2: index 1 is held by"):
        maintenance.import_used(path, file, why="x", batch="default")
    file.write_text("8,chip,aa:bb:cc:00:00:01\n")
    with pytest.raises(UnitRefused, match="is in the ledger already"):
        maintenance.import_used(path, file, why="x", batch="default")
    assert "1 units" in export.show(path)


@in_a_file
def test_keeping_up_needs_the_right_ledger(path: Path) -> None:
    with pytest.raises(LedgerUnusable, match="There is no ledger"):
        maintenance.release(path, [chip(1).mac], why="x")
    run(burn_on(path, chip(1)))
    witness_path(path).unlink()
    with pytest.raises(LedgerUnusable, match="witness"):
        maintenance.release(path, [chip(1).mac], why="x")


# Another ledger, and boards that are dead ------------------------------------------------------------


def records(count: int = 9) -> BatchSpec:
    return batch({n: f"record{n}" for n in range(1, count + 1)})


@pytest.fixture
def first(tmp_path: Path) -> Path:
    """The ledger of another PC: two chips that passed, one that was begun, one that is quarantined."""
    path = tmp_path / "first" / "ledger.sqlite3"

    async def work() -> None:
        async with opened(path, records()) as ledger:
            claims = [await claim_of(ledger, chip(n)) for n in (1, 2, 3, 4)]
            for claim in claims[:2]:
                await burn(claim, values={"CUSTOM_MAC": f"02:00:00:00:00:0{claim.index}"})
            for claim in claims[2:]:
                await claim.planned("plan", {})
                await claim.burn_attempted(attempt())
            await claims[2].incomplete("unplugged")
            await claims[3].quarantined("odd")

    run(work())
    return path


def given(first: Path, form: str) -> Path:
    """The other ledger as it comes: its file, or an export."""
    if form == "file":
        return first
    file = first.with_name(f"export.{form}")
    file.write_text(export.export(first, form))
    return file


@pytest.mark.parametrize("form", ["file", "json", "csv"])
def test_another_ledger_is_taken_over_with_identities_records_and_values(
    path: Place, first: Path, form: str
) -> None:
    maintenance.init(path, why="a second PC")
    maintenance.scrap(first, [chip(1).mac], why="fell")
    assert "4 chips were taken over" in maintenance.import_used(path, given(first, form), why="two PCs")
    assert "0 chips were taken over" in maintenance.import_used(path, given(first, form), why="twice")
    assert "verifies" in export.verify(path)
    assert "scrapped: fell" in export.show(path)

    async def work() -> None:
        async with opened(path, records()) as ledger:
            known, begun, new = await claims_of(ledger, [chip(2), chip(3), chip(9)])
            assert not isinstance(known, LedgerError)
            assert (known.index, known.state, known.passed_jobs) == (2, State.PASS, frozenset({"job"}))
            assert not isinstance(begun, LedgerError)
            assert (begun.index, begun.state) == (3, State.INCOMPLETE)
            assert begun.attempt is not None
            assert begun.attempt.plan_digest != "plan"  # its keys' digests mean nothing here
            assert not isinstance(new, LedgerError)
            assert new.index == 5
            with pytest.raises(UniqueValueTaken, match="belongs to the chip"):
                await new.planned("other", {"CUSTOM_MAC": "02:00:00:00:00:01"})
            with pytest.raises(UnitQuarantined):
                await claim_of(ledger, chip(4))

    run(work())
    assert "verifies" in export.verify(path)


@pytest.mark.parametrize("form", ["file", "json", "csv"])
def test_its_records_go_to_no_other_chip_whatever_the_batch_is_called(
    path: Place, first: Path, form: str
) -> None:
    maintenance.init(path, why="a second PC")
    maintenance.import_used(path, given(first, form), why="two PCs", batch="order 7")

    async def work() -> None:
        async with opened(path, batch({1: "record1", 2: "x"}, name="order 8")) as ledger:
            await claim_of(ledger, chip(9))

    with pytest.raises(BatchRefused, match="carries as index 1 of the batch order 7"):
        run(work())


def test_what_contradicts_is_listed_and_nothing_is_taken(path: Place, first: Path) -> None:
    async def work() -> None:  # the same files on this PC, without knowing of the other one
        async with opened(path, records()) as ledger:
            for number in (8, 1):
                await burn(await claim_of(ledger, chip(number)))

    run(work())
    before = export.export(path)
    with pytest.raises(UnitRefused) as refused:
        maintenance.import_used(path, first, why="two PCs")
    text = str(refused.value)
    assert f"{chip(1)} has index 2 of" in text
    assert f"is held by {chip(8)} here, by {chip(1)} there" in text
    assert f"The record of {chip(1)} (index 1) is on {chip(8).mac} here (index 1)" in text
    assert f"The record of {chip(2)} (index 2) is on {chip(1).mac} here (index 2)" in text
    assert export.export(path) == before


def test_digests_of_keys_stay_behind_in_all_that_was_known_of_a_passed_chip(
    path: Place, tmp_path: Path
) -> None:
    first = tmp_path / "first" / "ledger.sqlite3"
    image = '{"blocks":{"0":"1","4":"hmac:aa"},"earlier":{"3":"7","5":"hmac:bb"}}'

    async def work() -> None:
        async with opened(first) as ledger:
            claim = await claim_of(ledger, chip(1))
            await claim.planned("plan", {})
            await claim.burn_attempted(attempt())
            await claim.step_done("KEY0", State.VERIFIED)
            await claim.passed("job", image)

    async def look() -> str:
        async with opened(path) as ledger:
            return (await claim_of(ledger, chip(1))).image_passed

    run(work())
    maintenance.init(path, why="a second PC")
    maintenance.import_used(path, first, why="two PCs")
    assert json.loads(run(look())) == {"blocks": {"0": "1"}, "earlier": {"3": "7"}}


WAYS = {"same": ("WEEK",), "unique": ("SERIAL", "A+B")}


def declared(name: str, *, same: tuple[str, ...] = (), unique: tuple[str, ...] = ()) -> BatchSpec:
    return batch({1: f"one{name}"}, name=name)._replace(same=same, unique=unique)


async def open_once(path: Place, *specs: BatchSpec) -> None:
    for spec in specs:
        async with opened(path, spec):
            pass


@pytest.mark.parametrize("form", ["file", "json"])
@in_a_file
def test_what_was_declared_is_taken_over_and_handed_on(path: Path, tmp_path: Path, form: str) -> None:
    first, third = tmp_path / "first" / "ledger.sqlite3", tmp_path / "third" / "ledger.sqlite3"
    sharing = declared("B", **WAYS)._replace(shares_with="A")
    run(open_once(first, declared("A"), sharing, declared("of other scripts")))
    for place, source in ((path, first), (third, path)):
        maintenance.init(place, why="another PC")
        text = maintenance.import_used(place, given(source, form), why="two PCs")
        words = "--same WEEK --unique A+B --unique SERIAL --shares-with A"
        assert f"for the batch B was taken over: {words}.\n" in text
        assert "was declared" not in maintenance.import_used(place, given(source, form), why="twice")
        assert "verifies" in export.verify(place)

    async def work() -> None:
        async with opened(third, declared("B")) as ledger:
            assert ledger.declared == (("WEEK",), ("A+B", "SERIAL"))

    run(work())


def test_only_the_batch_that_is_named_is_taken_over(path: Place, tmp_path: Path) -> None:
    first = tmp_path / "first" / "ledger.sqlite3"
    run(open_once(first, declared("A", same=("WEEK",)), declared("B", same=("YEAR",))))
    maintenance.init(path, why="a second PC")
    with pytest.raises(UsageError, match="has the batches A, B"):
        maintenance.import_used(path, first, why="two PCs", batch="C")
    text = maintenance.import_used(path, first, why="two PCs", batch="B")
    assert "for the batch B was taken over: --same YEAR." in text
    assert json.loads(export.export(path))["batches"] == ["B"]


@in_a_file
def test_declarations_that_contradict_are_both_named_and_nothing_is_taken(path: Path, tmp_path: Path) -> None:
    first = tmp_path / "first" / "ledger.sqlite3"
    run(burn_on(first, chip(1), declared("A", **WAYS)))
    run(open_once(path, declared("A", same=("SERIAL",), unique=("YEAR",))))
    for place, form in ((first, "row"), (path, "line")):
        with closing(sqlite3.connect(place)) as connection, connection:
            connection.execute("INSERT INTO batch_files SELECT id, 'ids.csv', ?, '' FROM batches", (form,))
    before = export.export(path)
    with pytest.raises(UnitRefused) as refused:
        maintenance.import_used(path, first, why="two PCs")
    assert "The batch A has --same SERIAL here and --unique SERIAL there." in str(refused.value)
    assert "has --records ids.csv=line here and --records ids.csv=row there." in str(refused.value)
    assert "declares anew" in refused.value.hint
    assert "two chips" not in refused.value.hint
    assert export.export(path) == before
    maintenance.import_used(path, first, why="two PCs", batch="another")


def test_lines_without_a_batch_are_refused(path: Place, tmp_path: Path) -> None:
    maintenance.init(path, why="new")
    file = tmp_path / "used.csv"
    file.write_text("1-3\n")
    with pytest.raises(UsageError, match="Of which batch"):
        maintenance.import_used(path, file, why="x")


@pytest.mark.parametrize("text", ["{}", '{"units": 3}', "batch,index,chip,mac,unique_id,state,\n1,2\n"])
def test_what_is_no_ledger_is_told(path: Place, tmp_path: Path, text: str) -> None:
    maintenance.init(path, why="new")
    file = tmp_path / "other"
    file.write_text(text)
    with pytest.raises(UsageError, match="no export of one that can be understood"):
        maintenance.import_used(path, file, why="x")


def test_a_dead_board_is_written_off_and_its_index_stays_spent(path: Place) -> None:
    run(burn_on(path, chip(1), records()))
    with pytest.raises(UsageError, match="knows no chip aa:bb:cc:00:00:07"):
        maintenance.scrap(path, [chip(1).mac, chip(7).mac], why="fell")
    assert "scrapped" not in export.show(path)
    assert "stays spent" in maintenance.scrap(path, [chip(1).mac], why="fell on the floor")
    assert "scrapped: fell on the floor" in export.show(path)
    assert json.loads(export.export(path))["units"][0]["state"] == "pass"
    with pytest.raises(UnitRefused, match="is written off: fell on the floor"):
        run(burn_on(path, chip(1), records()))
    assert run(burn_on(path, chip(2), records())) == 2
    assert "verifies" in export.verify(path)
    maintenance.release(path, [chip(1).mac], why="it was another one")
    assert json.loads(export.export(path))["units"][0]["state"] == "pass"
    assert "verifies" in export.verify(path)


def test_many_are_released_and_one_wrong_word_releases_none(path: Place) -> None:
    async def work() -> None:
        async with opened(path) as ledger:
            for number in range(1, 5):
                claim = await claim_of(ledger, chip(number))
                await claim.planned("plan", {})
                await claim.burn_attempted(attempt())
                await (claim.quarantined("odd") if number < 4 else claim.incomplete("cut"))

    def states() -> list[str]:
        return [unit["state"] for unit in json.loads(export.export(path))["units"]]

    run(work())
    before = states()
    with pytest.raises(UsageError, match="knows no chip aa:bb:cc:00:00:63"):
        maintenance.release(path, [chip(1).mac, chip(99).mac, chip(2).mac], why="bench")
    with pytest.raises(UnitRefused, match=f"{chip(4).mac} is incomplete, not quarantined"):
        maintenance.release(path, [chip(1).mac, chip(4).mac], why="bench")
    assert states() == before
    maintenance.release(path, [chip(1).mac, chip(2).mac], why="bench")
    assert states() == ["incomplete", "incomplete", "quarantined", "incomplete"]
    with pytest.raises(UnitRefused, match="No chip of the batch other"):
        maintenance.release(path, [], why="bench", all_of="other")
    assert chip(3).mac in maintenance.release(path, [], why="bench", all_of="default")
    assert states() == ["incomplete"] * 4
    assert "verifies" in export.verify(path)
