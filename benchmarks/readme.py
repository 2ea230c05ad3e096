"""The README's part about speed, made of the saved results, so that no figure in it is typed by hand.

`python -m benchmarks.readme` writes it into README.md between its two marks, after `--save` of one_board and
fleet. Measures nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from benchmarks.common import PEERS, RESULTS, ROOT

BEGIN, END = "<!-- measured: begin -->\n", "<!-- measured: end -->\n"
LINK = (115200, 1)  # baud, latency timer in ms
OURS = "parburn"
README = ROOT / "README.md"


def _saved(benchmark: str) -> dict[str, Any]:
    whole: dict[str, Any] = json.loads((RESULTS / f"{benchmark}.json").read_text())
    return whole


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _one_board(rows: Sequence[dict[str, Any]]) -> str:
    here = [row for row in rows if (row["baud"], row["latency_ms"]) == LINK]
    found = []
    for ours in (row for row in here if row["tool"] == OURS):
        job = (ours["chip"], ours["job"])
        others = [row for row in here if row["tool"] != OURS and (row["chip"], row["job"]) == job]
        fastest = min(others, key=lambda row: float(row["wall_s"]))
        found.append(
            (
                f"{ours['chip']}: {ours['job']}",
                f"{ours['wall_s']:.3f} s, {ours['turns']} turns",
                f"{ours['floor_s']:.3f} s ({ours['safe_floor_s']:.3f} s)",
                f"{fastest['wall_s']:.2f} s, {fastest['turns']} turns ({fastest['tool']})",
                f"{fastest['wall_s'] / ours['wall_s']:.1f}x",
            )
        )
    return _table(("one board", "parburn", "floor (safely)", "the faster espefuse", "ratio"), found)


def _fleet(rows: Sequence[dict[str, Any]]) -> str:
    found = []
    for ours in (row for row in rows if row["tool"] == OURS):
        others = [row for row in rows if row["tool"] != OURS and row["boards"] == ours["boards"]]
        fastest = min(others, key=lambda row: float(row["wall_s"]), default=None)
        more = ours.get("cpu_s_per_more")
        found.append(
            (
                str(ours["boards"]),
                f"{ours['wall_s']:.2f} s ({ours['wall_ratio']:.2f}x)",
                f"{ours['cpu_s_per_board'] * 1000:.1f} ms",
                "-" if more is None else f"{more * 1000:.1f} ms",
                f"{ours['rss_mb']:.0f} MB",
                "-" if fastest is None else f"{fastest['wall_s']:.1f} s",
                "-" if fastest is None else f"{fastest['cpu_s_per_board'] * 1000:.0f} ms",
            )
        )
    head = (
        "boards",
        "parburn",
        "CPU a board",
        "each board more",
        "memory",
        "the faster espefuse",
        "its CPU a board",
    )
    return _table(head, found)


def measured() -> str:
    """The text between the marks."""
    one, fleet = _saved("one_board"), _saved("fleet")
    names = " and ".join(PEERS.values())
    return (
        f"Measured on {one['date']} ({one['machine']}), boards simulated behind a line of 115200 baud and "
        f"USB frames of 1 ms, {names} on equal boards in the same run:\n\n"
        f"{_one_board(one['rows'])}\n"
        "From the first byte on the wire to the last. The floor is the time of the bytes that the job cannot "
        "do without; safely, with those that are read twice: answers carry no checksum, and boards can be "
        "swapped.\n\n"
        "![Seconds for one board](benchmarks/results/one_board.svg)\n\n"
        "The same key, MAC and bit on many boards, the simulator on the same machine; espefuse runs in up "
        "to 16 processes at a time:\n\n"
        f"{_fleet(fleet['rows'])}\n"
        "The CPU a board holds the start of the process, shared by all boards.\n\n"
        "![Seconds for many boards](benchmarks/results/fleet_wall.svg)\n"
        "![CPU for each of many boards](benchmarks/results/fleet_cpu.svg)\n"
    )


def main() -> None:
    """Write the measured part into README.md."""
    text = README.read_text()
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    README.write_text(before + BEGIN + measured() + END + after)


if __name__ == "__main__":
    main()
