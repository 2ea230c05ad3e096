"""Whether a line is paced: what proves it, what proves the contrary, and that a busy host proves neither."""

from __future__ import annotations

import asyncio
import random
import struct
from collections.abc import Awaitable, Sequence
from dataclasses import replace
from selectors import SelectorKey
from typing import Any

import pytest

from parburn.hardware.commit import commit
from parburn.hardware.pace import Heartbeat, Pace, heartbeat_of
from parburn.hardware.rom_loader import RomLoader
from parburn.protocol.commands import REPLY_BYTES
from parburn.sim.board import SimulatedBoard
from parburn.transport.stream import USB_SERIAL_JTAG
from tests.hardware.commit_bench import (
    KEY,
    BoardStream,
    Book,
    VirtualTime,
    connected,
    in_virtual_time,
    plan_for,
    true_bits,
    wanted_bits,
)
from tests.sim.boards import make_board

BAUD = 115200
BYTE_S = 10 / BAUD
ANSWER_S = REPLY_BYTES * BYTE_S
IDLE = float("inf")


class Punctual(Heartbeat):
    """Says of the loop what the test wants."""

    late = False

    def __init__(self) -> None:
        """No loop."""

    def keep_on(self, now: float) -> None:
        """Nothing beats."""

    def late_since(self, then: float, now: float) -> bool:
        return self.late


class Line:
    """What comes over a line, as `pace` is told of it."""

    def __init__(self, *, asked_each: int = REPLY_BYTES) -> None:
        self.heartbeat = Punctual()
        self.pace = Pace(self.heartbeat)
        self.now = 1.0
        self._asked_each = asked_each
        self._asked = 0

    @property
    def judgement(self) -> str:
        if self.pace.ruled_out:
            return "known" if self.pace.known else "ruled out"
        return "known" if self.pace.known else "open"

    def bursts(self, count: int, chunks: Sequence[tuple[float, int]]) -> str:
        """Bursts whose answers come in such chunks: seconds after the one before, and how many answers."""
        for _ in range(count):
            self.now += 0.1
            self.pace.burst_begins(self.now)
            for seconds, answers in chunks:
                self.now += seconds
                self._asked += self._asked_each * answers
                self.pace.came(answers * REPLY_BYTES, self.now, BAUD, self._asked)
        return self.judgement


STEADY = [(2 * ANSWER_S, 1)] + [(ANSWER_S, 1)] * 39
IN_FRAMES_OF_16_MS = [(0.017, 13)] + [(0.016, 13)] * 3


@pytest.mark.parametrize("chunks", [STEADY, IN_FRAMES_OF_16_MS], ids=["steady", "16 ms"])
def test_a_line_is_known_to_be_paced_when_more_than_one_burst_says_so(
    chunks: Sequence[tuple[float, int]],
) -> None:
    line = Line()
    assert line.bursts(1, chunks) == "open"
    assert line.bursts(1, chunks) == "known"


def test_what_comes_while_the_loop_is_late_proves_nothing() -> None:
    line = Line()
    line.heartbeat.late = True
    assert line.bursts(5, STEADY) == "open"
    line.heartbeat.late = False
    assert line.bursts(2, STEADY) == "known"


def test_a_slow_host_at_the_other_end_is_no_slow_line() -> None:
    """Its answers come in lumps, later than the line would bring them."""
    assert Line().bursts(20, [(0.040, 9)] * 6) == "open"


def test_one_agreement_between_disagreements_is_chance() -> None:
    by_chance = [(0.040, 9), (9 * ANSWER_S, 9)] * 3
    assert Line().bursts(20, by_chance) == "open"


def test_requests_that_are_longer_than_their_answers_take_their_time() -> None:
    assert Line(asked_each=130).bursts(2, [(130 * BYTE_S, 1)] * 8) == "known"
    assert Line().bursts(2, [(130 * BYTE_S, 1)] * 8) == "open"


def test_what_is_faster_once_is_never_paced_again() -> None:
    line = Line()
    assert line.bursts(2, STEADY) == "known"
    assert line.bursts(1, [(0.001, 18)]) == "ruled out"
    assert line.bursts(5, STEADY) == "ruled out"


def test_a_lump_after_a_blocked_loop_does_not_hide_the_haste_of_the_next() -> None:
    pace = Pace(Punctual())
    pace.burst_begins(1.0)
    pace.came(18 * REPLY_BYTES, 1.050, BAUD, 252)
    pace.idle(1.050)
    pace.came(18 * REPLY_BYTES, 1.051, BAUD, 504)
    assert pace.ruled_out


def test_a_heartbeat_tells_when_the_loop_was_late_and_ends_by_itself() -> None:
    async def job() -> None:
        loop = asyncio.get_running_loop()
        heartbeat = heartbeat_of(loop)
        assert heartbeat is heartbeat_of(loop)
        assert heartbeat.late_since(loop.time(), loop.time())  # nobody has looked
        begun_at = loop.time()
        heartbeat.keep_on(begun_at)
        await asyncio.sleep(0.050)
        assert not heartbeat.late_since(begun_at, loop.time())
        selector.now += 0.050  # the loop is blocked, and whoever comes first asks
        assert heartbeat.late_since(begun_at, loop.time())
        await asyncio.sleep(0.010)
        assert heartbeat.late_since(begun_at, loop.time())
        later = loop.time()
        heartbeat.keep_on(later)
        await asyncio.sleep(0.010)
        assert not heartbeat.late_since(later, loop.time())
        await asyncio.sleep(1.0)
        assert heartbeat.late_since(later + 0.5, loop.time())

    selector = BlockedLoop(seed=0, share=0.0)
    run_on(selector, job())


# --- what rests on it


class BlockedLoop(VirtualTime):
    """A loop that is blocked for 50 ms in a share of its rounds."""

    def __init__(self, *, seed: int, share: float) -> None:
        super().__init__()
        self._rng, self._share = random.Random(seed), share

    def select(self, timeout: float | None = None) -> list[tuple[SelectorKey, int]]:
        ready = super().select(timeout)
        if self._rng.random() < self._share:
            self.now += 0.050
        return ready


def run_on(selector: VirtualTime, job: Awaitable[Any]) -> Any:
    def make_loop() -> asyncio.AbstractEventLoop:
        loop = asyncio.SelectorEventLoop(selector)
        loop.time = lambda: selector.now  # type: ignore[method-assign]  # the point of it
        return loop

    async def run() -> Any:
        return await job

    with asyncio.Runner(loop_factory=make_loop) as runner:
        return runner.run(run())


class Witness:
    """Counts writes to the programming registers of a board while its eFuse controller is at work."""

    def __init__(self, board: SimulatedBoard) -> None:
        self.board, self.early = board, 0
        self._write = board.write
        self._programming = frozenset(board.chip.programming_addresses)
        board.write = self.write  # type: ignore[method-assign]  # to see what the ROM writes

    def write(self, address: int, value: int, now: float) -> None:
        """What the ROM writes."""
        controller = self.board.controller
        controller.settle(now)
        self.early += address in self._programming and controller.next_event() < IDLE
        self._write(address, value, now)


async def burn_all(board: SimulatedBoard) -> int:
    """Key, custom MAC and a bit, with their locks; the turns that it took."""
    device = await connected(board)
    try:
        plan, before = plan_for(device), true_bits(board)
        await commit(plan, device.controller, device.image, Book().hooks(device))
        assert true_bits(board) == wanted_bits(plan, before)
        left = {board.registers.words.get(a, 0) for a in board.chip.programming_addresses}
        assert not left & {*struct.unpack("<8I", KEY), *struct.unpack(">8I", KEY[::-1])}
        return device.rom.counters.turns
    finally:
        await device.rom.aclose()


LINES = {"USB": (0, 0.001), "at once": (0, 0.0), "115200": (BAUD, 0.001), "115200, 16 ms": (BAUD, 0.016)}


@pytest.mark.parametrize("line", LINES)
@pytest.mark.parametrize(("chip", "turns"), [("esp32", 8), ("esp32c3", 12), ("esp32s3", 12)])
def test_a_blocked_loop_costs_no_turns_and_stages_nothing_before_idle(
    chip: str, turns: int, line: str
) -> None:
    baud_limit, usb_frame_s = LINES[line]
    for seed in range(12):
        board = make_board(chip, baud_limit=baud_limit, usb_frame_s=usb_frame_s)
        witness = Witness(board)
        selector = BlockedLoop(seed=seed, share=(0.1, 0.3, 0.6)[seed % 3])
        took = run_on(selector, burn_all(board))
        assert took <= turns + 1, seed
        assert witness.early == 0, seed


@pytest.mark.parametrize("chip", ["esp32", "esp32c3"])
def test_after_a_read_that_was_still_running_nothing_is_staged_behind_the_next(chip: str) -> None:
    """It takes longer than any manual says: what met it is staged again, and from then on after idle only."""
    board = make_board(chip, baud_limit=BAUD)
    board.controller.chip = replace(board.chip, read_ms=60.0)
    witness = Witness(board)
    early: list[int] = []
    started = board.controller.write_cmd

    def write_cmd(value: int, now: float) -> None:
        if value & 1:
            early.append(witness.early)
        started(value, now)

    board.controller.write_cmd = write_cmd  # type: ignore[method-assign]  # to count by READ command
    in_virtual_time(burn_all(board))
    assert len(early) >= 2
    assert early[0] == 0
    assert {*early[1:], witness.early} == {early[1]}
    assert early[1] > 0


def rom_of(stream_of: type[BoardStream]) -> float:
    """What a ROM on a paced line of this kind says of a poll's time, after two bursts; 0: not known."""

    async def job() -> float:
        board = make_board("esp32c3", baud_limit=BAUD, usb_frame_s=0.001)
        rom = await RomLoader.connect(stream_of(board), before="no-reset", attempts=3)
        for _ in range(2):
            await rom.read_regs([board.chip.registers["CONF"]] * 40)
        known_s = rom.seconds_at_least(REPLY_BYTES)
        rom.was_faster()
        for _ in range(2):
            await rom.read_regs([board.chip.registers["CONF"]] * 40)
        assert rom.seconds_at_least(REPLY_BYTES) == 0
        await rom.aclose()
        return known_s

    return float(in_virtual_time(job()))


def pauses_of(stream_of: type[BoardStream], bursts: int) -> tuple[int, int]:
    """How many pauses of reads such bursts make on a paced line, before the ROM is contradicted and after."""
    made: list[float] = []

    class Noting(stream_of):  # type: ignore[valid-type,misc]  # any kind of line
        def pause_reads(self, seconds: float) -> None:
            made.append(seconds)

    async def job() -> tuple[int, int]:
        board = make_board("esp32c3", baud_limit=BAUD, usb_frame_s=0.001)
        rom = await RomLoader.connect(Noting(board), before="no-reset", attempts=3)
        for _ in range(bursts):
            await rom.read_regs([board.chip.registers["CONF"]] * 40)
        before = len(made)
        rom.was_faster()
        await rom.read_regs([board.chip.registers["CONF"]] * 40)
        await rom.aclose()
        return before, len(made) - before

    first, later = in_virtual_time(job())
    return int(first), int(later)


class Remote(BoardStream):
    over_network = True


class InsideTheChip(BoardStream):
    usb_vid_pid = USB_SERIAL_JTAG


@pytest.mark.parametrize(("stream_of", "known_s"), [(BoardStream, ANSWER_S), (Remote, 0), (InsideTheChip, 0)])
def test_a_poll_takes_its_time_on_a_line_that_is_known(stream_of: type[BoardStream], known_s: float) -> None:
    """A busy controller takes it back for good; over a network or USB inside the chip nothing is known."""
    assert rom_of(stream_of) == pytest.approx(known_s)


def test_reads_pause_on_a_line_that_is_known_to_be_paced_and_nowhere_else() -> None:
    assert pauses_of(BoardStream, 1) == (0, 0)  # nothing is known yet
    assert pauses_of(BoardStream, 3)[0] > 0
    assert pauses_of(BoardStream, 3)[1] == 0
    assert pauses_of(Remote, 3) == (0, 0)
    assert pauses_of(InsideTheChip, 3) == (0, 0)
