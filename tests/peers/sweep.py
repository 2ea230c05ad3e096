"""Random sequences against both peers, to find faults: `python -m tests.peers.sweep --help`."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from parburn.chips.registry import chip_named, chip_names
from tests.peers.board import run_in_memory
from tests.peers.case import Case, factory_bits
from tests.peers.client import Outcome, Peer
from tests.peers.compare import Mismatch, compare
from tests.peers.compare import step_text as step_text
from tests.peers.differences import difference_of
from tests.peers.generate import Source, random_case


def source_of(chip: str, peer: Peer) -> Source:
    """What sequences for a chip are drawn from."""
    with tempfile.TemporaryDirectory() as folder:
        start = peer.run(chip, factory_bits(chip), (), folder=Path(folder)).start
    assert start.summary is not None
    return Source(chip_named(chip), start.summary)


def run_case(case: Case, peers: tuple[Peer, ...], *, with_summary: bool = True) -> Iterator[Mismatch]:
    """Run a case on both sides and yield what differs. Each side has its own folder with the case's files."""
    with tempfile.TemporaryDirectory() as our_folder:
        case.write_files(Path(our_folder))
        ours: Outcome = run_in_memory(
            case.chip, case.start_bits(), case.steps,
            folder=Path(our_folder), table=case.table, with_summary=with_summary,
        )  # fmt: skip
    for peer in peers:
        with tempfile.TemporaryDirectory() as folder:
            case.write_files(Path(folder))
            theirs = peer.run(case.chip, case.start_bits(), case.steps, folder=Path(folder), table=case.table)
        yield from compare(case.name, case.chip, peer.version, case.steps, ours, theirs)


def say(line: str) -> None:
    """A line on stdout, at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> int:
    """Run sequences; say each mismatch that no entry of the table of differences explains."""
    parser = argparse.ArgumentParser(prog="python -m tests.peers.sweep", description=__doc__)
    parser.add_argument("--chip", default="esp32c3", choices=chip_names())
    parser.add_argument("--sequences", type=int, default=50, metavar="N")
    parser.add_argument("--seed", default="1", help="the run's seed; sequence n is `SEED/n`")
    parser.add_argument("--only", type=int, metavar="N", help="only sequence N, with all its lines")
    parser.add_argument("--peers", type=int, nargs="+", default=[4, 5], choices=(4, 5))
    options = parser.parse_args()
    numbers = range(options.sequences) if options.only is None else [options.only]
    peers = tuple(Peer(version) for version in options.peers)
    unexplained = explained = bad_sequences = 0
    try:
        source = source_of(options.chip, peers[-1])
        for number in numbers:
            case = random_case(source, f"{options.seed}/{number}")
            found = list(run_case(case, peers))
            unknown = [one for one in found if difference_of(one) is None]
            explained += len(found) - len(unknown)
            unexplained += len(unknown)
            if unknown or options.only is not None:
                bad_sequences += bool(unknown)
                say(f"--- {case.chip} {case.name} coding {case.coding}")
                for step, one in enumerate(case.steps):
                    say(f"    {step}: {step_text(one)}")
                for mismatch in unknown:
                    say(f"    * {mismatch}")
    finally:
        for peer in peers:
            peer.close()
    say(
        f"{options.chip}: {len(numbers)} sequences, {bad_sequences} with unexplained differences "
        f"({unexplained}), {explained} explained by the table"
    )
    return 1 if unexplained else 0


if __name__ == "__main__":
    raise SystemExit(main())
