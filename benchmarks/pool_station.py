"""One station of `benchmarks.pool`: units come at a rate, or as fast as they go; ends with JSON of what came.

`python -m benchmarks.pool_station LEDGER STATION RATE SECONDS`; a rate of 0 keeps AT_ONCE units at work.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from typing import Any

from parburn.errors import LedgerError
from parburn.ledger.base import Attempt, BatchSpec, RunNote, State, UnitIdentity
from parburn.ledger.run_ledger import RunLedger, open_ledger
from parburn.ledger_place import Place, parse_place

AT_ONCE = 16
STEPS = ("BLOCK_KEY0", "BLOCK0")
IMAGE = "0" * 2000  # about what an image takes
BATCH = BatchSpec(name="bench", config_digest="", entries=lambda index: "")


class Station:
    """What one station did."""

    def __init__(self, ledger: RunLedger, number: int) -> None:
        self.ledger = ledger
        self.number = number
        self.units = 0
        self.errors: list[str] = []
        self.claims_s: list[float] = []
        self.lives_s: list[float] = []

    async def life(self) -> None:
        """Write down the life of one unit, from its claim to the end of it."""
        self.units += 1
        mac = bytes((2, self.number, *self.units.to_bytes(4, "big"))).hex(":")
        began = time.perf_counter()
        try:
            (claim,) = await self.ledger.claim_all(
                [UnitIdentity("esp32c3", mac)], first=1, last=None, job_digest="job"
            )
            if isinstance(claim, LedgerError):
                raise claim
            self.claims_s.append(time.perf_counter() - began)
            await claim.planned(f"plan {mac}", {"CUSTOM_MAC": mac})
            await claim.burn_attempted(Attempt(f"plan {mac}", IMAGE, STEPS))
            for step in STEPS:
                await claim.step_done(step, State.VERIFIED)
            await claim.passed("job", IMAGE)
            await claim.end()
        except LedgerError as error:
            self.errors.append(str(error))
        else:
            self.lives_s.append(time.perf_counter() - began)


async def work(place: Place, number: int, rate: float, seconds: float) -> dict[str, Any]:
    """Be a station for so long."""
    ledger = await open_ledger(place, BATCH, new_ledger=True, note=RunNote(f"S{number}"))
    station = Station(ledger, number)
    rng = random.Random(number)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.readline)  # all begin together
    until = time.monotonic() + seconds
    try:
        async with asyncio.TaskGroup() as tasks:
            if rate:
                while time.monotonic() < until:
                    tasks.create_task(station.life())
                    await asyncio.sleep(rng.expovariate(rate))
            else:

                async def one_by_one() -> None:
                    while time.monotonic() < until:
                        await station.life()

                for _ in range(AT_ONCE):
                    tasks.create_task(one_by_one())
    finally:
        await ledger.aclose()
    return {
        "units": len(station.lives_s),
        "errors": station.errors,
        "claims_s": station.claims_s,
        "lives_s": station.lives_s,
    }


if __name__ == "__main__":
    found = asyncio.run(
        work(parse_place(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4]))
    )
    sys.stdout.write(json.dumps(found) + "\n")
