"""The USB serial ports of this machine, from sysfs, and behind which of them a chip may be. Opens no port.

A device may go while it is looked at: it is not there then, and the others are.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Final, NamedTuple

_SYSFS_TTY = Path("/sys/class/tty")
_DEV = Path("/dev")

ANY: Final = None  # every product of a vendor

# Vendor, products: what boards with these chips are known to have on their USB side. A product stands here
# by itself, since the makers of bridges also sell their vendor ids to makers of instruments. (Ids: the udev
# rules of PlatformIO and espflash; Linux, drivers/usb/serial/pl2303.h and ch341.c.)
MAY_HOLD_CHIP: Final[dict[int, frozenset[int] | None]] = {
    0x303A: ANY,  # Espressif: USB-Serial-JTAG, the ROM's own USB, their bridges
    0x10C4: frozenset({0xEA60, 0xEA61, 0xEA63, 0xEA70, 0xEA71, 0xEA73}),  # Silicon Labs CP210x
    0x1A86: frozenset({0x5523, 0x7522, 0x7523, 0x55D2, 0x55D3, 0x55D4, 0x55D5}),  # WCH CH34x, CH910x
    0x0403: frozenset({0x6001, 0x6010, 0x6011, 0x6014, 0x6015}),  # FTDI
    0x067B: frozenset({0x2303, 0x23A3, 0x23B3, 0x23C3, 0x23D3, 0x23E3, 0x23F3}),  # Prolific PL2303
}


class UsbPort(NamedTuple):
    """A serial port on USB, and what its device says of itself."""

    port: str
    vid: int
    pid: int
    description: str


def may_hold_chip(vid: int, pid: int) -> bool:
    """Tell whether boards with these chips are known to come with such a USB device."""
    products = MAY_HOLD_CHIP.get(vid, frozenset())
    return products is ANY or pid in products


def usb_ports() -> tuple[UsbPort, ...]:
    """Return the serial ports on USB that are there now, in no order."""
    names: list[Path] = []
    with contextlib.suppress(OSError):
        names = list(_SYSFS_TTY.iterdir())
    found = []
    for name in names:
        with contextlib.suppress(OSError, ValueError):  # gone, or going
            if (one := _usb_port(name)) is not None:
                found.append(one)
    return tuple(found)


def _usb_port(name: Path) -> UsbPort | None:
    """Return what is behind a name in sysfs; None if that is not on USB.

    Raises:
        OSError, ValueError: it is going.
    """
    if not (name / "device").exists() or not (_DEV / name.name).exists():
        return None
    interface = (name / "device").resolve(strict=True)
    for folder in (interface, *interface.parents):
        if (folder / "idVendor").exists():
            product = _line(folder / "product")
            interface_name = _line(interface / "interface") or _line(interface.parent / "interface")
            return UsbPort(
                port=str(_DEV / name.name),
                vid=int((folder / "idVendor").read_text(), 16),
                pid=int((folder / "idProduct").read_text(), 16),
                description=" - ".join(text for text in (product, interface_name) if text) or name.name,
            )
    return None


def _line(file: Path) -> str:
    with contextlib.suppress(OSError, ValueError):
        return file.read_text(errors="replace").strip()
    return ""
