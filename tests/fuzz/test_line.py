"""Hostile lines: whatever they carry, it ends in the right answer or in our error, and never in a burn."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parburn.errors import GarbledAnswer, ParburnError
from parburn.hardware.burst_frames import ReadRegs
from parburn.hardware.identify import Device, identify
from parburn.hardware.rom_loader import RomLoader
from parburn.protocol import commands
from parburn.protocol.loader import LoaderProtocol
from parburn.protocol.slip import LONGEST_FRAME, SlipDecoder, encode
from parburn.sim.board import SimulatedBoard
from parburn.sim.efuse_controller import ProgramPulse
from tests.fuzz.fuzzing import CHIPS, damaged, examples
from tests.hardware.commit_bench import BoardStream, in_virtual_time, true_bits
from tests.hardware.test_rom_loader import MemoryStream
from tests.protocol.fake_rom import FakeRom
from tests.sim.boards import MAC, make_board

pytestmark = pytest.mark.usefixtures("no_hang")

VIRTUAL_HANG_S = 120.0  # of virtual time, for one conversation
HOSTILE = st.lists(
    st.one_of(
        st.binary(max_size=40),
        st.sampled_from([b"\xc0", b"\xdb", b"\xdb\xdc", b"\xc0\x01\x0a", b"x" * (LONGEST_FRAME + 1)]),
        st.builds(
            lambda opcode, rest: encode(b"\x01" + bytes([opcode]) + rest),
            st.sampled_from([8, 9, 10, 15, 20]),
            st.binary(max_size=24),
        ),
        st.builds(
            lambda opcode, value, status: encode(
                bytes([1, opcode, 4, 0]) + value.to_bytes(4, "little") + bytes([*status, 0, 0])
            ),
            st.sampled_from([8, 9, 10, 15, 20]),
            st.integers(0, 2**32 - 1),
            st.sampled_from([(0, 0), (1, 5), (1, 6)]),
        ),
    ),
    max_size=30,
)


def chunks_of(data: bytes, rng: random.Random) -> Iterator[bytes]:
    """The same bytes as a line may bring them."""
    while data:
        size = rng.choice((1, 2, 14, 100, 10_000))
        yield data[:size]
        data = data[size:]


@examples(150)
@given(pieces=HOSTILE, seed=st.integers(0, 2**32))
def test_the_decoder_gives_the_same_frames_however_they_are_cut(pieces: list[bytes], seed: int) -> None:
    data = b"".join(pieces)
    decoder = SlipDecoder()
    frames = [frame for chunk in chunks_of(data, random.Random(seed)) for frame in decoder.feed(chunk)]
    assert all(frame is None or frame for frame in frames)
    assert len(decoder.tail) <= LONGEST_FRAME
    if len(data) <= LONGEST_FRAME:
        assert frames == SlipDecoder().feed(data)


@examples(200)
@given(
    pieces=HOSTILE,
    seed=st.integers(0, 2**32),
    opcodes=st.lists(st.sampled_from([8, 9, 10, 15, 20]), max_size=12),
    watched=st.booleans(),
    syncing=st.booleans(),
)
def test_the_protocol_raises_nothing_but_garbled_answer(
    pieces: list[bytes], seed: int, opcodes: list[int], watched: bool, syncing: bool
) -> None:
    protocol = LoaderProtocol()
    seen: list[bytes | None] = []
    if watched:
        protocol.observer = lambda request, answer: seen.append(answer)
    if syncing:
        protocol.begin_sync()
    else:
        protocol.begin([encode(bytes([0, one])) for one in opcodes], bytes(opcodes))
    try:
        for chunk in chunks_of(b"".join(pieces), random.Random(seed)):
            protocol.data_to_send()
            protocol.receive_data(chunk)
    except GarbledAnswer:
        protocol.forget()
        protocol.receive_data(b"".join(pieces))
        return
    assert 0 <= protocol.answered <= protocol.asked
    assert len(protocol.values) == opcodes[: protocol.answered].count(commands.READ_REG) * (not syncing)


async def in_time(work: Callable[[], Any]) -> Any:
    """Within its deadline; every error but ours goes on."""
    async with asyncio.timeout(VIRTUAL_HANG_S):
        try:
            return await work()
        except ParburnError as error:
            return error


def every_block(found: Any) -> Sequence[int]:
    return [block.index for block in found.blocks]


async def identified(rom: RomLoader) -> Device:
    return await identify(rom, wanted="auto", blocks=every_block, extend=lambda one: one)


def opcodes_sent(written: Sequence[bytes]) -> set[int]:
    return {frame[1] for frame in SlipDecoder().feed(b"".join(written)) if frame and len(frame) > 1}


@examples(80)
@given(answers=st.lists(HOSTILE.map(b"".join), min_size=1, max_size=6), chunk=st.sampled_from([1, 5, 1000]))
def test_a_chip_that_answers_nonsense_ends_in_our_error(answers: list[bytes], chunk: int) -> None:
    left = list(answers)

    async def work() -> None:
        stream = MemoryStream(lambda data: left.pop(0) if left else b"", chunk=chunk)
        loader = RomLoader(stream)
        device = await in_time(lambda: identified(loader))
        assert isinstance(device, ParburnError)
        await in_time(loader.sync)
        values = await in_time(lambda: loader.burst(ReadRegs((0x60008800, 0x60008804))))
        assert isinstance(values, ParburnError) or len(values) == 2
        assert commands.WRITE_REG not in opcodes_sent(stream.written)

    in_virtual_time(work())


@examples(60)
@given(seed=st.integers(0, 2**32), rate=st.sampled_from([0.003, 0.03, 0.3]))
def test_a_burst_over_a_damaged_line_gives_as_many_values_or_our_error(seed: int, rate: float) -> None:
    rng = random.Random(seed)
    rom = FakeRom({0x60008800 + 4 * n: n for n in range(60)})

    def feed(data: bytes) -> bytes:
        answer = rom.feed(data)
        return damaged(answer, rng) if answer and rng.random() < rate * 10 else answer

    async def work() -> None:
        loader = RomLoader(MemoryStream(feed, chunk=rng.choice((1, 7, 1000))))
        for _ in range(3):
            values = await in_time(lambda: loader.read_regs(tuple(rom.registers)))
            assert isinstance(values, ParburnError) or len(values) == 60
            await in_time(loader.sync)

    in_virtual_time(work())
    assert commands.WRITE_REG not in {packet[1] for packet in rom.requests}


class NoisyStream(BoardStream):
    """A simulated board whose answers are damaged by chance on their way."""

    def __init__(self, board: SimulatedBoard, rng: random.Random, rate: float) -> None:
        super().__init__(board)
        self.rng, self.rate = rng, rate
        self.written: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.written.append(data)
        super().write(data)

    def _deliver(self, data: bytes) -> None:
        if self.rng.random() < self.rate:
            data = damaged(data, self.rng, times=2)
        if data:
            super()._deliver(data)


@examples(60)
@given(name=st.sampled_from(CHIPS), seed=st.integers(0, 2**32), rate=st.sampled_from([0.01, 0.1, 0.5]))
def test_identify_over_a_damaged_line_is_right_or_fails_and_burns_nothing(
    name: str, seed: int, rate: float
) -> None:
    burned: list[ProgramPulse] = []
    board = make_board(name, on_burn=burned.append)
    before = true_bits(board)

    async def work() -> None:
        stream = NoisyStream(board, random.Random(seed), rate)

        async def whole() -> Device:
            return await identified(await RomLoader.connect(stream, before="no-reset", attempts=2))

        device = await in_time(whole)
        if not isinstance(device, ParburnError):
            assert (device.chip.name, device.identity.mac) == (name, MAC)
        assert commands.WRITE_REG not in opcodes_sent(stream.written)
        await stream.aclose()

    in_virtual_time(work())
    assert not burned
    assert true_bits(board) == before
