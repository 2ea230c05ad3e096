"""Boards that a killed station left in mid burn, and a job of which one word was changed since.

`python -m tests.station.killed_at_once 96` prints what became of them, as one JSON object.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from parburn.sim.control_client import ControlledRig
from tests.station.at_work import (
    StationProcess,
    arm,
    bits_of,
    boards_in,
    command,
    make_job,
    running,
    units,
    until_units,
)

BURNED = ("burned", "verified", "locked")
FREE = "first_article = 0\n"
WITHIN_S = 240.0


def held_script(hold: Path) -> str:
    """A script of two burns, which waits between them as long as a file is there."""
    return (
        "import os, time\n"
        "espefuse(esp, efuses, args, 'burn_custom_mac 02:aa:ce:00:00:{:02x}'.format(args.index))\n"
        "efuses.burn_all()\n"
        f"while not args.rehearsal and os.path.exists({str(hold)!r}): time.sleep(0.02)\n"
        "espefuse(esp, efuses, args, 'burn_efuse DIS_DIRECT_BOOT 1')\n"
    )


def held_job(folder: Path, rig: ControlledRig, *, before: str = "") -> tuple[Path, Path]:
    """Arm a job with that script, `before` at its head; return it, and the file, which is there."""
    hold = folder / "hold"
    job = make_job(folder, rig, script=before + held_script(hold), more=FREE)
    _armed(job)
    hold.touch()
    return job, hold


def _armed(job: Path) -> str:
    done = arm(job)
    assert done.returncode == 0, done.stderr
    return str(json.loads(job.with_suffix(".armed").read_text())["digest"])


def _said(station: StationProcess, count: int) -> Counter[tuple[str, str]]:
    """Return how often each word was said, with its sentence without dates."""
    found = station.verdicts(count, within_s=WITHIN_S).values()
    return Counter((one["word"], "begun under the job armed on" * ("under the job" in one["detail"]))
                   for one in found)  # fmt: skip


def kill_and_rearm(folder: Path, count: int) -> dict[str, Any]:
    """Kill a station in mid burn of all boards, arm another word, then the first job again; say what came."""
    hold, script = folder / "hold", folder / "burn.py"
    began = time.monotonic()
    with ControlledRig(f"esp32c3:{count}", folder=folder / "rig", lines=True) as rig:
        job = make_job(folder, rig, script=held_script(hold), more=FREE)
        first = _armed(job)
        hold.touch()
        with running(job) as station:
            for number in range(count):
                rig.insert(number)
            until_units(folder, count, *BURNED, within_s=WITHIN_S)
            station.kill()
        boards = boards_in(rig)
        bits, begun = {mac: bits_of(rig, board) for mac, board in boards.items()}, units(folder)
        hold.unlink()
        script.write_text(held_script(hold) + "# one word\n")
        other = _armed(job)
        with running(job) as station:
            refused = _said(station, count)
            scripts_ran = "burning" in station.states()
            halted = any(one["event"] == "halt" for one in station.said)
            station.stop()
        between = units(folder)
        unchanged = [
            mac
            for mac, unit in between.items()
            if (unit.number, unit.attempts) == (begun[mac].number, begun[mac].attempts)
            and unit.state == "incomplete"
            and bits_of(rig, boards[mac]) == bits[mac]
        ]
        script.write_text(held_script(hold))
        again = _armed(job)
        with running(job) as station:
            passed = _said(station, count)
            station.stop()
        after = units(folder)
        witness = rig.witness()
    verified = command("ledger", "verify", "--ledger", str(folder / "ledger.sqlite3"))
    return {
        "boards": count,
        "refused": [[*what, times] for what, times in refused.items()],
        "scripts ran": scripts_ran,
        "halted": halted,
        "unchanged": len(unchanged),
        "same arming": first == again != other,
        "passed": [[*what, times] for what, times in passed.items()],
        "quarantined": sum(unit.state == "quarantined" for unit in after.values()),
        "same index": sum(unit.number == begun[mac].number for mac, unit in after.items()),
        "moves during burns": witness.during_burns,
        "ledger verified": verified.returncode == 0,
        "seconds": round(time.monotonic() - began, 1),
    }


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        sys.stdout.write(json.dumps(kill_and_rearm(Path(place), int(sys.argv[1]))) + "\n")
