"""Short campaigns that each press on one rule, by the mutation of our own safety that each must show, and
those that press without one.

Without the mutation such a campaign holds; with it the checker must find something.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from tests.soak.bench import Made
from tests.soak.campaign import CHIPS, MIXED, Theme
from tests.soak.identity.campaign import IDENTITY, UNCODED, IdentityTheme
from tests.soak.identity.product import Product
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


def _identity(*steps: str, product: Product, **more: object) -> IdentityTheme:
    """Runs that are not disturbed, of lines with one product, but for what `more` says."""
    settings = {
        "kinds": (), "fault_share": 0.0, "kill_share": 0.0, "boards": (5, 7), "seats": (3, 5), "runs": (3, 5),
        "chips": _RS, "forms": ("json object", "csv index"), "two_files": 0.0, "content_share": 0.0,
        "doubled_share": 0.0, "hasty_share": 1.0, "sure_end": False,
    } | more  # fmt: skip
    return IdentityTheme(tuple((step, 1.0) for step in steps), product=product, **settings)  # type: ignore[arg-type]


_FLAG = Product(serial="flag")  # nothing but the record tells whose a chip is
_MAC = Product(mac="command")
_MAC_AND_KEY = Product(mac="command", key="own", hidden=True, burns=True)

# by mutation: the campaign that must see it
PRESSING_IDENTITY: Mapping[str, IdentityTheme] = {
    "foreign records not compared": _identity("run", "other", product=_FLAG, shared=(6, 10)),
    "no look at what passed": _identity("run", product=_MAC, twins=True, boards=(2, 3), seats=(2, 3),
                                        done_share=0.5),
    "no refusal of another chip": _identity(
        "run", product=_MAC_AND_KEY, twins=True, boards=(1, 2), seats=(2, 3), runs=(4, 6), kill_share=0.6,
        kills=("packet",),
    ),
    "keys left in registers": _identity(
        "prompt", product=Product(serial="flag", key="own", hidden=True), shared=(0, 0), boards=(2, 2),
        seats=(2, 2), runs=(1, 1), answers=("BURN",), powered_share=1.0,
    ),
    "locks before their record": _identity(
        "run", product=Product(mac="command", key="own", hidden=True), kill_share=1.0, kills=("ledger",),
        ledger_kills=("stalls",), boards=(3, 4), seats=(2, 3), sure_end=True,
    ),
    "PASS for boards that are not whole": _identity(
        "run", product=_MAC_AND_KEY, kinds=("cut", "unplugged", "brown-out"), fault_share=0.6,
    ),
    "chips of other batches taken": _identity(
        "run", "other", product=_FLAG, chips=(UNCODED,), shared=(1, 1), done_share=0.6, boards=(4, 5),
    ),
    "records guessed by place": _identity("undeclared", "run", product=_MAC),
    "values compared by name only": _identity("run", product=Product(serial="bits", tabled=False),
                                              doubled_share=1.0),
    "MACs compared within one kind": _identity(
        "run", product=_MAC, chips=(UNCODED, *_RS), doubled_share=1.0,
    ),
    "no compare at the attempt": _identity(
        "prompt", product=_FLAG, shared=(0, 0), boards=(4, 4), seats=(4, 4), runs=(1, 2), answers=("BURN",),
    ),
    "found values do not bind": _identity(
        "run", product=Product(serial="efuse", guarded=True), content_share=0.5, contents=("whole",),
        boards=(8, 10), seats=(4, 6),
    ),
    "subset instead of equal": _identity(
        "run", product=Product(mac="command", counter=True), content_share=0.4, contents=("counter",),
    ),
    "locks over other content": _identity(
        "run", product=Product(key="own"), content_share=0.4, contents=("key",),
    ),
    "an assigned index": _identity("run", product=Product(serial="flag", odd="assigned")),
    "modules shared by boards": _identity("run", product=Product(serial="flag", odd="kept")),
    "PASS for changed inputs": _identity(
        "run", "week", product=Product(serial="efuse", week="file"), done_share=0.5,
    ),
    "a nested index": _identity("run", product=Product(serial="flag", nested="fixed")),
}  # fmt: skip
PRESSING_CUT: Mapping[str, Theme] = {
    "no block number in the program command": CUT_COMMANDS,
    "no harmless read behind a poll": replace(
        CUT_COMMANDS, kinds=("lost tail of CONF",), chips=_RS, kill_share=0.0
    ),
    "the op code stays in CONF": CUT_COMMANDS,
}
EVERY_RULE: Mapping[str, Theme | IdentityTheme] = {**PRESSING, **PRESSING_IDENTITY, **PRESSING_CUT}
THEMES: Mapping[str, Theme | IdentityTheme] = {
    **EVERY_RULE, "cut commands": CUT_COMMANDS, "faults": MIXED, "identity": IDENTITY,
}  # fmt: skip
