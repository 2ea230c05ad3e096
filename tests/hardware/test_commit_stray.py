"""Pulses that nobody planned, beside a planned one or in its place: what a commit makes of them.

The faults here are done on the chip: what stands in the programming registers burns into another block, and
an answer is lost, as where a frame was cut on its way. The rules are those of `efuse.stray`, tested there.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import pytest

from parburn.efuse.image import EfuseImage
from parburn.efuse.staged import StagedBurns
from parburn.efuse.staging import stage_custom_mac, stage_field, stage_key
from parburn.errors import BoardSwapped, ParburnError, PartialBurn, VerifyFailed
from parburn.hardware.commit import commit
from parburn.sim.board import SimulatedBoard
from parburn.sim.efuse_memory import EfuseMemory
from parburn.sim.fault import Fault, Faults
from parburn.sim.faults import parse_faults
from tests.hardware.commit_bench import (
    CUSTOM_MAC,
    KEY,
    Book,
    Stage,
    board_named,
    connected,
    in_virtual_time,
    one_field,
    plan_for,
    true_bits,
    wanted_bits,
)

NEVER = 1 << 30


class Astray(Fault):
    """Program pulse `program` burns block `other` as well, or `instead`; answers number `lost`, counted from
    that pulse on, do not arrive."""

    def __init__(
        self, program: int, other: int, *, lost: Sequence[int] = (1,), instead: bool = False
    ) -> None:
        super().__init__("a pulse goes astray", random.Random(0))
        self.program, self.other, self.lost, self.instead = program, other, lost, instead
        self.answered = -NEVER

    def burned(self, memory: EfuseMemory, index: int, cells: int, program: int) -> int:
        if program != self.program:
            return cells
        self.fired, self.answered = 1, 0
        pattern = cells if index else cells & memory.chip.blocks[0].mask
        if self.other != index:
            memory.set_cells(self.other, memory.allowed(self.other, pattern))
        return 0 if self.instead else cells

    def to_host(self, data: bytes, start: int) -> tuple[bytes, float]:
        self.answered += 1
        return b"" if self.answered in self.lost else data, 0.0


@dataclass
class Trial:
    """One commit with a stray pulse, and what came of it."""

    board: SimulatedBoard
    error: ParburnError | None
    book: Book
    whole: bool
    told: list[str] = field(default_factory=list)


def harmless(image: EfuseImage) -> bytes:
    """A key that ends no link, hides and locks nothing where it lands in BLOCK0."""
    chip, bits = image.chip, int.from_bytes(KEY, "little")
    for one in ("WR_DIS", "RD_DIS", *(end.field for end in chip.link_ends)):
        bits &= ~chip.field_by_name[one][0].mask
    return bits.to_bytes(32, "little")


def key_and_bit(image: EfuseImage, staged: StagedBurns) -> None:
    """A custom MAC, a key with its locks, and bits of BLOCK0."""
    stage_custom_mac(image, staged, CUSTOM_MAC)
    block = image.chip.block_by_name["BLOCK_KEY0"]
    stage_key(image, staged, block, harmless(image), "USER", write_protect=True, read_protect=False)
    stage_field(image, staged, image.field_named("DIS_DOWNLOAD_ICACHE"), 1)


def doubting(fault: Fault, same_board: Callable[[Sequence[int]], None]) -> Callable[[Sequence[int]], None]:
    """The look at the identity, which finds another once after the pulse."""
    doubts: list[int] = []

    def look(values: Sequence[int]) -> None:
        if fault.fired and not doubts:
            doubts.append(1)
            raise BoardSwapped("a damaged answer")
        same_board(values)

    return look


async def stray(
    fault: Astray,
    *,
    stage: Stage = key_and_bit,
    held: dict[int, int] | None = None,
    read: Sequence[int] = (0, 1, 3, 4),
    damage: Sequence[str] = (),
    doubted: bool = False,
) -> Trial:
    """Commit on a C3 of which only some blocks were read, under the fault; `held` is there before.

    `damage`: what else goes wrong; its bytes count from the commit on. `doubted`: the first reading of the
    identity after the pulse is another chip's.
    """
    board = board_named("esp32c3")
    for index, bits in (held or {}).items():
        board.memory.preset(index, bits)
    board.controller.load()
    device = await connected(board, blocks=read)
    plan, before, book = plan_for(device, stage), true_bits(board), Book()
    board.received = board.sent = board.packets = 0
    faults = Faults([fault, *parse_faults(damage, board=0, seed=7).all])
    board.faults = board.controller.faults = faults
    told: list[str] = []
    error = None
    try:
        hooks = book.hooks(device)._replace(told=told.append)
        if doubted:
            hooks = hooks._replace(same_board=doubting(fault, hooks.same_board))
        await commit(plan, device.controller, device.image, hooks)
    except ParburnError as caught:
        error = caught
    await device.rom.aclose()
    assert fault.fired
    return Trial(board, error, book, true_bits(board) == wanted_bits(plan, before), told)


def condemned(found: Trial, *words: str) -> None:
    """The chip is given up for what its error says, without a word of the key."""
    assert isinstance(found.error, VerifyFailed), found.error
    assert found.error.permanent
    assert "must not ship" in found.error.hint
    for word in words:
        assert word in str(found.error)
    shown = f"{found.error!r} {found.told}"
    assert not any(f"{a:02x}{b:02x}" in shown.lower() for a, b in pairwise(KEY))


KEY2, KEY5 = 6, 9


@pytest.mark.parametrize("instead", [False, True])
@pytest.mark.parametrize("other", [KEY2, 10])
def test_a_key_in_a_block_that_nobody_had_read_is_found_and_named(other: int, instead: bool) -> None:
    found = in_virtual_time(stray(Astray(1, other, instead=instead)))
    condemned(found, found.board.chip.blocks[other].name, "staged for BLOCK_KEY0")
    assert found.board.controller.programs == 1
    assert found.book.burned == []


@pytest.mark.parametrize("other", [1, 2])
def test_a_pulse_into_the_identity_is_not_taken_for_another_board(other: int) -> None:
    """The MAC stands in one, the unique id in the other; whoever answers has all bits that ours had."""
    found = in_virtual_time(stray(Astray(1, other)))
    condemned(found, found.board.chip.blocks[other].name, "nobody asked for", "its identity")
    assert found.board.controller.programs == 1


def test_a_pulse_that_missed_its_block_is_not_repeated_before_all_blocks_are_read() -> None:
    """No answer is lost here: a number that was damaged on its way shows only by what is missing."""
    found = in_virtual_time(stray(Astray(1, KEY2, lost=(), instead=True)))
    condemned(found, "BLOCK_KEY2")
    assert found.board.controller.programs == 1


def test_an_answer_that_had_to_be_asked_for_again_is_damage_too() -> None:
    found = in_virtual_time(stray(Astray(1, KEY2, lost=()), doubted=True))
    condemned(found, "BLOCK_KEY2")
    assert found.board.controller.programs == 1


def test_a_key_in_block0_is_found_and_named() -> None:
    found = in_virtual_time(stray(Astray(1, 0)))
    condemned(found, "BLOCK0 has", "nobody asked for")
    assert found.board.controller.programs == 1


def test_a_key_in_a_block_that_was_read_is_found_and_named() -> None:
    every = range(11)
    condemned(in_virtual_time(stray(Astray(1, KEY5), read=every)), "BLOCK_KEY5 has")


def test_data_of_block0_in_a_key_block_is_found_and_named() -> None:
    def stage(image: EfuseImage, staged: StagedBurns) -> None:
        for name, bits in (("DIS_DOWNLOAD_ICACHE", 1), ("SECURE_VERSION", 0x101), ("KEY_PURPOSE_3", 5)):
            stage_field(image, staged, image.field_named(name), bits)

    condemned(in_virtual_time(stray(Astray(1, KEY5), stage=stage)), "BLOCK_KEY5", "staged for BLOCK0")


@pytest.mark.parametrize("lost", [(1, 40), (1, 40, 80, 120, 160)])
def test_a_commit_that_breaks_off_looks_once_more(lost: Sequence[int]) -> None:
    """The reading of all blocks was damaged too."""
    found = in_virtual_time(stray(Astray(1, KEY2, lost=lost)))
    if len(lost) == 2:
        condemned(found, "BLOCK_KEY2")
    else:
        assert isinstance(found.error, PartialBurn | VerifyFailed)


def test_a_later_step_s_stray_pulse_is_found_too() -> None:
    for program in (1, 2):
        fault = Astray(program, KEY5)
        found = in_virtual_time(stray(fault, stage=two_keys, read=(0, 1, 4, 5)))
        condemned(found, "BLOCK_KEY5", f"staged for BLOCK_KEY{2 - program}")
        assert len(found.book.burned) == program - 1


def two_keys(image: EfuseImage, staged: StagedBurns) -> None:
    """Two keys; the higher block comes first."""
    for name, key in (("BLOCK_KEY0", harmless(image)), ("BLOCK_KEY1", harmless(image)[::-1])):
        block = image.chip.block_by_name[name]
        stage_key(image, staged, block, key, "USER", write_protect=False, read_protect=False)


# --- good boards


def test_a_lost_answer_alone_condemns_no_board_and_tells_what_was_never_read() -> None:
    content = random.Random(5).getrandbits(256)
    found = in_virtual_time(stray(Astray(1, 4), held={KEY5: content, 8: 1}))
    assert found.error is None
    assert found.whole
    (sentence,) = found.told
    for name in ("BLOCK_SYS_DATA", "BLOCK_KEY4", "BLOCK_KEY5"):
        assert name in sentence
    assert "BLOCK_KEY0" not in sentence
    assert f"{content:x}"[:8] not in sentence


def test_one_damaged_byte_while_all_blocks_are_read_condemns_no_board() -> None:
    async def job() -> list[str]:
        words = []
        for byte in range(900, 5000, 53):
            found = await stray(Astray(1, 4), damage=[f"byte {byte} to the host is flipped in bit 2"])
            assert not isinstance(found.error, VerifyFailed), f"byte {byte}: {found.error}"
            words.append("pass" if found.error is None else type(found.error).__name__)
        return words

    words = in_virtual_time(job())
    assert words.count("pass") > len(words) * 3 // 4


def test_a_single_bit_from_the_factory_is_not_the_step_s() -> None:
    name = "DIS_DOWNLOAD_ICACHE"

    async def job() -> None:
        at = board_named("esp32c3").chip.field_by_name[name][0].start or 0
        found = await stray(Astray(1, 0), stage=one_field(name), held={KEY5: 1 << at})
        assert found.error is None
        assert found.whole
        assert "BLOCK_KEY5" in found.told[0]

    in_virtual_time(job())


def test_nothing_is_told_where_nothing_went_wrong() -> None:
    found = in_virtual_time(stray(Astray(1, 4, lost=()), held={KEY5: 1}))
    assert found.error is None
    assert found.told == []
