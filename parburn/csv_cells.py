"""Cells of CSV that no spreadsheet takes for a formula, there and back. It knows nothing of what they say."""

from __future__ import annotations

import re
from typing import Final

FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")  # what begins a formula
# The same behind a semicolon: where a spreadsheet separates by it, a cell begins there, quotes or not; and a
# row behind the end of a line.
_INNER: Final = re.compile(r"([;\n])(?=[ ']*[=+\-@\t\r])")
_INNER_DEFUSED: Final = re.compile(r"([;\n])'(?=[ ']*[=+\-@\t\r])")


def defused(cell: str) -> str:
    """Return a cell that no spreadsheet computes: with an apostrophe before what begins as a formula.

    Also behind each semicolon and end of a line, and behind blanks there.
    """
    cell = _INNER.sub(r"\1'", cell)
    return f"'{cell}" if cell.lstrip("'").startswith(FORMULA) else cell


def restored(cell: str) -> str:
    """Return what `defused` was given."""
    cell = _INNER_DEFUSED.sub(r"\1", cell)
    return cell[1:] if cell.startswith("'") and cell.lstrip("'").startswith(FORMULA) else cell
