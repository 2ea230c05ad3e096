"""What udevd says over netlink: messages as they were recorded, and a socket as the system gives it."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parburn.errors import UsageError
from parburn.station.arrivals import Node
from parburn.station.slots_file import Slot
from parburn.station.udev_source import UdevSource
from parburn.transport import hotplug
from parburn.transport.hotplug import EventsLost, TtyEvent, TtyEvents, tty_event, udev_runs
from parburn.transport.tty_nodes import FoundTty

# Properties of a message of Debian 12's udevd (systemd 252), as an FT232 was plugged in.
RECORDED = (
    "UDEV_DATABASE_VERSION=1", "ACTION=add",
    "DEVPATH=/devices/pci0000:00/0000:00:04.0/usb1/1-2/1-2:1.0/ttyUSB0/tty/ttyUSB0", "SUBSYSTEM=tty",
    "DEVNAME=/dev/ttyUSB0", "SEQNUM=1042", "MAJOR=188", "MINOR=0", "USEC_INITIALIZED=8423371",
    "ID_BUS=usb", "ID_MODEL=FT232R_USB_UART", "ID_PATH=pci-0000:00:04.0-usb-0:2:1.0", "TAGS=:systemd:",
    "DEVLINKS=/dev/serial/by-path/pci-0000:00:04.0-usb-0:2:1.0-port0",
)  # fmt: skip


def message(*texts: str, magic: int = 0xFEEDCAFE, prefix: bytes = b"libudev\0", head: int = 40) -> bytes:
    body = b"".join(text.encode() + b"\0" for text in texts)
    return (
        struct.pack("=8s4sIIIIIII", prefix, magic.to_bytes(4, "big"), head, head, len(body), 1, 2, 0, 0)[
            :head
        ]
        + body
    )


def changed(**names: str) -> list[str]:
    return [
        f"{name}={names.get(name, value)}" for name, _, value in (text.partition("=") for text in RECORDED)
    ]


def test_a_recorded_message() -> None:
    assert tty_event(message(*RECORDED)) == TtyEvent("add", "/dev/ttyUSB0")
    assert tty_event(message(*changed(ACTION="remove"))) == TtyEvent("remove", "/dev/ttyUSB0")
    assert tty_event(message(*changed(DEVNAME="ttyACM1"))) == TtyEvent("add", "/dev/ttyACM1")
    assert tty_event(message(*changed(DEVNAME="/dev/ttyé"))) == TtyEvent("add", "/dev/ttyé")


@pytest.mark.parametrize(
    "foreign",
    [
        b"",
        b"add@/devices/x\0ACTION=add\0SUBSYSTEM=tty\0DEVNAME=ttyUSB0\0",  # the kernel's own
        message(*changed(SUBSYSTEM="usb")),
        message(*RECORDED, magic=0xFEEDBEEF),
        message(*RECORDED, prefix=b"libfoo\0\0"),
        message("SUBSYSTEM=tty", "ACTION=add"),
        message("SUBSYSTEM=tty", "DEVNAME=/dev/ttyUSB0"),
        struct.pack("=8s4sIIII", b"libudev\0", b"\xfe\xed\xca\xfe", 40, 0, 500, 0) + b"ACTION=add\0" * 40,
    ],
)
def test_what_is_of_something_else(foreign: bytes) -> None:
    assert tty_event(foreign) is None


@given(data=st.binary(max_size=200), cut=st.integers(0, 400))
def test_odd_bytes_are_no_event_and_no_error(data: bytes, cut: int) -> None:
    whole = message(*RECORDED)
    assert tty_event(data) is None
    found = tty_event(whole[:cut] + data)
    assert found is None or isinstance(found, TtyEvent)


def test_udev_runs_where_its_control_socket_is(tmp_path: Path) -> None:
    assert not udev_runs(tmp_path / "control")
    (tmp_path / "control").write_text("")
    assert not udev_runs(tmp_path / "control")
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(tmp_path / "socket"))
        assert udev_runs(tmp_path / "socket")


def test_a_real_socket_has_nothing_to_say_now() -> None:
    events = TtyEvents()
    try:
        assert events.fileno() > 2
        assert not os.get_inheritable(events.fileno())
        assert not os.get_blocking(events.fileno())
        while (event := events.take()) is not None:  # somebody plugs meanwhile
            assert event.path.startswith("/dev/")
    finally:
        events.close()


def _replaced(monkeypatch: pytest.MonkeyPatch, made: Callable[..., object]) -> None:
    """Replace the sockets of this module alone."""
    monkeypatch.setattr(hotplug, "socket", SimpleNamespace(**{**vars(socket), "socket": made}))


def test_a_system_that_does_not_let_us_listen(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    _replaced(monkeypatch, refused)
    with pytest.raises(UsageError, match="Operation not permitted") as caught:
        TtyEvents()
    assert caught.value.hint


# --- the source on it


class Line:
    """Takes the place of the netlink socket: a pair, whose other end says what udevd would say."""

    def __init__(self) -> None:
        self.ours, self._udevd = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.ours.setblocking(False)
        self.lost = False

    def says(self, action: str, path: str) -> None:
        self._udevd.send(message(*changed(ACTION=action, DEVNAME=path)))

    def loses(self) -> None:
        self.lost = True
        self._udevd.send(message(*changed(SUBSYSTEM="net")))

    def recvfrom(self, size: int) -> tuple[bytes, tuple[int, int]]:
        if self.lost:
            self.lost = False
            raise OSError(105, "No buffer space available")
        return self.ours.recv(size), (4711, 2)

    def fileno(self) -> int:
        return self.ours.fileno()

    def setsockopt(self, *_: object) -> None: ...

    def bind(self, where: tuple[int, int]) -> None:
        assert where == (0, 2)  # udev's group, never the kernel's

    def close(self) -> None:
        self.ours.close()
        self._udevd.close()


class Usb:
    """What is plugged in: place, path and key of each tty."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.there: dict[str, FoundTty] = {}
        self.looks = 0
        self.line = Line()
        _replaced(monkeypatch, lambda *_: self.line)
        monkeypatch.setattr("parburn.station.udev_source.usb_ttys", self._all)
        monkeypatch.setattr("parburn.station.udev_source.usb_tty", self._one)

    def _all(self) -> dict[str, FoundTty]:
        self.looks += 1
        return dict(self.there)

    def _one(self, path: str) -> FoundTty | None:
        return next((one for one in self.there.values() if one.path == path), None)

    def plug(self, place: str, path: str, key: int, *, told: bool = True) -> None:
        self.there[place] = FoundTty(place, path, (key,))
        if told:
            self.line.says("add", path)

    def pull(self, place: str, *, told: bool = True) -> None:
        path = self.there.pop(place).path
        if told:
            self.line.says("remove", path)


@pytest.fixture
def usb(monkeypatch: pytest.MonkeyPatch) -> Iterator[Usb]:
    made = Usb(monkeypatch)
    yield made
    made.line.close()


SLOTS = (Slot("A1", "p1", also=("p1b",)), Slot("A2", "p2"))


def told(usb: Usb, act: Callable[[], None]) -> list[str]:
    """What the source tells from its start on, with what happens in between."""
    words: list[str] = []

    def note(sign: str) -> Callable[[str, Node], None]:
        return lambda slot, node: words.append(f"{sign}{slot} {node.path} {node.key[0]}")

    async def watch() -> None:
        task = asyncio.ensure_future(UdevSource(SLOTS).run(note("+"), note("-")))
        while not usb.looks and not task.done():  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        act()
        for _ in range(40):
            await asyncio.sleep(0.002)
        assert not task.done(), task
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    asyncio.run(watch())
    return words


def test_boards_are_told_as_they_come_and_go(usb: Usb) -> None:
    usb.plug("p2", "/dev/ttyUSB0", 1)  # told again, after the first look has seen it

    def act() -> None:
        usb.plug("p1", "/dev/ttyUSB1", 2)
        usb.pull("p2")

    assert told(usb, act) == ["+A2 /dev/ttyUSB0 1", "+A1 /dev/ttyUSB1 2", "-A2 /dev/ttyUSB0 1"]


def test_second_nodes_and_other_ports_are_told_to_nobody(usb: Usb) -> None:
    def act() -> None:
        usb.plug("p1b", "/dev/ttyUSB1", 2)
        usb.plug("p9", "/dev/ttyUSB2", 3)
        usb.pull("p9")
        usb.line.says("add", "/dev/ttyS0")

    assert told(usb, act) == []


def test_a_change_of_a_node_that_is_still_the_same_is_nothing(usb: Usb) -> None:
    usb.plug("p1", "/dev/ttyUSB0", 1, told=False)
    assert told(usb, lambda: usb.line.says("change", "/dev/ttyUSB0")) == ["+A1 /dev/ttyUSB0 1"]


def test_a_swap_is_a_leaving_and_an_arrival_though_only_the_arrival_was_told(usb: Usb) -> None:
    usb.plug("p1", "/dev/ttyUSB0", 1, told=False)
    assert told(usb, lambda: usb.plug("p1", "/dev/ttyUSB0", 2)) == [
        "+A1 /dev/ttyUSB0 1", "-A1 /dev/ttyUSB0 1", "+A1 /dev/ttyUSB0 2"
    ]  # fmt: skip


def test_two_boards_change_places(usb: Usb) -> None:
    usb.plug("p1", "/dev/ttyUSB0", 1, told=False)
    usb.plug("p2", "/dev/ttyUSB1", 2, told=False)

    def act() -> None:
        usb.pull("p1")
        usb.pull("p2")
        usb.plug("p1", "/dev/ttyUSB1", 3)
        usb.plug("p2", "/dev/ttyUSB0", 4)

    assert told(usb, act) == [
        "+A1 /dev/ttyUSB0 1", "+A2 /dev/ttyUSB1 2", "-A1 /dev/ttyUSB0 1", "-A2 /dev/ttyUSB1 2",
        "+A1 /dev/ttyUSB1 3", "+A2 /dev/ttyUSB0 4",
    ]  # fmt: skip


def test_a_board_that_is_gone_before_it_is_looked_at(usb: Usb) -> None:
    def act() -> None:
        usb.plug("p1", "/dev/ttyUSB0", 1)
        usb.pull("p1")

    assert told(usb, act) == []


def test_after_lost_events_all_is_looked_at_again(usb: Usb) -> None:
    usb.plug("p1", "/dev/ttyUSB0", 1, told=False)

    def act() -> None:
        usb.pull("p1", told=False)
        usb.plug("p2", "/dev/ttyUSB0", 2, told=False)
        usb.line.loses()

    assert told(usb, act) == ["+A1 /dev/ttyUSB0 1", "-A1 /dev/ttyUSB0 1", "+A2 /dev/ttyUSB0 2"]
    assert usb.looks == 2


def test_lost_events_are_said(usb: Usb) -> None:
    events = TtyEvents()
    usb.line.loses()
    with pytest.raises(EventsLost):
        events.take()
    assert events.take() is None
    usb.line.says("add", "/dev/ttyUSB3")
    assert events.take() == TtyEvent("add", "/dev/ttyUSB3")
    events.close()
