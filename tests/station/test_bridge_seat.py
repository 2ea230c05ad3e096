"""A bridge that hangs or goes: its seat says so by an arrival, waits for it at a verdict, and never fails."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import pytest

from parburn.errors import LinesBusy, ParburnError, PortGone, PortHangs
from parburn.station import bridge_seat
from parburn.station.bridge_seat import BridgeSeat, PresenceBy, pause_to_beat
from parburn.station.seats import Look
from parburn.transport.stream import LineStep

NOBODY = Look(None, hears=False, retry=False)


class Stream:
    """A bridge on which nobody answers."""

    port, baud, has_lines, usb_vid_pid, over_network = "bridge", 115200, True, None, False
    lost: PortGone | None = None

    def __init__(self) -> None:
        self.error: ParburnError | None = None
        self.lid = False

    def attach(self, on_data: Callable[[bytes], None], on_lost: Callable[[PortGone], None]) -> None:
        pass

    def discard_input(self) -> None:
        pass

    def write(self, data: bytes) -> None:
        pass

    async def move_lines(self, steps: Sequence[LineStep]) -> None:
        if self.error is not None:
            raise self.error

    async def input_line(self, line: str) -> bool:
        if self.error is not None:
            raise self.error
        return self.lid


class Ports:
    def __init__(self) -> None:
        self.stream = Stream()
        self.error: ParburnError | None = None

    async def open(self, port: str) -> Stream:
        if self.error is not None:
            raise self.error
        return self.stream

    async def give_back(self, stream: Stream) -> None:
        pass


def seat(ports: Ports, by: PresenceBy) -> BridgeSeat:
    async def find() -> str:
        return "bridge"

    return BridgeSeat(
        find,
        ports,  # type: ignore[arg-type]  # streams of a test
        by=by,
        look_s=0.01,
        debounce_s=0.01,
        on_silence=lambda silent: None,
    )


@pytest.mark.parametrize(("by", "error"), [("reset", LinesBusy("busy")), ("cts", PortHangs("hangs"))])
def test_a_bridge_that_cannot_be_looked_at_is_an_arrival_whose_insertion_says_why(
    by: PresenceBy, error: ParburnError
) -> None:
    async def run() -> None:
        ports = Ports()
        ports.stream.error = error
        one = seat(ports, by)
        sitting = await asyncio.wait_for(one.arrival(), 2)
        assert one.is_there(sitting)

    asyncio.run(run())


def test_a_bridge_that_hangs_at_a_verdict_is_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bridge_seat, "RETRY_OPEN_S", 0.02)

    async def run() -> None:
        ports = Ports()
        ports.stream.lid = True
        one = seat(ports, "cts")
        sitting = await asyncio.wait_for(one.arrival(), 2)
        ports.stream.error = PortHangs("hangs")
        removal = asyncio.ensure_future(one.removal(sitting, NOBODY))
        await asyncio.sleep(0.1)
        assert not removal.done()
        ports.stream.error, ports.stream.lid = None, False
        await asyncio.wait_for(removal, 2)
        assert not one.is_there(sitting)

    asyncio.run(run())


def test_what_sits_there_is_still_there_when_the_wait_for_its_removal_was_given_up() -> None:
    async def run() -> None:
        ports = Ports()
        ports.stream.lid = True
        one = seat(ports, "cts")
        sitting = await asyncio.wait_for(one.arrival(), 2)
        ports.error = PortGone("the bridge was unplugged")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(one.removal(sitting, NOBODY), 0.05)
        assert one.is_there(sitting), "or its error is taken for a board that was pulled, and never shown"
        removal = asyncio.ensure_future(one.removal(sitting, NOBODY))
        await asyncio.sleep(0.02)
        one.end(sitting)  # an engineer says so
        await asyncio.wait_for(removal, 2)

    asyncio.run(run())


@pytest.mark.parametrize("retry", [True, False])
def test_who_was_silent_for_long_and_answers_again_is_new_if_it_is_to_be_tried_again(
    monkeypatch: pytest.MonkeyPatch, retry: bool
) -> None:
    async def run() -> None:
        ports = Ports()
        one = seat(ports, "sync")
        sitting = one._sits("bridge")
        answers = iter([True, None, None, None])

        async def who(*_: object) -> bool | None:
            return next(answers, True)

        monkeypatch.setattr(one, "_who", who)
        removal = asyncio.ensure_future(one.removal(sitting, Look(None, hears=False, retry=retry)))
        await asyncio.sleep(0.4)
        assert removal.done() is retry
        removal.cancel()

    asyncio.run(run())


class NumberedPorts(Ports):
    """Ttys of USB, by the numbers that they have now; opened and lost as told."""

    def __init__(self) -> None:
        super().__init__()
        self.opened: list[str] = []

    async def open(self, port: str) -> Stream:
        self.opened.append(port)
        if port != "/dev/ttyUSB0":
            raise PortGone(f"there is no {port}")
        return await super().open(port)


def test_a_bridge_that_has_another_number_now_is_not_looked_for_under_its_old_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its old name may be another bridge's by then, and a verdict would be shown at the wrong socket."""
    monkeypatch.setattr(bridge_seat, "RETRY_OPEN_S", 0.01)
    names = iter(["/dev/ttyUSB0", "/dev/ttyUSB3"])

    async def find() -> str:
        return next(names)

    async def run() -> None:
        ports = NumberedPorts()
        one = BridgeSeat(
            find,
            ports,  # type: ignore[arg-type]  # streams of a test
            by="cts",
            look_s=0.01,
            debounce_s=0.01,
            on_silence=lambda silent: None,
        )
        ports.stream.error = PortGone("pulled out with its hub")
        sitting = await asyncio.wait_for(one.arrival(), 5)
        assert sitting.port == "/dev/ttyUSB3"
        assert ports.opened == ["/dev/ttyUSB0", "/dev/ttyUSB3"]

    asyncio.run(run())


@pytest.mark.parametrize("look_s", [0.01, 0.05, 0.2, 1.0])
def test_a_pause_between_two_looks_is_as_long_as_it_was_asked_for(look_s: float) -> None:
    """Looks begin on a common beat; the shortest must not become none, which would be a busy loop."""
    now = 1000.0037
    for _ in range(200):
        pause_s = pause_to_beat(now, look_s)
        assert 0.94 * look_s <= pause_s <= 1.06 * look_s
        now += pause_s + 0.0004


def test_looks_of_several_bridges_begin_together() -> None:
    begin = {round(now + pause_to_beat(now, 0.2), 6) for now in (1000.001, 1000.004, 1000.0099)}
    assert len(begin) == 1
