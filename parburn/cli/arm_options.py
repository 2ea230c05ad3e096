"""The options of `parburn arm`, as argparse sees them. Imports nothing heavy, checks no file."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arm(parser: argparse.ArgumentParser) -> None:
    """Add the options of `parburn arm`."""
    parser.description = (
        "Rehearse a station's job, show what it may burn, and arm it: a station burns nothing else. "
        "Opens no port, burns nothing."
    )
    add = parser.add_argument
    add("job", type=Path, metavar="JOB.toml", help="the job file; the arming is written beside it, JOB.armed")
    add("--operator", default=argparse.SUPPRESS, metavar="NAME", help="who arms it, for the record; needed")
    add("--extend", action="store_true", help="take in records that were added at the end of the files")
    add("--ledger", type=Path, default=argparse.SUPPRESS, metavar="PATH",
        help="where the ledger is, if the job file does not say it")  # fmt: skip
    add("--new-ledger", action="store_true", default=argparse.SUPPRESS, help="make the ledger, unasked")
    add("--yes-burn", action="store_true", help="do not ask for the word BURN")
    add("--jobs", type=processes, default=None, metavar="N", help="processes (default: one a processor)")
    add(
        "--allow-side-effects",
        action="store_true",
        help="let the scripts write files, open sockets and start processes, two or three times a record",
    )


def processes(text: str) -> int:
    """Return a number of processes.

    Raises:
        ArgumentTypeError: it is no whole number from 1 up.
    """
    if not (text.isascii() and text.isdigit() and 1 <= len(text) <= 4 and int(text) >= 1):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 up")
    return int(text)
