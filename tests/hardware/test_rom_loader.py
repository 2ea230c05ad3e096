"""RomLoader over a pty and over a stream in memory: bursts, limits, connecting, and what goes wrong."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from parburn.chips.model import RegisterWrite
from parburn.errors import CommandRefused, GarbledAnswer, LinkError, NoAnswer, PortGone, UsageError
from parburn.hardware.burst_frames import ReadRegs, WriteRegs
from parburn.hardware.rom_loader import MAGIC_ADDRESS, RomLoader
from parburn.protocol import commands
from parburn.protocol.commands import SecurityInfo
from parburn.protocol.trace import Trace
from parburn.transport.open import open_stream
from parburn.transport.stream import CallbackStream, LineStep
from tests.protocol.fake_rom import FakeRom
from tests.transport.board import PtyBoard, pty_board

BASE = 0x60008800
INFO = bytes.fromhex("000000000000000000000000") + (5).to_bytes(4, "little") + (3).to_bytes(4, "little")


class MemoryStream(CallbackStream):
    """A line without a port: what is written is answered in the next turn of the loop."""

    has_lines = False

    def __init__(self, feed: Callable[[bytes], bytes], *, chunk: int = 1 << 20) -> None:
        super().__init__("memory", 115200)
        self.feed, self.chunk = feed, chunk
        self.written: list[bytes] = []
        self.closed = False

    def write(self, data: bytes) -> None:
        self.written.append(data)
        answers = self.feed(data)
        loop = asyncio.get_running_loop()
        for start in range(0, len(answers), self.chunk):
            loop.call_soon(self._deliver, answers[start : start + self.chunk])

    def lose(self) -> None:
        self._lose(None)

    async def move_lines(self, steps: Sequence[LineStep]) -> None:
        raise AssertionError("no lines here")

    async def set_baud(self, baud: int) -> None:
        self.baud = baud

    async def aclose(self) -> None:
        self.closed = True


def over_pty(board: PtyBoard, job: Callable[[RomLoader], Awaitable[None]], **options: Any) -> None:
    async def run() -> None:
        stream = await open_stream(board.port)
        try:
            await job(await RomLoader.connect(stream, attempts=2, **options))
        finally:
            await stream.aclose()

    asyncio.run(run())


def in_memory(
    stream_of: Callable[[], MemoryStream], job: Callable[[RomLoader, MemoryStream], Awaitable[None]]
) -> None:
    async def run() -> None:
        stream = stream_of()
        await job(RomLoader(stream), stream)

    asyncio.run(run())


# --- what works


def test_a_whole_conversation_over_a_pty() -> None:
    rom = FakeRom({BASE + 4 * n: 0xDBC00000 + n for n in range(60)} | {MAGIC_ADDRESS: 0x1B31506F})
    rom.security_info = INFO

    async def job(loader: RomLoader) -> None:
        info = await loader.security_info()
        assert info == SecurityInfo(0, 0, bytes(7), 5, 3)
        assert not info.secure_download
        assert loader.magic == 0x1B31506F
        addresses = tuple(rom.registers)[:60]
        assert await loader.read_regs(addresses) == [0xDBC00000 + n for n in range(60)]
        await loader.write_regs([RegisterWrite(BASE, 0xC0DB, 0xFF00), RegisterWrite(BASE + 4, 7)])
        values = await loader.burst(
            ReadRegs((BASE,)), WriteRegs((RegisterWrite(BASE, 1, delay_us=100),)), ReadRegs((BASE, BASE + 4))
        )
        assert values == [0xDBC0C000, 1, 7]
        assert loader.counters.turns == 5
        assert loader.counters.frames == 1 + 2 + 60 + 1 + 4
        assert loader.counters.retries == 0
        assert loader.counters.rx_bytes > 70 * 14

    with pty_board(rom) as board:
        over_pty(board, job)
        assert len(board.heard) == 46 + 10 + 64 * 14 + 42 + 27 + 3  # three bytes are escapes


def test_an_empty_burst_costs_nothing() -> None:
    async def job(loader: RomLoader, stream: MemoryStream) -> None:
        assert await loader.burst() == []
        assert await loader.burst(ReadRegs(()), WriteRegs(())) == []
        assert stream.written == []

    in_memory(lambda: MemoryStream(FakeRom().feed), job)


def test_writes_are_packed_and_ops_do_not_share_packets() -> None:
    rom = FakeRom()
    writes = tuple(RegisterWrite(BASE + 4 * n, n) for n in range(20))

    async def job(loader: RomLoader, stream: MemoryStream) -> None:
        await loader.burst(WriteRegs(writes), WriteRegs(writes[:2]), WriteRegs(writes[:1]))
        assert [(len(packet) - 8) // 16 for packet in rom.requests] == [7, 7, 6, 2, 1]
        loader.set_limits(ring_bytes=2047, entries_per_write=100)
        rom.requests.clear()
        await loader.burst(WriteRegs(writes))
        assert [(len(packet) - 8) // 16 for packet in rom.requests] == [20]

    in_memory(lambda: MemoryStream(rom.feed), job)


@pytest.mark.parametrize("chunk", [1, 3, 14, 1000])
def test_the_window_holds_and_frames_go_out_whole(chunk: int) -> None:
    rom = FakeRom({BASE + 4 * n: n for n in range(150)})

    async def job(loader: RomLoader, stream: MemoryStream) -> None:
        assert await loader.read_regs(list(rom.registers)) == list(range(150))
        assert all(len(data) <= 255 for data in stream.written)
        assert all(data.startswith(b"\xc0\0\x0a") and data.endswith(b"\xc0") for data in stream.written)
        assert loader.counters.turns == 1

    in_memory(lambda: MemoryStream(rom.feed, chunk=chunk), job)


def test_security_info_of_a_rom_without_it() -> None:
    rom = FakeRom({MAGIC_ADDRESS: 0x00F01D83})

    async def job(loader: RomLoader) -> None:
        assert await loader.security_info() is None
        assert loader.magic == 0x00F01D83
        assert await loader.read_regs([MAGIC_ADDRESS]) == [0x00F01D83]

    with pty_board(rom) as board:
        over_pty(board, job)


def test_security_info_in_secure_download_mode() -> None:
    rom = FakeRom()
    rom.secure_download, rom.security_info = True, b"\x04" + INFO[1:]

    async def job(loader: RomLoader) -> None:
        info = await loader.security_info()
        assert info is not None
        assert info.secure_download
        assert loader.magic is None
        with pytest.raises(CommandRefused) as caught:
            await loader.read_regs([BASE, BASE + 4])
        assert (caught.value.status, caught.value.code) == (1, 5)
        assert "secure download" in caught.value.hint
        with pytest.raises(CommandRefused):
            await loader.write_regs([RegisterWrite(BASE, 1)])
        assert await loader.security_info() == info  # still in step

    with pty_board(rom) as board:
        over_pty(board, job)


def test_short_security_info() -> None:
    assert SecurityInfo.parse(bytes(12)) == SecurityInfo(0, 0, bytes(7), None, None)
    with pytest.raises(ValueError, match="13 bytes"):
        SecurityInfo.parse(bytes(13))


def test_change_baud() -> None:
    rom = FakeRom({BASE: 5})

    async def job(loader: RomLoader) -> None:
        await loader.change_baud(921600)
        assert (loader.baud, rom.baud) == (921600, 921600)
        assert await loader.read_regs([BASE]) == [5]
        loader.set_crystal(26, 40)
        await loader.change_baud(115200)
        assert (loader.baud, rom.baud) == (115200, 115200 * 40 // 26)

    with pty_board(rom) as board:
        over_pty(board, job)


def test_a_rate_that_the_line_does_not_carry() -> None:
    rom = FakeRom()

    async def job(loader: RomLoader, stream: MemoryStream) -> None:
        good = stream.feed
        stream.feed = lambda data: good(data) if loader.baud == 115200 else b"\x00\xc0\x55\xc0"
        with pytest.raises(GarbledAnswer) as caught:
            await loader.change_baud(2000000)
        assert "--baud" in caught.value.hint
        assert loader.broken

    in_memory(lambda: MemoryStream(rom.feed), job)


@pytest.mark.parametrize("first", [b"", b"\x00\xc0\x55\xc0"], ids=["silence", "garbage"])
def test_a_chip_that_needs_longer_for_its_new_rate(first: bytes) -> None:
    rom = FakeRom({BASE: 5})

    async def job(loader: RomLoader, stream: MemoryStream) -> None:
        good, late = stream.feed, [first]

        def feed(data: bytes) -> bytes:
            return late.pop() if late and loader.baud == 921600 else good(data)

        stream.feed = feed
        await loader.change_baud(921600)
        assert not late
        assert (loader.baud, loader.broken) == (921600, False)
        assert await loader.read_regs([BASE]) == [5]

    in_memory(lambda: MemoryStream(rom.feed), job)


def test_a_fixed_rate_stays() -> None:
    async def job(loader: RomLoader, stream: MemoryStream) -> None:
        stream.fixed_baud = True
        await loader.change_baud(921600)
        assert loader.baud == 115200
        assert stream.written == []

    in_memory(lambda: MemoryStream(FakeRom().feed), job)


def test_trace_of_a_conversation() -> None:
    rom = FakeRom({BASE: 5})
    lines: list[str] = []

    async def job(loader: RomLoader) -> None:
        assert await loader.read_regs([BASE]) == [5]
        await loader.aclose()

    with pty_board(rom) as board:
        over_pty(board, job, trace=Trace(lines.append))
    assert lines[0] == f"> {commands.SYNC_FRAME.hex()}"
    assert len(bytes.fromhex(lines[1][2:])) == 8 * 14
    assert lines[2:] == ["> c0000a04000000000000880060c0", "< c0010a04000500000000000000c0"]


# --- connecting


def test_lost_and_late_syncs() -> None:
    rom = FakeRom({BASE: 9})
    rom.deaf_syncs = 2
    attempts: list[int] = []

    async def job(loader: RomLoader) -> None:
        assert loader.counters.retries == 2
        assert await loader.read_regs([BASE]) == [9]

    with pty_board(rom) as board:
        over_pty(board, job, on_attempt=attempts.append)
    assert attempts == [1]


def test_answers_to_an_older_sync_come_with_the_new_ones() -> None:
    rom = FakeRom({BASE: 9})
    held: list[bytes] = []

    def late(data: bytes) -> bytes:
        answers = rom.feed(data)
        held.append(answers)
        return b"" if len(held) == 1 else held[0] + answers if len(held) == 2 else answers

    async def job(loader: RomLoader) -> None:
        assert loader.counters.retries == 1
        assert loader.counters.rx_bytes == 16 * 14
        assert await loader.read_regs([BASE]) == [9]

    with pty_board(feed=late) as board:
        over_pty(board, job)


def test_boot_text_before_the_answers() -> None:
    rom = FakeRom({BASE: 9})
    first = [b"ets Jul 29 2019 12:21:46\r\n\r\nrst:0x1 (POWERON_RESET),boot:0x3\r\nwaiting for download\r\n"]

    async def job(loader: RomLoader) -> None:
        assert await loader.read_regs([BASE]) == [9]

    with pty_board(feed=lambda data: (first.pop() if first else b"") + rom.feed(data)) as board:
        over_pty(board, job)


@pytest.mark.parametrize(
    ("noise", "error", "words"),
    [
        (b"", NoAnswer, "no answer"),
        (b"\x80\xfe\xc0\xff", GarbledAnswer, "no ROM loader"),
        (b"rst:0x1 (POWERON_RESET),boot:0x13 (SPI_FAST_FLASH_BOOT)\r\n", NoAnswer, "its own program"),
        (b"rst:0x1,boot:0x3 (DOWNLOAD_BOOT)\r\nwaiting for download\r\n", NoAnswer, "does not hear us"),
    ],
)
def test_nobody_there(noise: bytes, error: type[LinkError], words: str) -> None:
    async def job(loader: RomLoader) -> None:
        raise AssertionError("connected to nothing")

    with pty_board(feed=lambda data: noise) as board, pytest.raises(error, match=words) as caught:
        over_pty(board, job)
    assert caught.value.hint
    assert board.port in str(caught.value)


def test_vanished_while_connecting() -> None:
    async def run(board: PtyBoard) -> None:
        stream = await open_stream(board.port)
        asyncio.get_running_loop().call_later(0.15, board.vanish)
        with pytest.raises(PortGone):
            await RomLoader.connect(stream, attempts=7)
        await stream.aclose()

    with pty_board() as board:
        asyncio.run(run(board))


def test_no_sync_and_unknown_modes() -> None:
    async def run() -> None:
        stream = MemoryStream(FakeRom({BASE: 1}).feed)
        loader = await RomLoader.connect(stream, before="no-reset-no-sync")
        assert stream.written == []
        assert await loader.read_regs([BASE]) == [1]
        with pytest.raises(UsageError):
            await RomLoader.connect(stream, before="kick-it")  # type: ignore[arg-type]

    asyncio.run(run())


# --- what goes wrong in a burst


def test_silence_in_a_burst_and_getting_in_step_again() -> None:
    rom = FakeRom({BASE: 1})
    silent = [False]

    async def job(loader: RomLoader) -> None:
        silent[0] = True
        with pytest.raises(NoAnswer, match="0 of 1") as caught:
            await loader.burst(ReadRegs((BASE,)), timeout_s=0.1)
        assert caught.value.hint
        with pytest.raises(LinkError, match="sync first"):
            await loader.read_regs([BASE])
        silent[0] = False
        await loader.sync()
        assert await loader.read_regs([BASE]) == [1]

    with pty_board(feed=lambda data: b"" if silent[0] else rom.feed(data)) as board:
        over_pty(board, job)


def test_an_answer_lost_in_the_middle_gives_no_values() -> None:
    rom = FakeRom({BASE + 4 * n: n for n in range(5)})

    def forgetful(data: bytes) -> bytes:
        return rom.feed(data)[14:]

    async def job(loader: RomLoader, stream: MemoryStream) -> None:
        stream.feed = forgetful
        with pytest.raises(NoAnswer, match="4 of 5"):
            await loader.burst(ReadRegs(tuple(rom.registers)), timeout_s=0.05)
        assert loader.broken

    in_memory(lambda: MemoryStream(rom.feed), job)


def test_a_slow_answer_is_not_silence() -> None:
    rom = FakeRom({BASE + 4 * n: n for n in range(4)})

    async def job(loader: RomLoader, stream: MemoryStream) -> None:
        stream.feed = lambda data: b""
        answers = rom.feed(b"".join(commands.read_reg_frame(BASE + 4 * n) for n in range(4)))
        loop = asyncio.get_running_loop()
        for n in range(4):
            loop.call_later(0.08 * (n + 1), stream._deliver, answers[14 * n : 14 * n + 14])
        assert await loader.burst(ReadRegs(tuple(rom.registers)), timeout_s=0.15) == [0, 1, 2, 3]

    in_memory(lambda: MemoryStream(rom.feed), job)


def test_garbage_in_a_burst() -> None:
    rom = FakeRom({BASE: 1})
    noisy = [False]

    async def job(loader: RomLoader) -> None:
        noisy[0] = True
        with pytest.raises(GarbledAnswer, match="damaged") as caught:
            await loader.read_regs([BASE] * 40)
        assert caught.value.hint
        noisy[0] = False
        await loader.sync()
        assert await loader.read_regs([BASE]) == [1]

    with pty_board(feed=lambda data: (b"\xc0\x33\x44\xc0" if noisy[0] else b"") + rom.feed(data)) as board:
        over_pty(board, job)


def test_vanished_in_a_burst() -> None:
    rom = FakeRom()

    async def run(board: PtyBoard) -> None:
        stream = await open_stream(board.port)
        loader = await RomLoader.connect(stream)
        board.feed = None
        asyncio.get_running_loop().call_later(0.05, board.vanish)
        with pytest.raises(PortGone) as caught:
            await loader.read_regs([BASE])
        assert caught.value.hint
        with pytest.raises(PortGone):
            await loader.sync()
        await loader.aclose()

    with pty_board(rom) as board:
        asyncio.run(run(board))


def test_a_cancelled_burst_breaks_off_between_frames() -> None:
    rom = FakeRom({BASE + 4 * n: n for n in range(100)})

    async def job(loader: RomLoader, stream: MemoryStream) -> None:
        stream.feed = lambda data: b""
        task = asyncio.ensure_future(loader.read_regs(list(rom.registers)))
        await asyncio.sleep(0)
        sent = b"".join(stream.written)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        broken_off = loader.broken
        assert b"".join(stream.written) == sent
        assert len(sent) % 14 == 0
        stream.feed = rom.feed
        late = rom.feed(sent)
        asyncio.get_running_loop().call_later(0.02, stream._deliver, late)
        await loader.sync()
        assert broken_off > loader.broken
        assert await loader.read_regs([BASE + 12]) == [3]

    in_memory(lambda: MemoryStream(rom.feed), job)


def test_answers_that_nobody_asked_for_stop_the_next_burst() -> None:
    rom = FakeRom({BASE: 1})

    async def job(loader: RomLoader, stream: MemoryStream) -> None:
        assert await loader.read_regs([BASE]) == [1]
        stream._deliver(rom.feed(commands.read_reg_frame(BASE)))
        with pytest.raises(GarbledAnswer, match="more answers"):
            await loader.read_regs([BASE])
        await loader.sync()
        assert await loader.read_regs([BASE]) == [1]

    in_memory(lambda: MemoryStream(rom.feed), job)


def test_one_burst_at_a_time() -> None:
    async def job(loader: RomLoader, stream: MemoryStream) -> None:
        stream.feed = lambda data: b""
        task = asyncio.ensure_future(loader.read_regs([BASE]))
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="one burst"):
            await loader.read_regs([BASE])
        with pytest.raises(RuntimeError, match="one burst"):
            await loader.sync()
        stream._deliver(FakeRom().feed(commands.read_reg_frame(BASE)))
        assert await task == [0]

    in_memory(lambda: MemoryStream(FakeRom().feed), job)


def test_a_write_that_fails_breaks_the_burst_off_and_no_deadline_comes_behind_it() -> None:
    rom, unheard = FakeRom({BASE: 1}), list[object]()

    async def job(loader: RomLoader, stream: MemoryStream) -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: unheard.append(context))
        good = stream.feed

        def full(data: bytes) -> bytes:
            raise OSError("the trace's disk is full")

        stream.feed = full
        with pytest.raises(OSError, match="full"):
            await loader.burst(ReadRegs((BASE,)), timeout_s=0.02)
        assert loader.broken
        await asyncio.sleep(0.05)
        stream.feed = good
        await loader.sync()
        assert await loader.read_regs([BASE]) == [1]

    in_memory(lambda: MemoryStream(rom.feed), job)
    gc.collect()
    assert not unheard


def test_lost_while_idle() -> None:
    async def job(loader: RomLoader, stream: MemoryStream) -> None:
        stream.lose()
        with pytest.raises(PortGone):
            await loader.read_regs([BASE])
        await loader.aclose()
        assert stream.closed

    in_memory(lambda: MemoryStream(FakeRom().feed), job)
