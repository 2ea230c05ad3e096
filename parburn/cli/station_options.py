"""The words and options of `parburn station`. Imports nothing heavy, checks no file."""

from __future__ import annotations

import argparse
from pathlib import Path

STATION_HELP = "burn boards that come and go all day, as a job says that was armed"
WORDS = ("unlock", "resume")


def fill_station(parser: argparse.ArgumentParser) -> None:
    """Give the parser of `station` its words and options."""
    parser.description = (
        "Burn boards that are put in and taken out all day: a verdict for each. An engineer writes the job "
        "and arms it (`parburn arm`). Ctrl-C lets burns end; twice stops between two blocks."
    )
    parser.usage = (
        "parburn station JOB.toml [--operator NAME] [--plain | --json]\n"
        "       parburn station [JOB.toml] --sim CHIP:N\n"
        "       parburn station unlock SLOT [--job JOB.toml]\n"
        "       parburn station resume [SLOT] --why TEXT [--job JOB.toml]"
    )
    add = parser.add_argument
    add("words", nargs="*", metavar="JOB.toml", help="the job; or: unlock SLOT, resume [SLOT]")
    add(
        "--sim",
        default=None,
        metavar="CHIP:N",
        help="simulated boards that come and go; they bring a job",
    )
    add("--operator", default="", metavar="NAME", help="who works here, for the record")
    add("--station", default="", metavar="NAME", help="where, for the record (default: this machine's name)")
    add("--group", default="", metavar="GROUP", help="who may unlock and resume (default: this user's own)")
    add("--plain", action="store_true", help="a line for each change, also on a terminal")
    add("--json", action="store_true", help="JSON lines on stdout")
    add("--job", type=Path, default=None, metavar="JOB.toml", help="of which station, for unlock and resume")
    add("--why", default="", metavar="TEXT", help="the reason, kept in the record; resume needs it")
    add("--debug", action="store_true", help="tracebacks")
