"""A station as plain lines, for pipes, files and dumb terminals: a line a verdict, a hold, a note or a halt.

Each begins with the time of day; that of a socket goes on with its slot and the word. Steps on the way are
left out unless they are asked for: of sixteen boards a second nobody reads them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from parburn.events import DeviceReport, NoteLevel
from parburn.station.picture import SocketPicture, StationPicture
from parburn.station.states import SocketState
from parburn.station.view import BoundedLines, StationFacts, Totals
from parburn.station.words import ENGLISH, Words
from parburn.ui.log import time_of_day
from parburn.ui.nonblocking_writer import NonblockingWriter
from parburn.ui.words import one_line, plural, seconds

# States that somebody may have to do something about; the others pass by.
TOLD: Final = (SocketState.VERDICT, SocketState.HOLD, SocketState.LOCKED)


class StationPlain:
    """The view of `--plain`, and of every stream that is no terminal."""

    def __init__(
        self,
        writer: NonblockingWriter,
        *,
        words: Words = ENGLISH,
        verbose: bool = False,
        clock: Callable[[], str] = time_of_day,
        most_bytes: int | None = None,
    ) -> None:
        self._lines = (
            BoundedLines(writer) if most_bytes is None else BoundedLines(writer, most_bytes=most_bytes)
        )
        self._words = words
        self._verbose = verbose
        self._clock = clock
        self._seen: dict[str, SocketPicture] = {}
        self._told: dict[str, str] = {}  # what was last said of a slot, without its seconds
        self._amber: frozenset[str] = frozenset()
        self._draining = False

    def started(self, facts: StationFacts) -> None:
        """Write what it is."""
        simulated = " of simulated boards" if facts.simulated else ""
        self._say(
            f"station {facts.station}{simulated}: job {facts.job}, batch {facts.batch}, "
            f"{plural(len(facts.sockets), 'socket')}, operator {facts.operator}, ledger {facts.ledger}"
        )

    def update(self, picture: StationPicture) -> None:
        """Write what has changed."""
        for socket in picture.sockets:
            seen = self._seen.get(socket.slot)
            if seen is not socket:
                self._seen[socket.slot] = socket
                self._tell(socket)
        if picture.amber:
            for sentence in picture.amber:
                if sentence not in self._amber:
                    self._say(f"warning: {sentence}")
        self._amber = frozenset(picture.amber)
        if picture.draining and not self._draining:
            self._say("draining: no board is begun any more")
        self._draining = picture.draining

    def report(self, slot: str, report: DeviceReport) -> None:
        """Write nothing: the socket's line has its word."""

    def note(self, slot: str, text: str, level: NoteLevel = "info") -> None:
        """Write the sentence."""
        place = f"{slot} " if slot else ""
        self._say(f"{place}{text}" if level == "info" else f"{place}{level}: {text}")

    def halt(self, why: str) -> None:
        """Write why it is halted."""
        self._say(f"HALTED: {why}")

    def resumed(self, why: str) -> None:
        """Write that it goes on."""
        self._say(f"resumed: {why}")

    def ended(self, totals: Totals) -> None:
        """Write the totals."""
        failed = ", ".join(f"{count} {kind}" for kind, count in totals.failures.items() if count)
        self._say(
            f"ended: {plural(totals.boards, 'board')}, {totals.passed} passed, "
            f"{totals.passed_before} had passed before" + (f", {failed}" if failed else "")
        )

    def draw(self, *, force: bool = False) -> bool:
        """Do nothing: lines are written as things happen."""
        return False

    def close(self) -> None:
        """Do nothing: no line is held back."""

    def _tell(self, socket: SocketPicture) -> None:
        if not self._verbose and socket.state not in TOLD:
            self._told.pop(socket.slot, None)
            return
        said = self._said(socket)
        detail = socket.detail or ("had passed before" if socket.hollow else "")
        if self._told.get(socket.slot) != said + detail:
            took = ""
            if socket.state is SocketState.VERDICT and socket.seconds is not None:
                took = f" {seconds(socket.seconds)}"
            self._say(f"{socket.slot} {said}{took}" + (f" ({detail})" if detail else ""))
            self._told[socket.slot] = said + detail

    def _said(self, socket: SocketPicture) -> str:
        """Return word, index and value; what comes behind them is no part of it."""
        word = self._words.text(socket.word) if socket.word is not None else socket.state.value
        if socket.state in (SocketState.HOLD, SocketState.LOCKED) and socket.word is not None:
            word += f" ({socket.state.value})"
        index = "" if socket.index is None else str(socket.index)
        return " ".join(part for part in (word, index, socket.value or socket.mac) if part)

    def _say(self, text: str) -> None:
        left_out = self._lines.take_left_out()
        if left_out:
            self._lines.line(f"{self._clock()} {plural(left_out, 'line')} left out: nobody read them")
        self._lines.line(f"{self._clock()} {one_line(text)}")
