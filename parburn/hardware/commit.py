"""Burns a plan, step by step, and believes only what it reads back. The rules: docs/safety.md, "Commit".

`commit` is the only function of parburn that makes a chip burn. Its caller has made the attempt durable in
the ledger by the time `attempted` returns; everything after that is shielded from cancellation, and stops
only between steps.

What can go wrong after a program command, and what is done:

* bits are missing, or the decoder reports errors: the very same bits are programmed again, at most
  `PROGRAM_ATTEMPTS` times in all;
* a bit is set that nobody asked for: two more readings, then `VerifyFailed`; such a chip is never burned
  again;
* no answer, or garbage: the loader is synchronised again without a reset, the identity is read again, and
  the bits decide whether the command was executed;
* after any of these, and wherever a commit breaks off, all blocks are read (`look_everywhere`): what was
  staged may have gone into a block that it was not meant for. `efuse.unplanned_pulse` judges what they hold.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import NamedTuple

from anyio import CancelScope, current_time

from parburn.efuse.image import EfuseImage
from parburn.efuse.plan import BurnPlan, BurnStep
from parburn.errors import (
    BoardSwapped,
    CommandRefused,
    ControllerStuck,
    GarbledAnswer,
    Interrupted,
    LedgerError,
    LinkError,
    NoAnswer,
    ParburnError,
    PartialBurn,
    ReadOtherwise,
    VerifyFailed,
)
from parburn.hardware.controller import Controller
from parburn.hardware.hooks import GUARD_REGISTERS, CommitHooks
from parburn.hardware.link_end import ENDINGS, burn_link_end
from parburn.hardware.verify import (
    CONFIRMING_READS,
    MARK_IT,
    look_everywhere,
    look_where_it_broke_off,
    recover,
    refuse_changed_identity,
    shown_by,
    stage_again,
    verify,
)

PROGRAM_ATTEMPTS = 3
FRESH_S = 0.5  # who has waited longer to burn looks at the chip's content once more


class CommitResult(NamedTuple):
    """What the chip shows after the last step; `unread` names fields that could not be read back."""

    image: EfuseImage
    unread: tuple[str, ...] = ()


async def commit(
    plan: BurnPlan, controller: Controller, image: EfuseImage, hooks: CommitHooks
) -> CommitResult:
    """Burn every step of `plan` and verify each.

    Args:
        image: what the chip showed when the plan was made.

    Raises:
        StagingMismatch, LinkError, CommandRefused: no program command was sent; nothing was burned.
        BoardSwapped: another chip answers; into that one nothing was burned.
        LinesBusy: reset lines moved all the time; nothing was burned.
        VerifyFailed: the chip shows other bits than planned; where it is `permanent`, never burn it again.
        PartialBurn: the burn broke off and can be continued.
        LedgerError: what was done could not be recorded.
    """
    await _twice(lambda: _look_again(controller, image), controller, hooks)
    looked = current_time()
    journal = _StepJournal(hooks)
    try:
        async with hooks.burning():
            if current_time() - looked > FRESH_S:
                await _twice(lambda: _look_again(controller, image), controller, hooks)
            result = await _staged_and_burned(plan, controller, image, hooks, journal)
    except BaseException:
        with CancelScope(shield=True), suppress(LedgerError):  # what went wrong with the chip matters more
            await journal.durable()
        raise
    with CancelScope(shield=True):  # no lines must be still for a record of what is burned already
        await journal.durable()
    return result


async def _staged_and_burned(
    plan: BurnPlan, controller: Controller, image: EfuseImage, hooks: CommitHooks, journal: _StepJournal
) -> CommitResult:
    """Stage the first step, make the attempt durable, and burn all steps. Leaves no key behind."""
    try:
        await _twice(lambda: _stage_first(plan.steps[0], controller, hooks), controller, hooks)
        with CancelScope(shield=True):
            await hooks.attempted()
            result = await _burn_steps(plan, controller, image, hooks, journal)
    except BaseException as error:
        # Another board is not ours to write to, nor a controller that may be burning.
        if not isinstance(error, BoardSwapped) and not isinstance(error.__cause__, ControllerStuck):
            with CancelScope(shield=True), suppress(LinkError, CommandRefused):
                await controller.clear()
        raise
    return result


class _StepJournal:
    """Has verified steps recorded while the next block burns. Every write of it ends within `commit`."""

    def __init__(self, hooks: CommitHooks) -> None:
        self._hooks = hooks
        self._writing: list[asyncio.Future[object]] = []

    def begin(self, step: BurnStep, number: int) -> None:
        """Begin to write that a step is verified."""
        self._writing.append(self._hooks.burned(step, number))

    def check(self) -> None:
        """Raise what went wrong with a record that was to be written."""
        for writing in self._writing:
            if writing.done():
                writing.result()

    async def durable(self) -> None:
        """Wait until all is written. Raises what went wrong with the first that was not."""
        if self._writing:
            await asyncio.wait(self._writing)
            self.check()


async def _burn_steps(
    plan: BurnPlan, controller: Controller, image: EfuseImage, hooks: CommitHooks, journal: _StepJournal
) -> CommitResult:
    """Burn and verify the steps; the first one is staged.

    A step that locks begins when all before it is written down as verified: once it is hidden, only the
    record tells what a block holds. So does the second step: of two chips with one identity only the record
    of what was burned first tells which is ours.
    """
    unread: tuple[str, ...] = ()
    staged = True
    for number, step in enumerate(plan.steps):
        if step.locks or number == 1:
            await journal.durable()
        journal.check()
        if not hooks.may_go_on():
            raise PartialBurn(
                "stopped by the operator between two blocks", remaining=len(plan.steps) - number
            ) from Interrupted("stopped by the operator")
        try:
            if step.ends_link in ENDINGS:
                image, unread = await burn_link_end(step, controller, image, hooks, staged)
            else:
                image, staged = await _burn_step(plan, number, controller, image, hooks, staged)
        except BoardSwapped:
            await refuse_changed_identity(controller, hooks)
            raise
        except ParburnError as broken:
            error = await look_where_it_broke_off(broken, plan, step, controller, image, hooks)
            if isinstance(error, VerifyFailed):
                raise
            raise PartialBurn(
                f"{step.label} was not finished: {error}",
                remaining=len(plan.steps) - number,
                hint=error.hint,
            ) from error
        journal.begin(step, number + 1)
    return CommitResult(image, unread)


async def _twice(look: Callable[[], Awaitable[None]], controller: Controller, hooks: CommitHooks) -> None:
    """Make sure that the chip is the one that was planned for, before any bit is burned.

    A damaged exchange is made up for once, and a difference must be seen twice.
    """
    try:
        await look()
    except (NoAnswer, GarbledAnswer, CommandRefused, BoardSwapped):
        controller.rom.counters.retries += 1
        await recover(controller, hooks)
        await look()


async def _look_again(controller: Controller, image: EfuseImage) -> None:
    """Compare what the script was shown of the chip with what it shows now.

    What the script asked for, and what it did not, depends on that.
    """
    known = sorted({0, *image.blocks})
    now = await controller.read_bits(known, image)
    changed = [
        image.chip.blocks[i].name for i in known if i in image.blocks and now.block(i) != image.block(i)
    ]
    if changed:
        raise ReadOtherwise(
            f"the bits of {', '.join(changed)} are not those that were read at the start",
            hint="Was the board changed? Nothing was burned by this command; run again.",
        )


async def _stage_first(step: BurnStep, controller: Controller, hooks: CommitHooks) -> None:
    """Stage the first step, and look in the same burst who the chip is: all of its identity, once."""
    controller.guard(hooks.identity, hooks.same_board)
    await controller.stage(step)
    controller.guard(hooks.identity[:GUARD_REGISTERS], hooks.same_board)


async def _burn_step(
    plan: BurnPlan,
    number: int,
    controller: Controller,
    before: EfuseImage,
    hooks: CommitHooks,
    staged: bool,
) -> tuple[EfuseImage, bool]:
    """Burn step `number` until it reads back whole. Returns the image, and whether the next one is staged.

    Raises VerifyFailed; link errors that a new SYNC did not repair.
    """
    step = plan.steps[number]
    following = plan.steps[number + 1] if number + 1 < len(plan.steps) else None
    blocks = shown_by(step, before)
    words = ""
    trouble: ParburnError | None = None  # of the last pulse
    following_may_be_staged = following if following is None or not following.ends_link else None
    for attempt in range(PROGRAM_ATTEMPTS):
        if attempt:
            controller.rom.counters.retries += 1
        following_staged, trouble = False, None
        retries = controller.rom.counters.retries
        try:
            if not staged:
                await stage_again(step, controller, hooks)
            await controller.program(step)
            now, following_staged = await controller.reload(blocks, before, following_may_be_staged)
        except (NoAnswer, GarbledAnswer, CommandRefused) as error:
            trouble = error
            await recover(controller, hooks)
            now = await look_everywhere(plan, step, controller, before, hooks)
        missing, extra, words = verify(step, before, now, blocks)
        damaged = missing or controller.rom.counters.retries != retries
        if damaged and not extra and trouble is None:
            now, following_staged = await look_everywhere(plan, step, controller, before, hooks), False
            missing, extra, words = verify(step, before, now, blocks)
        for _ in range(CONFIRMING_READS):
            if not extra:
                break
            # An answer has no checksum: an extra bit must be seen three times before it is believed.
            now = (await controller.read_blocks(blocks, before)).as_shown()
            missing, extra, words = verify(step, before, now, blocks)
        if extra:
            break
        if not missing:
            return now, following_staged
        staged = False
        controller.forget()  # what damaged the command may have gone into a timing register
    if trouble is not None and not extra:
        raise trouble  # the chip breaks down in each pulse: that speaks of its supply, not of its bits
    with suppress(LinkError, CommandRefused):  # what is wrong may be that another chip sits here now
        hooks.same_board(await controller.rom.read_regs(tuple(hooks.identity)))
    raise VerifyFailed(
        f"{step.label} did not burn as planned: {words}",
        hint=MARK_IT,
    )
