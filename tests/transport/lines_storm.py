"""A process of the storm: many tasks go in and out of the lines lock, and write down when they were inside.

`python -m tests.transport.lines_storm SEED TASKS ROUNDS`; one JSON line: kind, in, out, asked (monotonic ns).
With `hold KIND` instead it goes in, says so, and stays until it is killed or its input ends.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from contextlib import AbstractAsyncContextManager
from typing import NamedTuple

from parburn.transport.lines_lock import LinesLock, machine_lines

LONGEST_S = 0.06  # of a stay


class Visit(NamedTuple):
    """One stay inside, in ns of the machine's monotonic clock."""

    kind: str
    came: int
    went: int
    asked: int

    @property
    def waited_s(self) -> float:
        return (self.came - self.asked) / 1e9


def door(lock: LinesLock, kind: str, *, patient: bool = False) -> AbstractAsyncContextManager[None]:
    return lock.burning() if kind == "BURN" else lock.moving(patient=patient)


async def visits(lock: LinesLock, seed: int, rounds: int, *, burns: float = 0.5) -> list[Visit]:
    """Go in and out at random; some waits are cancelled."""
    dice, seen = random.Random(seed), list[Visit]()
    for _ in range(rounds):
        kind = "BURN" if dice.random() < burns else "LINES"
        stay_s, patience_s = dice.random() * LONGEST_S, dice.choice((0.002, 30.0, 30.0, 30.0))
        asked = time.monotonic_ns()
        came = None
        try:
            async with asyncio.timeout(patience_s) as limit, door(lock, kind):
                limit.reschedule(None)
                came = time.monotonic_ns()
                await asyncio.sleep(stay_s)
                seen.append(Visit(kind, came, time.monotonic_ns(), asked))
        except TimeoutError:
            if came is not None:
                seen.append(Visit(kind, came, time.monotonic_ns(), asked))
        await asyncio.sleep(dice.random() * 0.02)
    return seen


async def storm(lock: LinesLock, seed: int, tasks: int, rounds: int) -> list[Visit]:
    found = await asyncio.gather(*(visits(lock, seed * 1000 + n, rounds) for n in range(tasks)))
    return [visit for one in found for visit in one]


async def _hold(kind: str) -> None:
    async with door(machine_lines(), kind):
        sys.stdout.write("inside\n")
        sys.stdout.flush()
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)


if __name__ == "__main__":
    if sys.argv[1] == "hold":
        asyncio.run(_hold(sys.argv[2]))
    else:
        numbers = [int(word) for word in sys.argv[1:]]
        for visit in asyncio.run(storm(machine_lines(), *numbers)):
            sys.stdout.write(json.dumps(visit) + "\n")
