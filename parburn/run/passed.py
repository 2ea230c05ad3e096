"""Whether a unit has passed this job before; who comes back after a clone was seen. Burns nothing."""

from __future__ import annotations

from anyio import to_thread

from parburn.errors import UnitQuarantined, UnitRefused
from parburn.ledger.base import Claim
from parburn.run.board_progress import BoardProgress
from parburn.run.shared import SharedRun


async def passed_before(run: SharedRun, board: BoardProgress, claim: Claim) -> bool:
    """Return whether this unit has passed this very job; one that a clone had put out is then PASS again.

    The chip was compared before with all that the unit passed with.

    Raises:
        UnitRefused: it has passed, and another job was begun on it and is not whole.
        UnitQuarantined: a clone has put it out, and this is not the job that it passed.
    """
    passed_otherwise = run.around is not None and run.around.approval.counts_as_passed(claim)
    if passed_otherwise or await _has_passed(run, board, claim):
        await _recognized(run, board, claim)
        return True
    if claim.put_out_by:
        raise _still_quarantined(claim)
    return False


async def _has_passed(run: SharedRun, board: BoardProgress, claim: Claim) -> bool:
    passed_as = run.passed_as(claim.index, claim.passed_jobs)
    if not passed_as:
        return False
    if claim.attempts:
        raise UnitRefused(
            f"index {claim.index} has passed this job, but another one was begun and is not whole",
            hint="Run the script and files of that other job first.",
        )
    inputs = claim.passed_inputs(passed_as)
    changed = await to_thread.run_sync(run.changed_input, inputs) if inputs else ""
    if changed:
        run.note(board.port, f"{changed} is not what it was when this board passed: its script runs again")
    return not changed


async def _recognized(run: SharedRun, board: BoardProgress, claim: Claim) -> None:
    """Take back the chip that passed, after another one with its identity was seen. Burns nothing."""
    if not claim.put_out_by or run.job.dry_run:
        return
    reason = claim.put_out_by
    await claim.recognized()
    run.note(
        board.port,
        "it holds all that it passed with: it is the chip of this record, and PASS again. Another chip with "
        f"the same MAC was seen ({reason}): find that one and take it out of the line",
        "warning",
    )


def _still_quarantined(claim: Claim) -> UnitQuarantined:
    """With two chips of one identity about, no bit is burned on any of them until a person has looked."""
    return UnitQuarantined(
        f"{claim.identity}, index {claim.index}, is quarantined: {claim.put_out_by}",
        hint="This chip holds what it passed with: run it once with the scripts and files of then, and it is "
        "PASS again, and goes on. Or examine it, then: "
        f"parburn ledger release {claim.identity.mac} --why REASON.",
    )
