"""What an engineer said while no station ran, kept for its next start: a small file. It decides nothing.

A line is lost rather than used twice, and one that is not whole is left out: the halt stands then, and the
engineer says it again.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Final, NamedTuple

from parburn.errors import NotDone
from parburn.ui.words import one_line

LONGEST_FILE: Final = 64 << 10


class WrittenResume(NamedTuple):
    """A `parburn station resume` that found no station. `slot` is None for the whole station."""

    slot: str | None
    why: str
    who: str
    at: str  # UTC, ISO 8601


def write_for_next_start(path: Path, slot: str | None, why: str, who: str) -> None:
    """Add a line, durable before this returns.

    Raises:
        NotDone: it cannot be written.
    """
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    line = json.dumps({"slot": slot, "why": one_line(why), "who": who, "at": now}) + "\n"
    try:
        with _held(path) as file:
            if not _ends_a_line(file):
                line = f"\n{line}"  # a disk was full in the middle of the last one
            if file.tell() + len(line) > LONGEST_FILE:
                raise NotDone(f"{path} is full of what no station has read", hint="Start the station once.")
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise NotDone(
            f"it could not be written down for the next start: {path}: {error.strerror or error}",
            hint="Mend the rights of that folder, or start the station and say it again.",
        ) from error


def take_for_next_start(path: Path) -> tuple[WrittenResume, ...]:
    """Return what was written, in its order, and remove the file; nothing where there is none.

    Raises:
        NotDone: it is there and cannot be read or removed; it would be used again and again.
    """
    try:
        path.stat()
        with _held(path) as file:
            file.seek(0)
            lines = file.read(LONGEST_FILE + 1).split("\n")
            path.unlink()  # before it is used: a kill between both costs a word, not a second use of it
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise NotDone(
            f"what was said for this start cannot be taken: {path}: {error.strerror or error}",
            hint="Mend its rights, or remove it and say it again.",
        ) from error
    return tuple(_parsed(lines))


def _parsed(lines: list[str]) -> Iterator[WrittenResume]:
    for line in lines[:-1]:
        try:
            one = json.loads(line)
            slot, why, who, at = one["slot"], one["why"], one["who"], one["at"]
        except (ValueError, TypeError, KeyError):
            continue
        if (slot is None or isinstance(slot, str)) and all(isinstance(text, str) for text in (why, who, at)):
            yield WrittenResume(slot and one_line(slot), one_line(why), one_line(who), one_line(at))


def _ends_a_line(file: IO[str]) -> bool:
    end = file.tell()
    if not end:
        return True
    return os.pread(file.fileno(), 1, end - 1) == b"\n"


@contextmanager
def _held(path: Path) -> Iterator[IO[str]]:
    """Give the file, locked, and the one that has the name now: another process may just have taken it."""
    while True:
        with path.open("a+", encoding="utf-8", errors="replace") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            try:
                same = os.fstat(file.fileno()).st_ino == path.stat().st_ino
            except FileNotFoundError:
                same = False
            if same:
                file.seek(0, os.SEEK_END)
                yield file
                return
