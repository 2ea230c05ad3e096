"""How a run, or one claim of it, lets go of its units: what goes back, and what is INCOMPLETE from then on.

Nothing that was attempted ever looks unattempted again.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from parburn.ledger import values
from parburn.ledger.base import UNDER_WAY, Cause, State
from parburn.ledger.units import Held
from parburn.ledger.writer import Transaction

# Entries of a run after which it was still at work on that unit.
_SAYS_NO_END: Final = frozenset(
    {"claimed-again", "planned", "recognized", "values-learned", "goes-on", "allowed-to-go-on"}
)


def _is_open(transaction: Transaction, unit: int) -> bool:
    """Return whether the unit's last entry does not say how the run that holds it ended for it."""
    last = next((row[4] for row in reversed(transaction.history.pending) if row[3] == unit), None)
    if last is None:
        (last,) = transaction.connection.execute(
            "SELECT event FROM history WHERE unit = ? ORDER BY seq DESC LIMIT 1", (unit,)
        ).fetchone() or ("",)
    return last in _SAYS_NO_END


def end_run(transaction: Transaction, run: int, why: str) -> int:
    """Release all that a run holds, alive or dead; return the number of units that it left unfinished.

    Indexes of untouched units go back, burns under way are INCOMPLETE. Of each unit of which nothing says how
    the run ended for it, the history says that it ended.
    """
    connection = transaction.connection
    values.forget_planned(connection, "IN (SELECT id FROM units WHERE run = ?)", run)
    rows = connection.execute(f"{_HOLDS} WHERE run = ?", (run,)).fetchall()
    ends = [_end_unit(transaction, _Holds(*row), "run-ended", why, Cause.PROCESS_END) for row in rows]
    connection.execute("UPDATE units SET run = NULL, going_back = 0 WHERE run = ?", (run,))
    connection.execute("UPDATE runs SET ended = ? WHERE id = ?", (transaction.at, run))
    return sum(left for _, left in ends)


def expire_run(transaction: Transaction, run: int) -> None:
    """Release what a run holds and has not attempted: it was not heard for long, and may still be there."""
    connection = transaction.connection
    marks = ", ".join("?" * len(UNDER_WAY))
    states = [state.value for state in UNDER_WAY]
    rows = connection.execute(f"{_HOLDS} WHERE run = ? AND state NOT IN ({marks})", (run, *states)).fetchall()
    for row in rows:
        _let_go(transaction, _Holds(*row), "its station was not heard for long")


def end_unit(transaction: Transaction, unit: int, why: str) -> None:
    """Release one unit from the run that holds it."""
    row = transaction.connection.execute(f"{_HOLDS} WHERE id = ?", (unit,)).fetchone()
    _let_go(transaction, _Holds(*row), why)


def _let_go(transaction: Transaction, unit: _Holds, why: str) -> None:
    values.forget_planned(transaction.connection, "= ?", unit.id)
    _end_unit(transaction, unit, "run-ended", why, Cause.PROCESS_END)
    transaction.connection.execute("UPDATE units SET run = NULL, going_back = 0 WHERE id = ?", (unit.id,))


def end_claim(transaction: Transaction, unit: Held, why: str, cause: str) -> State | None:
    """Release what one claim holds, as `end_run` does for all units of a run.

    Returns:
        The unit's state; None where the claim had ended before.
    """
    connection = transaction.connection
    row = connection.execute(
        f"{_HOLDS} WHERE id = ? AND run = ? AND claim = ?", (unit.id, transaction.run, unit.claim)
    ).fetchone()
    if row is None:
        return None
    values.forget_planned(connection, "= ?", unit.id)
    state, _ = _end_unit(transaction, _Holds(*row), "claim-ended", why, cause)
    connection.execute("UPDATE units SET run = NULL, going_back = 0 WHERE id = ?", (unit.id,))
    return state


class _Holds(NamedTuple):
    """A row of a unit that a run holds."""

    id: int
    run: int
    batch: int
    index: int | None  # type: ignore[assignment]  # not tuple.index
    state: str
    spent: int
    going_back: int
    reason: str


# The search for free indexes must find this one again: see `allocate.remember_full`.
_SEARCH_AGAIN: Final = "UPDATE batches SET full_to = ? - 1 WHERE id = ? AND ? BETWEEN full_from AND full_to"
_HOLDS: Final = "SELECT id, run, batch, idx, state, spent, going_back, reason FROM units"


def _end_unit(transaction: Transaction, unit: _Holds, event: str, why: str, cause: str) -> tuple[State, bool]:
    """Leave one unit as its run or its claim ends; return its state, and whether it was unfinished."""
    before = after = State(unit.state)
    index, going_back = unit.index, unit.going_back
    told: dict[str, Any] = {"why": why, "of": unit.run}
    changes: dict[str, Any] = {}
    if before in UNDER_WAY:
        after = State.INCOMPLETE
        changes, told["cause"] = {"reason": why, "cause": cause}, cause
    elif before in (State.CLAIMED, State.PLANNED):  # nothing was attempted
        after, going_back = State.IDENTIFIED, True
        changes = {"reason": why}
    freed = going_back and not unit.spent
    if freed:
        index = None
        transaction.connection.execute(_SEARCH_AGAIN, (unit.index, unit.batch, unit.index))
    if after is not before or freed:
        more = "".join(f", {name} = ?" for name in changes)
        transaction.connection.execute(
            f"UPDATE units SET state = ?, idx = ?, changed = ?{more} WHERE id = ?",
            (after.value, index, transaction.at, *changes.values(), unit.id),
        )
    elif not _is_open(transaction, unit.id):
        return after, False
    elif before is State.QUARANTINED and unit.reason:
        told["why"] = unit.reason
    transaction.history.append(event, unit=unit.id, state=after, index=index, **told)
    return after, after is not before
