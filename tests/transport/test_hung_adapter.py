"""An adapter whose driver does not come back: it holds up neither the loop, nor other ports, nor the exit."""

from __future__ import annotations

import asyncio
import fcntl
import os
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from parburn.errors import NoAnswer, PortGone
from parburn.transport import serial as serial_module
from parburn.transport import tty
from parburn.transport.open import open_stream
from parburn.transport.port_thread import PortThread
from parburn.transport.serial import SerialStream
from tests.transport.board import PtyBoard, pty_board

SHORT_S = 0.3
PATIENT_S = 10.0


class Driver:
    """Every pty counts as an adapter here; the one at `port` hangs in calls of its driver while `hangs`."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.port = ""
        self.hangs = False
        self.goes_on = threading.Event()
        self.requests: list[tuple[str, int]] = []  # thread, request
        patch.setattr(tty, "is_pty", lambda port: False)
        patch.setattr(tty, "usb_ids", lambda port: (0x0403, 0x6001))
        for module, name in ((termios, "tcsetattr"), (fcntl, "ioctl"), (os, "close")):
            patch.setattr(module, name, self._slow(getattr(module, name)))

    def _slow(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(fd: int, *given: Any) -> Any:
            thread = threading.current_thread().name
            if thread == f"port {self.port}":
                self.requests.append((thread, given[0] if given else -1))
                if self.hangs and not self.goes_on.wait(PATIENT_S):
                    pytest.fail("held up for ever")
                if given and given[0] == termios.TIOCMSET:
                    return b""
            return real(fd, *given)

        return call

    def set_lines(self) -> int:
        return sum(request == termios.TIOCMSET for _, request in self.requests)


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Driver]:
    monkeypatch.setattr(serial_module, "_OPEN_S", SHORT_S)
    monkeypatch.setattr(serial_module, "_REQUEST_S", SHORT_S)
    monkeypatch.setattr(serial_module, "_MOVES_S", SHORT_S)
    monkeypatch.setattr(serial_module, "_CLOSE_S", SHORT_S)
    with monkeypatch.context() as patch:
        driver = Driver(patch)
        yield driver
        driver.goes_on.set()


async def longest_turn(until: asyncio.Task[Any]) -> float:
    """The longest time that the loop stood still while a task ran."""
    longest, before = 0.0, time.monotonic()
    while not until.done():
        await asyncio.sleep(0.005)
        now = time.monotonic()
        longest, before = max(longest, now - before), now
    return longest


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_an_adapter_that_cannot_be_opened(driver: Driver) -> None:
    """The loop goes on, another port opens meanwhile, and what opens too late is closed and unlocked."""

    async def run(hung: PtyBoard, well: PtyBoard) -> None:
        driver.port, driver.hangs = hung.port, True
        opening = asyncio.ensure_future(open_stream(hung.port))
        await asyncio.sleep(0)
        other = await open_stream(well.port)
        assert await longest_turn(opening) < SHORT_S / 2
        with pytest.raises(NoAnswer) as caught:
            opening.result()
        assert str(caught.value) == f"{hung.port}: its adapter did not answer to being opened within 0.3 s"
        assert "plug it in again" in caught.value.hint
        await other.aclose()
        driver.hangs = False
        driver.goes_on.set()
        await asyncio.sleep(0.1)
        again = await open_stream(hung.port)  # neither held nor locked any more
        await again.aclose()

    with pty_board() as hung, pty_board() as well:
        asyncio.run(run(hung, well))


def test_lines_that_do_not_move(driver: Driver) -> None:
    """Given up at the deadline; what is left of the sequence never happens, whatever the driver does."""

    async def run(board: PtyBoard) -> None:
        driver.port = board.port
        stream = await open_stream(board.port)
        driver.hangs = True
        steps = [(False, False, 0.0), (False, True, 0.1), (False, False, 0.0)]
        moving = asyncio.ensure_future(stream.move_lines(steps))
        assert await longest_turn(moving) < SHORT_S / 2
        with pytest.raises(NoAnswer, match="moving its lines"):
            moving.result()
        await stream.aclose()
        driver.hangs = False
        driver.goes_on.set()

    with pty_board() as board:
        asyncio.run(run(board))
        until(lambda: driver.requests[-1][1] == -1)  # it was closed
        assert driver.set_lines() == 1


def test_a_sequence_that_nobody_waits_for_ends_as_it_should(driver: Driver) -> None:
    """Ctrl-C in the middle of a reset: the chip is not left in reset."""

    async def run(board: PtyBoard) -> None:
        driver.port = board.port
        stream = await open_stream(board.port)
        moving = asyncio.ensure_future(stream.move_lines([(False, True, 0.1), (False, False, 0.0)]))
        while not driver.set_lines():  # noqa: ASYNC110  # a thread moves them
            await asyncio.sleep(0.002)
        moving.cancel()
        await stream.aclose()
        assert driver.set_lines() == 2

    with pty_board() as board:
        asyncio.run(run(board))


def test_lines_are_set_without_a_question(driver: Driver) -> None:
    async def run(board: PtyBoard) -> None:
        driver.port = board.port
        stream = await open_stream(board.port)
        await stream.move_lines([(True, True, 0.0), (False, False, 0.0)])
        await stream.aclose()
        assert driver.set_lines() == 2
        assert termios.TIOCMGET not in [request for _, request in driver.requests]

    with pty_board() as board:
        asyncio.run(run(board))


def test_a_rate_that_is_not_taken(driver: Driver) -> None:
    async def run(board: PtyBoard) -> None:
        driver.port = board.port
        stream = await open_stream(board.port)
        driver.hangs = True
        with pytest.raises(NoAnswer, match="a new rate"):
            await stream.set_baud(921600)
        assert isinstance(stream, SerialStream)
        assert stream.baud == 115200
        await stream.aclose()

    with pty_board() as board:
        asyncio.run(run(board))


HANGS_AT_EXIT = """
import sys, termios, time
from parburn.cli.main import entry
from parburn.transport import serial, tty
tty.is_pty = lambda port: False
serial._OPEN_S = 0.5
def hang(*_):
    time.sleep(60)
termios.tcsetattr = hang
sys.argv[1:] = ["ports", "--probe", {port!r}]
entry()
"""


def test_a_hung_adapter_keeps_no_process(tmp_path: Path) -> None:
    with pty_board() as board:
        outcome = subprocess.run(
            [sys.executable, "-c", HANGS_AT_EXIT.format(port=board.port)],
            capture_output=True, text=True, timeout=40, check=False,
        )  # fmt: skip
    assert outcome.returncode == 1, outcome.stderr
    assert "its adapter did not answer" in outcome.stdout
    assert "Traceback" not in outcome.stderr


# --- the thread itself


def test_calls_are_made_in_their_order_and_errors_come_out() -> None:
    async def run() -> None:
        thread, seen, failed = PortThread("a port"), list[int](), list[Exception]()
        thread.post(lambda: seen.append(1), failed.append)
        thread.post(lambda: 1 // 0, failed.append)
        assert await thread.do(seen.copy, 5) == [1]
        with pytest.raises(PortGone):
            await thread.do(_raise_gone, 5)
        assert [type(error) for error in failed] == [ZeroDivisionError]
        thread.end()
        until(lambda: not any(one.name == "a port" for one in threading.enumerate()))

    asyncio.run(run())


def _raise_gone() -> None:
    raise PortGone("gone")


def test_a_result_that_nobody_wants_is_taken_away_also_after_the_loop() -> None:
    goes_on, unwanted = threading.Event(), list[int]()

    async def run() -> None:
        thread = PortThread("a port")
        with pytest.raises(TimeoutError):
            await thread.do(lambda: goes_on.wait(PATIENT_S) and 7, 0.05, unwanted=unwanted.append)

    asyncio.run(run())
    goes_on.set()
    until(lambda: unwanted == [7])
