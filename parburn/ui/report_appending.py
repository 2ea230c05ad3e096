"""Rows appended to a report: under a lock, all or none, and to nothing but a report. Knows no boards.

Other runs of parburn wait for the lock: several stations may write one file.
"""

from __future__ import annotations

import csv
import fcntl
import json
import os
import re
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from parburn.errors import UsageError
from parburn.ui.report_rows import COLUMNS, csv_header

OPTION = "--report"
ENDINGS = (".csv", ".jsonl")
LOCK_DEADLINE_S = 10.0
LOCK_RETRY_S = 0.005
FIRST_LINE_AT_MOST = 1 << 16  # of a longer one the begin tells


def check_report(path: Path) -> None:
    """Refuse a report that could not be appended to, before any port is opened. Changes nothing.

    Raises:
        UsageError: the name has another ending, leads over a link, or the file has other columns.
    """
    if path.is_dir() and not path.is_symlink():
        if not os.access(path, os.W_OK | os.X_OK):
            raise _refused(path, "no file can be made in this folder", "Check its rights.")
        return
    check_ending(path)
    if not path.parent.is_dir():
        raise _refused(path, f"there is no folder {path.parent}", "Make it first.")
    try:
        with opened(path, make=False) as file:
            _check_columns(path, file)
    except FileNotFoundError:
        if not os.access(path.parent, os.W_OK | os.X_OK):
            raise _refused(path, "it cannot be written", "Check the rights of its folder.") from None
    except OSError as error:
        why = f"it cannot be written: {error.strerror or error}"
        raise _refused(path, why, "Check the rights of the file and its folder.") from error


def append_rows(path: Path, lines: Sequence[str], *, new: bool = False) -> None:
    """Append whole lines, all or none, with the columns first where the file is empty.

    Args:
        path: The file; its ending says which form the lines have.
        lines: Each with its end.
        new: It must not be there yet.

    Raises:
        OSError: it could not be written, or locked within LOCK_DEADLINE_S; the file is as it was.
        UsageError: the file is none of ours.
    """
    with opened(path, make=True, new=new) as file:
        _check_columns(path, file)
        before = os.fstat(file).st_size
        text = "".join(lines)
        if before == 0 and path.suffix.lower() == ".csv":
            text = csv_header() + text
        elif before and os.pread(file, 1, before - 1) != b"\n":
            text = "\n" + text
        try:
            _write_all(file, text.encode("utf-8"))
            os.fsync(file)
        except BaseException:
            with suppress(OSError):
                os.ftruncate(file, before)
            raise


@contextmanager
def opened(path: Path, *, make: bool, new: bool = False, option: str = OPTION) -> Iterator[int]:
    """Give the descriptor of a locked file.

    Args:
        path: The file; a link is none.
        make: Make it, by the umask, where it is not there.
        new: It must not be there.
        option: What names it on the command line.

    Raises:
        UsageError: it is a folder, a pipe or the like.
        OSError: it could not be opened, or locked within LOCK_DEADLINE_S.
    """
    flags = os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    flags |= (os.O_CREAT if make else 0) | (os.O_EXCL if new else 0)
    while True:
        file = os.open(path, flags, 0o666)
        try:
            if not stat.S_ISREG(os.fstat(file).st_mode):
                raise _refused(path, "it is no file", "Name a file, or a folder.", option)
            _lock(file)
            if _is_still(path, file):
                yield file
                return
        finally:
            os.close(file)  # unlocks it


def _is_still(path: Path, file: int) -> bool:
    """Return whether the name leads to this file: somebody may have put another in its place meanwhile."""
    try:
        return os.path.samestat(path.lstat(), os.fstat(file))
    except FileNotFoundError:
        return False


def _lock(file: int) -> None:
    end = time.monotonic() + LOCK_DEADLINE_S
    while True:
        try:
            return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > end:
                raise TimeoutError(f"another program holds it for more than {LOCK_DEADLINE_S:g} s") from None
        time.sleep(LOCK_RETRY_S)


def _write_all(file: int, data: bytes) -> None:
    """Write it with one call, unless the system takes less."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(file, rest) :]


def check_ending(path: Path) -> None:
    """Raise UsageError where a file of this name could not be appended to."""
    ending = path.suffix.lower()
    if ending == ".json":
        why = "one JSON text cannot be appended to"
        raise _refused(path, why, f"Name it {path.with_suffix('.jsonl')}: a JSON object a line.")
    if ending not in ENDINGS:
        hint = "The ending chooses the format. A folder gets a file of its own for each run."
        raise _refused(path, "the name must end in .csv or .jsonl, or be a folder that is there", hint)


def _check_columns(path: Path, file: int) -> None:
    """Raise UsageError unless the file is empty or has our columns."""
    first, end, _ = os.pread(file, FIRST_LINE_AT_MOST, 0).partition(b"\n")
    text = first.decode("utf-8-sig", "replace")
    if first and not (_is_ours(path, text) if end else _begins_as_ours(path, text)):
        hint = f"It is as it was. Name another file, as {free_name(path)}."
        raise _refused(path, "it has other columns than this version of parburn writes", hint)


def _is_ours(path: Path, line: str) -> bool:
    if path.suffix.lower() == ".csv":
        return tuple(next(csv.reader([line.rstrip("\r")]), ())) == COLUMNS
    try:
        value = json.loads(line)
    except ValueError:
        return False
    return isinstance(value, dict) and tuple(value) == COLUMNS


def _begins_as_ours(path: Path, text: str) -> bool:
    """Return whether the begin of a line without an end is ours: of a long row, or of one that was edited."""
    whole = len(text) < FIRST_LINE_AT_MOST // 4  # in bytes a character takes 4 at most
    begin = csv_header().rstrip("\n") if path.suffix.lower() == ".csv" else f'{{"{COLUMNS[0]}": "'
    return _is_ours(path, text) if whole else text.startswith(begin)


def free_name(path: Path) -> Path:
    """Return a name beside `path` that no file has."""
    stem = re.sub(r"-\d{1,6}$", "", path.stem)
    names = (path.with_name(f"{stem}-{number}{path.suffix}") for number in range(2, 10_000))
    return next((name for name in names if not os.path.lexists(name)), path.with_name(f"new-{path.name}"))


def _refused(path: Path, why: str, hint: str, option: str = OPTION) -> UsageError:
    return UsageError(f"{option} {path}: {why}", hint=f"{hint} Nothing was burned, nothing was overwritten.")
