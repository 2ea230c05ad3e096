"""What a station writes into the history, of no unit but within the chain. A halt holds until it is ended."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parburn.errors import LedgerError, LedgerUnusable
from parburn.ledger import schema, station_entries
from parburn.ledger.export import export, show, verify
from parburn.ledger.history import History
from parburn.ledger.reading import reading
from parburn.ledger.run_records import run_records
from parburn.ledger.station_entries import (
    ARMED,
    ENDED,
    EVENTS,
    HALTED,
    RESUMED,
    STARTED,
    Halt,
    find_halt,
    find_halts,
)
from parburn.ledger.without_run import note, note_armed
from parburn.ledger_place import Place, PoolAddress

from .ledgers import batch, burn, burn_on, chip, claim_of, in_a_file, looking, opened, run
from .test_history import change

NAME = "blue"


def halt_of(path: Place, name: str) -> Halt | None:
    with reading(path) as (connection, _place):
        return find_halt(connection, name)


@pytest.fixture
def path(path: Place) -> Place:
    run(burn_on(path, chip(1), batch(name=NAME)))
    return path


def test_a_station_tells_its_day(path: Place) -> None:
    note_armed(path, batch=NAME, arming="d1", operator="Eve", station="bench 2", chips=["esp32c3"])

    async def work() -> None:
        async with opened(path, batch(name=NAME), arming="d1") as ledger:
            await ledger.tell_station(STARTED, operator="Bob")
            await burn(await claim_of(ledger, chip(2)))
            await ledger.tell_station(HALTED, why="a double")
            halt = await ledger.find_halt()
            assert halt is not None
            assert (halt.why, halt.batch, halt.arming) == ("a double", NAME, "d1")
            await ledger.tell_station(ENDED, passed=1)

    run(work())
    halt = halt_of(path, NAME)
    assert halt is not None
    assert halt.why == "a double"
    note(path, RESUMED, batch=NAME, why="the file was mended", operator="Eve")
    assert halt_of(path, NAME) is None
    assert "verifies" in verify(path)
    told = [one for one in json.loads(export(path))["history"] if one["event"].startswith("station-")]
    assert [one["event"] for one in told] == [ARMED, STARTED, HALTED, ENDED, RESUMED]
    assert all(one["unit"] is None for one in told)
    assert told[0]["detail"] == {
        "arming": "d1", "batch": NAME, "chips": ["esp32c3"], "operator": "Eve", "station": "bench 2"
    }  # fmt: skip
    assert told[1]["detail"] == {"arming": "d1", "batch": NAME, "operator": "Bob"}
    with looking(path) as connection:
        assert len(list(run_records(connection))) == 2  # they are no boards


@settings(deadline=None)  # a database each
@given(st.lists(st.tuples(st.sampled_from(EVENTS), st.sampled_from(["a", "b"])), max_size=12))
def test_the_last_halt_holds_until_an_arming_or_a_resume(told: list[tuple[str, str]]) -> None:
    expected: dict[str, int | None] = {}
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        schema.apply_migrations(connection, 0)
        history = History(connection, at="now", run=None)
        for event, name in told:
            station_entries.write(history, event, batch=name, why=event)
            if event == HALTED:
                expected[name] = history.sequence
            elif event in (ARMED, RESUMED):
                expected[name] = None
        history.flush()
        found = {name: find_halt(connection, name) for name in ("a", "b")}
        all_found = find_halts(connection)
    assert {n: h.sequence for n, h in found.items() if h} == {n: s for n, s in expected.items() if s}
    assert all_found == sorted((h for h in found.values() if h), key=lambda h: -h.sequence)


def test_a_halt_that_holds_is_shown(path: Place) -> None:
    assert "halted" not in show(path)
    note(path, HALTED, batch=NAME, why="a double \x1b[2J")
    shown = show(path)
    assert f"The station of the batch {NAME} is halted since" in shown
    assert "a double ?[2J" in " ".join(shown.split())
    note_armed(path, batch=NAME, arming="d2", operator="Eve")
    assert "halted" not in show(path)


def test_odd_texts_are_kept_as_far_as_they_can_be_read(path: Place) -> None:
    note(path, HALTED, batch=NAME, why="odd \udcff byte", operator="ä\x00" * 2000)
    halt = halt_of(path, NAME)
    assert halt is not None
    assert halt.why == "odd \\udcff byte"
    assert len(halt.operator) == station_entries.TEXT_AT_MOST
    assert "verifies" in verify(path)
    export(path)


@pytest.mark.parametrize(
    ("event", "detail"),
    [
        ("station-danced", {"batch": NAME}),
        ("passed", {"batch": NAME}),
        (HALTED, {}),
        (HALTED, {"batch": ""}),
        (HALTED, {"batch": NAME, "unit": 1}),
        (HALTED, {"batch": NAME, "state": "pass"}),
    ],
)
def test_what_is_no_entry_of_a_station_is_refused(path: Place, event: str, detail: dict[str, object]) -> None:
    before = export(path)
    with pytest.raises(LedgerError):
        note(path, event, **detail)
    assert export(path) == before


def test_a_ledger_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(LedgerUnusable, match="no ledger"):
        note_armed(tmp_path / "none.sqlite3", batch=NAME, arming="d", operator="Eve")
    assert not list(tmp_path.iterdir())


def test_a_changed_arming_shows(path: Place) -> None:
    note_armed(path, batch=NAME, arming="d1", operator="Eve")
    change(path, "UPDATE history SET detail = replace(detail, 'd1', 'd2') WHERE event = 'station-armed'")
    with pytest.raises(LedgerUnusable, match="was changed"):
        verify(path)


def test_entries_that_nobody_understands_end_nothing(path: Place) -> None:
    """As another version may write them; `verify` judges the chain."""
    note(path, HALTED, batch=NAME, why="a double")
    chain, there = (", chain, number", ", chain, 9999") if isinstance(path, PoolAddress) else ("", "")
    with looking(path) as connection:
        connection.execute(
            f"INSERT INTO history (seq{chain}, at, run, unit, event, state, idx, detail, hash)"
            f" SELECT 9999{there}, at, run, unit, 'station-armed', state, idx, '[1', hash"
            " FROM history ORDER BY seq DESC LIMIT 1"
        )
        assert find_halt(connection, NAME) is not None


@in_a_file
def test_a_halt_is_found_in_a_few_seeks(path: Place) -> None:
    note(path, HALTED, batch=NAME, why="a double")
    with looking(path) as connection:
        said: list[str] = []
        connection.set_trace_callback(said.append)
        find_halt(connection, NAME)
        connection.set_trace_callback(None)
        plans = [row[3] for one in said for row in connection.execute(f"EXPLAIN QUERY PLAN {one}").fetchall()]
    assert any("history_of_none" in plan for plan in plans), plans
    assert not [plan for plan in plans if plan.startswith("SCAN")], plans
