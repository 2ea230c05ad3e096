"""THE STORY: one chip's whole life in one task, from the opened port to the written record.

Read `_live` first, then `calls.BoardCalls.burn`: what must happen in a certain order is ordered in these two;
how each thing is done stands in the module that the line names. No error escapes `burn_device`: whatever
happens, one DeviceReport comes out of it, and it says whether anything was burned.
"""

from __future__ import annotations

from contextlib import suppress

from anyio import CancelScope, fail_after, move_on_after, to_thread

from parburn.errors import (
    EfuseError,
    Interrupted,
    LedgerError,
    LinkError,
    NoAnswer,
    ParburnError,
    ScriptError,
    UnitRefused,
)
from parburn.events import Claimed, DeviceReport, Finished, Identified, Result, ScriptOutput, StepChanged
from parburn.hardware.commit import GUARD_REGISTERS
from parburn.hardware.first_contact import identified
from parburn.hardware.identify import Device, identify
from parburn.hardware.rom_loader import RomLoader
from parburn.ledger.base import State
from parburn.run.baud import ROM_BAUD, RateFor
from parburn.run.board import AGAIN, Board
from parburn.run.burns import BoardCalls
from parburn.run.shared import SharedRun, defect, facts_of
from parburn.script.runner import run_scripts
from parburn.transport.open import open_stream
from parburn.transport.reset import apply_reset
from parburn.transport.stream import ByteStream

CONNECT_DEADLINE_S = 60.0
CLOSE_DEADLINE_S = 2.0
SLOW_ADAPTER_MS = 2
READ_WRONG = "its blocks were read wrong at first; nothing was burned, and its scripts run again"
NO_RESET = ("no-reset", "no-reset-no-sync")


async def burn_device(run: SharedRun, port: str, slot: str) -> DeviceReport:
    """Take one board from its port to its record. Never raises but for cancellation from outside the run."""
    board = Board(port, slot)
    with CancelScope() as scope:
        run.stop.cancels(scope)
        try:
            await _live(run, board)
        except ParburnError as error:
            board.error = error
        except Exception as error:  # a defect of ours must not take the other boards down
            board.error = defect(error)
    if board.result is None and board.error is None:
        board.error = Interrupted("stopped by the operator", hint=AGAIN)
    with CancelScope(shield=True):
        run.withdraw(port)
        try:
            await _record(run, board)
        finally:
            run.turns.ended(port)
    report = board.report(debug=run.job.debug)
    run.emit(Finished(port, report))
    return report


async def _live(run: SharedRun, board: Board) -> None:
    """One chip's life, in the order of SAFETY, "A run, in order"."""
    say = run.emit
    say(StepChanged(board.port, "connecting"))
    stream = await open_stream(board.port)
    if (stream.latency_ms or 0) > SLOW_ADAPTER_MS:
        run.slow_adapters[board.port] = stream.latency_ms or 0
    try:
        try:
            with fail_after(CONNECT_DEADLINE_S):
                device = await _connect_and_identify(run, board, stream)
        except TimeoutError as error:
            raise NoAnswer(
                f"not identified within {CONNECT_DEADLINE_S:g} s",
                hint="Check the cable and that the board is in download mode.",
            ) from error
        say(StepChanged(board.port, "waiting", "for the other boards"))
        claim = await run.claims.arrive(board.port, device)  # barrier: all ports are identified
        board.claim = claim
        board.passed_before = claim.state is State.PASS
        if not run.scripts.shows_only:
            board.index = claim.index
            say(Claimed(board.port, claim.index, claim.known))
        job_digest = run.job_digest(claim.index)
        calls = BoardCalls(run, board, device, claim)
        await calls.still_what_passed()
        await calls.learn_values()
        passed_as = run.passed_as(claim.index, claim.passed_jobs)
        if passed_as and not run.job.dry_run:
            if claim.attempts:
                raise UnitRefused(
                    f"index {claim.index} has passed this job, but another one was begun and is not whole",
                    hint="Run the script and files of that other job first.",
                )
            if not await _reads_other_files(run, board, passed_as):
                board.result = Result.ALREADY_PASS
                await _farewell(run, board, device)
                return
        await run.turn(board.port)
        try:
            await _scripted(run, board, device, calls, job_digest)
        except ParburnError as error:
            if not await calls.read_wrong_at_first(error):
                raise
            run.note(board.port, f"{READ_WRONG} ({error})", "warning")
            await _scripted(run, board, device, calls, job_digest)
        await _farewell(run, board, device)
    finally:
        await _close(run, board, stream)


async def _scripted(run: SharedRun, board: Board, device: Device, calls: BoardCalls, job_digest: str) -> None:
    """Run the scripts, and burn what they ask for."""
    seen = await calls.first_image()
    run.emit(StepChanged(board.port, "scripting"))
    outcome = await run_scripts(
        run.scripts,
        facts_of(device, board.port, board.index),
        seen,
        calls,
        run.script_options,
        on_output=lambda text: _printed(run, board, text),
    )
    if outcome.error is not None:
        raise await calls.told_who(outcome.error)
    try:
        await calls.last_burn(outcome, job_digest)
    except EfuseError as error:
        raise await calls.told_who(error) from error


async def _reads_other_files(run: SharedRun, board: Board, job_digest: str) -> bool:
    """Whether a file that the scripts read when this unit passed is another one now: then they run again."""
    kept = board.claim.passed_inputs(job_digest) if board.claim is not None else ()
    changed = await to_thread.run_sync(run.changed_input, kept) if kept else ""
    if changed:
        run.note(board.port, f"{changed} is not what it was when this board passed: its script runs again")
    return bool(changed)


async def _connect_and_identify(run: SharedRun, board: Board, stream: ByteStream) -> Device:
    def attempt(number: int) -> None:
        run.emit(StepChanged(board.port, "connecting", f"attempt {number}"))

    job = run.job
    board.rom = rom = await RomLoader.connect(
        stream,
        before=job.before,
        attempts=job.connect_attempts,
        on_attempt=attempt,
        trace=run.traces.open(board.port),
    )
    run.emit(StepChanged(board.port, "identifying"))
    rate: RateFor | None = run.rate_for(stream)

    async def look() -> Device:
        return await _identify(run, rom, rate=rate)

    async def connect_anew() -> None:
        before = "no-reset" if job.before in NO_RESET else job.before
        await rom.reconnect(before=before, attempts=job.connect_attempts, on_attempt=attempt)
        run.emit(StepChanged(board.port, "identifying"))

    def slow_down(error: LinkError) -> None:
        nonlocal rate
        if job.baud is None:
            rate = None
            run.note(board.port, f"{error}; it goes on at {ROM_BAUD} baud", "warning")

    device = await identified(rom, look, connect_anew=connect_anew, slow_down=slow_down)
    board.device = device
    device.controller.guard(device.identity.registers[:GUARD_REGISTERS], device.identity.same_board)
    run.emit(
        Identified(
            board.port, device.chip.title, device.identity.mac_text, device.revision, device.crystal_mhz
        )
    )
    return device


async def _identify(run: SharedRun, rom: RomLoader, *, rate: RateFor | None) -> Device:
    return await identify(
        rom,
        wanted=run.job.chip,
        blocks=run.blocks_in_scripts,
        extend=run.extend,
        found=lambda chip: run.traces.mask_keys(rom.trace, chip),
        rate=rate,
        burns=run.scripts.may_burn,
    )


def _printed(run: SharedRun, board: Board, text: str) -> None:
    board.output.append(text)
    run.emit(ScriptOutput(board.port, text))


async def _farewell(run: SharedRun, board: Board, device: Device) -> None:
    """`--after`, for a unit that passed; any other is never reset (a boot loader could burn more)."""
    after = run.job.after
    if after == "no-reset" or run.job.dry_run:
        return
    try:
        await device.rom.change_baud(ROM_BAUD)
        if after == "hard-reset":
            await apply_reset(device.rom.stream, "hard-reset")
        elif after == "soft-reset":
            await device.rom.reboot()
        elif device.chip.watchdog_reset is not None:
            await device.rom.write_regs(device.chip.watchdog_reset.writes)
        else:
            run.note(board.port, f"{device.chip.title} has no watchdog reset: it was left as it is", "hint")
    except ParburnError as error:
        run.note(board.port, f"passed, but --after {after} did not work: {error}", "warning")


async def _close(run: SharedRun, board: Board, stream: ByteStream) -> None:
    """Leave the ROM at its first baud rate where it still listens, and give the port back. Shielded."""
    rom = board.rom
    if rom is not None and rom.baud != ROM_BAUD and not rom.broken:
        with move_on_after(CLOSE_DEADLINE_S, shield=True), suppress(ParburnError):
            await rom.leave_at_baud(ROM_BAUD)
    with move_on_after(CLOSE_DEADLINE_S, shield=True):
        await stream.aclose()
    if rom is not None:
        try:
            run.traces.finish(board.port, rom.trace)
        except OSError as error:  # a full disk: no reason to lose the board's result
            run.note(board.port, f"its trace could not be written: {error.strerror}", "warning")


async def _record(run: SharedRun, board: Board) -> None:
    """Write the board's end into the ledger. A ledger that fails now is told to the operator, not raised."""
    board.result = board.result_now()
    claim = board.claim
    if claim is None:
        return
    error = board.error
    by_script = isinstance(error, ScriptError)
    # What a script says may hold a key, so only where it stopped goes into the record.
    reason = f"{type(error).__name__} {error.place}" if isinstance(error, ScriptError) else str(error or "")
    try:
        if run.job.dry_run and board.passed_before:
            pass  # nothing happened to it, and nothing is written beside its PASS
        elif run.job.dry_run:
            await claim.failed_clean("dry run", release=True)
        elif board.result is Result.QUARANTINED:
            await claim.quarantined(reason)
        elif board.result is Result.INCOMPLETE:
            await claim.incomplete(reason)
        elif not board.result.passed:
            await claim.failed_clean(reason, release=not board.planned, script_failed=by_script)
    except LedgerError as error:
        run.note(board.port, f"the ledger could not record how this board ended: {error}", "warning")
