"""`python -m tests.soak.station --insertions N --seed S [--sockets 16] [--off ROW]`. Ends with JSON."""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from parburn.sim.control_client import ControlledRig
from tests.own_terminals import with_own_terminals
from tests.soak.station.checker import Checker
from tests.soak.station.hand import Hand, Theme, tell
from tests.soak.station.job import CHIP, Job, draw
from tests.soak.station.off import OFF, THEMES
from tests.soak.station.samples import slopes

SEATS = {"plug": (), "cts": ("--presence", "cts"), "sync": ("--strapped",), "reset": ()}


def soak(
    insertions: int,
    seed: int,
    *,
    sockets: int = 16,
    off: str = "",
    keep: Path | None = None,
    theme: Theme | None = None,
    seats: str = "plug",
) -> dict[str, Any]:
    """Play one soak in a folder of its own; return what came of it."""
    began = time.monotonic()
    folder = keep or Path(tempfile.mkdtemp(prefix=f"soak-station-{seed}-"))
    theme = theme or (THEMES[off] if off else Theme())
    try:
        rng = random.Random(seed)
        drawn = draw(rng, after=theme.job_after)
        job = Job(folder / "job", drawn, records=insertions + 200)
        os.environ["XDG_RUNTIME_DIR"] = job.environment()["XDG_RUNTIME_DIR"]  # where engineers' words go
        options = ["--seed", str(seed), "--cut-pulses", *SEATS[seats]]
        options += ["--witness", str(job.folder / "witness.jsonl")]
        bridges = seats != "plug"
        with ControlledRig(
            f"{CHIP}:{sockets}", folder=folder / "rig", lines=True, bridges=bridges, options=options
        ) as rig:
            job.arm({f"A{number + 1}": port for number, port in enumerate(rig.ports)}, seats=seats)
            armed_s = time.monotonic() - began
            checker = Checker(job, rig.file_of("x").parent)
            hand = Hand(
                rig, job, checker, theme=theme, rng=rng, off=off, tell=tell, stop_at_first=bool(off),
                seats=seats,
            )  # fmt: skip
            played = hand.play(insertions)
            hand._note(list(checker.all_boards()))
            if not off:
                try:
                    job.parburn("ledger", "verify", "--ledger", str(job.ledger))
                except AssertionError as error:
                    hand._note([f"the ledger does not verify: {error}"])
        return {
            "seed": seed,
            "off": off,
            "insertions": played.insertions,
            "seconds": round(played.seconds, 1),
            "arming seconds": round(armed_s, 1),
            "a second": round(played.insertions / played.seconds, 2),
            "job": {**drawn._asdict(), "work": str(drawn.work)},
            "passes": played.counts["result pass"],
            "kills": played.counts["kills"],
            **dict(sorted(played.counts.items())),
            "units": checker.ledger.counts(),
            "halts for": dict(played.halts.most_common(8)),
            "samples": len(played.samples),
            "last sample": played.samples[-1]._asdict() if played.samples else None,
            "growth per 1000 insertions": slopes(played.samples),
            "found after": played.found_after,
            "violations": len(played.violations),
            "first violations": played.violations[:8],
        }
    finally:
        if keep is None:
            shutil.rmtree(folder, ignore_errors=True)


def every_row(insertions: int, seed: int, sockets: int) -> int:
    """Switch off each row for itself. 0 when the soak has seen each."""
    found = {}
    for row in OFF:
        one = soak(insertions, seed, sockets=sockets, off=row)
        found[row] = {
            name: one[name] for name in ("found after", "insertions", "seconds", "first violations")
        }
        tell(f"{row}: {json.dumps(found[row])}")
    unseen = [row for row, one in found.items() if one["found after"] is None]
    sys.stdout.write(json.dumps({"seed": seed, "rows": found, "not seen": unseen}) + "\n")
    return 1 if unseen else 0


def main() -> int:
    """Run the soak. 0 when nothing was violated."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak.station", description=__doc__)
    parser.add_argument("--insertions", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--sockets", type=int, default=16)
    parser.add_argument(
        "--off", default="", help="switch that row off: the soak must fail; all: each of them"
    )
    parser.add_argument("--theme", default="", choices=("", *THEMES), help="press on that row, all being on")
    parser.add_argument(
        "--seats", default="plug", choices=(*SEATS,), help="how a board is seen; but for plug its tty stays"
    )
    parser.add_argument("--keep", type=Path, help="keep all files in this folder")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the station goes, too
    keep = given.keep.resolve() if given.keep else None
    if given.off == "all":
        return every_row(given.insertions, given.seed, given.sockets)
    found = soak(given.insertions, given.seed, sockets=given.sockets, off=given.off, keep=keep,
        theme=THEMES.get(given.theme), seats=given.seats,
    )  # fmt: skip
    sys.stdout.write(json.dumps(found) + "\n")
    return 1 if found["violations"] else 0


if __name__ == "__main__":
    with_own_terminals("tests.soak.station")
    sys.exit(main())
