"""The live table on a terminal, by rich: eight frames a second at most, four for many boards, news only."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, cast

from rich.live import Live
from rich.text import Text

from parburn.events import Event, Note, ScriptOutput
from parburn.ui.board_rows import BoardRows
from parburn.ui.frame import Frame
from parburn.ui.names import Names
from parburn.ui.nonblocking_writer import NonblockingWriter
from parburn.ui.repeated_notes import RepeatedNotes
from parburn.ui.safe_console import SafeConsole
from parburn.ui.words import fold, one_line, safe_lines

FRAME_SECONDS = 0.125
MANY_BOARDS = 32  # nobody reads more rows than these eight times a second
NOTE_STYLES = {"warning": "bold yellow", "hint": "cyan"}


class LiveTable:
    """An observer that keeps one row a board on the screen."""

    def __init__(
        self,
        writer: NonblockingWriter,
        *,
        show_output: bool = False,
        quiet: bool = False,
        bare: bool = False,
        clock: Callable[[], float] = time.monotonic,
        width: int | None = None,
        height: int | None = None,
    ) -> None:
        self._writer = writer
        self._show_output = show_output
        self._quiet = quiet
        self._bare = bare
        self.boards = BoardRows(clock=clock)
        self.frame = Frame(self.boards)
        self.console = SafeConsole(
            file=cast(IO[str], writer.as_it_is),
            force_terminal=True,
            width=width,
            height=height,
            highlight=False,
            markup=False,
        )
        self.names = Names()
        self.notes = RepeatedNotes(self.names)
        self._above: list[Text] = []  # what is to be printed above the table at the next frame
        self._live: Live | None = None
        self._paused = False

    def emit(self, event: Event) -> None:
        """Take one event; nothing is drawn here."""
        self.boards.apply(event)
        self.names.apply(event)
        if isinstance(event, Note):
            if (not self._quiet or event.level == "warning") and self.notes.is_first(event):
                where = f"{self.names.port(event.port)}: " if event.port else ""
                text = self.names.without_path(event.text, event.port) if event.port else event.text
                self._note(where, text, NOTE_STYLES.get(event.level, ""))
        elif isinstance(event, ScriptOutput) and self._show_output:
            before = "" if self._bare else f"{one_line(event.port)} | "
            self._above += [Text(before + line) for line in safe_lines(event.text)]

    @property
    def frame_seconds(self) -> float:
        """How long to wait between two frames."""
        return FRAME_SECONDS if len(self.boards.all) <= MANY_BOARDS else 2 * FRAME_SECONDS

    def draw(self, *, force: bool = False) -> bool:
        """Draw a frame if there is something new and the terminal has taken the last one.

        Returns:
            Whether it was drawn; with `force` it always is, where there is anything.
        """
        if self._paused or not (self.boards.all or self._above) or (self._writer.busy and not force):
            return False
        size = self.console.size
        if not (force or self._above or self.frame.stale(size.width, size.height)):
            return False
        if self._live is None and self.boards.all:
            self._start()
        if self._above:
            above, self._above = self._above, []
            self.console.print(Text("\n").join(above), soft_wrap=True)  # draws the frame below it, too
        elif self._live is not None:
            self._live.refresh()
        return True

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Take the table off the screen, for a question to the operator."""
        if self._live is not None:
            self._live.transient = True
            self._live.stop()
            self._live = None
        self._paused = True
        self.boards.asked()
        try:
            yield
        finally:
            self.boards.answered()
            self._paused = False

    def close(self) -> None:
        """Leave the last frame on the screen and give the cursor back."""
        for line in self.notes.taken():
            self._note("", line, "")
        if self._above or self._live is None:
            self.draw(force=True)
        if self._live is not None:
            self._live.stop()  # draws once more
            self._live = None

    def _start(self) -> None:
        self._live = Live(
            self.frame, console=self.console, auto_refresh=False, redirect_stdout=False, redirect_stderr=False
        )
        self._live.start()

    def _note(self, where: str, text: str, style: str) -> None:
        lines = fold("", where + one_line(text), self.console.width)
        self._above += [Text(line, style=style) for line in lines]
