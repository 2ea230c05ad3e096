"""A config file with a million ids: it must be parsed once a run, not once a board.

Two runs with equal boards and script, one with a hundred records in its JSON file and one with a million.
What the second costs more is compared with one plain `json.load` of its file. `ratio` is that quotient in CPU
seconds; the runs share no memory with this process.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path

from benchmarks.common import Row, WireRig, arguments, finish, folder, parburn, progress, run

CHIP = "esp32c3"
BOARDS, IDS = 64, 1_000_000
QUICK_BOARDS, QUICK_IDS = 4, 20_000
FEW_IDS = 100
LOAD = """\
import json, sys, time
began = time.process_time()
json.load(open(sys.argv[1]))
print(time.process_time() - began)
"""
SCRIPT = """\
ids = json.load(args.configfiles[0])
espefuse(esp, efuses, args, "burn_custom_mac {}".format(ids[str(args.index)]))
"""


def write_ids(path: Path, count: int) -> None:
    """A file with this many records, each its own."""
    with path.open("w") as file:
        for n in range(1, count + 1):
            mac = (2 << 40 | n).to_bytes(6, "big").hex(":")
            file.write(f'{"{" if n == 1 else ","}"{n}":"{mac}"')
        file.write("}")


def one_load_s(path: Path) -> float:
    """CPU seconds of json.load in a new process, and of nothing else."""
    seen = []
    for _ in range(3):
        cost = run([sys.executable, "-c", LOAD, path])
        seen.append(float(cost.said))
    return statistics.median(seen)


def measure(place: Path, rig: WireRig, ids: Path, boards: int) -> Row:
    """One run with this file."""
    ports = rig.boards(boards)
    ledger = place / f"ledger-{time.monotonic_ns()}"
    ledger.mkdir()
    words: list[object] = ["--ports", *ports, "--scripts", place / "job.py", "--configfiles", ids]
    words += ["--do-not-confirm", "--quiet"]
    words += ["--new-ledger", "--ledger", ledger / "ledger.sqlite"]
    cost = run(parburn(*words))
    talks = rig.conversations(boards)
    if not cost.ok:
        progress(f"  failed: {cost.said[-400:]}")
    return {
        "process_s": round(cost.wall_s, 4),
        "cpu_s": round(cost.cpu_s, 4),
        "rss_mb": round(cost.rss_mb, 1),
        "ok": cost.ok and len(talks) == boards,
    }


def rows_of(given: argparse.Namespace) -> list[Row]:
    """A row for the few and one for the many."""
    boards, many = (QUICK_BOARDS, QUICK_IDS) if given.quick else (BOARDS, IDS)
    times = 1 if given.quick else 3
    rows: list[Row] = []
    with folder() as place:
        (place / "job.py").write_text(SCRIPT)
        for count in (FEW_IDS, many):
            write_ids(place / f"{count}.json", count)
        load_s = one_load_s(place / f"{many}.json")
        seen: dict[int, list[Row]] = {FEW_IDS: [], many: []}
        with WireRig(place, CHIP, 2 * boards * times, baud_limit=0, latency_ms=1) as rig:
            for _ in range(times):
                for count, found in seen.items():
                    found.append(measure(place, rig, place / f"{count}.json", boards))
        for count, found in seen.items():
            row: Row = {"ids": count, "boards": boards}
            for name in ("process_s", "cpu_s", "rss_mb"):
                row[name] = statistics.median(one[name] for one in found)
            row["json_load_s"] = round(load_s, 4)
            row["ok"] = all(one["ok"] for one in found)
            row["ratio"] = round((row["cpu_s"] - rows[0]["cpu_s"]) / load_s, 3) if rows else None
            rows.append(row)
            progress(f"{count} ids, {boards} boards: {row['cpu_s']:.2f} s CPU, {row['rss_mb']:.0f} MB")
    return rows


def main() -> None:
    """Measure and report."""
    given = arguments("config", "A config file with a million ids, in a run with many boards.")
    finish("config", rows_of(given), given)


if __name__ == "__main__":
    main()
