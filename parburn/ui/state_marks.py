"""The look of each state: a mark, a plain mark where there is no UTF-8, and a style's name. A table."""

from __future__ import annotations

from typing import NamedTuple

from parburn.events import Result, Step


class StateMark(NamedTuple):
    """How one state is drawn."""

    mark: str
    plain: str
    style: str


State = Step | Result | None  # what a board is doing, or how it ended; None: it has not begun

STATE_MARKS: dict[State, StateMark] = {
    None: StateMark("·", ".", "dim"),
    "waiting": StateMark("·", ".", "dim"),
    "connecting": StateMark("…", "c", "dim"),
    "identifying": StateMark("…", "i", "dim"),
    "scripting": StateMark("▸", ">", "cyan"),
    "confirming": StateMark("?", "?", "yellow"),
    "burning": StateMark("▮", "#", "bold yellow"),
    Result.PASS: StateMark("✓", "P", "green"),
    Result.ALREADY_PASS: StateMark("=", "=", "bold cyan"),
    Result.WOULD_BURN: StateMark("○", "o", "cyan"),
    Result.STOPPED: StateMark("■", "S", "yellow"),
    Result.FAILED: StateMark("✗", "F", "bold red"),
    Result.REFUSED: StateMark("⊘", "R", "red"),
    Result.INCOMPLETE: StateMark("◐", "I", "bold red"),
    Result.QUARANTINED: StateMark("☠", "Q", "bold white on red"),
    Result.NO_ANSWER: StateMark("∅", "N", "red"),
}
