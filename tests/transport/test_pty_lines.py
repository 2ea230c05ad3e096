"""Ptys with lines: opening asserts both, a reset reaches the circuit, rates and closing leave them alone."""

from __future__ import annotations

import asyncio
import termios
import threading
import time
from collections.abc import Callable

import pytest

from parburn.errors import NoAnswer, PortBusy, PortGone
from parburn.hardware.rom_loader import RomLoader
from parburn.transport import pty_lines, serial
from parburn.transport.lines_lock import machine_lines
from parburn.transport.open import open_stream
from parburn.transport.reset import apply_reset
from tests.protocol.fake_rom import FakeRom
from tests.transport.board import pty_board
from tests.transport.lined_board import EXTPROC, LinedBoard, lined_board


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def test_opening_asserts_both_and_closing_leaves_them() -> None:
    async def run(board: LinedBoard) -> None:
        stream = await open_stream(board.port)
        assert (stream.has_lines, stream.is_pty) == (True, True)
        await stream.aclose()
        again = await open_stream(board.port)
        await again.aclose()

    with lined_board() as board:
        asyncio.run(run(board))
        until(lambda: board.lines == (True, True))
        assert board.states() == [(True, True)]
        assert not termios.tcgetattr(board.master)[2] & termios.HUPCL


def test_each_state_reaches_the_other_end_in_its_time() -> None:
    async def run(board: LinedBoard) -> None:
        stream = await open_stream(board.port)
        await board.noted(1)  # two changes at one moment are seen as one
        await stream.move_lines([(False, True, 0.1), (True, False, 0.05), (False, False, 0.02)])
        await stream.aclose()

    with lined_board() as board:
        asyncio.run(run(board))
        until(lambda: len(board.moves) == 4)
        assert board.states() == [(True, True), (False, True), (True, False), (False, False)]
        reset, boot, end = board.moves[1:]
        assert 0.09 < (boot.at - reset.at) / 1e9 < 0.5
        assert 0.04 < (end.at - boot.at) / 1e9 < 0.5


def test_a_reset_finds_the_loader_and_without_one_nobody_answers() -> None:
    rom = FakeRom({0x1000: 7})

    async def run(board: LinedBoard) -> None:
        stream = await open_stream(board.port)
        with pytest.raises(NoAnswer):
            await RomLoader.connect(stream, before="no-reset", attempts=1)
        loader = await RomLoader.connect(stream, before="default-reset")
        assert await loader.read_regs([0x1000]) == [7]
        await apply_reset(stream, "hard-reset")
        async with asyncio.timeout(5):
            while board.loads:  # noqa: ASYNC110  # a thread
                await asyncio.sleep(0.002)
        await loader.aclose()

    with lined_board(rom.feed) as board:
        asyncio.run(run(board))
        assert board.resets >= 2


def test_settings_of_pyserial_keep_the_lines() -> None:
    """A new rate sets up the driver anew: also one that termios has no name for."""

    async def run(board: LinedBoard) -> None:
        stream = await open_stream(board.port)
        await board.noted(1)
        await stream.move_lines([(True, False, 0)])
        for baud in (921600, 123456, 115200):
            await stream.set_baud(baud)
        now = termios.tcgetattr(board.master)
        assert now[3] & EXTPROC
        assert now[6][termios.VEOL2] == b"\x01"
        assert not now[3] & (termios.ICANON | termios.ECHO)
        await stream.aclose()

    with lined_board() as board:
        asyncio.run(run(board))
        until(lambda: len(board.moves) == 2)
        assert board.states() == [(True, True), (True, False)]


def test_other_bits_of_the_character_stay() -> None:
    with lined_board() as board:
        settings = termios.tcgetattr(board.master)
        settings[6][termios.VEOL2] = b"\xf5"
        termios.tcsetattr(board.master, termios.TCSANOW, settings)
        pty_lines.set_lines(board.master, False, True)
        assert termios.tcgetattr(board.master)[6][termios.VEOL2] == b"\xf6"


def test_every_byte_passes_while_lines_move() -> None:
    every = bytes(range(256)) * 20
    taken = bytearray()

    async def run(board: LinedBoard) -> None:
        board.loads = True
        stream = await open_stream(board.port)
        stream.attach(taken.extend, lambda error: None)
        moving = asyncio.create_task(stream.move_lines([(True, n % 2 == 0, 0.01) for n in range(20)]))
        for start in range(0, len(every), 100):
            stream.write(every[start : start + 100])
            await asyncio.sleep(0.002)
        await moving
        async with asyncio.timeout(5):
            while len(taken) < len(every):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        await stream.aclose()

    with lined_board(lambda data: data) as board:
        asyncio.run(run(board))
        assert bytes(taken) == bytes(board.heard) == every


def test_lines_move_in_the_ports_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    threads = set[str]()
    real = pty_lines.set_lines

    def seen(fd: int, dtr: bool, rts: bool) -> None:
        threads.add(threading.current_thread().name)
        real(fd, dtr, rts)

    async def run(board: LinedBoard) -> None:
        stream = await open_stream(board.port)
        await stream.move_lines([(True, False, 0)])
        await stream.aclose()

    monkeypatch.setattr(pty_lines, "set_lines", seen)
    with lined_board() as board:
        asyncio.run(run(board))
        assert threads == {f"port {board.port}"}
        until(lambda: not any(one.name == f"port {board.port}" for one in threading.enumerate()))


def test_a_second_opening_is_refused_and_moves_nothing() -> None:
    async def run(board: LinedBoard) -> None:
        stream = await open_stream(board.port)
        await stream.move_lines([(False, False, 0)])
        with pytest.raises(PortBusy):
            await open_stream(board.port)
        await stream.aclose()

    with lined_board() as board:
        asyncio.run(run(board))
        until(lambda: board.lines == (False, False))


def test_a_board_that_goes() -> None:
    async def run(board: LinedBoard) -> None:
        stream = await open_stream(board.port)
        board.vanish()
        with pytest.raises(PortGone):
            await stream.move_lines([(True, False, 0)])
        began = time.monotonic()
        await stream.aclose()
        assert time.monotonic() - began < 1

    with lined_board() as board:
        asyncio.run(run(board))


def test_other_ptys_have_none() -> None:
    with pty_board() as board:
        assert not pty_lines.has_lines(board.slave)


def test_who_gives_up_while_others_burn_closes_behind_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """The port is open by then, and its lines are not raised yet."""
    closed = list[float]()
    real = serial._Port.really_close

    def seen(port: serial._Port) -> None:
        closed.append(time.monotonic())
        real(port)

    async def run(board: LinedBoard) -> None:
        async with machine_lines().burning():
            opening = asyncio.create_task(open_stream(board.port))
            await asyncio.sleep(0.1)
            opening.cancel()
            with pytest.raises(asyncio.CancelledError):
                await opening
            await asyncio.sleep(0.2)
            assert not closed
        async with asyncio.timeout(3):
            while not closed:  # noqa: ASYNC110  # a thread closes it
                await asyncio.sleep(0.005)
        again = await open_stream(board.port)
        await again.aclose()

    monkeypatch.setattr(serial._Port, "really_close", seen)
    with lined_board() as board:
        asyncio.run(run(board))
        until(lambda: not any(one.name == f"port {board.port}" for one in threading.enumerate()))
