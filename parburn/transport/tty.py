"""What Linux can tell and do about a tty beyond pyserial: lines in one call, latency, exclusive use.

Every function is quiet where the OS or the driver does not offer the thing; only a vanished port raises.
"""

from __future__ import annotations

import array
import contextlib
import errno
import fcntl
import os
import select
import stat
import struct
import termios
from pathlib import Path
from typing import NamedTuple

_PTY_MAJORS = range(136, 144)  # Linux: UNIX98 pty slaves
_NO_SUCH_LINES = (errno.ENOTTY, errno.EINVAL)
_OTHER_OUTPUTS = 0xE000  # OUT1, OUT2 and LOOP (asm-generic/termios.h)

_TIOCGSERIAL = getattr(termios, "TIOCGSERIAL", 0x541E)
_TIOCSSERIAL = getattr(termios, "TIOCSSERIAL", 0x541F)
_FLAGS_OFFSET = 16  # of `int flags` in struct serial_struct: type, line, port, irq come first
_ASYNC_LOW_LATENCY = 1 << 13
_SERIAL_STRUCT_BYTES = 128  # more than any kernel fills in
_READ_BYTES = 4096
_MOST_READS = 64  # more than the queues hold; a port that sends without end is not waited for
_SYSFS_TTY = Path("/sys/class/tty")


def is_pty(tty: int | str) -> bool:
    """Tell whether a tty, by descriptor or path, is a pseudo terminal."""
    with contextlib.suppress(OSError):
        found = os.stat(tty)  # noqa: PTH116  # or a descriptor
        return stat.S_ISCHR(found.st_mode) and os.major(found.st_rdev) in _PTY_MAJORS
    return False


def hung_up(fd: int) -> bool:
    """Tell whether the other end of a tty is gone, without waiting."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return any(events & (select.POLLHUP | select.POLLERR | select.POLLNVAL) for _fd, events in poll.poll(0))


def set_lines(fd: int, dtr: bool, rts: bool, others: int = 0) -> None:
    """Set DTR and RTS with one TIOCMSET, so that no state in between reaches a reset circuit.

    `others` are the output lines beside these two, as `other_lines` told them. A port without such lines (a
    pty) is left as it is.

    Raises:
        OSError: the port is gone.
    """
    lines = others | (termios.TIOCM_DTR if dtr else 0) | (termios.TIOCM_RTS if rts else 0)
    try:
        fcntl.ioctl(fd, termios.TIOCMSET, struct.pack("I", lines))
    except OSError as error:
        if error.errno not in _NO_SUCH_LINES:
            raise


def other_lines(fd: int) -> int:
    """Return which output lines a UART of the machine itself has set beside DTR and RTS.

    OUT2 of a PC's UART lets its interrupts through, and TIOCMSET would clear it. USB adapters have no such
    lines, and each question is a request to the adapter: do not ask them.
    """
    with contextlib.suppress(OSError):
        found: int = struct.unpack("I", fcntl.ioctl(fd, termios.TIOCMGET, b"\0\0\0\0"))[0]
        return found & _OTHER_OUTPUTS
    return 0


_PRESENCE_LINES = {"cts": termios.TIOCM_CTS, "dsr": termios.TIOCM_DSR, "dcd": termios.TIOCM_CD}
_EXTPROC = 0o200000  # of c_lflag: on a pty it says that the pty has lines
_PTY_LINES = {"cts": 1 << 2}  # bits of c_cc[VEOL2]


def presence_line(fd: int, line: str) -> bool:
    """Tell whether an input line is set, by which a fixture says that a board is in it.

    A simulated fixture has CTS alone. A port without such lines has none set.

    Args:
        fd: The port.
        line: cts, dsr or dcd.

    Raises:
        OSError, termios.error: the port is gone.
    """
    if is_pty(fd):
        settings = termios.tcgetattr(fd)
        bits: bytes = settings[6][termios.VEOL2]
        return bool(settings[3] & _EXTPROC and bits[0] & _PTY_LINES.get(line, 0))
    try:
        found: int = struct.unpack("I", fcntl.ioctl(fd, termios.TIOCMGET, b"\0\0\0\0"))[0]
    except OSError as error:
        if error.errno in _NO_SUCH_LINES:
            return False
        raise
    return bool(found & _PRESENCE_LINES[line])


def keep_lines_at_close(fd: int) -> None:
    """Clear HUPCL: with it the last close(), also that of a killed process, lets go of DTR and RTS.

    Linux does that only where HUPCL is set (tty_port_shutdown), and on some adapters it resets the board (as
    measured with a CP2102C, pull request 1157 of esptool). It is not set again at the end: the close that
    follows would move the lines. The driver forgets it when the adapter is unplugged.

    Raises:
        OSError, termios.error: the port is gone.
    """
    settings = termios.tcgetattr(fd)
    if settings[2] & termios.HUPCL:
        settings[2] &= ~termios.HUPCL
        termios.tcsetattr(fd, termios.TCSANOW, settings)


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
    """Throw away received bytes that nobody has read; the port does not block.

    They are read, and not flushed: a driver may make a request of a flush.
    """
    with contextlib.suppress(OSError):  # no more, or gone
        for _ in range(_MOST_READS):
            if not os.read(fd, _READ_BYTES):
                return


def discard_typed(fd: int) -> None:
    """Throw away what was typed at a terminal and nobody has read; whole lines and begun ones."""
    with contextlib.suppress(termios.error):
        termios.tcflush(fd, termios.TCIFLUSH)


def unsent_bytes(fd: int) -> int:
    """Return how many written bytes the driver still holds; 0 when it cannot tell."""
    with contextlib.suppress(OSError):
        count: int = struct.unpack("i", fcntl.ioctl(fd, termios.TIOCOUTQ, b"\0\0\0\0"))[0]
        return max(count, 0)
    return 0


class Latency(NamedTuple):
    """How long a driver holds received bytes back, and what it was told before."""

    timer_ms: int | None = None  # in force now; None where the driver has none
    flags_before: int | None = None  # of struct serial_struct, where we have changed them
    timer_before: str = ""  # the text in sysfs, where we have changed it


def ask_low_latency(fd: int, port: str) -> Latency:
    """Ask the driver to hand received bytes on at once instead of after its 16 ms timer (FTDI and others).

    Without a word where the driver has no such thing, or where we may not change it.
    """
    if is_pty(fd):
        return Latency()
    flags_before, timer_before, timer_ms = None, "", None
    timer = latency_timer(port)
    before = _text_of(timer)
    with contextlib.suppress(OSError):
        flags = _driver_flags(fd)
        if not flags & _ASYNC_LOW_LATENCY:
            _set_driver_flags(fd, flags | _ASYNC_LOW_LATENCY)
            flags_before = flags
    if before:
        with contextlib.suppress(OSError):
            timer.write_text("1")
            timer_before = before
        with contextlib.suppress(ValueError):
            timer_ms = int(_text_of(timer))
    return Latency(timer_ms, flags_before, timer_before)


def put_back_latency(fd: int, port: str, latency: Latency) -> None:
    """Leave the driver's latency as `ask_low_latency` found it. Without a word where the port is gone."""
    with contextlib.suppress(OSError):
        if latency.flags_before is not None:
            _set_driver_flags(fd, latency.flags_before)
    timer = latency_timer(port)
    with contextlib.suppress(OSError):
        if latency.timer_before and _text_of(timer) != latency.timer_before:
            timer.write_text(latency.timer_before)


def _driver_flags(fd: int) -> int:
    serial_struct = array.array("B", bytes(_SERIAL_STRUCT_BYTES))
    fcntl.ioctl(fd, _TIOCGSERIAL, serial_struct)
    flags: int = struct.unpack_from("i", serial_struct, _FLAGS_OFFSET)[0]
    return flags


def _set_driver_flags(fd: int, flags: int) -> None:
    serial_struct = array.array("B", bytes(_SERIAL_STRUCT_BYTES))
    fcntl.ioctl(fd, _TIOCGSERIAL, serial_struct)
    struct.pack_into("i", serial_struct, _FLAGS_OFFSET, flags)
    fcntl.ioctl(fd, _TIOCSSERIAL, serial_struct)


def _text_of(file: Path) -> str:
    with contextlib.suppress(OSError, ValueError):
        return file.read_text().strip()
    return ""


def latency_timer(port: str) -> Path:
    """Return the file in which the driver of a USB adapter has its latency timer in ms; it may not exist."""
    return _sysfs_device(port) / "latency_timer"


def real_path(port: str) -> str:
    """Return what a port's name leads to; the name itself where that is gone.

    os.path.realpath raises in older Pythons where a link goes away between its two looks at it, as links of
    ttys do when a board is pulled.
    """
    try:
        return os.path.realpath(port)
    except OSError:
        return port


def _sysfs_device(port: str) -> Path:
    return _SYSFS_TTY / Path(real_path(port)).name / "device"


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
