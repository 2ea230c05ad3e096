"""How full USB controllers are, from a sysfs that is made here."""

from __future__ import annotations

from pathlib import Path

import pytest

from parburn.transport.usb_controllers import Controller, controllers

NAME = "pci-0000:00:14.0"


class Sysfs:
    """A /sys with one controller on PCI and devices on its bus."""

    def __init__(self, root: Path, *, vendor: str = "0x8086") -> None:
        self.root = root
        self._home = root / "devices" / "pci0000:00" / "0000:00:14.0"
        self._listed = root / "bus" / "usb" / "devices"
        self._listed.mkdir(parents=True)
        (root / "bus" / "pci").mkdir()
        (self._home / "usb1").mkdir(parents=True)
        (self._home / "vendor").write_text(f"{vendor}\n")
        (self._home / "subsystem").symlink_to(root / "bus" / "pci")
        (self._listed / "usb1").symlink_to(self._home / "usb1")

    def plug(self, chain: str, *endpoints: int) -> None:
        """A device; each number is an interface with so many endpoints."""
        device = self._home / "usb1" / f"1-{chain}"
        for number, count in enumerate(endpoints):
            interface = device / f"1-{chain}:1.{number}"
            interface.mkdir(parents=True)
            (interface / "bNumEndpoints").write_text(f"{count:02x}\n")
            (self._listed / interface.name).symlink_to(interface)
        (self._listed / device.name).symlink_to(device)

    def look(self) -> Controller:
        (found,) = controllers([NAME, "pci-0000:03:00.0"], sysfs=self.root)
        return found


def test_devices_and_endpoints_are_counted(tmp_path: Path) -> None:
    sysfs = Sysfs(tmp_path / "sys")
    sysfs.plug("1", 1)  # a hub
    sysfs.plug("1.1", 2)  # a bridge
    sysfs.plug("1.2", 1, 2)  # USB-Serial-JTAG
    assert sysfs.look() == Controller(NAME, 3, 2 + 3 + 4, 127, 96)


@pytest.mark.parametrize(("plugged", "more", "refused"), [(31, 1, False), (31, 2, True), (32, 0, False)])
def test_intel_has_room_for_32_adapters(tmp_path: Path, plugged: int, more: int, refused: bool) -> None:
    sysfs = Sysfs(tmp_path / "sys")
    for number in range(plugged):
        sysfs.plug(f"1.{number}", 2)
    assert sysfs.look().refuses(more) is refused


def test_of_others_only_the_bus_is_known(tmp_path: Path) -> None:
    sysfs = Sysfs(tmp_path / "sys", vendor="0x1b21")
    sysfs.plug("1", 2)
    assert sysfs.look().most_endpoints is None
    assert not sysfs.look().refuses(126)
    assert sysfs.look().refuses(127)


def test_no_usb_at_all(tmp_path: Path) -> None:
    assert controllers([NAME], sysfs=tmp_path) == ()
