"""Ports that stay open: nobody gets another one's, and one that still closes is not in its own way."""

from __future__ import annotations

import asyncio

import pytest

from parburn.errors import PortBusy, PortGone
from parburn.station import kept_ports
from parburn.station.kept_ports import KeptPorts


class Stream:
    def __init__(self, port: str) -> None:
        self.port, self.baud = port, 115200
        self.lost: PortGone | None = None
        self.closed = False
        self.may_close = asyncio.Event()
        self.may_close.set()

    async def aclose(self) -> None:
        await self.may_close.wait()
        self.closed = True


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Stream]:
    made: list[Stream] = []

    async def open_stream(port: str, *, within_s: float) -> Stream:
        await asyncio.sleep(0)
        busy = any(one.port == port and not one.closed and one.lost is None for one in made)
        if busy:
            raise PortBusy(port)
        made.append(Stream(port))
        return made[-1]

    monkeypatch.setattr(kept_ports, "open_stream", open_stream)
    return made


def test_a_port_that_comes_again_under_its_name_is_not_closed_by_who_had_it_before(
    opened: list[Stream],
) -> None:
    async def run() -> None:
        ports = KeptPorts(open_s=0.3)
        first = await ports.open("ttyUSB0")
        opened[0].lost = PortGone("gone")  # its board was pulled; its script still runs
        second = await ports.open("ttyUSB0")  # another board, in another socket
        assert second is not first
        await ports.give_back(first)
        assert opened[0].closed
        assert not opened[1].closed
        await ports.close("ttyUSB0")  # the first socket lets go of what it had
        assert not opened[1].closed
        await ports.give_back(second)
        assert await ports.open("ttyUSB0") is second

    asyncio.run(run())


def test_one_port_is_not_lent_to_two(opened: list[Stream]) -> None:
    async def run() -> None:
        ports = KeptPorts(open_s=0.3)
        both = await asyncio.gather(ports.open("ttyUSB0"), ports.open("ttyUSB0"), return_exceptions=True)
        assert isinstance(both[1], PortBusy)
        with pytest.raises(PortBusy, match="another socket"):
            await ports.open("ttyUSB0")
        await ports.give_back(both[0])  # type: ignore[arg-type]  # a stream
        assert await ports.open("ttyUSB0") is both[0]

    asyncio.run(run())


def test_a_port_that_still_closes_is_waited_for_and_opened_anew(opened: list[Stream]) -> None:
    async def run() -> None:
        ports = KeptPorts(open_s=0.3)
        first = await ports.open("ttyUSB0")
        opened[0].baud = 921600  # its chip was left at a rate of its own
        opened[0].may_close.clear()  # other boards burn: no line may move now
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await ports.give_back(first)
        again = asyncio.ensure_future(ports.open("ttyUSB0"))
        await asyncio.sleep(0.02)
        assert not again.done()
        opened[0].may_close.set()
        assert await again is not first
        assert opened[0].closed
        await ports.aclose()
        assert opened[1].closed

    asyncio.run(run())
