"""What may move a line waits for burns, and burns wait for it; what is hung or gone holds up nobody."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from parburn.errors import LinesBusy, NoAnswer
from parburn.transport import calls_in_lines, tty
from parburn.transport import serial as serial_module
from parburn.transport.calls_in_lines import OPEN_HOLDS_LINES_S, closed_in_lines, done_in_lines
from parburn.transport.lines_lock import OVERDUE_S, machine_lines
from parburn.transport.lock_file import LOCK_ENV, Kind, LockFile
from parburn.transport.open import open_stream
from parburn.transport.port_thread import PortThread
from parburn.transport.reset import HARD_RESET
from parburn.transport.serial import SerialStream
from tests.transport.board import PtyBoard, pty_board
from tests.transport.lined_board import LinedBoard, lined_board
from tests.transport.test_network import rfc2217_client, rfc2217_server

PATIENT_S = 10.0
SOON_S = 0.15


@pytest.fixture(autouse=True)
def _lock_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(LOCK_ENV, str(tmp_path / "lines.lock"))


async def burn() -> float:
    """Burn at once, as soon as that is allowed; the seconds that it was waited."""
    asked = time.monotonic()
    async with machine_lines().burning():
        return time.monotonic() - asked


async def while_others_burn(work: Callable[[], Awaitable[Any]]) -> tuple[bool, Any]:
    """Whether `work` was done while another board burned, and its result in the end."""
    async with machine_lines().burning():
        working = asyncio.ensure_future(work())
        await asyncio.sleep(SOON_S)
        done = working.done()
    async with asyncio.timeout(PATIENT_S):
        return done, await working


# --- the calls


def test_a_call_waits_for_burns_and_burns_wait_for_it() -> None:
    seen = list[str]()

    async def run() -> None:
        thread = PortThread("a port")

        def call() -> int:
            seen.append("begins")
            time.sleep(0.2)
            seen.append("ends")
            return 7

        async with machine_lines().burning():
            working = asyncio.create_task(done_in_lines(thread, call, 5, holds_s=5))
            await asyncio.sleep(SOON_S)
            assert seen == []
        await asyncio.sleep(0.05)
        await burn()
        assert seen == ["begins", "ends"]
        assert await working == 7
        thread.end()

    asyncio.run(run())


@pytest.mark.parametrize("ended_by", ["cancelling", "its deadline"])
def test_a_call_that_goes_on_is_inside_until_it_ends(ended_by: str) -> None:
    """A reset that nobody waits for any more: its lines move, and nobody may burn."""
    ended = threading.Event()

    async def run() -> None:
        thread = PortThread("a port")

        def call() -> None:
            time.sleep(0.3)
            ended.set()

        working = asyncio.create_task(done_in_lines(thread, call, 5, holds_s=5))
        await asyncio.sleep(0.05)
        working.cancel()
        await burn()
        assert ended.is_set()
        with pytest.raises(asyncio.CancelledError):
            await working
        thread.end()

    async def run_late() -> None:
        thread, goes_on, given_up = PortThread("a port"), threading.Event(), list[float]()
        began = time.monotonic()
        working = asyncio.create_task(
            done_in_lines(
                thread, lambda: goes_on.wait(PATIENT_S), 5, holds_s=0.2,
                given_up=lambda: given_up.append(time.monotonic() - began),
            )
        )  # fmt: skip
        await asyncio.sleep(0.05)
        assert 0.1 < await burn() < 1
        assert given_up[0] >= 0.19
        assert not working.done()
        goes_on.set()
        assert await working
        thread.end()

    asyncio.run(run() if ended_by == "cancelling" else run_late())


def test_a_call_that_fails_is_over() -> None:
    async def run() -> None:
        thread = PortThread("a port")
        with pytest.raises(ZeroDivisionError):
            await done_in_lines(thread, lambda: 1 // 0, 5, holds_s=5)
        assert await burn() < 0.2
        thread.end()

    asyncio.run(run())


def test_a_call_is_not_made_where_others_burn_for_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls_in_lines, "LINES_WAIT_S", 0.1)
    made = list[int]()

    async def run() -> None:
        thread = PortThread("a port")
        async with machine_lines().burning():
            with pytest.raises(LinesBusy):
                await asyncio.create_task(done_in_lines(thread, lambda: made.append(1), 5, holds_s=5))
        await asyncio.sleep(0.05)
        thread.end()

    asyncio.run(run())
    assert made == []


@pytest.mark.parametrize("way", ["gone", "cancelled", "too long", "burns end"])
def test_a_port_is_closed_in_any_case_and_once(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = list[float]()
    monkeypatch.setattr(calls_in_lines, "LINES_WAIT_S", 0.6 if way == "too long" else 60.0)
    monkeypatch.setattr(calls_in_lines, "_LOOK_S", 0.25)

    async def run() -> None:
        thread, gone = PortThread("a port"), False

        def close() -> None:
            closed.append(time.monotonic())

        async with machine_lines().burning():
            closing = asyncio.create_task(closed_in_lines(thread, close, 5, is_gone=lambda: gone))
            await asyncio.sleep(0.4)
            assert closed == []
            async with asyncio.timeout(0.2):
                await asyncio.create_task(burn())  # nobody waits for it
            gone = way == "gone"
            if way == "cancelled":
                closing.cancel()
            if way != "burns end":
                await asyncio.wait({closing}, timeout=3)
                await asyncio.sleep(0.02)
                assert len(closed) == 1
        await asyncio.wait({closing}, timeout=3)
        assert closing.cancelled() is (way == "cancelled")
        assert len(closed) == 1
        thread.end()

    asyncio.run(run())


@pytest.mark.parametrize("burns_in", ["this process", "another"])
def test_who_closes_is_patient_with_its_own_boards_only(burns_in: str) -> None:
    async def run(elsewhere: LockFile) -> None:
        thread = PortThread("a port")
        stay = await machine_lines().enter(Kind.BURN, within_s=1) if burns_in == "this process" else None
        if stay is None:
            elsewhere.go_in(Kind.BURN)
        closing = asyncio.create_task(closed_in_lines(thread, lambda: None, 5, is_gone=lambda: False))
        await asyncio.sleep(OVERDUE_S[Kind.LINES] + 0.3)
        assert elsewhere.has_waited(Kind.LINES) is (burns_in == "another")
        elsewhere.go_out(Kind.BURN)
        if stay is not None:
            stay.leave()
        async with asyncio.timeout(2):
            await closing
        thread.end()

    path = machine_lines().path
    assert path is not None
    elsewhere = LockFile(path)
    asyncio.run(run(elsewhere))
    elsewhere.close()


# --- each way of opening, moving, closing


def test_a_port_with_lines_takes_part() -> None:
    async def run(board: LinedBoard) -> None:
        done, stream = await while_others_burn(lambda: open_stream(board.port))
        assert not done
        done, _ = await while_others_burn(lambda: stream.move_lines(HARD_RESET))
        assert not done
        moving = asyncio.ensure_future(stream.move_lines([(False, True, 0.3), (False, False, 0)]))
        await asyncio.sleep(0.05)
        assert await burn() > 0.15
        await moving
        done, _ = await while_others_burn(stream.aclose)
        assert not done

    with lined_board() as board:
        asyncio.run(run(board))


def test_a_port_without_lines_does_not() -> None:
    async def run(board: PtyBoard) -> None:
        async with machine_lines().burning(), asyncio.timeout(2):
            stream = await open_stream(board.port)
            await stream.move_lines(HARD_RESET)
            await stream.aclose()

    with pty_board() as board:
        asyncio.run(run(board))


def test_a_plain_socket_does_not() -> None:
    async def run() -> None:
        server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with machine_lines().burning(), asyncio.timeout(2):
            stream = await open_stream(f"socket://127.0.0.1:{port}")
            await stream.move_lines(HARD_RESET)
            await stream.aclose()
        server.close()
        await server.wait_closed()

    asyncio.run(run())


@rfc2217_client
def test_a_remote_port_takes_part() -> None:
    async def run(url: str) -> None:
        done, stream = await while_others_burn(lambda: open_stream(url))
        assert not done
        done, _ = await while_others_burn(lambda: stream.move_lines(HARD_RESET))
        assert not done
        done, _ = await while_others_burn(stream.aclose)
        assert not done

    with pty_board() as board, rfc2217_server(board) as server:
        asyncio.run(run(server.url))


def test_a_board_that_is_gone_is_closed_while_others_burn() -> None:
    async def run(board: LinedBoard) -> None:
        stream = await open_stream(board.port)
        lost = asyncio.Event()
        stream.attach(lambda data: None, lambda error: lost.set())
        board.vanish()
        await lost.wait()
        done, _ = await while_others_burn(stream.aclose)
        assert done

    with lined_board() as board:
        asyncio.run(run(board))


def test_a_board_that_goes_while_it_waits_to_be_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run(board: LinedBoard) -> None:
        stream = await open_stream(board.port)
        async with machine_lines().burning(), asyncio.timeout(3):
            closing = asyncio.ensure_future(stream.aclose())
            await asyncio.sleep(0.1)
            assert not closing.done()
            board.vanish()
            await closing

    with lined_board() as board:
        asyncio.run(run(board))


class SlowOpening:
    """Opening takes its time; what was opened and closed is written down."""

    def __init__(self, patch: pytest.MonkeyPatch, seconds: float) -> None:
        self.seconds = seconds
        self.opened, self.closed = list[float](), list[float]()
        patch.setattr(tty, "is_pty", lambda port: False)
        patch.setattr(serial_module, "_open_device", self._slow(serial_module._open_device))
        patch.setattr(serial_module._Port, "really_close", self._noted(serial_module._Port.really_close))

    def _slow(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: object) -> object:
            time.sleep(self.seconds)
            self.opened.append(time.monotonic())
            return real(*given)

        return call

    def _noted(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(device: object) -> None:
            self.closed.append(time.monotonic())
            real(device)

        return call


def test_an_opening_holds_others_up_for_a_moment_only(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = SlowOpening(monkeypatch, 0.8)

    async def run(board: PtyBoard) -> None:
        opening = asyncio.ensure_future(open_stream(board.port))
        await asyncio.sleep(0.05)
        waited = await burn()
        assert OPEN_HOLDS_LINES_S - 0.1 < waited < OPEN_HOLDS_LINES_S + 0.3
        assert not slow.opened
        stream = await opening  # who opens may still want it
        assert isinstance(stream, SerialStream)
        await stream.aclose()

    with pty_board() as board:
        asyncio.run(run(board))
    assert len(slow.closed) == 1


@pytest.mark.parametrize("given_up_by", ["its deadline", "who asked"])
def test_what_opens_when_nobody_wants_it_is_closed_within_lines(
    given_up_by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = SlowOpening(monkeypatch, 0.6)
    if given_up_by == "its deadline":
        monkeypatch.setattr(serial_module, "_OPEN_S", 0.4)

    async def run(board: PtyBoard) -> None:
        opening = asyncio.ensure_future(open_stream(board.port))
        await asyncio.sleep(0.35)
        if given_up_by == "who asked":
            opening.cancel()
        async with machine_lines().burning():
            with pytest.raises((NoAnswer, asyncio.CancelledError)):
                await opening
            await asyncio.sleep(0.5)
            assert slow.opened
            assert not slow.closed
        async with asyncio.timeout(PATIENT_S):
            while not slow.closed:  # noqa: ASYNC110  # a thread closes it
                await asyncio.sleep(0.01)
        slow.seconds = 0
        stream = await open_stream(board.port)  # neither held nor locked any more
        await stream.aclose()

    with pty_board() as board:
        asyncio.run(run(board))
    assert len(slow.closed) == 2


def test_a_cancelled_opening_of_a_pty_leaves_no_descriptor() -> None:
    async def run(board: LinedBoard) -> None:
        async with machine_lines().burning():
            opening = asyncio.ensure_future(open_stream(board.port))
            await asyncio.sleep(0.1)
            opening.cancel()
            with pytest.raises(asyncio.CancelledError):
                await opening
        await asyncio.sleep(0.1)
        stream = await open_stream(board.port)
        await stream.aclose()
        await board.noted(1)
        assert board.states() == [(True, True)]

    with lined_board() as board:
        asyncio.run(run(board))
