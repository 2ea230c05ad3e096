"""A station of the soak, as a process: `ADDRESS DIRECT NAME FOLDER FAR OFF`. Boards come by stdin.

A line `MAC SOCKET` is a board that was put in. It says `pass MAC SOCKET`, or `fail MAC SOCKET WHY`. DIRECT is
the pool without the network between: what it says right before a pulse is written down with the pulse. A FAR
station says that it is of another machine. OFF: the fence that is switched off.
"""

from __future__ import annotations

import asyncio
import faulthandler
import random
import signal
import sys
from pathlib import Path

import psycopg

from parburn.errors import LedgerError
from parburn.ledger import liveness, units
from parburn.ledger.base import Attempt, BatchSpec, Claim, RunNote, State, UnitIdentity
from parburn.ledger.pool import opening, store
from parburn.ledger.pool.sql import PoolSql
from parburn.ledger.run_ledger import RunLedger, open_ledger
from parburn.ledger.writer import Transaction
from parburn.ledger_place import PoolAddress
from tests.soak.pool.board import STEPS, Board, Burned

BATCH = BatchSpec("soak", "", lambda index: "")
UNHEARD_S = 4  # a minute takes too long
BEAT_S = 0.5


def say(*words: object) -> None:
    """One line, at once."""
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


def switch_off(fence: str) -> None:
    """Take one of the fences away."""
    if fence == "run number":

        def current(transaction: Transaction, unit: units.Held) -> State:
            (state,) = transaction.connection.execute(
                "SELECT state FROM units WHERE id = ?", (unit.id,)
            ).fetchone()
            return State(state)

        units.current = current
    elif fence == "commit check":
        store.PoolStore._was_committed = lambda *_: False  # type: ignore[method-assign]  # the mutation
    elif fence == "heartbeat":
        store.PoolStore.beat = lambda *_: None  # type: ignore[method-assign]  # as above
    elif fence == "pool row":
        begin = PoolSql.begin

        def without_lock(self: PoolSql, *first: str) -> object:
            return begin(self, *(text.removesuffix(" FOR UPDATE") for text in first))

        PoolSql.begin = without_lock  # type: ignore[method-assign, assignment]  # as above
    elif fence == "system identifier":
        opening._refuse_other_server = lambda *_: None


class Station:
    """Takes boards, and burns them as a station does."""

    def __init__(self, ledger: RunLedger, direct: str, name: str, folder: Path) -> None:
        self._ledger = ledger
        self._direct = direct
        self._name = name
        self._folder = folder
        self._rng = random.Random(name)

    async def board(self, mac: str, socket: str) -> None:
        """Serve one board."""
        try:
            await self._burn(Board(self._folder, mac), socket)
        except LedgerError as error:
            say("fail", mac, socket, type(error).__name__, str(error).replace("\n", " ")[:150])
        except OSError as error:
            say("fail", mac, socket, "unplugged", error)
        else:
            say("pass", mac, socket)

    async def _burn(self, board: Board, socket: str) -> None:
        (claim,) = await self._ledger.claim_all(
            [UnitIdentity("esp32c3", board.mac)], first=1, last=None, job_digest="job"
        )
        if isinstance(claim, LedgerError):
            raise claim
        try:
            if claim.state is State.PASS:
                return
            value = f"02:00:{claim.index >> 24 & 255:02x}:{claim.index >> 16 & 255:02x}:" + (
                f"{claim.index >> 8 & 255:02x}:{claim.index & 255:02x}"
            )
            await claim.planned(f"plan {claim.index}", {"CUSTOM_MAC": value})
            await claim.burn_attempted(Attempt(f"plan {claim.index}", "{}", STEPS))
            for step in STEPS:
                await self._pulse(board, socket, claim, step, value)
                await claim.step_done(step, State.VERIFIED)
            await claim.passed("job", "{}")
        except OSError:
            await claim.incomplete("unplugged", cause="unplugged")
            raise
        finally:
            await claim.end(cause="line")

    async def _pulse(self, board: Board, socket: str, claim: Claim, step: str, value: str) -> None:
        await asyncio.sleep(self._rng.random() * 0.05)
        there = await asyncio.to_thread(self._there, board.mac)
        if not await asyncio.to_thread(board.is_in, socket):
            raise OSError("the board is gone")
        board.burn(Burned(step, claim.index, value, self._name, *there))

    def _there(self, mac: str) -> tuple[int, int]:
        """What the pool itself says of a chip."""
        with psycopg.connect(self._direct, autocommit=True) as connection:
            row = connection.execute("SELECT spent, idx FROM parburn.units WHERE mac = %s", (mac,)).fetchone()
        return (0, 0) if row is None else (row[0], row[1] or 0)


async def main(address: str, direct: str, name: str, folder: Path) -> None:
    """Serve boards until stdin ends."""
    ledger = await open_ledger(PoolAddress(address), BATCH, note=RunNote(name))
    ledger.wait_without_end(lambda _: None)
    station = Station(ledger, direct, name, folder)
    say("ready")
    try:
        async with asyncio.TaskGroup() as boards:
            while line := await asyncio.to_thread(sys.stdin.readline):
                mac, socket = line.split()
                boards.create_task(station.board(mac, socket))
    finally:
        await ledger.aclose()


if __name__ == "__main__":
    faulthandler.register(signal.SIGUSR1)  # for whoever looks why it does not go on
    where, direct, name, folder, far, off = sys.argv[1:]
    store.UNHEARD_S, store.BEAT_S = UNHEARD_S, BEAT_S  # type: ignore[misc]  # in this process
    if far == "1":
        liveness._boot_id = lambda: f"boot-of-{name}"
    switch_off(off)
    asyncio.run(main(where, direct, name, Path(folder)))
