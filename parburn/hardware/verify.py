"""What a chip shows after a pulse, or after damage, against what was planned. Burns nothing.

A commit believes what it reads back; the rules are in docs/safety.md, "Commit".
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from parburn.efuse.image import EfuseImage
from parburn.efuse.plan import BlockWrite, BurnPlan, BurnStep
from parburn.efuse.unplanned_pulse import look_for_stray
from parburn.errors import CommandRefused, ControllerStuck, LinkError, ParburnError, PortGone, VerifyFailed
from parburn.hardware.controller import Controller
from parburn.hardware.hooks import CommitHooks

CONFIRMING_READS = 2
MARK_IT = "Take the board out of the line and mark it: it must not ship."


def verify(
    step: BurnStep, before: EfuseImage, now: EfuseImage, blocks: Sequence[int]
) -> tuple[int, int, str]:
    """Compare these blocks with what the step was to burn.

    Returns:
        Bits missing (a coding error counts as one), bits too many, and a sentence; (0, 0, "") if all is well.
    """
    expected = BurnPlan(before.chip, (step,)).apply(before)
    missing = extra = 0
    words: list[str] = []
    for index in blocks:
        want, got = expected.block(index), now.block(index)
        # What was there before does not count.
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
    """Return how many coding errors a burn of this block left.

    Those that were there before it belong to somebody else, unless the block already held some of these very
    bits: then a pulse that broke off left them.
    """
    index = write.block.index
    if index == 0:
        return (now.block0_errors & (write.want | ~before.block0_errors)).bit_count()
    status, old = now.status.get(index), before.status.get(index)
    if status is None:
        return 0
    if old is None or (before.block(index) & write.want and not write.again):
        return max(status.errors, int(status.fail))
    return max(status.errors - old.errors, int(status.fail and not old.fail))


def shown_by(step: BurnStep, before: EfuseImage) -> tuple[int, ...]:
    """Return the blocks to read after this step: those it burns, and known ones that a new coding changes.

    What the step hides is not read: RD_DIS, which hides it, is.
    """
    burned = {write.block.index for write in step.writes}
    if 0 not in burned or before.chip.scheme_field is None:  # whose coding is one, whatever BLOCK0 holds
        return tuple(sorted(burned))
    after = BurnPlan(before.chip, (step,)).apply(before)
    known = before.with_blocks({0: after.block(0)}).as_shown()
    return tuple(sorted(burned | {n for n in before.blocks if after.block(n) != known.block(n)}))


async def look_everywhere(
    plan: BurnPlan, step: BurnStep, controller: Controller, before: EfuseImage, hooks: CommitHooks
) -> EfuseImage:
    """Read every block again after damage near a program command. Leaves no step staged.

    Raises:
        VerifyFailed: three readings show what only a pulse that nobody planned explains.
        BoardSwapped: another chip answers.
        ControllerStuck, LinkError, CommandRefused: the chip could not be read.
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


async def refuse_changed_identity(controller: Controller, hooks: CommitHooks) -> None:
    """Look whether a pulse hit the blocks that tell who our chip is, while no other was put in.

    Raises:
        VerifyFailed: three readings show more bits there.
    """
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
    """Return a sentence on blocks that were read for the first time after damage."""
    return (
        f"after damage on the line all blocks were read; {blocks} hold what nobody had read before. It is "
        "none of the data of this burn, and was not judged"
    )


async def look_where_it_broke_off(
    error: ParburnError,
    plan: BurnPlan,
    step: BurnStep,
    controller: Controller,
    before: EfuseImage,
    hooks: CommitHooks,
) -> ParburnError:
    """Read all blocks where a commit ends early and the chip still answers.

    Returns:
        What ended the commit: `error`, or that the controller is stuck.

    Raises:
        VerifyFailed: a pulse that nobody planned has hit the chip.
        BoardSwapped: another chip answers.
    """
    known = isinstance(error, VerifyFailed) and error.permanent
    if not known and not isinstance(error, PortGone | ControllerStuck):  # nobody there; may be burning
        try:
            await recover(controller, hooks)
            await look_everywhere(plan, step, controller, before, hooks)
        except ControllerStuck as stuck:
            return stuck
        except (LinkError, CommandRefused):
            pass  # it can be read when the unit is taken up again
    return error


async def stage_again(step: BurnStep, controller: Controller, hooks: CommitHooks) -> None:
    """Stage a step, and look who the chip is: a board that was changed meanwhile must get no bit of it.

    Raises:
        BoardSwapped: another chip answers.
        StagingMismatch, LinkError, CommandRefused: see `Controller.stage`.
    """
    reading = await controller.stage(step, hooks.identity)
    hooks.same_board([reading[a] for a in hooks.identity])


async def recover(controller: Controller, hooks: CommitHooks) -> None:
    """Synchronise without a reset after silence or garbage, and make sure it is still the same chip.

    Raises:
        BoardSwapped: another chip answers.
        LinkError, CommandRefused: the ROM was not found again.
    """
    await controller.rom.sync()
    controller.forget()
    hooks.same_board(await controller.rom.read_regs(tuple(hooks.identity)))
