"""Which ports there are and how they are called: patterns, USB candidates, holders. Opens none."""

from __future__ import annotations

import contextlib
import glob
import os
import stat
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final, NamedTuple

from parburn.errors import GarbledAnswer, NoAnswer, ParburnError, TooFewBoards, UsageError, causes
from parburn.natural_order import natural_key
from parburn.transport.slots import SCHEMES, slots_of
from parburn.transport.tty import real_path
from parburn.transport.usb_ports import may_hold_chip, usb_ports

_PROC: Final = Path("/proc")


class PortInfo(NamedTuple):
    """A USB serial port behind which a chip may be. `slot` is the socket that it is plugged into."""

    port: str
    slot: str
    vid: int
    pid: int
    description: str
    may_hold_chip: bool  # boards with these chips are known to come with such a USB device


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
    return real_path(port)


def list_candidates() -> tuple[PortInfo, ...]:
    """Return the USB serial ports of this machine, naturally sorted."""
    usb = usb_ports()
    slots = slots_of(entry.port for entry in usb)
    found = [
        PortInfo(
            port=entry.port,
            slot=slots[entry.port],
            vid=entry.vid,
            pid=entry.pid,
            description=entry.description,
            may_hold_chip=may_hold_chip(entry.vid, entry.pid),
        )
        for entry in usb
    ]
    return tuple(sorted(found, key=lambda info: natural_key(info.port)))


def told_missing(
    ports: Sequence[str],
    missing: Sequence[str],
    expect: int | None,
    *,
    called: Mapping[str, str] = MappingProxyType({}),
) -> TooFewBoards | UsageError:
    """Return an error that names all ports that are not there, and those that are.

    Args:
        ports: The ports that were named.
        missing: Those of them that are not there.
        expect: How many boards there must be; None: as many as were named.
        called: The slots of ports that were named by them.
    """
    there = [called.get(port, port) for port in ports if port not in missing]
    others = [info.port for info in list_candidates() if info.port not in ports and info.may_hold_chip]
    listed = f"There: {', '.join(there) or 'none of those named'}"
    also = f". Also on USB: {', '.join(others)}" if others else ""
    named = _not_there(
        [port for port in missing if port not in called], [called[port] for port in missing if port in called]
    )
    if expect is not None:
        gives = f"--expect {expect} boards, but --ports gives {len(there)}"
        return TooFewBoards(
            f"{gives}: {named}" if missing else gives, hint=f"{listed}{also}. Plug in what is missing."
        )
    without = f"; --expect {len(there)} burns those that are there" if there else ""
    return UsageError(named, hint=f"{listed}{also}. Plug in what is missing{without}.")


def _not_there(ports: Sequence[str], slots: Sequence[str]) -> str:
    parts = []
    if ports:
        parts.append(f"there {'is no port' if len(ports) == 1 else 'are no ports'} {', '.join(ports)}")
    if slots:
        parts.append(f"nothing is in {'slot' if len(slots) == 1 else 'slots'} {', '.join(slots)}")
    return ", and ".join(parts)


def holders() -> Mapping[str, str]:
    """Return name and process id of the other programs that have devices open, by the devices' real paths."""
    return _HOLDERS.look()


def holder_of(port: str) -> str:
    """Return name and process id of another program that has a port open; empty when we may not see it."""
    return _HOLDERS.look().get(real_path(port), "")


class _Holders:
    """Which devices other programs have open. When many boards ask in one moment it is looked up once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._looked_at = 0.0
        self._found: dict[str, str] = {}

    def look(self) -> Mapping[str, str]:
        """Return what was so at some time after this was called."""
        asked_at = time.monotonic()
        with self._lock:
            if self._looked_at < asked_at:
                self._looked_at = time.monotonic()
                self._found = _open_in_programs()
            return self._found


_HOLDERS: Final = _Holders()


def _open_in_programs() -> dict[str, str]:
    found: dict[str, str] = {}
    for process in _processes():
        if process.name == str(os.getpid()):
            continue
        with contextlib.suppress(OSError):
            for entry in (process / "fd").iterdir():
                with contextlib.suppress(OSError):
                    found.setdefault(str(entry.readlink()), f"{_command(process)} (process {process.name})")
    return found


def is_of_the_line(error: ParburnError) -> bool:
    """Tell whether an error is owed to answers that did not come, or made no sense."""
    return any(isinstance(cause, (NoAnswer, GarbledAnswer)) for cause in causes(error))


def told_of_reader(port: str, error: ParburnError) -> None:
    """Say in an error of the line which other program has the port open, where one has: it takes answers.

    Our lock and mark forbid a later open, and can do nothing about an earlier one.
    """
    if port.startswith(SCHEMES) or not is_of_the_line(error):
        return
    if holder := holder_of(port):
        error.message = f"{error.message}; {holder} has {port} open too, and may have taken the answers"
        error.hint = busy_hint()


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
