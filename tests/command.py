"""Runs the installed `parburn` command, as a line does, and reads what it says."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

COMMAND = shutil.which("parburn", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")


@dataclass(frozen=True)
class Outcome:
    """One finished run of the command."""

    exit: int
    stdout: str
    stderr: str
    events: list[dict[str, Any]] = field(default_factory=list)

    @property
    def results(self) -> list[dict[str, Any]]:
        """The result lines, one a board, in the order of their ports."""
        found = [event for event in self.events if event["event"] == "result"]
        return sorted(found, key=lambda event: (len(event["port"]), event["port"]))

    @property
    def words(self) -> list[str]:
        """The result word of every board."""
        return [result["result"] for result in self.results]


def environment(state: Path, **extra: str) -> dict[str, str]:
    """The caller's environment with a ledger place of its own, so that no test meets another's."""
    return {**os.environ, "XDG_STATE_HOME": str(state), "COLUMNS": "120", **extra}


NEW_LEDGER = "--new-ledger"


def on_purpose(words: list[str], state: Path) -> list[str]:
    """The words of a line, with the option that makes a ledger where real ports would begin a new one."""
    if words[:1] == ["ledger"]:
        return words
    named = [Path(words[n + 1]) for n, word in enumerate(words[:-1]) if word == "--ledger"]
    place = named[-1] if named else state / "parburn" / "ledger.sqlite3"
    begins = not {"--ports", "--port", "-p"}.isdisjoint(words) and not place.exists()
    return [*words, NEW_LEDGER] if begins else words


def start(*arguments: object, state: Path, as_typed: bool = False, **extra: str) -> subprocess.Popen[str]:
    """Start the command; the caller waits for it. `as_typed`: no word is added to begin a first ledger."""
    assert COMMAND, "the parburn command is not installed: pip install -e ."
    words = [*map(str, arguments)]
    return subprocess.Popen(
        [COMMAND, *(words if as_typed else on_purpose(words, state))],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(state, **extra),
    )


def finish(process: subprocess.Popen[str], timeout_s: float = 120) -> Outcome:
    """Wait for a started command; a hang is a failure that shows what was said so far."""
    try:
        stdout, stderr = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        stdout, stderr = process.communicate()
        raise AssertionError(f"parburn hangs\n{stdout}\n{stderr}") from None
    events = [json.loads(line) for line in stdout.splitlines()] if stdout.startswith('{"') else []
    return Outcome(process.returncode, stdout, stderr, events)


def parburn(
    *arguments: object, state: Path, timeout_s: float = 120, as_typed: bool = False, **extra: str
) -> Outcome:
    """Run the command to its end."""
    return finish(start(*arguments, state=state, as_typed=as_typed, **extra), timeout_s)
