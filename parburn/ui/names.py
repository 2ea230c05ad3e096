"""What the boards of a run are called on the screen: short ports, short slots, one name for a chip. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath

from parburn.events import DeviceReport, Event, Identified, RunStarted
from parburn.natural_order import natural_key
from parburn.ui.words import name_ranges, one_line, plural, ranges, short_ports, short_slots

NAMING = (RunStarted, Identified)  # events from which names are learned
MOST_SLOTS = 8  # of one sentence; the table has all of them


class Names:
    """The names of one run's boards, learned from its events."""

    def __init__(self) -> None:
        self._ports: dict[str, str] = {}
        self._slots: dict[str, str] = {}  # short, of ports whose slot says more than the port
        self._chips: dict[str, str] = {}

    def apply(self, event: Event) -> None:
        """Learn from an event."""
        if isinstance(event, RunStarted):
            slots = event.slots if len(event.slots) == len(event.ports) else event.ports
            telling = {port: slot for port, slot in zip(event.ports, slots, strict=True) if tells(port, slot)}
            short = short_slots(list(telling.values()))
            self._ports = {port: one_line(name) for port, name in short_ports(event.ports).items()}
            self._slots = {port: one_line(short[slot]) for port, slot in telling.items()}
        elif isinstance(event, Identified):
            self._chips[event.port] = event.chip

    def port(self, port: str) -> str:
        """Return the port without the folder that all share."""
        return self._ports.get(port) or one_line(PurePath(port).name or port)

    def place(self, port: str) -> str:
        """Return the slot where it says more than the port, else the port."""
        return self._slots.get(port) or self.port(port)

    def chip(self, report: DeviceReport) -> str:
        """Return the chip in its maker's spelling, as all texts have it."""
        return self._chips.get(report.port, report.chip)

    def board(self, report: DeviceReport) -> str:
        """Return a board for a sentence: port, slot when it says more, chip, MAC, index."""
        parts = [self.port(report.port)]
        if report.port in self._slots:
            parts.append(f"({self._slots[report.port]})")
        elif not self._ports and tells(report.port, report.slot):
            parts.append(f"({one_line(report.slot)})")
        parts += [text for text in (self.chip(report), report.mac) if text]
        if report.index is not None:
            parts.append(f"index {report.index}")
        return " ".join(parts)

    def boards(self, reports: Sequence[DeviceReport]) -> str:
        """Return several boards: how many, their ports, their slots when they say more, their indexes."""
        if len(reports) == 1:
            return self.board(reports[0])
        text = f"{plural(len(reports), 'board')}: {name_ranges(self.port(one.port) for one in reports)}"
        slots = [self._slots[one.port] for one in reports if one.port in self._slots]
        if slots and len(reports) <= MOST_SLOTS:
            text += f" (slots {', '.join(sorted(slots, key=natural_key))})"
        indexes = [one.index for one in reports if one.index is not None]
        return text + (f", index {ranges(indexes)}" if indexes else "")

    def without_path(self, text: str, port: str) -> str:
        """Return a sentence of a board with its port's short name; a port that it begins with is left out."""
        return text.removeprefix(f"{port}: ").replace(port, self.port(port))


def tells(port: str, slot: str) -> bool:
    """Return whether a slot says more than the port's own name."""
    return bool(slot) and slot not in (port, PurePath(port).name)
