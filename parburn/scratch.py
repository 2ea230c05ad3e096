"""Folders in the temporary folder that live as long as one process. It knows nothing of what lies in them.

Who is killed cannot tidy up: the next one does. A folder is locked (flock on the folder itself, which the
kernel lets go of however its process ends) before its mark is written; a folder with the mark and without
the lock belongs to nobody any more. One without the mark is not ours, whatever it is called.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from parburn.errors import UsageError

PREFIX = "parburn-"
MARK = ".gone-with-its-process"


class Scratch:
    """One folder; `remove` ends it."""

    def __init__(self, what: str = "") -> None:
        """Make it, after those of dead processes were removed. `what` is a part of its name.

        Raises:
            UsageError: no folder can be made there.
        """
        try:
            sweep()
            self.path = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{what}"))
            self._descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            (self.path / MARK).touch()
        except OSError as error:
            raise UsageError(
                f"no folder can be made in the temporary folder: {error.strerror or error}",
                hint="Make room there, or name another folder in TMPDIR. Nothing was burned.",
            ) from error

    def remove(self) -> None:
        """Remove the folder with all that is in it. A second time it does nothing."""
        shutil.rmtree(self.path, ignore_errors=True)
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


@contextmanager
def scratch(what: str = "") -> Iterator[Path]:
    """Lend a folder for the time of a block."""
    made = Scratch(what)
    try:
        yield made.path
    finally:
        made.remove()


def sweep() -> None:
    """Remove what killed processes of this user have left. What cannot be looked at stays."""
    with suppress(OSError), os.scandir(tempfile.gettempdir()) as entries:
        for entry in entries:
            if entry.name.startswith(PREFIX):
                with suppress(OSError):
                    _sweep_one(Path(entry.path))


def _sweep_one(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        mark = os.stat(MARK, dir_fd=descriptor)  # without it the folder is not ours
        if mark.st_uid == os.getuid():
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # raises while its process lives
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(descriptor)
