"""`python -m tests.soak.pool --boards N --seed S [--stations 16] [--off FENCE]`. Ends with one JSON object.

A hand puts boards into stations, kills and freezes these, moves boards from those that do not answer, cuts
and stalls the network and ends the server's processes. At the end all boards are put in until they pass, and
the chips are compared with the pool. With a fence switched off it must find something.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import queue
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg

from parburn.errors import LedgerUnusable
from parburn.ledger.export import export, verify
from parburn.ledger_place import PoolAddress
from tests.ledger.ledgers import made
from tests.pool.proxy import Proxy, proxy
from tests.pool.server import Server, server
from tests.soak.pool.board import STEPS, Board

ROOT = Path(__file__).parents[3]
FENCES = ("run number", "commit check", "heartbeat", "pool row", "system identifier")
AT_WORK = 3  # boards a station has at a time
END_S = 240.0
FROZEN_S = (1.0, 12.0)


class StationProcess:
    """One station, and the boards that it has."""

    def __init__(self, words: list[str], said: queue.SimpleQueue[tuple[str, str]], name: str) -> None:
        self.name = name
        self.boards: dict[str, str] = {}  # MAC -> socket
        self.frozen_until = 0.0
        self.errors = Path(words[3]) / f"{words[2]}.err"
        with self.errors.open("w") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.soak.pool.station", *words],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True, cwd=ROOT,
            )  # fmt: skip
        threading.Thread(target=self._read, args=(said,), daemon=True).start()

    def _read(self, said: queue.SimpleQueue[tuple[str, str]]) -> None:
        assert self.process.stdout is not None
        with contextlib.suppress(ValueError):
            for line in self.process.stdout:
                said.put((self.name, line.strip()))
        said.put((self.name, "ended"))

    def put(self, mac: str, socket: str) -> None:
        """Put a board in."""
        self.boards[mac] = socket
        assert self.process.stdin is not None
        with contextlib.suppress(OSError):
            self.process.stdin.write(f"{mac} {socket}\n")
            self.process.stdin.flush()

    def close(self) -> None:
        """Let it come to its end."""
        assert self.process.stdin is not None
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Soak:
    """The hand, and what it has seen."""

    def __init__(self, at: Server, network: Proxy, folder: Path, given: argparse.Namespace) -> None:
        self.rng = random.Random(given.seed)
        self.at, self.network, self.folder, self.off = at, network, folder, given.off
        self.direct = at.new_database()
        made(PoolAddress(self.direct))
        self.address = self.direct.replace(f":{at.port}/", f":{network.port}/")
        self.counts: Counter[str] = Counter()
        self.violations: list[str] = []
        self.said: queue.SimpleQueue[tuple[str, str]] = queue.SimpleQueue()
        self.macs = [f"aa:00:00:{n >> 16:02x}:{n >> 8 & 255:02x}:{n & 255:02x}" for n in range(given.boards)]
        self.waiting = list(self.macs)
        self.passed: set[str] = set()
        self.sockets = 0
        self.born = 0
        self.stations = {f"S{n}": self._station(f"S{n}") for n in range(given.stations)}

    def _station(self, name: str) -> StationProcess:
        self.born += 1
        far = str(int(self.born % 2))
        words = [self.address, self.direct, f"{name}.{self.born}", str(self.folder), far, self.off]
        return StationProcess(words, self.said, name)

    def board(self, mac: str) -> Board:
        """The chip."""
        return Board(self.folder, mac)

    # What happens --------------------------------------------------------------------------------------

    def play(self) -> None:
        """Let things happen until all boards have passed, or there is no more time."""
        rng = self.rng
        next_event = time.monotonic() + 2.0
        calm_from = 0.0
        while len(self.passed) < len(self.macs):
            self._hear()
            self._fill()
            now = time.monotonic()
            self._thaw(now)
            left = len(self.macs) - len(self.passed)
            if left < len(self.macs) // 10 and not calm_from:
                calm_from = now
                self._calm()
            if calm_from and now > calm_from + END_S:
                still = [mac for mac in self.macs if mac not in self.passed]
                self.violations.append(f"{len(still)} boards did not pass in the end, {still[0]} for one")
                self._tell_why(still)
                return
            if not calm_from and now >= next_event:
                next_event = now + rng.random() * 0.8
                self._event(rng.choices(*zip(*EVENTS, strict=True))[0])
            if self.off and self.violations:
                return

    def _tell_why(self, still: list[str]) -> None:
        """Say who holds these boards, and where that station stands."""
        with psycopg.connect(self.direct, autocommit=True) as connection:
            rows = connection.execute(
                "SELECT mac, state, run, claim, station, process, clock_timestamp() - heard, ended"
                " FROM parburn.units JOIN parburn.runs ON runs.id = run WHERE mac = ANY(%s)",
                (still,),
            ).fetchall()
        for row in rows:
            sys.stderr.write(f"{row}\n")
        for station in self.stations.values():
            station.process.send_signal(signal.SIGUSR1)
        time.sleep(1)
        for station in self.stations.values():
            sys.stderr.write(f"{station.name} {station.boards}\n{station.errors.read_text()[-3000:]}\n")

    def _hear(self) -> None:
        with contextlib.suppress(queue.Empty):
            said = self.said.get(timeout=0.05)
            while True:
                self._take(*said)
                said = self.said.get_nowait()

    def _take(self, name: str, line: str) -> None:
        word, *more = line.split(" ", 3)
        station = self.stations[name]
        if word in ("pass", "fail"):
            mac, socket = more[0], more[1]
            if station.boards.get(mac) != socket:
                self.counts[f"late {word}"] += 1
                return  # of a board that was taken out
            del station.boards[mac]
            self.counts[word] += 1
            if word == "pass":
                self.passed.add(mac)
            else:
                self.counts[f"fail {more[2].split()[0]}"] += 1
                self.waiting.append(mac)
        elif word == "ended" and station.process.poll() not in (None, 0, -signal.SIGKILL):
            last = (station.errors.read_text().splitlines() or ["?"])[-1]
            self.counts[f"ended: {last.partition(' postgresql')[0][:80]}"] += 1
            self._again(station)

    def _fill(self) -> None:
        for station in self.stations.values():
            while self.waiting and len(station.boards) < AT_WORK and not station.frozen_until:
                mac = self.waiting.pop(self.rng.randrange(len(self.waiting)))
                self.sockets += 1
                socket = f"{station.name}-{self.sockets}"
                self.board(mac).put(socket)
                station.put(mac, socket)

    def _take_boards(self, station: StationProcess) -> None:
        for mac in list(station.boards):
            self.board(mac).put("nowhere")
            del station.boards[mac]
            self.waiting.append(mac)

    def _again(self, station: StationProcess) -> None:
        self._take_boards(station)
        self.stations[station.name] = self._station(station.name)

    def _event(self, what: str) -> None:
        self.counts[what] += 1
        station = self.rng.choice(list(self.stations.values()))
        if what == "kill":
            station.process.kill()
            station.process.wait()
            self._again(station)
        elif what == "freeze" and not station.frozen_until:
            station.process.send_signal(signal.SIGSTOP)
            station.frozen_until = time.monotonic() + self.rng.uniform(*FROZEN_S)
            if self.rng.random() < 0.7:
                self._take_boards(station)
        elif what == "take out":
            self._take_boards(station)
        elif what == "cut":
            self.network.cut_all()
        elif what == "stall":
            self.network.stall()
            threading.Timer(self.rng.uniform(0.2, 6.0), self.network.stall, kwargs={"ends": True}).start()
        elif what == "end backends":
            with psycopg.connect(self.direct, autocommit=True) as connection:
                connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE application_name = 'parburn' AND random() < 0.5 AND datname = current_database()"
                )
        elif what == "another server" and self.off == "system identifier":
            with psycopg.connect(self.direct, autocommit=True) as connection:
                connection.execute("UPDATE parburn.pool SET system = 'another'")
            time.sleep(1.0)  # from here on nothing may be burned
            self.counts["moved to another server"] += 1
            before = sum(len(self.board(mac).burned()) for mac in self.macs)
            self.network.cut_all()
            time.sleep(3.0)
            self._fill()
            time.sleep(3.0)
            after = sum(len(self.board(mac).burned()) for mac in self.macs)
            if after > before + AT_WORK * len(self.stations):
                self.violations.append("boards are burned with a pool on another server")

    def _thaw(self, now: float) -> None:
        for station in self.stations.values():
            if station.frozen_until and now >= station.frozen_until:
                station.process.send_signal(signal.SIGCONT)
                station.frozen_until = 0.0

    def _calm(self) -> None:
        self.network.stall(ends=True)
        for station in self.stations.values():
            if station.frozen_until:
                station.process.send_signal(signal.SIGCONT)
                station.frozen_until = 0.0

    # What is right -------------------------------------------------------------------------------------

    def close(self) -> None:
        """End all stations."""
        self._calm()
        for station in self.stations.values():
            station.close()

    def check(self) -> Iterator[str]:
        """Yield what is wrong between chips and pool."""
        units = {one["mac"]: one for one in json.loads(export(PoolAddress(self.direct)))["units"]}
        owners: dict[object, str] = {}
        for mac in self.macs:
            burned = self.board(mac).burned()
            self.counts["pulses"] += len(burned)
            for one in burned:
                if (one.spent, one.index_there) != (1, one.index):
                    yield f"{mac} was burned as {one.index}, and the pool said {one.index_there}, {one.spent}"
            for what in {one.index for one in burned} | {one.value for one in burned}:
                if owners.setdefault(what, mac) != mac:
                    yield f"{what} is on {mac} and on {owners[what]}"
            if len({(one.index, one.value) for one in burned}) > 1:
                yield f"{mac} has parts of two identities: {burned}"
            if mac in self.passed:
                unit = units.get(mac)
                if unit is None or unit["state"] != "pass":
                    yield f"{mac} passed, and the pool says {unit and unit['state']}"
                elif {one.step for one in burned} != set(STEPS) or unit["index"] != burned[0].index:
                    yield f"{mac} passed as {unit['index']} and holds {burned}"
        try:
            verify(PoolAddress(self.direct))
        except LedgerUnusable as error:
            yield f"the pool does not verify: {error}"


EVENTS = (
    ("kill", 4.0), ("freeze", 3.0), ("take out", 3.0), ("cut", 2.0), ("stall", 1.5), ("end backends", 2.0),
    ("another server", 1.0),
)  # fmt: skip


def soak(given: argparse.Namespace) -> dict[str, Any]:
    """Play one; return what came of it."""
    folder = Path(tempfile.mkdtemp(prefix="soak-pool-"))
    os.environ["XDG_STATE_HOME"] = str(folder / "state")
    began = time.monotonic()
    try:
        with server() as at, proxy(at.port) as network:
            one = Soak(at, network, folder, given)
            try:
                one.play()
            finally:
                one.close()
            violations = [*one.violations, *one.check()]
            return {
                "seed": given.seed,
                "off": given.off,
                "boards": given.boards,
                "passed": len(one.passed),
                "seconds": round(time.monotonic() - began, 1),
                **dict(sorted(one.counts.items())),
                "violations": len(violations),
                "first violations": violations[:5],
            }
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main() -> int:
    """0 where nothing was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak.pool", description=__doc__)
    parser.add_argument("--boards", type=int, default=2000)
    parser.add_argument("--stations", type=int, default=16)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--off", choices=("", *FENCES), default="", help="the fence that is switched off")
    given = parser.parse_args()
    found = soak(given)
    sys.stdout.write(json.dumps(found) + "\n")
    return int(found["violations"] > 0)


if __name__ == "__main__":
    sys.exit(main())
