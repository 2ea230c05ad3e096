"""The look of each state: a mark, a plain mark where there is no UTF-8, and a style's name. A table."""

from __future__ import annotations

from typing import NamedTuple

from parburn.events import Result, Step


class Look(NamedTuple):
    """How one state is drawn."""

    mark: str
    plain: str
    style: str


State = Step | Result | None  # what a board is doing, or how it ended; None: it has not begun

LOOKS: dict[State, Look] = {
    None: Look("·", ".", "dim"),
    "waiting": Look("·", ".", "dim"),
    "connecting": Look("…", "c", "dim"),
    "identifying": Look("…", "i", "dim"),
    "scripting": Look("▸", ">", "cyan"),
    "confirming": Look("?", "?", "yellow"),
    "burning": Look("▮", "#", "bold yellow"),
    Result.PASS: Look("✓", "P", "green"),
    Result.ALREADY_PASS: Look("✓", "p", "green"),
    Result.FAILED: Look("✗", "F", "bold red"),
    Result.REFUSED: Look("⊘", "R", "red"),
    Result.INCOMPLETE: Look("◐", "I", "bold red"),
    Result.QUARANTINED: Look("☠", "Q", "bold white on red"),
    Result.NO_ANSWER: Look("∅", "N", "red"),
}
