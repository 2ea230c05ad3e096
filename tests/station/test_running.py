"""A station as a whole: what ends it says why, and jobs that are called alike are told apart."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from parburn.errors import UsageError
from parburn.run.stop import StopRequest
from parburn.station import running
from parburn.station.arming import make_ledger
from parburn.station.arrivals import OnArrival, OnLeaving
from parburn.station.opening import Opened, open_simulated
from parburn.station.plain_lines import StationPlain
from parburn.station.running import Outside, run_station, written_path
from parburn.ui.nonblocking_writer import NonblockingWriter
from tests.station.jobs import JobFolder


class BlindSource:
    """A source that cannot watch."""

    async def run(self, on_arrival: OnArrival, on_leaving: OnLeaving) -> None:
        raise UsageError("the system does not say what comes and goes")


def runs(opened: Opened, out: Path) -> None:
    with out.open("w") as file:
        writer = NonblockingWriter(file)
        try:
            asyncio.run(run_station(opened, Outside(StationPlain(writer), StopRequest())))
        finally:
            writer.close()


def test_a_station_that_cannot_see_boards_ends_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "arrival_source", lambda *_, **__: BlindSource())
    job = JobFolder(tmp_path)
    make_ledger(job.ledger, "test")
    opened = open_simulated(job.path, chips=["esp32c3"], ports=["/dev/null"], ledger=job.ledger)
    with pytest.raises(UsageError, match="does not say what comes and goes"):
        runs(opened, tmp_path / "out")


def test_jobs_that_are_called_alike_do_not_take_each_others_words(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.sqlite3"
    left, right = tmp_path / "left" / "lamp.toml", tmp_path / "right" / "lamp.toml"
    assert written_path(ledger, left) != written_path(ledger, right)
    assert written_path(ledger, left) == written_path(
        ledger, tmp_path / "right" / ".." / "left" / "lamp.toml"
    )
    assert written_path(ledger, left).parent == tmp_path
