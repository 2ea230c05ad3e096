"""What tells one tty from the next that has its name."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from parburn.transport import tty_nodes
from parburn.transport.slots import UsbSlot
from parburn.transport.tty_nodes import (
    FoundTty,
    is_path,
    is_there,
    tty_at,
    ttys_at,
    ttys_in,
    usb_tty,
    usb_ttys,
)


@pytest.fixture
def pty() -> Iterator[str]:
    master, slave = os.openpty()
    yield os.ttyname(slave)
    os.close(slave)
    os.close(master)


def at(path: Path | str) -> FoundTty:
    found = tty_at(str(path))
    assert found is not None
    return found


def test_the_same_pty_is_the_same_however_often_it_is_looked_at(pty: str, tmp_path: Path) -> None:
    link = tmp_path / "ttyUSB0"
    link.symlink_to(pty)
    before = at(link)
    descriptor = os.open(pty, os.O_RDWR | os.O_NOCTTY)
    os.write(descriptor, b"x")
    os.close(descriptor)
    assert at(link) == before
    assert at(pty).place == pty


def test_a_pty_that_was_made_anew_is_another(pty: str) -> None:
    """Its number and inode may be the same: its time of change is not."""
    before = at(pty)
    time.sleep(0.02)  # the kernel's tick
    Path(pty).chmod(0o666)
    assert at(pty).key[:2] == before.key[:2]
    assert at(pty) != before


def test_a_link_that_was_made_anew_is_another_node(pty: str, tmp_path: Path) -> None:
    link = tmp_path / "ttyUSB0"
    link.symlink_to(pty)
    before = at(link)
    fresh = tmp_path / "fresh"
    fresh.symlink_to(pty)
    fresh.replace(link)
    assert at(link) != before


def test_what_is_no_tty(tmp_path: Path) -> None:
    (tmp_path / "ttyUSB0").write_text("")
    (tmp_path / "ttyUSB1").symlink_to("nowhere")
    (tmp_path / "ttyUSB2").symlink_to("ttyUSB2")
    assert ttys_in(str(tmp_path)) == {}
    assert tty_at("/no\0where") is None
    assert ttys_in(str(tmp_path / "no")) == {}


def test_ports_of_a_folder_are_those_with_names_of_ports(pty: str, tmp_path: Path) -> None:
    for name in ("ttyUSB0", "ttyACM12", "ttyCH343USB1", "tty1", "ttyS0", "ttyAMA0", "console", "ttyUSBx"):
        (tmp_path / name).symlink_to(pty)
    assert sorted(ttys_in(str(tmp_path))) == [
        str(tmp_path / name) for name in ("ttyACM12", "ttyCH343USB1", "ttyUSB0")
    ]


def test_many_paths_of_one_folder_are_found_as_few_are(pty: str, tmp_path: Path) -> None:
    paths = [str(tmp_path / f"ttyUSB{number}") for number in range(20)]
    for path in paths[::3]:
        Path(path).symlink_to(pty)
    found = ttys_at([*paths, "/dev/null", "socket://b:1"])
    assert [*found] == [*paths[::3], "/dev/null", "socket://b:1"]
    assert found == {**{path: at(path) for path in found}}


def test_places() -> None:
    assert is_path("/dev/ttyAMA0")
    assert is_path("socket://b:1")
    assert not is_path("pci-0000:00:14.0-usb-0:2.3:1.0-port1")


class OnUsb:
    """A pty that passes for a tty on USB: what the kernel would say of it is said here."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, path: str, sysfs: Path) -> None:
        self.device = (1, 7)
        self.asked = 0
        number = os.stat(path).st_rdev  # noqa: PTH116
        self.folder = sysfs / f"{os.major(number)}:{os.minor(number)}"
        self.folder.mkdir(parents=True)
        monkeypatch.setattr(tty_nodes, "_SYS_CHAR", str(sysfs))
        monkeypatch.setattr(tty_nodes, "_serial_names", lambda _: [path])
        monkeypatch.setattr(tty_nodes, "_usb_device", lambda _: self.device)
        monkeypatch.setattr(tty_nodes, "usb_slot", self._slot)

    def _slot(self, _: str) -> UsbSlot:
        self.asked += 1
        return UsbSlot("pci-0", "usb", "2", "1.0", 0)


@pytest.fixture
def on_usb(monkeypatch: pytest.MonkeyPatch, pty: str, tmp_path: Path) -> OnUsb:
    return OnUsb(monkeypatch, pty, tmp_path / "char")


def test_on_usb_a_time_of_change_is_no_other_board(on_usb: OnUsb, pty: str) -> None:
    """udev sets it whenever somebody lets it look at all devices again."""
    before = usb_tty(pty)
    assert before is not None
    assert before.place == "pci-0-usb-0:2:1.0"
    time.sleep(0.02)
    Path(pty).chmod(0o666)
    assert usb_tty(pty) == before
    assert before is not None
    assert is_there(pty, before.key)


def test_on_usb_another_device_is_another_board(on_usb: OnUsb, pty: str) -> None:
    before = usb_tty(pty)
    on_usb.device = (1, 8)
    assert usb_tty(pty) != before
    assert before is not None
    assert not is_there(pty, before.key)


def test_what_is_still_the_same_is_not_asked_again(on_usb: OnUsb) -> None:
    before = usb_ttys()
    assert usb_ttys(before.values()) == before
    assert on_usb.asked == 1
    on_usb.folder.rename(on_usb.folder.with_name("old"))  # the kernel has made it anew
    on_usb.folder.mkdir()
    on_usb.device = (1, 8)
    after = usb_ttys(before.values())
    assert on_usb.asked == 2
    assert after != before
    on_usb.folder.rmdir()
    assert usb_ttys(after.values()) == {}
