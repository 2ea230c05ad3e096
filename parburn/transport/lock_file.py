"""The file that the lines lock shares with other processes: who is inside, who waits. Never waits itself.

All is held in locks on bytes of one file, of the kind that belongs to an open file (`F_OFD_SETLK`, fcntl(2)):
the kernel drops them when the process ends, however it ends. Bytes far behind the file's end may be locked,
so a process has a byte of its own in each region, the one with the number of its process, and who is in the
way tells its number by where its lock lies. In the file itself stands which kind came in last, and when: that
decides between two kinds that have both waited, and nothing else. So nothing that others write into the file
can let two kinds in at once.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import struct
import time
from enum import IntEnum
from pathlib import Path
from typing import Final, NamedTuple

LOCK_ENV: Final = "PARBURN_LINES_LOCK"  # another path, for tests
_NAME: Final = "parburn-lines.lock"
_FOLDERS: Final = ("/run/lock", "/tmp")  # the same for every user, or there is no lock between them

_MAGIC: Final = b"parburn lines 1\n"
_LAST: Final = "<Bq"  # which kind came in last, and when: CLOCK_MONOTONIC, ns
_WHOLE: Final = len(_MAGIC) + struct.calcsize(_LAST)
_FLOCK: Final = "hhqqi0q"  # struct flock: type, whence, start, length, pid (native layout and padding)
_REGION: Final = 1 << 23  # bytes; numbers of processes end at 1 << 22
_RIGHTS: Final = 0o666
_NOT_HERE: Final = (FileNotFoundError, NotADirectoryError)


class Kind(IntEnum):
    """What excludes what."""

    LINES = 0
    BURN = 1

    @property
    def other(self) -> Kind:
        """The kind that may not be inside with this one."""
        return _OTHER[self]


_KINDS: Final = (Kind.LINES, Kind.BURN)
_OTHER: Final = (Kind.BURN, Kind.LINES)


class Last(NamedTuple):
    """The last change from one kind to the other."""

    kind: Kind
    monotonic_ns: int


class NoLockFile(Exception):
    """There is no file to lock; the text is a reason for people."""


def _lock(what: int, start: int, length: int = 1) -> bytes:
    return struct.pack(_FLOCK, what, os.SEEK_SET, start, length, 0)


_SHUT_GATE: Final = _lock(fcntl.F_WRLCK, 0)
_OPEN_GATE: Final = _lock(fcntl.F_UNLCK, 0)


def _inside(kind: Kind) -> int:
    return (1 + 2 * kind) * _REGION


def _waits(kind: Kind) -> int:
    return (2 + 2 * kind) * _REGION


_ASK_INSIDE: Final = tuple(_lock(fcntl.F_WRLCK, _inside(kind), _REGION) for kind in Kind)
_ASK_WAITS: Final = tuple(_lock(fcntl.F_WRLCK, _waits(kind), _REGION) for kind in Kind)
_ASK_BOTH: Final = tuple(_lock(fcntl.F_WRLCK, _inside(kind), 2 * _REGION) for kind in Kind)


class LockFile:
    """The file as this process has it open. Every method may raise OSError: the file cannot be locked."""

    def __init__(self, path: Path) -> None:
        """Open the file, or make it; every user may read and write it.

        Raises:
            NoLockFile: it is of another shape, or we may not open it, or not make it.
        """
        self.path = path
        self._fd = _opened(path)
        found = os.fstat(self._fd)
        self._is = (found.st_dev, found.st_ino)
        pid = os.getpid()
        self._go_in, self._go_out, self._wait, self._wait_no_more = (
            tuple(_lock(what, region(kind) + pid) for kind in Kind)
            for region in (_inside, _waits)
            for what in (fcntl.F_RDLCK, fcntl.F_UNLCK)
        )

    def close(self) -> None:
        """Let go of all that this process holds, unless a child that was forked has the file open too."""
        with contextlib.suppress(OSError):
            os.close(self._fd)

    def is_in_place(self) -> bool:
        """Tell whether the path still leads to this file: what cleans /tmp may have taken it away."""
        try:
            found = os.stat(self.path, follow_symlinks=False)  # noqa: PTH116  # a tenth of the time
        except OSError:
            return False
        return (found.st_dev, found.st_ino) == self._is

    # --- the gate, held for the time of a look and a step

    def shut_gate(self) -> bool:
        """Keep other processes from going in. False where another one has shut the gate."""
        try:
            fcntl.fcntl(self._fd, fcntl.F_OFD_SETLK, _SHUT_GATE)
        except (BlockingIOError, PermissionError):
            return False
        return True

    def open_gate(self) -> None:
        """Let others in again."""
        fcntl.fcntl(self._fd, fcntl.F_OFD_SETLK, _OPEN_GATE)

    # --- what other processes do

    def is_quiet(self, kind: Kind) -> bool:
        """Tell whether no other process is inside with this kind, nor has waited long for it."""
        return self._first(_ASK_BOTH[kind]) is None

    def who_is_inside(self, kind: Kind) -> int | None:
        """Return the number of another process that is inside, one of them; None: there is none."""
        start = self._first(_ASK_INSIDE[kind])
        return None if start is None else max(0, start - _inside(kind))

    def has_waited(self, kind: Kind) -> bool:
        """Tell whether another process has waited long to go in with this kind."""
        return self._first(_ASK_WAITS[kind]) is not None

    def _first(self, asked: bytes) -> int | None:
        what, _, start, *_ = struct.unpack(_FLOCK, fcntl.fcntl(self._fd, fcntl.F_OFD_GETLK, asked))
        return None if what == fcntl.F_UNLCK else int(start)

    # --- what this one does

    def go_in(self, kind: Kind) -> None:
        """Be inside, as far as other processes see. The gate is shut."""
        fcntl.fcntl(self._fd, fcntl.F_OFD_SETLK, self._go_in[kind])

    def go_out(self, kind: Kind) -> None:
        """Be inside no more."""
        fcntl.fcntl(self._fd, fcntl.F_OFD_SETLK, self._go_out[kind])

    def wait(self, kind: Kind) -> None:
        """Tell that this process has waited long to go in with this kind."""
        fcntl.fcntl(self._fd, fcntl.F_OFD_SETLK, self._wait[kind])

    def wait_no_more(self, kind: Kind) -> None:
        """Take that back."""
        fcntl.fcntl(self._fd, fcntl.F_OFD_SETLK, self._wait_no_more[kind])

    # --- which kind came in last

    def last(self) -> Last:
        """Return what stands in the file; whatever that is, it is one of the two kinds."""
        record = os.pread(self._fd, struct.calcsize(_LAST), len(_MAGIC))
        kind, at = struct.unpack(_LAST, record.ljust(struct.calcsize(_LAST), b"\0"))
        return Last(_KINDS[kind & 1], at)

    def note_last(self, kind: Kind) -> None:
        """Write that this kind comes in, after the other. The gate is shut.

        The file is written whole: it may have been made empty. A full disk costs nothing but the order.
        """
        with contextlib.suppress(OSError):
            os.pwrite(self._fd, _MAGIC + struct.pack(_LAST, kind, time.monotonic_ns()), 0)


def lock_path(named: str = "") -> Path:
    """Return where the file is, or is to be made: the first folder that has it, or takes it.

    Root may write where others may not: so what is there counts first, wherever it is.
    """
    if named:
        return Path(named)
    paths = [Path(folder, _NAME) for folder in _FOLDERS]
    for path in paths:
        if os.path.lexists(path):
            return path
    return next((path for path in paths if os.access(path.parent, os.W_OK | os.X_OK)), paths[-1])


def _opened(path: Path) -> int:
    """Open the file, and make it where there is none.

    It is opened without O_CREAT first: with it Linux refuses another user's file in a folder for all
    (fs.protected_regular).
    """
    try:
        fd = _open(path)
        if fd is None:
            _make(path)
            fd = _open(path)
    except OSError as error:
        raise NoLockFile(f"{path} cannot be opened ({error.strerror})") from error
    if fd is None:
        raise NoLockFile(f"{path} goes away as it is made")
    if not _is_ours(fd):
        os.close(fd)
        raise NoLockFile(f"{path} is another file than parburn makes")
    return fd


def _open(path: Path) -> int | None:
    with contextlib.suppress(*_NOT_HERE):
        return os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY)
    return None


def _is_ours(fd: int) -> bool:
    """Whether it is such a file, which all may write: then nothing is lost by what root writes into it."""
    found = os.fstat(fd)
    for_all = found.st_mode & _RIGHTS == _RIGHTS
    if not stat.S_ISREG(found.st_mode) or not for_all or found.st_size > _WHOLE:
        return False
    return found.st_size == 0 or os.pread(fd, len(_MAGIC), 0) == _MAGIC


def _make(path: Path) -> None:
    """Make the file whole, with rights for all, before it has its name. Another process may be first."""
    whole = path.with_name(f".{path.name}.{os.getpid()}.{time.monotonic_ns()}")
    fd = os.open(whole, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        with contextlib.suppress(OSError):  # of a full disk an empty one is asked
            os.write(fd, _MAGIC)
        os.fchmod(fd, _RIGHTS)
        with contextlib.suppress(FileExistsError):
            os.link(whole, path, follow_symlinks=False)
    finally:
        whole.unlink(missing_ok=True)
        os.close(fd)
