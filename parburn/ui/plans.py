"""The plans of a run as the operator confirms them: boards with plans of one shape together. Pure text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from parburn.events import PlannedBlock
from parburn.ui.words import one_line, planned_lines, plural

QUESTION = "Type BURN (all capitals) to go on: "
ANSWER = "BURN"
WARNING = (
    "Burning eFuses is IRREVERSIBLE. Your answer is for all boards above, and also covers later burns\n"
    "that the same scripts ask for in this run."
)


class PlanLike(Protocol):
    """What is asked of a plan; `run.shared.PlanOfBoard` is one."""

    @property
    def port(self) -> str:
        """The board's port, as the operator gave it."""

    @property
    def chip(self) -> str:
        """The chip's title, as `ESP32-C3`."""

    @property
    def mac(self) -> str:
        """The factory MAC as aa:bb:cc:dd:ee:ff."""

    @property
    def index(self) -> int:
        """The board's index."""

    @property
    def blocks(self) -> tuple[PlannedBlock, ...]:
        """What will be burned, a row a block."""

    @property
    def unique_values(self) -> Mapping[str, str]:
        """Values that no other chip may have, by name."""

    @property
    def taken(self) -> str:
        """How the values of the run are taken, as a sentence."""


def plan_lines(plans: Sequence[PlanLike]) -> list[str]:
    """Return what will be burned into which board, a line each."""
    groups: dict[tuple[str, tuple[PlannedBlock, ...]], list[PlanLike]] = {}
    for plan in plans:
        shape = tuple(block._replace(bits=0) for block in plan.blocks)  # values of their own differ in bits
        groups.setdefault((plan.chip, shape), []).append(plan)
    lines: list[str] = []
    for (chip, _), boards in groups.items():
        lines.append(f"{plural(len(boards), 'board')} {chip}:")
        lines += [f"    {line}" for line in planned_lines(*(plan.blocks for plan in boards))]
        for plan in boards:
            values = ", ".join(f"{name}={value}" for name, value in plan.unique_values.items())
            lines.append("  " + one_line(f"{plan.port} {plan.mac} index {plan.index} {values}"))
    return lines


LATER = "The scripts of the other boards begin after this one: the answer covers what they will plan, too."


def question_lines(plans: Sequence[PlanLike], *, simulated: bool, one_at_a_time: bool = False) -> list[str]:
    """Return the plans and the warning; QUESTION comes after them.

    Args:
        plans: The boards that have something to burn.
        simulated: Say that no real chip is burned.
        one_at_a_time: Say that the answer is for boards that come later, too.
    """
    taken = [one_line(text) for text in dict.fromkeys(plan.taken for plan in plans) if text]
    lines = ["", "To be burned:", *plan_lines(plans), *taken, "", *WARNING.splitlines()]
    if one_at_a_time:
        lines.append(LATER)
    return [*lines, "(These boards are simulated.)"] if simulated else lines
