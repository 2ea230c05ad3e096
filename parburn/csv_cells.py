"""Cells of CSV that no spreadsheet takes for a formula, there and back. It knows nothing of what they say."""

from __future__ import annotations

FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what begins a formula


def defused(cell: str) -> str:
    """Return a cell that no spreadsheet computes: with an apostrophe before what begins as a formula."""
    return f"'{cell}" if cell.lstrip("'").startswith(FORMULA) else cell


def restored(cell: str) -> str:
    """Return what `defused` was given."""
    return cell[1:] if cell.startswith("'") and cell.lstrip("'").startswith(FORMULA) else cell
