"""Holds back what would end the connection, until the scripts have ended. Pure; burns nothing.

A script may burn such a field in the middle (`burn_all()`, then a key, then `burn_all()` again). Once it is
in the chip nothing more can be burned or verified, and a board that is cut off after it can never be taken
up. So these bits are taken out of the burn that asks for them, and with them every bit of WR_DIS or RD_DIS
that would freeze or hide them, since they could not be burned after it. They are burned last of all, when
everything else is verified. Until then the script sees the chip as if they were there.
"""

from __future__ import annotations

from typing import NamedTuple

from parburn.efuse.image import EfuseImage
from parburn.efuse.layout import Layout, layout_of
from parburn.efuse.plan import BurnPlan, plan_burns
from parburn.efuse.staged import StagedBurns


class HeldBack(NamedTuple):
    """Bits of BLOCK0 that wait for the end of the scripts, and what their commands said beside."""

    bits: int = 0
    force: bool = False
    ignored_rules: bool = False

    def __bool__(self) -> bool:
        return bool(self.bits)

    def over(self, image: EfuseImage) -> EfuseImage:
        """Return the chip as if they were burned."""
        if not self.bits:
            return image
        return image.with_blocks({0: image.block(0) | self.bits}).as_shown()

    def as_staged(self) -> StagedBurns:
        """Return them as a burn of their own."""
        staged = StagedBurns()
        staged.force, staged.ignored_rules = self.force, self.ignored_rules
        staged.add(0, self.bits)
        return staged


NOTHING_HELD = HeldBack()


def hold_back(image: EfuseImage, staged: StagedBurns, held: HeldBack) -> tuple[StagedBurns, HeldBack]:
    """Part what is staged: what is burned now, and all that is held back, with what was `held` before.

    `image` is the chip without what is held. What a held lock would keep from being burned is left out, as it
    would be behind a burned one: `plan_burns` on `held.over(image)` has refused it, or force passes over it.
    """
    layout = layout_of(image.chip)
    missing = staged.block(0) & ~image.block(0)
    bits = held.bits | missing & layout.ends
    if not bits:
        return staged, held
    while locks := missing & ~bits & _locks_over(layout, missing, bits):
        bits |= locks
    if bits == held.bits:
        all_held = held
    else:
        force, ignored = held.force or staged.force, held.ignored_rules or staged.ignored_rules
        all_held = HeldBack(bits, force, ignored)
    wr_dis = (held.bits & layout.wr_dis.mask) >> (layout.wr_dis.start or 0)
    frozen = {index: layout.protected(index, wr_dis) for index in staged.blocks()}
    frozen[0] = frozen.get(0, 0) | bits
    return staged.leaving_out(frozen), all_held


def _locks_over(layout: Layout, locks: int, bits: int) -> int:
    """Return those bits of WR_DIS and RD_DIS among `locks` that would freeze or hide any of `bits`."""
    found = 0
    for field, covered in ((layout.wr_dis, layout.protected), (layout.rd_dis, layout.hidden)):
        start = field.start or 0
        for bit in range(field.bits):
            if locks >> start + bit & 1 and covered(0, 1 << bit) & bits:
                found |= 1 << start + bit
    return found


def plan_to_the_end(image: EfuseImage, staged: StagedBurns, held: HeldBack) -> BurnPlan:
    """Return the plan of the scripts' last burn: what is staged, and then what was held back.

    Raises as `plan_burns`.
    """
    if not held:
        return plan_burns(image, staged)
    plan_burns(held.over(image), staged)  # refuses what the script could not do behind a burned lock
    rest, held = hold_back(image, staged, held)
    first = plan_burns(image, rest)
    then = plan_burns(first.apply(image), held.as_staged())
    steps = tuple(step._replace(label=f"{step.label}, last") for step in then.steps)
    return BurnPlan(image.chip, first.steps + steps, first.forced + then.forced)
