"""Chooses what shows a run: live table, plain lines or JSON lines; and ends it with the summary."""

from __future__ import annotations

import asyncio
import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import IO

from parburn.events import DeviceReport, Event, Finished, Planned, RunFinished
from parburn.ui.fanout import Fanout, Observer
from parburn.ui.json_lines import JsonLines
from parburn.ui.log import PlainLog
from parburn.ui.nonblocking_writer import NonblockingWriter
from parburn.ui.summary import dry_run_lines, summary_lines
from parburn.ui.words import safe_lines

DUMB_TERMINALS = ("", "dumb", "unknown")


class View:
    """All that is shown of one run."""

    def __init__(
        self,
        *,
        json: bool = False,
        quiet: bool = False,
        show_output: bool = False,
        debug: bool = False,
        station: str = "",
        operator: str = "",
        stdout: IO[str] | None = None,
        stderr: IO[str] | None = None,
        also: Sequence[Observer] = (),
    ) -> None:
        out_stream = sys.stdout if stdout is None else stdout
        self.out = NonblockingWriter(out_stream)
        self.err = NonblockingWriter(sys.stderr if stderr is None else stderr)
        who = {"station": station, "operator": operator}
        self._json = JsonLines(self.out, show_output=show_output, quiet=quiet, **who) if json else None
        self._debug = debug
        self._show_output = show_output
        main: Observer
        if self._json is not None:
            main = self._json
        elif not (quiet or debug) and _is_live_terminal(out_stream):
            from parburn.ui.table import LiveTable

            main = LiveTable(self.out, show_output=show_output)
        else:
            main = PlainLog(self.out, show_output=show_output, quiet=quiet)
        self._main = main
        self._plans_were_shown = isinstance(main, PlainLog) and not quiet
        self._planned: dict[str, list[Planned]] = {}
        self._reports: dict[str, DeviceReport] = {}
        self._fanout = Fanout((main, *also), on_failure=self._failed)

    @property
    def json(self) -> bool:
        """Whether it writes JSON lines."""
        return self._json is not None

    def emit(self, event: Event) -> None:
        """Tell all observers; nothing is raised."""
        if isinstance(event, Planned):
            self._planned.setdefault(event.port, []).append(event)
        elif isinstance(event, Finished):
            self._reports[event.report.port] = event.report
        self._fanout.emit(event)

    @property
    def reports(self) -> tuple[DeviceReport, ...]:
        """Reports of the boards that have ended."""
        return tuple(self._reports.values())

    async def keep_drawing(self) -> None:
        """Draw the live table until cancelled; return at once when there is none."""
        if isinstance(self._main, (JsonLines, PlainLog)):
            return
        from parburn.ui.table import LiveTable

        table = self._main
        while isinstance(table, LiveTable) and table in self._fanout.observers:
            self._fanout.guard(table, table.draw)
            await asyncio.sleep(table.frame_seconds)

    @contextmanager
    def asking(self) -> Iterator[NonblockingWriter]:
        """Give the writer on which to ask the operator something.

        The table is off the screen meanwhile, and JSON lines stay clean.
        """
        if isinstance(self._main, (JsonLines, PlainLog)):
            yield self.err
            return
        from parburn.ui.table import LiveTable

        assert isinstance(self._main, LiveTable)
        with self._main.paused():
            yield self.out

    def error(self, message: str, hint: str = "", *, trace: str = "") -> None:
        """Say what ended or harmed the run: on stderr, and as an object in JSON lines."""
        if self._json is not None:
            self._json.error(message, hint)
        self.err.line(error_text(message, hint))
        if trace and self._debug:
            self.err.line(trace.rstrip())

    def finish(self, reports: Sequence[DeviceReport], finished: RunFinished, *, dry_run: bool) -> None:
        """Tell the last event, and write the summary for people."""
        self.emit(finished)
        self._fanout.close()
        if self._json is None and reports:
            lines = dry_run_lines(reports, self._planned) if dry_run and not self._plans_were_shown else []
            lines += summary_lines(
                reports, finished, debug=self._debug, output_was_shown=self._show_output, dry_run=dry_run
            )
            self.out.write("\n" + "\n".join(lines) + "\n")

    def close(self) -> None:
        """Give the terminal back, and wait until the readers have taken all."""
        self._fanout.close()
        self.out.close()
        self.err.close()

    def _failed(self, observer: Observer, error: Exception) -> None:
        name = type(observer).__name__
        self.err.line(
            f"parburn: {name} failed and is left out, the run goes on: {type(error).__name__}: {error}"
        )
        if self._debug:
            self.err.line("".join(traceback.format_exception(error)).rstrip())


def error_text(message: str, hint: str = "") -> str:
    """Return `parburn: sentence`, and the hint below it; nothing in it can steer the terminal."""
    text = f"parburn: {message}" + (f"\n  hint: {hint}" if hint else "")
    return text if text.isascii() and text.isprintable() else "\n".join(safe_lines(text))


def _is_live_terminal(stream: IO[str]) -> bool:
    return stream.isatty() and os.environ.get("TERM", "") not in DUMB_TERMINALS
