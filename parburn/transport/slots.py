"""Where a port is plugged in, computed from sysfs: one name for one socket. Opens no port.

The links of /dev/serial/by-path name sockets too, but not well enough: they change with udev's version (newer
ones make two for each port, `-usb-` and `-usbv2-`) and with the driver (only some have `-port0`). sysfs has
what they are made of. A slot here is written as udev's older link is, without a `-port0`:

    pci-0000:00:14.0-usb-0:2.3:1.0          controller, chain of hub ports, configuration and interface
    pci-0000:00:14.0-usb-0:2.3:1.0-port1    second port of an interface that has several

It stays equal when nodes are numbered anew, and tells twins without serial numbers apart.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

from parburn.natural_order import natural_key

SCHEMES: Final = ("socket://", "rfc2217://")
_SYSFS: Final = Path("/sys")
# bus, chain of ports, configuration, interface number: 1-2.3:1.0
_INTERFACE = re.compile(r"\d+-(?P<chain>\d+(\.\d+)*):(?P<interface>\d+\.\d+)")
_ROOT_HUB = re.compile(r"usb\d+")
_COUNTED = re.compile(r"xhci-hcd\.\d+|.*\.auto")  # numbered in the order in which drivers were ready


class UsbSlot(NamedTuple):
    """A socket of USB, and which of the adapter's ports in it."""

    controller: str  # as udev writes it: pci-0000:00:14.0
    bus: str  # "usb", or "usbv3" for the SuperSpeed half of the controller, which numbers its ports by itself
    chain: str  # ports of hubs from the controller on: 2.3
    interface: str  # configuration and interface number: 1.0
    port: int  # among those of one interface

    def __str__(self) -> str:
        text = f"{self.controller}-{self.bus}-0:{self.chain}:{self.interface}"
        return f"{text}-port{self.port}" if self.port else text


def slots_of(ports: Iterable[str]) -> dict[str, str]:
    """Return where ports are plugged in, by their names."""
    return {port: slot_of(port) for port in ports}


def slot_of(port: str) -> str:
    """Return where a port is plugged in: its USB socket; else an address's host or a path's last part."""
    if port.startswith(SCHEMES):
        return port.partition("://")[2].rstrip("/")
    found = usb_slot(port)
    return str(found) if found else Path(port).name


def usb_slot(port: str, *, sysfs: Path = _SYSFS) -> UsbSlot | None:
    """Return the USB socket of a tty, by any of its names; None when it is not on USB, or not there."""
    device = _sysfs_device(port, sysfs)
    if device is None:
        return None
    folders = (device, *device.parents)
    for number, folder in enumerate(folders):
        interface = _INTERFACE.fullmatch(folder.name)
        root_hub = next((above for above in folders[number:] if _ROOT_HUB.fullmatch(above.name)), None)
        if interface and root_hub:
            return UsbSlot(
                controller=controller_of(root_hub.parent),
                bus=_bus(root_hub),
                chain=interface["chain"],
                interface=interface["interface"],
                port=_port(device),
            )
    return None


def _sysfs_device(port: str, sysfs: Path) -> Path | None:
    """Find the folder of a tty by its device number: its name may be a link, or be a rule's own."""
    with contextlib.suppress(OSError):
        found = Path(port).stat()
        if stat.S_ISCHR(found.st_mode):
            number = f"{os.major(found.st_rdev)}:{os.minor(found.st_rdev)}"
            return (sysfs / "dev" / "char" / number).resolve(strict=True)
    return None


def controller_of(device: Path) -> str:
    """Write what leads to a USB controller as udev does: the nearest device of each kind, outermost first.

    Args:
        device: Its folder in sysfs.
    """
    names: dict[str, str] = {}
    for folder in (device, *device.parents):
        kind = (folder / "subsystem").resolve().name if (folder / "subsystem").is_symlink() else ""
        if kind in ("pci", "platform") and kind not in names and not _COUNTED.fullmatch(folder.name):
            names[kind] = f"{kind}-{folder.name}"
    return "-".join(reversed(names.values())) or device.name


def _bus(root_hub: Path) -> str:
    return "usbv3" if _text(root_hub / "version").startswith("3") else "usb"


def _port(tty: Path) -> int:
    """Return which of an interface's ports a tty is; of drivers that do not say so, by their order."""
    told = tty / "device" / "port_number"
    if told.exists() or tty.parent.name != "tty":
        return _number(told)
    with contextlib.suppress(OSError, ValueError):
        return sorted((one.name for one in tty.parent.iterdir()), key=natural_key).index(tty.name)
    return 0


def _number(file: Path) -> int:
    text = _text(file)
    return int(text) if text.isascii() and text.isdigit() else 0


def _text(file: Path) -> str:
    with contextlib.suppress(OSError, UnicodeDecodeError):
        return file.read_text().strip()
    return ""
