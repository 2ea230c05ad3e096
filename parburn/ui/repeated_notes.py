"""Notes that several boards give rise to: said with the first board, the others are named at the end."""

from __future__ import annotations

from parburn.events import Note
from parburn.ui.names import Names
from parburn.ui.words import name_ranges, one_line


class RepeatedNotes:
    """What was said of which boards."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self._ports: dict[tuple[str, str], list[str]] = {}

    def is_first(self, note: Note) -> bool:
        """Return whether this sentence is to be said: it is of the whole run, or no board had it before."""
        if not note.port:
            return True
        ports = self._ports.setdefault(self._sentence(note), [])
        ports.append(note.port)
        return len(ports) == 1

    def taken(self) -> list[str]:
        """Return a line for each sentence that more boards had than the one it was said with; forget them."""
        lines = []
        for (level, text), ports in self._ports.items():
            others = dict.fromkeys(port for port in ports if port != ports[0])
            if others:
                where = name_ranges(map(self._names.port, others))
                lines.append(f"{'' if level == 'info' else level + ': '}also at {where}: {text}")
        self._ports.clear()
        return lines

    def _sentence(self, note: Note) -> tuple[str, str]:
        return note.level, one_line(self._names.without_path(note.text, note.port))
