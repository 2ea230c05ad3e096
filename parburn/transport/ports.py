"""Which ports there are and how they are called: patterns, USB candidates, holders. Opens none."""

from __future__ import annotations

import contextlib
import glob
import os
import re
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from parburn.errors import UsageError
from parburn.transport.slots import SCHEMES, slots_of

_PROC: Final = Path("/proc")
_DIGITS = re.compile(r"([0-9]+)")

USB_VENDORS: Final = {
    0x303A: "Espressif",
    0x10C4: "Silicon Labs CP210x",
    0x1A86: "WCH CH34x",
    0x0403: "FTDI",
    0x067B: "Prolific",
}


class PortInfo(NamedTuple):
    """A USB serial port behind which a chip may be. `slot` is the socket that it is plugged into."""

    port: str
    slot: str
    vid: int
    pid: int
    description: str
    known_bridge: bool  # the vendor makes the bridges that boards use


def natural_key(text: str) -> tuple[tuple[int, int, str], ...]:
    """Return the sort key that puts ttyUSB2 before ttyUSB10."""
    return tuple(
        (1, int(part), part) if "0" <= part[0] <= "9" else (0, 0, part)
        for part in _DIGITS.split(text)
        if part
    )


def expand_ports(patterns: Iterable[str]) -> tuple[str, ...]:
    """Return the ports that names and patterns mean: naturally sorted, one name for each real device.

    A plain name is kept even if nothing is there now: opening it tells what is wrong with it.

    Raises:
        UsageError: a pattern matches nothing.
    """
    chosen: dict[object, str] = {}
    for pattern in patterns:
        for port in _matches(pattern):
            chosen.setdefault(_identity(port), port)
    return tuple(sorted(chosen.values(), key=natural_key))


def _matches(pattern: str) -> list[str]:
    if pattern.startswith(SCHEMES) or not glob.has_magic(pattern) or os.path.lexists(pattern):
        return [pattern]
    path = Path(pattern).expanduser()
    found = [str(match) for match in Path(path.anchor).glob(str(path.relative_to(path.anchor)))]
    if not found:
        raise UsageError(f"no port matches {pattern}", hint="`parburn ports` lists what is there")
    return sorted(found, key=natural_key)


def _identity(port: str) -> object:
    """Return what makes two names one port: the device number, else the real path, else the address."""
    if port.startswith(SCHEMES):
        return port.lower().rstrip("/")
    with contextlib.suppress(OSError):
        found = Path(port).stat()
        if stat.S_ISCHR(found.st_mode):
            return found.st_rdev
    return os.path.realpath(port)


def list_candidates() -> tuple[PortInfo, ...]:
    """Return the USB serial ports of this machine, naturally sorted."""
    from serial.tools import list_ports  # slow to import, and only this function needs it

    usb = [entry for entry in list_ports.comports() if entry.vid is not None]
    slots = slots_of(entry.device for entry in usb)
    found = [
        PortInfo(
            port=entry.device,
            slot=slots[entry.device],
            vid=entry.vid,
            pid=entry.pid or 0,
            description=entry.description or "",
            known_bridge=entry.vid in USB_VENDORS,
        )
        for entry in usb
    ]
    return tuple(sorted(found, key=lambda info: natural_key(info.port)))


def holder_of(port: str) -> str:
    """Return name and process id of a program that holds a port open; empty when none can be seen."""
    real = os.path.realpath(port)
    for process in _processes():
        if process.name == str(os.getpid()):
            continue
        with contextlib.suppress(OSError):
            for entry in (process / "fd").iterdir():
                if str(entry.readlink()) == real:
                    return f"{_command(process)} (process {process.name})"
    return ""


def modem_manager_runs() -> bool:
    """Tell whether ModemManager is running: it opens new ports to look for modems."""
    return any(_command(process) == "ModemManager" for process in _processes())


def busy_hint() -> str:
    """Return what to do about a port that another program holds."""
    if modem_manager_runs():
        return (
            "ModemManager probes new ports for a while: wait, or stop it (sudo systemctl stop ModemManager), "
            "or tell it to leave these ports alone with a udev rule (ID_MM_DEVICE_IGNORE)"
        )
    return "close the other program (a serial monitor, another run of parburn) and run again"


def _processes() -> Iterator[Path]:
    with contextlib.suppress(OSError):
        yield from (entry for entry in _PROC.iterdir() if entry.name.isdigit())


def _command(process: Path) -> str:
    with contextlib.suppress(OSError):
        return (process / "comm").read_text().strip()
    return "a program"
