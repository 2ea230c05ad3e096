"""What a burn puts in, as a record tells it: values and flags, no masks, no keys."""

from __future__ import annotations

from parburn.efuse.planned_values import KEY
from parburn.efuse.user_values import NOT_SHOWN, Place, Take, UserValue
from parburn.events import PlannedBlock
from parburn.run.burned_values import burned_values

PLACES = (Place(4, 0, 256),)
FOUND = [
    UserValue("BLOCK_KEY0", PLACES, 7, "0x7", Take.KEY, secret=True, is_key=True),
    UserValue("HIDDEN", PLACES, 7, NOT_SHOWN, Take.OWN, secret=True),
    UserValue("SERIAL", PLACES, 7, "7", Take.SAME, secret=False),
]
PLANNED = (
    PlannedBlock("BLOCK_KEY0", 131, ("BLOCK_KEY0",), False, values=(("BLOCK_KEY0", KEY),)),
    PlannedBlock("BLOCK3", 3, ("SERIAL",), False, values=(("SERIAL", "7"), ("HIDDEN", ""))),
    PlannedBlock(
        "BLOCK0", 3, ("DIS_PAD_JTAG", "KEY_PURPOSE_0"), False,
        values=(("DIS_PAD_JTAG", "1"), ("KEY_PURPOSE_0", "USER"), ("WR_DIS", "0x100"), ("RD_DIS", "0x1")),
    ),
)  # fmt: skip


def test_what_is_told_has_no_key_and_no_mask() -> None:
    assert burned_values(PLANNED, FOUND) == {"SERIAL": "7", "DIS_PAD_JTAG": "1", "KEY_PURPOSE_0": "USER"}


def test_what_is_there_already_is_told_too() -> None:
    assert burned_values((), FOUND) == {"SERIAL": "7"}
