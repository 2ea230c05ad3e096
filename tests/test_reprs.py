"""Records that hold a key do not show it: they stand in tracebacks, logs and assertions."""

from __future__ import annotations

import pytest

from parburn.chips.model import RegisterWrite
from parburn.chips.registry import chip_named
from parburn.efuse.image import EfuseImage
from parburn.efuse.plan import plan_burns
from parburn.efuse.staged import StagedBurns
from parburn.efuse.user_values import Declared, Kind, Place, Written, rules_of, values_of
from parburn.events import TokenRead
from parburn.hardware.burst_frames import WriteRegs
from parburn.protocol.commands import GetSecurityInfo, ReadReg, Reply, Sync, WriteReg
from parburn.script.commands.keys import KeyOrder
from parburn.script.commands.token import Token
from parburn.script.session import ScriptOutcome
from tests.command_line.test_secrets import traces_of, words_of

KEY = bytes(range(0x81, 0xA1))
BITS = int.from_bytes(KEY, "little")
WORDS = [int.from_bytes(KEY[n : n + 4], "little") for n in range(0, 32, 4)]
CHIP = chip_named("esp32c3")
IMAGE = EfuseImage(CHIP, {**dict.fromkeys(range(len(CHIP.blocks)), 0), 5: BITS})


def staged() -> StagedBurns:
    """The key, asked for."""
    asked = StagedBurns()
    asked.add(4, BITS)
    return asked


@pytest.mark.parametrize(
    "record",
    [
        WriteRegs(tuple(RegisterWrite(4 * n, word) for n, word in enumerate(WORDS))),
        WriteReg(tuple((4 * n, word, 0xFFFF_FFFF, 0) for n, word in enumerate(WORDS))),
        Reply(0x0A, WORDS[0], KEY, 0, 0),
        KeyOrder("BLOCK_KEY0", KEY),
        Token("esp32c3", 3, (0, BITS)),
        TokenRead("/dev/ttyUSB0", KEY.hex()),
        IMAGE,
        staged(),
        plan_burns(IMAGE, staged()),
        ScriptOutcome(staged(), IMAGE, None, (), had_staged=True),
        values_of(
            IMAGE, [Written(Kind.KEY, Place(5, 0, 256), "BLOCK_KEY1")], rules_of(IMAGE.chip, Declared())
        )[0],
    ],
    ids=lambda record: type(record).__name__,
)
def test_a_repr_shows_no_key(record: object) -> None:
    shown = repr(record).encode()
    assert type(record).__name__.encode() in shown
    assert not [form for form in (*traces_of(KEY), *words_of(KEY)) if form in shown]
    assert not [word for word in WORDS if str(word).encode() in shown]


def test_commands_without_content_are_told_apart() -> None:
    """As named tuples they would both be the empty tuple."""
    assert len({Sync(), GetSecurityInfo(), ReadReg(5)}) == 3
    assert Sync() == Sync()
