"""Plain lines for pipes, files and dumb terminals: one line an event, each with its port."""

from __future__ import annotations

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
    RunStarted,
    ScriptOutput,
    StepChanged,
)
from parburn.ui.nonblocking_writer import NonblockingWriter
from parburn.ui.words import one_line, planned_lines, plural, safe_lines, seconds


class PlainLog:
    """An observer that writes what happens, in the order it happens."""

    def __init__(self, writer: NonblockingWriter, *, show_output: bool = False, quiet: bool = False) -> None:
        self._writer = writer
        self._show_output = show_output
        self._quiet = quiet

    def emit(self, event: Event) -> None:
        """Write the event's lines."""
        lines = self.lines_of(event)
        if lines:
            before = f"{one_line(event.port)}: " if event.port else ""
            self._writer.write("".join([f"{before}{line}\n" for line in lines]))

    def close(self) -> None:
        """Do nothing: no line is held back."""

    def lines_of(self, event: Event) -> list[str]:
        """Return the event in words, without its port; none for what is not to be shown."""
        if isinstance(event, Note):
            if self._quiet and event.level != "warning":
                return []
            return [_note(one_line(event.text), event.level)]
        if isinstance(event, ScriptOutput):
            return [f"| {line}" for line in safe_lines(event.text)] if self._show_output else []
        if self._quiet and not isinstance(event, RunStarted | Finished):
            return []
        words = _WORDS.get(type(event))
        return [] if words is None else words(event)


def _started(event: RunStarted) -> list[str]:
    text = plural(len(event.ports), "simulated board" if event.simulated else "board")
    if event.simulated:
        text += ": no real chip is burned"
    if event.dry_run:
        text += ("; " if event.simulated else ": ") + "dry run, nothing is burned"
    return [text]


def _note(text: str, level: str) -> str:
    return text if level == "info" else f"{level}: {text}"


def _finished(event: Finished) -> list[str]:
    report = event.report
    index = "" if report.index is None else f" index {report.index}"
    error = f": {one_line(report.error)}" if report.error else ""
    return [f"{report.result.value}{index} in {seconds(report.seconds)}{error}"]


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
    Finished: _finished,
}
