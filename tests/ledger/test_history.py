"""The chain: whatever is changed, removed or cut in a ledger shows."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import pytest

from parburn.errors import LedgerUnusable
from parburn.ledger.export import verify
from parburn.ledger_place import Place

from .ledgers import attempt, batch, burn, chip, claim_of, looking, opened, run


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "ledger.sqlite3"

    async def work() -> None:
        async with opened(path, batch({1: "one", 2: "two"})) as ledger:
            await burn(await claim_of(ledger, chip(1)), values={"CUSTOM_MAC": "m"})
            claim = await claim_of(ledger, chip(2))
            await claim.planned("plan", {"CUSTOM_MAC": "n"})
            await claim.burn_attempted(attempt())
            await claim.incomplete("unplugged")
            await (await claim_of(ledger, chip(3))).failed_clean("script", release=True)

    run(work())
    return path


def change(path: Place, *statements: str) -> None:
    """As somebody would who has a copy of SQLite, or owns the pool, and no respect."""
    with looking(path) as connection:
        if isinstance(connection, sqlite3.Connection):
            connection.execute("DROP TRIGGER history_stays")
            connection.execute("DROP TRIGGER history_is_kept")
        for statement in statements:
            assert connection.execute(statement).rowcount > 0, statement


def test_an_untouched_ledger_verifies(path: Path) -> None:
    assert "verifies" in verify(path)


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ("UPDATE history SET idx = 9 WHERE seq = 4", "Entry 4 was changed"),
        ("UPDATE history SET at = '2020' WHERE seq = 4", "Entry 4 was changed"),
        ("UPDATE history SET detail = '{}' WHERE seq = 5", "Entry 5 was changed"),
        ("UPDATE history SET state = 'pass' WHERE state = 'incomplete'", "was changed"),
        ("UPDATE history SET hash = 'feed' WHERE seq = 6", "Entry 6 was changed"),
        ("DELETE FROM history WHERE seq = 6", "Entry 6 is missing"),
        ("DELETE FROM history WHERE seq IN (6, 7, 8)", "Entry 6 to 8 is missing"),
        ("DELETE FROM history WHERE seq = (SELECT max(seq) FROM history)", "older than its witness"),
        ("UPDATE units SET state = 'pass' WHERE state = 'incomplete'", "is not what its history says"),
        ("UPDATE units SET idx = 7 WHERE idx = 2", "is not what its history says"),
        ("UPDATE units SET mac = 'aa:bb:cc:00:00:09' WHERE idx = 1", "is not what its history says"),
        ("UPDATE units SET spent = 0 WHERE idx = 1", "is not what its history says"),
        ("DELETE FROM units WHERE idx = 1", "its row is missing"),
        ("INSERT INTO units SELECT 99, batch, chip, 'm', '', 5, state, run, 1, 0, '', '', '', '', 0, '', 0 "
         "FROM units LIMIT 1",
         "is not what its history says"),
        ("DELETE FROM unique_values WHERE value = 'm'", "unique values"),
        ("UPDATE unique_values SET value = 'z' WHERE value = 'n'", "unique values"),
        ("DELETE FROM records WHERE unit = 1", "records"),
        ("DELETE FROM passes", "passed jobs"),
        ("UPDATE attempts SET image_before = 'other'", "attempts"),
        ("UPDATE attempts SET arming = 'other'", "attempts"),
        ("UPDATE units SET cause = 'stop' WHERE idx = 2", "how its last attempt ended"),
        ("UPDATE units SET went_on = 1 WHERE idx = 2", "how often it went on by itself"),
        ("INSERT INTO pass_armings VALUES (1, 'other')", "armings it has passed under"),
        ("UPDATE runs SET station = 'other'", "Run 1 is not what the history says: its station"),
        ("UPDATE runs SET operator = 'Bob' WHERE id = 1", "Run 1 is not what the history says"),
    ],
)  # fmt: skip
def test_tampering_shows(path: Path, statement: str, says: str) -> None:
    change(path, statement)
    with pytest.raises(LedgerUnusable, match="does not verify") as refused:
        verify(path)
    assert says in str(refused.value)


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        (
            "UPDATE units SET idx = 9 WHERE idx = 1",
            "gives The unit chip aa:bb:cc:00:00:01 the index 9, and it had 1",
        ),
        ("UPDATE units SET idx = 7 WHERE idx = 2", "the index 7, and it had 2"),
        ("UPDATE units SET state = 'incomplete' WHERE idx = 1", "the state incomplete, and it was pass"),
        ("UPDATE units SET state = 'pass' WHERE idx = 2", "the state pass, and it was incomplete"),
        ("UPDATE units SET state = 'claimed' WHERE idx = 2", "the state claimed, and it was incomplete"),
        (
            "UPDATE units SET mac = 'aa:bb:cc:00:00:09', unique_id = '' WHERE idx = 1",
            "is not what its history says: identity",
        ),
    ],
)
def test_a_changed_row_shows_after_a_later_run(path: Path, statement: str, says: str) -> None:
    """The next run writes what it finds into the history, and from then on both agree."""

    async def later() -> None:
        async with opened(path, batch({1: "one", 2: "two"})) as ledger:
            for number in (1, 2):
                claim = await claim_of(ledger, chip(number))
                await claim.failed_clean("nothing", release=True)

    change(path, statement)
    run(later())
    with pytest.raises(LedgerUnusable, match="does not verify") as refused:
        verify(path)
    assert says in str(refused.value)


def test_a_rewritten_end_shows_by_the_witness(path: Path) -> None:
    """The last entry replaced by another one with a right hash: the chain is whole, its head is not ours."""
    from parburn.ledger.history import entry_hash

    connection = sqlite3.connect(path)
    rows = connection.execute(
        "SELECT seq, at, run, unit, event, state, idx, detail, hash FROM history ORDER BY seq DESC LIMIT 2"
    ).fetchall()
    connection.close()
    last, before = rows
    forged = entry_hash(before[8], (last[0], "2020", *last[2:8]))
    change(path, f"UPDATE history SET at = '2020', hash = '{forged}' WHERE seq = {last[0]}")
    with pytest.raises(LedgerUnusable, match="another history than its witness"):
        verify(path)


def test_the_database_itself_refuses_to_change_the_history(path: Path) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    for statement in ("UPDATE history SET at = ''", "DELETE FROM history"):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            connection.execute(statement)
    connection.close()


def test_the_database_itself_refuses_one_index_on_two_chips(path: Path) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    with pytest.raises(sqlite3.IntegrityError, match="UNIQUE"):
        connection.execute("UPDATE units SET idx = 1 WHERE idx = 2")
    with pytest.raises(sqlite3.IntegrityError, match="UNIQUE"):
        connection.execute("UPDATE unique_values SET value = 'm'")
    connection.close()


def test_a_cut_file_is_refused(path: Path) -> None:
    content = path.read_bytes()
    sizes = range(0, len(content), len(content) // 7)
    cuts = [size for size in sizes if any(content[size:])]  # zeros at the end of an empty page are no loss
    assert len(cuts) >= 7
    for size in cuts:
        path.write_bytes(content[:size])
        with pytest.raises(LedgerUnusable):
            verify(path)
    path.write_bytes(content)
    assert "verifies" in verify(path)


def test_a_damaged_file_never_gives_a_traceback(path: Path) -> None:
    content = path.read_bytes()
    for at in range(0, len(content), 997):
        path.write_bytes(content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :])
        with contextlib.suppress(LedgerUnusable):  # any other exception fails
            verify(path)
