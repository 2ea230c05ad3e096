"""Units that were begun and are not whole: under which arming, how they ended, how often they went on.

It keeps count, and who let a unit go on. Whether one may go on is the station's to say.
"""

from __future__ import annotations

from typing import NamedTuple

from parburn.errors import UnitRefused
from parburn.ledger.base import Cause, State, UnitIdentity
from parburn.ledger.sql import Sql
from parburn.ledger.units import Held, current, writeable
from parburn.ledger.writer import Transaction


class BegunUnit(NamedTuple):
    """What the ledger keeps of how a unit was begun: for `Claim.begun`."""

    armings: tuple[str, ...]  # of its open attempts, in order
    cause: str
    went_on: int

    def as_seen_under(self, arming: str) -> str:
        """Return the arming that it was begun under, for who works under `arming`: another one first."""
        return next((one for one in self.armings if one != arming), arming if self.armings else "")


def begun_unit(connection: Sql, unit: int) -> BegunUnit:
    """Return how a unit was begun that is INCOMPLETE."""
    cause, went_on = connection.execute("SELECT cause, went_on FROM units WHERE id = ?", (unit,)).fetchone()
    armings = connection.execute(
        "SELECT arming FROM attempts WHERE unit = ? AND closed = 0 ORDER BY id", (unit,)
    ).fetchall()
    return BegunUnit(tuple(one for (one,) in armings), cause, went_on)


def goes_on(transaction: Transaction, unit: Held) -> int:
    """Count that a begun unit goes on by itself; return how often it did by now.

    Raises:
        UnitRefused: it is not INCOMPLETE, or this claim holds it no more.
    """
    _refuse_whole(unit.identity, current(transaction, unit))
    connection = transaction.connection
    (before,) = connection.execute("SELECT went_on FROM units WHERE id = ?", (unit.id,)).fetchone()
    connection.execute("UPDATE units SET went_on = ? WHERE id = ?", (before + 1, unit.id))
    transaction.history.append(
        "goes-on", unit=unit.id, state=State.INCOMPLETE, index=unit.index, went_on=before + 1
    )
    return int(before + 1)


def allow_to_go_on(transaction: Transaction, unit: Held, why: str) -> None:
    """Let a begun unit that this claim holds go on by itself once more.

    Raises:
        UnitRefused: it is not INCOMPLETE, or this claim holds it no more.
    """
    _refuse_whole(unit.identity, current(transaction, unit))
    _allow(transaction, unit.id, unit.index, why)


def allow_unit(transaction: Transaction, batch: str, identity: UnitIdentity, why: str) -> None:
    """Let a begun unit of a batch go on by itself once more; no other run may be at work on it.

    Raises:
        UnitRefused: there is no such unit, it is not INCOMPLETE, or another run holds it.
    """
    row = transaction.connection.execute(
        "SELECT units.id, idx, state, run FROM units JOIN batches ON batches.id = batch"
        " WHERE name = ? AND mac = ? AND chip = ? AND unique_id IN (?, '') ORDER BY unique_id DESC",
        (batch, identity.mac, identity.chip, identity.unique_id),
    ).fetchone()
    if row is None:
        raise UnitRefused(f"The batch {batch} has no unit {identity}.", hint="See parburn ledger show.")
    number, index, state, run = row
    if run is not None and run != transaction.run:
        raise UnitRefused(
            f"{identity} is held by another parburn, run {run}.", hint="Wait until that has ended."
        )
    _refuse_whole(identity, State(state))
    _allow(transaction, number, index, why)


def _refuse_whole(identity: UnitIdentity, state: State) -> None:
    if state is not State.INCOMPLETE:
        raise UnitRefused(
            f"{identity} is {state.value}: it was not begun and left.", hint="It needs no leave to go on."
        )


def _allow(transaction: Transaction, unit: int, index: int | None, why: str) -> None:
    transaction.connection.execute(
        "UPDATE units SET went_on = 0, cause = ? WHERE id = ?", (Cause.ALLOWED.value, unit)
    )
    transaction.history.append(
        "allowed-to-go-on",
        unit=unit,
        state=State.INCOMPLETE,
        index=index,
        went_on=0,
        cause=Cause.ALLOWED.value,
        why=writeable(why),
    )
