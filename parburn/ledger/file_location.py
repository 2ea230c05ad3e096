"""Where a ledger file may live: the default place, the kind of file system, room on it, its mode.

Looks and makes folders; never opens a ledger.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import stat
import time
from collections.abc import Iterable
from pathlib import Path

from parburn.errors import LedgerUnusable
from parburn.ledger_place import Place, PoolAddress

FILE_NAME = "ledger.sqlite3"
COMPANIONS = ("-wal", "-shm", "-journal", ".witness", ".runs", ".boards")
SQLITE_MAGIC = b"SQLite format 3\0"
SCRATCH_IS_STALE_S = 3600.0  # nobody needs that long to replace a file
LEAST_ROOM = 16 << 20  # bytes; a run of a thousand boards writes about 3 MB

# File systems whose locks or syncs reach other machines late or never.
_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/")  # of two slashes a path keeps one
NETWORK_TYPES = frozenset(
    (
        *(
            "nfs",
            "nfs4",
            "cifs",
            "smb",
            "smb2",
            "smb3",
            "smbfs",
            "ncpfs",
            "9p",
            "afs",
            "coda",
            "ceph",
            "lustre",
        ),
        *("gfs", "gfs2", "ocfs2", "beegfs", "davfs", "davfs2", "vboxsf", "fuse.sshfs", "fuse.glusterfs"),
        *("fuse.ceph", "fuse.ceph-fuse", "fuse.davfs2", "fuse.rclone", "fuse.s3fs", "fuse.gcsfuse"),
        *("fuse.mergerfs", "fuse.smbnetfs"),
    )
)


def default_path() -> Path:
    """Return this user's ledger, in the state folder of platformdirs, which no clean-up of caches empties."""
    from platformdirs import user_state_path

    return user_state_path("parburn", appauthor=False) / FILE_NAME


def ledger_place(path: Place | None) -> Place:
    """Return where a ledger is: the address of a pool as it is, a file as `place_of` says."""
    return path if isinstance(path, PoolAddress) else place_of(path)


def place_of(path: Place | None) -> Path:
    """Return where the ledger `path` (None: the user's own) really lies. Asks the disk.

    Raises:
        LedgerUnusable: it is no path but an address, or links that lead to themselves.
    """
    if isinstance(path, PoolAddress):
        raise LedgerUnusable(
            f"The ledger {path} is a pool, and this works with a ledger in a file only.",
            hint="Nothing was done. See docs/pool.md for what works with a pool.",
        )
    place = path or default_path()
    refuse_address(place)
    try:
        return place.resolve()
    except (OSError, RuntimeError, ValueError) as error:
        raise LedgerUnusable(
            f"The ledger {place} leads nowhere: a link that leads to itself?",
            hint="Name the ledger's file with --ledger. No port was opened, nothing was burned.",
        ) from error


def refuse_address(path: Path) -> None:
    """Raise LedgerUnusable for `something://...`: a ledger is a file on this machine."""
    found = _ADDRESS.match(str(path))
    if found is None:
        return
    hint = "Name a file on a local disk: --ledger PATH. No port was opened, nothing was burned."
    if found[1].lower() in ("postgresql", "postgres"):
        raise LedgerUnusable("The address of a pool begins with postgresql:// and two strokes.", hint=hint)
    raise LedgerUnusable(
        f"The ledger {found[1]}://... is an address that is not understood: a ledger is a file.", hint=hint
    )


def pool_folder() -> Path:
    """Return the folder in which this station remembers pools."""
    return default_path().parent / "pools"


def beside(ledger: Place, suffix: str) -> Path:
    """Return where something of this station lies that belongs to a ledger: beside its file, or its own."""
    if isinstance(ledger, PoolAddress):
        return pool_folder() / f"{hashlib.sha256(str(ledger).encode()).hexdigest()[:16]}{suffix}"
    return ledger.with_name(ledger.name + suffix)


def boards_of(ledger: Place) -> Path:
    """Return the folder in which simulated boards keep their eFuses that are burned with this ledger."""
    return beside(ledger, ".boards")


def witness_path(ledger: Path) -> Path:
    """Return the path of the witness beside a ledger."""
    return ledger.with_name(ledger.name + ".witness")


def runs_path(ledger: Path) -> Path:
    """Return the path of the file whose byte locks show which runs are alive."""
    return ledger.with_name(ledger.name + ".runs")


def companions(ledger: Path) -> tuple[Path, ...]:
    """Return what lies beside a ledger and belongs to it, a folder of simulated boards among it."""
    return tuple(ledger.with_name(ledger.name + suffix) for suffix in COMPANIONS)


def ledger_of(path: Path, known: Iterable[Path]) -> Path | None:
    """Return the ledger that a file is or belongs to: one of `known`, or any that lies there; None: of none.

    `path` is resolved. Any SQLite file counts as a ledger: a damaged one is still somebody's.
    """
    for ledger in map(_resolved, known):
        beside = companions(ledger)
        if path == ledger or any(path == one or one in path.parents for one in beside):
            return ledger
        if any(_are_one(path, one) for one in (ledger, *beside)):
            return ledger
    for one in (path, *path.parents):
        for suffix in COMPANIONS if one != path else ("", *COMPANIONS):
            if one.name.endswith(suffix) and one.name != suffix:
                ledger = one.with_name(one.name.removesuffix(suffix))
                if _is_database(ledger):
                    return ledger
    return None


def _resolved(path: Path) -> Path:
    try:
        return path.resolve()
    except (OSError, RuntimeError):  # links that lead to themselves: nothing else has this name
        return path.absolute()


def _are_one(path: Path, other: Path) -> bool:
    try:
        return path.samefile(other)
    except OSError:
        return False


def _is_database(path: Path) -> bool:
    try:
        if not path.is_file():  # to open a pipe would wait
            return False
        with path.open("rb") as file:
            return file.read(len(SQLITE_MAGIC)) == SQLITE_MAGIC
    except OSError:
        return False


def file_system_type(path: Path, mounts: str) -> str:
    """Return the type of the file system that holds `path`; empty if unknown.

    Args:
        path: An absolute path.
        mounts: The text of /proc/self/mounts.
    """
    best, kind = -1, ""
    for line in mounts.splitlines():
        columns = line.split(" ")
        if len(columns) < 3:
            continue
        point = Path(columns[1].replace("\\040", " ").replace("\\011", "\t"))
        # The longest mount point wins, and of equal ones the one mounted last.
        if path.is_relative_to(point) and len(point.parts) >= best:
            best, kind = len(point.parts), columns[2]
    return kind


def check_place(path: Path, *, mounts: str | None = None) -> None:
    """Make the ledger's folder if need be, and refuse a place where a ledger is not safe.

    Args:
        path: The ledger's file.
        mounts: The text of /proc/self/mounts; None reads it.

    Raises:
        LedgerUnusable: no such folder and none can be made, not a file, a network file system, no rights,
            or less than LEAST_ROOM bytes free.
    """
    folder = path.parent
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise LedgerUnusable(
            f"The ledger's folder {folder} cannot be made: {error.strerror}.",
            hint="Choose one with --ledger.",
        ) from error
    if mounts is None:
        mounts = _read_mounts()
    kind = file_system_type(folder.resolve(), mounts)
    if kind in NETWORK_TYPES:
        raise LedgerUnusable(
            f"The ledger {path} would be on a network file system ({kind}), where locks cannot be trusted.",
            hint="Keep the ledger on a local disk: --ledger PATH.",
        )
    refuse_no_file(path)
    if not os.access(folder, os.W_OK | os.X_OK) or (path.exists() and not os.access(path, os.W_OK)):
        raise LedgerUnusable(
            f"The ledger {path} cannot be written: no rights, or a read-only disk.",
            hint="Nothing is burned without an entry in the ledger. "
            "Mend the rights, or choose another --ledger.",
        )
    room = os.statvfs(folder)
    if room.f_bavail * room.f_frsize < LEAST_ROOM:
        raise LedgerUnusable(
            f"The disk of the ledger {path} is full: less than {LEAST_ROOM >> 20} MiB are free.",
            hint="Nothing is burned without an entry in the ledger. Make room, then start again.",
        )


def refuse_no_file(path: Path) -> None:
    """Raise LedgerUnusable for a folder, a pipe, a device, and a file that may not be looked at."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        raise LedgerUnusable(
            f"The ledger {path} cannot be reached: {getattr(error, 'strerror', '') or error}.",
            hint="Choose a file with --ledger.",
        ) from error
    if not stat.S_ISREG(mode):
        what = "a folder" if stat.S_ISDIR(mode) else "not a file"
        raise LedgerUnusable(f"The ledger {path} is {what}.", hint="Choose a file with --ledger.")


def _read_mounts() -> str:
    try:
        return Path("/proc/self/mounts").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def leftovers(ledger: Path) -> tuple[Path, ...]:
    """Return what is left of a ledger that is gone: SQLite's files, and the one that its runs lock."""
    sides = (ledger.with_name(ledger.name + suffix) for suffix in ("-wal", "-shm", "-journal"))
    return tuple(side for side in (*sides, runs_path(ledger)) if side.exists())


def sweep(ledger: Path) -> None:
    """Remove scratch files that a process left when it was killed in the middle of replacing one."""
    for pattern in (f"{ledger.name}.witness.*", f"{ledger.name}.new-*"):
        for scratch in ledger.parent.glob(pattern):
            with contextlib.suppress(OSError):
                if time.time() - scratch.stat().st_mtime > SCRATCH_IS_STALE_S:
                    scratch.unlink()


def refuse_leftovers(ledger: Path) -> None:
    """Raise LedgerUnusable where something shows that there was a ledger: no place for a new one."""
    found = leftovers(ledger)
    if found:
        raise LedgerUnusable(
            f"The ledger {ledger} is missing, but {found[0].name} shows that there was one.",
            hint="Put the file back, or if it is lost for good: "
            f"parburn ledger init --ledger {ledger} --why REASON",
        )


def is_missing(path: Place | None) -> bool:
    """Return whether no ledger is or was at `path` (None: the user's own): a run would begin a new one.

    Of a pool that is never so: its owner makes it.
    """
    if isinstance(path, PoolAddress):
        return False
    ledger = place_of(path)
    return not (ledger.exists() or witness_path(ledger).exists() or leftovers(ledger))


def no_ledger_yet(ledger: Place | None) -> LedgerUnusable:
    """Return why a run without a ledger is refused: a silent new one burns another PC's indexes again."""
    place = ledger_place(ledger)
    return LedgerUnusable(
        f"There is no ledger at {place} yet, and none is made unasked: one that does not know what was "
        "burned with another gives the same indexes and values out again. No port was opened, "
        "nothing was burned.",
        hint="If this product was burned before, name its ledger with --ledger, or take it over: parburn "
        "ledger init, then parburn ledger import-used FILE. If it was not, add --new-ledger once.",
    )


def make_private(path: Path) -> bool:
    """Take the rights of others from a ledger file. Return whether there were any."""
    mode = stat.S_IMODE(path.stat().st_mode)
    if not mode & 0o077:
        return False
    path.chmod(mode & 0o700)
    return True


def sync_folder(folder: Path) -> None:
    """Make a rename or a new name in `folder` durable (fsync of the folder).

    Raises:
        OSError: the folder cannot be opened or synced.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
