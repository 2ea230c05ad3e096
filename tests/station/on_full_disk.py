"""A station whose ledger's disk fills up while it runs, and has room again; prints JSON of what came.

`unshare -m python -m tests.station.on_full_disk FOLDER`: the disk is a tmpfs, mounted in a namespace of its
own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from parburn.sim.control_client import ControlledRig
from tests.station.at_work import arm, bits_of, boards_in, command, make_job, running, units

BOARDS = 3


def fill(disk: Path) -> Path:
    """Leave no room on a disk; return the file that takes it."""
    path = disk / "fill"
    fd = os.open(path, os.O_CREAT | os.O_WRONLY)
    try:
        while True:
            os.write(fd, bytes(4096))
    except OSError:
        return path
    finally:
        os.close(fd)


def play(folder: Path) -> dict[str, Any]:
    """Let the disk fill up between two boards."""
    disk = folder / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "none", str(disk)], check=True)
    with ControlledRig(f"esp32c3:{BOARDS + 1}", folder=folder / "rig", lines=True) as rig:
        job = make_job(disk, rig, more="first_article = 0\n")
        armed = arm(job)
        assert armed.returncode == 0, armed.stderr
        with running(job) as station:
            rig.insert(BOARDS)
            station.verdict(f"A{BOARDS + 1}", "PASS")
            filled = fill(disk)
            for number in range(BOARDS):
                rig.insert(number)
            full = station.halted(BOARDS, within_s=60)
            halt = next((one["why"] for one in station.said if one["event"] == "halt"), "")
            blank = sum(
                set(bits_of(rig, board)["BLOCK_USR_DATA"]) <= set("0x") for board in boards_in(rig).values()
            )
            filled.unlink()
            said = command("station", "resume", "--why", "room again", "--job", str(job))
            assert said.returncode == 0, said.stderr
            for number in range(BOARDS):  # what waited in its socket goes on by itself
                if full[f"A{number + 1}"]["state"] != "hold":
                    rig.replug(number)
            passed: set[str] = set()
            while len(passed) < BOARDS:
                passed.add(station.until(lambda one: one.get("word") == "PASS", "PASS")["slot"])
            assert station.stop() == 0
        found = units(disk)
        verified = command("ledger", "verify", "--ledger", str(disk / "ledger.sqlite3")).returncode == 0
    return {
        "boards": BOARDS,
        "full": sorted(one["word"] for one in full.values()),
        "halt": halt,
        "blank": blank,
        "passed": len(passed),
        "indexes": sorted(one.number or 0 for one in found.values()),
        "verified": verified,
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(play(Path(sys.argv[1]))) + "\n")
