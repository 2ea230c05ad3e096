"""One frame of the tiles: head, all sockets, what they say, and what the words mean. Pure; see `tiles`.

All sockets are always in sight: tiles shrink until they fit. A tile is built again only when what it shows
has changed, so that a frame of 128 sockets costs less than a thousandth of a second.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions, RenderResult
from rich.segment import Segment
from rich.style import Style

from parburn.station.picture import SocketPicture, StationPicture
from parburn.station.states import SocketState
from parburn.station.tile import (
    AMBER,
    AT_WORK,
    BOLD,
    GAP,
    PLAIN,
    WIDEST,
    Drawn,
    Form,
    TileLines,
    forms_for,
    slot_of,
    symbol_of,
    tile_of,
    word_of,
)
from parburn.station.words import ENGLISH, LOOKS, Word, Words
from parburn.ui.words import fold, one_line

HALT: Final = Style.parse("bold white on red")
FEWEST_ACROSS: Final = 4  # where there is room: a column of tiles alone is no picture of a rig
Line = list[Segment]


class Layout(NamedTuple):
    """Where tiles stand: so many across, each so wide."""

    form: Form
    across: int
    width: int


class TileFrame:
    """What is drawn of a station, for a terminal of any size."""

    def __init__(self, *, words: Words = ENGLISH, clock: Callable[[], float] = time.monotonic) -> None:
        self._words = words
        self._clock = clock
        self.picture: StationPicture | None = None
        self._began: dict[str, tuple[SocketPicture, float]] = {}  # clock at which a board at work came
        self._at_work: list[str] = []
        self._tiles: dict[str, tuple[SocketPicture, int, Drawn, TileLines]] = {}
        self._ages: dict[str, int] = {}  # whole seconds that the last frame shows
        self._layout: tuple[object, Layout | None] = (None, None)

    def take(self, picture: StationPicture) -> None:
        """Take the station as it is now; nothing is drawn here."""
        now = self._clock()
        self._at_work = []
        for socket in picture.sockets:
            if socket.state not in AT_WORK or socket.seconds is None:
                continue
            self._at_work.append(socket.slot)
            known = self._began.get(socket.slot)
            if known is None or known[0] is not socket:
                self._began[socket.slot] = (socket, now - socket.seconds)
        self.picture = picture

    def has_aged(self) -> bool:
        """Tell whether a socket at work shows other seconds by now."""
        now = self._clock()
        return any(int(now - self._began[slot][1]) != self._ages.get(slot) for slot in self._at_work)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        utf = "utf" in options.encoding.lower()
        for line in self.lines(options.max_width, options.size.height, utf=utf):
            yield from line
            yield Segment.line()

    def lines(self, width: int, height: int, *, utf: bool = True) -> list[Line]:
        """Return at most `height` lines, each at most `width` cells wide."""
        if self.picture is None:
            return []
        picture = self.picture
        head, legend = self._head(picture, width, height), self._legend(picture, width, utf=utf)
        room = max(1, height - len(head) - 1)
        layout = self._arranged(picture, width, room)
        if layout is None:
            return self._marks(picture, width, height, utf=utf)
        tiles = list(self._rows(picture, layout, utf=utf))
        said = self._said(picture, width, height - len(head) - len(tiles) - 1)
        lines = [*head, *tiles, *said]
        lines += [[] for _ in range(height - 1 - len(lines))]
        return [*lines, legend]

    def head(self, width: int, height: int) -> list[Line]:
        """Return the first lines alone: who, how far, and why it is halted."""
        return [] if self.picture is None else self._head(self.picture, width, height)

    # Head and foot ------------------------------------------------------------------------------------

    def _head(self, picture: StationPicture, width: int, height: int) -> list[Line]:
        """Return who, what and how far; then why it is halted, and what somebody should see to."""
        who = [("station", picture.station), ("job", picture.job), ("batch", picture.batch)]
        who.append(("operator", picture.operator))
        lines = [[_cut("  ".join(f"{name} {one_line(text)}" for name, text in who if text), width, PLAIN)]]
        lines.append([_cut("  ".join(_counts(picture)), width, BOLD)])
        if picture.draining:
            lines[1] = [_cut("DRAINING  " + lines[1][0].text, width, AMBER)]
        if picture.halt:
            most = 3 if height >= 30 else 2
            for text in fold("", f"HALTED: {one_line(picture.halt)}", width)[:most]:
                lines.append([Segment(set_cell_size(text, width), HALT)])
        most = 4 if height >= 30 else 2
        shown = picture.amber if len(picture.amber) <= most else picture.amber[: most - 1]
        lines += [[_cut(f"! {one_line(text)}", width, AMBER)] for text in shown]
        if len(shown) < len(picture.amber):
            lines.append([_cut(f"! and {len(picture.amber) - len(shown)} more", width, AMBER)])
        return lines[: max(1, height - 2)]

    def _legend(self, picture: StationPicture, width: int, *, utf: bool) -> Line:
        """Return what is to be done for each word that stands there now; the words alone in a narrow one."""
        there = {socket.word for socket in picture.sockets}
        hollow = {socket.word for socket in picture.sockets if socket.hollow}
        names = []
        for word in (one for one in Word if one in there):
            symbol = self._words.symbol(word, utf=utf)
            if word in hollow:
                symbol += self._words.symbol(word, hollow=True, utf=utf)
            names.append((word, f"{symbol} {self._words.text(word)}"))
        whole = sum(cell_len(name) + 1 + cell_len(self._words.action(word)) + GAP for word, name in names)
        line: Line = []
        for word, name in names:
            line.append(Segment(name, Style.parse(LOOKS[word].style)))
            line.append(Segment((f" {self._words.action(word)}" if whole - GAP <= width else "") + " " * GAP))
        return next(iter(Segment.split_and_crop_lines(line, width, pad=False, include_new_lines=False)), [])

    def _said(self, picture: StationPicture, width: int, room: int) -> list[Line]:
        """Return the sentences of sockets that somebody must see to, where there is room below the tiles."""
        if room < 2:
            return []
        telling = [
            one
            for one in picture.sockets
            if one.detail
            and one.word is not Word.PASS
            and one.state in (SocketState.VERDICT, SocketState.LOCKED, SocketState.HOLD)
        ]
        telling.sort(key=lambda one: one.state is SocketState.HOLD)
        lines: list[Line] = [[]]
        for one in telling[: room - 1]:
            text = f"{slot_of(one)} {word_of(one, self._words)}: {one_line(one.detail)}"
            lines.append([_cut(text, width, PLAIN)])
        return lines

    # The tiles ----------------------------------------------------------------------------------------

    def _arranged(self, picture: StationPicture, width: int, room: int) -> Layout | None:
        """Return how all tiles fit; None: not even slots and symbols do. Kept until something grows."""
        key = (width, room, tuple(slot_of(one) for one in picture.sockets))
        if self._layout[0] != key:
            forms = forms_for(picture.sockets, self._words)
            fitting = (_layout_of(form, len(picture.sockets), width, room) for form in forms)
            self._layout = (key, next((one for one in fitting if one is not None), None))
        return self._layout[1]

    def _rows(self, picture: StationPicture, layout: Layout, *, utf: bool) -> Iterator[Line]:
        drawn = Drawn(self._words, utf, layout.width, layout.form)
        now, gap = self._clock(), Segment(" " * GAP)
        tiles = [self._tile(socket, now, drawn) for socket in picture.sockets]
        for start in range(0, len(tiles), layout.across):
            row = tiles[start : start + layout.across]
            for number in range(layout.form.lines):
                line: Line = []
                for tile in row:
                    line += tile[number]
                    line.append(gap)
                yield line[:-1]

    def _tile(self, socket: SocketPicture, now: float, drawn: Drawn) -> TileLines:
        """Return a socket's tile, the one of the last frame where it would be the same."""
        age, shown = socket.seconds, -1
        if age is not None and socket.state in AT_WORK:
            age = now - self._began[socket.slot][1]
            shown = int(age)
            self._ages[socket.slot] = shown
        known = self._tiles.get(socket.slot)
        if known is not None and known[0] == socket and known[1] == shown and known[2] == drawn:
            return known[3]
        tile = tile_of(socket, age, drawn)
        self._tiles[socket.slot] = (socket, shown, drawn, tile)
        return tile

    def _marks(self, picture: StationPicture, width: int, height: int, *, utf: bool) -> list[Line]:
        """Return one symbol a socket, where the terminal is too small for anything else."""
        marks = "".join(symbol_of(one, self._words, utf=utf) for one in picture.sockets)
        lines = [[Segment(marks[at : at + width])] for at in range(0, len(marks), max(1, width))]
        return lines[: max(1, height)]


def _layout_of(form: Form, sockets: int, width: int, room: int) -> Layout | None:
    """Return the layout in a form, in as few columns as fit, rows of equal length where that is possible."""
    most = (width + GAP) // (form.least + GAP)
    down = room // form.lines
    if not sockets or not most or not down or -(-sockets // down) > most:
        return None if sockets else Layout(form, 1, form.least)
    least = max(-(-sockets // down), min(most, sockets, FEWEST_ACROSS))
    across = next((one for one in range(least, most + 1) if sockets % one == 0), least)
    return Layout(form, across, min(WIDEST, (width + GAP) // across - GAP))


def _counts(picture: StationPicture) -> Iterator[str]:
    target = "" if picture.target is None else f"/{picture.target}"
    yield f"passed {picture.passed}{target}"
    if picture.yield_percent is not None:
        yield f"yield {picture.yield_percent:.1f} %"
    if picture.indexes_left is not None:
        yield f"indexes left {picture.indexes_left}"
    taken = sum(socket.state is not SocketState.EMPTY for socket in picture.sockets)
    yield f"sockets {taken}/{len(picture.sockets)}"


def _cut(text: str, width: int, style: Style) -> Segment:
    """Return a line of text, cut where it is too long."""
    return Segment(text if cell_len(text) <= width else set_cell_size(text, max(0, width)), style)
