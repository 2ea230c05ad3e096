"""When silence is judged: what a burst gets, that replies renew it, and that one alarm serves all bursts."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from parburn.errors import NoAnswer
from parburn.hardware.reply_deadline import ReplyDeadline, silence_allowed_s
from parburn.protocol.commands import READ_REG, read_reg_frame
from parburn.protocol.loader import LoaderProtocol
from tests.hardware.commit_bench import in_virtual_time
from tests.protocol.fake_rom import FakeRom

ALLOWED_S = 3.0


class Bench:
    """A deadline on a clock that only moves when all wait, and the alarms that it sets."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.protocol, self.rom = LoaderProtocol(), FakeRom()
        self.alarms: list[float] = []
        whole = self.loop.call_at

        def call_at(when: float, callback: Callable[..., object], *args: Any, **more: Any) -> Any:
            if getattr(callback, "__self__", None) is self.deadline:
                self.alarms.append(when)
            return whole(when, callback, *args, **more)

        self.loop.call_at = call_at  # type: ignore[assignment,method-assign]  # to see the alarms
        self.deadline = ReplyDeadline(self.loop, self.protocol, "/dev/ttyUSB7")

    def begin(self, reads: int = 3, allowed_s: float = ALLOWED_S) -> asyncio.Future[None]:
        """Begin a burst of so many reads; its requests are with the ROM."""
        self.protocol.begin([read_reg_frame(4 * n) for n in range(reads)], bytes((READ_REG,)) * reads)
        self.replies = self.rom.feed(self.protocol.data_to_send())
        waiter: asyncio.Future[None] = self.loop.create_future()
        self.deadline.begin(waiter, allowed_s)
        return waiter

    def answer(self, replies: int = 1) -> None:
        """Let the next replies come."""
        size = 14 * replies
        self.protocol.receive_data(self.replies[:size])
        self.replies = self.replies[size:]

    def end(self, waiter: asyncio.Future[None]) -> None:
        """As a burst ends whose replies are all in."""
        self.protocol.forget()
        waiter.set_result(None)
        self.deadline.end()


def on_bench(job: Callable[[Bench], Awaitable[None]]) -> None:
    async def run() -> None:
        await job(Bench())

    in_virtual_time(run())


def test_what_is_allowed() -> None:
    """The figures of the module's head: 40 reads at 115200 baud, 97 ms on the line."""
    line_s = 40 * (14 + 14) * 10 / 115200
    assert line_s == pytest.approx(0.097, abs=0.0005)

    def allowed_s(*, baud: int = 115200, delay_us: int = 0, hasty: bool = False) -> float:
        return silence_allowed_s(40 * 14, 40, baud=baud, delay_us=delay_us, hasty=hasty)

    assert allowed_s() == pytest.approx(3.0 + 1.5 * line_s)
    assert allowed_s(hasty=True) == pytest.approx(1.0 + 1.5 * line_s)
    assert allowed_s(baud=921600) == pytest.approx(3.0 + 1.5 * line_s / 8)
    assert allowed_s(delay_us=50_000) == pytest.approx(3.1 + 1.5 * line_s)


def test_silence_is_no_answer_at_the_end_of_what_is_allowed() -> None:
    async def job(bench: Bench) -> None:
        begun_at = bench.loop.time()
        with pytest.raises(NoAnswer, match=r"ttyUSB7: .* within 3.0 s \(0 of 3 answers") as caught:
            await bench.begin()
        assert bench.loop.time() - begun_at == pytest.approx(ALLOWED_S)
        assert caught.value.hint

    on_bench(job)


def test_each_reply_renews_it_and_their_end_is_judged_from_the_last_look() -> None:
    async def job(bench: Bench) -> None:
        begun_at, waiter = bench.loop.time(), bench.begin()
        await asyncio.sleep(ALLOWED_S - 0.1)
        bench.answer()
        await asyncio.sleep(ALLOWED_S - 0.1)
        bench.answer()
        with pytest.raises(NoAnswer, match="2 of 3"):
            await waiter
        assert bench.loop.time() - begun_at == pytest.approx(3 * ALLOWED_S)

    on_bench(job)


def test_a_rom_that_does_not_repeat_its_errors_is_not_silent() -> None:
    """Of the eight replies to a command that is refused right behind SYNC only one comes."""

    async def job(bench: Bench) -> None:
        begun_at, waiter = bench.loop.time(), bench.begin(1)
        bench.protocol.receive_data(bytes.fromhex("c0 0108 0400 00000000 01050000 c0"))
        assert not bench.protocol.complete
        await waiter
        assert bench.loop.time() - begun_at == pytest.approx(ALLOWED_S)

    on_bench(job)


def test_one_alarm_serves_the_bursts_of_its_time() -> None:
    async def job(bench: Bench) -> None:
        begun_at = bench.loop.time()
        for _ in range(100):
            waiter = bench.begin()
            await asyncio.sleep(0.025)
            bench.end(waiter)
        assert bench.alarms == [begun_at + ALLOWED_S]
        last_at = bench.loop.time()
        with pytest.raises(NoAnswer):
            await bench.begin()
        assert bench.loop.time() - last_at == pytest.approx(ALLOWED_S)
        assert bench.alarms == [begun_at + ALLOWED_S, last_at + ALLOWED_S]

    on_bench(job)


def test_a_shorter_time_moves_the_alarm_forward() -> None:
    async def job(bench: Bench) -> None:
        bench.end(bench.begin())
        begun_at = bench.loop.time()
        with pytest.raises(NoAnswer, match=r"within 0\.5 s"):
            await bench.begin(allowed_s=0.5)
        assert bench.loop.time() - begun_at == pytest.approx(0.5)

    on_bench(job)


@pytest.mark.parametrize("ended", [True, False], ids=["ended", "done, and its task has not run yet"])
def test_nothing_rings_behind_a_burst_that_is_over(ended: bool) -> None:
    async def job(bench: Bench) -> None:
        waiter = bench.begin()
        if ended:
            bench.deadline.end()
        else:
            waiter.set_result(None)
        await asyncio.sleep(3 * ALLOWED_S)
        assert len(bench.alarms) == 1
        assert waiter.done() != ended

    on_bench(job)
