"""The states of a socket and their one transition table. No clock, no port: `socket` moves it."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType


class SocketState(Enum):
    """What a socket is doing. The values are the words of `--json`."""

    EMPTY = "empty"
    DETECTING = "detecting"  # something came: who is it?
    READY = "ready"  # identified, about to begin
    HOLD = "hold"  # waits: for the first article, the end of a halt, or a ledger that is away
    BURNING = "burning"  # its script runs, or it burns
    VERDICT = "verdict"  # stays until the board is taken out
    LOCKED = "locked"  # for the engineer


# from -> {to: why}. The words are those of the diagram.
TRANSITIONS: Mapping[SocketState, Mapping[SocketState, str]] = MappingProxyType(
    {
        SocketState.EMPTY: {SocketState.DETECTING: "a board came", SocketState.LOCKED: "fails too often"},
        SocketState.DETECTING: {
            SocketState.EMPTY: "gone again",
            SocketState.READY: "identified",
            SocketState.VERDICT: "no chip, or not one of this job",
            SocketState.LOCKED: "fails too often",
        },
        SocketState.READY: {
            SocketState.BURNING: "has its index",
            SocketState.HOLD: "must wait",
            SocketState.VERDICT: "refused, or passed before",
            SocketState.EMPTY: "pulled; its claim ends",
            SocketState.LOCKED: "fails too often",
        },
        SocketState.HOLD: {
            SocketState.READY: "may go on",
            SocketState.BURNING: "the ledger is back",
            SocketState.EMPTY: "pulled; nothing was claimed",
            SocketState.VERDICT: "refused, begun and pulled, or the station ends",
            SocketState.LOCKED: "fails too often",
        },
        SocketState.BURNING: {
            SocketState.VERDICT: "ended, in whatever way",
            SocketState.HOLD: "the ledger is away",
            SocketState.LOCKED: "fails too often",
        },
        SocketState.VERDICT: {
            SocketState.EMPTY: "taken out",
            SocketState.DETECTING: "another board is in it",
            SocketState.LOCKED: "fails too often",
        },
        SocketState.LOCKED: {SocketState.EMPTY: "unlocked"},
    }
)


def check_transition(before: SocketState, after: SocketState) -> None:
    """Raise ValueError unless `after` may follow `before`."""
    if after not in TRANSITIONS[before]:
        raise ValueError(f"a socket that is {before.value} cannot become {after.value}")


def diagram() -> str:
    """Return the transition table as a Mermaid state diagram."""
    lines = ["stateDiagram-v2", f"    [*] --> {SocketState.EMPTY.name}"]
    for before, followers in TRANSITIONS.items():
        lines += [f"    {before.name} --> {after.name}: {why}" for after, why in followers.items()]
    return "\n".join(lines) + "\n"
