"""Where a station's command socket is, and the bounds of what is said on it. It opens nothing."""

from __future__ import annotations

import hashlib
import os
import pwd
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

LONGEST_LINE: Final = 4096
LONGEST_WHY: Final = 500  # characters of a reason
LONGEST_PATH: Final = 107  # bytes of a Unix socket's path
TEMPORARY: Final = Path("/tmp")  # never TMPDIR: both ends must mean the same folder
PREFIX: Final = "parburn-"
SYSTEM_FOLDER: Final = Path("/run/parburn")  # systemd's RuntimeDirectory=parburn


def runtime_folder(*, group: bool = False) -> Path:
    """Return the folder for a station's socket; it may not be there yet.

    Args:
        group: Others than this user are to reach it: a folder of one user's session is none for them.
    """
    own = os.environ.get("XDG_RUNTIME_DIR", "")
    if own and not group:
        return Path(own, "parburn")
    if os.access(SYSTEM_FOLDER, os.W_OK):
        return SYSTEM_FOLDER
    return Path(TEMPORARY, f"{PREFIX}{os.getuid()}")


def socket_name(job: Path) -> str:
    """Return the name of the socket of a job's station."""
    return f"{hashlib.blake2b(os.fsencode(job.resolve()), digest_size=8).hexdigest()}.sock"


def folders_to_look_in() -> tuple[Path, ...]:
    """Return where a client looks for stations."""
    own = os.environ.get("XDG_RUNTIME_DIR", "")
    found = [Path(own, "parburn")] if own else []
    return (*found, SYSTEM_FOLDER, *_folders_of_users())


def _folders_of_users() -> Iterator[Path]:
    """Yield this user's folder, and those that other users have given to a group of his.

    A folder that is not of the user whom it names is a stranger's, and no station's.
    """
    yield Path(TEMPORARY, f"{PREFIX}{os.getuid()}")
    groups = {os.getgid(), *os.getgroups()}
    for folder in sorted(TEMPORARY.glob(f"{PREFIX}[0-9]*")):
        uid = folder.name.removeprefix(PREFIX)
        with suppress(OSError):
            found = folder.lstat()
            given = found.st_gid in groups and found.st_mode & 0o050 == 0o050
            if uid.isdecimal() and int(uid) == found.st_uid != os.getuid() and given:
                yield folder


def user_name(uid: int) -> str:
    """Return a user's name, or the number where it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"
