"""Where the words of a job are meant: in the folder of its file. Reads no file."""

from __future__ import annotations

import os
from pathlib import Path

from parburn.errors import UsageError
from parburn.printable import printable


def go_to_folder_of(job: Path) -> Path:
    """Make the folder of a job file this process's own; return the file's whole path.

    Scripts open files by names of their own, and these must mean the same when the job is rehearsed, armed
    and run, wherever the command was typed.

    Raises:
        UsageError: there is no such folder.
    """
    whole = job.absolute()
    try:
        os.chdir(whole.parent)
    except OSError as error:
        raise UsageError(
            f"the job file {printable(str(job))} cannot be read: {error.strerror}", hint="Check its path."
        ) from error
    return whole
