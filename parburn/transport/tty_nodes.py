"""Which ttys are there now, by their places, and what tells one from the next of the same name. Opens none.

A name is no identity: a board that is pulled and another one that is put in may get one name. On USB a tty
is known by the number that its device has on the bus (a new one at each plugging in), and by the inodes of
its node and of its folder in sysfs (new ones each time the kernel makes them). Other ttys have no such thing:
a pty's inode follows from its number. Their time of change is taken, and the link that leads to them. On USB
it is not: udev sets it anew for each node whenever somebody lets it look at all devices again (`udevadm
trigger`, as the installation of many packages does), and no board has moved then.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from parburn.transport.slots import SCHEMES, usb_slot

Key = tuple[object, ...]
DEV: Final = "/dev"
_SYS_CHAR: Final = "/sys/dev/char"
_LISTED_FROM: Final = 8  # sockets in a folder
_SERIAL: Final = re.compile(
    r"tty(?!S\d|AMA\d)[A-Za-z][A-Za-z0-9]*\d"
)  # no consoles (tty0), no ports of the machine


class FoundTty(NamedTuple):
    """A tty that is there. `place` is its place on USB, else its path."""

    place: str
    path: str
    key: Key


def is_path(place: str) -> bool:
    """Tell whether a place is a path or an address; a place on USB has no slash in it."""
    return "/" in place


# On USB ---------------------------------------------------------------------------------------------


def usb_tty(path: str) -> FoundTty | None:
    """Return a tty on USB; None when it is on none, or gone."""
    with contextlib.suppress(OSError, ValueError):
        instance = _instance(path)
        slot = usb_slot(path)
        if instance is not None and slot is not None:
            return FoundTty(str(slot), path, (*_usb_device(path), *instance))
    return None


def usb_ttys(known: Iterable[FoundTty] = ()) -> dict[str, FoundTty]:
    """Return all ttys on USB by their places.

    Args:
        known: Those of the last look. Of one that is still the same it costs two system calls.
    """
    before = {one.path: one for one in known}
    found: dict[str, FoundTty] = {}
    for path in _serial_names(DEV):
        old = before.get(path)
        one = old if old is not None and _is_still(old) else usb_tty(path)
        if one is not None:
            found[one.place] = one
    return found


def _is_still(old: FoundTty) -> bool:
    with contextlib.suppress(OSError):
        instance = _instance(old.path)
        return instance is not None and old.key[-len(instance) :] == instance
    return False


def _instance(path: str) -> Key | None:
    """Return what is new with each making of a node: two system calls. Raises OSError: it is gone."""
    node = os.stat(path)  # noqa: PTH116  # many times a second
    if not stat.S_ISCHR(node.st_mode):
        return None
    folder = os.stat(_sysfs_folder(node.st_rdev))  # noqa: PTH116
    return node.st_rdev, node.st_ino, folder.st_ino


def _sysfs_folder(number: int) -> str:
    return f"{_SYS_CHAR}/{os.major(number)}:{os.minor(number)}"


def _usb_device(path: str) -> Key:
    """Return the numbers of bus and device behind a tty.

    Raises:
        OSError, ValueError: it is going.
    """
    folder = Path(_sysfs_folder(Path(path).stat().st_rdev)).resolve(strict=True)
    for above in folder.parents:
        if (above / "devnum").exists():
            return int((above / "busnum").read_text()), int((above / "devnum").read_text())
    raise FileNotFoundError(path)


# By path --------------------------------------------------------------------------------------------


def tty_at(path: str) -> FoundTty | None:
    """Return the tty that a path leads to: itself or a link, as a simulated board has. None: no tty is there.

    At most two system calls. An address (socket://) is always there: nobody knows before it is opened.
    """
    if path.startswith(SCHEMES):
        return FoundTty(path, path, ())
    try:
        link = os.lstat(path)
        found = os.stat(path) if stat.S_ISLNK(link.st_mode) else link  # noqa: PTH116  # many times a second
    except (OSError, ValueError):
        return None
    if not stat.S_ISCHR(found.st_mode):
        return None
    own = (link.st_ino, link.st_ctime_ns) if link is not found else ()
    return FoundTty(path, path, (found.st_rdev, found.st_ino, found.st_ctime_ns, *own))


def is_there(path: str, key: Key) -> bool:
    """Tell whether the tty with this key is at this path still, and no other one that got its name.

    It asks the kernel: in a thread, where a loop runs.
    """
    return any(found is not None and found.key == key for found in (tty_at(path), usb_tty(path)))


def ttys_at(paths: Sequence[str]) -> dict[str, FoundTty]:
    """Return the ttys at these paths that are there. Where many are in one folder it is listed first.

    What is not in the list is not asked for: a rig of empty sockets costs next to nothing.
    """
    by_folder: dict[str, list[str]] = {}
    for path in paths:
        folder = "" if path.startswith(SCHEMES) else path.rpartition("/")[0]
        by_folder.setdefault(folder, []).append(path)
    found: dict[str, FoundTty] = {}
    for folder, members in by_folder.items():
        asked = _listed(folder, members) if folder and len(members) >= _LISTED_FROM else members
        found.update((one.place, one) for one in map(tty_at, asked) if one is not None)
    return found


def _listed(folder: str, paths: Sequence[str]) -> list[str]:
    with contextlib.suppress(OSError):
        names = {*os.listdir(folder)}  # noqa: PTH208  # many times a second
        return [path for path in paths if path.rpartition("/")[2] in names]
    return []


def ttys_in(folder: str) -> dict[str, FoundTty]:
    """Return the ttys in a folder that are called as serial ports are, by their paths."""
    found = (tty_at(path) for path in _serial_names(folder))
    return {one.place: one for one in found if one is not None}


def _serial_names(folder: str) -> list[str]:
    with contextlib.suppress(OSError):
        names = os.listdir(folder)  # noqa: PTH208  # many times a second
        return [f"{folder}/{name}" for name in names if _SERIAL.fullmatch(name)]
    return []
