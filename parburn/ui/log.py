"""Plain lines for pipes, files and dumb terminals: the start, a verdict a board, notes; steps if asked for.

Each line begins with the time of day, and a board's line then with its place: the slot where it says more
than the port, else the port without the folder that all share. What scripts print has the whole port only.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from parburn.events import (
    BlockBurned,
    Claimed,
    Event,
    Finished,
    Identified,
    Note,
    Planned,
    Result,
    RunStarted,
    ScriptOutput,
    StepChanged,
)
from parburn.ui.names import NAMING, Names
from parburn.ui.nonblocking_writer import NonblockingWriter
from parburn.ui.repeated_notes import RepeatedNotes
from parburn.ui.short_words import RESULT_WORDS
from parburn.ui.words import one_line, planned_lines, plural, safe_lines, seconds


def time_of_day() -> str:
    """Return the local time as 06:40:01."""
    return time.strftime("%H:%M:%S")


class PlainLog:
    """An observer that writes what happens, in the order it happens."""

    def __init__(
        self,
        writer: NonblockingWriter,
        *,
        show_output: bool = False,
        quiet: bool = False,
        verbose: bool = False,
        clock: Callable[[], str] = time_of_day,
    ) -> None:
        self._writer = writer
        self._show_output = show_output
        self._quiet = quiet
        self._verbose = verbose
        self._clock = clock
        self.names = Names()
        self.notes = RepeatedNotes(self.names)

    def emit(self, event: Event) -> None:
        """Write the event's lines."""
        if isinstance(event, NAMING):
            self.names.apply(event)
        lines = self.lines_of(event)
        if lines:
            place = f"{self.names.place(event.port)}: " if event.port else ""
            before = (
                f"{one_line(event.port)}: " if isinstance(event, ScriptOutput) else f"{self._clock()} {place}"
            )
            self._writer.write("".join([f"{before}{line}\n" for line in lines]))

    def close(self) -> None:
        """Write which boards a note was for that was said once."""
        for line in self.notes.taken():
            self._writer.line(f"{self._clock()} {line}")

    def lines_of(self, event: Event) -> list[str]:
        """Return the event in words, without its port; none for what is not to be shown."""
        if isinstance(event, Note):
            if (self._quiet and event.level != "warning") or not self.notes.is_first(event):
                return []
            text = one_line(self.names.without_path(event.text, event.port) if event.port else event.text)
            return [text if event.level == "info" else f"{event.level}: {text}"]
        if isinstance(event, ScriptOutput):
            return [f"| {line}" for line in safe_lines(event.text)] if self._show_output else []
        if isinstance(event, Finished):
            counted = event.report.result is Result.STOPPED and not self._verbose  # the sum says how many
            return [] if counted else [self._verdict(event)]
        if not (self._verbose and not self._quiet) and not isinstance(event, RunStarted):
            return []
        words = _WORDS.get(type(event))
        return [] if words is None else words(event)

    def _verdict(self, event: Finished) -> str:
        report = event.report
        index = "" if report.index is None else f" index {report.index}"
        values = "".join(f" {one_line(f'{name} {text}')}" for name, text in report.unique_values.items())
        error = one_line(self.names.without_path(report.error, report.port)) if report.error else ""
        told = f": {error}" if error else ""
        return f"{RESULT_WORDS[report.result]}{index}{values} in {seconds(report.seconds)}{told}"


def _started(event: RunStarted) -> list[str]:
    text = plural(len(event.ports), "simulated board" if event.simulated else "board")
    if event.simulated:
        text += ": no real chip is burned"
    if event.dry_run:
        text += ("; " if event.simulated else ": ") + "dry run, nothing is burned"
    return [text]


def _identified(event: Identified) -> list[str]:
    return [f"{event.chip} revision {event.revision}, {event.mac}, {event.crystal_mhz} MHz"]


def _claimed(event: Claimed) -> list[str]:
    return [f"index {event.index}" + (" (the ledger knows this chip)" if event.known else "")]


_WORDS: dict[type, Callable[[Any], list[str]]] = {
    RunStarted: _started,
    StepChanged: lambda event: [one_line(f"{event.step} {event.detail}".strip())],
    Identified: _identified,
    Claimed: _claimed,
    Planned: lambda event: [f"plan of burn {event.burn}: {line}" for line in planned_lines(event.blocks)],
    BlockBurned: lambda event: [f"{event.block} burned and verified ({event.done}/{event.total})"],
}
