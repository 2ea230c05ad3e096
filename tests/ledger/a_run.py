"""One run in a process of its own: `a_run LEDGER FIRST BOARDS [before|after|wait COMMIT]`.

Says `attempted MAC INDEX` and `passed MAC INDEX` when the ledger has it. Kills itself at a commit, or waits
there until it is killed.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Sequence

from parburn.errors import LedgerError
from parburn.ledger import writer
from parburn.ledger.base import State
from parburn.ledger.sql import Sql
from parburn.ledger.writer import Transaction
from parburn.ledger_place import Place, parse_place

from .ledgers import attempt, batch, chip, claims_of, opened


def say(*words: object) -> None:
    """One line, at once: the next moment may be the last."""
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


def stop_at(when: str, commit: int) -> None:
    """Make the writer die around its n-th commit."""
    undisturbed = writer.Writer._transact
    count = 0

    def disturbed(self: writer.Writer, connection: Sql, requests: list[writer._Request]) -> None:
        nonlocal count
        count += 1
        if count == commit and when == "before":
            last = requests[-1]
            done = last.work

            def die(transaction: Transaction) -> None:
                done(transaction)
                transaction.history.flush()
                os.kill(os.getpid(), signal.SIGKILL)

            last.work = die
        undisturbed(self, connection, requests)
        if count == commit and when == "after":
            os.kill(os.getpid(), signal.SIGKILL)
        if count == commit and when == "wait":
            say("waiting")
            time.sleep(60)

    writer.Writer._transact = disturbed  # type: ignore[method-assign]  # the one place to stand


async def main(path: Place, first: int, boards: int) -> None:
    async with opened(path, batch()) as ledger:
        claims = await claims_of(ledger, [chip(first + n) for n in range(boards)])
        alive = [claim for claim in claims if not isinstance(claim, LedgerError)]
        await asyncio.gather(*(c.planned("plan", {"CUSTOM_MAC": c.identity.mac}) for c in alive))
        for claim in alive:
            await claim.burn_attempted(attempt())
            say("attempted", claim.identity.mac, claim.index)
            await claim.step_done("KEY0", State.VERIFIED)
            await claim.step_done("BLOCK0", State.LOCKED)
            await claim.passed("job")
            say("passed", claim.identity.mac, claim.index)


def run(arguments: Sequence[str]) -> None:
    path, first, boards, *stop = arguments
    if stop:
        stop_at(stop[0], int(stop[1]))
    asyncio.run(main(parse_place(path), int(first), int(boards)))


if __name__ == "__main__":
    run(sys.argv[1:])
