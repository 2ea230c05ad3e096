"""Short campaigns that each press on one rule, by the mutation of our own safety that each must show, and
those that press without one.

Without the mutation such a campaign holds; with it the checker must find something.
"""

from __future__ import annotations

from collections.abc import Mapping

from tests.soak.bench import Made
from tests.soak.campaign import CHIPS, MIXED, Theme
from tests.soak.identity.campaign import IDENTITY, IdentityTheme
from tests.soak.jobs import Work

_RS = (Made("esp32c3"), Made("esp32s3"))
_WHOLE = Work()
_STEPWISE = Work(burns=(True, True, False), hidden_key=False)


def _theme(*kinds: str, kills: float, faults: float = 0.0, **more: object) -> Theme:
    settings = {"boards": (6, 8), "seats": (6, 8), "runs": (2, 2), "chips": _RS, "work": _WHOLE} | more
    return Theme(kinds=kinds, fault_share=faults, kill_share=kills, **settings)  # type: ignore[arg-type]  # mixed


# by mutation: the campaign that must see it
PRESSING: Mapping[str, Theme] = {
    "no read-back of the programming registers": _theme("flipped to the chip", kills=0.0, faults=0.8),
    "no re-identification": _theme("swap", "swap new", kills=0.0, faults=0.7, runs=(3, 3)),
    "BURN_ATTEMPTED after PGM": _theme(kills=1.0, runs=(3, 3), kill_frames=(90, 200)),
    "no resume image": _theme(kills=1.0, work=_STEPWISE, kill_frames=(120, 230)),
    "no unique values": _theme(kills=0.0, doubled_records=True),
    "no barrier": _theme(kills=0.0, twins=True),
    "no exact verify": _theme("dead bit", "leaking bit", kills=0.0, faults=0.7),
}

# Commands to the eFuse controller that break off in the middle, on the line and by the death of the process.
# The key comes second: its registers are then staged without the timing, whose masks would hide a stale one.
CUT_COMMANDS = _theme(
    "lost tail of a command",
    kills=0.4, faults=0.8, boards=(10, 14), seats=(10, 14), runs=(3, 4), chips=CHIPS,
    work=Work(burns=(True, False, False)), powered_share=0.8, unreset_share=0.9,
)  # fmt: skip
THEMES: Mapping[str, Theme | IdentityTheme] = {
    **PRESSING, "cut commands": CUT_COMMANDS, "faults": MIXED, "identity": IDENTITY,
}  # fmt: skip
