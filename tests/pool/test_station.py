"""A station whose pool goes away and comes back, without anybody's word."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from parburn.ledger.export import verify
from parburn.ledger_place import PoolAddress
from parburn.sim.control_client import ControlledRig
from tests.ledger.ledgers import looking
from tests.pool.proxy import Proxy, through
from tests.pool.server import Server
from tests.station.at_work import arm, make_job, running

SOCKETS = 4


@pytest.mark.parametrize("how", ["cut", "stalled"])
def test_boards_wait_while_the_pool_is_away_and_pass_when_it_is_back(
    server: Server, pool: PoolAddress, network: Proxy, tmp_path: Path, how: str
) -> None:
    with ControlledRig(f"esp32c3:{SOCKETS}", folder=tmp_path / "rig", lines=True) as rig:
        job = make_job(tmp_path, rig, more="first_article = 0\n")
        job.write_text(
            job.read_text().replace('path = "ledger.sqlite3"', f'path = "{through(network, pool)}"')
        )
        armed = arm(job)
        assert armed.returncode == 0, armed.stderr
        with running(job) as station:
            rig.insert(0)
            station.verdict("A1", "PASS")
            if how == "cut":
                network.refuses = True
                network.cut_all()
            else:
                network.stall()
            for number in range(1, SOCKETS):
                rig.insert(number)
            time.sleep(8)
            with looking(pool) as sql:
                assert sql.execute("SELECT count(*) FROM units WHERE state = 'pass'").fetchone() == (1,)
            network.refuses = False
            network.stall(ends=True)
            passed: set[str] = set()
            while len(passed) < SOCKETS - 1:
                passed.add(station.until(lambda one: one.get("word") == "PASS", "PASS")["slot"])
            assert not any(one["event"] == "halt" for one in station.said)
            assert not any(one.get("word") in ("RETRY", "RED BIN", "SOCKET OFF") for one in station.said)
            held = [one for one in station.said if one.get("state") == "hold"]
            assert all("no connection to the pool" in one["detail"] for one in held), held
            assert station.stop() == 0
    with looking(pool) as sql:
        found = sql.execute("SELECT state, idx FROM units ORDER BY idx").fetchall()
    assert found == [("pass", number) for number in range(1, SOCKETS + 1)]
    assert "verifies" in verify(pool)
