"""One socket with a real seat and insertions that end as a test says: what is told, asked back, let go of."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from parburn.errors import NoAnswer, ParburnError, PortGone
from parburn.events import DeviceReport, Identified, Result
from parburn.ledger.base import UnitIdentity
from parburn.station import socket as socket_module
from parburn.station.arrivals import Node
from parburn.station.insertion import Ended
from parburn.station.picture import SocketPicture
from parburn.station.presence import Presence
from parburn.station.seats import Look, PlugSeat, Sitting
from parburn.station.socket import Socket
from parburn.station.states import SocketState
from parburn.station.verdicts import Verdict
from parburn.station.words import Word

CHIP = UnitIdentity("esp32c3", "aa:bb:cc:00:00:01")


class Ports:
    def __init__(self) -> None:
        self.closed: list[str] = []
        self.may_close = asyncio.Event()
        self.may_close.set()

    async def close(self, port: str) -> None:
        await self.may_close.wait()
        self.closed.append(port)


class Around:
    """The part of `StationRun` that a socket asks."""

    def __init__(self, after: str = "no-reset") -> None:
        self.presence, self.ports = Presence(), Ports()
        self.job = type("Job", (), {"after": after})
        self.stop = type("Stop", (), {"level": 0})
        self.missing: dict[UnitIdentity, asyncio.Event] = {}

    def put_back(self, slot: str) -> str:
        return f"put it back into {slot}"

    def left(self, identity: UnitIdentity) -> None:
        self.missing.setdefault(identity, asyncio.Event())

    def is_missing(self, identity: UnitIdentity) -> bool:
        return identity in self.missing

    def came(self, identity: UnitIdentity) -> bool:
        event = self.missing.pop(identity, None)
        if event is not None:
            event.set()
        return event is not None

    async def until_back(self, identity: UnitIdentity) -> None:
        if identity in self.missing:
            await self.missing[identity].wait()


class Rules:
    failures_that_lock = 3
    replug_s = 2.0

    def __init__(self) -> None:
        self.told: list[Result] = []
        self.defects: list[Exception] = []
        self.breaks = False

    def changed(self, picture: SocketPicture) -> None:
        pass

    def defect(self, slot: str, error: Exception) -> None:
        self.defects.append(error)

    async def ended(self, slot: str, report: DeviceReport, verdict: Verdict, seconds: float) -> Verdict:
        if self.breaks:
            raise RuntimeError("a defect")
        self.told.append(report.result)
        return verdict


Story = Callable[["Bench", Any], Awaitable[Ended]]


class Bench:
    """A socket whose insertions go by `stories`, one each."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *stories: Story, after: str = "no-reset") -> None:
        bench, self.stories = self, list(stories)
        self.around, self.rules = Around(after), Rules()
        self.reset_of: list[UnitIdentity | None] = []

        class Scripted:
            def __init__(self, _around: Any, slot: str, _port: str, watcher: Any, **more: Any) -> None:
                self.slot, self.watcher = slot, watcher
                self.seated: Any = None
                bench.reset_of.append(more["reset_of"])

            def gone(self, error: ParburnError) -> None:
                pass

            async def live(self) -> Ended:
                return await bench.stories.pop(0)(bench, self)

        monkeypatch.setattr(socket_module, "Insertion", Scripted)
        self.seat = PlugSeat(debounce_s=0.01, on_loss=lambda sitting: self.socket.lost(sitting))
        self.socket = Socket("A1", self.seat, self.around, self.rules)  # type: ignore[arg-type]
        self.serving = asyncio.ensure_future(self.socket.serve())

    async def until(self, state: SocketState) -> SocketPicture:
        for _ in range(300):
            if self.socket.picture.state is state:
                return self.socket.picture
            await asyncio.sleep(0.01)
        raise AssertionError(f"not {state}: {self.socket.picture} {self.rules.defects}")

    def pull(self, number: int = 1) -> None:
        self.seat.went(Node("/dev/ttyUSB0", (number,)))

    def put(self, number: int = 1) -> None:
        self.seat.came(Node("/dev/ttyUSB0", (number,)))


def report(result: Result) -> DeviceReport:
    return DeviceReport(port="/dev/ttyUSB0", slot="A1", result=result, chip="esp32c3", mac=CHIP.mac, index=7)


def ended(insertion: Any, result: Result, error: ParburnError | None = None, **more: Any) -> Ended:
    return Ended(report(result), error, insertion.seated, None, (), False, CHIP, False)._replace(**more)


async def found(bench: Bench, insertion: Any) -> None:
    insertion.seated = await bench.around.presence.enter(CHIP, insertion.slot)
    bench.around.came(CHIP)
    insertion.watcher.identified(Identified("/dev/ttyUSB0", "ESP32-C3", CHIP.mac, "v0.4", 40, ""))


def story(result: Result, error: ParburnError | None = None, **more: Any) -> Story:
    async def live(bench: Bench, insertion: Any) -> Ended:
        await found(bench, insertion)
        insertion.watcher.begins(7)
        return ended(insertion, result, error, **more)

    return live


def in_loop(test: Callable[[], Awaitable[None]]) -> None:
    async def run() -> None:
        await asyncio.wait_for(test(), 20)

    asyncio.run(run())


def test_a_board_that_comes_back_from_our_reset_is_told_once_and_keeps_its_verdict(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def run() -> None:
        bench = Bench(monkeypatch, story(Result.PASS), story(Result.ALREADY_PASS), after="hard-reset")
        bench.put()
        shown = await bench.until(SocketState.VERDICT)
        bench.pull()
        bench.put(2)
        await asyncio.sleep(0.2)
        assert await bench.until(SocketState.VERDICT) == shown
        assert bench.reset_of == [None, CHIP]
        assert bench.rules.told == [Result.PASS]

    in_loop(run)


def test_a_board_that_breaks_off_right_after_another_one_was_reset_goes_on_by_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def run() -> None:
        other = UnitIdentity("esp32c3", "aa:bb:cc:00:00:02")
        broke_off = story(Result.INCOMPLETE, NoAnswer("silence"), goes_on=True, identity=other)
        whole = story(Result.PASS, identity=other)
        bench = Bench(monkeypatch, story(Result.PASS), broke_off, whole, after="hard-reset")
        bench.put()
        await bench.until(SocketState.VERDICT)
        bench.pull()
        bench.put(2)
        await asyncio.sleep(0.3)
        assert (await bench.until(SocketState.VERDICT)).word is Word.PASS
        assert not bench.stories

    in_loop(run)


def test_a_begun_board_that_is_pulled_again_before_it_began_is_still_asked_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def run() -> None:
        async def pulled(bench: Bench, insertion: Any) -> Ended:
            await found(bench, insertion)
            bench.pull()
            return ended(insertion, Result.FAILED, PortGone("gone"), begun=True)

        bench = Bench(monkeypatch, pulled)
        bench.put()
        shown = await bench.until(SocketState.VERDICT)
        assert (shown.word, shown.detail) == (Word.LEAVE_IN, "put it back into A1")
        assert bench.around.is_missing(CHIP)
        assert not bench.rules.told

    in_loop(run)


def test_another_boards_verdict_does_not_ask_back_one_that_is_back_elsewhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def run() -> None:
        async def pulled(bench: Bench, insertion: Any) -> Ended:
            await found(bench, insertion)
            insertion.watcher.begins(7)
            bench.pull()
            return ended(insertion, Result.INCOMPLETE, PortGone("gone"), goes_on=True)

        other = UnitIdentity("esp32c3", "aa:bb:cc:00:00:02")

        async def second(bench: Bench, insertion: Any) -> Ended:
            bench.around.came(CHIP)  # the first one was found in another socket
            insertion.watcher.identified(Identified("/dev/ttyUSB0", "ESP32-C3", other.mac, "v0.4", 40, ""))
            insertion.watcher.begins(8)
            return ended(insertion, Result.PASS, identity=other)

        bench = Bench(monkeypatch, pulled, second)
        bench.put()
        assert "put it back" in (await bench.until(SocketState.VERDICT)).detail
        bench.put(2)
        await asyncio.sleep(0.2)
        shown = await bench.until(SocketState.VERDICT)
        assert (shown.word, shown.detail) == (Word.PASS, "")

    in_loop(run)


def test_after_a_defect_the_same_board_is_no_double_of_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        bench = Bench(monkeypatch, story(Result.PASS), story(Result.ALREADY_PASS))
        bench.rules.breaks = True
        bench.put()
        await bench.until(SocketState.LOCKED)
        bench.rules.breaks = False
        bench.socket.unlock()
        assert (await bench.until(SocketState.VERDICT)).word is Word.PASS

    in_loop(run)


def test_a_seat_that_fails_while_it_is_empty_locks_its_socket_and_ends_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def run() -> None:
        bench = Bench(monkeypatch, story(Result.PASS))
        arrival = bench.seat.arrival

        async def fails() -> Any:
            monkeypatch.setattr(bench.seat, "arrival", arrival)
            raise RuntimeError("a defect")

        monkeypatch.setattr(bench.seat, "arrival", fails)
        await bench.until(SocketState.LOCKED)
        assert not bench.serving.done()
        assert bench.rules.defects
        bench.socket.unlock()
        bench.put()
        assert (await bench.until(SocketState.VERDICT)).word is Word.PASS

    in_loop(run)


def test_an_unlock_in_the_moment_of_the_lock_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        async def dies(bench: Bench, insertion: Any) -> Ended:
            await found(bench, insertion)
            insertion.watcher.begins(7)
            bench.pull()
            return ended(insertion, Result.FAILED, NoAnswer("silence"))

        bench = Bench(monkeypatch, dies, story(Result.PASS))
        bench.rules.failures_that_lock = 1
        bench.around.ports.may_close.clear()  # its port takes its time
        bench.put()
        await bench.until(SocketState.LOCKED)
        assert bench.socket.unlock() == "A1 is unlocked"
        bench.around.ports.may_close.set()
        bench.put(2)
        assert (await bench.until(SocketState.VERDICT)).word is Word.PASS

    in_loop(run)


def test_the_port_of_a_board_that_is_pulled_from_a_locked_socket_is_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def run() -> None:
        bench = Bench(monkeypatch, story(Result.FAILED, NoAnswer("silence")))
        bench.rules.failures_that_lock = 1
        bench.put()
        await bench.until(SocketState.LOCKED)
        bench.pull()
        bench.socket.unlock()
        await bench.until(SocketState.EMPTY)
        assert bench.around.ports.closed == ["/dev/ttyUSB0"]

    in_loop(run)


async def nobody(bench: Bench, insertion: Any) -> Ended:
    return ended(insertion, Result.NO_ANSWER, NoAnswer("silence"), identity=None)


def test_a_begun_board_that_is_put_back_before_a_tty_that_stayed_is_a_new_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def run() -> None:
        broke_off = story(Result.INCOMPLETE, NoAnswer("silence"), goes_on=True)
        bench = Bench(monkeypatch, broke_off, nobody)
        looks: list[Look] = []
        removal = bench.seat.removal

        async def seen(sitting: Sitting, look: Look) -> None:
            looks.append(look)
            await removal(sitting, look)

        monkeypatch.setattr(bench.seat, "removal", seen)
        bench.put()
        await asyncio.sleep(0.3)
        assert (await bench.until(SocketState.VERDICT)).detail == "put it back into A1"
        assert looks[-1].retry

    in_loop(run)


def test_an_unlock_of_a_socket_that_asks_a_board_back_looks_what_is_in_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def run() -> None:
        broke_off = story(Result.INCOMPLETE, NoAnswer("silence"), goes_on=True)
        bench = Bench(monkeypatch, broke_off, nobody, story(Result.PASS))
        bench.put()
        await asyncio.sleep(0.3)
        assert (await bench.until(SocketState.VERDICT)).word is Word.LEAVE_IN
        assert "does not wait" in bench.socket.unlock()
        await asyncio.sleep(0.3)
        assert (await bench.until(SocketState.VERDICT)).word is Word.PASS

    in_loop(run)
