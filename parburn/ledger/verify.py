"""`parburn ledger verify`: the chain, the units against it, the witness, and the file. Changes nothing.

A large ledger is checked in shares, each by a process of its own (`verify_share`): parts of the chain and the
units are checked without the others, and no share takes more memory when the ledger grows.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from parburn.errors import LedgerUnusable
from parburn.ledger import schema
from parburn.ledger.backup_mark import BackupMark, read_mark, when
from parburn.ledger.differences import find_strays
from parburn.ledger.file_location import place_of
from parburn.ledger.learning import doubles_lines, unknown_note
from parburn.ledger.moved_mark import read_moved
from parburn.ledger.reading import is_copy, reading_file
from parburn.ledger.verify_share import Found, FoundInShare, Share, check_share
from parburn.ledger.verify_texts import doubles_text, refuse_broken
from parburn.ledger.witness import Witness, read_witness
from parburn.ledger_place import Place, PoolAddress

ENTRIES_OF_ONE = 50_000  # a ledger up to this size is checked by this process alone
MOST_PROCESSES = 4


def verify(path: Place | None, *, processes: int | None = None) -> str:
    """Check the whole chain, the units against it, the witness, and the file; return what was found good.

    Args:
        path: The ledger's file; None for the user's own.
        processes: How many may work at it; None for as many as the machine can use.

    Raises:
        LedgerUnusable: there is no ledger, or something was changed, removed or cut; the message names the
            first places.
    """
    if isinstance(path, PoolAddress):
        from parburn.ledger.pool.verify import verify_pool  # here: psycopg is an extra

        return verify_pool(path)
    witness = _witness_before(path)
    with reading_file(path) as (connection, place):
        (uuid,) = connection.execute("SELECT value FROM meta WHERE name = 'uuid'").fetchone()
        (entries,) = connection.execute("SELECT coalesce(max(seq), 0) FROM history").fetchone()
        with _shares_at_work(connection, place, processes, entries) as work:
            in_shares = work.results(connection, place)
        found = [one.file for one in in_shares]
        found += (one.entries for one in in_shares)
        found += (one.units for one in in_shares)
        found.append(Found.of(find_strays(connection)))
        unknown, doubles = unknown_note(connection), doubles_lines(connection)
        mark, moved = read_mark(connection), read_moved(connection)
        if moved is not None:
            pass  # its witness tells that, too, and no run uses it
        elif mark is None:
            found.append(_against_witness(connection, place, witness, uuid))
        else:
            found.append(_against_mark(connection, place, mark, uuid, entries))
    refuse_broken(place, found)
    if moved is not None:
        return (
            f"The ledger {place} verifies: {entries} entries, and its units agree. "
            f"It is {moved.witness_name}: no run uses it.\n{doubles_text(unknown, doubles)}"
        )
    if mark is not None:
        return (
            f"The backup {place} verifies: {entries} entries, and its units agree. "
            f"It was made {when(mark)} of the ledger {mark.uuid}. "
            f"No run uses it before it is adopted.\n{doubles_text(unknown, doubles)}"
        )
    return (
        f"The ledger {place} verifies: {entries} entries, its units and its witness agree.\n"
        f"{doubles_text(unknown, doubles)}"
    )


def _against_witness(
    connection: sqlite3.Connection, place: Path, witness: Witness | LedgerUnusable | None, uuid: str
) -> Found:
    try:
        if isinstance(witness, LedgerUnusable):
            raise witness
        schema.compare_with_witness(connection, place, witness, uuid)
    except LedgerUnusable as refused:
        return Found(1, [str(refused)])
    return Found(0, [])


def _against_mark(
    connection: sqlite3.Connection, place: Path, mark: BackupMark, uuid: str, entries: int
) -> Found:
    """Compare a backup with its mark: it has no witness, and nothing was written into it since."""
    row = connection.execute("SELECT hash FROM history WHERE seq = ?", (mark.sequence,)).fetchone()
    known = (mark.uuid, mark.sequence, mark.head)
    if (uuid, entries, row[0] if row else "") == known:
        return Found(0, [])
    return Found(1, [f"The backup {place} is not as it was made: {mark.sequence} entries of {mark.uuid}."])


def _witness_before(path: Path | None) -> Witness | LedgerUnusable | None:
    """Read the witness before the ledger: a run at work may replace it, and it must not be ahead of us."""
    try:
        return read_witness(place_of(path))
    except LedgerUnusable as damaged:
        return damaged


# Shares ---------------------------------------------------------------------------------------------


class _Work(NamedTuple):
    """The shares of a ledger, and for each the process that checks it; None: we do it ourselves."""

    shares: list[Share]
    processes: list[subprocess.Popen[bytes] | None]

    def results(self, connection: sqlite3.Connection, place: Path) -> list[FoundInShare]:
        """Return what was found, in the order of the shares."""
        return [
            _answer(process) or check_share(connection, place, share)
            for share, process in zip(self.shares, self.processes, strict=True)
        ]


@contextlib.contextmanager
def _shares_at_work(
    connection: sqlite3.Connection, place: Path, processes: int | None, entries: int
) -> Iterator[_Work]:
    """Begin to check all shares; whatever happens, no process is left behind."""
    count = processes or min(len(os.sched_getaffinity(0)), MOST_PROCESSES)
    if is_copy(connection) or (processes is None and entries <= ENTRIES_OF_ONE):
        count = 1
    shares = [*([Share.of_file()] if count > 1 else []), *_shares_of(connection, count)]
    work = _Work(shares, [])
    try:
        for share in shares:
            work.processes.append(_begun(place, share) if count > 1 else None)
        yield work
    finally:
        for process in filter(None, work.processes):
            with process:
                process.kill()


def _shares_of(connection: sqlite3.Connection, count: int) -> list[Share]:
    """Cut chain and units into so many parts of about one size."""
    (last,) = connection.execute("SELECT coalesce(max(seq), 0) FROM history").fetchone()
    (units,) = connection.execute("SELECT coalesce(max(id), 0) FROM units").fetchone()
    whole = Share.whole()
    cuts = [(last * n // count + 1, units * n // count + 1) for n in range(1, count)]
    begins = [(whole.first_entry, whole.first_unit), *cuts]
    ends = [*((entry - 1, unit) for entry, unit in cuts), (whole.last_entry, whole.end_unit)]
    return [
        Share(count == 1, begin[0], end[0], begin[1], end[1]) for begin, end in zip(begins, ends, strict=True)
    ]


def _begun(place: Path, share: Share) -> subprocess.Popen[bytes] | None:
    words = [sys.executable, "-P", "-m", "parburn.ledger.verify_share", str(place), *share.words()]
    try:
        return subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
    except OSError:  # no memory or no process is left: then it takes longer
        return None


def _answer(process: subprocess.Popen[bytes] | None) -> FoundInShare | None:
    """Return what a process has found; None where it came to no end, for whatever reason."""
    if process is None:
        return None
    said, _ = process.communicate()
    try:
        return msgspec.json.decode(said, type=FoundInShare) if process.returncode == 0 else None
    except msgspec.MsgspecError:
        return None
