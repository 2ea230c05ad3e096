"""Burns a plan, step by step, and believes only what it reads back. The rules are those of SAFETY, "Commit".

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
* after any of these, and wherever a commit breaks off, all blocks are read (`_look_everywhere`): what was
  staged may have gone into a block that it was not meant for. `efuse.stray` judges what they hold.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import NamedTuple

from anyio import CancelScope

from parburn.efuse.image import EfuseImage
from parburn.efuse.plan import BlockWrite, BurnPlan, BurnStep
from parburn.efuse.stray import look_for_stray
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
    PortGone,
    ReadOtherwise,
    VerifyFailed,
)
from parburn.hardware.controller import Controller

PROGRAM_ATTEMPTS = 3
CONFIRMING_READS = 2
GUARD_REGISTERS = 1  # of the identity, the MAC's last 32 bits: enough to see another board in a later burst
SECURE_DOWNLOAD_FLAG = 1 << 2
MARK_IT = "Take the board out of the line and mark it: it must not ship."


class CommitHooks(NamedTuple):
    """What the caller does at the points where its books must be right.

    `identity` lists registers that tell this chip from every other, `same_board` raises BoardSwapped when the
    values of the first so many of them are not those of the chip that was planned for. `attempted` makes the
    attempt durable; `burned` begins to write that a step is verified, and its future ends once that is
    durable; `may_go_on` is asked between steps. `told` gets a sentence for the operator. `gained` names those
    of the `identity` registers in which our chip, and no other, has got more bits.
    """

    identity: Sequence[int]
    same_board: Callable[[Sequence[int]], None]
    attempted: Callable[[], Awaitable[None]]
    burned: Callable[[BurnStep, int], asyncio.Future[object]]
    may_go_on: Callable[[], bool]
    told: Callable[[str], None] = lambda text: None
    gained: Callable[[Sequence[int]], tuple[int, ...]] = lambda values: ()


class CommitResult(NamedTuple):
    """What the chip shows after the last step; `unread` names fields that could not be read back."""

    image: EfuseImage
    unread: tuple[str, ...] = ()


async def commit(
    plan: BurnPlan, controller: Controller, image: EfuseImage, hooks: CommitHooks
) -> CommitResult:
    """Burn every step of `plan` and verify each.

    Raises BoardSwapped, StagingMismatch or LinkError while nothing has been burned; after the first program
    command VerifyFailed (permanent damage), or PartialBurn for everything that can be continued.
    """
    try:
        await _stage_first(plan, controller, image, hooks)
        with CancelScope(shield=True):
            await hooks.attempted()
            result = await _burn_all(plan, controller, image, hooks)
    except BaseException as error:
        # Another board is not ours to write to, nor a controller that may be burning.
        if not isinstance(error, BoardSwapped) and not isinstance(error.__cause__, ControllerStuck):
            with CancelScope(shield=True), suppress(LinkError, CommandRefused):
                await controller.clear()
        raise
    return result


async def _burn_all(
    plan: BurnPlan, controller: Controller, image: EfuseImage, hooks: CommitHooks
) -> CommitResult:
    """Burn the steps; every record of theirs is written when this ends, in whatever way."""
    records = _Records(hooks)
    try:
        result = await _burn_steps(plan, controller, image, hooks, records)
    except BaseException:
        with suppress(LedgerError):  # what went wrong with the chip matters more
            await records.durable()
        raise
    await records.durable()
    return result


class _Records:
    """Has verified steps written down while the next block burns. Every write of it ends within `commit`."""

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
    plan: BurnPlan, controller: Controller, image: EfuseImage, hooks: CommitHooks, records: _Records
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
            await records.durable()
        records.check()
        if not hooks.may_go_on():
            raise PartialBurn(
                "stopped by the operator between two blocks", remaining=len(plan.steps) - number
            ) from Interrupted("stopped by the operator")
        try:
            if step.ends_link in ENDINGS:
                image, unread = await _burn_link_end(step, controller, image, hooks, staged)
            else:
                image, staged = await _burn_step(plan, number, controller, image, hooks, staged)
        except BoardSwapped:
            await _refuse_changed_identity(controller, hooks)
            raise
        except ParburnError as broken:
            error = await _look_where_it_broke_off(broken, plan, step, controller, image, hooks)
            if isinstance(error, VerifyFailed):
                raise
            raise PartialBurn(
                f"{step.label} was not finished: {error}",
                remaining=len(plan.steps) - number,
                hint=error.hint,
            ) from error
        records.begin(step, number + 1)
    return CommitResult(image, unread)


async def _stage_first(plan: BurnPlan, controller: Controller, image: EfuseImage, hooks: CommitHooks) -> None:
    """Stage the first step, and make sure that the chip is the one that was planned for.

    No bit is burned yet: a damaged exchange is made up for once, and a difference must be seen twice.
    """
    try:
        await _stage_and_compare(plan, controller, image, hooks)
    except (NoAnswer, GarbledAnswer, CommandRefused, BoardSwapped):
        controller.rom.counters.retries += 1
        await _recover(controller, hooks)
        await _stage_and_compare(plan, controller, image, hooks)


async def _stage_and_compare(
    plan: BurnPlan, controller: Controller, image: EfuseImage, hooks: CommitHooks
) -> None:
    """Stage the first step; in the same burst read again who the chip is and what the script was shown of it:
    what it asked for, and did not, rests on that."""
    controller.guard(hooks.identity, hooks.same_board)
    known = sorted({0, *image.blocks})
    reading = await controller.stage(plan.steps[0], controller.words(known))
    controller.guard(hooks.identity[:GUARD_REGISTERS], hooks.same_board)
    now = controller.image_of(reading, known, image)
    changed = [
        image.chip.blocks[i].name for i in known if i in image.blocks and now.block(i) != image.block(i)
    ]
    if changed:
        raise ReadOtherwise(
            f"the bits of {', '.join(changed)} are not those that were read at the start",
            hint="Was the board changed? Nothing was burned by this command; run again.",
        )


def _verify(
    step: BurnStep, before: EfuseImage, now: EfuseImage, blocks: Sequence[int]
) -> tuple[int, int, str]:
    """Of `blocks`: bits missing (or coding errors), bits too many, a sentence; (0, 0, "") if all is well."""
    expected = BurnPlan(before.chip, (step,)).apply(before)
    missing = extra = 0
    words: list[str] = []
    for index in blocks:
        want, got = expected.block(index), now.block(index)
        # What was there before is no news.
        lacks, adds = want & ~got, got & ~(want | before.block(index))
        if adds and now.is_torn(index):  # the decoder guesses; another pulse of the same word shows the truth
            lacks, adds = lacks | adds, 0
        missing += lacks.bit_count()
        extra += adds.bit_count()
        if lacks or adds:
            name = before.chip.blocks[index].name
            words.append(f"{name} lacks {lacks.bit_count()} bits and has {adds.bit_count()} too many")
    for write in step.writes:
        errors = _coding_errors(write, before, now)
        if errors:
            missing += 1  # a weak bit may take another pulse of the same word
            words.append(f"{write.block.name} reports {errors} coding errors")
    return missing, extra, "; ".join(words)


def _coding_errors(write: BlockWrite, before: EfuseImage, now: EfuseImage) -> int:
    """Coding errors that a burn of this block left. Those that were there before it belong to somebody else,
    unless the block already held some of these very bits: then a pulse that broke off left them."""
    index = write.block.index
    if index == 0:
        return (now.block0_errors & (write.want | ~before.block0_errors)).bit_count()
    status, old = now.status.get(index), before.status.get(index)
    if status is None:
        return 0
    if old is None or (before.block(index) & write.want and not write.again):
        return max(status.errors, int(status.fail))
    return max(status.errors - old.errors, int(status.fail and not old.fail))


def _shown_by(step: BurnStep, before: EfuseImage) -> tuple[int, ...]:
    """Blocks to read after this step: those it burns, and known ones that another coding shows differently.

    What the step hides is not read: RD_DIS, which hides it, is.
    """
    burned = {write.block.index for write in step.writes}
    if 0 not in burned or before.chip.coding == "rs":  # which is one for all blocks, whatever BLOCK0 holds
        return tuple(sorted(burned))
    after = BurnPlan(before.chip, (step,)).apply(before)
    known = before.with_blocks({0: after.block(0)}).as_shown()
    return tuple(sorted(burned | {n for n in before.blocks if after.block(n) != known.block(n)}))


async def _burn_step(
    plan: BurnPlan,
    number: int,
    controller: Controller,
    before: EfuseImage,
    hooks: CommitHooks,
    staged: bool,
) -> tuple[EfuseImage, bool]:
    """Burn step `number` until it reads back whole. Returns the image, and whether the next one is staged.

    Raises VerifyFailed; link errors that a new SYNC did not mend.
    """
    step = plan.steps[number]
    following = plan.steps[number + 1] if number + 1 < len(plan.steps) else None
    blocks = _shown_by(step, before)
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
                await _stage_again(step, controller, hooks)
            await controller.program(step)
            now, following_staged = await controller.reload(blocks, before, following_may_be_staged)
        except (NoAnswer, GarbledAnswer, CommandRefused) as error:
            trouble = error
            await _recover(controller, hooks)
            now = await _look_everywhere(plan, step, controller, before, hooks)
        missing, extra, words = _verify(step, before, now, blocks)
        damaged = missing or controller.rom.counters.retries != retries
        if damaged and not extra and trouble is None:
            now, following_staged = await _look_everywhere(plan, step, controller, before, hooks), False
            missing, extra, words = _verify(step, before, now, blocks)
        for _ in range(CONFIRMING_READS):
            if not extra:
                break
            # An answer has no checksum: an extra bit must be seen three times before it is believed.
            now = (await controller.read_blocks(blocks, before)).as_shown()
            missing, extra, words = _verify(step, before, now, blocks)
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


async def _look_everywhere(
    plan: BurnPlan, step: BurnStep, controller: Controller, before: EfuseImage, hooks: CommitHooks
) -> EfuseImage:
    """After damage near a program command: read every block anew. Leaves no step staged.

    Raises VerifyFailed when three readings show what only a pulse that nobody planned explains.
    """
    every = [block.index for block in before.chip.blocks]
    sure = {0, *(write.block.index for one in plan.steps for write in one.writes)}
    burned = BurnPlan(plan.chip, (step,))
    now, _ = await controller.reload(every, before, None)
    found = look_for_stray(plan, burned, before, now, sure)
    for _ in range(CONFIRMING_READS):
        if not found.stray:
            break
        now = (await controller.read_blocks(every, before)).as_shown()
        found = look_for_stray(plan, burned, before, now, sure)
    if found.stray:
        with suppress(LinkError, CommandRefused):
            hooks.same_board(await controller.rom.read_regs(tuple(hooks.identity)))
        raise VerifyFailed(f"a pulse that nobody planned hit this chip: {found.stray}", hint=MARK_IT)
    if found.told:
        hooks.told(told_of(found.told))
    return now


async def _refuse_changed_identity(controller: Controller, hooks: CommitHooks) -> None:
    """Raise VerifyFailed where a pulse hit the blocks that tell who our chip is, and no other was put in."""
    gained: set[int] = set(hooks.identity)
    try:
        for _ in range(1 + CONFIRMING_READS):
            gained &= set(hooks.gained(await controller.rom.read_regs(tuple(hooks.identity))))
    except (LinkError, CommandRefused):
        return
    blocks = controller.chip.blocks
    names = [one.name for one in blocks if gained & set(controller.chip.read_registers[one.index])]
    if names:
        raise VerifyFailed(
            f"a pulse that nobody planned hit this chip: {', '.join(names)} has bits that nobody asked for, "
            "and they belong to its identity",
            hint=MARK_IT,
        )


def told_of(blocks: str) -> str:
    """A sentence on blocks that were read for the first time after damage."""
    return (
        f"after damage on the line all blocks were read; {blocks} hold what nobody had read before. It is "
        "none of the data of this burn, and was not judged"
    )


async def _look_where_it_broke_off(
    error: ParburnError,
    plan: BurnPlan,
    step: BurnStep,
    controller: Controller,
    before: EfuseImage,
    hooks: CommitHooks,
) -> ParburnError:
    """Read all blocks where a commit ends early and the chip still answers. Returns what ended it.

    Raises VerifyFailed for a pulse that nobody planned, BoardSwapped.
    """
    known = isinstance(error, VerifyFailed) and error.permanent
    if not known and not isinstance(error, PortGone | ControllerStuck):  # nobody there; may be burning
        try:
            await _recover(controller, hooks)
            await _look_everywhere(plan, step, controller, before, hooks)
        except ControllerStuck as stuck:
            return stuck
        except (LinkError, CommandRefused):
            pass  # it can be read when the unit is taken up again
    return error


async def _stage_again(step: BurnStep, controller: Controller, hooks: CommitHooks) -> None:
    """Stage a step, and look who the chip is: a board that was changed meanwhile must get no bit of it."""
    reading = await controller.stage(step, hooks.identity)
    hooks.same_board([reading[a] for a in hooks.identity])


async def _recover(controller: Controller, hooks: CommitHooks) -> None:
    """After silence or garbage: synchronise without a reset, and make sure it is still the same chip."""
    await controller.rom.sync()
    controller.forget()
    hooks.same_board(await controller.rom.read_regs(tuple(hooks.identity)))


async def _burn_link_end(
    step: BurnStep, controller: Controller, before: EfuseImage, hooks: CommitHooks, staged: bool
) -> tuple[EfuseImage, tuple[str, ...]]:
    """Burn the step after which the chip answers no more, or only a few commands.

    Returns the image by plan, and the names of fields that could not be read back. Silence alone is no
    success: the ending must show in the way its kind shows.
    """
    if not staged:
        await _stage_again(step, controller, hooks)
    await controller.program(step)
    try:
        await controller.reload_unanswered()
    except PortGone:
        raise
    except (LinkError, CommandRefused):
        pass  # expected: the ROM resets itself when these bits become effective
    expected = BurnPlan(before.chip, (step,)).apply(before)
    return expected, await ENDINGS[step.ends_link](step, controller, before, hooks)


async def _secure_download(
    step: BurnStep, controller: Controller, before: EfuseImage, hooks: CommitHooks
) -> tuple[str, ...]:
    """SYNC and GET_SECURITY_INFO still work; flag bit 2 must be set."""
    await controller.rom.sync()
    info = await controller.rom.security_info()
    if info is None or not info.flags & SECURE_DOWNLOAD_FLAG:
        raise VerifyFailed("secure download mode was burned and is not in force", permanent=False)
    return step.fields


async def _no_download(
    step: BurnStep, controller: Controller, before: EfuseImage, hooks: CommitHooks
) -> tuple[str, ...]:
    """The chip must not answer any more while its port is still there; an unplug is no success."""
    try:
        await controller.rom.sync()
    except PortGone:
        raise
    except LinkError:
        return step.fields
    hooks.same_board(await controller.rom.read_regs(tuple(hooks.identity)))
    blocks = _shown_by(step, before)
    now, _ = await controller.reload(blocks, before, None)
    missing, extra, words = _verify(step, before, now, blocks)
    if missing or extra:
        raise VerifyFailed(f"{step.label} did not burn as planned: {words}", permanent=bool(extra))
    return ()


Ending = Callable[[BurnStep, Controller, EfuseImage, CommitHooks], Awaitable[tuple[str, ...]]]

ENDINGS: dict[str, Ending] = {
    "secure-download": _secure_download,
    "no-download": _no_download,
}
