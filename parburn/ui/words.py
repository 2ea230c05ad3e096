"""How values are written for people: short names, safe text, counts. Pure functions on text."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Sequence

from parburn.events import PlannedBlock
from parburn.natural_order import natural_key
from parburn.printable import printable

_COUNTED = re.compile(r"(.*?)(0|[1-9]\d{0,8})", re.DOTALL)


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


def ranges(numbers: Iterable[int]) -> str:
    """Return numbers as `1-8, 12`."""
    runs: list[list[int]] = []
    for number in sorted(set(numbers)):
        if runs and number == runs[-1][-1] + 1:
            runs[-1][1:] = [number]
        else:
            runs.append([number])
    return ", ".join("-".join(map(str, run)) for run in runs)


def name_ranges(names: Iterable[str]) -> str:
    """Return names in natural order, those that count up together: `ttyUSB0-7, ttyUSB9`."""
    by_stem: dict[str, list[int]] = {}
    for name in sorted(names, key=natural_key):
        found = _COUNTED.fullmatch(name)
        if found is None:
            by_stem.setdefault(name, [])
        else:
            by_stem.setdefault(found[1], []).append(int(found[2]))
    parts: list[str] = []
    for stem, numbers in by_stem.items():
        parts += [stem + part for part in ranges(numbers).split(", ")] if numbers else [stem]
    return ", ".join(parts)


def fold(first: str, text: str, width: int | None) -> list[str]:
    """Return a text behind `first`, folded between words to `width` cells; None: one line.

    The lines after the first one are indented as far as `first` reaches.
    """
    if width is None or len(first) + len(text) <= width:
        return [first + text]
    room = max(width, len(first) + 20)
    return textwrap.wrap(
        text, room, initial_indent=first, subsequent_indent=" " * len(first),
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip


def plural(count: int, one: str, many: str = "") -> str:
    """Return a count and its noun: `1 board`, `3 boards`."""
    return f"{count} {one if count == 1 else many or one + 's'}"


def seconds(value: float) -> str:
    """Return a time for people: `0.4 s`, `12 s`."""
    return f"{value:.1f} s" if value < 10 else f"{value:.0f} s"


def planned_lines(blocks: Sequence[PlannedBlock]) -> list[str]:
    """Return one board's plan, a line a block, with the values that it leaves."""
    lines = []
    for block in blocks:
        values = ", ".join(f"{name} = {text}" if text else name for name, text in block.values)
        what = values or ", ".join((plural(block.bits, "bit"), *block.fields))
        line = f"{block.block}: {what}" + (" [locks, burned last]" if block.locks else "")
        lines.append(one_line(line + (f" [ends the link: {block.ends_link}]" if block.ends_link else "")))
    return lines or ["nothing to burn"]
