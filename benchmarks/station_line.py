"""A station at work for a benchmark: its process and cost, its sockets, when boards came and were done.

The boards' times are of this machine's clock. A board comes when the simulator has answered that it is in;
its verdict is there when the station wrote it (`at` of the JSON line) and when this process had read it.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.common import ROOT, Row, parburn
from parburn.sim.control_client import Board, ControlledRig
from parburn.sim.hand import Hand

CHIP = "esp32c3"
BAUD = 115200
LATENCY_MS = 1
PACED = ("--baud-limit", str(BAUD), "--usb-latency-ms", str(LATENCY_MS))
KEY = bytes(range(1, 33))
SCRIPT = """\
mac = "02:00:00:00:{:02x}:{:02x}".format(args.index >> 8, args.index & 255)
espefuse(esp, efuses, args, "burn_custom_mac " + mac)
espefuse(esp, efuses, args, "burn_key BLOCK_KEY0 key.bin XTS_AES_128_KEY")
espefuse(esp, efuses, args, "burn_efuse DIS_DIRECT_BOOT 1")
"""
WAIT_S = 60.0
# A switch that only a benchmark may have: lines move and chips burn as they like.
WITHOUT_LOCK = """\
import sys
from parburn.transport.lines_lock import LinesLock
LinesLock._attempt = lambda self, kind, *, all_the_same=False: "in"
from parburn.cli.main import main
sys.exit(main())
"""


class Inserted(NamedTuple):
    """One board, in seconds of the clock."""

    slot: str
    came: float
    written: float
    read: float
    word: str
    dead: bool


class SimulatedSockets(ControlledRig):
    """Sockets that note when a board came; of some boards nothing is heard."""

    def __init__(self, place: Path, sockets: int, *, paced: bool, bridges: bool = False) -> None:
        """Prepare so many sockets in `place`, at the rate of a real line or without any pace."""
        options = PACED if paced else ()
        super().__init__(
            f"{CHIP}:{sockets}", folder=place / "ports", lines=True, bridges=bridges, options=options
        )
        self.came: dict[str, tuple[float, bool]] = {}
        self.dead_share = 0.0
        self._random = random.Random(4)

    def insert(self, socket: int, board: str = "", *, chip: str = "") -> Board:
        """See `ControlledRig`."""
        dead = self._random.random() < self.dead_share
        put_in = self.dead(socket) if dead else super().insert(socket, board, chip=chip)
        self.came[f"A{socket + 1}"] = time.time(), dead
        return put_in


def make_job(place: Path, ports: Sequence[str], *, indexes: int, bridges: bool = False) -> Path:
    """Write a job with its slots, and arm it."""
    place.mkdir(exist_ok=True)
    (place / "burn.py").write_text(SCRIPT.replace("key.bin", str(place / "key.bin")))
    (place / "key.bin").write_bytes(KEY)
    kind = ', kind = "bridge", presence = "sync"' if bridges else ""
    slots = [f'A{number} = {{ place = "{port}"{kind} }}' for number, port in enumerate(ports, start=1)]
    (place / "rig.slots.toml").write_text("\n".join(["[slots]", *slots, ""]))
    job = place / "job.toml"
    job.write_text(
        f'schema = 1\nname = "bench"\nscripts = ["burn.py"]\nchips = ["{CHIP}"]\nslots = "rig.slots.toml"\n'
        f'index = "1-{indexes}"\n[stop]\nconsecutive_failures = 1000\n[ledger]\npath = "ledger.sqlite3"\n'
    )
    words = parburn("arm", job, "--operator", "benchmark", "--yes-burn", "--new-ledger")
    done = subprocess.run(
        [str(word) for word in words], env=environment(place), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"the job cannot be armed: {done.stdout}{done.stderr}")
    return job


def environment(place: Path) -> dict[str, str]:
    """State and lock files of our own, so that no other parburn of this machine is in the way."""
    found = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**found, "XDG_STATE_HOME": str(place), "PARBURN_LINES_LOCK": str(place / "lines.lock")}


class AtWork:
    """A station, and what it says."""

    def __init__(self, job: Path, rig: SimulatedSockets, *, lock: bool = True) -> None:
        """Start it; `lock` False: without the lines lock."""
        words = [str(word) for word in parburn("station", job, "--json")]
        if not lock:
            words = [sys.executable, "-c", WITHOUT_LOCK, *words[1:]]
        self._rig = rig
        self._sockets = 0  # known when it has started
        self.boards: list[Inserted] = []
        self.said: list[dict[str, Any]] = []
        self.on_verdict: Callable[[str], None] = lambda slot: None
        self._ready = threading.Event()
        self._verdict = threading.Condition()
        self.process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(job.parent),
            cwd=ROOT,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        if not self._ready.wait(WAIT_S):
            self.end()
            raise SystemExit(f"the station does not start: {self.said[-3:]} {self.errors}")

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            read = time.time()
            one = json.loads(line)
            if one["event"] == "socket":
                if one["state"] == "verdict" and one["slot"] in self._rig.came:
                    self._note(one, read)
            else:
                self.said.append(one)
                if one["event"] == "station":
                    self._sockets = len(one["sockets"])
                self._ready.set()
        self._ready.set()

    def _note(self, one: dict[str, Any], read: float) -> None:
        came, dead = self._rig.came.pop(one["slot"])
        written = datetime.fromisoformat(one["at"]).timestamp()
        with self._verdict:
            self.boards.append(Inserted(one["slot"], came, written, read, one["word"], dead))
            self._verdict.notify_all()
        self.on_verdict(one["slot"])

    def until(self, boards: int, within_s: float = WAIT_S) -> None:
        """Wait until so many boards have their verdicts."""
        with self._verdict:
            if not self._verdict.wait_for(lambda: len(self.boards) >= boards, within_s):
                raise SystemExit(f"{len(self.boards)} of {boards} boards got a verdict: {self.said[-3:]}")

    def warm_up(self) -> None:
        """Let one board pass: the first one after an arming burns alone, and all code is loaded."""
        self._rig.insert(0)
        self.until(len(self.boards) + 1)
        self._rig.remove(0, forget=True)
        time.sleep(0.7)
        self.boards.clear()

    def alone(self, boards: int) -> list[Inserted]:
        """Put boards into the first socket, one after the other."""
        self.boards.clear()
        for _ in range(boards):
            self._rig.insert(0)
            self.until(len(self.boards) + 1)
            self._rig.remove(0, forget=True)
            time.sleep(0.7)
        return list(self.boards)

    def served(self, *, rate: float, seconds: float, pause_s: float, dead: float = 0.0) -> Served:
        """Let a hand put boards in at a rate, and return what came of those of the middle.

        Boards of the first second are left out: the sockets fill. Those that come in the last ones are waited
        for, and left out as well.
        """
        self._rig.dead_share = dead
        hand = Hand(self._rig, rate=rate, sockets=self._sockets, pause_s=pause_s, seed=1)
        self.on_verdict = lambda slot: hand.verdict(int(slot[1:]) - 1)
        self.boards.clear()
        with hand:
            time.sleep(1.0)
            began, before = time.time(), cost_of(self.process.pid)
            rig_before = cost_of(self._rig.pid).cpu_s
            time.sleep(seconds)
            ended, after = time.time(), cost_of(self.process.pid)
            rig_cpu_s = cost_of(self._rig.pid).cpu_s - rig_before
        if hand.failure is not None:
            raise SystemExit(f"the hand failed: {hand.failure}")
        self._settle()
        self.on_verdict = lambda slot: None
        self._rig.dead_share = 0.0
        done = sum(began <= one.written < ended for one in self.boards)
        boards = [one for one in self.boards if began <= one.came < ended]
        return Served(boards, done, ended - began, after.cpu_s - before.cpu_s, rig_cpu_s, after.rss_mb)

    def _settle(self) -> None:
        """Wait for the last verdicts, and empty all sockets."""
        deadline = time.monotonic() + WAIT_S
        while self._rig.came and time.monotonic() < deadline:
            time.sleep(0.05)
        for socket, board in enumerate(self._rig.boards().values()):
            if board:
                self._rig.remove(socket, forget=True)
        time.sleep(0.7)

    @property
    def errors(self) -> str:
        """What it wrote beside its JSON, once it has ended."""
        assert self.process.stderr is not None
        return self.process.stderr.read().decode() if self.process.poll() is not None else ""

    def end(self) -> None:
        """Let it drain, or at last kill it."""
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(WAIT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(WAIT_S)
        self._reader.join(5)


@contextmanager
def station(job: Path, rig: SimulatedSockets, *, lock: bool = True) -> Iterator[AtWork]:
    """Run a station for the time of a block."""
    at_work = AtWork(job, rig, lock=lock)
    try:
        yield at_work
    finally:
        at_work.end()


class Served(NamedTuple):
    """What came of boards that were put in at a rate. `done` verdicts were written in `seconds`."""

    boards: list[Inserted]
    done: int
    seconds: float
    cpu_s: float
    rig_cpu_s: float
    rss_mb: float

    @property
    def row(self) -> Row:
        """As columns; the times are of boards that passed."""
        passed = [one for one in self.boards if one.word == "PASS"]
        good = [one for one in self.boards if not one.dead]
        return {
            "boards": len(self.boards),
            "per_s": round(self.done / self.seconds, 2),
            **times(passed),
            "cpu_ms_per_board": round(self.cpu_s / max(1, self.done) * 1000, 2),
            "rig_cpu_ms_per_board": round(self.rig_cpu_s / max(1, self.done) * 1000, 2),
            "rss_mb": round(self.rss_mb, 1),
            "ok": bool(good) and len(passed) == len(good),
        }


def times(boards: Sequence[Inserted]) -> Row:
    """From plug to verdict: as the station wrote it, and as it was read."""
    written, read = [one.written - one.came for one in boards], [one.read - one.came for one in boards]
    return {
        "p50_s": percentile(written, 50),
        "p99_s": percentile(written, 99),
        "p50_read_s": percentile(read, 50),
        "p99_read_s": percentile(read, 99),
    }


def percentile(values: Sequence[float], percent: int) -> float | None:
    """The value under which so many of a hundred are; None where there are none."""
    if not values:
        return None
    if len(values) == 1:
        return round(values[0], 4)
    return round(statistics.quantiles(values, n=100, method="inclusive")[percent - 1], 4)


class CostNow(NamedTuple):
    """What a process has used until now."""

    cpu_s: float
    rss_mb: float


def cost_of(pid: int) -> CostNow:
    """CPU of all threads that live, to the nanosecond (ticks are too coarse for idling), and memory."""
    cpu_ns = 0
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):  # it has ended meanwhile
            cpu_ns += int((thread / "schedstat").read_text().split()[0])
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return CostNow(cpu_ns / 1e9, pages * os.sysconf("SC_PAGE_SIZE") / 1e6)
