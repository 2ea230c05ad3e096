"""Which runs are alive: a process holds a lock on one byte of a file for each of its runs.

The kernel drops the lock when the process ends, however it ends, across containers and reboots, and no number
can be re-used by a stranger. Boot id, pid and start time are kept too: they tell a person who it was, and a
process that is visibly there counts as alive even when somebody removed the lock file under it.
"""

from __future__ import annotations

import fcntl
import os
import struct
from pathlib import Path
from typing import NamedTuple

from parburn.errors import LedgerUnusable
from parburn.ledger.file_location import runs_path

_FLOCK = "hhqqi0q"  # struct flock: type, whence, start, length, pid (native layout and padding)


class Process(NamedTuple):
    """One process for good: a pid alone is given out again."""

    boot: str
    space: str  # pid namespace
    pid: int
    started: int  # clock ticks after boot

    def __str__(self) -> str:
        return f"{self.boot} {self.space} {self.pid} {self.started}"

    @classmethod
    def parse(cls, text: str) -> Process:
        """Read what `str()` wrote.

        Raises:
            ValueError: it is of another form.
        """
        boot, space, pid, started = text.split(" ")
        return cls(boot, space, int(pid), int(started))

    @classmethod
    def current(cls) -> Process:
        """Return the process that asks."""
        pid = os.getpid()
        return cls(_boot_id(), _pid_space(), pid, _start_time(pid) or 0)

    def is_of_here(self) -> bool:
        """Return whether it is, or was, a process of this machine and our namespace since the boot."""
        return self.boot == _boot_id() and self.space == _pid_space()

    def is_visible(self) -> bool:
        """Return whether this very process can be seen to run.

        Boot id, pid namespace, pid and start time must all be the same (/proc/PID/stat, column 22).
        """
        return self.is_of_here() and _start_time(self.pid) == self.started > 0


class RunLocks:
    """The lock file of one ledger, as one run holds it."""

    def __init__(self, ledger: Path, *, only_looks: bool = False) -> None:
        """Open the file. One that `only_looks` makes none and changes none: no run is alive where none is.

        Raises:
            LedgerUnusable: it cannot be opened.
        """
        self._descriptor: int | None = None
        flags = os.O_RDONLY if only_looks else os.O_RDWR | os.O_CREAT
        try:
            self._descriptor = os.open(runs_path(ledger), flags | os.O_CLOEXEC, 0o600)
        except OSError as error:
            if only_looks and isinstance(error, FileNotFoundError):
                return
            raise LedgerUnusable(f"{runs_path(ledger)} cannot be opened: {error.strerror}.") from error

    def hold(self, run: int) -> None:
        """Show that `run` is alive for as long as this process and this object are.

        Raises:
            LedgerUnusable: the file cannot be locked.
        """
        assert self._descriptor is not None
        try:
            fcntl.fcntl(self._descriptor, fcntl.F_OFD_SETLK, struct.pack(_FLOCK, fcntl.F_WRLCK, 0, run, 1, 0))
        except OSError as error:
            raise LedgerUnusable(f"The ledger's runs cannot be locked: {error.strerror}.") from error

    def is_held(self, run: int) -> bool:
        """Return whether another open file holds `run` (F_OFD_GETLK, see fcntl(2))."""
        if self._descriptor is None:
            return False
        asked = struct.pack(_FLOCK, fcntl.F_WRLCK, 0, run, 1, 0)
        answer = fcntl.fcntl(self._descriptor, fcntl.F_OFD_GETLK, asked)
        return bool(struct.unpack(_FLOCK, answer)[0] != fcntl.F_UNLCK)

    def close(self) -> None:
        """Release all locks of this object."""
        if self._descriptor is not None:
            os.close(self._descriptor)


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return "-"


def _pid_space() -> str:
    try:
        return str(Path("/proc/self/ns/pid").readlink()).replace(" ", "")
    except OSError:
        return "-"


def _start_time(pid: int) -> int | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # The second column is the command in brackets and may hold anything; the 22nd is the start time.
    columns = stat.rpartition(")")[2].split()
    if columns[0] in "ZX":  # dead, its parent has not looked yet
        return None
    return int(columns[19])
