"""`python -m tests.pulses [--all] [--json]`: what damaged frames make chips burn. Exit code 1: harm."""

from __future__ import annotations

import argparse
import json
import sys
import time
from concurrent.futures import ProcessPoolExecutor

from tests.pulses.record import setups
from tests.pulses.whole import PAIRS, Verdict, judged

USUAL = ("esp32c3-v0.2", "esp32-v3.0")
SHOWN = 10  # harmful faults of a kind
WORKERS = 2


def main() -> int:
    """Try the kinds that are asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.pulses", description=__doc__)
    parser.add_argument("--all", action="store_true", help=f"every kind of chip (else {' and '.join(USUAL)})")
    parser.add_argument("--json", action="store_true", help="for machines")
    parser.add_argument("--pairs", type=int, default=PAIRS, metavar="N", help="pairs of faults for each kind")
    options = parser.parse_args()
    wanted = [one for one in setups() if options.all or one.name in USUAL]
    begun = time.monotonic()
    found: list[Verdict] = []
    with ProcessPoolExecutor(WORKERS) as pool:
        for trial in [pool.submit(judged, one, pairs=options.pairs) for one in wanted]:
            found.append(trial.result())
            if not options.json:
                _show(found[-1])
    harmful = sum(len(one.harmful) for one in found)
    if options.json:
        sys.stdout.write(json.dumps([{**one.row(), "what": one.harmful} for one in found], indent=1) + "\n")
    else:
        sys.stdout.write(f"{len(found)} kinds, {harmful} harmful, {time.monotonic() - begun:.0f} s\n")
    return 1 if harmful else 0


def _show(verdict: Verdict) -> None:
    sys.stdout.write(", ".join(f"{name} {value}" for name, value in verdict.row().items()) + "\n")
    for line in verdict.harmful[:SHOWN]:
        sys.stdout.write(f"    {line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
