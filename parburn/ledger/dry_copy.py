"""A copy of a ledger for a dry run: it knows what the ledger knows, and what is written into it is lost.

The ledger itself is only read: no run, claim or batch of a dry run is ever in it. Whether other runs are
alive is still asked of its own lock file.
"""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

from parburn.errors import LedgerUnusable, ParburnError
from parburn.ledger import schema
from parburn.ledger.file_location import no_ledger_yet, refuse_leftovers, refuse_no_file
from parburn.ledger.witness import missing_ledger, read_witness, write_witness


def copy_ledger(ledger: Path, to: Path) -> None:
    """Copy a ledger and its witness as they are at one moment. Burns of other runs may go on meanwhile.

    Raises:
        LedgerUnusable: missing, older than its witness, foreign, damaged, too new, or it cannot be copied.
    """
    refuse_no_file(ledger)
    witness = read_witness(ledger)  # before the ledger: it may lag behind, never lead
    if not ledger.exists():
        if witness is not None:
            raise missing_ledger(ledger, witness)
        refuse_leftovers(ledger)
        raise no_ledger_yet(ledger)
    try:
        with contextlib.closing(schema.connect_to_read(ledger)) as source:
            schema.check_version(source, ledger)
            (uuid,) = source.execute("SELECT value FROM meta WHERE name = 'uuid'").fetchone()
            schema.compare_with_witness(source, ledger, witness, uuid)
            with contextlib.closing(sqlite3.connect(to)) as copy:
                source.backup(copy)
        if witness is not None:
            write_witness(to, witness)  # the one that was read: another run may have moved its own on by now
    except ParburnError:
        raise
    except Exception as error:
        raise _told(error, ledger) from error


def _told(error: Exception, ledger: Path) -> LedgerUnusable:
    if isinstance(error, OSError) or "full" in str(error):
        return LedgerUnusable(
            f"The ledger {ledger} cannot be copied for the dry run: {error}.",
            hint="Make room in the temporary folder (TMPDIR). Nothing was burned.",
        )
    return schema.translate(error, ledger)
