"""One pool for many stations: what a claim waits for, how many units a second, and what a unit takes.

A real PostgreSQL of the benchmark's own, with fsync on, on this machine; each station is a process. A unit
is written down as a burn does it: claim, plan, attempt, two steps, pass, end of it. `delay_ms` is added
to each turn by a process between stations and server. Beside it the same stations on one ledger in a file.

With `--units N` a pool and a file of so many units are compared with empty ones: a claim, and bytes a unit.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.common import ROOT, Row, arguments, finish, folder, progress
from benchmarks.large_ledger import BATCH, make_ledger
from parburn.errors import LedgerError
from parburn.ledger.base import BatchSpec, UnitIdentity
from parburn.ledger.pool import schema as pool_schema
from parburn.ledger.pool.moving import move
from parburn.ledger.pool.sql import PoolSql
from parburn.ledger.run_ledger import open_ledger
from parburn.ledger_place import Place, PoolAddress
from tests.pool.server import Server, server

READY_S = 60.0
QUICK_UNITS = 2_000
CLAIMS = 30


def stations(place: Place, count: int, rate: float, seconds: float) -> dict[str, Any]:
    """Let so many stations work, each at a rate (units a second; 0: as fast as it goes)."""
    words = [sys.executable, "-m", "benchmarks.pool_station", str(place)]
    with contextlib.ExitStack() as all_of_them:
        processes = [
            all_of_them.enter_context(
                subprocess.Popen(
                    [*words, str(number), str(rate), str(seconds)],
                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
                )
            )
            for number in range(count)
        ]  # fmt: skip
        for one in processes:
            assert one.stdout is not None
            if one.stdout.readline() != "ready\n":
                raise RuntimeError("a station did not come up")
        began = time.perf_counter()
        for one in processes:
            assert one.stdin is not None
            one.stdin.write("go\n")
            one.stdin.flush()
        found = [json.loads(one.communicate()[0].splitlines()[-1]) for one in processes]
        took = time.perf_counter() - began
    claims = sorted(second for one in found for second in one["claims_s"])
    lives = sorted(second for one in found for second in one["lives_s"])
    return {
        "stations": count,
        "rate": rate or None,
        "units": len(lives),
        "units_per_s": round(len(lives) / took, 1),
        "claim_p50_ms": _ms(claims, 0.5),
        "claim_p99_ms": _ms(claims, 0.99),
        "life_p50_ms": _ms(lives, 0.5),
        "life_p99_ms": _ms(lives, 0.99),
        "errors": sum(len(one["errors"]) for one in found),
        "ok": bool(lives) and not any(one["errors"] for one in found),
    }


def _ms(seconds: Sequence[float], part: float) -> float | None:
    return round(1000 * seconds[min(len(seconds) - 1, int(part * len(seconds)))], 1) if seconds else None


def new_pool(at: Server) -> PoolAddress:
    """Make an empty pool."""
    import psycopg

    address = PoolAddress(at.new_database())
    with contextlib.closing(PoolSql(psycopg.connect(str(address)))) as sql:
        sql.begin()
        pool_schema.make(sql, why="a benchmark")
        sql.commit()
    return address


@contextlib.contextmanager
def delayed(address: PoolAddress, port: int, delay_ms: float) -> Iterator[PoolAddress]:
    """Put a delay of each turn between the stations and their server."""
    if not delay_ms:
        yield address
        return
    with subprocess.Popen(
        [sys.executable, "-m", "tests.pool.proxy", str(port), str(delay_ms)],
        stdout=subprocess.PIPE, text=True, cwd=ROOT,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        there = process.stdout.readline().strip()
        try:
            yield PoolAddress(str(address).replace(f":{port}/", f":{there}/"))
        finally:
            process.kill()


def claim_s(place: Place, first: int) -> float:
    """Return the median time of one claim, of CLAIMS new boards one after the other."""

    async def work() -> float:
        ledger = await open_ledger(place, BatchSpec(BATCH, "", lambda index: ""))
        try:
            seen = []
            for number in range(CLAIMS):
                chip = UnitIdentity("esp32c3", f"02:ff:00:00:{first:02x}:{number:02x}")
                began = time.perf_counter()
                (claim,) = await ledger.claim_all([chip], first=1, last=None, job_digest="job")
                seen.append(time.perf_counter() - began)
                if isinstance(claim, LedgerError):
                    raise claim
            return statistics.median(seen)
        finally:
            await ledger.aclose()

    return asyncio.run(work())


def bytes_of_pool(address: PoolAddress) -> int:
    """Return what a database takes on the disk."""
    import psycopg

    with psycopg.connect(str(address), autocommit=True) as connection:
        connection.execute("VACUUM FULL")
        row = connection.execute("SELECT pg_database_size(current_database())").fetchone()
    assert row is not None
    return int(row[0])


def of_size(at: Server, place: Path, units: int) -> list[Row]:
    """Compare ledgers of so many units with small ones."""
    rows: list[Row] = []
    small, large = place / "small.sqlite3", place / "large.sqlite3"
    for path, count in ((small, 100), (large, units)):
        make_ledger(path, count)
    file_bytes = large.stat().st_size
    rows.append(_of_size("file", units, claim_s(small, 0), claim_s(large, 0), file_bytes, file_bytes))
    pools = []
    for path in (small, large):
        address = PoolAddress(at.new_database())
        began = time.perf_counter()
        move(path, address, "a benchmark")
        progress(f"{path.stem}: moved in {time.perf_counter() - began:.1f} s")
        pools.append(address)
    used = bytes_of_pool(pools[1]) - bytes_of_pool(new_pool(at))
    rows.append(_of_size("pool", units, claim_s(pools[0], 1), claim_s(pools[1], 1), used, file_bytes))
    return rows


def _of_size(what: str, units: int, small_s: float, large_s: float, used: int, of_file: int) -> Row:
    row: Row = {
        "what": f"{what} of {units} units",
        "units": units,
        "claim_p50_ms": round(1000 * large_s, 2),
        "claim_ratio": round(large_s / small_s, 2),
        "bytes_per_unit": round(used / units),
        "bytes_ratio": round(used / of_file, 2),
        "ok": True,
    }
    progress(f"{what}, {units} units: a claim {row['claim_ratio']}x, {row['bytes_per_unit']} bytes a unit")
    return row


def main() -> None:
    """Measure and report."""
    given = arguments(
        "pool",
        "One pool for many stations, and one file for the same.",
        seconds={"type": float, "default": 15.0, "help": "of each measurement (default 15)"},
        units={
            "type": int,
            "default": 0,
            "help": "also ledgers of so many units, as 1000000",
        },
    )
    seconds, units = (2.0, QUICK_UNITS) if given.quick else (given.seconds, given.units)
    few, many = (2, 4) if given.quick else (16, 64)
    rows: list[Row] = []
    with folder() as place, server() as at:
        os.environ["XDG_STATE_HOME"] = str(place / "state")
        for what, count, rate, delay_ms in (
            (f"{few} stations at 3 a second", few, 3.0, 0.0),
            (f"{few} stations, as fast as it goes", few, 0.0, 0.0),
            (f"{few} stations, +0.5 ms a turn", few, 0.0, 0.5),
            (f"{many} stations, +5 ms a turn", many, 0.2, 5.0),
        ):
            address = new_pool(at)
            with delayed(address, at.port, delay_ms) as through:
                row = {"what": what, "delay_ms": delay_ms, **stations(through, count, rate, seconds)}
            rows.append(row)
            progress(f"{what}: {row['units_per_s']} units a second, claim p99 {row['claim_p99_ms']} ms")
        row = {"what": f"a file, {few} stations", **stations(place / "one.sqlite3", few, 0.0, seconds)}
        rows.append(row)
        progress(f"{row['what']}: {row['units_per_s']} units a second, claim p99 {row['claim_p99_ms']} ms")
        if units:
            rows += of_size(at, place, units)
    finish("pool", rows, given)


if __name__ == "__main__":
    main()
