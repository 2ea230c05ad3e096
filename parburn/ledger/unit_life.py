"""What the history tells of one unit: what it is since when, and what was burned into it. Looks only."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final, NamedTuple

from parburn.events import NO_VALUES
from parburn.ledger.base import UNTOUCHED, State
from parburn.ledger.sql import Sql

NOT_KNOWN: Final = "not known"
NEVER_BURNED: Final = "never burned"
BURNED_ELSEWHERE: Final = "burned in another batch"
# What a chip is as a whole, in words; a unit that was never burned has a sentence of its own.
_WHOLE: Final = {State.PASS: "whole", State.QUARANTINED: "quarantined"}
_HALF: Final = "half burned"
_FROM_OUTSIDE: Final = ("imported", "rebuilt")  # what the unit was by then already
_BURNS: Final = ("burn-attempted", "passed")  # what was planned before is in the chip, or may be
# After these nothing is left of what was only planned, as after any entry of another run.
ENDS_A_PLAN: Final = ("claimed", "claimed-again", "failed-clean", "run-ended", "claim-ended", "value-taken")
_OF_VALUES: Final = (
    "SELECT run, event, CASE event WHEN 'planned' THEN detail ELSE '' END FROM history WHERE unit = ?"
    f" AND event IN ('planned'{', ?' * len((*ENDS_A_PLAN, *_BURNS))}) ORDER BY seq"
)


class UnitLife(NamedTuple):
    """A unit as the history tells of it.

    `since` is when it came to be what it is (`condition`), UTC, ISO 8601; empty where it was never burned.
    `unique_values` are values of which it is known that no other chip may have them; `values` is all that was
    burned, as people read it. Neither holds keys.
    """

    since: str = ""
    unique_values: Mapping[str, str] = NO_VALUES
    values: Mapping[str, str] = NO_VALUES


NO_LIFE: Final = UnitLife()


def condition(state: State) -> str:
    """Return what a chip of this state is: `whole`, `half burned`, `quarantined`, `never burned`."""
    return NEVER_BURNED if state in UNTOUCHED else _WHOLE.get(state, _HALF)


def total_state(state: State, since: str) -> str:
    """Return a chip's total state for people, as "whole since 2026-11-29 06:40".

    Args:
        state: The unit's state.
        since: When it came to be what it is, UTC, ISO 8601; empty where that is not known.
    """
    words = condition(state)
    return f"{words} since {since[:16].replace('T', ' ')}" if since and words != NEVER_BURNED else words


def life_of(connection: Sql, unit: int, state: State) -> UnitLife:
    """Return what the history tells of a unit that is `state`. A few seeks, however long the history is."""
    unique = dict(
        connection.execute(
            "SELECT name, value FROM unique_values WHERE unit = ? AND bound = 1 ORDER BY name", (unit,)
        ).fetchall()
    )
    if state in UNTOUCHED:
        return UnitLife("", unique, unique)
    return UnitLife(_since(connection, unit, condition(state)), unique, unique | _burned(connection, unit))


def _since(connection: Sql, unit: int, now: str) -> str:
    """Return when the unit came to be what it is now; empty where it was so when this ledger heard of it."""
    since = ""
    for at, event, state in connection.execute(
        "SELECT at, event, state FROM history WHERE unit = ? AND state != '' ORDER BY seq DESC", (unit,)
    ):
        if condition(State(state)) != now:
            break
        since = "" if event in _FROM_OUTSIDE else str(at)
    return since


def _burned(connection: Sql, unit: int) -> dict[str, str]:
    """Return the values of all plans that were attempted, or found in the chip; of each name the last."""
    burned: dict[str, str] = {}
    planned: dict[str, str] = {}
    run_before = None
    for run, event, text in connection.execute(_OF_VALUES, (unit, *ENDS_A_PLAN, *_BURNS)):
        if event in ENDS_A_PLAN or run != run_before:
            planned = {}
        if event == "planned":
            detail = json.loads(text or "{}")
            planned = {**detail.get("values", {}), **detail.get("shown", {})}
        elif event in _BURNS:
            burned |= planned
            planned = {}
        run_before = run
    return burned
