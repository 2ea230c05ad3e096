"""Speaks with a peer's worker: one process a version, one JSON line a sequence. Knows nothing of parburn."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.peers.venvs import peer_python

ROOT = Path(__file__).parents[2]
ANSWER_DEADLINE_S = 120.0


class PeerError(Exception):
    """The worker died, hung or failed in itself: no statement about what the original does."""


@dataclass(frozen=True, slots=True)
class Commands:
    """Command lines that are staged together and then burned."""

    lines: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """As the worker wants it."""
        return {"commands": list(self.lines)}


@dataclass(frozen=True, slots=True)
class Scripts:
    """Script files (names in the case's folder) that run one after the other; then all is burned."""

    names: tuple[str, ...]
    index: int | None = None
    configs: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As the worker wants it."""
        return {"scripts": list(self.names), "index": self.index, "configs": list(self.configs)}


Step = Commands | Scripts


@dataclass(frozen=True, slots=True)
class FieldState:
    """What one field shows."""

    get: str | int | float | bool
    meaning: str | int | float | bool
    bits: int
    readable: bool
    writeable: bool


@dataclass(frozen=True, slots=True)
class ChipState:
    """All read registers by block, all listed fields by name, and the JSON summary. None: not asked."""

    blocks: Mapping[int, int]
    fields: Mapping[str, FieldState] | None
    summary: Mapping[str, Mapping[str, Any]] | None = None


@dataclass(frozen=True, slots=True)
class StepOutcome:
    """How one step ended. `where` is the refused command line, `burn` or `script`; `crash` the type of an
    exception that is no refusal by design; `half_staged`: a refused command had left bits staged; `says`:
    lines that scripts printed for the comparison, None where they are not known."""

    accepted: bool
    where: str
    message: str
    crash: str
    half_staged: bool
    says: tuple[str, ...] | None
    state: ChipState


@dataclass(frozen=True, slots=True)
class Outcome:
    """The chip as prepared, and each step that ran."""

    start: ChipState
    steps: tuple[StepOutcome, ...]


class Peer:
    """A running worker. Use it as a context manager, or call `close()`."""

    def __init__(self, version: int) -> None:
        self.version = version
        self._errors = os.memfd_create("stderr")
        self._process = subprocess.Popen(
            [str(peer_python(version)), "-m", f"tests.peers.worker{version}"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
        )
        assert self._process.stdout is not None
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._process.stdout, selectors.EVENT_READ)

    def __enter__(self) -> Peer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def run(
        self,
        chip: str,
        start: Mapping[int, int],
        steps: Sequence[Step],
        *,
        folder: Path,
        table: str | None = None,
        go_on: bool = True,
        every_summary: bool = False,
    ) -> Outcome:
        """Run a sequence from the given block bits. `go_on`: also after a refused step. `every_summary`: each
        state carries the JSON summary, not only the last.

        Raises PeerError when the worker itself fails.
        """
        request = {
            "chip": chip,
            "start": {str(index): hex(bits) for index, bits in start.items()},
            "steps": [step.to_json() for step in steps],
            "folder": str(folder),
            "table": table,
            "go_on": go_on,
            "every_summary": every_summary,
        }
        answer = self._ask(json.dumps(request).encode() + b"\n")
        if "broken" in answer:
            raise PeerError(f"the worker of espefuse {self.version}.x failed:\n{answer['broken']}")
        return Outcome(parse_state(answer["start"]), tuple(_parse_step(step) for step in answer["steps"]))

    def close(self) -> None:
        """End the worker."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._selector.close()
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(5)
        self._process.stdout.close()
        os.close(self._errors)

    def _ask(self, line: bytes) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(line)
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise PeerError(self._last_words()) from error
        deadline = time.monotonic() + ANSWER_DEADLINE_S
        received = bytearray()
        while not received.endswith(b"\n"):
            if not self._selector.select(max(0.0, deadline - time.monotonic())):
                raise PeerError(f"no answer from espefuse {self.version}.x in {ANSWER_DEADLINE_S:.0f} s")
            chunk = os.read(self._process.stdout.fileno(), 1 << 20)
            if not chunk:
                raise PeerError(self._last_words())
            received += chunk
        found = json.loads(received)
        assert isinstance(found, dict)
        return found

    def _last_words(self) -> str:
        text = os.pread(self._errors, 1 << 20, 0).decode(errors="replace")
        return f"the worker of espefuse {self.version}.x ended:\n{text[-2000:]}"


def parse_state(state: Mapping[str, Any]) -> ChipState:
    """A chip's state out of a worker's JSON."""
    return ChipState(
        {int(index): int(bits, 16) for index, bits in state["blocks"].items()},
        None if state["fields"] is None else parse_fields(state["fields"]),
        state.get("summary"),
    )


def parse_fields(fields: Mapping[str, Mapping[str, Any]]) -> dict[str, FieldState]:
    """What the fields show out of JSON."""
    return {
        name: FieldState(one["get"], one["meaning"], int(one["bits"], 16), one["readable"], one["writeable"])
        for name, one in fields.items()
    }


def _parse_step(step: Mapping[str, Any]) -> StepOutcome:
    return StepOutcome(
        step["accepted"],
        step["where"],
        step["message"],
        step["crash"],
        step["half_staged"],
        tuple(step["says"]),
        parse_state(step["state"]),
    )
