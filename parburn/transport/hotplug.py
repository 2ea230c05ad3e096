"""What udevd says of ttys that come and go, over netlink. Opens no port, and needs no library and no rights.

udevd hands each event on to group 2 when its rules have run: only then the node has its rights. The kernel's
own group (1) tells of nodes that nobody may open yet, and is never listened to.

A message (systemd, `sd-device/device-monitor.c`): "libudev" and a zero byte, a magic number in network order,
then in the machine's order the header's size, offset and size of the properties, and filters that are for
who has many subscribers. The properties are `NAME=value`, each ended by a zero byte.
"""

from __future__ import annotations

import errno
import socket
import struct
from pathlib import Path
from typing import Final, NamedTuple

from parburn.errors import UsageError

_NETLINK_KOBJECT_UEVENT: Final = 15
_GROUP_OF_UDEV: Final = 2
_BUFFER_BYTES: Final = 1 << 20  # some thousand events; what comes on top is lost, and told as lost
_MESSAGE_BYTES: Final = 1 << 16
_MAGIC: Final = 0xFEEDCAFE
_HEAD: Final = struct.Struct("=8s4sIII")
_UDEV_CONTROL: Final = Path("/run/udev/control")


class TtyEvent(NamedTuple):
    """A tty came, went or changed. `path` is its node, as /dev/ttyUSB3."""

    action: str  # add, remove, change, ..
    path: str


class EventsLost(Exception):  # it is caught by who listens, and tells him to look himself
    """More came than the socket holds."""


def udev_runs(control: Path = _UDEV_CONTROL) -> bool:
    """Tell whether a udevd runs here: its control socket is there."""
    return control.is_socket()


class TtyEvents:
    """The socket on which events arrive. It can be given to a loop's add_reader."""

    def __init__(self) -> None:
        """Listen from now on.

        Raises:
            UsageError: the system does not let us.
        """
        try:
            found = socket.socket(
                socket.AF_NETLINK,
                socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK,
                _NETLINK_KOBJECT_UEVENT,
            )
        except OSError as error:
            raise _not_heard(error) from error
        try:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
            found.bind((0, _GROUP_OF_UDEV))
        except OSError as error:
            found.close()
            raise _not_heard(error) from error
        self._socket = found

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._socket.fileno()

    def take(self) -> TtyEvent | None:
        """Return the next event of a tty that has come; None when no more is there now.

        Raises:
            EventsLost: some were lost. Look at all nodes, then go on with those that come.
        """
        while True:
            try:
                message, (sender, _groups) = self._socket.recvfrom(_MESSAGE_BYTES)
            except (BlockingIOError, InterruptedError):
                return None
            except OSError as error:
                if error.errno == errno.ENOBUFS:
                    raise EventsLost from error
                raise
            # Messages of processes have their sender's number; the kernel's own (0) is no word of udevd.
            if sender and (event := tty_event(message)) is not None:
                return event

    def close(self) -> None:
        """Listen no more."""
        self._socket.close()


def _not_heard(error: OSError) -> UsageError:
    return UsageError(
        f"the system does not say which ports come and go: {error.strerror or error}",
        hint="In a container, give it the host's network (--network host).",
    )


def tty_event(message: bytes) -> TtyEvent | None:
    """Return what a message of udevd says of a tty; None if it is of something else, or makes no sense."""
    if len(message) < _HEAD.size:
        return None
    prefix, magic, _size, start, length = _HEAD.unpack_from(message)
    if prefix != b"libudev\0" or int.from_bytes(magic, "big") != _MAGIC or start < _HEAD.size:
        return None
    texts = message[start : start + length].split(b"\0")
    found = dict(text.partition(b"=")[::2] for text in texts if b"=" in text)
    if found.get(b"SUBSYSTEM") != b"tty" or b"DEVNAME" not in found or b"ACTION" not in found:
        return None
    name = found[b"DEVNAME"].decode(errors="surrogateescape")
    path = name if name.startswith("/") else f"/dev/{name}"
    return TtyEvent(found[b"ACTION"].decode("ascii", "replace"), path)
