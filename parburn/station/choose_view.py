"""Chooses what shows a station, and keeps it drawn. A view that fails gives way to plain lines."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import suppress
from typing import IO, Final

from anyio import sleep

from parburn.events import DeviceReport, NoteLevel
from parburn.station.json_lines import StationJson
from parburn.station.picture import StationPicture
from parburn.station.plain_lines import StationPlain
from parburn.station.view import StationFacts, StationView, Totals, shows_tiles
from parburn.station.words import ENGLISH, Word, Words
from parburn.ui.nonblocking_writer import NonblockingWriter

LOOK_S: Final = 0.25  # between two looks whether there is something to draw


class GuardedView:
    """A view that cannot harm a burn: what it raises is told, and plain lines take its place."""

    def __init__(self, view: StationView, instead: Callable[[], StationView]) -> None:
        self._view = view
        self._instead = instead

    def started(self, facts: StationFacts) -> None:
        """Hand on what is said once."""
        self._tell(lambda view: view.started(facts))

    def update(self, picture: StationPicture) -> None:
        """Hand on the station as it is now."""
        self._tell(lambda view: view.update(picture))

    def report(self, slot: str, report: DeviceReport) -> None:
        """Hand on how a board ended."""
        self._tell(lambda view: view.report(slot, report))

    def note(self, slot: str, text: str, level: NoteLevel = "info") -> None:
        """Hand on a sentence."""
        self._tell(lambda view: view.note(slot, text, level))

    def halt(self, why: str) -> None:
        """Hand on that it is halted."""
        self._tell(lambda view: view.halt(why))

    def resumed(self, why: str) -> None:
        """Hand on that it goes on."""
        self._tell(lambda view: view.resumed(why))

    def ended(self, totals: Totals) -> None:
        """Hand on the last word."""
        self._tell(lambda view: view.ended(totals))

    def draw(self, *, force: bool = False) -> bool:
        """Draw what is new; return whether anything was drawn."""
        drawn = False

        def draw(view: StationView) -> None:
            nonlocal drawn
            drawn = view.draw(force=force)

        self._tell(draw)
        return drawn

    def close(self) -> None:
        """Give the terminal back."""
        self._tell(lambda view: view.close())

    def _tell(self, call: Callable[[StationView], object]) -> None:
        try:
            call(self._view)
        except Exception as error:  # a screen is no reason to leave boards half burned
            failed = self._view
            with suppress(Exception):
                failed.close()
            self._view = self._instead()
            self._view.note(
                "",
                f"{type(failed).__name__} failed and is left out, the station goes on: "
                f"{type(error).__name__}: {error}",
                "warning",
            )
            with suppress(Exception):
                call(self._view)


def view_for(
    stream: IO[str],
    writer: NonblockingWriter,
    *,
    json: bool = False,
    plain: bool = False,
    words: Words = ENGLISH,
    bells: Collection[Word] = (),
) -> GuardedView:
    """Return the view for a stream, and for what was asked for: tiles where they can be drawn.

    Args:
        stream: Where it is to be shown; only asked whether it is a terminal.
        writer: The writing end of that stream.
        json: JSON lines, whatever the stream is.
        plain: Plain lines on a terminal, too.
        words: In the operator's language.
        bells: Words that ring the terminal's bell.
    """

    def lines() -> StationView:
        return StationPlain(writer, words=words)

    if json:
        return GuardedView(StationJson(writer), lambda: StationJson(writer))
    if plain or not shows_tiles(stream):
        return GuardedView(lines(), lines)
    from parburn.station.tiles import TilesView  # here: rich is for terminals only

    return GuardedView(TilesView(writer, words=words, bells=bells), lines)


async def keep_drawing(view: StationView) -> None:
    """Draw what is new, four times a second, until cancelled."""
    while True:
        view.draw()
        await sleep(LOOK_S)
