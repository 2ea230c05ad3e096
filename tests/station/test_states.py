"""A socket's table of states: every state reached, none without an end, and the page that shows it."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from parburn.station.states import TRANSITIONS, SocketState, check_transition, diagram
from parburn.station.tile import AT_WORK, STATES
from tests.states_page import PAGE, SOCKETS


def reachable(start: SocketState, *, without: frozenset[SocketState] = frozenset()) -> set[SocketState]:
    found: set[SocketState] = set()
    todo = [start]
    while todo:
        for after in set(TRANSITIONS[todo.pop()]) - without - found:
            found.add(after)
            todo.append(after)
    return found


def test_every_state_has_a_row_a_meaning_and_a_look() -> None:
    assert set(TRANSITIONS) == set(SOCKETS) == set(STATES) == set(SocketState)
    assert set(AT_WORK) < set(SocketState)


def test_every_state_is_reached_and_none_is_a_dead_end() -> None:
    locked = frozenset({SocketState.LOCKED})
    assert reachable(SocketState.EMPTY) == set(SocketState)
    for state in SocketState:
        assert SocketState.EMPTY in reachable(state)
        if state is not SocketState.LOCKED:  # also without an engineer
            assert SocketState.EMPTY in reachable(state, without=locked)


def test_nothing_burns_that_was_not_identified() -> None:
    ready = frozenset({SocketState.READY})
    assert SocketState.BURNING not in reachable(SocketState.EMPTY, without=ready)


def test_what_burned_ends_with_a_verdict_or_is_held() -> None:
    assert set(TRANSITIONS[SocketState.BURNING]) == {
        SocketState.VERDICT,
        SocketState.HOLD,
        SocketState.LOCKED,
    }


def test_only_an_engineer_opens_a_locked_socket() -> None:
    assert set(TRANSITIONS[SocketState.LOCKED]) == {SocketState.EMPTY}
    assert all(
        SocketState.LOCKED in TRANSITIONS[state] for state in SocketState if state is not SocketState.LOCKED
    )


@pytest.mark.parametrize(("before", "after"), list(itertools.product(SocketState, SocketState)))
def test_walk(before: SocketState, after: SocketState) -> None:
    if after in TRANSITIONS[before]:
        check_transition(before, after)
    else:
        with pytest.raises(ValueError, match=f"{before.value} cannot become {after.value}"):
            check_transition(before, after)


def test_the_diagram_has_every_arrow_once_and_the_page_has_the_diagram() -> None:
    arrows = [line.strip().partition(":")[0] for line in diagram().splitlines()[2:]]
    assert arrows == [f"{b.name} --> {a.name}" for b, followers in TRANSITIONS.items() for a in followers]
    assert f"```mermaid\n{diagram()}```" in Path(PAGE).read_text()
