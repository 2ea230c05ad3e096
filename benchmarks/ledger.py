"""The ledger: what recording a whole burn of many boards costs, with all of them writing at the same time.

Every board claims, plans, records its attempt (on disk before a bit may burn), two steps and its pass. One
board waits for the disk alone; many share their commits, so the wall must grow far slower than the boards.
`fsync_s` is one write and fsync of the same disk, for comparison: a ledger in memory would be no ledger.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from pathlib import Path

from benchmarks.common import Row, arguments, finish, folder, progress
from parburn.errors import LedgerError
from parburn.ledger.base import Attempt, BatchSpec, State, UnitIdentity
from parburn.ledger.run_ledger import open_ledger

COUNTS = (1, 8, 32, 64, 128)
QUICK_COUNTS = (1, 16)
STEPS = ("BLOCK_KEY0", "BLOCK0")
IMAGE = "0" * 2000  # about what an image takes


async def burn_all(path: Path, boards: int) -> tuple[float, float, float]:
    """One run; wall of the claims, wall and CPU of the records behind them."""
    batch = BatchSpec(name="bench", config_digest="", entries=lambda index: "")
    ledger = await open_ledger(path, batch, new_ledger=True)
    try:
        chips = [UnitIdentity("esp32c3", f"02:00:00:00:{n >> 8:02x}:{n & 255:02x}") for n in range(boards)]
        began = time.perf_counter()
        claims = await ledger.claim_all(chips, first=1, last=None, job_digest="job")
        claimed = time.perf_counter()
        cpu = time.process_time()

        async def record(number: int) -> None:
            claim = claims[number]
            if isinstance(claim, LedgerError):
                raise claim
            await claim.planned(f"plan{number}", {"CUSTOM_MAC": f"02:00:00:00:01:{number:02x}"})
            await claim.burn_attempted(Attempt(f"plan{number}", IMAGE, STEPS))
            for step in STEPS:
                await claim.step_done(step, State.VERIFIED)
            await claim.passed("job")

        await asyncio.gather(*(record(n) for n in range(boards)))
        return claimed - began, time.perf_counter() - claimed, time.process_time() - cpu
    finally:
        await ledger.aclose()


def fsync_s(place: Path) -> float:
    """Seconds of one write and fsync, median of 20."""
    seen = []
    with (place / "probe").open("wb") as probe:
        for _ in range(20):
            began = time.perf_counter()
            probe.write(bytes(4096))
            probe.flush()
            os.fsync(probe.fileno())
            seen.append(time.perf_counter() - began)
    return statistics.median(seen)


def main() -> None:
    """Measure and report."""
    given = arguments("ledger", "What recording the burns of many boards at once costs.")
    rows: list[Row] = []
    with folder() as place:
        disk_s = fsync_s(place)
        for boards in QUICK_COUNTS if given.quick else COUNTS:
            seen = []
            for turn in range(1 if given.quick else 5):
                inner = place / f"{boards}-{turn}"
                inner.mkdir()
                seen.append(asyncio.run(burn_all(inner / "ledger.sqlite", boards)))
            claim_s, wall_s, cpu_s = (statistics.median(column) for column in zip(*seen, strict=True))
            rows.append(
                {
                    "boards": boards,
                    "claim_s": round(claim_s, 5),
                    "wall_s": round(wall_s, 5),
                    "cpu_s_per_board": round(cpu_s / boards, 6),
                    "wall_ratio": round(wall_s / rows[0]["wall_s"], 2) if rows else 1.0,
                    "fsync_s": round(disk_s, 6),
                    "ok": True,
                }
            )
            progress(f"{boards} boards: claims {claim_s * 1000:.1f} ms, records {wall_s * 1000:.1f} ms")
    finish("ledger", rows, given)


if __name__ == "__main__":
    main()
