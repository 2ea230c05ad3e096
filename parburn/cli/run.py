"""`parburn run`: from checked options to boards burned and reported. Decides nothing about chips."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import shutil
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from anyio import to_thread

from parburn.api import as_ours
from parburn.cli import background
from parburn.cli.exit_code import INTERRUPTED, RunFlags, exit_code
from parburn.cli.garbage import collect_only_what_comes
from parburn.cli.options import SimulatedGroup, job_from, simulated_groups
from parburn.cli.report import is_written, report_of
from parburn.cli.signals import stop_requested_by_signals
from parburn.cli.slots_ports import slots_held
from parburn.errors import NotConfirmed, ParburnError
from parburn.events import DeviceReport, Note, RunFinished, TokenRead
from parburn.fleet import burn_fleet
from parburn.job import Job
from parburn.ledger.file_location import boards_of, no_ledger_yet
from parburn.printable import typed_again
from parburn.run.checked_job import CheckedJob, check_job, station_of
from parburn.run.shared import PlanOfBoard
from parburn.run.stop import StopRequest
from parburn.script.key_mask import KeyMask
from parburn.transport.descriptors import make_room
from parburn.transport.tty import discard_typed
from parburn.ui.nonblocking_writer import NonblockingWriter
from parburn.ui.plans import ANSWER, QUESTION, question_lines
from parburn.ui.prompt import ask_for, can_ask
from parburn.ui.view import View

if TYPE_CHECKING:
    from parburn.ui.report_file import ReportFile

GARBAGE = (50_000, 20, 20)  # new objects before the collector looks: boards leave hardly any cycles behind
STOP_NOTES = (
    "stopping: no new burn starts, those that have begun are finished; once more stops between two blocks",
    "stopping between two blocks",
)
NO_TERMINAL = "not confirmed: there is no terminal to ask on; nothing was burned"
NO_TERMINAL_HINT = "Add --do-not-confirm to burn without being asked."
NO_LEDGER = "No ledger here yet. If this product was burned with another one, stop."
NEW_QUESTION = "Type NEW (all capitals) to begin a new ledger: "
NEW_ANSWER = "NEW"


class Ending:
    """How a run ended, as far as it came."""

    def __init__(
        self, *, error: ParburnError | None = None, trace: str = "", interrupted: bool = False
    ) -> None:
        self.reports: tuple[DeviceReport, ...] = ()
        self.error = error
        self.trace = trace
        self.interrupted = interrupted
        self.no_report = False  # it was asked for, and could not be written

    @classmethod
    def by(cls, error: BaseException) -> Ending:
        """Return the ending of a run that this error has ended. Call it where the error is handled."""
        if isinstance(error, Exception):
            return cls(error=as_ours(error), trace=traceback.format_exc())
        return cls(interrupted=True)


class Asked:
    """What the command line asks for, as far as it could be found out: `checked`, or an `ending` at once."""

    def __init__(self) -> None:
        self.boards: tuple[SimulatedGroup, ...] = ()  # of --sim
        self.job: Job | None = None
        self.checked: CheckedJob | None = None
        self.report: ReportFile | None = None
        self.ending = Ending()
        self.held = contextlib.ExitStack()  # slots files

    @property
    def shows_only(self) -> bool:
        """Whether there are only commands that show."""
        return self.checked is not None and self.checked.scripts.shows_only


def asked_by(options: argparse.Namespace) -> Asked:
    """Check the options and read every file that they name: here, and nowhere else. Opens no port.

    Does not raise: an error becomes the `ending`.
    """
    asked = Asked()
    ports = None
    try:
        if options.sim and not options.ports:
            asked.boards = simulated_groups(options.sim)
            ports = [f"{group.chip}/{number}" for group in asked.boards for number in range(group.boards)]
        asked.held.enter_context(slots_held(options.ports or ()))
        asked.job = job_from(options, simulated_ports=ports)
        checked = check_job(asked.job)
        asked.report = report_of(checked)
        asked.checked = checked
    except (Exception, KeyboardInterrupt) as error:
        asked.ending = Ending.by(error)
    return asked


def run(options: argparse.Namespace, words: Sequence[str]) -> int:
    """Do what the command line asks for, and return the exit code.

    Args:
        words: the command line, which the end of the run shows again for the boards that are left.
    """
    asked = asked_by(options)
    view = _view_of(options, asked)
    try:
        if asked.checked is None:
            return _end(view, asked.ending, job=asked.job)
        if not asked.boards:
            return _burn(asked.checked, view, words, asked.report, tokens=options.token)
        return _burn_simulated(asked.checked, asked.boards, view, words, asked.report, tokens=options.token)
    except (ParburnError, KeyboardInterrupt) as error:
        ending = Ending.by(error)
        ending.reports = view.reports  # of a run that was interrupted as it was told
        if ending.interrupted and ending.reports:
            view.err.line("parburn: interrupted; what was done to the boards is in the ledger")
        return _end(view, ending)
    finally:
        view.close()
        asked.held.close()


def _view_of(options: argparse.Namespace, asked: Asked) -> View:
    """Return what shows this run.

    Commands that only show are run to be seen; tokens have stdout alone, as has what a single board prints.
    """
    alone = asked.job is not None and len(asked.job.ports) == 1 and not options.token
    show_output = options.show_output or (asked.shows_only and not options.token)
    bare = alone and (show_output or bool(options.commands))
    return View(
        json=options.json,
        quiet=options.quiet,
        show_output=show_output or bare,
        bare=bare,
        debug=options.debug,
        station=station_of(asked.job) if asked.job is not None else "",
        operator=asked.job.operator if asked.job is not None else "",
        verbose=options.verbose,
        stdout=sys.stderr if options.token and not options.json else None,
        also=() if asked.report is None else (asked.report,),
    )


def _burn_simulated(
    checked: CheckedJob,
    groups: Sequence[SimulatedGroup],
    view: View,
    words: Sequence[str],
    report: ReportFile | None,
    *,
    tokens: bool,
) -> int:
    from parburn.sim.processes import SimulatedBoards

    ledger = checked.job.ledger
    state = None if ledger is None else boards_of(ledger)
    if state is not None:
        view.emit(Note("", f"the simulated boards keep their eFuses in {state}"))
    with SimulatedBoards(groups, state=state) as boards:
        return _burn(checked.at(boards.ports), view, words, report, tokens=tokens)


def _burn(
    checked: CheckedJob, view: View, words: Sequence[str], report: ReportFile | None, *, tokens: bool
) -> int:
    job = checked.job
    operator = Operator(job, view)
    ending = asyncio.run(_burn_and_draw(checked, view, operator))
    ending.interrupted = operator.stopped
    ending.no_report = report is not None and not is_written(report, view)
    read = _tokens(ending.reports) if tokens else ()
    for token in read:
        view.emit(token)
    try:
        code = _end(view, ending, job=job, words=words, keys=checked.keys)
    except KeyboardInterrupt:  # what is shown may be cut
        code = INTERRUPTED
        view.err.line("parburn: interrupted; what was done to the boards is in the ledger")
    if read and not view.json:
        from parburn.cli.token import print_tokens

        print_tokens(read)
    return code


def _tokens(reports: Sequence[DeviceReport]) -> tuple[TokenRead, ...]:
    from parburn.cli.token import tokens_read  # here: a run without --token does not wait for it

    return tokens_read(reports)


async def _burn_and_draw(checked: CheckedJob, view: View, operator: Operator) -> Ending:
    drawing = asyncio.ensure_future(view.keep_drawing())
    ending = Ending()
    try:
        with (
            stop_requested_by_signals(operator.request_stop),
            background.told(_noted_by(view), debug=checked.job.debug),
        ):
            make_room(len(checked.job.ports))
            collect_only_what_comes(*GARBAGE)
            ending.reports = await burn_fleet(
                checked, view.emit, confirm=operator.confirm, begin=operator.begin_ledger, stop=operator.stop
            )
    except Exception as error:
        ending = Ending.by(error)
        ending.reports = view.reports
    finally:
        drawing.cancel()
        await asyncio.wait({drawing}, timeout=1.0)
    return ending


def _noted_by(view: View) -> Callable[[str], object]:
    return lambda text: view.emit(Note("", text, "warning"))


class Operator:
    """The person at the terminal: asked once, and able to stop the run."""

    def __init__(self, job: Job, view: View) -> None:
        self.job = job
        self.view = view
        self.stop = StopRequest()
        self.requests = 0
        self._stopping = asyncio.Event()

    @property
    def stopped(self) -> bool:
        """Whether a stop was asked for."""
        return self.requests > 0

    def request_stop(self) -> None:
        """Note one Ctrl-C, SIGTERM or SIGHUP: the first lets burns end, the second stops between blocks."""
        self.view.emit(Note("", STOP_NOTES[min(self.requests, len(STOP_NOTES) - 1)], "warning"))
        self.requests += 1
        self._stopping.set()
        self.stop.request()

    async def begin_ledger(self) -> None:
        """Ask for the word NEW where there is no ledger yet. Before any port is opened.

        Raises:
            LedgerUnusable: there is no terminal to ask on.
            NotConfirmed: the word did not come.
        """
        if not can_ask():
            raise await to_thread.run_sync(no_ledger_yet, self.job.ledger)
        with self.view.asking() as out:
            out.line(NO_LEDGER)
            begun = await self._ask(NEW_ANSWER, NEW_QUESTION, out)
        if not begun:
            raise NotConfirmed(
                "no new ledger was begun; no port was opened, nothing was burned",
                hint="If this product was burned with another ledger, name it with --ledger, or take it "
                "over: parburn ledger init, then parburn ledger import-used FILE.",
            )

    async def confirm(self, plans: tuple[PlanOfBoard, ...]) -> bool:
        """Show the plans and ask for the word BURN; return False without a terminal, and at a stop."""
        if not can_ask():
            self.view.err.line(f"parburn: {NO_TERMINAL}\n  hint: {NO_TERMINAL_HINT}")
            return False
        with self.view.asking() as out:
            more = self.job.one_at_a_time and len(self.job.ports) > 1
            view = self.view
            lines = question_lines(
                plans, simulated=self.job.simulated, one_at_a_time=more, names=view.names, width=view.width
            )
            out.line("\n".join(lines))
            return await self._ask(ANSWER, QUESTION, out)

    async def _ask(self, word: str, question: str, out: NonblockingWriter) -> bool:
        return await ask_for(word, question, out, sys.stdin.fileno(), self._stopping, discard=discard_typed)


def _end(
    view: View,
    ending: Ending,
    *,
    job: Job | None = None,
    words: Sequence[str] = (),
    keys: KeyMask | None = None,
) -> int:
    """Say how the run ended, and return the exit code. `keys` are those that it has met."""
    keys = keys or KeyMask()
    expect = job.expect if job is not None else None
    flags = RunFlags(ending.interrupted, ending.error, no_report=ending.no_report, expect=expect)
    code = exit_code(ending.reports, flags)
    if ending.error is not None:
        keys.mask_error(ending.error)
        view.error(str(ending.error), ending.error.hint, trace=keys.mask(ending.trace))
    elif code == INTERRUPTED and not ending.reports:
        view.error("interrupted; nothing was burned")
    boards = len(ending.reports) or (len(job.ports) if job is not None else 0)
    passed = sum(report.result.passed for report in ending.reports)
    again = ""
    if job is not None and passed < len(ending.reports) and not (job.simulated and job.ledger is None):
        words = [word for word in words if word != "--new-ledger"]  # it has been made
        again = typed_again([*program(), *map(keys.mask, words)])
    finished = RunFinished("", boards, passed, boards - passed, code, again)
    view.finish(ending.reports, finished, dry_run=job is not None and job.dry_run)
    return code


def program(which: Callable[[str], str | None] = shutil.which) -> list[str]:
    """Return the words that started us, to be typed again."""
    path = Path(sys.argv[0])
    if path.name == "__main__.py":
        return [sys.executable, "-m", "parburn"]
    return [path.name] if which(path.name) == str(path) else [str(path)]
