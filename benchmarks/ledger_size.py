"""What it costs to look at a ledger of many units: time, and peak memory of each process.

The ledger is made as runs of 64 boards would have left it (`large_ledger`), six entries a unit. `rss_mb` is
the largest of the processes of a command (`ledger verify` has some). `claim_ms` is what 64 new boards wait
for their indexes in it, on the disk; it must not grow with the units.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from pathlib import Path

from benchmarks.common import Row, arguments, finish, folder, parburn, progress, run
from benchmarks.large_ledger import BATCH, custom_mac_of, make_ledger
from parburn.errors import LedgerError
from parburn.ledger.base import BatchSpec, UnitIdentity
from parburn.ledger.run_ledger import open_ledger

UNITS = 1_000_000
QUICK_UNITS = 20_000
CLAIMS = 64
CLAIM_RUNS = 5


def commands(output: Path, units: int) -> dict[str, list[object]]:
    """Return what is measured, by name."""
    file = ["--output", output]
    return {
        "ledger show": ["ledger", "show"],
        "ledger show --value": ["ledger", "show", "--value", custom_mac_of(units // 2)],
        "ledger show --batch": ["ledger", "show", "--batch", BATCH],
        "ledger history": ["ledger", "history", custom_mac_of(units // 2)],
        "ledger export json": ["ledger", "export", *file],
        "ledger export csv": ["ledger", "export", "--format", "csv", *file],
        "report csv": ["report", *file],
        "report json": ["report", "--format", "json", *file],
        "report --since": ["report", "--since", "2100-01-01", *file],
        "ledger verify": ["ledger", "verify"],
    }


async def claim_s(path: Path, first: int) -> float:
    """Return how long 64 new boards wait for their indexes."""
    batch = BatchSpec(name=BATCH, config_digest="", entries=lambda index: "")
    ledger = await open_ledger(path, batch)
    try:
        chips = [UnitIdentity("esp32c3", f"02:ff:00:00:{first:02x}:{n:02x}") for n in range(CLAIMS)]
        began = time.perf_counter()
        claims = await ledger.claim_all(chips, first=1, last=None, job_digest="job")
        seconds = time.perf_counter() - began
        if any(isinstance(claim, LedgerError) for claim in claims):
            raise RuntimeError("a claim was refused")
        return seconds
    finally:
        await ledger.aclose()


def measure(path: Path, output: Path, units: int) -> list[Row]:
    """Measure all commands on one ledger."""
    rows: list[Row] = []
    for name, words in commands(output, units).items():
        cost = run(parburn(*words, "--ledger", path), env={"XDG_STATE_HOME": str(path.parent)})
        written = output.stat().st_size if output.exists() else 0
        output.unlink(missing_ok=True)
        rows.append(
            {
                "command": name,
                "units": units,
                "wall_s": round(cost.wall_s, 2),
                "cpu_s": round(cost.cpu_s, 2),
                "rss_mb": round(cost.rss_mb, 1),
                "written_mb": round(written / 1e6, 1),
                "ok": cost.ok,
            }
        )
        progress(f"{units} units: {name} {cost.wall_s:.1f} s, {cost.rss_mb:.0f} MB")
    claim = statistics.median(asyncio.run(claim_s(path, first)) for first in range(CLAIM_RUNS))
    rows.append(
        {"command": f"{CLAIMS} claims", "units": units, "claim_ms": round(claim * 1000, 2), "ok": True}
    )
    return rows


def main() -> None:
    """Measure and report."""
    given = arguments(
        "ledger_size",
        "What it costs to look at a ledger of many units.",
        units={"type": int, "default": None, "help": f"default: {UNITS}"},
    )
    units = given.units or (QUICK_UNITS if given.quick else UNITS)
    with folder() as place:
        path = place / "ledger.sqlite3"
        began = time.perf_counter()
        make_ledger(path, units)
        seconds, size = time.perf_counter() - began, path.stat().st_size / 1e6
        progress(f"a ledger of {units} units, {size:.0f} MB, made in {seconds:.0f} s")
        rows = measure(path, place / "output", units)
    finish("ledger_size", rows, given)


if __name__ == "__main__":
    main()
