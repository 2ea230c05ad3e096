"""`--report`: a row for each board that ends, appended at once. It replaces nothing that stands in a file.

A thread of its own writes, so that no disk holds up the boards; a run that is killed leaves the rows of the
boards that had ended.
"""

from __future__ import annotations

import platform
import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from parburn import __version__
from parburn.events import Event, Finished, LedgerOpened, RunStarted
from parburn.ui.report_appending import append_rows
from parburn.ui.report_rows import ReportRow, RunFacts, csv_line, json_line, row_of

END_DEADLINE_S = 15.0  # how long the end of a run waits for the disk
Digests = Callable[[], Sequence[Mapping[str, str]]]  # of scripts, config files and tables, as they are known


class ReportFile:
    """An observer that appends the row of each board that ends."""

    def __init__(self, path: Path, digests: Digests) -> None:
        """Take a path that `check_report` has let pass; `digests` are asked for with each row."""
        self._path = path
        self._name_it = path.is_dir()
        self._digests = digests
        self._facts = RunFacts(parburn_version=__version__, python_version=platform.python_version())
        self._rows: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._left: list[str] = []  # not written yet
        self._why: Exception | None = None
        self._not_made = 0  # rows
        self._why_not_made: Exception | None = None
        self._finished = False

    def emit(self, event: Event) -> None:
        """Hand a row to the thread; all other events tell what all rows have in common. Nothing is raised.

        A row that cannot be made, for whatever reason, is counted, and the rows after it are written.
        """
        if isinstance(event, LedgerOpened):
            self._facts = self._facts._replace(**{name: getattr(event, name) for name in event._fields[1:]})
        elif isinstance(event, RunStarted):
            self._facts = self._facts._replace(simulated=event.simulated, dry_run=event.dry_run)
        elif isinstance(event, Finished):
            self._hand_over(event)

    @property
    def path(self) -> Path:
        """The file, or the folder as long as it has no file of this run."""
        return self._path

    @property
    def is_of_a_record(self) -> bool:
        """Whether a ledger keeps what this run does."""
        return self._facts.run is not None

    def close(self) -> None:
        """Wait for the thread, where nobody has done so before."""
        self.finish()

    def finish(self) -> str:
        """Wait until all rows are written; return why some could not be, or nothing.

        It waits for END_DEADLINE_S at most; only where the system gives no thread, as long as the disk takes.
        """
        if not self._finished:
            self._finished = True
            self._write_the_rest()
        if self._thread is not None and self._thread.is_alive():
            return f"{self._path}: no answer from the disk for {END_DEADLINE_S:g} s"
        error = self._why or self._why_not_made
        if error is None:
            return ""
        why = getattr(error, "strerror", None) or str(error) or type(error).__name__
        return f"{self._path}: {why}; rows that are missing: {len(self._left) + self._not_made}"

    def _write_the_rest(self) -> None:
        if not self._rows.empty():
            self._start()
        self._rows.put(None)
        if self._thread is None:
            self._write()
        else:
            self._thread.join(END_DEADLINE_S)

    def _hand_over(self, event: Finished) -> None:
        try:
            scripts, config_files, tables = self._digests()
            facts = self._facts._replace(scripts=scripts, config_files=config_files, tables=tables)
            self._rows.put(self._as_line(row_of(event.report, facts)))
        except Exception as error:
            self._not_made += 1
            self._why_not_made = error
        else:
            self._start()

    def _as_line(self, row: ReportRow) -> str:
        return (
            json_line(row) if self._path.suffix.lower() == ".jsonl" and not self._name_it else csv_line(row)
        )

    # ---- in the thread

    def _start(self) -> None:
        """Start the thread. Where the system gives none now, the next row asks again, and the end writes."""
        if self._thread is None:
            thread = threading.Thread(target=self._write, name="parburn-report", daemon=True)
            with suppress(RuntimeError, MemoryError):
                thread.start()
                self._thread = thread

    def _write(self) -> None:
        more = True
        while more:
            got = [self._rows.get()]
            while not self._rows.empty():
                got.append(self._rows.get())
            more = None not in got
            self._left += [line for line in got if line is not None]
            self._append()

    def _append(self) -> None:
        """Append what is left; what cannot be written now is tried again with the next row."""
        if not self._left:
            return
        try:
            if self._name_it:
                self._path, self._name_it = self._made_in_folder(), False
            append_rows(self._path, self._left)
            self._left, self._why = [], None
        except Exception as error:
            self._why = error

    def _made_in_folder(self) -> Path:
        """Make a file of this run in the folder, and return it."""
        run = "" if self._facts.run is None else f"_run{self._facts.run}"
        stem = f"{datetime.now(UTC):%Y-%m-%d_%H-%M-%S}{run}"
        for number in range(1, 1000):
            path = self._path / (f"{stem}.csv" if number == 1 else f"{stem}_{number}.csv")
            with suppress(FileExistsError):
                append_rows(path, (), new=True)
                return path
        raise FileExistsError(f"no free name beside {stem}.csv")
