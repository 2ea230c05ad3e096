"""Steps after which the chip answers no more, or little: each ending must show in its own way."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from parburn.chips.model import LinkEndKind
from parburn.efuse.image import EfuseImage
from parburn.efuse.plan import BurnPlan, BurnStep, EndsLink
from parburn.errors import CommandRefused, LinkError, PortGone, VerifyFailed
from parburn.hardware.controller import Controller
from parburn.hardware.hooks import CommitHooks
from parburn.hardware.verify import shown_by, stage_again, verify

SECURE_DOWNLOAD_FLAG = 1 << 2


async def burn_link_end(
    step: BurnStep, controller: Controller, before: EfuseImage, hooks: CommitHooks, staged: bool
) -> tuple[EfuseImage, tuple[str, ...]]:
    """Burn the step after which the chip answers no more, or only a few commands.

    Silence alone is no success: the ending must show in the way its kind shows.

    Args:
        staged: whether the step is staged already.

    Returns:
        The image by plan, and the names of fields that could not be read back.

    Raises:
        VerifyFailed: the ending does not show, or the chip still answers and shows other bits.
        BoardSwapped: another chip answers.
        StagingMismatch, ControllerStuck, LinkError, CommandRefused: see `Controller.stage` and `program`.
    """
    if not staged:
        await stage_again(step, controller, hooks)
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
    """Look for secure download mode: SYNC and GET_SECURITY_INFO still work, and flag bit 2 is set."""
    await controller.rom.sync()
    info = await controller.rom.security_info()
    if info is None or not info.flags & SECURE_DOWNLOAD_FLAG:
        raise VerifyFailed("secure download mode was burned and is not in force", permanent=False)
    return step.fields


async def _no_download(
    step: BurnStep, controller: Controller, before: EfuseImage, hooks: CommitHooks
) -> tuple[str, ...]:
    """Make sure that the chip answers no more while its port is still there; an unplug is no success."""
    try:
        await controller.rom.sync()
    except PortGone:
        raise
    except LinkError:
        return step.fields
    hooks.same_board(await controller.rom.read_regs(tuple(hooks.identity)))
    blocks = shown_by(step, before)
    now, _ = await controller.reload(blocks, before, None)
    missing, extra, words = verify(step, before, now, blocks)
    if missing or extra:
        raise VerifyFailed(f"{step.label} did not burn as planned: {words}", permanent=bool(extra))
    return ()


Ending = Callable[[BurnStep, Controller, EfuseImage, CommitHooks], Awaitable[tuple[str, ...]]]

ENDINGS: dict[EndsLink, Ending] = {
    LinkEndKind.SECURE_DOWNLOAD: _secure_download,
    LinkEndKind.NO_DOWNLOAD: _no_download,
}
