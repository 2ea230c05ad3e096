"""A seat whose tty comes and goes: what stays is there, what bounces is not, a swap is two events."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from parburn.station.arrivals import Node
from parburn.station.seats import Look, PlugSeat, Sitting
from parburn.transport.tty_nodes import tty_at

NOBODY = Look(None, hears=False, retry=False)


def seat(lost: list[Sitting], debounce_s: float = 0.05) -> PlugSeat:
    return PlugSeat(debounce_s=debounce_s, on_loss=lost.append)


def test_what_bounces_is_no_arrival_and_what_stays_is_one() -> None:
    async def run() -> None:
        lost: list[Sitting] = []
        one = seat(lost)
        arrival = asyncio.ensure_future(one.arrival())
        for number in range(4):
            one.came(Node("/dev/ttyUSB0", (number,)))
            await asyncio.sleep(0.01)
            one.went(Node("/dev/ttyUSB0", (number,)))
        await asyncio.sleep(0.1)
        assert not arrival.done()
        one.came(Node("/dev/ttyUSB1", (9,)))
        sitting = await arrival
        assert sitting.port == "/dev/ttyUSB1"
        assert one.is_there(sitting)
        assert len(lost) == 4

    asyncio.run(run())


def test_a_swap_under_one_name_ends_the_first_stay() -> None:
    async def run() -> None:
        lost: list[Sitting] = []
        one = seat(lost)
        one.came(Node("/dev/ttyUSB0", (1,)))
        first = await one.arrival()
        removal = asyncio.ensure_future(one.removal(first, NOBODY))
        one.went(Node("/dev/ttyUSB0", (1,)))
        one.came(Node("/dev/ttyUSB0", (2,)))
        await removal
        second = await one.arrival()
        assert lost == [first]
        assert second != first
        assert not one.is_there(first)
        one.went(Node("/dev/ttyUSB0", (1,)))  # late news of the first
        assert one.is_there(second)

    asyncio.run(run())


def test_a_board_sits_for_sure_while_its_own_tty_is_there(tmp_path: Path) -> None:
    """Asked of the kernel: what the source tells comes a moment later."""
    master, slave = os.openpty()
    link = tmp_path / "ttyUSB0"
    link.symlink_to(os.ttyname(slave))
    found = tty_at(str(link))
    assert found is not None
    node = Node(found.path, found.key)

    def replug() -> None:
        link.unlink()
        link.symlink_to(os.ttyname(slave))  # another board behind this name

    async def run() -> None:
        one = seat([])
        one.came(node)
        sitting = await one.arrival()
        assert await one.sits_for_sure(sitting)
        assert not await one.sits_for_sure(sitting._replace(number=9))
        await asyncio.to_thread(replug)
        assert not await one.sits_for_sure(sitting)
        await asyncio.to_thread(link.unlink)
        assert not await one.sits_for_sure(sitting)
        assert one.is_there(sitting)  # nobody has told it yet

    asyncio.run(run())
    os.close(slave)
    os.close(master)


def test_an_engineer_can_have_what_is_there_looked_at_again() -> None:
    async def run() -> None:
        one = seat([])
        one.came(Node("/dev/ttyUSB0", (1,)))
        first = await one.arrival()
        removal = asyncio.ensure_future(one.removal(first, NOBODY))
        one.end(first)
        await removal
        assert (await one.arrival()).port == first.port

    asyncio.run(run())


def test_who_does_not_come_back_in_time_was_taken_out() -> None:
    async def run() -> None:
        one = seat([])
        assert await one.arrival_within(0.05) is None
        one.came(Node("/dev/ttyUSB0", (1,)))
        assert await one.arrival_within(1.0) is not None

    asyncio.run(run())
