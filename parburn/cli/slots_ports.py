"""Ports of the command line by the names of slots: `slots:FILE` and `slots:FILE#A1-A8`. Opens no port."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from parburn.errors import UsageError
from parburn.natural_order import natural_key
from parburn.transport.ports import expand_ports

SCHEME: Final = "slots:"


class NamedPorts(NamedTuple):
    """Ports that were named, naturally sorted by what they are called; and the slot of each that has one."""

    ports: tuple[str, ...]
    slots: Mapping[str, str]


def named_ports(patterns: Iterable[str]) -> NamedPorts:
    """Return the ports that names, patterns and slots mean.

    An empty slot is a port that is not there: by the link that udev would make for it.

    Raises:
        UsageError: a pattern matches nothing, or a slots file or what is chosen of it is wrong.
    """
    patterns = tuple(patterns)
    slots: dict[str, str] = {}
    for pattern in patterns:
        if pattern.startswith(SCHEME):
            for port, name in _ports_of(pattern).items():
                if slots.setdefault(port, name) != name:
                    raise UsageError(f"{port} is the slot {slots[port]} of one file, and {name} of another")
    if len(expand_ports(slots)) < len(slots):
        raise UsageError(_one_tty(slots), hint="`parburn slots show` tells which.")
    others = [pattern for pattern in patterns if not pattern.startswith(SCHEME)]
    ports = expand_ports([*slots, *others])  # names that come first are kept
    return NamedPorts(tuple(sorted(ports, key=lambda port: natural_key(slots.get(port) or port))), slots)


def _one_tty(slots: Mapping[str, str]) -> str:
    kept = expand_ports(slots)
    doubled = [name for port, name in slots.items() if port not in kept]
    return f"the tty of {', '.join(doubled)} is another slot's, too"


def _ports_of(text: str) -> dict[str, str]:
    """Return the name of each slot by the port that it has now."""
    from parburn.station.slots_file import named_path, places_now, read_slots

    path, names = file_and_names(text)
    file = read_slots(path)
    chosen = file if names is None else file.chosen(names)
    now = places_now(chosen.slots)
    return {now.get(slot.name) or named_path(slot): slot.name for slot in chosen.slots}


def file_and_names(text: str) -> tuple[Path, str | None]:
    """Return the file of `slots:FILE#A1-A8`, and the names; None where all are meant.

    Raises:
        UsageError: no file is named.
    """
    rest = text.removeprefix(SCHEME)
    path, hash_sign, names = rest.rpartition("#")
    if not hash_sign or Path(rest).exists():  # a file's name may hold '#' itself
        path, hash_sign, names = rest, "", ""
    if not path:
        raise UsageError(f"{text} names no file", hint="As in slots:rig7.slots.toml#A1-A8.")
    return Path(path).expanduser(), names if hash_sign else None


@contextmanager
def slots_held(patterns: Iterable[str]) -> Iterator[None]:
    """Hold the slots files among the ports of a command line for the time of a block.

    Raises:
        UsageError: another process holds one.
    """
    files = dict.fromkeys(
        file_and_names(pattern)[0].resolve() for pattern in patterns if pattern.startswith(SCHEME)
    )
    with ExitStack() as stack:
        if files:
            from parburn.station.slot_lock import held_slots

            for file in files:
                stack.enter_context(held_slots(file))
        yield
