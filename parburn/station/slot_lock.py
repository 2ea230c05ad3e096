"""Holds a slots file: one station, run or learning on a rig at one time. It reads nothing of the file.

Two locks are taken (flock, which the kernel frees however the process ends): on the file itself, for whoever
may not write its folder; and on a file beside it, which stays the same when an editor or `slots learn` puts a
new file in the old one's place. Who holds them is found in /proc/locks, or in the file beside, where the
holder has written its number.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, Final

from parburn.errors import UsageError

_LOCKS: Final = Path("/proc/locks")
_TRIES: Final = 5


@contextmanager
def held_slots(path: Path) -> Iterator[None]:
    """Hold a slots file, which need not be there yet, for the time of a block.

    Raises:
        UsageError: another process holds it, and which; or its folder is none.
    """
    real = Path(os.path.realpath(path))
    with ExitStack() as stack:
        beside = real.with_name(f".{real.name}.lock")
        if (mark := _locked(beside, path, made=True)) is not None:
            stack.enter_context(mark)
            stack.callback(_tidy, beside, real)
        if (own := _locked(real, path)) is not None:
            stack.enter_context(own)
        if mark is None and own is None and not real.parent.is_dir():
            raise UsageError(f"there is no folder {real.parent}", hint="Make it first.")
        yield


def holder_of(file: IO[bytes]) -> int | None:
    """Return the process that has a lock on an open file; None where it cannot be seen."""
    wanted = str(os.fstat(file.fileno()).st_ino)
    with suppress(OSError):
        for line in _LOCKS.read_text().splitlines():
            words = line.split()  # 1: FLOCK ADVISORY WRITE 708 08:01:409 0 EOF
            if len(words) >= 6 and words[1] == "FLOCK" and words[5].rpartition(":")[2] == wanted:
                return int(words[4]) if words[4].isdigit() and int(words[4]) > 0 else None
    return None


def _locked(file: Path, path: Path, *, made: bool = False) -> IO[bytes] | None:
    """Return a file, open and locked; None where there is none, or we have no rights to it.

    Raises:
        UsageError: another process has locked it.
    """
    for _ in range(_TRIES):
        found = _opened(file, made=made)
        if found is None:
            return None
        try:
            fcntl.flock(found, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = holder_of(found) or _noted(file, made=made)
            found.close()
            if not isinstance(error, BlockingIOError):
                return None  # a file system without locks
            raise _held(path, holder) from error
        if _is_there(found, file):
            if made:
                _note(found)
            return found
        found.close()  # somebody has put another one in its place
    return None


def _note(found: IO[bytes]) -> None:
    """Write who holds it into the lock file: not every file system shows its locks in /proc."""
    with suppress(OSError):  # opened to be read only, or the disk is full
        found.truncate(0)
        found.write(str(os.getpid()).encode())
        found.flush()


def _noted(file: Path, *, made: bool) -> int | None:
    with suppress(OSError, ValueError):
        process = int(file.read_bytes()) if made else 0
        return process if process > 0 and Path(f"/proc/{process}").exists() else None
    return None


def _opened(file: Path, *, made: bool) -> IO[bytes] | None:
    with suppress(OSError):
        if made:
            return file.open("ab")
    with suppress(OSError):
        return file.open("rb")
    return None


def _is_there(found: IO[bytes], file: Path) -> bool:
    with suppress(OSError):
        return os.path.samestat(os.fstat(found.fileno()), file.stat())
    return False


def _tidy(beside: Path, real: Path) -> None:
    """Leave no lock file beside a file that was never made."""
    if not real.exists():
        with suppress(OSError):
            beside.unlink()


def _held(path: Path, holder: int | None) -> UsageError:
    who = "another process" if holder is None else f"process {holder}{_command(holder)}"
    return UsageError(
        f"{path} is in use by {who}",
        hint="One station or run at a time on these slots: wait for its end, or end it.",
    )


def _command(process: int) -> str:
    with suppress(OSError, UnicodeDecodeError):
        words = Path(f"/proc/{process}/cmdline").read_bytes().decode().split("\0")
        known = [word for word in words if word in ("station", "run", "slots", "learn", "check", "ports")]
        return f" (parburn {' '.join(known[:2])})" if known else ""
    return ""
