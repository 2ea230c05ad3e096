"""`parburn ledger rebuild` and `ledger learn`: from options to what is told. They burn nothing."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from parburn.cli import background
from parburn.cli.options import rebuild_job, simulated_groups
from parburn.cli.saying import say
from parburn.errors import UsageError
from parburn.events import Event
from parburn.ledger.file_location import boards_of
from parburn.recovery.learn import learn
from parburn.recovery.rebuild import BoardFound, RebuildReport, rebuild
from parburn.run.checked_job import CheckedJob, check_job

Report = TypeVar("Report")

ALL_BOUND = 0
SOME_NOT_BOUND = 1


def run_rebuild(options: argparse.Namespace) -> int:
    """Rebuild a ledger from boards; return 0 when all are bound, 1 when some are not.

    Raises:
        ParburnError: the options, the files or the ledger forbid it; no board was burned.
    """
    if bool(options.ports) == bool(options.sim):
        raise UsageError("name the boards: --ports P ..., or --sim with --ledger", hint="One of the two.")
    if not options.sim:
        return _rebuild(check_job(rebuild_job(options)), options)
    if options.ledger is None:
        raise UsageError(
            "--sim needs the --ledger that its boards were burned with", hint="Their eFuses lie beside it."
        )
    from parburn.sim.processes import SimulatedBoards

    groups = simulated_groups(options.sim)
    checked = check_job(rebuild_job(options, simulated_ports=()))  # mistakes are told before a process starts
    state = boards_of(options.ledger)
    with SimulatedBoards(groups, state=state) as boards:
        return _rebuild(checked.at(boards.ports), options)


def _rebuild(checked: CheckedJob, options: argparse.Namespace) -> int:
    work = rebuild(checked, _nothing_shown, why=options.why, allow_side_effects=options.allow_side_effects)
    report = asyncio.run(_told(work, options))
    say(report_text(report))
    return ALL_BOUND if all(board.bound for board in report.boards) else SOME_NOT_BOUND


def run_learn(options: argparse.Namespace) -> int:
    """Learn a batch of an older ledger; return 0 when all of its units are known then, 1 when some are not.

    Raises:
        ParburnError: the options, the files or the ledgers forbid it.
    """
    checked = check_job(rebuild_job(options, simulated_ports=()))
    work = learn(checked, _nothing_shown, why=options.why, allow_side_effects=options.allow_side_effects)
    report = asyncio.run(_told(work, options))
    lines = [f"not learned: {said}" for said in report.left] + [f"note: {note}" for note in report.notes]
    lines.append(f"{report.learned} units of the batch {report.batch} were learned. Nothing was burned.")
    say("\n".join(lines) + "\n")
    return SOME_NOT_BOUND if report.left else ALL_BOUND


async def _told(work: Coroutine[Any, Any, Report], options: argparse.Namespace) -> Report:
    with background.told(background.on_stderr, debug=bool(getattr(options, "debug", False))):
        return await work


def _nothing_shown(event: Event) -> None:
    """Show nothing: the report tells all of it at the end."""


def report_text(report: RebuildReport) -> str:
    """Return a line for each board, then what all of it means."""
    width = max((len(board.port) for board in report.boards), default=0)
    lines = [_line(board, width) for board in report.boards]
    lines += [f"note: {note}" for note in report.notes]
    if report.uncomputed:
        lines.append(
            f"note: {report.uncomputed} records could not be computed; boards that carry one fit none. "
            f"The first: {report.first_error}"
        )
    bound = sum(board.bound for board in report.boards)
    lines.append(
        f"{bound} of {len(report.boards)} boards are bound in the batch {report.batch}; "
        f"{report.computed} records were computed. Nothing was burned."
    )
    if report.gaps:
        lines.append(
            f"{report.gaps} indexes below {report.highest} are on no board that was here: they are spent, "
            "since their boards may be elsewhere. Rebuild again with such a board, and it gets its own."
        )
    return "\n".join(lines) + "\n"


def _line(board: BoardFound, width: int) -> str:
    index = "-" if board.index is None else str(board.index)
    return f"{board.port:<{width}}  {board.mac or '-':<17}  {index:>6}  {board.what}".rstrip()
