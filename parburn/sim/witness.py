"""The witness: which lines moved, and which ports were closed, while a chip of this simulator burned.

It only looks on. A chip burns from its program command until the READ after the pulse has ended. Of a board
with faults, and of one whose host is gone, it burns until the pulse has ended: nobody may send that READ.

A move is seen when the simulator handles it, in the order in which the kernel reported the events of its
ports. Between simulators there is no such order: they write down what they saw (`--witness FILE`, JSON
lines, seconds of the machine's monotonic clock), and `moves_during_burns` compares with some slack.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from parburn.errors import UsageError
from parburn.sim.board import SimulatedBoard

FIRST_KEPT = 20
SLACK_S = 0.05  # by which a simulator on a loaded machine may be late


class Witness:
    """Counts, and what it saw first."""

    def __init__(self, file: Path | None = None) -> None:
        """Begin.

        Args:
            file: Where all of it is appended; None: nowhere.

        Raises:
            UsageError: the file cannot be written.
        """
        self.moves = self.during_burns = self.closes = self.closes_during_burns = 0
        self.first: list[dict[str, Any]] = []
        self._burning: dict[SimulatedBoard, float] = {}
        self._fd = -1
        if file is not None:
            try:
                self._fd = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
            except OSError as error:
                raise UsageError(f"--witness {file} cannot be written: {error.strerror}") from error

    def close(self) -> None:
        """Close the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def watch(self, board: SimulatedBoard) -> None:
        """Look on when this board burns."""
        controller = board.controller
        controller.awaits_read = not board.faults

        def told(burning: bool) -> None:
            self._burns(board, burning)

        controller.on_burning = told

    def moved(self, port: str, what: str, now: float) -> None:
        """Note a move of a port's lines."""
        self.moves += 1
        self.during_burns += bool(self._burning)
        self._note("move", port, what, now)

    def closed(self, port: str, now: float) -> None:
        """Note that the last user of a port that is there has closed it."""
        self.closes += 1
        self.closes_during_burns += bool(self._burning)
        self._note("close", port, "closed", now)

    def summary(self, *, with_first: bool = False) -> str:
        """Return the counts as one line, with what came first during burns as JSON behind it if asked."""
        text = (
            f"moves {self.moves} during-burns {self.during_burns} "
            f"closes {self.closes} closes-during-burns {self.closes_during_burns}"
        )
        return f"{text} first {json.dumps(self.first)}" if with_first else text

    def _note(self, kind: str, port: str, what: str, now: float) -> None:
        seen: dict[str, Any] = {"what": kind, "at": now, "port": port, "kind": what}
        if self._burning:
            seen["burning"] = {board.name: since for board, since in self._burning.items()}
            if len(self.first) < FIRST_KEPT:
                self.first.append(seen)
        self._append(seen)

    def _burns(self, board: SimulatedBoard, burning: bool) -> None:
        now = time.monotonic()
        if burning:
            self._burning[board] = now
        else:
            self._burning.pop(board, None)
        self._append({"what": "burns" if burning else "burned", "at": now, "board": board.name})

    def _append(self, seen: dict[str, Any]) -> None:
        if self._fd < 0:
            return
        line = json.dumps({**seen, "pid": os.getpid()}) + "\n"
        try:
            os.write(self._fd, line.encode())
        except OSError:  # a full disk: the counts go on
            self.close()


def moves_during_burns(files: Iterable[Path], *, slack_s: float = SLACK_S) -> list[dict[str, Any]]:
    """Return the line moves of any simulator while a chip of any burned, in the order of time.

    Args:
        files: What the simulators of one machine wrote.
        slack_s: A move so soon after a burn began is not counted between two simulators: it may have been
            seen late.
    """
    seen = [
        json.loads(line) for file in files for line in file.read_text().splitlines() if line.endswith("}")
    ]
    burning: dict[tuple[int, str], float] = {}
    found = []
    for one in sorted(seen, key=lambda entry: float(entry["at"])):
        if one["what"] == "burns":
            burning[one["pid"], one["board"]] = one["at"]
        elif one["what"] == "burned":
            burning.pop((one["pid"], one["board"]), None)
        elif one["what"] == "move" and any(
            pid == one["pid"] or one["at"] - since >= slack_s for (pid, _), since in burning.items()
        ):
            found.append(one)
    return found
