"""What a board among many may cost, CPU and wall, by ratios. Turns, bytes and calls: tests/test_counts.py."""

from __future__ import annotations

import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.command import COMMAND, environment
from tests.provisioning import rows
from tests.rig import start_rig

pytestmark = pytest.mark.alone

BOARDS = 32
# Machines differ, so all is in units of the same run: the CPU that the command takes with one board, start
# and all, and the CPU that the other boards take.
CPU_OF_ONE = 0.03  # of a further board
WALL_OF_CPU = 2.5  # the boards share one thread, and wait for nothing but each other's CPU
TRIES = 5  # a busy neighbour may spoil a measurement; a slow parburn is slow three times

SCRIPT = """\
espefuse(esp, efuses, args, 'burn_custom_mac aa:cd:ef:00:01:{:02x}'.format(args.index))
espefuse(esp, efuses, args, 'burn_key BLOCK_KEY0 KEY XTS_AES_128_KEY')
espefuse(esp, efuses, args, 'burn_efuse DIS_DIRECT_BOOT 1')
"""


@dataclass(frozen=True)
class Cost:
    wall_s: float
    cpu_s: float
    rows: list[dict[str, Any]]


def run(ports: list[str], folder: Path, name: str) -> Cost:
    key = folder / "key.bin"
    key.write_bytes(bytes(range(1, 33)))
    script = folder / "provision.py"
    script.write_text(SCRIPT.replace(" KEY", f" {key}"))
    report = folder / f"{name}.jsonl"
    assert COMMAND
    process = subprocess.Popen(
        [
            COMMAND,
            "--ports",
            *ports,
            "--scripts",
            script,
            "--do-not-confirm",
            "--new-ledger",
            "--report",
            report,
            "--quiet",
        ],
        env=environment(folder / f"state-{name}"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.stderr is not None
    with process.stderr:
        said = process.stderr.read().decode()
    assert process.returncode == 0, said
    found = rows(report)
    return Cost(max(row["seconds"] for row in found), usage.ru_utime + usage.ru_stime, found)


def test_thirty_two_boards_cost_little_more_than_one(tmp_path: Path) -> None:
    seen = []
    for attempt in range(TRIES):
        folder = tmp_path / str(attempt)
        with start_rig("esp32c3", BOARDS + 1, tmp_path=folder, baud_limit=115200, usb_latency_ms=1) as rig:
            one = run(rig.ports[:1], folder, "one")
            many = run(rig.ports[1:], folder, "many")
        cpu_s, wall_s = many.cpu_s - one.cpu_s, many.wall_s - one.wall_s
        share, waited = cpu_s / (BOARDS - 1) / one.cpu_s, wall_s / cpu_s
        seen.append(
            f"wall {one.wall_s:.2f} s -> {many.wall_s:.2f} s ({waited:.2f} s a second of CPU), "
            f"CPU {one.cpu_s:.2f} s -> {many.cpu_s:.2f} s ({share:.3f} of one board's a board)"
        )
        if share <= CPU_OF_ONE and waited <= WALL_OF_CPU:
            return
        time.sleep(1)
    pytest.fail("; ".join(seen))
