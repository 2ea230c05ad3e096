"""The grid of the live table, where rows do not fit: a cell a board, column by column. Pure.

The longest form of a cell is taken of which all fit: with a word, with a mark, with the port's number alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style

HEAD = Style.parse("bold")
GAP = "  "
TITLE = "port index state"
WORD = 11  # cells of "half burned", "quarantined"
SHORTER = {"already-pass": "already"}


class GridCell(NamedTuple):
    """What a cell may show of a board."""

    port: str
    number: str  # the index
    mark: str
    word: str
    style: Style


class Form(NamedTuple):
    """The cells of the three parts of a cell, and what stands above; `stem` is left out of the ports."""

    port: int
    number: int
    state: int
    stem: str = ""

    @property
    def width(self) -> int:
        """Cells that it takes."""
        return self.port + self.number + self.state


def grid_lines(cells: Sequence[GridCell], width: int, lines: int) -> list[list[Segment]]:
    """Return the grid for a terminal of `width` cells, in at most `lines` lines."""
    for form in _forms(cells):
        for titles in (1,) if form.stem else (1, 0):  # a title is left out before words are
            across = -(-len(cells) // max(1, lines - titles))
            if lines > titles and across * (form.width + len(GAP)) - len(GAP) <= width:
                down = -(-len(cells) // across)
                rows = [_row(cells[row::down], form) for row in range(down)]
                return [_title(form, width), *rows] if titles else rows
    marks = [Segment(cell.mark, cell.style) for cell in cells]
    return [marks[at : at + width] for at in range(0, len(marks), max(1, width))][: max(1, lines)]


def _title(form: Form, width: int) -> list[Segment]:
    text = f"{form.stem}.. {TITLE}" if form.stem else TITLE
    return [Segment(set_cell_size(text, min(width, cell_len(text))), HEAD)]


def _forms(cells: Sequence[GridCell]) -> Iterator[Form]:
    port = max([1, *(cell_len(cell.port) for cell in cells)]) + 1
    number = max([1, *(len(cell.number) for cell in cells)]) + 1
    yield Form(port, number, 2 + WORD)
    yield Form(port, number, 1)
    stem = _stem([cell.port for cell in cells])
    if stem:
        yield Form(port - cell_len(stem), number, 1, stem)
    yield Form(port, 0, 1)


def _stem(names: Sequence[str]) -> str:
    """Return what all names begin with before their number; nothing where one has none."""
    if len(names) < 2:
        return ""
    first, last = min(names), max(names)  # what these two share, all share
    common = next((first[:at] for at, mark in enumerate(first) if last[at : at + 1] != mark), first)
    stem = common.rstrip("0123456789")
    return stem if all(name[len(stem) :].isdecimal() for name in names) else ""


def _row(cells: Sequence[GridCell], form: Form) -> list[Segment]:
    row: list[Segment] = []
    for cell in cells:
        state = cell.mark
        if form.state > 1:
            state = set_cell_size(f"{state} {SHORTER.get(cell.word, cell.word)}", form.state)
        name = set_cell_size(cell.port.removeprefix(form.stem), form.port)
        number = f"{cell.number:>{form.number - 1}} " if form.number else ""
        row += [Segment(name + number), Segment(state, cell.style), Segment(GAP)]
    return row[:-1]
