"""How values are written for people: short names, safe text, counts. Pure functions on text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath

from parburn.events import DeviceReport, PlannedBlock
from parburn.printable import printable


def one_line(text: str) -> str:
    """Return text without line breaks and control characters: no script's text may steer the terminal."""
    return printable(" ".join(text.split()))


def safe_lines(text: str) -> list[str]:
    """Return a text's lines without control characters. A lone carriage return begins a new line."""
    return printable(text.replace("\r\n", "\n").replace("\r", "\n")).expandtabs(4).splitlines()


def shortened(names: Sequence[str], *, separators: str = "/") -> dict[str, str]:
    """Return each name without what all have in common, cut at a separator.

    One name alone keeps its last part.
    """
    distinct = list(dict.fromkeys(names))
    if not distinct:
        return {}
    first, last = min(distinct), max(distinct)  # what these two share, all share
    common = next((first[:at] for at, mark in enumerate(first) if last[at : at + 1] != mark), first)
    cut = 1 + max(common.rfind(mark) for mark in separators)
    short = {name: name[cut:] for name in distinct}
    return short if all(short.values()) else {name: name for name in distinct}


def short_ports(ports: Sequence[str]) -> dict[str, str]:
    """Return ports without their common folder."""
    return {port: one_line(short) for port, short in shortened(ports).items()}


def short_slots(slots: Sequence[str]) -> dict[str, str]:
    """Return by-path names without the host controller that all share; a single one stays whole."""
    short = shortened(slots, separators="/-") if len(set(slots)) > 1 else {slot: slot for slot in slots}
    return {slot: one_line(text) for slot, text in short.items()}


def plural(count: int, one: str, many: str = "") -> str:
    """Return a count and its noun: `1 board`, `3 boards`."""
    return f"{count} {one if count == 1 else many or one + 's'}"


def seconds(value: float) -> str:
    """Return a time for people: `0.4 s`, `12 s`."""
    return f"{value:.1f} s" if value < 10 else f"{value:.0f} s"


def board(report: DeviceReport) -> str:
    """Return a board's name for a sentence: port, slot when it says more, chip, MAC, index."""
    parts = [report.port]
    if report.slot and report.slot not in (report.port, PurePath(report.port).name):
        parts.append(f"({report.slot})")
    parts += [text for text in (report.chip, report.mac) if text]
    if report.index is not None:
        parts.append(f"index {report.index}")
    return one_line(" ".join(parts))


def planned_lines(*plans: Sequence[PlannedBlock]) -> list[str]:
    """Return a plan, a line a block; several plans of one shape together, with the range of their bits."""
    lines = []
    for same in zip(*plans, strict=True):
        block = same[0]
        fewest, most = min(one.bits for one in same), max(one.bits for one in same)
        bits = plural(most, "bit") if fewest == most else f"{fewest} to {most} bits"
        what = ", ".join(block.fields)
        line = f"{block.block}: {bits}" + (f"  {what}" if what else "")
        if block.locks:
            line += "  [locks, burned last]"
        if block.ends_link:
            line += f"  [ends the link: {block.ends_link}]"
        lines.append(printable(line).replace("\n", " "))
    return lines or ["nothing to burn"]
