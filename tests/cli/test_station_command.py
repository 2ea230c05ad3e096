"""What `parburn station` sets up around the loop, beside what the station itself does."""

from __future__ import annotations

import argparse
import asyncio
import gc
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from parburn.cli import station
from parburn.station.arming import make_ledger
from parburn.station.opening import open_simulated
from tests.station.jobs import JobFolder


def test_a_station_collects_garbage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Our entry point takes the collector away; a station that never gets it back grows with each board."""
    job = JobFolder(tmp_path)
    make_ledger(job.ledger, "test")
    opened = open_simulated(job.path, chips=["esp32c3"], ports=["/dev/null"], ledger=job.ledger)
    seen: list[bool] = []

    def run(work: Coroutine[Any, Any, None]) -> None:
        seen.append(gc.isenabled())
        work.close()

    monkeypatch.setattr(asyncio, "run", run)
    options = argparse.Namespace(json=True, plain=False, debug=False, group="")
    gc.disable()
    try:
        station._run(options, opened)
    finally:
        gc.enable()
        gc.unfreeze()
    assert seen == [True]
