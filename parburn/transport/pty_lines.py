"""DTR and RTS of a pty that has them: two bits of its settings, which its other end sees. Opens nothing.

A pty has no lines of its own. One whose other end set EXTPROC has: DTR is bit 0 and RTS bit 1 of
`c_cc[VEOL2]`, a character that no port in raw mode uses. Whoever has the other end, in packet mode
(`TIOCPKT`, ioctl_tty(2)), is told of each change by a status byte, at once. So a simulated board has a reset
circuit.
"""

from __future__ import annotations

import termios
from typing import Final

EXTPROC: Final = getattr(termios, "EXTPROC", 0o200000)  # Python has the name since 3.13
_LFLAG, _CC = 3, 6  # places in what tcgetattr returns
_DTR, _RTS = 1, 2
_BOTH: Final = _DTR | _RTS


def has_lines(fd: int) -> bool:
    """Tell whether this pty has lines.

    Raises:
        OSError, termios.error: the port is gone.
    """
    return bool(termios.tcgetattr(fd)[_LFLAG] & EXTPROC)


def set_lines(fd: int, dtr: bool, rts: bool) -> None:
    """Set both lines in one step; all else stays as it is.

    Raises:
        OSError, termios.error: the port is gone.
    """
    settings = termios.tcgetattr(fd)
    before = settings[_CC][termios.VEOL2][0]
    settings[_CC][termios.VEOL2] = bytes((before & ~_BOTH | (_DTR if dtr else 0) | (_RTS if rts else 0),))
    termios.tcsetattr(fd, termios.TCSANOW, settings)
