"""`python -m tests.soak --runs N --seed S`: campaigns until N board runs are done. Last line: JSON of counts."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tests.soak.campaign import Result, run_campaign


def results(seed: int, jobs: int) -> Iterator[Result]:
    """Campaigns without end, `jobs` at a time."""
    seeds = iter(range(seed, sys.maxsize))
    if jobs == 1:
        yield from map(run_campaign, seeds)
    with multiprocessing.get_context("fork").Pool(jobs) as pool:
        while True:
            batch = [next(seeds) for _ in range(4 * jobs)]
            yield from pool.imap_unordered(run_campaign, batch)


def main() -> int:
    """Run the soak. 0 when nothing was violated."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--runs", type=int, default=10_000, help="board runs to do at least")
    parser.add_argument("--seed", type=int, default=1, help="of the first campaign; each has its own")
    parser.add_argument("--jobs", type=int, default=2, help="campaigns at a time")
    parser.add_argument("--only", action="store_true", help="that one campaign, told in full and kept")
    given = parser.parse_args()
    if given.only:
        folder = Path(f"soak-{given.seed}").resolve()
        result = run_campaign(given.seed, keep=folder)
        sys.stdout.write("\n".join([*result.log, *result.violations, json.dumps(result.counts)]) + "\n")
        return 1 if result.violations else 0
    began = time.monotonic()
    counts: Counter[str] = Counter()
    bad: list[Result] = []
    for result in results(given.seed, given.jobs):
        counts.update(result.counts)
        if result.violations:
            bad.append(result)
            sys.stdout.write(f"seed {result.seed}: " + "\n  ".join(result.violations) + "\n")
        sys.stderr.write(f"\r{counts['board runs']} board runs, {len(bad)} bad campaigns ")
        if counts["board runs"] >= given.runs:
            break
    sys.stderr.write("\n")
    summary = {
        "seed": given.seed,
        "seconds": round(time.monotonic() - began),
        **dict(sorted(counts.items())),
        "violations": sum(len(result.violations) for result in bad),
        "bad seeds": [result.seed for result in bad],
    }
    sys.stdout.write(json.dumps(summary) + "\n")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
