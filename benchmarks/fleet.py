"""Many boards at once: wall, CPU and memory beside one board, and beside espefuse in parallel processes.

The simulated boards live in one process of their own, whose CPU is reported apart (`rig_cpu_s_per_board`); it
shares the machine with the tool. parburn runs with its live table on a terminal and its ledger on disk.
`wall_s` is from the first byte on any wire to the last on any, `process_s` the tool's whole run.
`cpu_s_per_board` is all of the tool's CPU divided by the boards; `cpu_s_per_more` is what each board beyond
the first adds. `rss_mb` is the largest resident size of the process, or of those that run at the same time.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.common import (
    Cost,
    Row,
    Running,
    WireRig,
    arguments,
    finish,
    folder,
    median_row,
    parburn,
    peers,
    progress,
    run,
)
from benchmarks.picture import Bars, bars

COUNTS = (1, 8, 32, 64, 128)
QUICK_COUNTS = (1, 4)
PARALLEL = 16  # espefuse processes at one time, as `xargs -P 16`
CHIP = "esp32c3"
BAUD = 115200
LATENCY_MS = 1.0
MAC = "02:00:00:00:01:{:02x}"
KEY = bytes(range(1, 33))
SCRIPT = """\
espefuse(esp, efuses, args, "burn_custom_mac 02:00:00:00:01:{{:02x}}".format(args.index))
espefuse(esp, efuses, args, "burn_key BLOCK_KEY0 {key} XTS_AES_128_KEY")
espefuse(esp, efuses, args, "burn_efuse DIS_DIRECT_BOOT 1")
"""


def parburn_words(ports: Sequence[Path], place: Path) -> list[object]:
    """One run with all boards."""
    script = place / "job.py"
    script.write_text(SCRIPT.format(key=place / "key.bin"))
    ledger = place / f"ledger-{time.monotonic_ns()}" / "ledger.sqlite"
    ledger.parent.mkdir()
    words: list[object] = ["--ports", *ports, "--scripts", script, "--do-not-confirm"]
    return parburn(*words, "--new-ledger", "--ledger", ledger)


def espefuse_words(tool: str, python: Path, port: Path, number: int, place: Path) -> list[object]:
    """One board's process."""
    dashes = not tool.startswith("espefuse 4")
    before = "no-reset" if dashes else "no_reset"
    words: list[object] = [python, "-m", "espefuse", "--port", port, "--before", before, "--do-not-confirm"]
    words += ["burn-custom-mac" if dashes else "burn_custom_mac", MAC.format(number)]
    words += ["burn-key" if dashes else "burn_key", "BLOCK_KEY0", place / "key.bin", "XTS_AES_128_KEY"]
    return [*words, "burn-efuse" if dashes else "burn_efuse", "DIS_DIRECT_BOOT", "1"]


def in_parallel(commands: Sequence[Sequence[object]], at_once: int) -> list[Cost]:
    """Run commands, never more than `at_once` of them."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(at_once) as pool:
        return list(pool.map(lambda words: Running(words).finish(), commands))


def measure(rig: WireRig, tool: str, python: Path | None, boards: int, place: Path) -> Row:
    """One run on boards that nothing has talked to."""
    ports = rig.boards(boards)
    rig_before, began = rig.cpu_s(), time.monotonic()
    if python is None:
        costs = [run(parburn_words(ports, place), terminal=True)]
    else:
        commands = [espefuse_words(tool, python, port, n, place) for n, port in enumerate(ports)]
        costs = in_parallel(commands, min(boards, PARALLEL))
    process_s = time.monotonic() - began
    talks = rig.conversations(boards)
    at_once = 1 if python is None else min(boards, PARALLEL)
    largest = sorted((cost.rss_mb for cost in costs), reverse=True)[:at_once]
    ok = all(cost.ok for cost in costs) and len(talks) == boards and all(talk.programs for talk in talks)
    if not ok:
        progress(f"  {tool} failed: {next((c.said[-400:] for c in costs if not c.ok), 'boards missing')}")
    wall_s = max(t.last_s for t in talks) - min(t.first_s for t in talks) if talks else process_s
    return {
        "wall_s": round(wall_s, 4),
        "process_s": round(process_s, 4),
        "cpu_s_per_board": round(sum(cost.cpu_s for cost in costs) / boards, 5),
        "rss_mb": round(sum(largest), 1),
        "rig_cpu_s_per_board": round((rig.cpu_s() - rig_before) / boards, 5),
        "ok": ok,
    }


def rows_of(given: argparse.Namespace) -> list[Row]:
    """All measurements; every row's ratio is against one board of the same tool."""
    counts = QUICK_COUNTS if given.quick else tuple(given.boards)
    found: list[Row] = []
    with folder() as place:
        (place / "key.bin").write_bytes(KEY)
        for tool, python in {"parburn": None, **peers(given)}.items():
            first: Row | None = None
            for boards in counts:
                if python is not None and boards > given.peer_boards:
                    continue
                times = 1 if given.quick or python is not None else given.repeat
                several = []
                for _ in range(times):
                    with (
                        folder() as inner,
                        WireRig(inner, CHIP, boards, baud_limit=BAUD, latency_ms=LATENCY_MS) as rig,
                    ):
                        several.append(measure(rig, tool, python, boards, place))
                row = {"boards": boards, "tool": tool, **median_row(several)}
                first = first or row
                row["wall_ratio"] = round(row["wall_s"] / first["wall_s"], 3)
                if boards > first["boards"]:
                    more = boards - first["boards"]
                    total = row["cpu_s_per_board"] * boards - first["cpu_s_per_board"] * first["boards"]
                    row["cpu_s_per_more"] = round(total / more, 5)
                    row["rss_mb_per_more"] = round((row["rss_mb"] - first["rss_mb"]) / more, 3)
                found.append(row)
                progress(
                    f"{boards} boards, {tool}: {row['wall_s']:.2f} s on the wire ({row['wall_ratio']:.2f}x), "
                    f"{row['cpu_s_per_board'] * 1000:.1f} ms CPU a board, {row['rss_mb']:.0f} MB"
                )
    return found


def draw_wall(rows: Sequence[Row], said: str) -> str:
    """Seconds for all boards."""
    return bars(
        f"Many {CHIP} boards at {BAUD} baud: seconds until the last is verified",
        _groups(rows, "wall_s"),
        unit="s",
        said=said,
        logarithmic=True,
    )


def draw_cpu(rows: Sequence[Row], said: str) -> str:
    """CPU per board."""
    groups = {
        name: {tool: value * 1000 for tool, value in group.items()}
        for name, group in _groups(rows, "cpu_s_per_board").items()
    }
    title = "Many boards: CPU of the tool per board, start of the process included"
    return bars(title, groups, unit="ms", said=said, logarithmic=True)


def _groups(rows: Sequence[Row], figure: str) -> dict[str, Bars]:
    groups: dict[str, Bars] = {}
    for row in rows:
        name = f"{row['boards']} board" + ("s" if row["boards"] > 1 else "")
        groups.setdefault(name, {})[str(row["tool"])] = float(row[figure])
    return groups


def main() -> None:
    """Measure and report."""
    given = arguments(
        "fleet",
        "Many boards at once, beside espefuse in parallel processes.",
        boards={"nargs": "+", "type": int, "default": COUNTS, "help": "numbers of boards"},
        repeat={"type": int, "default": 3, "help": "runs of parburn; the row is their median (default 3)"},
        peer_boards={
            "type": int,
            "default": 64,
            "help": "the largest number of boards given to espefuse (default 64)",
        },
    )
    pictures = {"fleet_wall": draw_wall, "fleet_cpu": draw_cpu}
    finish("fleet", rows_of(given), given, pictures)


if __name__ == "__main__":
    main()
