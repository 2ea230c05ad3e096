"""What a commit has written down: the attempt before its first pulse, and each step once it is verified."""

from __future__ import annotations

import asyncio

from parburn.efuse.plan import BurnPlan, BurnStep
from parburn.events import BlockBurned
from parburn.hardware.hooks import CommitHooks
from parburn.hardware.identify import ChipIdentity
from parburn.ledger.base import Attempt, Claim, State
from parburn.run.board_progress import BoardProgress
from parburn.run.shared import SharedRun
from parburn.transport.lines_lock import machine_lines


class BurnJournal:
    """What the ledger is told of one burn: `plan` is the whole of it, `pending` what the chip lacks."""

    def __init__(
        self,
        run: SharedRun,
        board: BoardProgress,
        claim: Claim,
        plan: BurnPlan,
        pending: BurnPlan,
        attempt: Attempt,
    ) -> None:
        self._run, self._board, self._claim = run, board, claim
        self._plan, self._attempt = plan, attempt
        lacking = {_planned_label(plan, step) for step in pending.steps}
        self._found = tuple(step for step in plan.steps if step.label not in lacking)  # burned earlier
        self._first = board.done  # of the steps of this run's burns
        if pending:
            board.total = self._first + len(pending.steps)

    def hooks(self, identity: ChipIdentity) -> CommitHooks:
        """Return what the commit calls at the points where the ledger must be right."""
        return CommitHooks(
            identity=identity.registers,
            same_board=identity.same_board,
            attempted=self.attempted,
            burned=self.burned,
            may_go_on=self._run.stop.commits_may_go_on,
            told=lambda text: self._run.note(self._board.port, text),
            gained=identity.gained,
            burning=machine_lines().burning,
        )

    async def attempted(self) -> None:
        """Make the attempt durable.

        The steps that an earlier attempt burned are written with it: a lock may hide them later, and then
        only these entries speak for them.

        Raises:
            UniqueValueTaken: another plan holds one of the values.
            UnitRefused: a record of this index belongs to another chip.
            IdentityUnclear: a station has seen another chip with this identity meanwhile.
            LedgerUnusable: it could not be written. Nothing may be burned then.
        """
        if self._run.around is not None:
            self._run.around.approval.begins()
        await self._claim.burn_attempted(self._attempt)
        self._board.attempted = True
        self._board.values |= self._board.planned_values
        for step in self._found:
            await self._claim.step_done(step.label, _state_of(step))

    def burned(self, step: BurnStep, number: int) -> asyncio.Future[object]:
        """Begin to write that a step is verified; the observers hear of it once that is durable.

        Args:
            step: The step.
            number: How many steps of this burn are done with it, from 1.
        """
        run, board = self._run, self._board
        done = board.done = self._first + number

        def tell(written: asyncio.Future[object]) -> None:
            if not written.cancelled() and written.exception() is None:
                run.emit(BlockBurned(board.port, step.label, done, board.total))

        label = _planned_label(self._plan, step)
        written = asyncio.ensure_future(self._claim.step_done(label, _state_of(step)))
        written.add_done_callback(tell)
        return written


def _state_of(step: BurnStep) -> State:
    return State.LOCKED if step.locks else State.VERIFIED


def _planned_label(plan: BurnPlan, step: BurnStep) -> str:
    """Return the step's name in the whole plan: the rest of a step of several blocks has a shorter one."""
    blocks = {write.block.index for write in step.writes}
    for whole in plan.steps:
        burned = {write.block.index for write in whole.writes}
        if blocks <= burned and (whole.locks, whole.ends_link) == (step.locks, step.ends_link):
            return whole.label
    return step.label
