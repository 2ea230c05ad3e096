"""`parburn ledger show`: units as lines of text that fit a terminal, and totals. Changes nothing.

A unit takes a line, and more below it where there is something to tell: its values, and why it is in its
state. They come as they are read, so that a million units take no more memory than one.
"""

from __future__ import annotations

import sqlite3
import textwrap
from collections.abc import Generator, Iterator
from contextlib import closing
from itertools import islice
from typing import Any

from parburn.ledger.reading import reading
from parburn.ledger.sql import Sql
from parburn.ledger.station_entries import find_halts
from parburn.ledger.unit_filter import UnitFilter
from parburn.ledger.units import FAILURES_THAT_SET_ASIDE
from parburn.ledger_place import Place

SHOWN = 50  # units, where no filter says which
LISTED = 20  # batches, and indexes that are set aside
COLUMNS = 80  # of a terminal; a wider one folds later
HEADER = ("INDEX", "CHIP", "MAC", "STATE", "CHANGED (UTC)")
_WIDTHS = (7, 9, 17, 14, 16)
_INDENT = _WIDTHS[0] + 2
_EVERY_UNIT = UnitFilter()

_NAMED = "SELECT name, value FROM unique_values WHERE unit = units.id AND bound = 1 ORDER BY name, value"
_UNKNOWN = "EXISTS (SELECT 1 FROM unknown_values WHERE unit = units.id)"
_ROW = (
    "SELECT batches.name, idx, chip, mac, state, changed, (SELECT {joined}(name || '=' || value, ' ')"
    f" FROM ({_NAMED}) AS named), {_UNKNOWN}, scrapped, reason FROM units JOIN batches ON batches.id = batch"
)
_LAST = (
    " WHERE units.id IN (SELECT id FROM units ORDER BY changed DESC, id DESC LIMIT ?)"
    " ORDER BY changed, units.id"
)


def show(path: Place | None, which: UnitFilter = _EVERY_UNIT, *, width: int = COLUMNS) -> str:
    """Return the units as one text; see `show_text`."""
    return "".join(show_text(path, which, width=width))


def show_text(
    path: Place | None, which: UnitFilter = _EVERY_UNIT, *, width: int = COLUMNS
) -> Generator[str, None, None]:
    """Yield lines of text: the units, the indexes that are set aside, and totals.

    Args:
        path: The ledger's file; None for the user's own.
        which: The units that are meant. Where it asks for nothing, those that were changed last.
        width: The columns of the terminal.

    Raises:
        LedgerUnusable: there is no ledger, or it cannot be read.
    """
    with reading(path) as (connection, place):
        (units,) = connection.execute("SELECT count(*) FROM units").fetchone()
        if not units:
            yield f"The ledger {place} has no units yet.\n"
            return
        shown, batch = 0, None
        for row in _rows(connection, which):
            if not shown:
                yield _line(HEADER)
            if row[0] != batch:
                batch = row[0]
                yield folded(f"batch {batch}", width)
            shown += 1
            yield _unit_lines(row, width)
        yield from (folded(line, width) for line in _totals(connection, which, shown, units))
        yield f"Ledger: {place}\n"


def _rows(connection: Sql, which: UnitFilter) -> Iterator[tuple[Any, ...]]:
    row = _ROW.format(joined="group_concat" if isinstance(connection, sqlite3.Connection) else "string_agg")
    if not which:
        yield from connection.execute(row + _LAST, (SHOWN,)).fetchall()
        return
    condition, values = which.conditions(connection)
    batches = connection.execute(
        "SELECT id FROM batches WHERE name = ?1 OR CAST(?1 AS TEXT) IS NULL ORDER BY name", (which.batch,)
    ).fetchall()
    for (batch,) in batches:
        for order in ("idx IS NOT NULL ORDER BY idx", "idx IS NULL ORDER BY mac, units.id"):
            statement = f"{row} WHERE batch = ? AND {condition} AND {order}"
            with closing(connection.execute(statement, (batch, *values))) as rows:
                yield from rows


def _line(cells: tuple[str, ...]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, _WIDTHS, strict=True)).rstrip() + "\n"


def _unit_lines(row: tuple[Any, ...], width: int) -> str:
    """Return a unit's line, and below it its values and the reason of its state."""
    _batch, index, chip, mac, state, changed, values, unknown, scrapped, reason = row
    cells = ("-" if index is None else str(index), chip or "-", mac or "-", state, _minute(changed))
    more = [values or ""]
    if unknown:
        more.append("(values unknown)")
    more.append(f"scrapped: {scrapped}" if scrapped else reason)
    below = "".join(folded(text, width, indent=_INDENT, deeper=0) for text in more if text)
    return _line(tuple(map(_printable, cells))) + below


def folded(text: str, width: int, *, indent: int = 0, deeper: int = 2) -> str:
    """Return text as lines of at most `width` columns, folded between words, that move no cursor.

    Args:
        text: It may hold anything.
        width: The columns of the terminal.
        indent: How far its first line is indented.
        deeper: How much farther the others are.
    """
    lines = textwrap.wrap(
        _printable(text),
        width,
        initial_indent=" " * indent,
        subsequent_indent=" " * (indent + deeper),
        break_on_hyphens=False,
    )
    return "".join(f"{line}\n" for line in lines)


def _minute(moment: str) -> str:
    return moment[:16].replace("T", " ")


def _printable(text: str) -> str:
    """Return text that moves no terminal's cursor."""
    return text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)


# Totals -----------------------------------------------------------------------------------------------


def _totals(connection: Sql, which: UnitFilter, shown: int, units: int) -> Iterator[str]:
    """Yield what is said of all units: how many there are in which state, what is set aside, halts."""
    yield from _set_aside(connection)
    for halt in find_halts(connection):
        yield f"The station of the batch {halt.batch} is halted since {_minute(halt.at)}: {halt.why}"
    if which:
        yield f"{shown} of {units} units are meant."
        return
    if shown < units:
        yield (
            f"These {shown} were changed last. Others are shown by --mac, --index, --value, --state, "
            "--batch and --since."
        )
    by_batch: dict[str, list[str]] = {}
    held = scrapped = 0
    for batch, state, count, with_index, out in connection.execute(
        "SELECT name, state, count(*), count(idx), count(nullif(scrapped, '')) FROM units"
        " JOIN batches ON batches.id = batch GROUP BY name, state ORDER BY name, count(*) DESC, state"
    ):
        by_batch.setdefault(batch, []).append(f"{count} {state}")
        held, scrapped = held + with_index, scrapped + out
    for batch, states in islice(by_batch.items(), LISTED):
        yield f"batch {batch}: {', '.join(states)}"
    if len(by_batch) > LISTED:
        yield f"And {len(by_batch) - LISTED} more batches."
    out_text = f", {scrapped} scrapped" if scrapped else ""
    yield f"{units} units, {held} with an index{out_text}."


def _set_aside(connection: Sql) -> Iterator[str]:
    """Yield a line for each free index whose record failed on several chips, or has another chip's value."""
    lines = _lines_set_aside(connection)
    yield from islice(lines, LISTED)
    more = sum(1 for _ in lines)
    if more:
        yield f"And {more} more indexes are set aside."


def _lines_set_aside(connection: Sql) -> Iterator[str]:
    for batch, index, chips in connection.execute(
        "SELECT name, idx, count(*) FROM clean_failures JOIN batches ON batches.id = batch"
        " WHERE NOT EXISTS (SELECT 1 FROM units WHERE units.batch = batches.id AND idx = clean_failures.idx)"
        " GROUP BY name, idx, job HAVING count(*) >= ? ORDER BY name, idx",
        (FAILURES_THAT_SET_ASIDE,),
    ):
        yield f"Set aside: index {index} of {batch}, whose record failed on {chips} chips."
    for batch, index, why in connection.execute(
        "SELECT name, idx, why FROM taken_values JOIN batches ON batches.id = batch WHERE NOT EXISTS"
        " (SELECT 1 FROM units WHERE units.batch = batches.id AND idx = taken_values.idx) ORDER BY name, idx"
    ):
        yield f"Set aside: index {index} of {batch}: {why}."
