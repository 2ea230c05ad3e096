"""`python -m tests.fuzz --minutes N --seed S`: tries bad files for so long; its last line is one JSON object.

`--subject NAME --case N` tries one case again. Exit code 1 where anything was found.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time

from tests.fuzz.storm import Storm, one_case
from tests.fuzz.subjects import SUBJECTS


def main() -> int:
    """Read the options, try, say what was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0, help="default: 1")
    parser.add_argument("--seed", type=int, default=None, help="default: another one each time")
    parser.add_argument("--subject", choices=[*SUBJECTS], help="of one case")
    parser.add_argument("--case", type=int, help="its number")
    options = parser.parse_args()
    seed = random.randrange(10**6) if options.seed is None else options.seed
    if options.subject is not None and options.case is not None:
        found = one_case(seed, options.subject, options.case)
        sys.stdout.write("".join(f"{one.what}\n" for one in found) or "nothing was found\n")
        return 1 if found else 0
    sys.stdout.write(f"seed {seed}\n")
    storm, began = Storm(seed), time.monotonic()
    storm.blow(60 * options.minutes, tell=tell)
    sys.stdout.write(json.dumps(storm.result(time.monotonic() - began)) + "\n")
    return 1 if storm.findings else 0


def tell(text: str) -> None:
    """Say at once what was found."""
    sys.stdout.write(text)
    sys.stdout.flush()


sys.exit(main())
