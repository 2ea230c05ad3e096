"""The plans of a run as the operator confirms them: boards with plans of one shape together. Pure text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from parburn.events import PlannedBlock
from parburn.ui.names import Names
from parburn.ui.words import fold, name_ranges, one_line, plural, ranges

QUESTION = "Type BURN (all capitals) to go on: "
ANSWER = "BURN"
WARNING = (
    "Burning eFuses is IRREVERSIBLE. Your answer is for all boards above, and also covers later burns "
    "that the same scripts ask for in this run."
)
OWN = "own value each"
KEY = "(key)"


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
    def index(self) -> int | None:
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


def plan_lines(
    plans: Sequence[PlanLike], names: Names | None = None, *, width: int | None = None
) -> list[str]:
    """Return what will be burned into which board: the rows of each shape once, then a line a board."""
    names = names or Names()
    groups: dict[tuple[object, ...], list[PlanLike]] = {}
    for plan in plans:
        shape = tuple(block._replace(bits=0, values=()) for block in plan.blocks)
        kinds = tuple(name for block in plan.blocks for name, _ in block.values)
        groups.setdefault((plan.chip, shape, kinds), []).append(plan)
    lines: list[str] = []
    for boards in groups.values():
        ports = name_ranges(names.port(plan.port) for plan in boards)
        lines += fold(f"{plural(len(boards), 'board')} {boards[0].chip}: ", ports, width)
        for same in zip(*(plan.blocks for plan in boards), strict=True):
            lines += fold(f"    {same[0].block}: ", _row(same), width)
        lines += [_board_line(plan, names) for plan in boards]
    return lines


def _row(same: Sequence[PlannedBlock]) -> str:
    """Return what one step burns on boards whose plans have one shape."""
    block = same[0]
    fewest, most = min(one.bits for one in same), max(one.bits for one in same)
    bits = plural(most, "bit") if fewest == most else f"{fewest} to {most} bits"
    what = ", ".join(_shown_values(same)) if block.values else ", ".join((bits, *block.fields))
    what += " [locks, burned last]" if block.locks else ""
    return one_line(what + (f" [ends the link: {block.ends_link}]" if block.ends_link else ""))


def _shown_values(same: Sequence[PlannedBlock]) -> list[str]:
    return [_value(name, [dict(one.values).get(name, "") for one in same]) for name in dict(same[0].values)]


def _value(name: str, texts: Sequence[str], *, of: int | None = None) -> str:
    """Return a name with its value on some boards, of `of` in all."""
    several = set(texts)
    some = f", on {len(texts)}" if of is not None and len(texts) < of else ""
    if KEY in several or "" in several:
        return f"{name} ({'key' if KEY in several else 'not shown'}{some})"
    if len(several) == 1:
        return f"{name} = {texts[0]}" + (f" ({some[2:]})" if some else "")
    return f"{name} ({OWN if len(several) == len(texts) else f'{len(several)} values'}{some})"


def _board_line(plan: PlanLike, names: Names) -> str:
    index = "" if plan.index is None else f"index {plan.index} "
    values = ", ".join(f"{name}={value}" for name, value in plan.unique_values.items())
    return "  " + one_line(f"{names.port(plan.port)} {index}{plan.mac} {values}")


def sum_of(plans: Sequence[PlanLike]) -> str:
    """Return all of the plans in one sentence: boards, kinds, indexes, values, locks, keys."""
    kinds = _counted(plan.chip for plan in plans)
    chips = ", ".join(f"{count} {chip}" for chip, count in kinds.items())
    indexes = [plan.index for plan in plans if plan.index is not None]
    parts = [f"{plural(len(plans), 'board')}: {chips}"]
    parts += [f"index {ranges(indexes)}"] if indexes else []
    blocks = [block for plan in plans for block in plan.blocks]
    values: dict[str, list[str]] = {}
    for plan in plans:
        for name, text in dict(
            value for block in plan.blocks if not block.locks for value in block.values
        ).items():
            values.setdefault(name, []).append(text)
    keys = [name for name, texts in values.items() if KEY in texts]
    parts += [_value(name, texts, of=len(plans)) for name, texts in values.items() if name not in keys]
    if not values:
        parts += dict.fromkeys(field for block in blocks if not block.locks for field in block.fields)
    locks = dict.fromkeys(field for block in blocks if block.locks for field in block.fields)
    parts.append(f"LOCKS: {', '.join(locks)}" if locks else "no locks")
    parts.append(f"KEYS: {', '.join(keys)}" if keys else "no keys")
    ends = dict.fromkeys(block.ends_link for block in blocks if block.ends_link)
    return one_line(", ".join(parts + ([f"ENDS THE LINK: {', '.join(ends)}"] if ends else [])))


def _counted(texts: Iterable[str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for text in texts:
        counts[text] = counts.get(text, 0) + 1
    return counts


LATER = "The scripts of the other boards begin after this one: the answer covers what they will plan, too."


def question_lines(
    plans: Sequence[PlanLike],
    *,
    simulated: bool,
    one_at_a_time: bool = False,
    names: Names | None = None,
    width: int | None = None,
) -> list[str]:
    """Return the plans, the warning, and last their sum; QUESTION comes after them.

    Args:
        plans: The boards that have something to burn.
        simulated: Say that no real chip is burned.
        one_at_a_time: Say that the answer is for boards that come later, too.
        names: What the boards are called.
        width: Cells of the terminal, at which text is folded; None: it is not.
    """
    taken = [one_line(text) for text in dict.fromkeys(plan.taken for plan in plans) if text]
    lines = ["", "To be burned:", *plan_lines(plans, names, width=width)]
    for text in (*taken, "", WARNING, *([LATER] if one_at_a_time else [])):
        lines += fold("", text, width) if text else [""]
    lines += ["(These boards are simulated.)"] if simulated else []
    return [*lines, *fold("", sum_of(plans), width)]
