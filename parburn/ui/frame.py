"""One frame of the live table as rich segments. Rows are cached: only those that changed are built again.

A rich Table that is rebuilt for each frame costs 23 ms at 64 rows; this costs less than one, because a row
is three segments that stay the same objects until their board changes.
"""

from __future__ import annotations

from collections.abc import Iterator

from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions, RenderResult
from rich.segment import Segment
from rich.style import Style

from parburn.ui.board_rows import BoardRow, BoardRows
from parburn.ui.grid import GridCell, grid_lines
from parburn.ui.names import tells
from parburn.ui.state_marks import STATE_MARKS
from parburn.ui.words import plural, short_ports, short_slots

NEW_LINE = Segment.line()
HEAD = Style.parse("bold")
DIM = Style.parse("dim")
WARN = Style.parse("bold magenta")
GAP = "  "
MAC_WIDTH = 17
VALUE_WIDTH = 24  # cells that the value which tells a board from others has at most
STATE_WIDTH = 22  # a mark and "wrong chip: ESP32-C3"
LAYOUTS = (  # the first that fits; `state` is the last column, with what room there is
    ("port", "slot", "index", "chip", "mac", "value", "blocks", "time", "state"),
    ("port", "index", "chip", "mac", "value", "blocks", "time", "state"),
    ("port", "index", "chip", "value", "time", "state"),
    ("port", "index", "value", "state"),
    ("port", "index", "state"),
)
TITLES = {"port": "port", "slot": "slot", "chip": "chip", "mac": "factory MAC", "index": "index",
          "value": "value", "blocks": "blocks", "time": "time", "state": "state"}  # fmt: skip
ROOM_FOR_SENTENCES = 44  # cells of the last column from which on it has the whole sentence


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
        self._value_title = ""
        self._arranged: tuple[int, int, int, str, int] = (0, 0, 0, "", 0)
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
        title, value_width = self._values()
        if (*shape, title, value_width) == self._arranged:
            return
        self._arranged = (*shape, title, value_width)
        self._shape, self._utf, self._value_title = shape, utf, title
        self._rows.clear()
        self._ports = short_ports(list(self._boards.all))
        self._slots = short_slots([board.slot for board in self._boards.all.values()])
        self._widths = self._measure()
        others = 2 + bool(self._title())
        fits = len(self._boards.all) + others < height
        layouts = [self._without_twins(columns) for columns in LAYOUTS]
        self._columns = next((c for c in layouts if self._width_of(c) <= width), None) if fits else None

    def _values(self) -> tuple[str, int]:
        """Return the title of the values that tell boards apart, and how wide they are; 0: there are none.

        Until there is one the column has the factory MAC.
        """
        found = [board.value for board in self._boards.all.values() if board.value[1]]
        names = {name for name, _ in found}
        title = (names.pop() if len(names) == 1 else "value")[:VALUE_WIDTH] if found else ""
        widest = max([len(title), *(cell_len(text) for _, text in found)]) if found else 0
        return title, min(widest, VALUE_WIDTH)

    def _measure(self) -> dict[str, int]:
        boards = self._boards.all.values()
        port = max([4, *(cell_len(name) for name in self._ports.values())])
        slot = max([4, *(cell_len(name) for name in self._slots.values())])
        chip = max([8, *(cell_len(board.chip) for board in boards)])
        value = self._arranged[4] or MAC_WIDTH
        return {"port": port, "slot": slot, "chip": chip, "mac": MAC_WIDTH, "index": 5, "value": value,
                "blocks": 6, "time": 6, "state": STATE_WIDTH}  # fmt: skip

    def _width_of(self, columns: tuple[str, ...]) -> int:
        if "slot" in columns and not any(tells(port, board.slot) for port, board in self._boards.all.items()):
            return 1 << 30  # a slot that only repeats the port is no column
        return sum(self._widths[name] for name in columns) + len(GAP) * (len(columns) - 1)

    def _without_twins(self, columns: tuple[str, ...]) -> tuple[str, ...]:
        """Return the columns without the value where it would be the factory MAC once more."""
        return (
            columns
            if self._value_title or "mac" not in columns
            else tuple(c for c in columns if c != "value")
        )

    def _header(self, width: int) -> list[Segment]:
        assert self._columns is not None
        titles = {**TITLES, "value": self._value_title or TITLES["mac"]}
        text = GAP.join(set_cell_size(titles[name], self._widths[name]) for name in self._columns)
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
        pieces = [set_cell_size(cells[name], self._widths[name]) for name in self._columns[:-1]]
        room = self._shape[0] - sum(cell_len(p) + len(GAP) for p in pieces)
        style = Style.parse(STATE_MARKS[board.state].style)
        return [
            Segment(GAP.join(pieces[:-1]) + GAP),
            Segment(pieces[-1] + GAP, DIM if board.result is not None else style),
            Segment(_cut(self._state(board, room), room), style),
        ]

    def _cells(self, board: BoardRow, now: float) -> dict[str, str]:
        age = board.age(now)
        return {
            "port": self._ports[board.port],
            "slot": self._slots.get(board.slot, board.slot),
            "chip": board.chip,
            "mac": board.mac,
            "index": board.index_text,
            "value": board.value[1] if self._value_title else board.mac,
            "blocks": board.blocks,
            "time": f"{age:.1f}s" if board.result is not None else f"{int(age)}s",
        }

    def _state(self, board: BoardRow, room: int) -> str:
        """Return what a board is doing, or how it ended: the sentence where there is room, else few words."""
        if board.result is None:
            burning = board.step == "burning" and board.total
            return f"burning {board.blocks}" if burning else f"{board.step or ''} {board.detail}".strip()
        words = f"{self._mark(board)} {board.short or board.word}"
        if board.error and not board.result.passed and room >= ROOM_FOR_SENTENCES:
            error = board.error.removeprefix(f"{board.port}: ").replace(board.port, self._ports[board.port])
            return f"{words}: {error}" if error.lower() != board.short else words
        return words

    def _mark(self, board: BoardRow) -> str:
        look = STATE_MARKS[board.state]
        return look.mark if self._utf else look.plain

    def _grid(self, width: int, lines: int) -> list[list[Segment]]:
        cells = [
            GridCell(
                self._ports[board.port],
                board.index_text,
                self._mark(board),
                board.blocks if board.step == "burning" and board.result is None else board.word,
                Style.parse(STATE_MARKS[board.state].style),
            )
            for board in self._boards.all.values()
        ]
        return grid_lines(cells, width, lines)

    def _title(self) -> str:
        if self._boards.simulated:
            return "SIMULATED boards: no real chip is burned" + (" (dry run)" if self._boards.dry_run else "")
        return "DRY RUN: nothing is burned" if self._boards.dry_run else ""

    def _totals(self) -> str:
        age = self._boards.clock() - self._boards.began
        counts = ", ".join(f"{count} {word}" for word, count in self._boards.counts().items())
        return f"{plural(len(self._boards.all), 'board')}: {counts}" + GAP + f"{int(age)}s"


def _cut(text: str, room: int) -> str:
    """Return a text of at most `room` cells, cut between words where it is too long."""
    if cell_len(text) <= room:
        return text
    short = set_cell_size(text, max(0, room - 1)).rstrip()
    words = short.rpartition(" ")[0]
    return (words if 2 * cell_len(words) > room else short) + "…"
