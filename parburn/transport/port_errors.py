"""What an error of the operating system on a port means, for open, tcsetattr, ioctl and all the others.

They raise four kinds of exception: OSError, pyserial's SerialException (an OSError, often without a number),
termios.error (no OSError at all), and ValueError for a setting that does not exist. The number tells what
happened.
"""

from __future__ import annotations

import errno
import os
import termios
from typing import Final

from parburn.errors import LinkError, PortBusy, PortDenied, PortGone
from parburn.transport import ports

PORT_ERRORS: Final = (OSError, ValueError, termios.error)  # all that a call on a port can raise

_BUSY: Final = {errno.EBUSY, errno.EAGAIN}
_DENIED: Final = {errno.EACCES, errno.EPERM}
_ABSENT: Final = {errno.ENOENT, errno.ENOTDIR, errno.ENXIO, errno.ENODEV, errno.ELOOP, errno.ENAMETOOLONG}
_GONE: Final = {errno.EIO, errno.ENODEV, errno.ENXIO, errno.ESHUTDOWN, errno.ENOENT, errno.EBADF}
_NO_ROOM: Final = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.ENOSPC}
# Linux, Documentation/driver-api/usb/error-codes: how a transfer on the bus ended.
_USB: Final = {
    errno.EPROTO, errno.EILSEQ, errno.ETIME, errno.ETIMEDOUT, errno.EPIPE, errno.EOVERFLOW,
    errno.EREMOTEIO, errno.ECOMM, errno.ENOSR, errno.EXDEV, errno.ENOLINK,
}  # fmt: skip
_CHECK: Final = "check cable and hub, then run again"


def number_of(error: BaseException) -> int | None:
    """Return the error's number, its own or that of what it was made of; None when nothing has one.

    pyserial makes a SerialException of a termios.error, and a ValueError of a failed ioctl, both without
    the number.
    """
    for one in (error, error.__cause__, error.__context__):
        if isinstance(one, OSError) and one.errno is not None:
            return one.errno
        if isinstance(one, termios.error) and one.args and isinstance(one.args[0], int):
            return one.args[0]
    return None


def is_bad_setting(error: Exception) -> bool:
    """Tell whether a setting was refused by a port that is there, as against a port that is not."""
    return isinstance(error, ValueError) and number_of(error) not in _GONE | _USB


def opening_error(port: str, error: Exception) -> LinkError:
    """Return what it means that a port could not be opened and set up."""
    number = number_of(error)
    if number in _BUSY:
        holder = ports.holder_of(port)
        by = f" by {holder}" if holder else " by another program"
        who = "" if holder else f" (`sudo fuser -v {port}` shows which)"
        return PortBusy(f"{port} is held{by}{who}", hint=ports.busy_hint())
    if number in _DENIED:
        return PortDenied(
            f"no rights to open {port}",
            hint="add yourself to the group that owns it (dialout or uucp: sudo usermod -aG dialout $USER), "
            "then log in again",
        )
    if number in _ABSENT:
        return PortGone(
            f"there is no {port}", hint="check cable and hub; `parburn ports` lists what is there"
        )
    if number in _NO_ROOM:
        return LinkError(
            f"{port} cannot be opened: {os.strerror(number)}",
            hint="the system has no more of it to give: end other programs, or raise the limit (ulimit -n)",
        )
    if number in _USB or number in _GONE or not os.path.lexists(port):
        return lost_error(port, error, hint=f"unplugged while it was opened; {_CHECK}")
    return PortGone(f"{port} cannot be opened as a serial port: {error}", hint="is it a serial port at all?")


def lost_error(
    port: str,
    error: Exception | None,
    *,
    hint: str = "unplugged, or the chip's USB went away; check cable and hub, then run again",
) -> PortGone:
    """Return what it means that an open port cannot be used any more."""
    number = number_of(error) if error is not None else None
    if number in _USB and os.path.lexists(port):
        lost = PortGone(
            f"the adapter of {port} does not do what it is told: {os.strerror(number)}",
            hint="cable, hub or supply of the adapter; plug it in anew, then run again",
        )
    else:
        lost = PortGone(f"{port} is gone", hint=hint)
    lost.__cause__ = error
    return lost
