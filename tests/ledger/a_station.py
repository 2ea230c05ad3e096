"""A station in a process of its own: `a_station LEDGER ARMING BOARDS`. It burns all at once until its kill.

Each board has a claim of its own, as it came. Every third is in its second step, every third in its first,
and of the rest only the script has run.
"""

from __future__ import annotations

import asyncio
import sys

from parburn.ledger.base import State
from parburn.ledger_place import Place, parse_place

from .a_run import say
from .ledgers import attempt, batch, chip, claim_of, opened


async def main(path: Place, arming: str, boards: int) -> None:
    async with opened(path, batch(), arming=arming) as ledger:

        async def one(number: int) -> None:
            claim = await claim_of(ledger, chip(number))
            await claim.planned("plan", {"CUSTOM_MAC": claim.identity.mac})
            if number % 3:
                await claim.burn_attempted(attempt())
            if number % 3 == 2:
                await claim.step_done("KEY0", State.VERIFIED)

        await asyncio.gather(*(one(number) for number in range(boards)))
        say("all at work")
        await asyncio.sleep(60)


if __name__ == "__main__":
    asyncio.run(main(parse_place(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
