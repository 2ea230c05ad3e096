"""A station at work in a test: the installed command on sockets of the simulator, and what it says."""

from __future__ import annotations

import json
import queue
import signal
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from parburn.sim.control_client import ControlledRig
from tests.command import COMMAND, environment

Said = dict[str, Any]

SCRIPT = """\
mac = '02:aa:cd:00:{:02x}:{:02x}'.format(args.index >> 8, args.index & 255)
espefuse(esp, efuses, args, 'burn_custom_mac ' + mac)
espefuse(esp, efuses, args, 'burn_efuse DIS_DIRECT_BOOT 1')
"""
WAIT_S = 40.0


class StationProcess:
    """The command, and the JSON objects that it wrote."""

    def __init__(self, job: Path, *words: str, env: Mapping[str, str] | None = None) -> None:
        assert COMMAND, "the command is not installed"
        self.said: list[Said] = []
        self._new: queue.Queue[Said | None] = queue.Queue()
        self.process = subprocess.Popen(
            [COMMAND, "station", str(job), "--json", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            env=environment(job.parent / "state", **(env or {})),
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._new.put(json.loads(line))
        self._new.put(None)

    def until(self, wanted: Callable[[Said], bool], what: str, within_s: float = WAIT_S) -> Said:
        """Wait for an object; those that came before and were not asked for yet count, too."""
        deadline = time.monotonic() + within_s
        while True:
            try:
                one = self._new.get(timeout=max(0.01, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"no {what} in {within_s} s; said: {self.said[-12:]}") from None
            if one is None:
                assert self.process.stderr is not None
                raise AssertionError(f"it ended before {what}: {self.process.stderr.read()} {self.said[-5:]}")
            self.said.append(one)
            if wanted(one):
                return one

    def verdict(self, slot: str, word: str = "", within_s: float = WAIT_S) -> Said:
        """Wait for the verdict in a socket, and for this word if one is given."""

        def wanted(one: Said) -> bool:
            return one["event"] == "socket" and one["slot"] == slot and one["state"] in ("verdict", "locked")

        found = self.until(wanted, f"verdict in {slot}", within_s)
        assert not word or found["word"] == word, found
        return found

    def state(self, slot: str, state: str, within_s: float = WAIT_S) -> Said:
        """Wait until a socket is in this state."""

        def wanted(one: Said) -> bool:
            return bool(one["event"] == "socket" and one["slot"] == slot and one["state"] == state)

        return self.until(wanted, f"{slot} {state}", within_s)

    def verdicts(self, count: int, within_s: float = WAIT_S) -> dict[str, Said]:
        """Wait until so many sockets have a verdict; return the first of each."""
        return self._reached(("verdict", "locked"), count, "verdicts", within_s)

    def halted(self, count: int, within_s: float = WAIT_S) -> dict[str, Said]:
        """Wait until so many sockets have a verdict or wait for the end of a halt; return the first of each.

        A halt finds boards wherever they are: one that was slower than the one that halted waits, and has no
        verdict before it goes on.
        """
        return self._reached(("verdict", "locked", "hold"), count, "sockets that the halt reached", within_s)

    def _reached(self, states: tuple[str, ...], count: int, what: str, within_s: float) -> dict[str, Said]:
        found: dict[str, Said] = {}

        def wanted(one: Said) -> bool:
            if one["event"] == "socket" and one["state"] in states:
                found.setdefault(one["slot"], one)
            return len(found) >= count

        self.until(wanted, f"{count} {what}", within_s)
        return found

    def states(self) -> set[str]:
        """Return all states that sockets were in, as far as they were waited for."""
        return {one["state"] for one in self.said if one["event"] == "socket"}

    def kill(self) -> None:
        """End it as a power cut does."""
        self.process.kill()
        self.close()

    def stop(self, number: int = signal.SIGINT) -> int:
        """End it by a signal; return its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.close()

    def close(self) -> int:
        """Wait for its end, and let go of its output; return its exit code."""
        code = self.process.wait(60)
        self._reader.join(10)
        for pipe in (self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()
        return code


@contextmanager
def running(job: Path, *words: str) -> Iterator[StationProcess]:
    """Run a station for the time of a block."""
    station = StationProcess(job, *words)
    try:
        yield station
    finally:
        if station.process.poll() is None:
            station.process.kill()
        station.close()


class Unit(NamedTuple):
    """What the ledger says of one board."""

    number: int | None  # its index
    state: str
    attempts: int
    changed: str


def units(folder: Path) -> dict[str, Unit]:
    """Read the ledger of a job's folder, from outside: by MAC, what is known of each board."""
    place = f"file:{folder / 'ledger.sqlite3'}?mode=ro"
    attempts = "(SELECT count(*) FROM attempts WHERE unit = units.id)"
    with closing(sqlite3.connect(place, uri=True, timeout=20)) as ledger:
        rows = ledger.execute(f"SELECT mac, idx, state, {attempts}, changed FROM units")
        return {mac: Unit(*told) for mac, *told in rows}


def until_units(folder: Path, count: int, *states: str, within_s: float = WAIT_S) -> dict[str, Unit]:
    """Wait until so many boards are in one of these states of the ledger; return all."""
    deadline = time.monotonic() + within_s
    while True:
        found = units(folder)
        if sum(one.state in states for one in found.values()) >= count:
            return found
        assert time.monotonic() < deadline, f"{count} units {states}: {found}"
        time.sleep(0.05)


def bits_of(rig: ControlledRig, board: str) -> dict[str, str]:
    """Return the true bits of a board of a rig, block by block."""
    return {
        name: block["bits"] for name, block in json.loads(rig.file_of(board).read_text())["blocks"].items()
    }


def boards_in(rig: ControlledRig) -> dict[str, str]:
    """Return by MAC the name of each board that is in a socket."""
    return {one["mac"]: one["board"] for one in rig.boards().values() if one is not None}


def make_job(
    folder: Path,
    rig: ControlledRig,
    *,
    script: str = SCRIPT,
    more: str = "",
    name: str = "job",
    presence: str = "",
) -> Path:
    """Write a job with its script and slots: A1 and so on at the sockets of a rig. It is not armed.

    With `presence` they are bridges, on which a board is seen so.
    """
    (folder / "burn.py").write_text(script)
    kind = f'kind = "bridge", presence = "{presence}"' if presence else 'kind = "plug"'
    lines = [f'A{n} = {{ place = "{port}", {kind} }}' for n, port in enumerate(rig.ports, start=1)]
    (folder / "rig.slots.toml").write_text("\n".join(["[slots]", *lines]) + "\n")
    job = folder / f"{name}.toml"
    indexes = "" if "index" in more else 'index = "1-200"'
    top = more[: f"\n{more}".index("\n[")] if "\n[" in f"\n{more}" else more
    sections = more[len(top) :]
    job.write_text(
        f'schema = 1\nname = "{name}"\nscripts = ["burn.py"]\nchips = ["esp32c3"]\n'
        f'slots = "rig.slots.toml"\n{indexes}\n{top}'
        f'[ledger]\npath = "ledger.sqlite3"\n{sections}'
    )
    return job


def arm(job: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Arm a job with the installed command."""
    assert COMMAND
    new = () if job.with_name("ledger.sqlite3").exists() else ("--new-ledger",)
    return subprocess.run(
        [COMMAND, "arm", str(job), "--operator", "E. Ngineer", "--yes-burn", *new, *words],
        capture_output=True,
        text=True,
        env=environment(job.parent / "state"),
        check=False,
        timeout=120,
    )


def command(*words: str) -> subprocess.CompletedProcess[str]:
    """Run the installed command."""
    assert COMMAND
    return subprocess.run(
        [COMMAND, *words],
        capture_output=True,
        text=True,
        env=environment(Path("/nonexistent")),
        check=False,
        timeout=120,
    )
