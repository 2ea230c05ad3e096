"""Slots, computed from a sysfs that is made here: the folders and links of real machines."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from parburn.transport.slots import UsbSlot, slot_of, slots_of, usb_slot

PC = "pci0000:00/0000:00:14.0"
USB = "pci-0000:00:14.0-usb-0"


class Sysfs:
    """A small /sys. Its one tty is a pty, which has a device number to be found by."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._devices = root / "devices"

    def controller(self, path: str, *, version: str = "2.00") -> str:
        """A controller with its bus 1; the name of each folder on the way tells its subsystem."""
        folder = self._devices
        for name in path.split("/"):
            folder /= name
            kind = "pci" if name.count(":") == 2 else "" if name.startswith("pci") else "platform"
            if kind and not (folder / "subsystem").exists():
                self._link(folder / "subsystem", self.root / "bus" / kind)
        (folder / "usb1").mkdir(parents=True, exist_ok=True)
        (folder / "usb1" / "version").write_text(f" {version}\n")
        return f"{path}/usb1"

    def tty(self, bus: str, chain: str, interface: str, name: str, *, number: int | None = None) -> Path:
        """A tty below an interface; `number` is the port number that the usb-serial layer gives."""
        hubs = chain.split(".")
        devices = [f"1-{'.'.join(hubs[: n + 1])}" for n in range(len(hubs))]
        folder = self._devices / bus / "/".join(devices) / f"{devices[-1]}:{interface}"
        port = folder if number is None else folder / name
        tty = port / "tty" / name
        tty.mkdir(parents=True)
        if number is not None:
            (port / "port_number").write_text(f"{number}\n")
        self._link(tty / "device", port)
        return tty

    @contextmanager
    def node(self, tty: Path) -> Iterator[str]:
        """A device node for a tty."""
        master, slave = os.openpty()
        try:
            found = os.fstat(slave).st_rdev
            link = self.root / "dev" / "char" / f"{os.major(found)}:{os.minor(found)}"
            link.unlink(missing_ok=True)
            self._link(link, tty)
            yield os.ttyname(slave)
        finally:
            os.close(master)
            os.close(slave)

    def slot(self, tty: Path) -> str:
        """The slot of a tty."""
        with self.node(tty) as name:
            return str(usb_slot(name, sysfs=self.root))

    @staticmethod
    def _link(link: Path, target: Path) -> None:
        target.mkdir(parents=True, exist_ok=True)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(target, link.parent))


@pytest.fixture
def sysfs(tmp_path: Path) -> Sysfs:
    return Sysfs(tmp_path / "sys")


def test_a_bridge_behind_a_hub(sysfs: Sysfs) -> None:
    tty = sysfs.tty(sysfs.controller(PC), "2.3", "1.0", "ttyUSB0", number=0)
    with sysfs.node(tty) as name:
        assert usb_slot(name, sysfs=sysfs.root) == UsbSlot("pci-0000:00:14.0", "usb", "2.3", "1.0", 0)
    assert sysfs.slot(tty) == f"{USB}:2.3:1.0"


def test_a_hub_behind_a_hub_behind_a_hub(sysfs: Sysfs) -> None:
    assert (
        sysfs.slot(sysfs.tty(sysfs.controller(PC), "1.4.2.7", "1.0", "ttyUSB0", number=0))
        == f"{USB}:1.4.2.7:1.0"
    )


def test_the_driver_does_not_change_the_name(sysfs: Sysfs) -> None:
    """cdc_acm has no port number, usb-serial has; one chip may be served by either."""
    bus = sysfs.controller(PC)
    assert sysfs.slot(sysfs.tty(bus, "2", "1.0", "ttyACM0")) == f"{USB}:2:1.0"
    assert sysfs.slot(sysfs.tty(bus, "3", "1.0", "ttyUSB0", number=0)) == f"{USB}:3:1.0"


def test_an_adapter_with_an_interface_for_each_port(sysfs: Sysfs) -> None:
    bus = sysfs.controller(PC)
    ttys = [sysfs.tty(bus, "2", f"1.{n}", f"ttyUSB{n}", number=0) for n in range(4)]
    assert [sysfs.slot(tty) for tty in ttys] == [f"{USB}:2:1.{n}" for n in range(4)]


def test_an_adapter_with_several_ports_in_one_interface(sysfs: Sysfs) -> None:
    bus = sysfs.controller(PC)
    ttys = [sysfs.tty(bus, "2", "1.0", f"ttyUSB{4 + n}", number=n) for n in range(3)]
    assert [sysfs.slot(tty) for tty in ttys] == [f"{USB}:2:1.0", f"{USB}:2:1.0-port1", f"{USB}:2:1.0-port2"]


def test_twins_without_serial_numbers_differ_by_their_sockets(sysfs: Sysfs) -> None:
    bus = sysfs.controller(PC)
    one, other = (sysfs.tty(bus, f"2.{n}", "1.0", f"ttyUSB{n}", number=0) for n in (1, 2))
    assert sysfs.slot(one) != sysfs.slot(other)


def test_a_node_with_another_number_has_the_same_slot(tmp_path: Path) -> None:
    before, after = Sysfs(tmp_path / "before"), Sysfs(tmp_path / "after")
    one = before.tty(before.controller(PC), "2.1", "1.0", "ttyUSB0", number=0)
    other = after.tty(after.controller(PC), "2.1", "1.0", "ttyUSB7", number=0)
    assert before.slot(one) == after.slot(other)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("pci0000:00/0000:00:1c.0/0000:03:00.0", "pci-0000:03:00.0"),  # a card behind a bridge: the card
        ("platform/soc/3f980000.usb", "platform-3f980000.usb"),  # Raspberry Pi 3
        (
            "platform/scb/fd500000.pcie/pci0000:00/0000:00:00.0/0000:01:00.0",  # Raspberry Pi 4
            "platform-fd500000.pcie-pci-0000:01:00.0",
        ),
        (
            "platform/axi/1000120000.pcie/1f00200000.usb/xhci-hcd.0",
            "platform-1f00200000.usb",
        ),  # Raspberry Pi 5
        ("pci0000:00/0000:00:15.0/dwc3.1.auto/xhci-hcd.2.auto", "pci-0000:00:15.0"),
        ("platform/vhci_hcd.0", "platform-vhci_hcd.0"),  # USB over a network
    ],
)
def test_controllers(sysfs: Sysfs, path: str, name: str) -> None:
    tty = sysfs.tty(sysfs.controller(path), "1.2", "1.0", "ttyUSB0", number=0)
    assert sysfs.slot(tty) == f"{name}-usb-0:1.2:1.0"


def test_controllers_that_are_counted_keep_their_names_when_they_are_counted_anew(tmp_path: Path) -> None:
    names = set()
    for number in (0, 1):
        sysfs = Sysfs(tmp_path / str(number))
        bus = sysfs.controller(f"platform/axi/1f00200000.usb/xhci-hcd.{number}")
        names.add(sysfs.slot(sysfs.tty(bus, "1", "1.0", "ttyACM0")))
    assert len(names) == 1


def test_the_superspeed_half_of_a_controller_numbers_its_ports_by_itself(sysfs: Sysfs) -> None:
    tty = sysfs.tty(sysfs.controller(PC, version="3.10"), "1", "1.0", "ttyACM0")
    assert sysfs.slot(tty) == "pci-0000:00:14.0-usbv3-0:1:1.0"


def test_by_any_of_its_names(sysfs: Sysfs, tmp_path: Path) -> None:
    tty = sysfs.tty(sysfs.controller(PC), "2", "1.0", "ttyUSB0", number=0)
    with sysfs.node(tty) as name:
        for link in (
            "my-board",
            "pci-0000:00:14.0-usb-0:2:1.0-port0",
            "pci-0000:00:14.0-usbv2-0:2:1.0-port0",
        ):
            (tmp_path / link).symlink_to(name)
            assert str(usb_slot(str(tmp_path / link), sysfs=sysfs.root)) == f"{USB}:2:1.0"


def test_what_is_not_on_usb_is_called_by_its_name(tmp_path: Path) -> None:
    master, slave = os.openpty()
    try:
        link = tmp_path / "ttyUSB3"  # a simulated board
        link.symlink_to(os.ttyname(slave))
        assert slot_of(str(link)) == "ttyUSB3"
    finally:
        os.close(master)
        os.close(slave)
    assert slots_of(["/dev/null", "socket://b:2"]) == {"/dev/null": "null", "socket://b:2": "b:2"}
    assert slot_of("/dev/ttyUSB77") == "ttyUSB77"
    assert slot_of("rfc2217://a:1/") == "a:1"


def test_a_device_that_goes_while_it_is_looked_at(sysfs: Sysfs) -> None:
    tty = sysfs.tty(sysfs.controller(PC), "2", "1.0", "ttyUSB0", number=0)
    with sysfs.node(tty) as name:
        (tty / "device" / "port_number").unlink()
        assert str(usb_slot(name, sysfs=sysfs.root)) == f"{USB}:2:1.0"
        (tty / "device").unlink()
        tty.rmdir()
        assert usb_slot(name, sysfs=sysfs.root) is None


@pytest.mark.parametrize("text", ["", "x", "-1", "٣"])
def test_a_port_number_that_makes_no_sense(sysfs: Sysfs, text: str) -> None:
    tty = sysfs.tty(sysfs.controller(PC), "2", "1.0", "ttyUSB0", number=0)
    (tty / "device" / "port_number").write_text(text)
    assert sysfs.slot(tty) == f"{USB}:2:1.0"


def test_ports_of_a_driver_that_does_not_number_them_are_told_apart(sysfs: Sysfs) -> None:
    """Several ttys in one interface, without a port number (some drivers of vendors)."""
    bus = sysfs.controller(PC)
    ttys = [sysfs.tty(bus, "2", "1.0", f"ttyCH9344USB{n}") for n in (9, 10, 11)]
    assert [sysfs.slot(tty) for tty in ttys] == [f"{USB}:2:1.0", f"{USB}:2:1.0-port1", f"{USB}:2:1.0-port2"]
