"""Plain lines for pipes, files and dumb terminals: one line an event, each with its port."""

from __future__ import annotations

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
from parburn.ui.outlet import Outlet
from parburn.ui.words import one_line, planned_lines, plural, safe_lines, seconds


class PlainLog:
    """An observer that writes what happens, in the order it happens."""

    def __init__(self, outlet: Outlet, *, show_output: bool = False, quiet: bool = False) -> None:
        self._outlet = outlet
        self._show_output = show_output
        self._quiet = quiet

    def emit(self, event: Event) -> None:
        """Write the event's lines."""
        lines = self.lines_of(event)
        if lines:
            before = f"{event.port}: " if event.port else ""
            self._outlet.write("".join([f"{before}{line}\n" for line in lines]))

    def close(self) -> None:
        """Nothing is held back."""

    def lines_of(self, event: Event) -> list[str]:
        """The event in words, without its port; none for what is not to be shown."""
        match event:
            case RunStarted():
                return [_started(event)]
            case Note(text=text, level=level):
                return [] if self._quiet and level != "warning" else [_note(one_line(text), level)]
            case ScriptOutput(text=text):
                return [f"| {line}" for line in safe_lines(text)] if self._show_output else []
            case Finished():
                return [_finished(event)]
        return [] if self._quiet else _detail(event)


def _started(event: RunStarted) -> str:
    text = plural(len(event.ports), "simulated board" if event.simulated else "board")
    if event.simulated:
        text += ": no real chip is burned"
    if event.dry_run:
        text += ("; " if event.simulated else ": ") + "dry run, nothing is burned"
    return text


def _note(text: str, level: str) -> str:
    return text if level == "info" else f"{level}: {text}"


def _finished(event: Finished) -> str:
    report = event.report
    index = "" if report.index is None else f" index {report.index}"
    error = f": {one_line(report.error)}" if report.error else ""
    return f"{report.result.value}{index} in {seconds(report.seconds)}{error}"


def _detail(event: Event) -> list[str]:
    match event:
        case StepChanged(step=step, detail=detail):
            return [one_line(f"{step} {detail}".strip())]
        case Identified(chip=chip, mac=mac, revision=revision, crystal_mhz=crystal):
            return [f"{chip} revision {revision}, {mac}, {crystal} MHz"]
        case Claimed(index=index, known=known):
            return [f"index {index}" + (" (the ledger knows this chip)" if known else "")]
        case Planned(blocks=blocks, burn=burn):
            return [f"plan of burn {burn}: {line}" for line in planned_lines(blocks)]
        case BlockBurned(block=block, done=done, total=total):
            return [f"{block} burned and verified ({done}/{total})"]
        case _:
            return []
