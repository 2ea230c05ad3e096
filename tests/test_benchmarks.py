"""The benchmarks' quick forms run, and their JSON has the rows that readers count on. Judges no time."""

from __future__ import annotations

import json
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from benchmarks.one_board import CHIPS, JOBS, job_floor
from benchmarks.picture import bars
from benchmarks.wire import LatencyLine
from tests.peers.venvs import peers_are_off

ROOT = Path(__file__).resolve().parents[1]
DEADLINE_S = 120

COLUMNS = {
    "one_board": {
        *("chip", "job", "baud", "latency_ms", "tool", "wall_s", "turns", "tx_bytes", "rx_bytes"),
        *("cpu_s", "floor_s", "safe_floor_s", "ok"),
    },
    "fleet": {"boards", "tool", "wall_s", "cpu_s_per_board", "rss_mb", "ok"},
    "coding": {"scheme", "implementation", "form", "ns_per_block"},
    "ledger": {"boards", "claim_s", "wall_s", "cpu_s_per_board", "fsync_s", "ok"},
    "ledger_size": {"command", "units", "ok"},
    "config": {"ids", "boards", "cpu_s", "rss_mb", "json_load_s", "ratio", "ok"},
    "startup": {"tool", "what", "cpu_s", "ok"},
    "station": {"tool", "what", "sockets", "ok"},
    "pool": {"what", "ok"},
}


def quick(benchmark: str, *more: str) -> list[dict[str, Any]]:
    """Run a quick form; its rows, after a look at what every benchmark says."""
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{benchmark}", "--quick", "--json", *more],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    whole = json.loads(done.stdout)
    assert whole.keys() == {"benchmark", "date", "machine", "rows"}
    assert whole["benchmark"] == benchmark
    assert "Python" in whole["machine"]
    rows: list[dict[str, Any]] = whole["rows"]
    assert rows
    for row in rows:
        assert row.keys() >= COLUMNS[benchmark], done.stderr
        assert not any(isinstance(value, dict | list) for value in row.values())
        assert row.get("ok", True) is True, done.stderr
    return rows


def test_one_board() -> None:
    (row,) = quick("one_board", "--no-peers")
    assert (row["tool"], row["chip"], row["baud"], row["latency_ms"]) == ("parburn", "esp32c3", 115200, 1)
    assert row["floor_s"] < row["safe_floor_s"] < row["wall_s"]
    assert row["turns"] < 20


@pytest.mark.peer
@pytest.mark.skipif(peers_are_off(), reason="PARBURN_NO_PEERS=1")
def test_one_board_beside_its_peers() -> None:
    ours, *theirs = quick("one_board", "--jobs", "one bit")
    assert [row["tool"] for row in theirs] == ["espefuse 4.12", "espefuse 5.6"]
    assert all(row["turns"] > 10 * ours["turns"] for row in theirs)


def test_fleet() -> None:
    one, four = quick("fleet", "--no-peers")
    assert (one["boards"], four["boards"]) == (1, 4)
    assert four["cpu_s_per_board"] < one["cpu_s_per_board"]


@pytest.mark.parametrize("benchmark", ["ledger", "config"])
def test_ledger_and_config(benchmark: str) -> None:
    few, many = quick(benchmark)
    assert few["boards"] <= many["boards"]


def test_ledger_size() -> None:
    rows = {row["command"]: row for row in quick("ledger_size", "--units", "2000")}
    for name in ("ledger show", "ledger export json", "report csv", "ledger verify"):
        assert 0 < rows[name]["rss_mb"] < 100
    assert rows["report csv"]["written_mb"] > 0
    assert rows["64 claims"]["claim_ms"] > 0


def test_coding() -> None:
    rows = quick("coding")
    measured = {(row["scheme"], row["implementation"], row["form"]): row["ns_per_block"] for row in rows}
    for name in (("rs", "reedsolo", "one"), ("rs", "table Python", "one"), ("rs", "memcpy", "bulk")):
        assert measured[name] > 0
    for row in rows:
        assert row["ns_per_block"] is not None or row["note"]
    assert ("rs", "ISA-L", "bulk, bare") in measured


def test_startup() -> None:
    rows = quick("startup", "--no-peers")
    assert [(row["tool"], row["what"]) for row in rows] == [("parburn", "--help"), ("parburn", "first byte")]


@pytest.mark.long
def test_station() -> None:
    rows = {row["what"]: row for row in quick("station", "--no-peers")}
    for what in ("a board alone", "4 a second", "4 a second, 5 % dead", "4 a second, lines lock off"):
        assert 0 < rows[what]["p50_s"] <= rows[what]["p99_s"]
        assert rows[what]["p50_s"] <= rows[what]["p50_read_s"] + 0.01
    assert rows["a board alone"]["run_ratio"] > 0
    assert rows["sustained, no pace"]["per_hour"] > 0
    assert rows["a loop a port"]["tool"] == "parburn run"
    for what in ("idle, folder", "idle, SYNC on bridges"):
        assert rows[what]["core_percent"] > 0


def test_pool() -> None:
    rows = {row["what"]: row for row in quick("pool")}
    for what in ("2 stations at 3 a second", "2 stations, as fast as it goes", "a file, 2 stations"):
        assert rows[what]["units"] > 0
        assert rows[what]["claim_p50_ms"] <= rows[what]["claim_p99_ms"]
        assert rows[what]["errors"] == 0
    assert rows["pool of 2000 units"]["bytes_ratio"] > 0
    assert rows["file of 2000 units"]["bytes_ratio"] == 1


@pytest.mark.parametrize("chip", CHIPS)
def test_the_floor_of_a_burn_is_more_than_that_of_a_look(chip: str) -> None:
    seconds = {job.name: sum(part.seconds(115200) for part in job_floor(chip, job)) for job in JOBS}
    assert 0 < seconds["one bit"] < seconds["key, MAC, bit"]
    (summary,) = (job for job in JOBS if not job.programs)
    assert not any("program" in part.name for part in job_floor(chip, summary))
    # No answer can be there before its request: a burst takes longer than its larger direction alone.
    for job in JOBS:
        for part in job_floor(chip, job):
            assert part.seconds(115200) > max(part.tx_bytes, part.rx_bytes) * 10 / 115200


def test_the_latency_timer_holds_back_what_does_not_fill_a_packet() -> None:
    line = LatencyLine(0.016)
    line.put(bytes(61), 1.0, 0.0, 115200)
    assert line.take(1.001, 115200) == b""
    line.put(bytes(14), 1.001, 0.0, 115200)
    assert len(line.take(1.0021, 115200)) == 62
    assert len(line.take(1.018, 115200)) == 13


def test_a_picture_is_xml_with_a_bar_for_each_value() -> None:
    text = bars("a < b", {"one & only": {"x": 1.0, "y": 200.0}}, unit="s", said="here", logarithmic=True)
    root = ET.fromstring(text)
    words = "".join(root.itertext())
    assert "a < b" in words
    assert "one & only" in words
    assert len([one for one in root.iter() if one.tag.endswith("rect")]) == 1 + 2 + 2
