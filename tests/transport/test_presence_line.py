"""The input line by which a fixture says that a board is in it, on ptys that have lines."""

from __future__ import annotations

import os
import termios
from collections.abc import Iterator

import pytest

from parburn.transport.tty import presence_line

EXTPROC = 0o200000


@pytest.fixture
def pty() -> Iterator[tuple[int, int]]:
    master, slave = os.openpty()
    yield master, slave
    os.close(slave)
    os.close(master)


def give_lines(descriptor: int, bits: int) -> None:
    settings = termios.tcgetattr(descriptor)
    settings[3] |= EXTPROC
    settings[6][termios.VEOL2] = bytes([bits])
    termios.tcsetattr(descriptor, termios.TCSANOW, settings)


@pytest.mark.parametrize(("bits", "cts"), [(0b000, False), (0b011, False), (0b100, True), (0b111, True)])
def test_cts_is_bit_2(pty: tuple[int, int], bits: int, cts: bool) -> None:
    master, slave = pty
    give_lines(master, bits)
    assert presence_line(slave, "cts") is cts
    assert presence_line(slave, "dsr") is False
    assert presence_line(slave, "dcd") is False


def test_a_pty_without_lines_has_none_set(pty: tuple[int, int]) -> None:
    _, slave = pty
    settings = termios.tcgetattr(slave)
    settings[6][termios.VEOL2] = b"\xff"
    termios.tcsetattr(slave, termios.TCSANOW, settings)
    assert presence_line(slave, "cts") is False


def test_a_device_without_modem_lines_has_none_set() -> None:
    with open("/dev/null", "rb") as null:  # noqa: PTH123
        assert presence_line(null.fileno(), "cts") is False


def test_a_port_that_is_gone() -> None:
    master, slave = os.openpty()
    os.close(master)
    try:
        with pytest.raises((OSError, termios.error)):
            presence_line(slave, "cts")
    finally:
        os.close(slave)
