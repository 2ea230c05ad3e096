"""The boards of `--sim`: simulators in processes of their own, reached through ptys like real ports.

Each kind of chip gets one process. They run in sessions of their own, so that Ctrl-C in the terminal
stops the burn and not the boards under it.
"""

from __future__ import annotations

import os
import selectors
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from parburn.errors import NoAnswer, UsageError
from parburn.scratch import Scratch

READY_DEADLINE_S = 30.0
STOP_DEADLINE_S = 3.0


_running: set[str] = set()  # the ports of all simulators that this process has started


def is_simulated(port: str) -> bool:
    """Return whether a port is that of a simulated board under this process."""
    return port in _running


def end_processes(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    """End simulators, at the latest by force after STOP_DEADLINE_S, and close our ends of their pipes."""
    for process in processes:
        process.terminate()
    deadline = time.monotonic() + STOP_DEADLINE_S
    for process in processes:
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(STOP_DEADLINE_S)
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()


@dataclass(frozen=True, slots=True)
class _Rig:
    process: subprocess.Popen[bytes]
    folder: Path
    count: int
    errors: Path


class SimulatedBoards:
    """A context: the boards answer inside it and are gone after it."""

    def __init__(self, groups: Sequence[tuple[str, int]], *, state: Path | None = None) -> None:
        """Remember what to start; entering the context starts it.

        Args:
            groups: Chip and number of boards.
            state: Folder in which the eFuses are kept; None throws them away.
        """
        self._groups = tuple(groups)
        self._state = state
        self._scratch: Scratch | None = None
        self._folder = Path()
        self._rigs: list[_Rig] = []
        self.ports: tuple[str, ...] = ()

    def __enter__(self) -> SimulatedBoards:
        self._scratch = Scratch("sim-")
        self._folder = self._scratch.path
        try:
            for chip, count in self._groups:
                self._rigs.append(self._start(chip, count))
            deadline = time.monotonic() + READY_DEADLINE_S
            for rig in self._rigs:
                _wait_ready(rig, deadline)
            self.ports = tuple(self._number_ports())
            _running.update(self.ports)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End the simulators, at the latest by force after three seconds."""
        _running.difference_update(self.ports)
        end_processes([rig.process for rig in self._rigs])
        self._rigs.clear()
        if self._scratch is not None:
            self._scratch.remove()

    def _number_ports(self) -> Iterator[str]:
        """Yield one name after the other for the ports of all processes: each is used once."""
        each = (rig.folder / f"ttyUSB{number}" for rig in self._rigs for number in range(rig.count))
        for number, port in enumerate(each):
            link = self._folder / f"ttyUSB{number}"
            link.symlink_to(port)
            yield str(link)

    def _start(self, chip: str, count: int) -> _Rig:
        folder = self._folder / chip
        folder.mkdir()
        errors = self._folder / f"{chip}.stderr"
        command = [sys.executable, "-m", "parburn.sim", "--chip", chip, "--count", str(count)]
        command += ["--dir", str(folder), "--with-parent"]
        if self._state is not None:
            state = self._state / chip
            try:
                state.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise UsageError(
                    f"the files of the simulated boards cannot be made in {state}: {error.strerror}",
                    hint="Nothing was burned. They lie beside the ledger: choose another --ledger.",
                ) from error
            command += ["--state", str(state)]
        with errors.open("wb") as out:
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=out,
                env=environment(),
                start_new_session=True,
            )
        return _Rig(process, folder, count, errors)


def environment() -> dict[str, str]:
    """Return ours with the place this package was imported from: it need not be installed."""
    root = str(Path(__file__).resolve().parents[2])
    others = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{others}" if others else root}


def _wait_ready(rig: _Rig, deadline: float) -> None:
    """Wait for the line `ready: N boards in DIR`, or raise NoAnswer."""
    assert rig.process.stdout is not None
    fd = rig.process.stdout.fileno()
    text = b""
    with selectors.DefaultSelector() as selector:
        selector.register(fd, selectors.EVENT_READ)
        while True:
            left = deadline - time.monotonic()
            if left <= 0 or not selector.select(left):
                raise _not_ready(rig, f"did not answer within {READY_DEADLINE_S:g} s")
            data = os.read(fd, 4096)
            if not data:
                raise _not_ready(rig, "ended before they answered")
            text += data
            if any(line.startswith(b"ready: ") for line in text.split(b"\n")[:-1]):
                return


def _not_ready(rig: _Rig, what: str) -> NoAnswer:
    said = rig.errors.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return NoAnswer(
        f"the simulated boards {what}" + (f": {said[-1]}" if said else ""),
        hint="Try `parburn sim` by itself to see more; nothing was burned.",
    )
