"""THE STORY: one chip's whole life in one task, from the opened port to the written record.

Read `_live` first, then `run.burns.BoardCalls.burn`: what must happen in a certain order is ordered in these
two; how each thing is done is in the module that the line names. No error escapes `burn_device`: whatever
happens, one DeviceReport comes out of it, and it says whether anything was burned.
"""

from __future__ import annotations

from anyio import CancelScope, to_thread

from parburn.errors import EfuseError, InternalError, Interrupted, ParburnError
from parburn.events import Claimed, DeviceReport, Finished, Result, ScriptOutput, StepChanged
from parburn.hardware.identify import Device
from parburn.ledger.base import State
from parburn.run.board_progress import AGAIN, BoardProgress
from parburn.run.burns import BoardCalls
from parburn.run.connect import connected, name_reader, opened
from parburn.run.leave import close, farewell, record
from parburn.run.masked_events import masked_report
from parburn.run.passed import passed_before
from parburn.run.shared import SharedRun, facts_of
from parburn.run.too_few_records import told_of_records
from parburn.script.output import Printed
from parburn.script.runner import run_scripts

READ_WRONG = "its blocks were read wrong at first; nothing was burned, and its scripts run again"


async def burn_device(run: SharedRun, port: str, slot: str) -> DeviceReport:
    """Take one board from its port to its record in the ledger; return its report.

    Nothing is raised but for cancellation from outside the run: errors are in the report.

    Args:
        run: What the boards of this run share.
        port: The port, as the operator gave it.
        slot: The place where the board sits, for people.
    """
    board = run.boards[port] = BoardProgress(port, slot, dry_run=run.job.dry_run)
    with CancelScope() as scope, run.stop.cancelling(scope, is_begun=lambda: board.attempted):
        try:
            await _live(run, board)
        except ParburnError as error:
            board.error = error
            await name_reader(port, error)
        except Exception as error:  # a defect of ours must not take the other boards down
            board.error = InternalError(error)
    if board.result is None and board.error is None:
        board.error = Interrupted("stopped by the operator", hint=AGAIN)
    with CancelScope(shield=True):
        run.withdraw(port)
        try:
            await record(run, board)
        finally:
            run.turns.ended(port)
    unmasked = board.report(debug=run.job.debug, people=run.people, known=run.knows_boards)
    report = masked_report(unmasked, board.output, run.keys)
    run.emit(Finished(port, report))
    return report


async def _live(run: SharedRun, board: BoardProgress) -> None:
    """Live one chip's life, in the order of docs/safety.md, "A run, in order"."""
    stream = await opened(run, board)  # waited for to its own deadline: opening moves lines
    try:
        with run.stragglers.waited_for(board.port):
            device = await connected(run, board, stream)
        run.stragglers.came()
        run.emit(StepChanged(board.port, "waiting", run.waits_for))
        claim = await run.claims.arrive(board.port, device)  # barrier: all ports are identified
        board.claim = claim
        board.passed_before = claim.state is State.PASS
        if not run.scripts.shows_only:
            board.index = claim.index
            run.emit(Claimed(board.port, claim.index, claim.known))
        calls = BoardCalls(run, board, device, claim)
        await calls.still_what_passed()
        await calls.learn_values()
        if await passed_before(run, board, claim):
            board.result = Result.ALREADY_PASS
        else:
            await run.turn(board)
            await _scripted(run, board, device, calls)
        await farewell(run, board, device)
    finally:
        await close(run, board, stream)


async def _scripted(run: SharedRun, board: BoardProgress, device: Device, calls: BoardCalls) -> None:
    """Run the scripts and burn what they ask for; again where they were shown a damaged reading."""
    try:
        await _script_and_burn(run, board, device, calls)
    except ParburnError as error:
        if not await calls.read_wrong_at_first(error):
            raise
        run.note(board.port, f"{READ_WRONG} ({error})", "warning")
        await _script_and_burn(run, board, device, calls)


async def _script_and_burn(run: SharedRun, board: BoardProgress, device: Device, calls: BoardCalls) -> None:
    def printed(text: str) -> None:
        board.output += text.parts if isinstance(text, Printed) else (text,)
        run.emit(ScriptOutput(board.port, text))

    seen = await calls.first_image()
    run.emit(StepChanged(board.port, "scripting"))
    facts = facts_of(device, board.port, board.index, board.slot)
    watch, options = run.watch(board.port), run.script_options
    outcome = await run_scripts(
        run.scripts, facts, seen, calls, options, on_output=printed, port=board.watch, watch=watch
    )
    failed = outcome.error
    if failed is None:
        try:
            await calls.last_burn(outcome)
        except EfuseError as error:
            failed = error
    if failed is not None:
        if not board.attempted:
            failed = await to_thread.run_sync(told_of_records, failed, run.config, board.index)
        raise await calls.told_who(failed)
