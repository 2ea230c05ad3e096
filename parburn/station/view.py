"""What a station shows itself with: the one protocol of its three views, and what all of them are told.

Nothing here knows how a view draws. A view never raises and never waits for its reader.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import IO, Final, NamedTuple, Protocol

from parburn.events import DeviceReport, NoteLevel
from parburn.station.picture import StationPicture
from parburn.ui.nonblocking_writer import NonblockingWriter

MOST_WAITING: Final = 4 << 20  # bytes that a reader who reads nothing is kept for
DUMB_TERMINALS: Final = ("", "dumb", "unknown")


class StationFacts(NamedTuple):
    """What is said once, as a station starts."""

    station: str
    operator: str
    job: str
    batch: str
    ledger: str
    ledger_uuid: str
    run: int | None
    sockets: tuple[str, ...]  # names of slots
    simulated: bool = False


class Totals(NamedTuple):
    """What a station has done from its start to its end. `failures` count boards by `failure_kind`."""

    boards: int
    passed: int
    passed_before: int
    failures: Mapping[str, int]
    seconds: float
    exit: int


class StationView(Protocol):
    """What a station tells of itself, in the order it happens."""

    def started(self, facts: StationFacts) -> None:
        """Take what is said once."""

    def update(self, picture: StationPicture) -> None:
        """Take the station as it is now. It is called often; a view shows what has changed."""

    def report(self, slot: str, report: DeviceReport) -> None:
        """Take how the board in a slot ended."""

    def note(self, slot: str, text: str, level: NoteLevel = "info") -> None:
        """Take a sentence; `slot` is empty where it is of the whole station."""

    def halt(self, why: str) -> None:
        """Take that the station is halted."""

    def resumed(self, why: str) -> None:
        """Take that it goes on."""

    def ended(self, totals: Totals) -> None:
        """Take the last word."""

    def draw(self, *, force: bool = False) -> bool:
        """Draw what is new, where the view draws at all; return whether it did."""

    def close(self) -> None:
        """Give the terminal back. A second time it does nothing."""


class BoundedLines:
    """Lines for a reader who may stop reading for days: past MOST_WAITING they are left out, and counted."""

    def __init__(self, writer: NonblockingWriter, *, most_bytes: int = MOST_WAITING) -> None:
        self._writer = writer
        self._most = most_bytes
        self.left_out = 0

    def line(self, text: str) -> bool:
        """Write a line; return whether it was. Nobody waits."""
        if self._writer.waiting_bytes > self._most:
            self.left_out += 1
            return False
        self._writer.line(text)
        return True

    def take_left_out(self) -> int:
        """Return how many lines were left out, once the reader reads again; 0 until then."""
        if not self.left_out or self._writer.waiting_bytes > self._most // 2:
            return 0
        count, self.left_out = self.left_out, 0
        return count


def shows_tiles(stream: IO[str]) -> bool:
    """Tell whether tiles can be drawn there: a terminal that can move its cursor."""
    return stream.isatty() and os.environ.get("TERM", "") not in DUMB_TERMINALS
