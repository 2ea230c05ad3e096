"""Random sequences against both peers, to find faults: `python -m tests.peers.sweep --help`.

The nightly form is `python -m tests.peers.sweep --chip all --sequences 300 --seed SEED --link`. Every kind of
chip is held against the peers that know it; the last line is one JSON object of counts, and the exit code is
1 when anything differs that no entry of the table of differences explains.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.peers.board import run_in_memory
from tests.peers.case import Case, factory_bits
from tests.peers.client import Outcome, Peer
from tests.peers.compare import Mismatch, compare
from tests.peers.compare import step_text as step_text
from tests.peers.differences import difference_of
from tests.peers.generate import Source, random_case
from tests.peers.kinds import KINDS, Kind
from tests.peers.linked import run_through_pty

Runner = Callable[..., Outcome]
ALL = "all"


def source_of(kind: Kind, peer: Peer) -> Source:
    """What sequences for a kind of chip are drawn from."""
    start_bits = factory_bits(kind.chip_name, revision=kind.revision)
    with tempfile.TemporaryDirectory() as folder:
        start = peer.run(kind.chip_name, start_bits, (), folder=Path(folder)).start
    assert start.summary is not None
    return Source(kind, start.summary)


def run_case(
    case: Case,
    peers: Sequence[Peer],
    *,
    with_summary: bool = True,
    every_summary: bool = False,
    run: Runner = run_in_memory,
) -> Iterator[Mismatch]:
    """Run a case on both sides and yield what differs. Each side has its own folder with the case's files.

    The JSON summary is compared at the end, or with `every_summary` (through a pty only) after each step.

    `run` runs our side: `run_in_memory`, or `run_through_pty`.
    """
    with tempfile.TemporaryDirectory() as our_folder:
        case.write_files(Path(our_folder))
        ours: Outcome = run(
            case.chip, case.start_bits(), case.steps,
            folder=Path(our_folder), table=case.table, with_summary=with_summary,
            **({"every_summary": True} if every_summary else {}),
        )  # fmt: skip
    for peer in peers:
        with tempfile.TemporaryDirectory() as folder:
            case.write_files(Path(folder))
            theirs = peer.run(
                case.chip, case.start_bits(), case.steps,
                folder=Path(folder), table=case.table, every_summary=every_summary,
            )  # fmt: skip
        yield from compare(case.name, case.chip, peer.version, case.steps, ours, theirs)


def say(line: str) -> None:
    """A line on stdout, at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


@dataclass
class Tally:
    """What a kind's sequences came to, by peer."""

    sequences: int = 0
    different: int = 0  # sequences with something that no entry explains
    unexplained: Counter[int] = field(default_factory=Counter)
    explained: Counter[int] = field(default_factory=Counter)
    entries: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """As the last line has it."""
        return {
            "sequences": self.sequences,
            "different": self.different,
            "unexplained": dict(self.unexplained),
            "explained": dict(self.explained),
            "seconds": round(self.seconds, 1),
        }


def sweep(kind: Kind, peers: Sequence[Peer], numbers: Sequence[int], seed: str, run: Runner) -> Tally:
    """Run sequences of one kind; say each mismatch that no entry of the table of differences explains."""
    tally = Tally(unexplained=Counter({one.version: 0 for one in peers}))
    tally.explained.update({one.version: 0 for one in peers})
    began = time.monotonic()
    source = source_of(kind, peers[-1])
    for number in numbers:
        case = random_case(source, f"{seed}/{number}")
        unknown = []
        for one in run_case(case, peers, run=run, every_summary=run is run_through_pty):
            entry = difference_of(one, on_board=run is run_through_pty)
            if entry is None:
                unknown.append(one)
                tally.unexplained[one.peer] += 1
            else:
                tally.explained[one.peer] += 1
                tally.entries[entry.name] += 1
        tally.sequences += 1
        tally.different += bool(unknown)
        if unknown or len(numbers) == 1:
            say(f"--- {kind.name} {case.name} coding {case.coding}")
            for step, asked in enumerate(case.steps):
                say(f"    {step}: {step_text(asked)}")
            for mismatch in unknown:
                say(f"    * {mismatch}")
    tally.seconds = time.monotonic() - began
    return tally


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.peers.sweep",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--chip", nargs="+", default=["esp32c3"], choices=(ALL, *KINDS), metavar="CHIP")
    parser.add_argument("--sequences", type=int, default=50, metavar="N")
    parser.add_argument("--seed", default="1", help="the run's seed; sequence n is `SEED/n`")
    parser.add_argument("--only", type=int, metavar="N", help="only sequence N, with all its lines")
    parser.add_argument(
        "--peers", type=int, nargs="+", choices=(4, 5), help="default: those that know the chip"
    )
    parser.add_argument(
        "--link",
        action="store_true",
        help="burn through the driver, over a pty, on a simulated board; without it on an image in memory",
    )
    return parser.parse_args()


def main() -> int:
    """Sweep the kinds that were asked for."""
    options = _parse()
    numbers = range(options.sequences) if options.only is None else [options.only]
    kinds = list(KINDS.values()) if ALL in options.chip else [KINDS[name] for name in options.chip]
    run = run_through_pty if options.link else run_in_memory
    tallies: dict[str, Tally] = {}
    running: dict[int, Peer] = {}
    with contextlib.ExitStack() as stack:
        for kind in kinds:
            for version in options.peers or kind.peers:
                if version not in running:
                    running[version] = stack.enter_context(Peer(version))
            peers = [running[version] for version in options.peers or kind.peers]
            tally = tallies[kind.name] = sweep(kind, peers, numbers, options.seed, run)
            counted = ", ".join(
                f"against {one}.x {tally.unexplained[one]} unexplained and {tally.explained[one]} explained"
                for one in sorted(tally.unexplained)
            )
            say(f"{kind.name}: {tally.sequences} sequences, {tally.different} different; {counted}")
    entries = sum((one.entries for one in tallies.values()), Counter())
    different = sum(one.different for one in tallies.values())
    summary = {
        "seed": options.seed,
        "through": "pty" if options.link else "memory",
        "sequences": sum(one.sequences for one in tallies.values()),
        "different": different,
        "chips": {name: one.to_json() for name, one in tallies.items()},
        "entries": dict(sorted(entries.items())),
    }
    say(json.dumps(summary))
    return 1 if different else 0


if __name__ == "__main__":
    raise SystemExit(main())
