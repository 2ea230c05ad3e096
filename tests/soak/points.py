"""Every crash point of one burn: `python -m tests.soak.points CHIP` stops the process at each of them, once.

The points are every transaction of the ledger (not begun, committed), every frame to the chip (sent, or torn
in the middle) from the last one before the burn on, and some bytes of every frame that gives the eFuse
controller a command (`--every-byte`: all). Of these the line loses the rest too, while the process goes on.
`--one-of N --from K` takes each Nth point from the Kth on.
After each, the command runs again and must finish the board with the same index, bit for bit: without a reset
where the board kept its supply, as it does whenever such a frame is torn, and once more with one if that run
failed. Last line: JSON of counts.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from tests.soak.bench import Bench, Made
from tests.soak.checker import Checker, same, units_of
from tests.soak.child import KILLED, OP_CODES, Crash, run_forked, warm_up
from tests.soak.jobs import Work, write_job

BOARDS = {"esp32c3": Made("esp32c3"), "esp32-3/4": Made("esp32", (("coding", "3/4"),))}
WORKS = {
    "esp32c3": Work(burns=(True, False, False)),
    "esp32": Work(burns=(True, False, False), hidden_coding=True),
}
# Bytes of the frame of a command that may have come: in its header, in each part of its two entries; behind
# them stands a delay at most.
SOME_BYTES = (3, 4, 7, 9, 11, 14, 18, 24, 27, 29, 30, 31, 33, 34, 38)
EVERY_BYTE = tuple(range(1, 42))
LOST_AFTER = (7, 27, 31)


@dataclass(frozen=True)
class Outcome:
    """What came of one point. `struck`: it really happened; `touched`: the chip held bits then."""

    point: str
    struck: bool
    touched: bool
    violations: list[str]


def command(folder: Path, ports: list[str]) -> list[str]:
    """The command line of all runs."""
    return [
        "--json", "--do-not-confirm", "--ports", *ports, "--scripts", str(folder / "one.py"),
        "--configfiles", str(folder / "ids.json"), "--ledger", str(folder / "ledger.sqlite"),
        "--new-ledger",
    ]  # fmt: skip


def counted(made: Made) -> dict[str, int]:
    """Frames and transactions of a run that nothing disturbs, and the frames until the burn begins."""
    folder = Path(tempfile.mkdtemp(prefix="points-"))
    try:
        write_job(folder, WORKS[made.chip], records=2)
        with Bench(folder, [made], seed=1, stay_powered=False) as bench:
            (port,) = bench.set_up([0], {}, seed=1)
            counts = folder / "counts.json"
            ended = run_forked(command(folder, [port]), folder=folder, counts=counts)
            assert ended.exit == 0, ended
            found: dict[str, int] = json.loads(counts.read_text())
            return found
    finally:
        shutil.rmtree(folder)


def points(made: Made, torn_after: Sequence[int] = SOME_BYTES) -> Iterator[Crash | str]:
    """All of them: where the process dies, and sentences of faults with which it goes on."""
    counts = counted(made)
    for number in range(1, counts["ledger"] + 1):
        yield Crash("ledger", number, "before")
        yield Crash("ledger", number, "after")
    for number in range(counts["before the burn"], counts["ttyUSB0"] + 1):
        yield Crash("packet", number, "after", "ttyUSB0")
        yield Crash("packet", number, "torn", "ttyUSB0")
    for command in OP_CODES:
        for number in range(1, counts[command] + 1):
            for sent in torn_after:
                yield Crash(command, number, "torn", "ttyUSB0", sent)
            for sent in LOST_AFTER:
                yield f"the tail of {command} frame {number} is lost after {sent} bytes"


def play(point: Crash | str, *, made: Made) -> Outcome:
    """Let it happen, run again, check."""
    crash = point if isinstance(point, Crash) else None
    faults = {0: [point]} if isinstance(point, str) else {}
    folder = Path(tempfile.mkdtemp(prefix="point-"))
    try:
        write_job(folder, WORKS[made.chip], records=2)
        stay_powered = crash is None or crash.kind in OP_CODES or crash.number % 2 == 1
        seed = crash.number if crash else 1
        with Bench(folder, [made], seed=seed, stay_powered=stay_powered) as bench:
            checker = Checker(bench, folder / "ledger.sqlite", WORKS[made.chip])
            checker.meet()
            ports = bench.set_up([0], faults, seed=1)
            first = run_forked(command(folder, ports), folder=folder, crash=crash, hasty=bool(faults))
            fired = bench.settle()
            checker.note(fired)
            touched = bench.memory(0).cells != checker.factory[0]
            violations = list(checker.violations())
            if stay_powered:
                ports = bench.set_up([0], {}, seed=1, stay_powered=True)
                last = run_forked(
                    [*command(folder, ports), "--before", "no-reset"], folder=folder, hasty=True
                )
                bench.settle()
                violations += checker.violations()
            if not stay_powered or last.exit:  # a ROM that ran a torn frame may be dead until it is reset
                ports = bench.set_up([0], {}, seed=1)
                last = run_forked(command(folder, ports), folder=folder)
                bench.settle()
                violations += checker.violations()
            (unit,) = units_of(checker.ledger).values()
            whole = same(bench.memory(0), checker.whole[0].cells(1))
            if last.exit or (unit.index, unit.state) != (1, "pass") or not whole:
                violations.append(f"not whole after {point}: {unit}, exit {last.exit}: {last.stdout[-900:]}")
            struck = bool(fired.get(0)) if faults else first.exit == KILLED
            return Outcome(str(point), struck, touched, [f"{point}: {line}" for line in violations])
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main() -> int:
    """0 when every point held."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak.points", description=__doc__)
    parser.add_argument("chip", choices=BOARDS)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--every-byte", action="store_true", help="tear each command at each of its bytes")
    parser.add_argument("--one-of", type=int, default=1, metavar="N", help="each Nth point alone")
    parser.add_argument(
        "--from", type=int, default=0, metavar="K", dest="begin", help="and the first of them"
    )
    given = parser.parse_args()
    warm_up()
    made = BOARDS[given.chip]
    every = list(points(made, EVERY_BYTE if given.every_byte else SOME_BYTES))[given.begin :: given.one_of]
    with ProcessPoolExecutor(given.jobs, mp_context=get_context("fork")) as pool:
        outcomes = list(pool.map(partial(play, made=made), every, chunksize=4))
    bad = [line for one in outcomes for line in one.violations]
    sys.stdout.write("".join(line + "\n" for line in bad))
    summary = {
        "chip": given.chip,
        "points": len(outcomes),
        "struck": sum(one.struck for one in outcomes),
        "with bits in the chip": sum(one.touched for one in outcomes),
        "violations": len(bad),
    }
    sys.stdout.write(json.dumps(summary) + "\n")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
