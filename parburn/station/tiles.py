"""The tiles on a terminal: at most four frames a second, and of a frame only the lines that have changed.

They stand on the terminal's other screen, so that what was there before is there again at the end. A reader
who does not read (a terminal stopped by Ctrl-S) is not waited for: frames are left out. Where nothing changes
a look costs one system call, for the terminal's size.
"""

from __future__ import annotations

import atexit
import time
from collections.abc import Callable, Collection
from typing import IO, Final, cast

from rich.console import COLOR_SYSTEMS, Console
from rich.segment import Segment

from parburn.events import DeviceReport, NoteLevel
from parburn.printable import printable
from parburn.station.picture import StationPicture
from parburn.station.states import SocketState
from parburn.station.tile_frame import Line, TileFrame
from parburn.station.view import StationFacts, Totals
from parburn.station.words import ENGLISH, Word, Words
from parburn.ui.nonblocking_writer import NonblockingWriter
from parburn.ui.words import one_line

FRAME_SECONDS: Final = 0.25
NOTE_SECONDS: Final = 20.0  # how long a note stands in the last line but one
ENTER: Final = "\x1b[?1049h\x1b[?25l\x1b[0m\x1b[2J"  # other screen, no cursor, empty
LEAVE: Final = "\x1b[0m\x1b[?25h\x1b[?1049l"
CLEAR: Final = "\x1b[0m\x1b[2J"
BELL: Final = "\a"


class TilesView:
    """The view on a terminal."""

    frame_seconds = FRAME_SECONDS

    def __init__(
        self,
        writer: NonblockingWriter,
        *,
        words: Words = ENGLISH,
        bells: Collection[Word] = (),
        clock: Callable[[], float] = time.monotonic,
        width: int | None = None,
        height: int | None = None,
    ) -> None:
        """Take where to draw; `bells` are the words that ring the terminal's bell."""
        self._writer = writer
        self._clock = clock
        self._bells = frozenset(bells)
        self.frame = TileFrame(words=words, clock=clock)
        self.console = Console(
            file=cast(IO[str], writer.as_it_is),
            force_terminal=True,
            width=width,
            height=height,
            highlight=False,
            markup=False,
        )
        self._utf = "utf" in writer.encoding.lower()
        self._drawn: list[Line] = []
        self._size = (0, 0)
        self._picture: StationPicture | None = None  # of the last frame
        self._note: tuple[str, float] = ("", 0.0)  # text, and until when
        self._shown_note = ""
        self._rung: dict[str, Word | None] = {}
        self._ringing = False
        self._on = False
        self._closed = False

    def started(self, facts: StationFacts) -> None:
        """Show that boards are simulated; the rest is in the picture."""
        if facts.simulated:
            self.note("", "SIMULATED boards: no real chip is burned", "warning")

    def update(self, picture: StationPicture) -> None:
        """Take the station as it is now; `draw` shows it."""
        self.frame.take(picture)
        if self._bells:
            self._listen(picture)

    def report(self, slot: str, report: DeviceReport) -> None:
        """Show nothing: the tile has its word."""

    def note(self, slot: str, text: str, level: NoteLevel = "info") -> None:
        """Show a sentence for a while."""
        where = f"{slot}: " if slot else ""
        mark = "! " if level == "warning" else ""
        self._note = (one_line(f"{mark}{where}{text}"), self._clock() + NOTE_SECONDS)

    def halt(self, why: str) -> None:
        """Show nothing more: the picture has it."""

    def resumed(self, why: str) -> None:
        """Show it as a note."""
        self.note("", f"resumed: {why}")

    def ended(self, totals: Totals) -> None:
        """Show nothing more: `close` leaves the head on the screen."""

    def draw(self, *, force: bool = False) -> bool:
        """Draw what has changed, if the terminal has taken the last frame; return whether anything was.

        By force all of it, and at once: after Ctrl-Z another program has had the terminal.
        """
        if self._closed or self.frame.picture is None or (self._writer.busy and not force):
            return False
        width, height = self.console.size
        noted = self._note_now()
        if not (force or self._ringing or self._is_stale((width, height), noted)):
            return False
        if not self._on:
            self._enter()
        lines = self.frame.lines(width, height, utf=self._utf)
        if noted and len(lines) > 1 and not lines[-2]:
            lines[-2] = [Segment(one_line(noted)[:width])]
        text = CLEAR if (width, height) != self._size or force else ""
        before = [] if text else self._drawn
        text += "".join(
            f"\x1b[{number + 1};1H{self._ansi(line)}\x1b[0m\x1b[K"
            for number, line in enumerate(lines)
            if number >= len(before) or before[number] != line
        )
        self._drawn, self._size, self._picture = lines, (width, height), self.frame.picture
        self._shown_note = noted
        if self._ringing:
            self._ringing = False
            text += BELL
        if text:
            self._writer.write_as_it_is(text)
        return bool(text)

    def close(self) -> None:
        """Give the terminal back, with the head of the last frame on it. A second time it does nothing."""
        if self._closed:
            return
        self._closed = True
        if self._on:
            atexit.unregister(self.close)
            width, height = self._size
            head = self.frame.head(width, height) if self.frame.picture is not None else []
            told = "".join("".join(one.text for one in line).rstrip() + "\n" for line in head)
            self._writer.write_as_it_is(LEAVE + printable(told))
        self._writer.drain()

    # How it is drawn ----------------------------------------------------------------------------------

    def _is_stale(self, size: tuple[int, int], noted: str) -> bool:
        return (
            self.frame.picture is not self._picture
            or size != self._size
            or noted != self._shown_note
            or self.frame.has_aged()
        )

    def _enter(self) -> None:
        self._on = True
        atexit.register(self.close)  # whatever ends the process, its operator gets his terminal back
        self._writer.write_as_it_is(ENTER)
        self._drawn, self._size = [], (0, 0)

    def _note_now(self) -> str:
        text, until = self._note
        return text if self._clock() < until else ""

    def _listen(self, picture: StationPicture) -> None:
        """Ring once for each word that a socket comes to, and never for a frame."""
        for socket in picture.sockets:
            word = socket.word if socket.state in (SocketState.VERDICT, SocketState.LOCKED) else None
            if self._rung.get(socket.slot) is not word:
                self._rung[socket.slot] = word
                self._ringing = self._ringing or word in self._bells

    def _ansi(self, line: Line) -> str:
        """Return a line with the colours that the terminal knows; NO_COLOR leaves bold and dim."""
        system = self.console.color_system
        colors = COLOR_SYSTEMS[system] if system is not None else None
        pieces = []
        for text, style, _ in line:
            text = printable(text)
            if style and colors is not None:
                shown = style.without_color if self.console.no_color else style
                text = shown.render(text, color_system=colors)
            pieces.append(text)
        return "".join(pieces)
