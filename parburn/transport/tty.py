"""What Linux can tell and do about a tty beyond pyserial: lines in one call, latency, exclusive use.

Every function is quiet where the OS or the driver does not offer the thing; only a vanished port raises.
"""

from __future__ import annotations

import array
import contextlib
import errno
import fcntl
import os
import stat
import struct
import termios
from pathlib import Path

_PTY_MAJORS = range(136, 144)  # Linux: UNIX98 pty slaves
_NO_SUCH_LINES = (errno.ENOTTY, errno.EINVAL)

_TIOCGSERIAL = getattr(termios, "TIOCGSERIAL", 0x541E)
_TIOCSSERIAL = getattr(termios, "TIOCSSERIAL", 0x541F)
_FLAGS_OFFSET = 16  # of `int flags` in struct serial_struct: type, line, port, irq come first
_ASYNC_LOW_LATENCY = 1 << 13
_SYSFS_TTY = Path("/sys/class/tty")


def is_pty(tty: int | str) -> bool:
    """Tell whether a tty, by descriptor or path, is a pseudo terminal."""
    with contextlib.suppress(OSError):
        found = os.stat(tty)  # noqa: PTH116  # or a descriptor
        return stat.S_ISCHR(found.st_mode) and os.major(found.st_rdev) in _PTY_MAJORS
    return False


def set_lines(fd: int, dtr: bool, rts: bool) -> None:
    """Set DTR and RTS with one TIOCMSET, so that no state in between reaches a reset circuit.

    A port without such lines (a pty) is left as it is.

    Raises:
        OSError: the port is gone.
    """
    try:
        lines = struct.unpack("I", fcntl.ioctl(fd, termios.TIOCMGET, b"\0\0\0\0"))[0]
        lines = lines | termios.TIOCM_DTR if dtr else lines & ~termios.TIOCM_DTR
        lines = lines | termios.TIOCM_RTS if rts else lines & ~termios.TIOCM_RTS
        fcntl.ioctl(fd, termios.TIOCMSET, struct.pack("I", lines))
    except OSError as error:
        if error.errno not in _NO_SUCH_LINES:
            raise


def claim_exclusively(fd: int) -> None:
    """Forbid others to open the tty (TIOCEXCL).

    Not on a pty: there the mark outlives our close as long as its other end is open, and would lock out the
    next run. Its flock, which dies with the process, is enough.
    """
    if not is_pty(fd):
        with contextlib.suppress(OSError):
            fcntl.ioctl(fd, termios.TIOCEXCL)


def release(fd: int) -> None:
    """Throw away what is in both queues, so that close() has nothing to wait for, and allow other opens.

    A pty never waits in close(), and flushing it would take back bytes its other end has not read yet.
    """
    if is_pty(fd):
        return
    with contextlib.suppress(termios.error, OSError):
        termios.tcflush(fd, termios.TCIOFLUSH)
    with contextlib.suppress(OSError):
        fcntl.ioctl(fd, termios.TIOCNXCL)


def discard_input(fd: int) -> None:
    """Throw away received bytes that nobody has read."""
    with contextlib.suppress(termios.error, OSError):
        termios.tcflush(fd, termios.TCIFLUSH)


def unsent_bytes(fd: int) -> int:
    """Return how many written bytes the driver still holds; 0 when it cannot tell."""
    with contextlib.suppress(OSError):
        count: int = struct.unpack("i", fcntl.ioctl(fd, termios.TIOCOUTQ, b"\0\0\0\0"))[0]
        return max(count, 0)
    return 0


def ask_low_latency(fd: int, port: str) -> int | None:
    """Ask the driver to hand received bytes on at once instead of after its 16 ms timer (FTDI and others).

    Returns:
        The timer that is in force after it, in ms; None where the driver has none, or does not tell.
    """
    if is_pty(fd):
        return None
    with contextlib.suppress(OSError):
        serial_struct = array.array("B", bytes(128))
        fcntl.ioctl(fd, _TIOCGSERIAL, serial_struct)
        flags = struct.unpack_from("i", serial_struct, _FLAGS_OFFSET)[0]
        struct.pack_into("i", serial_struct, _FLAGS_OFFSET, flags | _ASYNC_LOW_LATENCY)
        fcntl.ioctl(fd, _TIOCSSERIAL, serial_struct)
    timer = latency_timer(port)
    with contextlib.suppress(OSError):
        timer.write_text("1")
    with contextlib.suppress(OSError, ValueError):
        return int(timer.read_text())
    return None


def latency_timer(port: str) -> Path:
    """Return the file in which the driver of a USB adapter has its latency timer in ms; it may not exist."""
    return _sysfs_device(port) / "latency_timer"


def _sysfs_device(port: str) -> Path:
    return _SYSFS_TTY / Path(os.path.realpath(port)).name / "device"


def usb_ids(port: str) -> tuple[int, int] | None:
    """Return the USB vendor and product id behind a tty; None when it is not on USB."""
    try:
        folder = _sysfs_device(port).resolve(strict=True)
    except OSError:
        return None
    for parent in (folder, *folder.parents):
        with contextlib.suppress(OSError, ValueError):
            return (
                int((parent / "idVendor").read_text(), 16),
                int((parent / "idProduct").read_text(), 16),
            )
    return None
