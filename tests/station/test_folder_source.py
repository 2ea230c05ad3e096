"""The source that looks at a folder: each node that comes and goes is told, once and in order."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parburn.station.arrival_sources import arrival_source, every_tty
from parburn.station.arrivals import ArrivalSource, Node
from parburn.station.folder_source import FolderSource
from parburn.station.seen_nodes import SeenNodes
from parburn.station.slots_file import Slot
from parburn.transport import folder_changes
from tests.station.sockets import Sockets

PERIOD_S = 0.02


class Told:
    """What a source has told."""

    def __init__(self) -> None:
        self.words: list[str] = []
        self.nodes: dict[str, Node] = {}

    def arrival(self, slot: str, node: Node) -> None:
        self.words.append(f"+{slot}")
        self.nodes[slot] = node

    def leaving(self, slot: str, node: Node) -> None:
        self.words.append(f"-{slot}")
        assert self.nodes.pop(slot) == node

    async def until(self, *words: str) -> None:
        async with asyncio.timeout(10):
            while self.words != [*words]:  # noqa: ASYNC110
                await asyncio.sleep(0.005)


@asynccontextmanager
async def watched(source: ArrivalSource) -> AsyncIterator[Told]:
    told = Told()
    task = asyncio.ensure_future(source.run(told.arrival, told.leaving))
    try:
        yield told
        assert not task.done(), task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def slots_at(sockets: Sockets, count: int) -> list[Slot]:
    return [Slot(f"A{n + 1}", sockets.path(n), also=(sockets.path(n + 9),)) for n in range(count)]


async def _comes_and_goes(sockets: Sockets) -> None:
    sockets.insert(2, 0)
    async with watched(FolderSource(slots_at(sockets, 3), period_s=PERIOD_S)) as told:
        await told.until("+A1", "+A3")
        sockets.insert(1)
        await told.until("+A1", "+A3", "+A2")
        assert told.nodes["A2"].path == sockets.path(1)
        sockets.remove(0)
        await told.until("+A1", "+A3", "+A2", "-A1")
        await asyncio.sleep(5 * PERIOD_S)
        await told.until("+A1", "+A3", "+A2", "-A1")


def test_boards_come_and_go(sockets: Sockets) -> None:
    asyncio.run(_comes_and_goes(sockets))


async def _swapped(sockets: Sockets, swap: Callable[[], None], *words: str) -> None:
    sockets.insert(0, 1)
    async with watched(FolderSource(slots_at(sockets, 2), period_s=PERIOD_S)) as told:
        await told.until("+A1", "+A2")
        swap()  # the loop does not run meanwhile
        await told.until("+A1", "+A2", *words)


def test_a_swap_between_two_looks_is_a_leaving_and_an_arrival(sockets: Sockets) -> None:
    def swap() -> None:
        sockets.remove(0)
        sockets.insert(0)

    asyncio.run(_swapped(sockets, swap, "-A1", "+A1"))


def test_boards_that_change_places_between_two_looks(sockets: Sockets) -> None:
    def swap() -> None:
        one, other = (sockets.folder / f"ttyUSB{n}" for n in (0, 1))
        first, second = one.readlink(), other.readlink()
        for link, target in ((one, second), (other, first)):
            link.unlink()
            link.symlink_to(target)

    asyncio.run(_swapped(sockets, swap, "-A1", "-A2", "+A1", "+A2"))


async def _also(sockets: Sockets) -> None:
    async with watched(FolderSource(slots_at(sockets, 1), period_s=PERIOD_S)) as told:
        sockets.insert(9, 5)
        await asyncio.sleep(2 * PERIOD_S)
        sockets.insert(0)
        await told.until("+A1")
        await asyncio.sleep(5 * PERIOD_S)
        await told.until("+A1")


def test_a_second_node_and_one_in_no_slot_are_told_to_nobody(sockets: Sockets) -> None:
    asyncio.run(_also(sockets))


async def _folder(sockets: Sockets) -> None:
    (sockets.folder / "ttyUSB7").write_text("no tty")
    (sockets.folder / "log").symlink_to("/dev/null")
    sockets.insert(3)
    async with watched(every_tty(str(sockets.folder))) as told:
        await told.until(f"+{sockets.path(3)}")


def test_all_of_a_folder(sockets: Sockets) -> None:
    asyncio.run(_folder(sockets))


async def _address() -> None:
    slots = [Slot(f"A{n}", f"socket://b:{n}", "bridge", "sync") for n in range(1, 10)]
    async with watched(FolderSource(slots, period_s=0.01)) as told:
        await told.until(*(f"+A{n}" for n in range(1, 10)))
        await asyncio.sleep(0.1)
        await told.until(*(f"+A{n}" for n in range(1, 10)))


def test_an_address_is_always_there() -> None:
    asyncio.run(_address())


@pytest.mark.parametrize(("udev", "kinds"), [(True, "_Both"), (False, "FolderSource")])
def test_which_source_watches_what(udev: bool, kinds: str) -> None:
    usb, path = Slot("A1", "pci-0-usb-0:1:1.0"), Slot("A2", "/dev/ttyAMA0")
    assert type(arrival_source([usb, path], udev=udev)).__name__ == kinds
    assert type(arrival_source([path], udev=udev)).__name__ == "FolderSource"
    assert type(arrival_source([usb], udev=udev)).__name__ == ("UdevSource" if udev else "FolderSource")


async def _seconds_until_seen(sockets: Sockets, period_s: float) -> float:
    async with watched(arrival_source(slots_at(sockets, 1), udev=False, period_s=period_s)) as told:
        await asyncio.sleep(0.05)  # its first look is over
        sockets.insert(0)
        begun = time.monotonic()
        await told.until("+A1")
        return time.monotonic() - begun


def test_it_looks_as_often_as_it_is_told(sockets: Sockets, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_changes, "_inotify", lambda: None)
    assert asyncio.run(_seconds_until_seen(sockets, 0.6)) > 0.3
    sockets.remove(0)
    assert asyncio.run(_seconds_until_seen(sockets, 0.01)) < 0.3


def test_it_looks_at_once_when_a_name_comes(sockets: Sockets) -> None:
    assert asyncio.run(_seconds_until_seen(sockets, 5.0)) < 1.0


async def _in_a_folder_made_later(folder: Path) -> None:
    sockets = Sockets(folder / "first")
    slots = slots_at(sockets, 1)
    sockets.folder.rmdir()
    async with watched(FolderSource(slots, period_s=0.1)) as told:
        await asyncio.sleep(0.3)
        sockets.folder.mkdir()
        sockets.insert(0)
        await told.until("+A1")
        sockets.remove(0)
        await told.until("+A1", "-A1")


def test_a_folder_may_be_made_later(tmp_path: Path) -> None:
    asyncio.run(_in_a_folder_made_later(tmp_path))


# --- what it costs


def counted(real: Callable[..., object], name: str, calls: list[str]) -> Callable[..., object]:
    def call(*given: object, **more: object) -> object:
        calls.append(name)
        return real(*given, **more)

    return call


@pytest.mark.parametrize("boards", [0, 128])
def test_a_look_is_two_system_calls_a_board_and_a_list_of_the_folder(
    sockets: Sockets, monkeypatch: pytest.MonkeyPatch, boards: int
) -> None:
    sockets.insert(*range(boards))
    source = FolderSource(slots_at(sockets, 128))
    calls: list[str] = []
    for name in ("stat", "lstat", "readlink", "listdir", "open", "scandir"):
        monkeypatch.setattr(os, name, counted(getattr(os, name), name, calls))
    assert len(source.look()) == boards
    assert len(calls) == 1 + 2 * boards


# --- what was seen, compared

NODES = st.builds(Node, st.sampled_from(["/dev/a", "/dev/b", "/dev/c"]), st.tuples(st.integers(0, 2)))
LOOK = st.dictionaries(st.sampled_from(["A1", "A2", "A3"]), NODES)
STEP = st.one_of(
    LOOK, st.tuples(st.sampled_from(["A1", "A2", "A3"]), NODES), st.sampled_from(["/dev/a", "/dev/b"])
)


@given(steps=st.lists(STEP))
def test_what_is_told_is_what_is_there(steps: list[object]) -> None:
    seen, there = SeenNodes(), dict[str, Node]()
    for step in steps:
        if isinstance(step, dict):
            changes, wanted = seen.all_now(step), step
        elif isinstance(step, tuple):
            slot, node = step
            changes = seen.one_now(slot, node)
            wanted = {name: one for name, one in there.items() if name != slot and one.path != node.path}
            wanted[slot] = node
        else:
            assert isinstance(step, str)
            changes = seen.path_gone(step)
            wanted = {name: one for name, one in there.items() if one.path != step}
        for change in changes:
            if change.came:
                assert change.slot not in there  # who was there has left before
                there[change.slot] = change.node
            else:
                assert there.pop(change.slot) == change.node
        assert there == wanted
        assert not seen.all_now(wanted)


def test_a_source_that_ends_leaves_nothing_open(sockets: Sockets) -> None:
    before = len([*Path("/proc/self/fd").iterdir()])
    asyncio.run(_comes_and_goes(sockets))
    sockets.close()
    assert len([*Path("/proc/self/fd").iterdir()]) <= before
