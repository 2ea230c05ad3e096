"""The station: seconds from plug to verdict, boards an hour, and what it costs while nobody comes.

128 sockets of simulated boards that share the machine with the station. On the paced line their wire is that
of 115200 baud and USB frames of 1 ms, and each reset holds the lines for 0.15 s, as a real one does. `p50_s`
and `p99_s` are from the simulator's answer that a board is in to the `at` of the station's line with its
verdict, `p50_read_s` and `p99_read_s` to when this process had read that line.
"""

from __future__ import annotations

import argparse
import re
import shutil
import signal
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.common import (
    Row,
    Running,
    arguments,
    finish,
    folder,
    parburn,
    peers,
    progress,
)
from benchmarks.station_line import (
    CHIP,
    AtWork,
    SimulatedSockets,
    cost_of,
    environment,
    make_job,
    percentile,
    station,
    times,
)

PAUSE_S = 0.4  # a socket stays empty so long
SUSTAINED_PER_S = 120  # the fastest machine so far served 84
QUICK_INDEXES = 400  # a fast machine serves 100 boards and more in the seconds of the quick form
DEAD = 0.05  # of the boards answer nothing
IDLE_S, QUICK_IDLE_S = 10.0, 2.0
TRACED_S = 4.0  # system calls are counted for so long


def paced(given: argparse.Namespace, place: Path, job: Path) -> list[Row]:
    """Rates, dead boards, the lock off, and a board alone, on the line of 115200 baud."""
    seconds = given.seconds
    rows: list[Row] = []
    rig = SimulatedSockets(place, given.sockets + 1, paced=True)  # the last one is no station's
    with rig:
        with station(job, rig) as at_work:
            at_work.warm_up()
            rows.append(alone(given, at_work, rig, place))
            for rate in given.rates:
                rows.append(at_rate(given, at_work, f"{rate:g} a second", rate, seconds))
            rate = max(given.rates)
            whole = rows[-1] if rate == given.rates[-1] else rows[1 + list(given.rates).index(rate)]
            dead = at_rate(given, at_work, f"{rate:g} a second, 5 % dead", rate, seconds, dead=DEAD)
            dead["p50_ratio"] = ratio(dead["p50_s"], whole["p50_s"])
            rows.append(dead)
        with station(job, rig, lock=False) as at_work:
            at_work.warm_up()
            free = at_rate(given, at_work, f"{rate:g} a second, lines lock off", rate, seconds)
            free["p50_ratio"] = ratio(free["p50_s"], whole["p50_s"])
            rows.append(free)
    return rows


def at_rate(
    given: argparse.Namespace, at_work: AtWork, what: str, rate: float, seconds: float, *, dead: float = 0.0
) -> Row:
    """Boards at a rate."""
    served = at_work.served(rate=rate, seconds=seconds, pause_s=PAUSE_S, dead=dead)
    row = {"what": what, "tool": "parburn station", "sockets": given.sockets, **served.row}
    progress(
        f"{what}: {row['per_s']} a second, p50 {row['p50_s']} s, p99 {row['p99_s']} s, "
        f"{row['cpu_ms_per_board']} ms CPU a board"
    )
    return row


def alone(given: argparse.Namespace, at_work: AtWork, rig: SimulatedSockets, place: Path) -> Row:
    """One board after the other in a station, beside a run of each: by its report, and as a whole process."""
    count = 3 if given.quick else given.alone
    boards = at_work.alone(count)
    runs: list[tuple[float, float]] = []
    beside = given.sockets
    for number in range(count):
        rig.insert(beside)
        rig.came.clear()
        words = run_words(rig.ports[beside], place, number)
        began = time.monotonic()
        done = subprocess.run(words, env=environment(place), capture_output=True, text=True, check=False)
        runs.append((time.monotonic() - began, seconds_in(done.stdout)))
        if done.returncode:
            progress(f"  parburn run failed: {done.stdout[-300:]}{done.stderr[-300:]}")
        rig.remove(beside, forget=True)
    process_s, run_s = (statistics.median(values) for values in zip(*runs, strict=True))
    row = times(boards)
    found = {
        "what": "a board alone",
        "tool": "parburn station",
        "sockets": given.sockets,
        "boards": count,
        **row,
        "run_s": round(run_s, 4),
        "run_process_s": round(process_s, 4),
        "run_ratio": ratio(row["p50_s"], run_s),
        "ok": all(one.word == "PASS" for one in boards) and run_s > 0,
    }
    progress(f"a board alone: p50 {found['p50_s']} s, {found['run_ratio']} times its run of {run_s:.3f} s")
    return found


def run_words(port: str, place: Path, number: int) -> list[str]:
    """Today's way: a run for one board, with a ledger that is there."""
    ledger = place / "runs" / f"{number}.sqlite3"
    ledger.parent.mkdir(exist_ok=True)
    new = [] if ledger.exists() else ["--new-ledger"]
    words = ["--ports", port, "--scripts", place / "burn.py", "--index", "1-50000", "--ledger", ledger, *new]
    return [str(word) for word in parburn(*words, "--do-not-confirm", "--json")]


def seconds_in(said: str) -> float:
    """The seconds of the board in what `run --json` wrote; 0 where it did not pass."""
    found = re.search(r'"event": ?"result".*"seconds": ?([0-9.]+)', said)
    return float(found[1]) if found else 0.0


def sustained(given: argparse.Namespace, place: Path, job: Path) -> Row:
    """As many boards as can be served, with a line that is not paced."""
    rig = SimulatedSockets(place, given.sockets, paced=False)
    with rig, station(job, rig) as at_work:
        at_work.warm_up()
        served = at_work.served(rate=1000.0, seconds=given.seconds, pause_s=0.0)
    per_hour = round(served.done / served.seconds * 3600)
    progress(f"sustained: {per_hour} boards an hour, {served.row['cpu_ms_per_board']} ms CPU a board")
    return {
        "what": "sustained, no pace",
        "tool": "parburn station",
        "sockets": given.sockets,
        **served.row,
        "per_hour": per_hour,
    }


# Idle -----------------------------------------------------------------------------------------------


def idle(given: argparse.Namespace, place: Path, job: Path, *, bridges: bool) -> Row:
    """Empty sockets: per cent of one core, and system calls a look and socket, by strace where it can be."""
    what, look_s = ("idle, SYNC on bridges", 0.3) if bridges else ("idle, folder", 0.2)
    seconds = QUICK_IDLE_S if given.quick else IDLE_S
    rig = SimulatedSockets(place, given.sockets, paced=True, bridges=bridges)
    with rig, station(job, rig) as at_work:
        time.sleep(2.0 if given.quick else 4.0)  # ports of bridges are opened one after the other
        pid = at_work.process.pid
        before, began = cost_of(pid), time.monotonic()
        time.sleep(seconds)
        after, ended = cost_of(pid), time.monotonic()
        calls = calls_a_second(pid, TRACED_S / 4 if given.quick else TRACED_S)
    row: Row = {
        "what": what,
        "tool": "parburn station",
        "sockets": given.sockets,
        "core_percent": round(100 * (after.cpu_s - before.cpu_s) / (ended - began), 3),
        "calls_per_look": None if calls is None else round(calls * look_s / given.sockets, 2),
        "rss_mb": round(after.rss_mb, 1),
        "ok": True,
    }
    told = f"{row['calls_per_look']} system calls a look and socket"
    progress(f"{what}: {row['core_percent']} % of a core, {told if calls else 'no strace to count calls'}")
    return row


def calls_a_second(pid: int, seconds: float) -> float | None:
    """System calls a second of a process and its threads; None where strace is not there or not allowed."""
    if shutil.which("strace") is None:
        return None
    with tempfile.NamedTemporaryFile(mode="r") as summary:
        words = ["strace", "-c", "-f", "-o", summary.name, "-p", str(pid)]
        tracer = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        began = time.monotonic()
        time.sleep(seconds)
        tracer.send_signal(signal.SIGINT)
        ended = time.monotonic()
        tracer.wait(30)
        total = re.search(r"^\s*100\.00\s+\S+\s+\S+\s+(\d+)\s.*total$", summary.read(), re.MULTILINE)
    return int(total[1]) / (ended - began) if total else None


# Today's way ----------------------------------------------------------------------------------------


def in_loops(
    given: argparse.Namespace, what: str, tool: str, loops: int, one: Callable[[int, int], bool]
) -> Row:
    """Loops that each serve one port: put in, run, take out. `one` gets the socket and a number."""
    began, ends = time.monotonic(), time.monotonic() + given.seconds
    took: list[float] = []
    good: list[bool] = []

    def loop(socket: int) -> None:
        number = socket
        while time.monotonic() < ends:
            start = time.monotonic()
            good.append(one(socket, number))
            took.append(time.monotonic() - start)
            number += loops

    threads = [threading.Thread(target=loop, args=(socket,)) for socket in range(loops)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    per_s = len(took) / (time.monotonic() - began)
    progress(f"{what}: {tool} in {loops} loops: {per_s:.2f} a second, p50 {percentile(took, 50)} s")
    return {
        "what": what,
        "tool": tool,
        "sockets": loops,
        "boards": len(took),
        "per_s": round(per_s, 2),
        "per_hour": round(per_s * 3600),
        "p50_s": percentile(took, 50),
        "p99_s": percentile(took, 99),
        "ok": all(good),
    }


def loops_of_runs(given: argparse.Namespace, place: Path, loops: int) -> Row:
    """`parburn run` in a loop at each port, with the lines lock and a ledger for each port."""
    with SimulatedSockets(place, loops, paced=True) as rig:

        def one(socket: int, number: int) -> bool:
            rig.insert(socket)
            words = run_words(rig.ports[socket], place, 1000 + socket)
            done = subprocess.run(words, env=environment(place), capture_output=True, text=True, check=False)
            rig.remove(socket, forget=True)
            return done.returncode == 0

        return in_loops(given, "a loop a port", "parburn run", loops, one)


def loops_of_espefuse(given: argparse.Namespace, place: Path, loops: int, tool: str, python: Path) -> Row:
    """Espefuse in a loop at each port; it resets no board, for its ports have no lines."""
    from benchmarks.fleet import espefuse_words
    from parburn.sim.control_client import ControlledRig

    options = ("--baud-limit", "115200", "--usb-latency-ms", "1")
    with ControlledRig(f"{CHIP}:{loops}", folder=place / "plain", options=options) as rig:

        def one(socket: int, number: int) -> bool:
            rig.insert(socket)
            words = espefuse_words(tool, python, Path(rig.ports[socket]), number % 256, place)
            cost = Running(words).finish()
            rig.remove(socket, forget=True)
            return cost.ok

        return in_loops(given, "a loop a port, no reset", tool, loops, one)


# All of it ------------------------------------------------------------------------------------------


def ratio(value: float | None, other: float | None) -> float | None:
    """One by the other, where both are known."""
    return round(value / other, 3) if value and other else None


def rows_of(given: argparse.Namespace) -> list[Row]:
    """All measurements, some five minutes."""
    if given.quick:
        given.sockets, given.rates, given.seconds, given.loops = 8, [4.0], 2.0, 2
    indexes = QUICK_INDEXES if given.quick else boards_at_most(given)
    rows: list[Row] = []
    with folder() as place:
        job = make_job(place, ports_of(place, given.sockets), indexes=indexes)
        wanted = given.only or ("rates", "sustained", "idle", "peers")
        if "rates" in wanted:
            rows += paced(given, place, job)
        if "sustained" in wanted:
            rows.append(sustained(given, place, job))
        if "idle" in wanted:
            rows.append(idle(given, place, job, bridges=False))
        if "peers" in wanted:
            rows.append(loops_of_runs(given, place, given.loops))
            for tool, python in peers(given).items():
                if tool.startswith("espefuse 5"):
                    rows.append(loops_of_espefuse(given, place, given.loops, tool, python))
    if "idle" in wanted:
        with folder() as place:
            job = make_job(place, ports_of(place, given.sockets), indexes=100, bridges=True)
            rows.append(idle(given, place, job, bridges=True))
    return rows


def boards_at_most(given: argparse.Namespace) -> int:
    """How many indexes are used: an arming rehearses each, which takes its time."""
    per_second: float = sum(given.rates) + 2 * max(given.rates) + SUSTAINED_PER_S
    return int((given.seconds + 10) * per_second) + int(given.alone) + 100


def ports_of(place: Path, sockets: int) -> Sequence[str]:
    """Names of the ports that a rig in this place has."""
    return [str(place / "ports" / f"ttyUSB{number}") for number in range(sockets)]


def rates(text: str) -> list[float]:
    """Numbers with commas."""
    return [float(one) for one in text.split(",")]


def main() -> None:
    """Measure and report."""
    given = arguments(
        "station",
        "Boards that come and go: seconds to the verdict, boards an hour, and idle sockets.",
        sockets={"type": int, "default": 128, "help": "sockets (default 128)"},
        rates={"type": rates, "default": [4.0, 16.0], "help": "insertions a second (default 4,16)"},
        seconds={"type": float, "default": 25.0, "help": "of each measurement (default 25)"},
        alone={"type": int, "default": 15, "help": "boards that are put in alone (default 15)"},
        loops={"type": int, "default": 16, "help": "ports with a loop of today's commands (default 16)"},
        only={"nargs": "+", "choices": ("rates", "sustained", "idle", "peers"), "help": "these parts alone"},
    )
    finish("station", rows_of(given), given)


if __name__ == "__main__":
    main()
