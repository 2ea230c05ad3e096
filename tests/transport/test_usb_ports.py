"""USB serial ports from sysfs: which there are, and which of them a probe may touch. Devices go meanwhile."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path
from typing import Any

import pytest

from parburn.transport import usb_ports
from parburn.transport.usb_ports import UsbPort, may_hold_chip

FTDI = {"idVendor": "0403\n", "idProduct": "6001\n", "product": "FT232R USB UART\n"}


class Machine:
    """A /sys and a /dev with ports on USB and one that is not."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.tty, self.dev, self.devices = folder / "class", folder / "dev", folder / "devices"
        for one in (self.tty, self.dev, self.devices):
            one.mkdir()
        patch.setattr(usb_ports, "_SYSFS_TTY", self.tty)
        patch.setattr(usb_ports, "_DEV", self.dev)
        (self.devices / "pnp").mkdir()
        self._tty("ttyS0", self.devices / "pnp")
        (self.tty / "console").mkdir()

    def plug(self, name: str, files: dict[str, str], *, interface: str = "") -> Path:
        device = self.devices / f"usb1-{name}"
        (device / "if" / name).mkdir(parents=True)
        for file, text in files.items():
            (device / file).write_text(text)
        if interface:
            (device / "if" / "interface").write_text(interface)
        self._tty(name, device / "if" / name)
        return device

    def _tty(self, name: str, behind: Path) -> None:
        (self.tty / name).mkdir()
        (self.tty / name / "device").symlink_to(behind)
        (self.dev / name).touch()


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, monkeypatch)


def test_what_is_on_usb_is_listed_as_it_calls_itself(machine: Machine) -> None:
    machine.plug("ttyUSB0", FTDI)
    machine.plug("ttyACM0", {"idVendor": "303a", "idProduct": "1001"}, interface="CDC\n")
    machine.plug("ttyUSB1", {**FTDI, "product": "Dual"}, interface="Channel A")
    assert sorted(usb_ports.usb_ports()) == [
        UsbPort(f"{machine.dev}/ttyACM0", 0x303A, 0x1001, "CDC"),
        UsbPort(f"{machine.dev}/ttyUSB0", 0x0403, 0x6001, "FT232R USB UART"),
        UsbPort(f"{machine.dev}/ttyUSB1", 0x0403, 0x6001, "Dual - Channel A"),
    ]


def test_a_port_without_a_node_and_numbers_that_are_none(machine: Machine) -> None:
    machine.plug("ttyUSB0", FTDI)
    (machine.dev / "ttyUSB0").unlink()
    machine.plug("ttyUSB1", {"idVendor": "", "idProduct": "6001"})
    assert usb_ports.usb_ports() == ()


def test_no_sysfs_at_all(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(usb_ports, "_SYSFS_TTY", tmp_path / "none")
    assert usb_ports.usb_ports() == ()


LOOKS = ("exists", "resolve", "read_text")


def test_a_device_that_goes_at_any_moment_is_not_there_and_the_others_are(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pulled before the 1st, 2nd, .. look at its files, until it stays to the end."""
    machine.plug("ttyUSB1", FTDI)
    stays = UsbPort(f"{machine.dev}/ttyUSB1", 0x0403, 0x6001, "FT232R USB UART")
    for moment in itertools.count():
        device = machine.plug("ttyUSB0", FTDI)
        looks = itertools.count()
        with monkeypatch.context() as patch:
            for name in LOOKS:
                patch.setattr(Path, name, _pulling(getattr(Path, name), device, moment, looks, machine))
            found = usb_ports.usb_ports()
        assert stays in found
        if not device.exists():
            assert {one.port for one in found} <= {stays.port, f"{machine.dev}/ttyUSB0"}
            continue
        assert len(found) == 2
        break
    assert moment > 5


def _pulling(real: Any, device: Path, moment: int, looks: Any, machine: Machine) -> Any:
    def look(path: Path, *given: Any, **more: Any) -> Any:
        if path.name != "ttyUSB1" and "ttyUSB0" in str(path) and next(looks) == moment:
            shutil.rmtree(device)
            shutil.rmtree(machine.tty / "ttyUSB0")
            Path.unlink(machine.dev / "ttyUSB0")
        return real(path, *given, **more)

    return look


@pytest.mark.parametrize(
    ("vid", "pid", "may"),
    [
        (0x303A, 0x1001, True),
        (0x303A, 0x4001, True),
        (0x10C4, 0xEA60, True),
        (0x10C4, 0x8A2A, False),  # an instrument under the bridge maker's vendor id
        (0x1A86, 0x55D4, True),
        (0x0403, 0x6015, True),
        (0x0403, 0xFAD0, False),
        (0x067B, 0x2303, True),
        (0x2341, 0x0043, False),
        (0x1546, 0x01A8, False),
    ],
)
def test_behind_which_a_chip_may_be(vid: int, pid: int, may: bool) -> None:
    assert may_hold_chip(vid, pid) is may
