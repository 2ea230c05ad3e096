"""`python -m tests.soak --runs N --seed S`: campaigns, until N board runs are done. Ends with JSON."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from functools import partial
from itertools import count
from multiprocessing import get_context
from pathlib import Path

from tests.soak.campaign import Result
from tests.soak.child import warm_up
from tests.soak.draw import kinds_of, run_campaign
from tests.soak.mutations import MUTATIONS
from tests.soak.themes import THEMES

SHOWN = 4  # violations of one campaign that are printed


def results(seed: int, jobs: int, theme: str, mutation: str) -> Iterator[Result]:
    """Campaigns without end, `jobs` at a time. Those that are under way end by themselves."""
    play = partial(run_campaign, theme=THEMES.get(theme), mutation=mutation)
    seeds = count(seed)
    with ProcessPoolExecutor(jobs, mp_context=get_context("fork")) as pool:
        running = {pool.submit(play, next(seeds)) for _ in range(jobs)}
        while True:
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for one in done:
                yield one.result()
                running.add(pool.submit(play, next(seeds)))


def main() -> int:
    """Run the soak. 0 when nothing was violated."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--runs", type=int, default=10_000, help="board runs to do at least")
    parser.add_argument("--seed", type=int, default=1, help="of the first campaign; each has its own")
    parser.add_argument("--jobs", type=int, default=2, help="campaigns at a time")
    parser.add_argument(
        "--theme", default="", choices=("", *THEMES), help="campaigns that press on one thing"
    )
    parser.add_argument("--mutate", action="store_true", help="switch that rule off: the soak must fail")
    parser.add_argument(
        "--only", action="store_true", help="one campaign, told in full, its folder kept here"
    )
    given = parser.parse_args()
    if given.mutate and given.theme not in MUTATIONS:
        parser.error("--mutate goes with a theme that presses on a rule")
    mutation = given.theme if given.mutate else ""
    warm_up()
    if given.only:
        folder = Path(f"soak-{given.seed}").resolve()
        theme = THEMES.get(given.theme)
        result = run_campaign(given.seed, theme=theme, mutation=mutation, keep=folder)
        sys.stdout.write("\n".join([*result.log, *result.violations, json.dumps(result.counts)]) + "\n")
        return 1 if result.violations else 0
    began = time.monotonic()
    counts: Counter[str] = Counter()
    kinds = kinds_of(THEMES.get(given.theme))
    bad: list[Result] = []
    slowest = Result(given.seed)
    for result in results(given.seed, given.jobs, given.theme, mutation):
        counts.update(result.counts)
        slowest = max(slowest, result, key=lambda one: one.seconds)
        if result.violations:
            bad.append(result)
            shown = "\n  ".join(result.violations[:SHOWN])
            sys.stdout.write(f"seed {result.seed}: {shown}\n")
        sys.stderr.write(f"\r{counts['board runs']} board runs, {len(bad)} bad campaigns ")
        if counts["board runs"] >= given.runs or (bad and given.mutate):
            break
    sys.stderr.write("\n")
    summary = {
        "seed": given.seed,
        "seconds": round(time.monotonic() - began),
        "slowest campaign": {"seed": slowest.seed, "seconds": round(slowest.seconds)},
        **dict(sorted(counts.items())),
        "kinds that never struck": [kind for kind in kinds if not counts[f"struck {kind}"]],
        "violations": sum(len(result.violations) for result in bad),
        "bad seeds": [result.seed for result in bad],
    }
    sys.stdout.write(json.dumps(summary) + "\n")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
