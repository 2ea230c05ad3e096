"""Serial ports, on real ptys: raw mode, first bytes, locks, losses, closing."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import struct
import termios
import threading
from pathlib import Path
from typing import Any

import pytest
import serial

from parburn.errors import LinkError, PortBusy, PortDenied, PortGone
from parburn.transport import ports, tty
from parburn.transport import serial as serial_module
from parburn.transport.open import open_stream
from parburn.transport.serial import SerialStream, open_tty
from tests.transport.board import pty_board

EVERY_BYTE = bytes(range(256))


def nothing(_: object) -> None:
    """Takes what nobody looks at."""


class Taker:
    """Collects what a stream hands over and waits for it."""

    def __init__(self) -> None:
        self.data = b""
        self.losses: list[Exception] = []
        self.changed = asyncio.Event()

    def on_data(self, data: bytes) -> None:
        self.data += data
        self.changed.set()

    def on_lost(self, error: Exception) -> None:
        self.losses.append(error)
        self.changed.set()

    async def until(self, size: int, losses: int = 0) -> None:
        async with asyncio.timeout(5):
            while len(self.data) < size or len(self.losses) < losses:
                self.changed.clear()
                await self.changed.wait()


def test_every_byte_passes_both_ways_on_a_fresh_pty() -> None:
    async def run() -> None:
        with pty_board(feed=lambda data: data) as board:
            assert termios.tcgetattr(board.slave)[3] & termios.ECHO  # nobody has set it up
            stream, taker = await open_stream(board.port), Taker()
            flags = termios.tcgetattr(board.slave)[3]
            assert not flags & (termios.ECHO | termios.ICANON | termios.ISIG)
            stream.attach(taker.on_data, taker.on_lost)
            stream.write(EVERY_BYTE)
            await taker.until(256)
            assert taker.data == EVERY_BYTE == bytes(board.heard)
            assert stream.is_pty
            assert stream.usb_vid_pid is None
            await stream.aclose()
            assert not taker.losses

    asyncio.run(run())


def test_bytes_that_come_before_anyone_listens_are_kept() -> None:
    async def run() -> None:
        with pty_board() as board:
            stream, taker = await open_stream(board.port), Taker()
            board.send(b"first")
            await asyncio.sleep(0.05)
            board.send(b" second")
            await asyncio.sleep(0.05)
            stream.attach(taker.on_data, taker.on_lost)
            assert taker.data == b"first second"
            await stream.aclose()

    asyncio.run(run())


def test_a_reading_that_another_program_was_first_at_is_no_loss() -> None:
    """Woken for bytes that are not there any more: an empty read, as from a port that hung up."""

    async def run() -> None:
        with pty_board() as board:
            stream, taker = await open_tty(board.port, baud=115200), Taker()
            stream.attach(taker.on_data, taker.on_lost)
            stream._transport._read_ready()
            board.send(b"ours")
            await taker.until(4)
            assert not taker.losses
            board.vanish()
            await taker.until(4, losses=1)
            await stream.aclose()

    asyncio.run(run())


def test_discard_input() -> None:
    async def run() -> None:
        with pty_board() as board:
            stream, taker = await open_stream(board.port), Taker()
            board.send(b"old")
            await asyncio.sleep(0.05)
            stream.discard_input()
            stream.attach(taker.on_data, taker.on_lost)
            board.send(b"new")
            await taker.until(3)
            assert taker.data == b"new"
            await stream.aclose()

    asyncio.run(run())


def test_more_than_the_driver_takes_arrives_whole() -> None:
    load = EVERY_BYTE * 256

    async def run() -> None:
        with pty_board() as board:
            stream = await open_stream(board.port)
            stream.attach(nothing, nothing)
            for start in range(0, len(load), 5000):
                stream.write(load[start : start + 5000])
            await stream.aclose()  # closing lets it all out first
            for _ in range(100):
                if len(board.heard) == len(load):
                    break
                await asyncio.sleep(0.01)
            assert bytes(board.heard) == load

    asyncio.run(run())


def test_a_second_opening_is_refused_and_a_later_one_is_not() -> None:
    async def run() -> None:
        with pty_board() as board:
            stream = await open_stream(board.port)
            with pytest.raises(PortBusy) as caught:
                await open_stream(board.port)
            assert board.port in str(caught.value)
            assert caught.value.hint
            await stream.aclose()
            again = await open_stream(board.port)
            await again.aclose()
            await again.aclose()  # a second time is no error

    asyncio.run(run())


def test_a_pty_is_not_marked_exclusive() -> None:
    """The mark would outlive a killed process and lock out the next run."""
    asked: list[int] = []

    def ioctl(_fd: int, request: int, *_: Any) -> bytes:
        asked.append(request)
        return b"\0\0\0\0"

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fcntl, "ioctl", ioctl)
        patch.setattr(tty, "is_pty", lambda fd: True)
        tty.claim_exclusively(0)
        assert asked == []
        patch.setattr(tty, "is_pty", lambda fd: False)
        tty.claim_exclusively(0)
        assert asked == [termios.TIOCEXCL]


@pytest.mark.parametrize("listen_first", [True, False])
def test_unplugged_is_reported_once(listen_first: bool) -> None:
    async def run() -> None:
        with pty_board() as board:
            stream, taker = await open_stream(board.port), Taker()
            if listen_first:
                stream.attach(taker.on_data, taker.on_lost)
            await asyncio.sleep(0.01)
            board.vanish()
            await asyncio.sleep(0.05)
            if not listen_first:
                stream.attach(taker.on_data, taker.on_lost)
            await taker.until(0, losses=1)
            stream.write(b"into the void")
            await asyncio.sleep(0.02)
            assert [type(error) for error in taker.losses] == [PortGone]
            assert board.port in str(taker.losses[0])
            await stream.aclose()

    asyncio.run(run())


def test_unplugged_while_writing() -> None:
    async def run() -> None:
        with pty_board() as board:
            stream, taker = await open_stream(board.port), Taker()
            stream.attach(taker.on_data, taker.on_lost)
            board.vanish()
            stream.write(b"too late")
            assert not taker.losses  # never from within write()
            await taker.until(0, losses=1)
            await stream.aclose()
            assert len(taker.losses) == 1

    asyncio.run(run())


def test_a_pty_has_no_lines_and_takes_any_rate() -> None:
    async def run() -> None:
        with pty_board(feed=lambda data: data) as board:
            stream, taker = await open_stream(board.port), Taker()
            stream.attach(taker.on_data, taker.on_lost)
            assert not stream.has_lines
            await stream.move_lines([(True, False, 0.0)])
            await stream.set_baud(921600)
            await stream.set_baud(123456)
            stream.write(b"still here")
            await taker.until(10)
            await stream.aclose()

    asyncio.run(run())


# --- opening what cannot be opened


@pytest.mark.parametrize(
    ("number", "error", "word"),
    [
        (errno.EBUSY, PortBusy, "held"),
        (errno.EAGAIN, PortBusy, "held"),
        (errno.EACCES, PortDenied, "rights"),
        (errno.ENOENT, PortGone, "there is no"),
        (errno.ENODEV, PortGone, "there is no"),
        (errno.EIO, PortGone, "is gone"),
    ],
)
def test_errors_of_opening(
    number: int, error: type[LinkError], word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise serial.SerialException(number, os.strerror(number))

    monkeypatch.setattr(serial_module, "_Port", refuse)
    with pytest.raises(error, match=word) as caught:
        asyncio.run(open_stream("/dev/ttyUSB7"))
    assert "/dev/ttyUSB7" in str(caught.value)
    assert caught.value.hint


def test_no_such_port_and_no_port_at_all(tmp_path: Path) -> None:
    with pytest.raises(PortGone, match="there is no"):
        asyncio.run(open_stream(str(tmp_path / "ttyUSB0")))
    plain = tmp_path / "file"
    plain.write_text("not a tty")
    with pytest.raises(PortGone, match="cannot be opened"):
        asyncio.run(open_stream(str(plain)))


def test_modem_manager_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "17").mkdir()
    (tmp_path / "17" / "comm").write_text("ModemManager\n")
    monkeypatch.setattr(ports, "_PROC", tmp_path)
    assert "ModemManager" in ports.busy_hint()
    (tmp_path / "17" / "comm").write_text("bash\n")
    assert "ModemManager" not in ports.busy_hint()


# --- what a pty does not have, by its system calls


def test_both_lines_in_one_call_and_no_question(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[int, int]] = []

    def ioctl(_fd: int, request: int, argument: bytes) -> bytes:
        calls.append((request, struct.unpack("I", argument)[0]))
        return argument

    monkeypatch.setattr(fcntl, "ioctl", ioctl)
    tty.set_lines(3, False, True)
    tty.set_lines(3, True, False, others=0x4000)
    assert calls == [
        (termios.TIOCMSET, termios.TIOCM_RTS),
        (termios.TIOCMSET, termios.TIOCM_DTR | 0x4000),
    ]


def test_output_lines_of_a_uart_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without OUT2 a PC's UART interrupts no more; inputs are nothing to set."""
    lines = struct.pack("I", termios.TIOCM_DTR | termios.TIOCM_CTS | 0x4000)
    monkeypatch.setattr(fcntl, "ioctl", lambda *_: lines)
    assert tty.other_lines(3) == 0x4000


@pytest.mark.parametrize(
    ("number", "raised"), [(errno.ENOTTY, False), (errno.EINVAL, False), (errno.EIO, True)]
)
def test_missing_lines_are_no_error_and_a_gone_port_is(
    number: int, raised: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ioctl(*_: object) -> bytes:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(tty, "is_pty", lambda port: False)

    async def run() -> None:
        with pty_board() as board:
            stream = await open_stream(board.port)
            with monkeypatch.context() as patch:
                patch.setattr(fcntl, "ioctl", ioctl)
                if raised:
                    with pytest.raises(PortGone):
                        await stream.move_lines([(True, True, 0.0)])
                else:
                    await stream.move_lines([(True, True, 0.0)])
            await stream.aclose()

    asyncio.run(run())


def a_driver(monkeypatch: pytest.MonkeyPatch, flags: int) -> list[int]:
    """A driver that knows its flags; what they became is kept."""
    seen = [flags]

    def ioctl(_fd: int, request: int, argument: Any) -> int:
        if request == tty._TIOCSSERIAL:
            seen.append(struct.unpack_from("i", argument, 16)[0])
        else:
            struct.pack_into("i", argument, 16, seen[-1])
        return 0

    monkeypatch.setattr(fcntl, "ioctl", ioctl)
    monkeypatch.setattr(tty, "is_pty", lambda fd: False)
    return seen


def test_low_latency_is_asked_for_and_put_back(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    timer = tmp_path / "ttyUSB9" / "device" / "latency_timer"
    timer.parent.mkdir(parents=True)
    timer.write_text("16")
    monkeypatch.setattr(tty, "_SYSFS_TTY", tmp_path)
    flags = a_driver(monkeypatch, 0x40)
    found = tty.ask_low_latency(3, "/dev/ttyUSB9")
    assert found.timer_ms == 1
    assert flags == [0x40, 0x2040]
    assert timer.read_text() == "1"
    tty.put_back_latency(3, "/dev/ttyUSB9", found)
    assert flags == [0x40, 0x2040, 0x40]
    assert timer.read_text() == "16"


def test_latency_that_somebody_else_has_set_stays(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tty, "_SYSFS_TTY", tmp_path)
    flags = a_driver(monkeypatch, 0x2000)
    tty.put_back_latency(3, "/dev/ttyUSB9", tty.ask_low_latency(3, "/dev/ttyUSB9"))
    assert flags == [0x2000]


def test_latency_that_may_not_be_changed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(*_: object) -> int:
        raise OSError(errno.EPERM, "no")

    timer = tmp_path / "ttyUSB9" / "device" / "latency_timer"
    timer.parent.mkdir(parents=True)
    timer.write_text("16")
    monkeypatch.setattr(tty, "is_pty", lambda fd: False)
    monkeypatch.setattr(tty, "_SYSFS_TTY", tmp_path)
    monkeypatch.setattr(fcntl, "ioctl", refuse)
    monkeypatch.setattr(Path, "write_text", lambda *_: refuse())  # not root
    found = tty.ask_low_latency(3, "/dev/ttyUSB9")
    assert found == tty.Latency(16)
    tty.put_back_latency(3, "/dev/ttyUSB9", found)
    timer.unlink()
    timer.parent.rmdir()
    assert tty.ask_low_latency(3, "/dev/ttyUSB9") == tty.Latency()  # quiet where there is nothing to ask


@pytest.mark.parametrize("before", [termios.HUPCL, 0])
def test_no_close_moves_a_line(before: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with pty_board() as board:
        settings = termios.tcgetattr(board.slave)
        settings[2] = settings[2] & ~termios.HUPCL | before
        termios.tcsetattr(board.slave, termios.TCSANOW, settings)

        monkeypatch.setattr(tty, "is_pty", lambda port: False)

        async def run() -> None:
            stream = await open_stream(board.port)
            assert not termios.tcgetattr(board.slave)[2] & termios.HUPCL
            await stream.set_baud(230400)
            await stream.aclose()

        asyncio.run(run())
        assert not termios.tcgetattr(board.slave)[2] & termios.HUPCL


def test_closing_a_real_port_flushes_and_leaves_the_loop_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[int] = []
    closers: list[str] = []
    monkeypatch.setattr(tty, "is_pty", lambda fd: False)
    monkeypatch.setattr(termios, "tcflush", lambda fd, queue: flushed.append(queue))
    monkeypatch.setattr(termios, "tcdrain", lambda fd: pytest.fail("tcdrain may never return"))
    really_close = serial_module._Port.really_close

    def slow_close(device: Any) -> None:
        closers.append(threading.current_thread().name)
        really_close(device)

    monkeypatch.setattr(serial_module._Port, "really_close", slow_close)

    async def run() -> None:
        with pty_board() as board:
            stream = await open_tty(board.port, baud=115200)
            assert isinstance(stream, SerialStream)
            assert not stream.is_pty
            flushed.clear()
            await stream.aclose()
            assert flushed == [termios.TCIOFLUSH]
            assert closers == [f"port {board.port}"]

    asyncio.run(run())


def test_usb_ids_are_found_above_the_device(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    usb = tmp_path / "devices" / "usb1" / "1-2"
    interface = usb / "1-2:1.0" / "ttyUSB3"
    interface.mkdir(parents=True)
    (usb / "idVendor").write_text("303a\n")
    (usb / "idProduct").write_text("1001\n")
    (tmp_path / "ttyUSB3").mkdir()
    (tmp_path / "ttyUSB3" / "device").symlink_to(interface)
    monkeypatch.setattr(tty, "_SYSFS_TTY", tmp_path)
    assert tty.usb_ids("/dev/ttyUSB3") == (0x303A, 0x1001)
    assert tty.usb_ids("/dev/ttyS0") is None
