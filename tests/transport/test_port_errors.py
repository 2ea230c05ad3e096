"""Errors of the operating system on a port: each call that opening makes, each kind of error, each number."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import termios
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import serial

from parburn.errors import LinkError, PortBusy, PortDenied, PortGone
from parburn.transport import tty
from parburn.transport.port_errors import is_bad_setting, lost_error, number_of, opening_error
from parburn.transport.serial import open_tty
from tests.transport.board import PtyBoard, pty_board

Failure = Callable[[], Exception]
EIO: Failure = lambda: OSError(errno.EIO, "Input/output error")  # noqa: E731
TERMIOS_EIO: Failure = lambda: termios.error(errno.EIO, "Input/output error")  # noqa: E731
# What opening calls, and what each raises on a tty that was hung up: tcsetattr and its like raise no OSError.
CALLS: list[tuple[ModuleType, str, Failure]] = [
    (os, "open", lambda: OSError(errno.ENODEV, "No such device")),
    (fcntl, "flock", EIO),
    (fcntl, "ioctl", EIO),
    (termios, "tcgetattr", TERMIOS_EIO),
    (termios, "tcsetattr", TERMIOS_EIO),
    (termios, "tcflush", TERMIOS_EIO),
]


def fail(monkeypatch: pytest.MonkeyPatch, module: ModuleType, name: str, failure: Failure) -> None:
    """Have a call fail for the ttys of the test's board."""
    real = getattr(module, name)

    def call(target: Any, *more: Any, **named: Any) -> Any:
        is_tty = str(target).startswith("/dev/pts/") if isinstance(target, str) else os.isatty(target)
        if is_tty:
            raise failure()
        return real(target, *more, **named)

    monkeypatch.setattr(module, name, call)


def open_and_close(port: str) -> None:
    async def run() -> None:
        stream = await open_tty(port, baud=115200)
        await stream.aclose()

    asyncio.run(run())


@pytest.mark.parametrize(("module", "name", "failure"), CALLS, ids=[name for _, name, _ in CALLS])
def test_a_board_that_goes_while_it_is_opened_is_gone(
    monkeypatch: pytest.MonkeyPatch, module: ModuleType, name: str, failure: Failure
) -> None:
    with pty_board() as board:
        fail(monkeypatch, module, name, failure)
        with pytest.raises(PortGone, match=f"{board.port} is gone|there is no {board.port}") as caught:
            open_and_close(board.port)
        assert "serial port at all" not in caught.value.hint
        assert "cable" in caught.value.hint


@pytest.mark.parametrize(("module", "name", "failure"), CALLS[1:], ids=[name for _, name, _ in CALLS[1:]])
def test_a_failed_opening_leaves_no_descriptor(
    monkeypatch: pytest.MonkeyPatch, module: ModuleType, name: str, failure: Failure
) -> None:
    with pty_board() as board:
        before = set(os.listdir("/proc/self/fd"))  # noqa: PTH208
        fail(monkeypatch, module, name, failure)
        with pytest.raises(PortGone):
            open_and_close(board.port)
        assert set(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def lines_of(board: PtyBoard, monkeypatch: pytest.MonkeyPatch, failure: Failure) -> None:
    """Open a board, as an adapter, and set its lines when ioctl fails."""
    monkeypatch.setattr(tty, "is_pty", lambda port: False)

    async def run() -> None:
        stream = await open_tty(board.port, baud=115200)
        try:
            fail(monkeypatch, fcntl, "ioctl", failure)
            await stream.move_lines([(True, False, 0.0)])
        finally:
            monkeypatch.undo()
            await stream.aclose()

    asyncio.run(run())


@pytest.mark.parametrize("failure", [EIO, TERMIOS_EIO, lambda: OSError(errno.ENODEV, "")])
def test_lines_of_a_board_that_went(monkeypatch: pytest.MonkeyPatch, failure: Failure) -> None:
    with pty_board() as board, pytest.raises(PortGone, match="is gone"):
        lines_of(board, monkeypatch, failure)


def test_an_adapter_that_does_not_answer_is_not_called_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    with pty_board() as board, pytest.raises(PortGone, match="does not do what it is told") as caught:
        lines_of(board, monkeypatch, lambda: OSError(errno.ETIMEDOUT, ""))
    assert "plug it in anew" in caught.value.hint


@pytest.mark.parametrize(
    ("name", "failure", "expected"),
    [
        ("tcsetattr", TERMIOS_EIO, PortGone),
        ("tcgetattr", TERMIOS_EIO, PortGone),
        ("ioctl", EIO, PortGone),  # within pyserial's ValueError for a rate that termios has no name for
    ],
)
def test_the_rate_of_a_board_that_went(
    monkeypatch: pytest.MonkeyPatch, name: str, failure: Failure, expected: type[LinkError]
) -> None:
    async def run(port: str) -> None:
        stream = await open_tty(port, baud=115200)
        try:
            fail(monkeypatch, fcntl if name == "ioctl" else termios, name, failure)
            await stream.set_baud(1_234_567)
        finally:
            monkeypatch.undo()
            await stream.aclose()

    with pty_board() as board, pytest.raises(expected, match="is gone"):
        asyncio.run(run(board.port))


# --- numbers


@pytest.fixture
def there(tmp_path: Path) -> str:
    """A node that is there."""
    (tmp_path / "ttyUSB0").touch()
    return str(tmp_path / "ttyUSB0")


@pytest.mark.parametrize(
    ("number", "expected", "text"),
    [
        (errno.EBUSY, PortBusy, "is held by another program"),
        (errno.EAGAIN, PortBusy, "is held by another program"),
        (errno.EACCES, PortDenied, "no rights to open"),
        (errno.EPERM, PortDenied, "no rights to open"),
        (errno.ENOENT, PortGone, "there is no"),
        (errno.ENXIO, PortGone, "there is no"),
        (errno.EIO, PortGone, "is gone"),
        (errno.ESHUTDOWN, PortGone, "is gone"),
        (errno.EPROTO, PortGone, "does not do what it is told: Protocol error"),
        (errno.ETIMEDOUT, PortGone, "does not do what it is told: Connection timed out"),
        (errno.EMFILE, LinkError, "Too many open files"),
        (errno.ENOTTY, PortGone, "cannot be opened as a serial port"),
        (errno.EISDIR, PortGone, "cannot be opened as a serial port"),
    ],
)
@pytest.mark.parametrize("kind", ["os", "termios", "wrapped"])
def test_what_a_number_means(
    there: str, number: int, expected: type[LinkError], text: str, kind: str
) -> None:
    message = os.strerror(number)
    error: Exception = termios.error(number, message) if kind == "termios" else OSError(number, message)
    if kind == "wrapped":
        error = serial.SerialException("could not configure port")
        error.__context__ = termios.error(number, message)
    found = opening_error(there, error)
    assert type(found) is expected
    assert text in str(found)
    assert there in str(found)
    assert found.hint


@pytest.mark.parametrize("number", [*errno.errorcode, None])
def test_whatever_happens_to_a_port_is_an_error_of_the_line(there: str, number: int | None) -> None:
    for error in (
        OSError(number, "?") if number else OSError("?"),
        termios.error(number, "?"),
        ValueError("?"),
    ):
        for found in (opening_error(there, error), lost_error(there, error)):
            assert isinstance(found, LinkError)
            assert there in str(found)
            assert found.hint


def test_a_node_that_went_is_gone_whatever_the_number_says(tmp_path: Path) -> None:
    port = str(tmp_path / "ttyUSB0")
    for number in (errno.ENOTTY, errno.EINVAL, errno.EPROTO):
        assert str(opening_error(port, OSError(number, "?"))) == f"{port} is gone"


def test_numbers() -> None:
    assert number_of(ValueError("Not a valid baudrate: 0")) is None
    assert number_of(termios.error("no number")) is None
    assert is_bad_setting(ValueError("Not a valid baudrate: 0"))
    assert not is_bad_setting(OSError(errno.EIO, ""))


def test_closing_a_board_that_went(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run(port: str) -> None:
        stream = await open_tty(port, baud=115200)
        monkeypatch.setattr(tty, "is_pty", lambda found: False)
        stream.is_pty = False
        fail(monkeypatch, termios, "tcflush", TERMIOS_EIO)
        fail(monkeypatch, fcntl, "ioctl", EIO)
        await stream.aclose()

    with pty_board() as board:
        asyncio.run(run(board.port))
