"""What a dry run would burn into each board: the plans as the operator would confirm them. Pure text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from parburn.events import DeviceReport, Planned, PlannedBlock
from parburn.ui.names import Names
from parburn.ui.plans import plan_lines, sum_of
from parburn.ui.words import fold


@dataclass(frozen=True)
class DryPlan:
    """All burns of one board's scripts as one plan; see `plans.PlanLike`."""

    port: str
    chip: str
    mac: str
    index: int | None
    blocks: tuple[PlannedBlock, ...]
    unique_values: Mapping[str, str]
    taken: str = ""


def dry_run_lines(
    reports: Sequence[DeviceReport],
    planned: Mapping[str, Sequence[Planned]],
    names: Names | None = None,
    *,
    width: int | None = None,
) -> list[str]:
    """Return what would be burned, and its sum; nothing where no board would get anything."""
    names = names or Names()
    plans = [
        DryPlan(one.port, names.chip(one), one.mac, one.index, blocks, one.unique_values)
        for one in reports
        if (blocks := _blocks(planned.get(one.port, ()))) and one.result.passed
    ]
    if not plans:
        return []
    lines = ["Would be burned:", *plan_lines(plans, names, width=width)]
    return [*lines, *fold("", sum_of(plans), width), ""]


def _blocks(burns: Sequence[Planned]) -> tuple[PlannedBlock, ...]:
    several = len(burns) > 1
    return tuple(
        block._replace(block=f"burn {burn.burn}, {block.block}") if several else block
        for burn in burns
        for block in burn.blocks
    )
