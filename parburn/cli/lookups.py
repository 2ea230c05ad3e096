"""From options to what is looked up in a ledger. Opens no ledger itself."""

from __future__ import annotations

import argparse
import shutil
import sys

from parburn.ledger.show import COLUMNS
from parburn.ledger.unit_filter import UnitFilter


def filter_of(options: argparse.Namespace) -> UnitFilter:
    """Return which units the options of `ledger show` mean."""
    return UnitFilter(
        mac=options.mac,
        indexes=options.indexes,
        value=options.value,
        states=tuple(options.states or ()),
        batch=options.batch,
        since=options.since,
    )


def terminal_width() -> int:
    """Return the columns of the terminal; 80 where there is none, or a narrower one."""
    if not sys.stdout.isatty():
        return COLUMNS
    return max(COLUMNS, shutil.get_terminal_size().columns)
