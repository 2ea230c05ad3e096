"""The end of a board: a reset where one was asked for, its port given back, its end written down."""

from __future__ import annotations

from contextlib import suppress

from anyio import move_on_after, to_thread

from parburn.errors import (
    BoardSwapped,
    Interrupted,
    LedgerError,
    LedgerUnusable,
    LinkError,
    ParburnError,
    PartialBurn,
    PortGone,
    ReadOtherwise,
    ScriptError,
    causes,
)
from parburn.events import Result
from parburn.hardware.identify import Device
from parburn.ledger.base import Cause
from parburn.protocol.trace import Trace
from parburn.run.baud import ROM_BAUD
from parburn.run.board_progress import BoardProgress
from parburn.run.shared import SharedRun
from parburn.transport.reset import apply_reset
from parburn.transport.stream import ByteStream

CLOSE_DEADLINE_S = 2.0
TRACE_DEADLINE_S = 10.0
# What a burn ended by, and how the ledger calls that; the first kind that fits. Anything else is OTHER: the
# chip, the script or the files may be wrong, and somebody should look before it goes on.
_CAUSES: tuple[tuple[type[ParburnError], Cause], ...] = (
    (ReadOtherwise, Cause.LINE),
    (BoardSwapped, Cause.UNPLUGGED),
    (PortGone, Cause.UNPLUGGED),
    (LinkError, Cause.LINE),
    (LedgerUnusable, Cause.LEDGER),
    (Interrupted, Cause.STOP),
)


async def farewell(run: SharedRun, board: BoardProgress, device: Device) -> None:
    """Do what `--after` asks for, to a unit that passed.

    Any other unit is never reset: a boot loader could burn more. What fails here is told as a warning.
    """
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


async def close(run: SharedRun, board: BoardProgress, stream: ByteStream) -> None:
    """Put the ROM back to its first baud rate where it still listens, and give the port back.

    It is shielded from cancellation; each of both has CLOSE_DEADLINE_S.
    """
    rom = board.rom
    if rom is not None and rom.baud != ROM_BAUD and not rom.broken:
        with move_on_after(CLOSE_DEADLINE_S, shield=True), suppress(ParburnError):
            await rom.leave_at_baud(ROM_BAUD)
    with move_on_after(CLOSE_DEADLINE_S, shield=True):
        await run.ports.give_back(stream)
    if rom is not None and rom.trace is not None:
        await _write_trace(run, board, rom.trace)


async def _write_trace(run: SharedRun, board: BoardProgress, trace: Trace) -> None:
    """Write what was said with a board. A disk that hangs or is full costs no board its result."""
    why: str | None = f"no answer from the disk for {TRACE_DEADLINE_S:g} s"
    with move_on_after(TRACE_DEADLINE_S, shield=True):
        try:
            await to_thread.run_sync(run.traces.finish, board.port, trace, abandon_on_cancel=True)
            return
        except OSError as error:
            why = error.strerror
    run.note(board.port, f"its trace could not be written: {why}", "warning")


def telling_cause(error: BaseException | None) -> BaseException | None:
    """Return what a burn broke off by; None where nothing is known."""
    if error is None:
        return None
    return next((one for one in causes(error) if not isinstance(one, PartialBurn)), None)


def cause_of(error: BaseException | None) -> Cause:
    """Return how a burn ended, for the ledger. That it broke off is no cause; what it broke off by is."""
    found = telling_cause(error)
    return next((cause for kind, cause in _CAUSES if isinstance(found, kind)), Cause.OTHER)


async def record(run: SharedRun, board: BoardProgress) -> None:
    """Write the board's end into the ledger. A ledger that fails now is told to the operator, not raised."""
    board.result = board.result_now()
    claim = board.claim
    if claim is None:
        return
    error = board.error
    by_script = isinstance(error, ScriptError)
    # What a script says may hold a key, so only where it stopped goes into the record.
    reason = f"{type(error).__name__} {error.place}" if isinstance(error, ScriptError) else str(error or "")
    reason = run.keys.mask(reason)
    try:
        if claim.put_out_by:
            pass  # it stays quarantined for the reason that it has
        elif run.job.dry_run:
            pass  # nothing happened to it, and the copy of the ledger is thrown away
        elif board.result is Result.QUARANTINED:
            await claim.quarantined(reason)
        elif board.result is Result.INCOMPLETE:
            await claim.incomplete(reason, cause=cause_of(error))
        elif board.result is Result.ALREADY_PASS:
            await claim.already_passed()
        elif not board.result.passed:
            await claim.failed_clean(reason, release=not board.planned, script_failed=by_script)
        if run.around is not None:
            await claim.end()
    except LedgerError as error:
        board.claim_is_open = True
        run.note(board.port, f"the ledger could not record how this board ended: {error}", "warning")
