"""How full the USB controllers of this machine are: devices, against what each can take. From sysfs only.

A controller of Intel has room for 96 endpoints, whatever the bus could address: a serial adapter takes three
(its control endpoint and one in each direction), so that the 33rd is refused, with "Not enough host
controller resources" in the kernel's log. A USB 2 bus ends at 127 devices.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

from parburn.transport.slots import controller_of

_SYSFS: Final = Path("/sys")
_DEVICE = re.compile(r"\d+-\d+(\.\d+)*")  # 1-2.3; with a colon it is an interface, usb1 is the root hub
_INTEL: Final = "0x8086"
_INTEL_ENDPOINTS: Final = 96
_BUS_DEVICES: Final = 127
_ADAPTER_ENDPOINTS: Final = 3


class Controller(NamedTuple):
    """A controller as it is now."""

    name: str  # as slots begin: pci-0000:00:14.0
    devices: int  # hubs too
    endpoints: int
    most_devices: int
    most_endpoints: int | None  # None: not known

    def refuses(self, more: int) -> bool:
        """Tell whether so many further adapters would be too many."""
        endpoints = self.endpoints + _ADAPTER_ENDPOINTS * more
        too_many = self.most_endpoints is not None and endpoints > self.most_endpoints
        return too_many or self.devices + more > self.most_devices


def controllers(names: Iterable[str], *, sysfs: Path = _SYSFS) -> tuple[Controller, ...]:
    """Return the state of these controllers by name; those that are not there are left out."""
    wanted = set(names)
    devices: dict[str, list[Path]] = {}
    homes: dict[str, Path] = {}
    with contextlib.suppress(OSError):
        for entry in sorted((sysfs / "bus" / "usb" / "devices").iterdir()):
            with contextlib.suppress(OSError):
                folder = entry.resolve(strict=True)
                home = next(one.parent for one in (folder, *folder.parents) if one.name.startswith("usb"))
                name = controller_of(home)
                homes[name] = home
                if _DEVICE.fullmatch(entry.name):
                    devices.setdefault(name, []).append(folder)
    return tuple(
        _controller(name, homes[name], devices.get(name, [])) for name in sorted(wanted & homes.keys())
    )


def _controller(name: str, home: Path, devices: list[Path]) -> Controller:
    return Controller(
        name,
        len(devices),
        sum(map(_endpoints, devices)),
        _BUS_DEVICES,
        _INTEL_ENDPOINTS if _is_of_intel(home) else None,
    )


def _is_of_intel(home: Path) -> bool:
    with contextlib.suppress(OSError):
        return (home / "vendor").read_text().strip() == _INTEL
    return False


def _endpoints(device: Path) -> int:
    """Return how many endpoints a device takes: its control endpoint, and those of its interfaces."""
    count = 1
    for interface in device.glob(f"{device.name}:*/bNumEndpoints"):
        with contextlib.suppress(OSError, ValueError):
            count += int(interface.read_text(), 16)
    return count
