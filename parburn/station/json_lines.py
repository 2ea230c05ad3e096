"""A station as JSON lines, for other programs: one object a line, of changes only. No key is ever in one.

The first object has `schema`. An object `socket` is written when anything of a socket has changed but its
seconds. A reader who reads too slowly is not waited for: objects are left out, `left-out` says how many, and
each socket whose change was left out is told again as it is by then.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from parburn.events import DeviceReport, NoteLevel
from parburn.station.picture import SocketPicture, StationPicture
from parburn.station.view import BoundedLines, StationFacts, Totals
from parburn.ui.json_lines import as_text, result_object
from parburn.ui.nonblocking_writer import NonblockingWriter

SCHEMA = 1
_SECONDS = SocketPicture._fields.index("seconds")


def utc_now() -> str:
    """Return the time as all objects have it: UTC, ISO 8601 with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


class StationJson:
    """The view of `--json`."""

    def __init__(
        self, writer: NonblockingWriter, *, clock: Callable[[], str] = utc_now, most_bytes: int | None = None
    ) -> None:
        self._lines = (
            BoundedLines(writer) if most_bytes is None else BoundedLines(writer, most_bytes=most_bytes)
        )
        self._clock = clock
        self._first = True
        self._told: dict[str, SocketPicture] = {}

    def started(self, facts: StationFacts) -> None:
        """Write `station`."""
        self._write({"event": "station", **facts._asdict(), "sockets": list(facts.sockets)})

    def update(self, picture: StationPicture) -> None:
        """Write `socket` for each that has changed."""
        for socket in picture.sockets:
            told = self._told.get(socket.slot)
            if told is socket or (told is not None and _but_seconds(told) == _but_seconds(socket)):
                continue
            if self._write(socket_object(socket)):
                self._told[socket.slot] = socket

    def report(self, slot: str, report: DeviceReport) -> None:
        """Write `report`; before it, of a board that did not pass, what its scripts printed."""
        if report.output and not report.result.passed:
            self._write({"event": "output", "slot": slot, "text": report.output})
        self._write({**result_object(report), "event": "report", "slot": slot})

    def note(self, slot: str, text: str, level: NoteLevel = "info") -> None:
        """Write `note`."""
        self._write({"event": "note", "slot": slot, "text": text, "level": level})

    def halt(self, why: str) -> None:
        """Write `halt`."""
        self._write({"event": "halt", "why": why})

    def resumed(self, why: str) -> None:
        """Write `resumed`."""
        self._write({"event": "resumed", "why": why})

    def ended(self, totals: Totals) -> None:
        """Write `ended`, the last object."""
        self._write({"event": "ended", **totals._asdict(), "failures": dict(totals.failures)})

    def draw(self, *, force: bool = False) -> bool:
        """Do nothing: lines are written as things happen."""
        return False

    def close(self) -> None:
        """Do nothing: no object is held back."""

    def _write(self, value: Mapping[str, Any]) -> bool:
        left_out = self._lines.take_left_out()
        if left_out:
            self._lines.line(as_text({"event": "left-out", "objects": left_out, "at": self._clock()}))
        value = {**value, "at": self._clock()}
        if self._first:
            value["schema"] = SCHEMA
        written = self._lines.line(as_text(value))
        self._first = self._first and not written
        return written


def _but_seconds(socket: SocketPicture) -> tuple[object, ...]:
    return socket[:_SECONDS] + socket[_SECONDS + 1 :]


def socket_object(socket: SocketPicture) -> dict[str, Any]:
    """Return a socket as it is now."""
    return {
        "event": "socket",
        "slot": socket.slot,
        "state": socket.state.value,
        "word": None if socket.word is None else socket.word.value,
        "value": socket.value,
        "index": socket.index,
        "mac": socket.mac,
        "seconds": None if socket.seconds is None else round(socket.seconds, 3),
        "detail": socket.detail,
        "hollow": socket.hollow,
        "dimmed": socket.dimmed,
        "amber": socket.amber,
    }
