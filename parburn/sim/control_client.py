"""A rig of sockets in a process of its own, and the hand that puts boards in and takes them out.

For tests, for soak runs, and for the operator whom a station plays to itself. It talks to `parburn sim
--control -` and knows no chip. Each answer has a deadline. Several threads may use one rig.
"""

from __future__ import annotations

import json
import os
import re
import selectors
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from parburn.errors import NoAnswer, UsageError
from parburn.scratch import Scratch
from parburn.sim.processes import READY_DEADLINE_S, end_processes, environment

ANSWER_DEADLINE_S = 10.0
_WITNESS = re.compile(
    r"moves (\d+) during-burns (\d+) closes (\d+) closes-during-burns (\d+)(?: first (.*))?"
)
_CHUNK = 65536


class Board(NamedTuple):
    """A board of the rig: its name, and its factory MAC address."""

    name: str
    mac: str


class Witnessed(NamedTuple):
    """What the simulator saw of line moves and closed ports; `first` has those during burns, if asked."""

    moves: int
    during_burns: int
    closes: int
    closes_during_burns: int
    first: tuple[dict[str, Any], ...] = ()


class ControlledRig:
    """A context: the sockets are there inside it. A socket is a number, from 0."""

    def __init__(
        self,
        chips: str,
        *,
        folder: Path | None = None,
        state: Path | None = None,
        empty: bool = True,
        lines: bool = False,
        bridges: bool = False,
        options: Sequence[str] = (),
    ) -> None:
        """Remember what to start; entering the context starts it.

        Args:
            chips: CHIP:N, with a comma and more for a mix: a socket each.
            folder: Where the links of the ports are; None: a folder that goes with the rig.
            state: Where the boards' files are; None: in `folder`.
            empty: No board is in at the start.
            lines: The ports have DTR and RTS.
            bridges: The ports stay when boards go.
            options: More words for `parburn sim`.
        """
        self._scratch: Scratch | None = None
        self._folder, self._state = folder, state
        self._options = ["--chip", chips]
        self._options += [
            word
            for word, wanted in (("--empty", empty), ("--lines", lines), ("--bridges", bridges))
            if wanted
        ] + list(options)
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._text = b""
        self.ports: tuple[str, ...] = ()

    def __enter__(self) -> ControlledRig:
        if self._folder is None:
            self._scratch = Scratch("sim-")
            self._folder = self._scratch.path
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._process = self._start(self._folder)
            ready = self._line(time.monotonic() + READY_DEADLINE_S)
            if not ready.startswith("ready: "):
                raise NoAnswer(f"the simulated sockets said {ready!r}")
            self.ports = tuple(str(self._folder / name) for name in self.boards())
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The process of the simulator."""
        assert self._process is not None
        return self._process.pid

    def stop(self) -> None:
        """End the simulator, at the latest by force after three seconds."""
        process, self._process = self._process, None
        if process is not None:
            end_processes([process])
        if self._scratch is not None:
            self._scratch.remove()

    # Commands ---------------------------------------------------------------------------------------

    def insert(self, socket: int, board: str = "", *, chip: str = "") -> Board:
        """Put a board in: a new one, of another chip if asked, or the one of this name again."""
        return self._board("insert", socket, board, chip and f"chip={chip}")

    def remove(self, socket: int, *, forget: bool = False) -> str:
        """Take a board out. Return its name; with `forget` its file goes, too."""
        return self.ask(*_words("remove", socket, "forget" * forget))

    def swap(self, socket: int, board: str = "", *, chip: str = "", forget: bool = False) -> Board:
        """Take a board out and put another in, with nothing between."""
        return self._board("swap", socket, board, chip and f"chip={chip}", "forget" * forget)

    def replug(self, socket: int, other: int | None = None) -> Board:
        """Take a board out and put it in again, there or in another socket."""
        return self._board("replug", socket, "" if other is None else other)

    def twin(self, socket: int, other: int) -> Board:
        """Let a board answer at another socket, too."""
        return self._board("twin", socket, other)

    def untwin(self, socket: int) -> str:
        """Take away one node of a board that has two. Return the board's name."""
        return self.ask(*_words("untwin", socket))

    def clone(self, socket: int, other: int) -> Board:
        """Put a blank chip with the same identity into another socket."""
        return self._board("clone", socket, other)

    def fault(self, socket: int, sentence: str) -> None:
        """Let something go wrong with the next board of a socket."""
        self.ask("fault", str(socket), sentence)

    def dead(self, socket: int) -> Board:
        """Let the board of a socket answer nothing; an empty socket gets a new one of this kind."""
        return self._board("dead", socket)

    def forget(self, board: str) -> None:
        """Delete the file of a board that was taken out."""
        self.ask("forget", board)

    def boards(self) -> dict[str, dict[str, Any] | None]:
        """Return by the socket's name what is in it."""
        found: dict[str, dict[str, Any] | None] = json.loads(self.ask("boards"))
        return found

    def file_of(self, board: str) -> Path:
        """Return the file of a board, with all its bits as they are now."""
        folder = self._state or (self._folder or Path()) / "state"
        return folder / f"{board}.json"

    def witness(self, *, with_first: bool = False) -> Witnessed:
        """Return what the simulator saw of line moves."""
        told = _WITNESS.fullmatch(self.ask("witness", "all") if with_first else self.ask("witness"))
        if told is None:
            raise NoAnswer("the simulator's witness gave no answer that can be read")
        moves, during, closes, closes_during, first = told.groups()
        counts = (int(moves), int(during), int(closes), int(closes_during))
        return Witnessed(*counts, tuple(json.loads(first or "[]")))

    def quit(self) -> None:
        """Let the simulator end."""
        self.ask("quit")

    def ask(self, *words: str) -> str:
        """Send a command and return what its `ok` says.

        Raises:
            UsageError: the answer is an error.
            NoAnswer: there is none in time.
        """
        with self._lock:
            if self._process is None or self._process.stdin is None:
                raise NoAnswer("the simulated sockets are gone")
            try:
                self._process.stdin.write((" ".join(words) + "\n").encode())
                self._process.stdin.flush()
            except (OSError, ValueError) as error:
                raise self._gone() from error
            verdict, _, told = self._line(time.monotonic() + ANSWER_DEADLINE_S).partition(" ")
        if verdict != "ok":
            raise UsageError(told)
        return told

    def _board(self, *words: str | int) -> Board:
        return Board(*self.ask(*_words(*words)).split())

    # The process ------------------------------------------------------------------------------------

    def _start(self, folder: Path) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "parburn.sim", *self._options, "--control", "-"]
        command += ["--dir", str(folder), "--with-parent"]
        command += ["--state", str(self._state)] if self._state is not None else []
        with (folder / "errors.txt").open("wb") as errors:
            return subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=environment(),
                start_new_session=True,  # Ctrl-C in the terminal is not for the boards
            )

    def _line(self, deadline: float) -> str:
        """Wait for a line of the simulator."""
        assert self._process is not None
        assert self._process.stdout is not None
        fd = self._process.stdout.fileno()
        with selectors.DefaultSelector() as selector:
            selector.register(fd, selectors.EVENT_READ)
            while b"\n" not in self._text:
                left = deadline - time.monotonic()
                if left <= 0 or not selector.select(left):
                    raise NoAnswer("the simulated sockets did not answer in time")
                data = os.read(fd, _CHUNK)
                if not data:
                    raise self._gone()
                self._text += data
        line, _, self._text = self._text.partition(b"\n")
        return line.decode()

    def _gone(self) -> NoAnswer:
        errors = (self._folder or Path()) / "errors.txt"
        said = errors.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return NoAnswer(
            "the simulated sockets ended" + (f": {said[0]}" if said else ""),
            hint="Try `parburn sim` by itself to see more.",
        )


def _words(*words: str | int) -> list[str]:
    return [str(word) for word in words if word != ""]
