"""The mark that tells a backup from the ledger itself: no run uses a backup before somebody adopts it.

It is a row of the copy's table `meta`, so that it goes wherever the copy goes. It knows no file.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

from parburn.errors import LedgerUnusable
from parburn.ledger.sql import Sql

_NAME = "backup_of"


class BackupMark(NamedTuple):
    """Which ledger was copied, how far it had come, the hash of its last entry, and when (UTC, ISO 8601)."""

    uuid: str
    sequence: int
    head: str
    at: str


def write_mark(connection: Sql, mark: BackupMark) -> None:
    """Make a copy a backup."""
    connection.execute(
        "INSERT INTO meta VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        (_NAME, json.dumps(mark._asdict())),
    )


def remove_mark(connection: Sql) -> None:
    """Make a backup a ledger; where it is none, nothing is done."""
    connection.execute("DELETE FROM meta WHERE name = ?", (_NAME,))


def read_mark(connection: Sql) -> BackupMark | None:
    """Return the mark of a backup, or None for a ledger.

    Raises:
        ValueError, KeyError, TypeError: there is a mark that nobody wrote.
    """
    row = connection.execute("SELECT value FROM meta WHERE name = ?", (_NAME,)).fetchone()
    if row is None:
        return None
    told = json.loads(row[0])
    return BackupMark(str(told["uuid"]), int(told["sequence"]), str(told["head"]), str(told["at"]))


def refuse_backup(connection: Sql, path: Path) -> None:
    """Raise LedgerUnusable for a backup: it does not know what was burned since it was made."""
    mark = read_mark(connection)
    if mark is not None:
        raise LedgerUnusable(
            f"The ledger {path} is a backup, made {when(mark)} with {mark.sequence} entries: "
            "it does not know what was burned since.",
            hint="Use the ledger itself. Only where that is lost for good: "
            f"parburn ledger adopt --ledger {path} --why REASON",
        )


def when(mark: BackupMark) -> str:
    """Return when a backup was made, for people."""
    return f"{mark.at[:16].replace('T', ' ')} (UTC)"
