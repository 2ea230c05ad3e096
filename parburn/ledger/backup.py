"""`parburn ledger backup`: a copy of a ledger as it is at one moment, while runs and stations go on writing.

The copy appears whole or not at all, and is marked as a backup (`backup_mark`). The ledger is only read.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path

from parburn.errors import LedgerUnusable, ParburnError, UsageError
from parburn.ledger import schema
from parburn.ledger.backup_mark import BackupMark, read_mark, write_mark
from parburn.ledger.file_location import companions, place_of, sweep, sync_folder, witness_path
from parburn.ledger.reading import DAMAGE
from parburn.ledger.witness import Witness, read_witness
from parburn.ledger_place import Place

PAGES_AT_A_TIME = 2048  # between two of them Ctrl-C is heard
_NO_SUCH_SYNC = frozenset({errno.EINVAL, errno.ENOTSUP, errno.EBADF})  # file systems that sync no folder


def backup(path: Place | None, file: Path, *, overwrite: bool = False) -> str:
    """Copy the ledger at `path` (None: the user's own) to `file`; return what was done, for the operator.

    Args:
        path: The ledger's file.
        file: Where the backup will be.
        overwrite: Replace an older backup that is there.

    Raises:
        UsageError: there is a file already, or `file` cannot be a backup's place.
        LedgerUnusable: there is no ledger, its witness does not know it, or the copy cannot be written.
    """
    place = place_of(path)
    target = _target(place, file)
    _refuse_taken(target, overwrite=overwrite)
    sweep(target)
    witness = read_witness(place)  # before the ledger: it may lag behind, never lead
    if not place.exists():
        raise LedgerUnusable(f"There is no ledger at {place}.", hint="Name its file with --ledger.")
    try:
        with contextlib.closing(schema.connect_to_read(place)) as source:
            mark = _mark_of(source, place, witness)
            with _scratch(target) as scratch:
                _copy(source, scratch, mark)
                _put(scratch, target, overwrite=overwrite)
    except ParburnError:
        raise
    except OSError as error:
        raise _cannot(target, error.strerror or str(error)) from error
    except sqlite3.Error as error:
        if str(error) == "interrupted":
            raise KeyboardInterrupt from error
        if "full" in str(error) or "disk I/O" in str(error):
            raise _cannot(target, str(error)) from error
        raise schema.translate(error, place) from error
    except DAMAGE as error:
        raise schema.translate(error, place) from error
    size = target.stat().st_size
    return (
        f"The ledger {place} was copied to {target}: {size / 1e6:.1f} MB, up to entry {mark.sequence}.\n"
        "No run uses a backup before it is adopted: see parburn ledger adopt.\n"
    )


def _target(place: Path, file: Path) -> Path:
    try:
        target = file.resolve()
        taken = target.is_dir()
    except (OSError, RuntimeError, ValueError) as error:
        raise UsageError(f"The file {file} leads nowhere.", hint="Name a file for the backup.") from error
    if taken:
        raise UsageError(f"{file} is a folder.", hint="Name a file for the backup.")
    beside = companions(place)
    if target == place or target in beside or any(one in target.parents for one in beside):
        raise UsageError(f"{file} belongs to the ledger itself.", hint="Name another file for the backup.")
    return target


def _refuse_taken(target: Path, *, overwrite: bool) -> None:
    """Raise UsageError where a backup would take the place of anything but an older backup."""
    if witness_path(target).exists():
        raise UsageError(
            f"{target} is, or was, the place of a ledger: its witness lies beside it.",
            hint="Name another file for the backup.",
        )
    if not os.path.lexists(target):
        return
    if not overwrite:
        raise UsageError(
            f"There is a file {target} already.", hint="Name another one, or add --overwrite to replace it."
        )
    if not _is_backup(target):
        raise UsageError(
            f"{target} is no backup of a ledger: it is not overwritten.", hint="Name another file."
        )


def _is_backup(target: Path) -> bool:
    with contextlib.suppress(*DAMAGE, OSError, LedgerUnusable):
        if stat.S_ISREG(target.stat().st_mode):
            with contextlib.closing(schema.connect_to_read(target)) as connection:
                schema.check_version(connection, target)
                return read_mark(connection) is not None
    return False


def _mark_of(source: sqlite3.Connection, place: Path, witness: Witness | None) -> BackupMark:
    """Return the mark for a copy of what `source` shows. Refuses what no run would work with."""
    schema.check_version(source, place)
    (uuid,) = source.execute("SELECT value FROM meta WHERE name = 'uuid'").fetchone()
    schema.compare_with_witness(source, place, witness, uuid)
    sequence, head = source.execute("SELECT seq, hash FROM history ORDER BY seq DESC LIMIT 1").fetchone()
    return BackupMark(uuid, sequence, head, schema.now())


@contextlib.contextmanager
def _scratch(target: Path) -> Iterator[Path]:
    """Yield a new, empty file beside the target that only its owner may read. It is gone afterwards."""
    scratch = target.with_name(f"{target.name}.new-{secrets.token_hex(4)}")
    os.close(os.open(scratch, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
    try:
        yield scratch
    finally:
        for left in (scratch, *companions(scratch)):
            with contextlib.suppress(OSError):
                left.unlink(missing_ok=True)


def _copy(source: sqlite3.Connection, scratch: Path, mark: BackupMark) -> None:
    _refuse_little_room(source, scratch)
    with contextlib.closing(sqlite3.connect(scratch, isolation_level=None)) as copy:
        copy.execute("PRAGMA synchronous=OFF")  # all of it is synced at the end
        source.backup(copy, pages=PAGES_AT_A_TIME, progress=lambda _status, _left, _all: None)
        copy.execute("PRAGMA journal_mode=DELETE")  # one file, which may lie on a disk that is only read
        write_mark(copy, mark)
    with contextlib.closing(schema.connect_to_read(scratch)) as copy:
        found = copy.execute("SELECT seq, hash FROM history ORDER BY seq DESC LIMIT 1").fetchone()
    if found != (mark.sequence, mark.head):
        raise LedgerUnusable(
            f"The copy {scratch} does not end as the ledger does.", hint="Is the disk in order? Try again."
        )
    descriptor = os.open(scratch, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _refuse_little_room(source: sqlite3.Connection, scratch: Path) -> None:
    (pages,) = source.execute("PRAGMA page_count").fetchone()
    (page,) = source.execute("PRAGMA page_size").fetchone()
    room = os.statvfs(scratch.parent)
    if room.f_bavail * room.f_frsize < pages * page:
        raise OSError(errno.ENOSPC, f"the disk is full: {pages * page / 1e6:.1f} MB are needed")


def _put(scratch: Path, target: Path, *, overwrite: bool) -> None:
    """Give the copy its name in one step; what has come there meanwhile stays."""
    if overwrite:
        scratch.replace(target)
    else:
        try:
            os.link(scratch, target)  # unlike a rename it never replaces a file
        except FileExistsError:
            raise UsageError(
                f"There is a file {target} now.", hint="Another backup was faster? Look at it, try again."
            ) from None
        except OSError:  # a file system without links, such as that of a stick
            _refuse_taken(target, overwrite=False)
            scratch.replace(target)
    try:
        sync_folder(target.parent)
    except OSError as error:
        if error.errno not in _NO_SUCH_SYNC:
            raise


def _cannot(target: Path, why: str) -> LedgerUnusable:
    return LedgerUnusable(
        f"The backup {target} cannot be written: {why}.",
        hint="The ledger itself is as it was. Choose another disk or folder, or make room.",
    )
