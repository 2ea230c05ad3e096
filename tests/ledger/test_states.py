"""The transition table: every state reached, nothing attempted ever looks unattempted, the diagram whole."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from parburn.errors import LedgerError
from parburn.ledger.base import TRANSITIONS, UNDER_WAY, UNTOUCHED, Attempt, State, check_transition, diagram


def reachable(start: State) -> set[State]:
    found: set[State] = set()
    todo = [start]
    while todo:
        for after in TRANSITIONS[todo.pop()]:
            if after not in found:
                found.add(after)
                todo.append(after)
    return found


def test_every_state_has_a_row_and_is_reached() -> None:
    assert set(TRANSITIONS) == set(State)
    assert reachable(State.IDENTIFIED) == set(State)


def test_once_attempted_never_untouched_again() -> None:
    assert not reachable(State.BURN_ATTEMPTED) & UNTOUCHED


def test_failed_clean_comes_from_untouched_states_only() -> None:
    before = {state for state, followers in TRANSITIONS.items() if State.FAILED_CLEAN in followers}
    assert before == {State.IDENTIFIED, State.CLAIMED, State.PLANNED}


def test_incomplete_and_quarantine_follow_an_attempt() -> None:
    for state in UNDER_WAY:
        assert {State.INCOMPLETE, State.QUARANTINED} <= set(TRANSITIONS[state])
    for state in UNTOUCHED:
        assert not {State.INCOMPLETE, State.QUARANTINED} & set(TRANSITIONS[state])


def test_a_pass_needs_a_verification_or_nothing_to_burn() -> None:
    before = {state for state, followers in TRANSITIONS.items() if State.PASS in followers}
    assert before == {
        State.PLANNED,
        State.VERIFIED,
        State.LOCKED,
        State.INCOMPLETE,
        State.PASS,
        State.QUARANTINED,
    }


def test_quarantine_is_left_by_hand_or_by_the_chip_that_passed() -> None:
    assert set(TRANSITIONS[State.QUARANTINED]) == {State.INCOMPLETE, State.PASS}


@pytest.mark.parametrize(("before", "after"), list(itertools.product(State, State)))
def test_walk(before: State, after: State) -> None:
    if after in TRANSITIONS[before]:
        check_transition(before, after)
    else:
        with pytest.raises(LedgerError, match=f"{before.value} cannot become {after.value}"):
            check_transition(before, after)


def test_diagram_has_every_arrow_once() -> None:
    lines = diagram().splitlines()
    assert lines[0] == "stateDiagram-v2"
    arrows = [line.strip().partition(":")[0] for line in lines[2:]]
    expected = [f"{b.name} --> {a.name}" for b, followers in TRANSITIONS.items() for a in followers]
    assert arrows == expected
    assert len(set(arrows)) == len(arrows)


def test_remaining_steps_of_an_attempt() -> None:
    one = Attempt("p", "{}", ("K", "B0", "LOCK"), {"K": State.VERIFIED, "B0": State.BURNED})
    assert one.remaining == ("B0", "LOCK")


def test_the_diagram_of_the_page_of_states_is_the_table() -> None:
    page = Path(__file__).resolve().parents[2] / "docs" / "states.md"
    assert f"```mermaid\n{diagram()}```" in page.read_text()
