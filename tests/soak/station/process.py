"""The station under test: a process that is started, killed, stopped, and whose JSON lines are read."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, Any

from tests.command import COMMAND
from tests.rig import ROOT
from tests.soak.station.job import Job

DRAIN_S = 60.0
LINES_BELOW = 40
_BAD = ("Traceback", "error inside parburn", "never awaited", "never retrieved", "was destroyed")


class StationProcess:
    """One life of a station."""

    def __init__(self, job: Job, *, off: str = "") -> None:
        self.began = time.monotonic()
        assert COMMAND
        first = [sys.executable, "-m", "tests.soak.station.off", off] if off else [COMMAND]
        words = [*first, "station", str(job.path), "--json", "--debug", "--operator", "Soak"]
        self.errors: Path = job.folder / "errors.txt"
        with self.errors.open("ab") as errors:
            self._process = subprocess.Popen(
                words, cwd=ROOT if off else job.folder, env=job.environment(), stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=errors, start_new_session=True,
            )  # fmt: skip
        assert self._process.stdout is not None
        self._out: IO[bytes] = self._process.stdout
        os.set_blocking(self._out.fileno(), False)
        self._text = b""
        self.pid = self._process.pid
        self.serves = False  # its first line has come

    def fileno(self) -> int:
        """Of what it says."""
        return self._out.fileno()

    def events(self) -> list[dict[str, Any]]:
        """What it has said since the last time."""
        while True:
            try:
                data = os.read(self._out.fileno(), 1 << 18)
            except BlockingIOError:
                break
            if not data:
                break
            self._text += data
        *lines, self._text = self._text.split(b"\n")
        found = [json.loads(line) for line in lines if line]
        self.serves = self.serves or bool(found)
        return found

    def ended(self) -> int | None:
        """The exit code; None while it runs."""
        return self._process.poll()

    def kill(self) -> None:
        """Let it die at once."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(10)

    def ask_to_stop(self) -> None:
        """Ctrl-C."""
        self._process.send_signal(signal.SIGINT)

    def close(self) -> None:
        """Nothing of it is left."""
        if self._process.poll() is None:
            self.kill()
        self._out.close()


def bad_lines(errors: Path) -> list[str]:
    """Return what stderr says of defects: each such line, and what stands below it."""
    lines = errors.read_text(errors="replace").splitlines() if errors.exists() else []
    bad = [n for n, line in enumerate(lines) if any(one in line for one in _BAD)]
    return ["\n".join(lines[n : n + LINES_BELOW]) for n in bad]
