"""Starting: CPU seconds of `parburn --help`, and of a run until its first byte is on the wire.

The first byte is seen at the far side of a pseudo-terminal; at that moment the kernel's account of the
process is read, in nanoseconds. The reset sequence before it waits and costs no CPU.
"""

from __future__ import annotations

import os
import pty
import select
import signal
import statistics
import subprocess
import time
import tty
from pathlib import Path

from benchmarks.common import Row, arguments, environment, finish, folder, parburn, peers, progress, run

FIRST_BYTE_DEADLINE_S = 30.0
SCRIPT = 'espefuse(esp, efuses, args, "burn_efuse DIS_DIRECT_BOOT 1")\n'


def help_cpu_s(command: list[object]) -> tuple[float, bool]:
    """CPU seconds of a command that prints its help."""
    cost = run(command)
    return cost.cpu_s, cost.ok


def first_byte_cpu_s(command: list[object], port_at: int) -> tuple[float, bool]:
    """CPU seconds of all threads of the process when its first byte is seen; the port is word `port_at`."""
    master, slave = pty.openpty()
    tty.setraw(slave)
    words = [str(word) for word in command]
    words[port_at] = os.ttyname(slave)
    process = subprocess.Popen(
        words,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment(),
    )
    try:
        readable, _, _ = select.select([master], [], [], FIRST_BYTE_DEADLINE_S)
        spent = cpu_of(process.pid) if readable else 0.0
        return spent, bool(readable)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        os.close(master)
        os.close(slave)


def cpu_of(pid: int) -> float:
    """CPU seconds of a process's living threads."""
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9


def main() -> None:
    """Measure and report."""
    given = arguments("startup", "CPU of --help, and until the first byte is on the wire.")
    rows: list[Row] = []
    times = 2 if given.quick else 9
    with folder() as place:
        (place / "job.py").write_text(SCRIPT)
        started: list[object] = ["--ports", "PORT", "--scripts", place / "job.py", "--do-not-confirm"]
        whats: list[tuple[str, str, list[object]]] = [
            ("parburn", "--help", parburn("--help")),
            (
                "parburn",
                "first byte",
                parburn(*started, "--before", "no-reset", "--new-ledger", "--ledger", "LEDGER"),
            ),
        ]
        for tool, python in peers(given).items():
            before = "no_reset" if tool.startswith("espefuse 4") else "no-reset"
            words: list[object] = [python, "-m", "espefuse"]
            whats.append((tool, "--help", [*words, "--help"]))
            whats.append((tool, "first byte", [*words, "--port", "PORT", "--before", before, "summary"]))
        for tool, what, command in whats:
            seen = []
            for turn in range(times):
                ledger = place / f"{tool}-{turn}-{time.monotonic_ns()}"
                ledger.mkdir()
                words = [ledger / "ledger.sqlite" if word == "LEDGER" else word for word in command]
                if what == "--help":
                    seen.append(help_cpu_s(words))
                else:
                    seen.append(first_byte_cpu_s(words, words.index("PORT")))
            cpu_s = statistics.median(cpu for cpu, _ in seen)
            row = {"tool": tool, "what": what, "cpu_s": round(cpu_s, 4), "ok": all(ok for _, ok in seen)}
            rows.append(row)
            progress(f"{tool} {what}: {cpu_s:.3f} s CPU")
    finish("startup", rows, given)


if __name__ == "__main__":
    main()
