"""`parburn ledger show` and `history`: from options to what is looked up in a ledger. They change nothing."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Generator

from parburn.errors import UsageError
from parburn.ledger.reading import reading
from parburn.ledger.show import COLUMNS, folded
from parburn.ledger.unit_filter import UnitFilter
from parburn.ledger.unit_records import entries_of, find_units, unit_record
from parburn.ledger_place import Place
from parburn.recovery.unit_story import story_of


def filter_of(options: argparse.Namespace) -> UnitFilter:
    """Return which units the options of `ledger show` mean."""
    return UnitFilter(
        mac=findable(options.mac),
        indexes=options.indexes,
        value=findable(options.value),
        states=tuple(options.states or ()),
        batch=findable(options.batch),
        since=options.since,
    )


def findable(word: str | None) -> str | None:
    """Return a word that the ledger can be asked for: an odd byte in it is in no ledger."""
    return word if word is None else word.encode("utf-8", "backslashreplace").decode("utf-8")


def terminal_width() -> int:
    """Return the columns of the terminal; 80 where there is none, or a narrower one."""
    if not sys.stdout.isatty():
        return COLUMNS
    return max(COLUMNS, shutil.get_terminal_size().columns)


def story_text(path: Place | None, word: str, *, batch: str | None, width: int) -> Generator[str, None, None]:
    """Yield the lives of the units that a word means, as text.

    Args:
        path: The ledger's file; None for the user's own.
        word: A factory MAC, an index, or a value.
        batch: Only units of this batch; None for all.
        width: The columns of the terminal.

    Raises:
        UsageError: no unit is meant.
        LedgerUnusable: there is no ledger, or it cannot be read.
    """
    word, batch = findable(word) or "", findable(batch)
    with reading(path) as (connection, place):
        units = find_units(connection, word, batch=batch)
        if not units:
            within = f" of the batch {batch}" if batch else ""
            raise UsageError(
                f"The ledger {place} has no unit{within} with the MAC, index or value {word}.",
                hint="See parburn ledger show. A MAC is the factory's, or the custom one.",
            )
        for number, unit in enumerate(units):
            yield "\n" if number else ""
            lines = story_of(unit_record(connection, unit), entries_of(connection, unit))
            yield from (folded(text, width, indent=depth * 2) for depth, text in lines)
