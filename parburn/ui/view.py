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
from parburn.printable import printable
from parburn.ui.bare_output import BareOutput
from parburn.ui.dry_run import dry_run_lines
from parburn.ui.fanout import Fanout, Observer
from parburn.ui.json_lines import JsonLines
from parburn.ui.log import PlainLog, time_of_day
from parburn.ui.names import NAMING, Names
from parburn.ui.nonblocking_writer import NonblockingWriter
from parburn.ui.summary import all_passed_before, summary_lines
from parburn.ui.words import safe_lines

DUMB_TERMINALS = ("", "dumb", "unknown")
ASKING, PLAIN = "\x1b[1;36m", "\x1b[0m"  # bold cyan: the sum asks something


class View:
    """All that is shown of one run. `bare`: there is one board, and what its scripts print stands alone."""

    def __init__(
        self,
        *,
        json: bool = False,
        quiet: bool = False,
        show_output: bool = False,
        bare: bool = False,
        debug: bool = False,
        verbose: bool = False,
        station: str = "",
        operator: str = "",
        stdout: IO[str] | None = None,
        stderr: IO[str] | None = None,
        also: Sequence[Observer] = (),
    ) -> None:
        out_stream = first = sys.stdout if stdout is None else stdout
        err_stream = sys.stderr if stderr is None else stderr
        table = not (quiet or debug) and _is_live_terminal(out_stream)
        if bare and not json and not (table and err_stream.isatty()):  # else the table shows it above itself
            also = (*also, BareOutput(out_stream))
            out_stream, show_output = err_stream, False
        self.err = NonblockingWriter(err_stream)
        self.out = self.err if out_stream is err_stream else NonblockingWriter(out_stream)
        # A question goes where somebody sees it: a terminal, also where all else is written into a file.
        on_stdout = first.isatty() and not err_stream.isatty()
        self._asker = self.err
        if on_stdout:
            self._asker = self.out if first is out_stream else NonblockingWriter(first)
        who = {"station": station, "operator": operator}
        self._json = JsonLines(self.out, show_output=show_output, quiet=quiet, **who) if json else None
        self._debug = debug
        self._show_output = show_output or bare
        main: Observer
        if self._json is not None:
            main = self._json
        elif not (quiet or debug) and _is_live_terminal(out_stream):
            from parburn.ui.table import LiveTable

            main = LiveTable(self.out, show_output=show_output, bare=bare)
        else:
            main = PlainLog(self.out, show_output=show_output, quiet=quiet, verbose=verbose or debug)
        self._main = main
        self.names = Names()
        self._terminal = out_stream if out_stream.isatty() else None
        self._planned: dict[str, list[Planned]] = {}
        self._reports: dict[str, DeviceReport] = {}
        self._fanout = Fanout((main, *also), on_failure=self._failed)

    @property
    def json(self) -> bool:
        """Whether it writes JSON lines."""
        return self._json is not None

    def emit(self, event: Event) -> None:
        """Tell all observers; nothing is raised."""
        if isinstance(event, NAMING):
            self.names.apply(event)
        elif isinstance(event, Planned):
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
            yield self._asker
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
            width = self.width
            lines = dry_run_lines(reports, self._planned, self.names, width=width) if dry_run else []
            told = summary_lines(
                reports,
                finished,
                names=self.names,
                width=width,
                debug=self._debug,
                output_was_shown=self._show_output,
                dry_run=dry_run,
                stamp=f"{time_of_day()} " if isinstance(self._main, PlainLog) else "",
            )
            if all_passed_before(reports) and self._is_coloured:
                told[0] = f"{ASKING}{told[0]}{PLAIN}"
            self.out.write_as_it_is("\n" + "\n".join([*map(printable, lines), *map(_kept, told)]) + "\n")

    @property
    def width(self) -> int | None:
        """The cells of the terminal that is written to; None: it is none, and nothing is folded."""
        try:
            return (
                None
                if self._terminal is None
                else os.get_terminal_size(self._terminal.fileno()).columns or None
            )
        except (OSError, ValueError):
            return None

    @property
    def _is_coloured(self) -> bool:
        return not isinstance(self._main, (JsonLines, PlainLog)) and "NO_COLOR" not in os.environ

    def close(self) -> None:
        """Give the terminal back, and wait until the readers have taken all."""
        self._fanout.close()
        self.out.close()
        self.err.close()
        self._asker.close()

    def _failed(self, observer: Observer, error: Exception) -> None:
        name = type(observer).__name__
        self.err.line(
            f"parburn: {name} failed and is left out, the run goes on: {type(error).__name__}: {error}"
        )
        if self._debug:
            self.err.line("".join(traceback.format_exception(error)).rstrip())


def _kept(line: str) -> str:
    """Return a line without what would steer the terminal, but for our own colour around it."""
    inner = line.removeprefix(ASKING).removesuffix(PLAIN)
    return line.replace(inner, printable(inner))


def error_text(message: str, hint: str = "") -> str:
    """Return `parburn: sentence`, and the hint below it; nothing in it can steer the terminal."""
    return "\n".join(safe_lines(f"parburn: {message}" + (f"\n  hint: {hint}" if hint else "")))


def _is_live_terminal(stream: IO[str]) -> bool:
    return stream.isatty() and os.environ.get("TERM", "") not in DUMB_TERMINALS
