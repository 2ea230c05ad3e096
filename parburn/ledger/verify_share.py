"""Checks a share of a ledger: a part of its chain, and some of its units. Run as a process; changes nothing.

`python -m parburn.ledger.verify_share LEDGER FILE FIRST LAST FIRST_UNIT END_UNIT` says as JSON what it found.
Where it cannot read the ledger it says nothing and fails: who began it then looks for himself, and tells why.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from parburn.ledger import schema
from parburn.ledger.differences import FIRST_UNIT, find_differences
from parburn.ledger.history import LAST, Break, find_breaks
from parburn.ledger.reading import DAMAGE, STEPS_BETWEEN

KEPT = 6  # of the sentences: no more are shown
NO_END = "-"


class Found(NamedTuple):
    """How many places are broken, and sentences for the first of them."""

    count: int  # type: ignore[assignment]  # not tuple.count
    first: list[str]

    @classmethod
    def of(cls, breaks: Iterable[Break]) -> Found:
        """Count them; a million take no more memory than a few."""
        count = 0
        first: list[str] = []
        for found in breaks:
            count += 1
            if len(first) < KEPT:
                first.append(found.what)
        return cls(count, first)


class FoundInShare(NamedTuple):
    """What is broken in the file itself, in the chain, and in the units."""

    file: Found
    entries: Found
    units: Found


class Share(NamedTuple):
    """What is checked: the file itself or not; entries, the last among them; units below `end_unit`.

    None is no end.
    """

    file: bool
    first_entry: int
    last_entry: int
    first_unit: int
    end_unit: int | None

    @classmethod
    def whole(cls) -> Share:
        """Return the share that is all of it."""
        return cls(True, 1, LAST, FIRST_UNIT, None)

    @classmethod
    def of_file(cls) -> Share:
        """Return the share that is the file only."""
        return cls(True, 1, 0, FIRST_UNIT, FIRST_UNIT)

    @classmethod
    def parse(cls, words: Sequence[str]) -> Share:
        """Return the share that `words` returned."""
        file, first, last, unit, end = words
        return cls(bool(int(file)), int(first), int(last), int(unit), None if end == NO_END else int(end))

    def words(self) -> list[str]:
        """Return it for a command line."""
        return [NO_END if number is None else str(int(number)) for number in self]


def check_share(connection: sqlite3.Connection, place: Path, share: Share) -> FoundInShare:
    """Return what is broken in a share."""
    damage = schema.find_damage(connection, place) if share.file else []
    return FoundInShare(
        Found(len(damage), [f"The file is damaged: {text}." for text in damage]),
        Found.of(find_breaks(connection, share.first_entry, share.last_entry)),
        Found.of(find_differences(connection, share.first_unit, share.end_unit)),
    )


def main(words: Sequence[str]) -> int:
    """Check the share that these words tell, and say what was found."""
    place, *numbers = words
    asked_by = os.getppid()  # where that process is gone, nobody waits for us
    try:
        with contextlib.closing(schema.connect_to_read(Path(place))) as connection:
            connection.set_progress_handler(lambda: os.getppid() != asked_by, STEPS_BETWEEN)
            found = check_share(connection, Path(place), Share.parse(numbers))
    except DAMAGE:
        return 1
    sys.stdout.buffer.write(msgspec.json.encode(found))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
