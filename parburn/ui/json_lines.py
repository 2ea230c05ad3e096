"""One JSON object a line, for other programs. `result` and `summary` are an interface: no key ever goes.

`result` has what happened in `error`, and in `hint` what to do next: the words of the console, the column
`next_step` of a report, as in an `error` that ends the whole run. Both are empty for a board that passed.
Neither holds key material.

Each object says when it was written (UTC), which run it is of, where and by whom; that of a board says which
chip it is, once that is known. The first object carries `schema`; a reader that knows another number should
stop there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from parburn.events import (
    BlockBurned,
    Claimed,
    DeviceReport,
    Event,
    Finished,
    Identified,
    LedgerOpened,
    Note,
    Planned,
    PlannedBlock,
    RunFinished,
    RunStarted,
    ScriptOutput,
    StepChanged,
    TokenRead,
)
from parburn.ui.nonblocking_writer import NonblockingWriter

SCHEMA = 1
QUIET_EVENTS = ("start", "output", "error", "token", "result", "summary")
OF_ALL = ("time", "run", "batch", "ledger", "ledger_uuid", "station", "operator")  # fields of every object
OF_A_BOARD = ("unique_id", "revision")  # and of every object with a port


class JsonLines:
    """An observer that writes objects, and nothing else, to stdout."""

    def __init__(
        self,
        writer: NonblockingWriter,
        *,
        show_output: bool = False,
        quiet: bool = False,
        station: str = "",
        operator: str = "",
    ) -> None:
        """Take where and by whom the run is made, as far as it is known before the ledger is open."""
        self._run = LedgerOpened("", None, "", "", "", station, operator)
        self._chips: dict[str, tuple[str, str]] = {}  # port: unique id and revision
        self._writer = writer
        self._show_output = show_output
        self._quiet = quiet
        self._first = True

    def emit(self, event: Event) -> None:
        """Write the event's objects."""
        if isinstance(event, LedgerOpened):
            self._run = event
            return
        if isinstance(event, Identified):
            self._chips[event.port] = event.unique_id, event.revision
        for value in self._objects(event):
            self.write(value)

    def write(self, value: Mapping[str, Any]) -> None:
        """Write one object, with the schema's number if it is the first."""
        if self._quiet and value["event"] not in QUIET_EVENTS and value.get("level") != "warning":
            return
        value = {**value, **self._of_all(value.get("port", ""))}
        if self._first:
            self._first = False
            value = {**value, "schema": SCHEMA}
        self._writer.line(as_text(value))

    def _of_all(self, port: str) -> dict[str, Any]:
        """Return what every object says, and with a port which chip it is."""
        said: dict[str, Any] = {"time": datetime.now(UTC).isoformat(timespec="milliseconds")}
        said |= dict(zip(OF_ALL[1:], self._run[1:], strict=True))
        return said | dict(zip(OF_A_BOARD, self._chips.get(port, ("", "")), strict=True)) if port else said

    def error(self, message: str, hint: str) -> None:
        """Write the object `error`: what ended the whole run."""
        self.write({"event": "error", "port": "", "error": message, "hint": hint})

    def close(self) -> None:
        """Do nothing: no object is held back."""

    def _objects(self, event: Event) -> list[dict[str, Any]]:
        if isinstance(event, ScriptOutput):
            return [{"event": "output", "port": event.port, "text": event.text}] if self._show_output else []
        if isinstance(event, Finished):
            result = result_object(event.report)
            output = event.report.output
            if output and not event.report.result.passed and not self._show_output:
                return [{"event": "output", "port": event.report.port, "text": output}, result]
            return [result]
        if isinstance(event, RunFinished):
            following = (
                [{"event": "next", "port": "", "command": event.next_command}] if event.next_command else []
            )
            return [*following, summary_object(event)]
        return [as_object(event)]


def result_object(report: DeviceReport) -> dict[str, Any]:
    """Return a board's last object."""
    return {
        "event": "result",
        "port": report.port,
        "slot": report.slot,
        "chip": report.chip,
        "mac": report.mac,
        "index": report.index,
        "result": report.result.value,
        "error": report.error,
        "hint": report.next_step,
        "seconds": round(report.seconds, 3),
        "started": report.started,
        "ended": report.ended,
        "values": dict(report.values),
        "state": report.state,
    }


def summary_object(event: RunFinished) -> dict[str, Any]:
    """Return the last object of all."""
    return {
        "event": "summary",
        "boards": event.boards,
        "passed": event.passed,
        "failed": event.failed,
        "exit": event.exit,
    }


def as_object(event: Event) -> dict[str, Any]:
    """Return every other event as an object."""
    port = event.port
    match event:
        case RunStarted():
            return {"event": "start", "port": port, "ports": list(event.ports), "slots": list(event.slots),
                    "simulated": event.simulated, "dry_run": event.dry_run}  # fmt: skip
        case Note():
            return {"event": "note", "port": port, "level": event.level, "text": event.text}
        case StepChanged():
            return {"event": "step", "port": port, "step": event.step, "detail": event.detail}
        case Identified():
            return {"event": "identified", "port": port, "chip": event.chip, "mac": event.mac,
                    "revision": event.revision, "crystal_mhz": event.crystal_mhz}  # fmt: skip
        case Claimed():
            return {"event": "claimed", "port": port, "index": event.index, "known": event.known}
        case Planned():
            return {
                "event": "planned",
                "port": port,
                "burn": event.burn,
                "blocks": [_block(b) for b in event.blocks],
            }
        case BlockBurned():
            return {
                "event": "burned",
                "port": port,
                "block": event.block,
                "done": event.done,
                "total": event.total,
            }
        case TokenRead():
            return {"event": "token", "port": port, "token": event.token, "left_out": list(event.left_out)}
        case _:
            return {"event": type(event).__name__.lower(), "port": port}


def as_text(value: Mapping[str, Any]) -> str:
    """Return the object as one line of ASCII. No reader stumbles over half a character."""
    text = json.dumps(value, ensure_ascii=True)
    text = json.dumps(_whole(value), ensure_ascii=True) if "\\ud" in text else text
    return text.replace("\x7f", "\\u007f")  # json leaves DEL as it is


def _whole(value: Any) -> Any:
    """Return the same with its code written out where a text holds no character but half of one."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(value, Mapping):
        return {_whole(name): _whole(one) for name, one in value.items()}
    return [_whole(one) for one in value] if isinstance(value, list | tuple) else value


def _block(block: PlannedBlock) -> dict[str, Any]:
    return {"block": block.block, "bits": block.bits, "fields": list(block.fields), "locks": block.locks,
            "ends_link": block.ends_link}  # fmt: skip
