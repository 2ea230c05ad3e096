"""In what state ports are, as far as it can be seen from outside: driver, latency, rights, who has them open.

Looks into sysfs, /proc and udev's records. Opens no port.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from parburn.transport import ports
from parburn.transport.slots import SCHEMES
from parburn.transport.tty import latency_timer, real_path

_UDEV: Final = Path("/run/udev/data")
_IGNORES: Final = ("E:ID_MM_DEVICE_IGNORE=1", "E:ID_MM_PORT_IGNORE=1")  # what tells ModemManager to stay away


class PortState(NamedTuple):
    """What can be seen of a port."""

    there: bool = True
    driver: str = ""  # of the kernel, as ftdi_sio; empty where it is no adapter
    latency_ms: int | None = None  # how long the adapter holds answers back, where its driver says so
    access: bool = True  # we have the rights to open it
    group: str = ""  # that may open it
    holder: str = ""  # another program that has it open
    modem_manager: bool = False  # ModemManager runs, and nothing tells it to leave this port alone


def states_of(names: Sequence[str]) -> dict[str, PortState]:
    """Return the state of each port, by its name; all is looked up once."""
    holders = ports.holders()
    manager = ports.modem_manager_runs()
    return {
        name: PortState()
        if name.startswith(SCHEMES)
        else _state(name, holders.get(real_path(name), ""), manager)
        for name in names
    }


def _state(port: str, holder: str, manager: bool) -> PortState:
    try:
        found = Path(port).stat()
    except OSError:
        return PortState(there=False)
    driver = _driver(port)
    return PortState(
        driver=driver,
        latency_ms=_latency_ms(port),
        access=os.access(port, os.R_OK | os.W_OK),
        group=_group(port),
        holder=holder,
        modem_manager=manager and bool(driver) and not _is_ignored(found),
    )


def _driver(port: str) -> str:
    with contextlib.suppress(OSError):
        return (latency_timer(port).parent / "driver").resolve(strict=True).name
    return ""


def _latency_ms(port: str) -> int | None:
    with contextlib.suppress(OSError, ValueError):
        return int(latency_timer(port).read_text())
    return None


def _group(port: str) -> str:
    with contextlib.suppress(OSError, KeyError):
        return Path(port).group()
    return ""


def _is_ignored(found: os.stat_result) -> bool:
    """Tell whether a rule of udev keeps ModemManager from this device."""
    if not stat.S_ISCHR(found.st_mode):
        return False
    number = f"c{os.major(found.st_rdev)}:{os.minor(found.st_rdev)}"
    with contextlib.suppress(OSError):
        lines = (_UDEV / number).read_text(errors="replace").splitlines()
        return any(line in _IGNORES for line in lines)
    return False
