"""Commits plans to a simulated chip in memory and in virtual time, and tells what came of it.

A test stages what it likes, has it committed on a healthy board or under faults, and looks at the true bits.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from parburn.coding import CodingScheme
from parburn.efuse.image import EfuseImage
from parburn.efuse.plan import BurnPlan, BurnStep, plan_burns, remaining
from parburn.efuse.staging import StagedBurns, stage_custom_mac, stage_field, stage_key
from parburn.errors import ParburnError
from parburn.hardware.commit import CommitResult, commit
from parburn.hardware.hooks import CommitHooks
from parburn.hardware.identify import Device, identify
from parburn.hardware.rom_loader import RomLoader
from parburn.sim.board import SimulatedBoard
from parburn.sim.faults import parse_faults
from parburn.transport.stream import CallbackStream, LineStep
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

    def __init__(self, board: SimulatedBoard) -> None:
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

    async def move_lines(self, steps: Sequence[LineStep]) -> None:
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

        def burned(step: BurnStep, number: int) -> asyncio.Future[object]:
            self.burned.append(step.label)
            written: asyncio.Future[object] = asyncio.get_running_loop().create_future()
            written.set_result(None)
            return written

        return CommitHooks(
            identity=device.identity.registers,
            same_board=device.identity.same_board,
            attempted=attempted,
            burned=burned,
            may_go_on=lambda: len(self.burned) < self.stop_after,
            gained=device.identity.gained,
        )


async def connected(board: SimulatedBoard, *, blocks: Sequence[int] | None = None) -> Device:
    """Connect to the board and identify it."""
    rom = await RomLoader.connect(BoardStream(board), before="no-reset", attempts=3)
    every = tuple(block.index for block in board.chip.blocks) if blocks is None else tuple(blocks)
    return await identify(rom, wanted="auto", blocks=lambda chip: every, extend=lambda chip: chip)


Stage = Callable[[EfuseImage, StagedBurns], None]


def identity_and_key(image: EfuseImage, staged: StagedBurns) -> None:
    """A custom MAC, a key with its locks, and one bit of BLOCK0: every kind of step."""
    stage_custom_mac(image, staged, CUSTOM_MAC)
    if image.chip.coding is CodingScheme.RS:
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


async def burn(
    board: SimulatedBoard, stage: Stage = identity_and_key, book: Book | None = None
) -> CommitResult:
    """Connect, plan, commit."""
    device = await connected(board)
    try:
        plan = plan_for(device, stage)
        return await commit(plan, device.controller, device.image, (book or Book()).hooks(device))
    finally:
        await device.rom.aclose()


async def finish(board: SimulatedBoard, plan: BurnPlan, verified: Sequence[str]) -> None:
    """On a healthy line, burn what the chip lacks of a plan."""
    board.faults = board.controller.faults = parse_faults((), board=0, seed=0)
    board.power_cycle(asyncio.get_running_loop().time())
    device = await connected(board)
    blocks = frozenset(w.block.index for s in plan.steps if s.label in verified for w in s.writes)
    left = remaining(plan, device.image, verified=blocks)
    if left:
        await commit(left, device.controller, device.image, Book().hooks(device))
    await device.rom.aclose()


def true_bits(board: SimulatedBoard) -> dict[int, int]:
    """What the cells hold, decoded, whatever protects them."""
    return {block.index: board.memory.reading(block.index).bits for block in board.chip.blocks}


def wanted_bits(plan: BurnPlan, before: dict[int, int]) -> dict[int, int]:
    """What they must hold after the plan."""
    return {index: bits | plan.want(index) for index, bits in before.items()}


def settings_of(name: str) -> tuple[str, ...]:
    """`esp32 3/4` is a chip and its coding."""
    return ("coding=3/4",) if name.endswith("3/4") else ()


def board_named(name: str, *faults: str) -> SimulatedBoard:
    """A board; its faults begin once it is identified and planned for."""
    return make_board(name.partition(" ")[0], *settings_of(name), faults=faults, baud_limit=115200)


@dataclass
class Trial:
    """One commit under a fault, and what came of it."""

    board: SimulatedBoard
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
