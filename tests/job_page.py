"""Writes the table of a job file's keys into docs/station.md: `python -m tests.job_page`.

Values come from `station/job_values.py`, defaults from the value that a job file becomes; only the meanings
are written here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from parburn.job import Job
from parburn.station.job_file import RETRIES, Bounds, StopRules, known_keys
from parburn.station.job_values import SECTIONS, TOP, Kind
from tests.rig import ROOT

PAGE: Final = ROOT / "docs" / "station.md"
COMMAND: Final = "python -m tests.job_page"
HEAD: Final = "| key | default | value | meaning |\n|---|---|---|---|\n"
NEEDED: Final = "(needed)"
_JOB: Final = Job(())
MEANINGS: Final[Mapping[str, str]] = {
    "schema": "of this file: 1",
    "name": "of the job; it is the batch, too",
    "scripts": "what runs for each board, in this order",
    "configfiles": "records and shared data, `args.configfiles` of the scripts",
    "chips": "the kinds of chips; any other is WRONG BOARD",
    "index": "first and last index; without it from 1 to the last record",
    "records": "how records lie in a file that names no index, as `--records`",
    "tables": "custom eFuse tables, as `--extend-efuse-table`",
    "slots": "the sockets; a station needs it",
    "before": "how the loader is reached, as `--before`",
    "after": "what is done with a board that passed, as `--after`",
    "baud": "as `--baud`",
    "max_burning": "so many boards burn at one time, at most (weak supply)",
    "script_timeout": "seconds that a board's scripts may take",
    "retries": "tries to connect, each with the next way to reset; a burn is never tried again blindly",
    "first_article": "so many boards pass alone after each arming",
    "target": "boards wanted, for the head of the screen; the station goes on behind it",
    "rework": "boards that passed under another arming go through this one",
    "same": "fields that may be equal on boards, as `--same`",
    "unique": "fields that are each board's own, as `--unique`",
    "bells": "words that ring the terminal's bell",
    "bounds.debounce_ms": "a board must be there so long before its port is opened",
    "bounds.look_ms": "between two looks at a bridge",
    "bounds.open_ms": "a port that is not open by then is given up: its lines might move later",
    "bounds.replug_s": "a board that we reset may be away so long",
    "stop.consecutive_failures": "failures of a socket's own kind, in a row, that lock it; 0: never",
    "stop.yield_below": "per cent of the last 200 boards, under which there is an amber mark; 0: none",
    "stop.insertions": "of a socket, from which on there is an amber mark; 0: none",
    "stop.same_script_error_on": "boards with one error of a script that halt the station",
    "ledger.path": "the ledger; without it the user's own",
    "words.pass": "the word on the screen, in the operator's language",
    "words.retry": "as above",
    "words.wrong_board": "as above",
    "words.red_bin": "as above",
    "words.leave_in": "as above",
    "words.socket_off": "as above",
    "words.put_it_back": "the sentence for a board that left too early",
}
_REQUIRED: Final = ("schema", "name", "scripts", "chips")


def kind_of(key: str) -> Kind:
    """What a key may hold."""
    section, dot, name = key.rpartition(".")
    return SECTIONS[section][name] if dot else TOP[name]


def default_of(key: str) -> str:
    """What holds where a file does not have the key."""
    bounds, stop = Bounds(), StopRules()
    known: dict[str, object] = {
        "before": _JOB.before,
        "after": _JOB.after,
        "baud": _JOB.baud,
        "script_timeout": f"{_JOB.script_timeout_s:g}",
        "retries": RETRIES,
        "first_article": 1,
        "rework": "false",
        "bounds.replug_s": f"{bounds.replug_s:g}",
    }
    known |= {
        f"bounds.{name}s": round(1000 * getattr(bounds, f"{name[:-1]}s"))
        for name in ("debounce_m", "look_m", "open_m")
    }
    known |= {f"stop.{name}": f"{value:g}" for name, value in stop._asdict().items()}
    return NEEDED if key in _REQUIRED else str(known.get(key, ""))


def rows() -> str:
    """The table, under its head."""
    lines = []
    for key in known_keys():
        section, _, name = key.rpartition(".")
        shown = f"`[{section}] {name}`" if section else f"`{name}`"
        told = kind_of(key).told.replace("|", "\\|")
        lines.append(f"| {shown} | {default_of(key)} | {told} | {MEANINGS[key]} |\n")
    return HEAD + "".join(lines)


def page(text: str) -> str:
    """The page with the table as it is now."""
    return re.sub(
        r"(<!-- job keys -->\n\n).*?\n\n", lambda found: found[1] + rows() + "\n", text, flags=re.DOTALL
    )


if __name__ == "__main__":
    Path(PAGE).write_text(page(PAGE.read_text()))
