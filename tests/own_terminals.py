"""A soak with pseudo-terminals of its own, so that several may run at one time.

Numbers under /dev/pts are free again at once, and any program of the machine may get them: the station of one
rig that opens a board which was taken out this moment may then open a board of another rig, and move its
lines. Stations of one machine keep out of each other's way by the lines lock; those of two soaks take
themselves for two machines.
"""

from __future__ import annotations

import os
import subprocess
import sys

_MARK = "PARBURN_OWN_TERMINALS"
_MOUNTED = (
    "mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts /dev/pts"
    " && mount --bind /dev/pts/ptmx /dev/ptmx"
)
_UNSHARED = ("unshare", "--mount", "--propagation", "private", "sh", "-c")


def with_own_terminals(module: str) -> None:
    """Run `python -m module` again, with the same arguments, on terminals of its own.

    Returns where it runs on them already, or where that cannot be had: it needs Linux, root and util-linux.
    """
    if os.environ.get(_MARK) or not _can_be_had():
        return
    words = [sys.executable, "-m", module, *sys.argv[1:]]
    os.execvpe(
        _UNSHARED[0], [*_UNSHARED, f'{_MOUNTED} && exec "$@"', "sh", *words], os.environ | {_MARK: "1"}
    )


def _can_be_had() -> bool:
    try:
        return not subprocess.run([*_UNSHARED, _MOUNTED], capture_output=True, check=False).returncode
    except OSError:
        return False
