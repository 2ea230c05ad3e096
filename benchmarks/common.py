"""What the benchmarks share: processes and their cost, rigs, the peers, and how results are written.

Everything runs outside this process, so that no measurement carries another's memory or warmth.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import os
import platform
import pty
import select
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = Path(__file__).resolve().parent / "results"
PARBURN = shutil.which("parburn", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
PROCESS_DEADLINE_S = 600.0
READY_S = 60.0

Row = dict[str, Any]


# What is written ------------------------------------------------------------------------------------


def arguments(benchmark: str, about: str, **more: Mapping[str, Any]) -> argparse.Namespace:
    """Parse the options that every benchmark has, and those of `more` (name to add_argument's words)."""
    parser = argparse.ArgumentParser(prog=f"benchmarks.{benchmark}", description=about)
    parser.add_argument("--json", action="store_true", help="print one JSON object, and nothing else")
    parser.add_argument("--quick", action="store_true", help="a small form that ends in seconds")
    parser.add_argument(
        "--save", action="store_true", help="write the JSON and the pictures into benchmarks/results"
    )
    parser.add_argument("--no-peers", action="store_true", help="leave out what needs espefuse")
    for name, words in more.items():
        parser.add_argument(f"--{name.replace('_', '-')}", **words)
    return parser.parse_args()


def progress(text: str) -> None:
    """Tell the person who waits."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def machine() -> str:
    """Processor, number of cores, system and Python, in one line."""
    model = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    return (
        f"{model}, {os.cpu_count()} cores, {platform.system()} {platform.release()}, "
        f"Python {platform.python_version()}"
    )


def finish(
    benchmark: str,
    rows: Sequence[Row],
    given: argparse.Namespace,
    pictures: Mapping[str, Callable[[Sequence[Row], str], str]] | None = None,
) -> None:
    """Print the rows as a table or as JSON; with --save also write them and the pictures."""
    date = datetime.now(UTC).strftime("%Y-%m-%d")
    whole = {"benchmark": benchmark, "date": date, "machine": machine(), "rows": list(rows)}
    text = json.dumps(whole, indent=1)
    if given.save:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"{benchmark}.json").write_text(text + "\n")
        for name, draw in (pictures or {}).items():
            (RESULTS / f"{name}.svg").write_text(draw(rows, f"{machine()}, {date}"))
    sys.stdout.write(f"{text}\n" if given.json else table(rows))


def table(rows: Sequence[Row]) -> str:
    """The rows for people."""
    if not rows:
        return "no rows\n"
    names = list(dict.fromkeys(name for row in rows for name in row))
    shown = [[_shown(row.get(name)) for name in names] for row in rows]
    widths = [max(len(name), *(len(line[n]) for line in shown)) for n, name in enumerate(names)]
    lines = [names, *shown]
    return "".join("  ".join(map(str.ljust, line, widths)).rstrip() + "\n" for line in lines)


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return "-" if value is None else str(value)


def median_row(rows: Sequence[Row]) -> Row:
    """One row of several: the median of every number, the first's words, ok only where all are."""
    middle = dict(rows[0])
    for name, value in rows[0].items():
        if isinstance(value, bool):
            middle[name] = all(row[name] for row in rows)
        elif isinstance(value, int | float):
            middle[name] = statistics.median_high(row[name] for row in rows)
    return middle


# Processes ------------------------------------------------------------------------------------------

# A process of its own between us and what is measured: the largest resident size that the kernel reports of a
# child begins with what its parent had, and ours may be large.
LAUNCHER = """\
import os, sys
report, *words = sys.argv[1:]
child = os.posix_spawnp(words[0], words, os.environ)
_, status, usage = os.wait4(child, 0)
with open(report, "w") as file:
    file.write(f"{os.waitstatus_to_exitcode(status)} {usage.ru_utime + usage.ru_stime} {usage.ru_maxrss}")
"""


@dataclass(frozen=True)
class Cost:
    """What a finished process was."""

    exit: int
    wall_s: float
    cpu_s: float
    rss_mb: float
    said: str

    @property
    def ok(self) -> bool:
        """Whether it says that it ended well."""
        return self.exit == 0


def run(command: Sequence[object], *, env: Mapping[str, str] | None = None, terminal: bool = False) -> Cost:
    """Run a command to its end; `terminal` gives it one of 160 x 50 to draw on."""
    return Running(command, env=env, terminal=terminal).finish()


class Running:
    """A command that runs; `finish` waits for it."""

    def __init__(
        self, command: Sequence[object], *, env: Mapping[str, str] | None = None, terminal: bool = False
    ) -> None:
        words = [str(word) for word in command]
        whole = {**environment(), "COLUMNS": "160", "LINES": "50", **(env or {})}
        self._master = -1
        if terminal:
            whole["TERM"] = "xterm-256color"
            self._master, output = pty.openpty()
        else:
            read_end, output = os.pipe()
            self._master = read_end
        report, name = tempfile.mkstemp(prefix="parburn-benchmark-")
        os.close(report)
        self._report = Path(name)
        launcher = [sys.executable, "-S", "-E", "-c", LAUNCHER, name]
        self._began = time.monotonic()
        self.process = subprocess.Popen(
            [*launcher, *words],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=whole,
            cwd=ROOT,
            start_new_session=True,
        )
        os.close(output)
        self._said: list[bytes] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        with contextlib.suppress(OSError):  # a terminal whose other end is closed
            while data := os.read(self._master, 65536):
                self._said.append(data)

    def finish(self) -> Cost:
        """Wait for its end; a process that hangs is killed, and has failed."""
        try:
            self.process.wait(PROCESS_DEADLINE_S)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        wall_s = time.monotonic() - self._began
        self._reader.join(5)
        os.close(self._master)
        said = b"".join(self._said).decode(errors="replace")
        told = self._report.read_text().split()
        self._report.unlink()
        code, cpu_s, rss_kb = told or ("-9", "0", "0")
        return Cost(int(code), wall_s, float(cpu_s), int(rss_kb) / 1024, said)


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """A folder for one benchmark."""
    with tempfile.TemporaryDirectory(prefix="parburn-benchmark-") as name:
        yield Path(name)


def environment() -> dict[str, str]:
    """Ours, but processes may keep their compiled modules, as installed programs have them."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


@functools.cache
def _compiled() -> None:
    words = [sys.executable, "-m", "compileall", "-q", str(ROOT / "parburn")]
    subprocess.run(words, check=False, stdin=subprocess.DEVNULL)


def parburn(*words: object) -> list[object]:
    """The installed command, as a line starts it."""
    if PARBURN is None:
        raise SystemExit("the parburn command is not installed: pip install -e .")
    _compiled()
    return [PARBURN, *words]


PEERS = {4: "espefuse 4.12", 5: "espefuse 5.6"}


def peers(given: argparse.Namespace) -> dict[str, Path]:
    """Names of the peers and the Python of each; empty where they are not wanted or cannot be had."""
    from tests.peers.venvs import PeerMissingError, peer_python, peers_are_off

    if given.no_peers or peers_are_off():
        return {}
    found = {}
    for version, name in PEERS.items():
        try:
            found[name] = peer_python(version)
        except PeerMissingError as error:
            progress(f"{name} is left out: {error}")
    return found


# Rigs -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Conversation:
    """What crossed one wire between first byte and hang-up."""

    port: str
    first_s: float
    last_s: float
    tx_bytes: int
    rx_bytes: int
    turns: int
    programs: int  # pulses
    host_s: float  # of the wall, the line was silent and the chip waited for the host

    @property
    def wall_s(self) -> float:
        """From the first byte to the last."""
        return self.last_s - self.first_s


class WireRig:
    """Simulated boards in a process of their own that notes what crosses their wires."""

    def __init__(self, place: Path, chip: str, count: int, *, baud_limit: int, latency_ms: float) -> None:
        self._folder = place / f"rig-{chip}-{baud_limit}-{latency_ms:g}"
        self._folder.mkdir()
        self._record = self._folder / "record.jsonl"
        self._record.touch()
        self._seen = 0
        command = [sys.executable, "-m", "benchmarks.wire", "--chip", chip, "--count", str(count)]
        command += ["--dir", str(self._folder), "--record", str(self._record)]
        command += ["--baud-limit", str(baud_limit), "--latency-ms", str(latency_ms)]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment()
        )
        assert self.process.stdout is not None
        readable, _, _ = select.select([self.process.stdout], [], [], READY_S)
        if not readable or not self.process.stdout.readline().startswith("ready: "):
            self.stop()
            raise RuntimeError("the rig did not become ready")
        self._free = [self._folder / f"ttyUSB{n}" for n in range(count)]

    def __enter__(self) -> WireRig:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def boards(self, count: int = 1) -> list[Path]:
        """Ports of boards that nothing has talked to yet."""
        taken, self._free = self._free[:count], self._free[count:]
        if len(taken) < count:
            raise RuntimeError("the rig has no new board left")
        return taken

    def conversations(self, count: int) -> list[Conversation]:
        """The conversations since the last call; waits a moment for the hang-ups."""
        deadline = time.monotonic() + 5
        while True:
            lines = self._record.read_text().splitlines()[self._seen :]
            if len(lines) >= count or time.monotonic() > deadline:
                self._seen += len(lines)
                return [Conversation(**json.loads(line)) for line in lines]
            time.sleep(0.02)

    def cpu_s(self) -> float:
        """CPU seconds that the rig has used."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self) -> None:
        """End the rig."""
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)
        if self.process.stdout:
            self.process.stdout.close()
