"""What a burn puts into a chip, as people read it in a record: names and values. Pure; never of a key."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from parburn.efuse.layout import RD_DIS, WR_DIS
from parburn.efuse.planned_values import KEY
from parburn.efuse.user_values import NOT_SHOWN, UserValue
from parburn.events import PlannedBlock

MASKS = (RD_DIS, WR_DIS)  # many bits of many fields: the plan names what they lock


def burned_values(blocks: Sequence[PlannedBlock], found: Collection[UserValue]) -> dict[str, str]:
    """Return what the chip holds after a burn, by name: user values, then the fields of BLOCK0.

    Args:
        blocks: The plan with its values. Empty: only what was found there already is told.
        found: The user values that the scripts asked for, as they are after it.
    """
    told = {value.name: value.shown for value in found if not value.is_key and value.shown != NOT_SHOWN}
    planned = [pair for row in blocks for pair in row.values]
    return told | {name: text for name, text in planned if text not in ("", KEY) and name not in MASKS}
