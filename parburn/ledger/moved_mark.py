"""The mark of a ledger's file that is being moved, or was moved, to a pool: no run uses it any more.

It is a row of the table `meta`; the witness beside the file says the same in place of the ledger's name, so
that a copy from before, put back in its place, is refused as well.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final, NamedTuple

from parburn.errors import LedgerUnusable
from parburn.ledger.sql import Sql

_NAME: Final = "moved"


class MovedMark(NamedTuple):
    """Where to, when (UTC, ISO 8601), and whether all of it is there."""

    to: str
    at: str
    done: bool

    @property
    def witness_name(self) -> str:
        """What the witness says in place of the ledger's name."""
        return f"{'moved' if self.done else 'moving'} to {self.to}"


def write_moved(connection: Sql, mark: MovedMark) -> None:
    """Mark a file."""
    connection.execute(
        "INSERT INTO meta VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        (_NAME, json.dumps(mark._asdict())),
    )


def remove_moved(connection: Sql) -> None:
    """Take the mark away."""
    connection.execute("DELETE FROM meta WHERE name = ?", (_NAME,))


def read_moved(connection: Sql) -> MovedMark | None:
    """Return the mark, or None.

    Raises:
        ValueError, KeyError, TypeError: there is a mark that nobody wrote.
    """
    row = connection.execute("SELECT value FROM meta WHERE name = ?", (_NAME,)).fetchone()
    if row is None:
        return None
    told = json.loads(row[0])
    return MovedMark(str(told["to"]), str(told["at"]), bool(told["done"]))


def refuse_moved(connection: Sql, path: Path) -> None:
    """Raise LedgerUnusable for a file whose ledger is somewhere else now, or on its way."""
    mark = read_moved(connection)
    if mark is None:
        return
    since = mark.at[:16].replace("T", " ")
    if mark.done:
        raise LedgerUnusable(
            f"The ledger {path} was moved to {mark.to} on {since} (UTC).",
            hint=f"Use the pool: --ledger {mark.to}. This file is kept as it was; nothing is burned with it.",
        )
    raise LedgerUnusable(
        f"The ledger {path} is being moved to {mark.to} since {since} (UTC), and is not there yet.",
        hint=f"Go on: parburn ledger move --ledger {path} --to {mark.to} --why REASON. Or take it back: the "
        "same with --abort.",
    )
