"""Controller and commit against the simulated chip in memory and in virtual time: what the chip then holds.

The line is spoiled byte by byte and the chip pulse by pulse. Whatever happens, three things must hold: a
commit that returns has burned the plan and nothing else; one that raises has burned no bit that was not
planned, unless it says so by VerifyFailed; and what was begun is finished by the same plan on a healthy line.
"""

from __future__ import annotations

import asyncio
import random
import selectors
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from anyio import create_task_group

from parburn.commit import CommitHooks, CommitResult, commit
from parburn.efuse.image import EfuseImage
from parburn.efuse.plan import BurnPlan, BurnStep, plan_burns, remaining
from parburn.efuse.staging import (
    StagedBurns,
    stage_custom_mac,
    stage_field,
    stage_key,
)
from parburn.errors import (
    BoardSwapped,
    ChipError,
    ControllerStuck,
    IdentityUnclear,
    LinkError,
    ParburnError,
    PartialBurn,
    PortGone,
    SecureDownload,
    VerifyFailed,
    WrongChip,
)
from parburn.identify import Device, identify
from parburn.rom import RomLoader
from parburn.sim.board import Board
from parburn.sim.faults import parse_faults
from parburn.transport.stream import CallbackStream
from tests.sim.boards import make_board

KEY = bytes(range(0x51, 0x71))
CUSTOM_MAC = bytes.fromhex("aacdef000101")
CHIPS = ("esp32", "esp32c3", "esp32s3")


class VirtualTime(selectors.DefaultSelector):
    """A selector that never waits: when nothing is ready it moves the loop's clock to the next timer."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready:
            assert timeout is not None, "everybody waits and no timer is set: a wait without a deadline"
            self.now += timeout
        return ready


def in_virtual_time(job: Awaitable[Any]) -> Any:
    """Run a coroutine to its end; its waits take no time."""
    selector = VirtualTime()

    def make_loop() -> asyncio.AbstractEventLoop:
        loop = asyncio.SelectorEventLoop(selector)
        loop.time = lambda: selector.now  # type: ignore[method-assign]  # the point of it
        return loop

    async def run() -> Any:
        return await job

    with asyncio.Runner(loop_factory=make_loop) as runner:
        return runner.run(run())


class BoardStream(CallbackStream):
    """A simulated board at the other end of a line in memory."""

    has_lines = False

    def __init__(self, board: Board) -> None:
        super().__init__("memory", 115200)
        self.board = board
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self.left_until_swap = 1 << 30
        self.other = board  # who takes the board's place then

    def write(self, data: bytes) -> None:
        """Hand over to the board; its answers come from the loop."""
        self.left_until_swap -= len(data)
        if self.left_until_swap < 0 and self.board is not self.other:
            self.board = self.other
        if self.lost is None:
            self.board.receive(data, self._loop.time())
            self._again(0.0)

    def set_lines(self, dtr: bool, rts: bool) -> None:
        """There are none."""
        raise AssertionError("no lines here")

    async def set_baud(self, baud: int) -> None:
        """The rate of our side only."""
        self.baud = baud

    async def aclose(self) -> None:
        """Switch the board off and on, as closing a pty does."""
        self._closing = True
        if self._timer is not None:
            self._timer.cancel()
        self.board.power_cycle(self._loop.time())

    def _again(self, delay_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(delay_s, self._serve)

    def _serve(self) -> None:
        board, now = self.board, self._loop.time()
        board.advance(now)
        data = board.take_output(now)
        if board.unplugged is not None:
            board.unplugged = None
            self._lose(None)
            return
        if data:
            self._deliver(data)
        following = board.next_event()
        if following < now + 100:
            self._again(max(0.0, following - now))


@dataclass
class Book:
    """What a caller of commit writes down."""

    attempted: int = 0
    burned: list[str] = field(default_factory=list)
    stop_after: int = 1 << 30

    def hooks(self, device: Device) -> CommitHooks:
        """Hooks that write into this book."""

        async def attempted() -> None:
            self.attempted += 1

        async def burned(step: BurnStep, number: int) -> None:
            self.burned.append(step.label)

        return CommitHooks(
            identity=device.identity.registers,
            same_board=device.identity.same_board,
            attempted=attempted,
            burned=burned,
            may_go_on=lambda: len(self.burned) < self.stop_after,
        )


async def connected(board: Board, *, blocks: Sequence[int] | None = None) -> Device:
    """Connect to the board and identify it."""
    rom = await RomLoader.connect(BoardStream(board), before="no-reset", attempts=3)
    every = tuple(block.index for block in board.chip.blocks) if blocks is None else tuple(blocks)
    return await identify(rom, wanted="auto", blocks=lambda chip: every, extend=lambda chip: chip)


Stage = Callable[[EfuseImage, StagedBurns], None]


def identity_and_key(image: EfuseImage, staged: StagedBurns) -> None:
    """A custom MAC, a key with its locks, and one bit of BLOCK0: every kind of step."""
    stage_custom_mac(image, staged, CUSTOM_MAC)
    if image.chip.coding == "rs":
        block, purpose = image.chip.block_by_name["BLOCK_KEY0"], "XTS_AES_128_KEY"
        stage_key(image, staged, block, KEY, purpose, write_protect=True, read_protect=True)
        stage_field(image, staged, image.field_named("DIS_DOWNLOAD_ICACHE"), 1)
    else:
        block = image.chip.block_by_name["BLOCK1"]
        key = KEY[: image.block_bits(1) // 8]
        stage_key(image, staged, block, key, None, write_protect=True, read_protect=True)
        stage_field(image, staged, image.field_named("JTAG_DISABLE"), 1)


def one_field(name: str, bits: int = 1) -> Stage:
    """Stage one field."""

    def stage(image: EfuseImage, staged: StagedBurns) -> None:
        stage_field(image, staged, image.field_named(name), bits)

    return stage


def plan_for(device: Device, stage: Stage = identity_and_key) -> BurnPlan:
    """The plan of what `stage` asks for."""
    staged = StagedBurns()
    stage(device.image, staged)
    return plan_burns(device.image, staged)


async def burn(board: Board, stage: Stage = identity_and_key, book: Book | None = None) -> CommitResult:
    """Connect, plan, commit."""
    device = await connected(board)
    try:
        plan = plan_for(device, stage)
        return await commit(plan, device.controller, device.image, (book or Book()).hooks(device))
    finally:
        await device.rom.aclose()


async def finish(board: Board, plan: BurnPlan, verified: Sequence[str]) -> None:
    """On a healthy line, burn what the chip lacks of a plan."""
    board.faults = board.controller.faults = parse_faults((), board=0, seed=0)
    board.power_cycle(asyncio.get_running_loop().time())
    device = await connected(board)
    blocks = frozenset(w.block.index for s in plan.steps if s.label in verified for w in s.writes)
    left = remaining(plan, device.image, verified=blocks)
    if left:
        await commit(left, device.controller, device.image, Book().hooks(device))
    await device.rom.aclose()


def true_bits(board: Board) -> dict[int, int]:
    """What the cells hold, decoded, whatever protects them."""
    return {block.index: board.memory.reading(block.index).bits for block in board.chip.blocks}


def wanted_bits(plan: BurnPlan, before: dict[int, int]) -> dict[int, int]:
    """What they must hold after the plan."""
    return {index: bits | plan.want(index) for index, bits in before.items()}


def settings_of(name: str) -> tuple[str, ...]:
    """`esp32 3/4` is a chip and its coding."""
    return ("coding=3/4",) if name.endswith("3/4") else ()


def board_named(name: str, *faults: str) -> Board:
    """A board; its faults begin once it is identified and planned for."""
    return make_board(name.partition(" ")[0], *settings_of(name), faults=faults, baud_limit=115200)


@dataclass
class Trial:
    """One commit under a fault, and what came of it."""

    board: Board
    plan: BurnPlan
    before: dict[int, int]
    book: Book
    error: ParburnError | None

    @property
    def stray(self) -> bool:
        """Whether a bit is set that nobody asked for."""
        wanted = wanted_bits(self.plan, self.before)
        return any(bits & ~wanted[index] for index, bits in true_bits(self.board).items())

    @property
    def whole(self) -> bool:
        """Whether all that was asked for is burned, without coding errors, and nothing else."""
        clean = all(not self.board.memory.reading(b.index).errors for b in self.board.chip.blocks)
        return clean and true_bits(self.board) == wanted_bits(self.plan, self.before)


async def trial(name: str, *faults: str, stage: Stage = identity_and_key) -> Trial:
    """Identify on a healthy line, then commit under `faults`, whose bytes and pulses count from there."""
    board = board_named(name)
    device = await connected(board)
    plan = plan_for(device, stage)
    before = true_bits(board)
    spoiled = parse_faults(faults, board=0, seed=7)
    board.received = board.sent = board.packets = 0
    board.faults = board.controller.faults = spoiled
    book, error = Book(), None
    try:
        await commit(plan, device.controller, device.image, book.hooks(device))
    except ParburnError as caught:
        error = caught
    await device.rom.aclose()
    return Trial(board, plan, before, book, error)


# --- what works


@pytest.mark.parametrize("name", [*CHIPS, "esp32 3/4"])
def test_a_plan_lands_bit_for_bit_and_every_step_is_told(name: str) -> None:
    found = in_virtual_time(trial(name))
    assert found.error is None
    assert found.whole
    assert found.book.attempted == 1
    assert found.book.burned == [step.label for step in found.plan.steps]
    assert [step.locks for step in found.plan.steps][-1:] == [True]


@pytest.mark.parametrize("name", CHIPS)
def test_what_is_there_already_costs_no_pulse(name: str) -> None:
    async def job() -> None:
        board = board_named(name)
        await burn(board)
        device = await connected(board)
        staged = StagedBurns()
        stage_custom_mac(device.image, staged, CUSTOM_MAC)
        assert not plan_burns(device.image, staged)

    in_virtual_time(job())


def test_a_26_mhz_crystal_gets_the_timing_it_needs() -> None:
    async def job() -> None:
        board = make_board("esp32", "crystal=26", baud_limit=115200)
        records: list[str] = []
        board.controller.on_burn = lambda record: records.append(record.note)
        device = await connected(board)
        assert device.crystal_mhz == 26
        plan = plan_for(device)
        before = true_bits(board)
        await commit(plan, device.controller, device.image, Book().hooks(device))
        assert true_bits(board) == wanted_bits(plan, before)
        assert records == [""] * len(plan.steps)

    in_virtual_time(job())


def key_alone(image: EfuseImage, staged: StagedBurns) -> None:
    """A key without locks: its block is the last that is staged."""
    name, purpose = ("BLOCK_KEY0", "USER") if image.chip.coding == "rs" else ("BLOCK1", None)
    block = image.chip.block_by_name[name]
    key = KEY[: image.block_bits(block.index) // 8]
    stage_key(image, staged, block, key, purpose, write_protect=False, read_protect=False)


@pytest.mark.parametrize("stage", [identity_and_key, key_alone])
def test_no_key_stays_in_the_programming_registers(stage: Stage) -> None:
    async def job(name: str) -> None:
        board = board_named(name)
        device = await connected(board)
        plan = plan_for(device, stage)
        (key,) = (
            write
            for step in plan.steps
            for write in step.writes
            if write.block.name in ("BLOCK_KEY0", "BLOCK1")
        )
        await commit(plan, device.controller, device.image, Book().hooks(device))
        words = board.registers.words
        left = {words.get(address, 0) for address in device.controller.programming_addresses}
        assert not left & {word for word in key.words if word}

    for name in CHIPS:
        in_virtual_time(job(name))


# --- a line that damages one byte, anywhere in the commit

# One byte in so many is tried; each position of a frame comes up, since the stride is no factor of its size.
STRIDE = 97
DAMAGES = [
    f"byte {{}} {way} the host is {how}" for way in ("from", "to") for how in ("flipped", "lost", "doubled")
]


async def check_trial(found: Trial) -> str:
    """Hold the three promises; gives the word for how the commit ended."""
    error = found.error
    if error is None:
        assert found.whole
        return "pass"
    assert not found.stray
    assert not isinstance(error, VerifyFailed), "one damaged byte must not scrap a chip"
    attempted = isinstance(error, PartialBurn)
    assert found.book.attempted == attempted
    if not attempted:
        assert true_bits(found.board) == found.before
    await finish(found.board, found.plan, found.book.burned)
    assert found.whole
    return type(error).__name__


@pytest.mark.parametrize("name", ["esp32", "esp32c3", "esp32 3/4"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_byte_anywhere_scraps_no_chip(name: str, damage: str) -> None:
    async def job() -> list[str]:
        healthy = await trial(name)
        size = healthy.board.received if " from " in damage else healthy.board.sent
        start = DAMAGES.index(damage) + 1
        return [await check_trial(await trial(name, damage.format(n))) for n in range(start, size, STRIDE)]

    words = in_virtual_time(job())
    assert len(words) > 15
    assert words.count("pass") > 2
    if " to " in damage:  # the chip has executed everything: what it answered can be asked again
        assert set(words) == {"pass"}


@pytest.mark.parametrize("name", ["esp32c3"])
def test_a_command_that_went_astray_into_a_timing_register_spoils_nothing(name: str) -> None:
    """CONF and a timing register lie one address bit apart: the next pulse must not trust the old timing."""

    async def job() -> None:
        board = board_named(name)
        device = await connected(board)
        plan = plan_for(device)
        before = true_bits(board)
        conf = board.chip.registers["CONF"]
        write = board.write
        hits: list[int] = []

        def astray(address: int, value: int, now: float) -> None:
            if address == conf and value == 0x5A5A and not hits:
                hits.append(value)
                address ^= 0x20
            write(address, value, now)

        board.write = astray  # type: ignore[method-assign]  # one address bit flips on its way
        await commit(plan, device.controller, device.image, Book().hooks(device))
        assert hits
        assert true_bits(board) == wanted_bits(plan, before)

    in_virtual_time(job())


# --- a chip or a supply that fails


@pytest.mark.parametrize("name", ["esp32", "esp32c3", "esp32 3/4"])
@pytest.mark.parametrize("percent", [0, 50, 95])
def test_a_brown_out_in_any_pulse_is_made_up_for(name: str, percent: int) -> None:
    async def job() -> None:
        steps = len((await trial(name)).plan.steps)
        for program in range(1, steps + 1):
            sentence = f"the supply browns out in program {program} leaving {percent} percent of the bits"
            found = await trial(name, sentence)
            assert found.error is None, f"program {program}: {found.error}"
            assert true_bits(found.board) == wanted_bits(found.plan, found.before)

    in_virtual_time(job())


@pytest.mark.parametrize("percent", [50, 95])
def test_a_block_left_with_coding_errors_is_burned_again_when_it_is_taken_up(percent: int) -> None:
    """Its data may read right already, since the code corrects them: that is not good enough."""

    async def job() -> None:
        found = await trial(
            "esp32c3",
            f"the supply browns out in program 1 leaving {percent} percent of the bits",
            "the link is silent after 1400 bytes",
        )
        assert isinstance(found.error, PartialBurn)
        assert found.board.memory.reading(4).errors
        await finish(found.board, found.plan, found.book.burned)
        assert found.whole

    in_virtual_time(job())


def test_brown_outs_again_and_again_leave_a_chip_that_can_be_finished() -> None:
    async def job() -> None:
        faults = [f"the supply browns out in program {n} leaving 0 percent of the bits" for n in range(1, 9)]
        found = await trial("esp32s3", *faults)
        assert isinstance(found.error, ParburnError)
        assert not found.stray
        assert found.book.attempted == 1
        await finish(found.board, found.plan, found.book.burned)
        assert found.whole

    in_virtual_time(job())


@pytest.mark.parametrize("name", ["esp32", "esp32c3"])
def test_the_rom_reboots_at_any_packet(name: str) -> None:
    async def job() -> None:
        packets = (await trial(name)).board.packets
        for packet in range(3, packets, 23):
            found = await trial(name, f"the ROM reboots at packet {packet}")
            assert found.error is None, f"packet {packet}: {found.error}"
            assert found.whole

    in_virtual_time(job())


@pytest.mark.parametrize("program", [1, 2, 3])
def test_a_controller_that_stays_busy_is_left_and_can_be_finished(program: int) -> None:
    async def job() -> None:
        found = await trial("esp32c3", f"the controller never becomes idle after program {program}")
        assert isinstance(found.error, PartialBurn)
        assert isinstance(found.error.__cause__, ControllerStuck)
        assert found.error.remaining == len(found.plan.steps) - program + 1
        assert found.error.hint
        await finish(found.board, found.plan, found.book.burned)
        assert found.whole

    in_virtual_time(job())


@pytest.mark.parametrize(
    ("name", "sentence"),
    [("esp32", "bit 14 of BLOCK1 refuses to burn"), ("esp32c3", "bit 9 of BLOCK_KEY0 refuses to burn")],
)
def test_a_bit_that_never_burns_ends_in_verify_failed_after_three_pulses(name: str, sentence: str) -> None:
    found = in_virtual_time(trial(name, sentence))
    assert isinstance(found.error, VerifyFailed)
    assert found.error.permanent
    assert not found.stray
    assert found.board.controller.programs == 3
    assert found.book.burned == []


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("esp32", "bit 14 of BLOCK1 refuses to burn the first time"),
        ("esp32c3", "bit 9 of BLOCK_KEY0 refuses to burn the first time"),
        ("esp32c3", "2 bytes of BLOCK_KEY0 burn wrong"),
        ("esp32c3", "the link is silent after 900 bytes for 400 ms"),
    ],
)
def test_what_a_second_pulse_or_a_second_look_mends(name: str, sentence: str) -> None:
    found = in_virtual_time(trial(name, sentence))
    assert found.error is None
    assert found.whole


@pytest.mark.parametrize(
    ("name", "block", "bit", "pulses"),
    [("esp32", "BLOCK1", 6, 1), ("esp32c3", "BLOCK0", None, 3)],  # pulses: up to and with the one that leaks
)
def test_a_bit_that_nobody_asked_for_ends_it_at_once(
    name: str, block: str, bit: int | None, pulses: int
) -> None:
    if bit is None:
        bit = make_board(name).chip.field_by_name["DIS_DOWNLOAD_ICACHE"][0].start
    found = in_virtual_time(trial(name, f"bit {bit} of {block} burns its neighbour too"))
    assert found.stray
    assert isinstance(found.error, VerifyFailed)
    assert found.error.permanent
    assert "1 too many" in str(found.error)
    assert found.board.controller.programs == pulses


def test_a_stray_cell_that_the_code_corrects_is_found_by_its_error_report() -> None:
    found = in_virtual_time(trial("esp32c3", "bit 201 of BLOCK_USR_DATA burns its neighbour too"))
    assert not found.stray
    assert isinstance(found.error, VerifyFailed)
    assert "coding errors" in str(found.error)


@pytest.mark.parametrize("size", [60, 900, 2000])
def test_a_port_that_vanishes(size: int) -> None:
    async def job() -> None:
        found = await trial("esp32c3", f"the port vanishes after {size} bytes")
        assert found.error is not None
        assert isinstance(found.error.__cause__ if found.book.attempted else found.error, PortGone)
        assert not found.stray
        await finish(found.board, found.plan, found.book.burned)
        assert found.whole

    in_virtual_time(job())


# --- who the chip is


def test_another_chip_in_the_same_place_gets_no_bit() -> None:
    async def job() -> None:
        board = board_named("esp32s3")
        device = await connected(board)
        plan = plan_for(device)
        board.memory.preset_field("MAC", int.from_bytes(b"\x24\x0a\xc4\x09\x09\x09", "big"))
        board.controller.load()
        before, book = true_bits(board), Book()
        with pytest.raises(BoardSwapped, match="another chip"):
            await commit(plan, device.controller, device.image, book.hooks(device))
        assert true_bits(board) == before
        assert book.attempted == 0

    in_virtual_time(job())


def test_bits_beside_the_factory_mac_are_not_another_chip() -> None:
    """The word of the MAC's upper bytes and CRC has bits that belong to nobody; burn_bit may burn them."""

    def beside(image: EfuseImage, staged: StagedBurns) -> None:
        staged.add(0, 1 << 88)

    async def job() -> None:
        board = board_named("esp32")
        device = await connected(board)
        assert device.identity.masks == (0xFFFFFFFF, 0x00FFFFFF)
        await device.rom.aclose()
        await burn(board, beside)
        assert true_bits(board)[0] >> 88 & 1
        again = await connected(board)
        again.identity.same_board(await again.rom.read_regs(again.identity.registers))
        for bit in (1 << 23, 1):
            changed = (again.identity.values[0], again.identity.values[1] ^ bit)
            with pytest.raises(BoardSwapped):
                again.identity.same_board(changed)
        await again.rom.aclose()

    in_virtual_time(job())


@pytest.mark.parametrize("ends", [False, True])
def test_another_chip_in_the_middle_of_a_commit_gets_no_bit_either(ends: bool) -> None:
    """The hardest case: its line is in step at once, and nothing was lost."""

    def stage(image: EfuseImage, staged: StagedBurns) -> None:
        identity_and_key(image, staged)
        if ends:
            stage_field(image, staged, image.field_named("DIS_DOWNLOAD_MODE"), 1)  # not to be finished here

    async def job(name: str) -> int:
        healthy = await trial(name, stage=stage)
        cases = 0
        for size in range(7, healthy.board.received, 101):
            board, other = board_named(name), board_named(name)
            other.memory.preset_field("MAC", int.from_bytes(b"\x24\x0a\xc4\x09\x09\x09", "big"))
            if size % 2:  # one that was burned before, or a new one
                other.memory.cells[3] = 0b1011
            other.controller.load()
            device = await connected(board)
            plan, before, theirs = plan_for(device, stage), true_bits(board), true_bits(other)
            stream = device.rom.stream
            assert isinstance(stream, BoardStream)
            stream.other, stream.left_until_swap = other, size
            with pytest.raises(ParburnError) as caught:
                await commit(plan, device.controller, device.image, Book().hooks(device))
            assert true_bits(other) == theirs, f"after {size} bytes: {caught.value}"
            assert not isinstance(caught.value, VerifyFailed), f"after {size} bytes: {caught.value}"
            await device.rom.aclose()
            if not board.memory.field_bits("DIS_DOWNLOAD_MODE"):
                await finish(board, plan, [s.label for s in plan.steps])
            assert ends or true_bits(board) == wanted_bits(plan, before)
            cases += 1
        return cases

    assert in_virtual_time(job("esp32c3")) > 20


@pytest.mark.parametrize("name", ["esp32", "esp32c3"])
def test_what_another_program_left_in_the_programming_registers_is_found(name: str) -> None:
    """A chip that was not reset may hold anything there: it is read back, and overwritten."""

    async def job() -> None:
        board = board_named(name)
        device = await connected(board)
        plan = plan_for(device, one_field("DIS_DOWNLOAD_ICACHE" if name == "esp32c3" else "JTAG_DISABLE"))
        before = true_bits(board)
        for address in device.controller.programming_addresses:
            board.registers.words[address] = 0xFFFF_FFFF
        await commit(plan, device.controller, device.image, Book().hooks(device))
        assert true_bits(board) == wanted_bits(plan, before)
        assert device.rom.counters.retries == 1

    in_virtual_time(job())


def test_bits_that_changed_since_the_plan_was_made_stop_it() -> None:
    async def job() -> None:
        board = board_named("esp32")
        device = await connected(board)
        plan = plan_for(device)
        board.memory.preset_field("JTAG_DISABLE", 1)
        board.controller.load()
        before, book = true_bits(board), Book()
        with pytest.raises(BoardSwapped, match="BLOCK0"):
            await commit(plan, device.controller, device.image, book.hooks(device))
        assert true_bits(board) == before
        assert book.attempted == 0

    in_virtual_time(job())


def test_a_stop_between_two_blocks_says_what_is_left() -> None:
    async def job() -> None:
        board = board_named("esp32c3")
        device = await connected(board)
        plan, book = plan_for(device), Book(stop_after=2)
        before = true_bits(board)
        with pytest.raises(PartialBurn, match="stopped") as caught:
            await commit(plan, device.controller, device.image, book.hooks(device))
        assert caught.value.remaining == len(plan.steps) - 2
        assert len(book.burned) == 2
        await device.rom.aclose()
        await finish(board, plan, book.burned)
        assert true_bits(board) == wanted_bits(plan, before)

    in_virtual_time(job())


def test_cancelling_does_not_tear_a_commit_that_has_begun() -> None:
    async def job() -> None:
        board = board_named("esp32c3")
        device = await connected(board)
        plan, book = plan_for(device), Book()
        before = true_bits(board)
        begun = asyncio.Event()
        hooks = book.hooks(device)

        async def attempted() -> None:
            begun.set()

        hooks = CommitHooks(
            identity=hooks.identity,
            same_board=hooks.same_board,
            attempted=attempted,
            burned=hooks.burned,
            may_go_on=hooks.may_go_on,
        )
        results: list[CommitResult] = []

        async def run() -> None:
            results.append(await commit(plan, device.controller, device.image, hooks))

        async with create_task_group() as tasks:
            tasks.start_soon(run)
            await begun.wait()
            tasks.cancel_scope.cancel()
        assert len(results) == 1
        assert true_bits(board) == wanted_bits(plan, before)

    in_virtual_time(job())


# --- steps after which the chip answers no more


@pytest.mark.parametrize(
    ("name", "field_name", "unread"),
    [
        ("esp32c3", "ENABLE_SECURITY_DOWNLOAD", True),
        ("esp32s3", "DIS_DOWNLOAD_MODE", True),
        ("esp32", "UART_DOWNLOAD_DIS", False),
    ],
)
def test_a_step_that_ends_the_link(name: str, field_name: str, unread: bool) -> None:
    async def job() -> None:
        board = board_named(name)
        result = await burn(board, one_field(field_name))
        assert board.memory.field_bits(field_name) == 1
        assert result.unread == ((field_name,) if unread else ())

    in_virtual_time(job())


def test_silence_is_no_success_when_the_port_went_too() -> None:
    async def job() -> None:
        found = await trial("esp32s3", stage=one_field("DIS_DOWNLOAD_MODE"))
        assert found.error is None
        received = found.board.received
        unplugged = await trial(
            "esp32s3", f"the port vanishes after {received - 44} bytes", stage=one_field("DIS_DOWNLOAD_MODE")
        )
        assert isinstance(unplugged.error, PartialBurn)
        assert isinstance(unplugged.error.__cause__, PortGone)

    in_virtual_time(job())


def test_secure_download_that_is_not_in_force_is_no_success() -> None:
    async def job() -> None:
        found = await trial(
            "esp32c3",
            "the supply browns out in program 1 leaving 0 percent of the bits",
            stage=one_field("ENABLE_SECURITY_DOWNLOAD"),
        )
        assert found.error is not None
        assert not (isinstance(found.error, VerifyFailed) and found.error.permanent)
        await finish(found.board, found.plan, ())
        assert found.board.memory.field_bits("ENABLE_SECURITY_DOWNLOAD") == 1

    in_virtual_time(job())


# --- identification


async def fails_to_connect(board: Board, wanted: str = "auto") -> ParburnError:
    """The error of a board that cannot be identified; its bits are as they were."""
    before = true_bits(board)
    try:
        rom = await RomLoader.connect(BoardStream(board), before="no-reset", attempts=2)
        await identify(rom, wanted=wanted, blocks=lambda chip: (), extend=lambda chip: chip)
    except ParburnError as error:
        assert true_bits(board) == before
        return error
    raise AssertionError("it was identified")


@pytest.mark.parametrize(
    ("chip", "settings", "wanted", "kind"),
    [
        ("esp32c3", (), "esp32s3", WrongChip),
        ("esp32", ("magic=0x12345678",), "auto", WrongChip),
        ("esp32c3", ("ENABLE_SECURITY_DOWNLOAD=1",), "auto", SecureDownload),
        ("esp32s3", ("DIS_DOWNLOAD_MODE=1",), "auto", LinkError),
        ("esp32s3", ("MAC=0",), "auto", IdentityUnclear),
        ("esp32s3", ("MAC=01:00:5e:00:00:01",), "auto", IdentityUnclear),
    ],
)
def test_boards_that_are_not_touched(
    chip: str, settings: tuple[str, ...], wanted: str, kind: type[ParburnError]
) -> None:
    error = in_virtual_time(fails_to_connect(make_board(chip, *settings), wanted))
    assert isinstance(error, kind)
    assert error.hint or "bad read" in str(error)


def test_a_crystal_that_this_chip_cannot_burn_with_is_refused() -> None:
    """Where the frequency is measured, a board with another crystal than the chip's timings know."""
    error = in_virtual_time(fails_to_connect(make_board("esp32", f"clkdiv={round(32e6 / 115200)}")))
    assert isinstance(error, ChipError)
    assert "MHz" in str(error)


def test_two_readings_of_the_identity_that_differ() -> None:
    """A bit flips in one answer, at every word of the identity: the board is refused, never mistaken."""

    async def job() -> set[str]:
        kinds: set[str] = set()
        healthy = board_named("esp32s3")
        mac = (await connected(healthy, blocks=())).identity.mac
        for byte in range(250, healthy.sent, 5):
            board = board_named("esp32s3", f"byte {byte} to the host is flipped")
            try:
                device = await connected(board)
            except (IdentityUnclear, LinkError, ChipError) as error:
                kinds.add(type(error).__name__)
            else:
                assert device.identity.mac == mac
        return kinds

    assert "IdentityUnclear" in in_virtual_time(job())


def test_random_noise_never_leaves_a_stray_bit() -> None:
    async def job() -> None:
        rng = random.Random(4)
        for _ in range(12):
            every = rng.choice((300, 900, 2500))
            way, how = rng.choice(("from", "to")), rng.choice(("lost", "doubled", "flipped"))
            found = await trial("esp32c3", f"one byte in {every} {way} the host is {how}")
            assert not found.stray
            assert found.error is not None or found.whole

    in_virtual_time(job())


def test_no_error_of_a_commit_shows_key_material() -> None:
    async def job() -> None:
        found = await trial("esp32c3", "bit 9 of BLOCK_KEY0 refuses to burn")
        shown = f"{found.error!r} {found.error} {found.plan!r} {found.plan.steps!r} {found.plan.describe()!r}"
        words = [f"{word:x}" for word in found.plan.steps[0].writes[0].words[:8]]
        for secret in (KEY.hex(), KEY[::-1].hex(), *words, str(found.plan.want(4))):
            assert secret not in shown

    in_virtual_time(job())
