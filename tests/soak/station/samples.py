"""Memory, descriptors and threads of a process over its life, and how they grow with the insertions."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

SETTLES = 2000  # insertions, until caches are full; of a short life a third


class Sample(NamedTuple):
    """A process at one moment. Memory in KiB."""

    insertions: int
    rss: int
    pss: int
    descriptors: int
    threads: int


def sample(pid: int, insertions: int) -> Sample | None:
    """Look at a process; None: it is gone."""
    place = Path(f"/proc/{pid}")
    with suppress(OSError, AttributeError, ValueError):
        rollup = (place / "smaps_rollup").read_text()
        rss, pss = (int(re.search(rf"^{name}:\s+(\d+)", rollup, re.M)[1]) for name in ("Rss", "Pss"))  # type: ignore[index]
        threads = len([*(place / "task").iterdir()])
        return Sample(insertions, rss, pss, len([*(place / "fd").iterdir()]), threads)
    return None


def slopes(samples: Sequence[Sample]) -> dict[str, float]:
    """Growth of each for 1,000 insertions, once it has settled; empty where there is too little to tell."""
    if not samples:
        return {}
    first, last = samples[0].insertions, samples[-1].insertions
    begin = first + min(SETTLES, (last - first) // 3)
    settled = [one for one in samples if one.insertions >= begin]
    if len(settled) < 8:
        return {}
    return {
        name: round(1000 * _slope([(one.insertions, getattr(one, name)) for one in settled]), 3)
        for name in ("rss", "pss", "descriptors", "threads")
    }


def _slope(points: Sequence[tuple[int, int]]) -> float:
    mean_x = sum(x for x, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    below = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / below if below else 0.0
