"""One frame of the live table as rich segments. Rows are cached: only those that changed are built again.

A rich Table that is rebuilt for each frame costs 23 ms at 64 rows; this costs less than one, because a row
is three segments that stay the same objects until their board changes.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePath

from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions, RenderResult
from rich.segment import Segment
from rich.style import Style

from parburn.ui.board_rows import BoardRow, BoardRows
from parburn.ui.state_marks import STATE_MARKS
from parburn.ui.words import plural, short_ports, short_slots

NEW_LINE = Segment.line()
HEAD = Style.parse("bold")
DIM = Style.parse("dim")
WARN = Style.parse("bold magenta")
GAP = "  "
MAC_WIDTH = 17
STATE_WIDTH = 12  # "already-pass"
LAYOUTS = (
    ("port", "slot", "chip", "mac", "index", "step", "blocks", "time", "result"),
    ("port", "chip", "mac", "index", "step", "blocks", "time", "result"),
    ("port", "chip", "mac", "index", "blocks", "time", "state"),
    ("port", "mac", "index", "blocks", "state"),
)
TITLES = {"port": "port", "slot": "slot", "chip": "chip", "mac": "MAC", "index": "index", "step": "step",
          "blocks": "blocks", "time": "time", "result": "result", "state": "state"}  # fmt: skip


class Frame:
    """What rich draws of all boards: a row each, or a grid of cells where rows do not fit."""

    def __init__(self, boards: BoardRows) -> None:
        self._boards = boards
        self._rows: dict[str, list[Segment]] = {}
        self._ages: dict[str, int] = {}  # whole seconds that a running row shows
        self._shape: tuple[int, int, int] = (0, 0, 0)
        self._columns: tuple[str, ...] | None = LAYOUTS[0]
        self._widths: dict[str, int] = {}
        self._ports: dict[str, str] = {}
        self._slots: dict[str, str] = {}
        self._utf = True

    def stale(self, width: int, height: int) -> bool:
        """Return whether a new frame would look different; width and height are in cells."""
        return (
            bool(self._boards.dirty) or (width, height, len(self._boards.all)) != self._shape or self._aged()
        )

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width, height = options.max_width, options.size.height
        self._arrange(width, height, utf="utf" in options.encoding.lower())
        return self.segments(width, height)

    def segments(self, width: int, height: int) -> Iterator[Segment]:
        """Return the frame, line by line, for a terminal of so many cells."""
        lines: list[list[Segment]] = []
        title = self._title()
        if title:
            lines.append([Segment(set_cell_size(title, min(width, cell_len(title))), WARN)])
        if self._columns is None:
            lines += self._grid(width, height - len(lines) - 2)
        else:
            lines.append(self._header(width))
            self._renew()
            lines += self._rows.values()
        lines.append([Segment(self._totals()[:width], HEAD)])
        self._boards.dirty.clear()
        for number, line in enumerate(lines):
            if number:
                yield NEW_LINE
            yield from line

    @property
    def compact(self) -> bool:
        """Whether the last frame was a grid."""
        return self._columns is None

    def _arrange(self, width: int, height: int, *, utf: bool) -> None:
        shape = (width, height, len(self._boards.all))
        if shape == self._shape:
            return
        self._shape, self._utf = shape, utf
        self._rows.clear()
        self._ports = short_ports(list(self._boards.all))
        self._slots = short_slots([board.slot for board in self._boards.all.values()])
        self._widths = self._measure()
        others = 2 + bool(self._title())
        fits = len(self._boards.all) + others < height
        self._columns = next((c for c in LAYOUTS if self._width_of(c) <= width), None) if fits else None

    def _measure(self) -> dict[str, int]:
        boards = self._boards.all.values()
        port = max([4, *(cell_len(name) for name in self._ports.values())])
        slot = max([4, *(cell_len(name) for name in self._slots.values())])
        chip = max([8, *(cell_len(board.chip) for board in boards)])
        return {"port": port, "slot": slot, "chip": chip, "mac": MAC_WIDTH, "index": 6, "step": STATE_WIDTH,
                "blocks": 6, "time": 6, "result": STATE_WIDTH, "state": STATE_WIDTH}  # fmt: skip

    def _width_of(self, columns: tuple[str, ...]) -> int:
        if "slot" in columns and all(
            board.slot in ("", PurePath(port).name) for port, board in self._boards.all.items()
        ):
            return 1 << 30  # a slot that only repeats the port is no column
        return sum(self._widths[name] for name in columns) + len(GAP) * (len(columns) - 1)

    def _header(self, width: int) -> list[Segment]:
        assert self._columns is not None
        text = GAP.join(set_cell_size(TITLES[name], self._widths[name]) for name in self._columns)
        return [Segment(set_cell_size(text, width), HEAD)]

    def _aged(self) -> bool:
        now = self._boards.clock()
        return any(
            int(board.age(now)) != self._ages.get(port, 0)
            for port, board in self._boards.all.items()
            if board.result is None
        )

    def _renew(self) -> None:
        now = self._boards.clock()
        ages, dirty = self._ages, self._boards.dirty
        for port, board in self._boards.all.items():
            age = int(board.age(now))
            if port in dirty or port not in self._rows or (board.result is None and ages.get(port, 0) != age):
                ages[port] = age
                self._rows[port] = self._row(board, now)

    def _row(self, board: BoardRow, now: float) -> list[Segment]:
        assert self._columns is not None
        cells = self._cells(board, now)
        split = next(i for i, name in enumerate(self._columns) if name in ("step", "blocks"))
        pieces = [set_cell_size(cells[name], self._widths[name]) for name in self._columns[:-1]]
        last = cells[self._columns[-1]]
        room = self._shape[0] - sum(cell_len(p) + len(GAP) for p in pieces)
        style = Style.parse(STATE_MARKS[board.state].style)
        middle = GAP.join(pieces[split:]) + GAP
        return [
            Segment(GAP.join(pieces[:split]) + GAP),
            Segment(middle, DIM if board.result is not None else style),
            Segment(set_cell_size(last, min(room, cell_len(last))), style),
        ]

    def _cells(self, board: BoardRow, now: float) -> dict[str, str]:
        age = board.age(now)
        result = "" if board.result is None else self._mark(board) + " " + board.result.value
        if board.error and board.result is not None and not board.result.passed:
            result += ": " + board.error
        step = f"{board.step or ''} {board.detail}".strip()
        return {
            "port": self._ports[board.port],
            "slot": self._slots.get(board.slot, board.slot),
            "chip": board.chip,
            "mac": board.mac,
            "index": board.index_text,
            "step": step,
            "blocks": board.blocks,
            "time": f"{age:.1f}s" if board.result is not None else f"{int(age)}s",
            "result": result,
            "state": result or step,
        }

    def _mark(self, board: BoardRow) -> str:
        look = STATE_MARKS[board.state]
        return look.mark if self._utf else look.plain

    def _grid(self, width: int, lines: int) -> list[list[Segment]]:
        """Return cells column by column: the longest form of a cell of which all fit, else marks alone."""
        boards = list(self._boards.all.values())
        label = max([1, *(cell_len(name) for name in self._ports.values())])
        lines = max(1, lines)
        for cell in (label + 2 + STATE_WIDTH, label + 2):
            across = max(1, (width + len(GAP)) // (cell + len(GAP)))
            if across * lines >= len(boards):
                down = -(-len(boards) // across)
                return [
                    [segment for board in boards[row::down] for segment in self._cell(board, label, cell)]
                    for row in range(down)
                ]
        marks = [Segment(self._mark(board), Style.parse(STATE_MARKS[board.state].style)) for board in boards]
        rows = [marks[at : at + width] for at in range(0, len(marks), max(1, width))]
        return rows[:lines]

    def _cell(self, board: BoardRow, label: int, cell: int) -> list[Segment]:
        look = STATE_MARKS[board.state]
        text = self._mark(board)
        room = cell - label - 1
        if room > 1:
            words = board.blocks if board.step == "burning" and board.result is None else board.word
            text = set_cell_size(f"{text} {words}", room)
        return [
            Segment(set_cell_size(self._ports[board.port], label) + " "),
            Segment(text, Style.parse(look.style)),
            Segment(GAP),
        ]

    def _title(self) -> str:
        if self._boards.simulated:
            return "SIMULATED boards: no real chip is burned" + (" (dry run)" if self._boards.dry_run else "")
        return "DRY RUN: nothing is burned" if self._boards.dry_run else ""

    def _totals(self) -> str:
        age = self._boards.clock() - self._boards.began
        counts = ", ".join(f"{count} {word}" for word, count in self._boards.counts().items())
        return f"{plural(len(self._boards.all), 'board')}: {counts}" + GAP + f"{int(age)}s"
