"""The look of each state: a mark, a plain mark where there is no UTF-8, and a style's name. A table."""

from __future__ import annotations

from typing import NamedTuple

from parburn.events import Result


class Look(NamedTuple):
    """How one state is drawn."""

    mark: str
    plain: str
    style: str


LOOKS: dict[str, Look] = {
    "": Look("·", ".", "dim"),
    "waiting": Look("·", ".", "dim"),
    "connecting": Look("…", "c", "dim"),
    "identifying": Look("…", "i", "dim"),
    "scripting": Look("▸", ">", "cyan"),
    "confirming": Look("?", "?", "yellow"),
    "burning": Look("▮", "#", "bold yellow"),
    "verifying": Look("▯", "=", "yellow"),
    Result.PASS.value: Look("✓", "P", "green"),
    Result.ALREADY_PASS.value: Look("✓", "p", "green"),
    Result.FAILED.value: Look("✗", "F", "bold red"),
    Result.REFUSED.value: Look("⊘", "R", "red"),
    Result.INCOMPLETE.value: Look("◐", "I", "bold red"),
    Result.QUARANTINED.value: Look("☠", "Q", "bold white on red"),
    Result.NO_ANSWER.value: Look("∅", "N", "red"),
}
UNKNOWN = Look("▸", ">", "cyan")


def look_of(state: str) -> Look:
    """The look of a step or a result."""
    return LOOKS.get(state, UNKNOWN)
