"""Whether the files of a job are still what the station read at its start. It asks for their dates only.

A station goes on with what it holds in memory; its next start compares contents, and refuses until the job is
armed again. So whoever edits a file is told at once what will come of it.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

from anyio import to_thread

from parburn.printable import printable

LOOK_S: Final = 15.0
Amber = Callable[[str, str], object]
Dates = Mapping[Path, tuple[int, ...] | None]


async def watch_files(amber: Amber, paths: Iterable[Path], *, every_s: float = LOOK_S) -> None:
    """Show an amber mark while any of these files is not what it was, until cancelled."""
    paths = tuple(paths)
    before = await to_thread.run_sync(dates_of, paths)
    while True:
        await asyncio.sleep(every_s)
        now = await to_thread.run_sync(dates_of, paths)
        amber("files", told_changed([path for path in paths if now[path] != before[path]]))


def dates_of(paths: Iterable[Path]) -> Dates:
    """Return what the system says of each file; None of one that is not there."""
    return {path: _date(path) for path in paths}


def _date(path: Path) -> tuple[int, ...] | None:
    try:
        found = os.stat(path)  # noqa: PTH116  # as short as it gets: it is asked all day
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def told_changed(paths: list[Path]) -> str:
    """Return the sentence for these files; empty for none."""
    if not paths:
        return ""
    few = ", ".join(printable(path.name) for path in paths[:3])
    more = f" and {len(paths) - 3} more" if len(paths) > 3 else ""
    were = "was" if len(paths) == 1 else "were"
    return (
        f"{few}{more} {were} changed: this station goes on with what it read; its next start compares them "
        "with the arming"
    )
