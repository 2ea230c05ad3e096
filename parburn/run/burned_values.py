"""What a burn puts into a chip, as people read it in a record: names and values. Pure; never of a key."""

from __future__ import annotations

from collections.abc import Collection
from functools import lru_cache, reduce
from operator import or_

from parburn.chips.model import Chip, Field
from parburn.efuse import values
from parburn.efuse.image import EfuseImage
from parburn.efuse.layout import RD_DIS, WR_DIS, layout_of
from parburn.efuse.plan import BurnPlan
from parburn.efuse.user_values import NOT_SHOWN, UserValue

MASKS = (RD_DIS, WR_DIS)  # many bits of many fields: the plan names what they lock


def burned_values(plan: BurnPlan, before: EfuseImage, found: Collection[UserValue]) -> dict[str, str]:
    """Return what the chip holds after a burn, by name: user values, then the fields of BLOCK0.

    Args:
        plan: What is burned. Empty: only what was found there already is told.
        before: What the script saw, the blocks of the plan among it.
        found: The user values that the scripts asked for, as they are after it.
    """
    told = {value.name: value.shown for value in found if not value.is_key and value.shown != NOT_SHOWN}
    return told | _flags(plan, before)


def _flags(plan: BurnPlan, before: EfuseImage) -> dict[str, str]:
    want = plan.want(0)
    return _texts(plan.chip, want, before.block(0) & _beside(plan.chip, want)) if want else {}


@lru_cache(1024)  # board after board gets the same bits
def _texts(chip: Chip, want: int, before: int) -> dict[str, str]:
    after = EfuseImage(chip, {0: before | want})
    return {field.name: _shown(values.get(after, field)) for field in _fields(chip, want)}


@lru_cache(1024)
def _beside(chip: Chip, want: int) -> int:
    """Return all bits of the fields that have any of `want`."""
    return reduce(or_, (field.mask for field in _fields(chip, want)), 0)


def _fields(chip: Chip, want: int) -> list[Field]:
    return [f for mask, f in layout_of(chip).fields[0] if mask & want and f.name not in MASKS]


def _shown(value: object) -> str:
    """Return a value as a script writes it: a single bit is 1."""
    return str(int(value) if isinstance(value, bool) else value).partition(" (")[0]
