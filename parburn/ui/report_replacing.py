"""What `parburn report --output` may write over: nothing but what it has made itself. It writes no row.

A file of `--report` holds what no ledger knows: slots, ports, boards that gave no answer, dry runs. A row
that was made from the ledger has no slot and no port, and by that it is known.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from parburn.errors import UsageError
from parburn.ui.report_appending import FIRST_LINE_AT_MOST, free_name, opened

OPTION = "--output"
# By its first line: what all lines behind it begin with.
_ROWS_BEGIN = {b"slot,port,": (b",,",), b"[\n": (b' {"slot":"","port":"",', b"]")}


def refuse_other_than_own(path: Path) -> None:
    """Raise UsageError where a file is there that `parburn report` has not made; an empty one is none.

    Raises:
        UsageError: it is another file. It is as it was.
        OSError: it cannot be read or locked.
    """
    if not path.is_file():
        return
    with opened(path, make=False, option=OPTION) as file:
        _check(path, file)


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold the lock of the file that is to be replaced, so that no run appends to it meanwhile.

    Where none is there an empty one is made.

    Raises:
        UsageError: somebody has made another file of this name. It is as it was.
        OSError: it cannot be made, read or locked.
    """
    with opened(path, make=True, option=OPTION) as file:
        _check(path, file)
        yield


def _check(path: Path, file: int) -> None:
    with os.fdopen(os.dup(file), "rb") as lines:
        first = lines.readline(FIRST_LINE_AT_MOST)
        begin = next((rows for name, rows in _ROWS_BEGIN.items() if first.startswith(name)), ())
        if first and not (begin and all(line.startswith(begin) for line in lines)):
            raise UsageError(
                f"{OPTION} {path}: it is there already, and parburn report has not made it alone",
                hint=f"Name another file, as {free_name(path)}. Nothing was overwritten.",
            )
