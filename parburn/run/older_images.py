"""What an older ledger kept of its units' user blocks, without having meant to: the images of passed units.

Such an image has the blocks that the last job burned. It tells a unit's values where no other user block was
ever attempted. Opens no port and burns nothing.
"""

from __future__ import annotations

import json

from parburn.chips.model import Chip
from parburn.chips.registry import chip_named
from parburn.efuse.image import BlockNotRead, EfuseImage
from parburn.efuse.user_values import ValueRules, values_found
from parburn.errors import ParburnError
from parburn.ledger.learning import Learned, UnknownUnit
from parburn.ledger.run_ledger import RunLedger
from parburn.run.burns import named_values
from parburn.run.resume import DIGEST_MARK, user_record
from parburn.run.shared import SharedRun


async def take_over_kept(run: SharedRun, ledger: RunLedger) -> None:
    """Learn what the ledger kept of units whose values it does not know."""
    unknown = [one for one in await ledger.find_unknown() if one.image_passed]
    key = ledger.keyed_digest_key()
    learned = [found for one in unknown if (found := learned_from_image(run, one, key)) is not None]
    if learned:
        await ledger.learn_all(learned, "kept by the older ledger")


def learned_from_image(run: SharedRun, unit: UnknownUnit, key: bytes) -> Learned | None:
    """Return what the kept image tells of a unit; None where it does not tell all of its user blocks."""
    try:
        chip = run.extend(chip_named(unit.identity.chip))
    except ParburnError:  # a chip that this parburn, or a table that this run, does not know
        return None
    rules = run.value_rules(chip)
    blocks = {
        int(number): int(text, 16)
        for number, text in json.loads(unit.image_passed)["blocks"].items()
        if not text.startswith(DIGEST_MARK)
    }
    attempted = _attempted(chip, unit) & rules.blocks
    if unit.open or not attempted <= blocks.keys():
        return None
    image = EfuseImage(chip, {n: blocks.get(n, 0) for n in {0, *rules.blocks, *blocks}})
    return learned_of(unit, image, rules, key)


def learned_of(unit: UnknownUnit, image: EfuseImage, rules: ValueRules, key: bytes) -> Learned | None:
    """Return what a chip that holds this image has; None where the ledger kept other values of it."""
    try:
        found = values_found(image, rules)
    except BlockNotRead:  # a condition of a field looks at a block that nobody kept
        return None
    named = named_values(found)
    if any(named.get(name, value) != value for name, value in unit.named.items()):
        return None
    return Learned(unit, named, user_record(found, image, rules, key))


def _attempted(chip: Chip, unit: UnknownUnit) -> frozenset[int]:
    """Return the blocks that were ever about to be burned, by the labels of the steps."""
    names = {
        part.partition(" ")[0]
        for steps in unit.steps
        for label in json.loads(steps)
        for part in label.split("+")
    }
    return frozenset(block.index for block in chip.blocks if names & set(block.names))
