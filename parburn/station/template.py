"""The plan template: what an armed job may burn, and what must stand in the chip where a plan lacks it. Pure.

It is made from a rehearsal. For each kind of chip it holds *variants*: the different shapes that records gave
(`station.shapes`). In a variant each thing is fixed to the value that all its records gave, or free where
rehearsal saw it differ: between records, or between chips. Of a fixed thing that may be a key only a digest
is held, keyed by the ledger.

A real plan is made for a chip that may hold some of it already, since plans leave out what is there. So both
are looked at: the plan asks for nothing that the variant does not have, and plan and chip together hold all
of it, bit for bit, locks and purposes included.
"""

from __future__ import annotations

import hmac
from collections.abc import Collection, Mapping
from typing import NamedTuple

from parburn.chips.model import Chip
from parburn.efuse.image import EfuseImage
from parburn.efuse.layout import ENDS_ANSWERS, layout_of
from parburn.efuse.plan import BurnPlan
from parburn.station.shapes import StepShape, Thing, Value, kept


class Fixed(NamedTuple):
    """What a thing holds on all units. `bits`, or of what may be a key `digest` in hex."""

    bits: int | None
    digest: str = ""


class Free(NamedTuple):
    """A value that differs from unit to unit. `may_be_zero`: rehearsal saw one that burns nothing."""

    may_be_zero: bool


class Part(NamedTuple):
    """A thing of a burn, and what it may hold."""

    thing: Thing
    holds: Fixed | Free


class TemplateBurn(NamedTuple):
    """One burn of a variant."""

    parts: tuple[Part, ...]
    steps: tuple[StepShape, ...]
    forced: tuple[str, ...]


class Variant(NamedTuple):
    """One of the different plans that rehearsal saw. `records` and `first` are for people."""

    burns: tuple[TemplateBurn, ...]
    records: int = 0
    first: int = 0

    def __repr__(self) -> str:
        return f"Variant({len(self.burns)} burns, {self.records} records)"


class PlanTemplate(NamedTuple):
    """The variants of each kind of chip."""

    chips: Mapping[str, tuple[Variant, ...]]

    def fitting(
        self,
        chip: Chip,
        burn: int,
        plan: BurnPlan,
        image: EfuseImage,
        *,
        digest_key: bytes,
        verified_blocks: Collection[int] = (),
        last: bool = False,
        among: Collection[int] | None = None,
    ) -> tuple[frozenset[int], str | None]:
        """Return the variants of this chip that a plan fits, by number, and why it fits none, as a sentence.

        Args:
            chip: What the board has.
            burn: Which burn of the scripts it is, from 1. Those that asked for nothing need not be counted.
            plan: What would be burned. It may be empty: then all must stand in the chip.
            image: The chip as the scripts saw it when they asked: before the first open attempt where the
                unit was begun before. All blocks that the template names should be in it.
            digest_key: The ledger's key for digests.
            verified_blocks: Blocks that the ledger recorded as verified, or that this run has burned and
                verified: what read protection hides counts as there only in these.
            last: The scripts have ended with it: nothing of the template may be left for later.
            among: A board is of one variant in all its burns. Those that its burns so far have left; None
                before the first.
        """
        variants = self.chips.get(chip.name)
        if variants is None:
            return frozenset(), f"the job is not armed for {chip.title}"
        wrong = _disorder(plan)
        if wrong:
            return frozenset(), wrong
        seen = _Seen(plan, image, digest_key, frozenset(verified_blocks))
        fits: set[int] = set()
        faults: list[Fault] = []
        for number, variant in enumerate(variants):
            fault = _of_variant(variant, burn, seen, last)
            if fault is None and among is not None and number not in among:
                fault = 0, f"burn {burn} is one of other records than the burns before it"
            if fault is None:
                fits.add(number)
            else:
                faults.append(fault)
        return frozenset(fits), None if fits else min(faults, key=lambda one: one[0])[1]

    def blocks(self, chip: str) -> frozenset[int]:
        """Return the blocks that an image must have to be compared with this template: BLOCK0 is one."""
        variants = self.chips.get(chip, ())
        found = {part.thing.block for v in variants for burn in v.burns for part in burn.parts}
        return frozenset({0, *found})


def fixed(value: Value, digest_key: bytes) -> Fixed:
    """Return what is held of a value that all units have: of what may be a key only a keyed digest."""
    if isinstance(value, int):
        return Fixed(value)
    return Fixed(None, hmac.digest(digest_key, b"armed " + value, "sha256").hex())


class _Seen(NamedTuple):
    """A plan and the chip that it was made for."""

    plan: BurnPlan
    image: EfuseImage
    digest_key: bytes
    verified: frozenset[int]

    def asked(self, block: int) -> int:
        """Return the bits that the plan burns anew. What is burned again, to repair it, stands there."""
        bits = 0
        for step in self.plan.steps:
            for write in step.writes:
                if write.block.index == block:
                    bits |= write.want & ~(self.image.block(block) if write.again else 0)
        return bits

    def then(self, block: int) -> int:
        """Return what the block holds after the burn, as far as it can be read."""
        return self.image.blocks.get(block, 0) | self.plan.want(block)

    def hidden(self, block: int) -> int:
        """Return the bits of a block that the chip's read protection hides."""
        layout = layout_of(self.image.chip)
        return layout.hidden(block, self.image.field_bits(layout.rd_dis))


Fault = tuple[int, str]  # how far from a variant, and the sentence


def _of_variant(variant: Variant, burn: int, seen: _Seen, last: bool) -> Fault | None:
    """Return how a plan differs from a variant.

    Scripts that find a burn's content in the chip do not ask for that burn: so it may be a later one, where
    all before it stands in the chip.
    """
    faults: list[Fault] = []
    for number in range(burn, len(variant.burns) + 1):
        fault = _of_burn(variant, number, seen, last)
        if fault is None:
            return None
        faults.append(fault)
    if faults:
        return min(faults, key=lambda one: one[0])
    if not seen.plan:
        return _lacking(variant.burns, seen, len(variant.burns))
    names = _names(seen, {block: seen.asked(block) for block in _blocks(seen.plan)})
    return 1000, f"the scripts ask for burn {burn}, {names}: the armed job has {_counted(variant)}"


def _counted(variant: Variant) -> str:
    count = len(variant.burns)
    return f"{count} burn{'' if count == 1 else 's'}"


def _of_burn(variant: Variant, number: int, seen: _Seen, last: bool) -> Fault | None:
    burn = variant.burns[number - 1]
    more = {block: seen.asked(block) & ~_allowed(burn, block) for block in _blocks(seen.plan)}
    count = sum(bits.bit_count() for bits in more.values())
    if count:
        return count, f"burn {number} asks for {_names(seen, more)}, which the armed job does not burn"
    forced = [reason for reason in seen.plan.forced if reason not in burn.forced]
    if forced:
        return 1, f"the burn is forced where it was not in rehearsal: {forced[0]}"
    until = len(variant.burns) if last else number
    return _lacking(variant.burns[:until], seen, number)


def _allowed(burn: TemplateBurn, block: int) -> int:
    """Return the bits of a block that a burn may ask for."""
    bits = 0
    for thing, holds in burn.parts:
        if thing.block == block:
            known = holds.bits if isinstance(holds, Fixed) else None
            bits |= thing.mask if known is None else known
    return bits


def _lacking(burns: tuple[TemplateBurn, ...], seen: _Seen, number: int) -> Fault | None:
    """Return what of these burns neither the chip nor the plan has, or has otherwise."""
    later: dict[int, int] = {}  # what burns behind the one that is looked at ask for, by block
    for burn in reversed(burns):
        for part in burn.parts:
            grown = bool(later.get(part.thing.block, 0) & part.thing.mask)
            fault = _fault_of(part, seen, number, grown=grown)
            if fault is not None:
                return fault
        for thing, _ in burn.parts:
            if thing.whole:
                later[thing.block] = later.get(thing.block, 0) | thing.mask
    return None


def _fault_of(part: Part, seen: _Seen, number: int, *, grown: bool) -> Fault | None:
    thing, holds = part
    if thing.mask & seen.hidden(thing.block):
        if thing.block in seen.verified and not thing.mask & seen.plan.want(thing.block):
            return None
        return 1, (
            f"burn {number}: {thing.name} cannot be read, and no record says that it was verified before"
        )
    have = seen.then(thing.block) & thing.mask
    if isinstance(holds, Free):
        if have or holds.may_be_zero:
            return None
        return thing.mask.bit_count(), f"burn {number} has no value for {thing.name}, and the chip has none"
    if holds.bits is None:
        if grown or fixed(kept(have, secret=True), seen.digest_key) == holds:
            return None
        return 2, f"burn {number}: {thing.name} is not the one that the armed job burns on all units"
    lacking = holds.bits & ~have
    if lacking:
        name = _names(seen, {thing.block: lacking}) if thing.block == 0 else thing.name
        told = f"burn {number} lacks bits of {name} that the armed job burns, and the chip has not got them"
        return lacking.bit_count(), told
    if thing.whole and not grown and have != holds.bits:
        return 1, f"burn {number}: {thing.name} would hold another value than the armed job burns"
    return None


def _blocks(plan: BurnPlan) -> tuple[int, ...]:
    return tuple(dict.fromkeys(write.block.index for step in plan.steps for write in step.writes))


def _names(seen: _Seen, bits: Mapping[int, int]) -> str:
    layout = layout_of(seen.image.chip)
    names = (
        name
        for block, some in bits.items()
        if some
        for name in layout.names(block, some) or (layout.blocks[block].name,)
    )
    return ", ".join(dict.fromkeys(names)) or "nothing"


def _disorder(plan: BurnPlan) -> str | None:
    """Return what is wrong with the order of a plan's steps: locks and ends of the link come last."""
    layout = layout_of(plan.chip)
    locked = ended = False
    for step in plan.steps:
        bits = sum(write.want for write in step.writes if write.block.index == 0 and not write.again)
        others = any(write.block.index != 0 for write in step.writes)
        if ended or (locked and others):
            return f"{step.label} would be burned behind what locks or cuts off"
        if bits & layout.locks and not step.locks:
            return f"{step.label} would be burned as if it locked nothing"
        locked = locked or bool(bits & layout.locks)
        ended = step.ends_link in ENDS_ANSWERS
    return None
