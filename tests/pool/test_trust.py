"""Which pools are trusted: none that may lose what it has confirmed, and none that is not what it was."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from parburn.errors import LedgerUnusable, UsageError
from parburn.ledger import maintenance
from parburn.ledger.export import show, verify
from parburn.ledger.pool import store as pool_store
from parburn.ledger_place import PoolAddress, parse_address, parse_place
from tests.ledger.ledgers import burn, burn_on, chip, claim_of, looking, made, opened, run
from tests.pool.server import Server


def owner(server: Server, *statements: str, database: str = "postgres") -> None:
    """Do what an administrator does."""
    with psycopg.connect(server.address(database), autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)


def database_of(pool: PoolAddress) -> str:
    return str(pool).rpartition("/")[2]


def copy_of(server: Server, pool: PoolAddress) -> PoolAddress:
    """A copy of a database as it is now."""
    name = f"{database_of(pool)}_copy"
    owner(server, f"CREATE DATABASE {name} TEMPLATE {database_of(pool)}")
    return PoolAddress(server.address(name))


def test_a_pool_that_is_put_back_is_refused_for_all_until_it_is_adopted(
    server: Server,
    pool: PoolAddress,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    assert run(burn_on(pool, chip(1), CUSTOM_MAC="02:00:00:00:00:01")) == 1
    older = copy_of(server, pool)
    assert run(burn_on(pool, chip(2), CUSTOM_MAC="02:00:00:00:00:02")) == 2
    with pytest.raises(LedgerUnusable, match="older than this station knows it") as refused:
        run(burn_on(older, chip(3)))
    assert "--first-free" in refused.value.hint
    with monkeypatch.context() as elsewhere:  # a station that never saw it believes the first that did
        elsewhere.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        with pytest.raises(LedgerUnusable, match=r"is refused: .*older than this station"):
            run(burn_on(older, chip(3)))
        assert "1 with an index" in show(older)  # looking is no burning
    with pytest.raises(UsageError, match="first that was surely given to no chip"):
        maintenance.adopt(older, why="restored")
    said = maintenance.adopt(older, why="restored", first_free=3)
    assert "1 indexes below 3" in said
    assert run(burn_on(older, chip(3), CUSTOM_MAC="02:00:00:00:00:03")) == 3
    assert "verifies" in verify(older)


@pytest.mark.parametrize("changed", ["system = 'another'", "timeline = timeline + 1"])
def test_another_server_or_timeline_is_refused(pool: PoolAddress, changed: str) -> None:
    run(burn_on(pool, chip(1)))
    with looking(pool) as sql:
        sql.execute(f"UPDATE pool SET {changed}")
    with pytest.raises(LedgerUnusable, match="another server than it was, or on another timeline"):
        run(burn_on(pool, chip(2)))
    maintenance.adopt(pool, why="failed over", first_free=2)
    assert run(burn_on(pool, chip(2))) == 2


def test_a_connection_that_comes_back_to_a_pool_that_was_put_back_burns_nothing(pool: PoolAddress) -> None:
    """Also where the station's file does not know yet how far the pool had come."""

    async def work() -> None:
        async with opened(pool) as ledger:
            claim = await claim_of(ledger, chip(1))
            with looking(pool) as sql:
                older = sql.execute("SELECT sequence, head FROM pool").fetchone()
            await claim.planned("plan", {"CUSTOM_MAC": "02:00:00:00:00:01"})
            with looking(pool) as sql:  # as if the last second had never been
                sql.execute("DELETE FROM anchors WHERE sequence > ?", older[:1])
                sql.execute("UPDATE pool SET sequence = ?, head = ?", older)
                end_all_connections(sql)
            with pytest.raises(LedgerUnusable, match="older than this station knows it"):
                await claim.passed("job")

    with pytest.raises(LedgerUnusable):
        run(work())


def end_all_connections(sql: Any) -> None:
    """End what parburn has open in this database."""
    sql.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'parburn'"
        " AND pid != pg_backend_pid() AND datname = current_database()"
    ).fetchall()


def test_a_connection_that_comes_back_to_another_timeline_burns_nothing(pool: PoolAddress) -> None:
    async def work() -> None:
        async with opened(pool) as ledger:
            claim = await claim_of(ledger, chip(1))
            await claim.planned("plan", {})
            with looking(pool) as sql:
                sql.execute("UPDATE pool SET timeline = timeline + 1")
                end_all_connections(sql)
            with pytest.raises(LedgerUnusable, match="another timeline"):
                await claim.passed("job")

    with pytest.raises(LedgerUnusable):
        run(work())


@pytest.mark.parametrize(("setting", "says"), [("synchronous_commit = off", "synchronous_commit=off")])
def test_a_server_that_may_lose_a_commit_is_refused(
    server: Server, pool: PoolAddress, setting: str, says: str
) -> None:
    owner(server, f"ALTER DATABASE {database_of(pool)} SET {setting}")
    with pytest.raises(LedgerUnusable, match=says):
        run(burn_on(pool, chip(1)))


@pytest.mark.parametrize(
    "text",
    ["host=db user=anna password=secret dbname=p", "postgresql:/anna:secret@db/p", "x?Password = secret"],
)
def test_no_password_of_another_way_of_writing_is_shown(text: str) -> None:
    with pytest.raises(UsageError, match="holds a password") as refused:
        parse_place(text)
    assert "secret" not in str(refused.value) + refused.value.hint


def test_a_server_process_that_did_not_end_is_not_forgotten(
    pool: PoolAddress, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it was doing may still happen: it is ended before the next thing is done."""
    ended = []

    def end(_sql: object, backend: object, _until_s: float) -> None:
        ended.append(backend)
        if len(ended) == 1:
            raise LedgerUnusable("it does not end")

    monkeypatch.setattr(pool_store, "end_backend", end)

    async def work() -> None:
        async with opened(pool) as ledger:
            claim = await claim_of(ledger, chip(1))
            with looking(pool) as sql:
                end_all_connections(sql)
            with pytest.raises(LedgerUnusable, match="does not end"):
                await claim.planned("plan", {})
            await claim.planned("plan", {})

    run(work())
    assert len(ended) == 2
    assert ended[0] == ended[1]


def test_no_password_stands_in_an_address() -> None:
    for text in (
        "postgresql://anna:secret@db/parburn",
        "postgresql://anna@db/parburn?password=secret",
        "postgres://anna@db/parburn?sslpassword=secret",
    ):
        with pytest.raises(UsageError, match="holds a password") as refused:
            parse_address(text)
        assert "secret" not in str(refused.value) + refused.value.hint


@pytest.mark.parametrize(
    ("text", "far"),
    [
        ("postgresql://db/parburn", True),
        ("postgresql://station7@10.0.0.5:5432/parburn", True),
        ("postgresql://localhost:5432/parburn", False),
        ("postgresql://127.0.0.1/parburn", False),
        ("postgresql://[::1]:5432/parburn", False),
        ("postgresql:///parburn", False),
        ("postgresql:///parburn?host=/run/postgresql", False),
        ("postgresql:///parburn?host=db", True),
        ("postgresql://localhost,db/parburn", True),
    ],
)
def test_what_is_on_another_machine_is_encrypted(text: str, far: bool) -> None:
    assert parse_address(text).is_far is far


def test_a_station_may_burn_and_never_change_what_was_written(server: Server) -> None:
    owner(
        server,
        "DROP ROLE IF EXISTS station7",
        "DO $$ BEGIN CREATE ROLE parburn_station; EXCEPTION WHEN duplicate_object THEN NULL; END $$",
        "CREATE ROLE station7 LOGIN IN ROLE parburn_station",
    )
    database = server.new_database()
    made(PoolAddress(database))
    station = PoolAddress(database.replace("postgres@", "station7@"))

    async def work() -> None:
        async with opened(station) as ledger:
            claim = await claim_of(ledger, chip(1))
            await burn(claim, values={"CUSTOM_MAC": "02:00:00:00:00:01"})
            await claim.end()
            other = await claim_of(ledger, chip(2))
            await other.failed_clean("the script", release=True, script_failed=True)

    run(work())
    assert "verifies" in verify(station)
    for statement in (
        "UPDATE history SET detail = ''",
        "DELETE FROM history",
        "DELETE FROM anchors",
        "UPDATE anchors SET head = ''",
        "DELETE FROM units",
        "UPDATE meta SET value = ''",
        "DROP TABLE history",
    ):
        with looking(station) as sql, pytest.raises(psycopg.errors.InsufficientPrivilege):
            sql.execute(statement)
