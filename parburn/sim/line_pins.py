"""A pseudo-terminal with DTR, RTS and CTS, and the circuit that makes reset and boot pin of them.

Knows no chip beyond `SimulatedBoard.lose_power` and `start`, and counts nothing.

A pty has no modem lines, so they stand in its termios: **EXTPROC** in c_lflag says that it has lines, and
c_cc[VEOL2] holds them, bit 0 DTR, bit 1 RTS (the host moves them by tcsetattr), bit 2 CTS (the simulator
moves it; the host reads it by tcgetattr). VEOL2 means nothing on a raw terminal. The master is in packet
mode (TIOCPKT), and EXTPROC lets each tcsetattr of the host arrive there at once as a status byte. Changes
that come faster than the simulator looks are seen as one.

In packet mode each read gives either one status byte, or a byte 0 and data.

The circuit is the usual one of two transistors: RTS without DTR holds the chip in reset. If DTR is asserted
when reset ends, the boot pin is low and the loader runs; else the chip runs a program of its own, as it does
when it is plugged in with the lines at rest. HUPCL at the last close lets both lines go, as on an adapter.

CTS and the host's lines share a word that each side reads, changes and writes whole. If the host writes back
an old CTS the simulator sees it and writes it again. The other way round, a move of the host would be lost
in the few microseconds in which the simulator moves CTS.
"""

from __future__ import annotations

import fcntl
import struct
import termios
import tty

from parburn.sim.board import SimulatedBoard
from parburn.sim.pty_port import PtyPort

DTR, RTS, CTS = 1, 2, 4
LINES = DTR | RTS
EXTPROC = 0o200000  # Linux; the module termios does not name it
_TCGETS2, _TCSETS2, _TERMIOS2_BYTES = 0x802C542A, 0x402C542B, 44
_CFLAG = struct.Struct("@I")
_CFLAG_AT, _VEOL2_AT = 8, 17 + termios.VEOL2  # four flag words and c_line stand before c_cc


class LinePort(PtyPort):
    """A board on a terminal with lines. `pins` are the host's as last seen."""

    pins = 0
    cts = False
    status = 0  # what packet mode has told since `moved` was asked

    def prepare(self) -> None:
        """Give the terminal its lines, at rest."""
        mode = termios.tcgetattr(self.master)
        mode[3] |= EXTPROC
        mode[6][termios.VEOL2] = bytes([CTS if self.cts else 0])
        termios.tcsetattr(self.master, termios.TCSANOW, mode)
        fcntl.ioctl(self.master, termios.TIOCPKT, struct.pack("@i", 1))
        self.pins = self.status = 0

    def data_of(self, chunk: bytes) -> bytes:
        """Return the data of a packet; what packet mode says is kept in `status`."""
        if chunk[0]:
            self.status |= chunk[0]
            return b""
        return chunk[1:]

    def moved(self) -> tuple[int, int] | None:
        """Return the lines before and after a move that was not told yet; None: they did not move."""
        self.status = 0
        mode = self._mode()
        if mode is None:
            return None
        if bool(mode[_VEOL2_AT] & CTS) is not self.cts:
            self._show_cts(mode)
        old, self.pins = self.pins, mode[_VEOL2_AT] & LINES
        return None if old == self.pins else (old, self.pins)

    def make_raw(self, slave: int) -> None:
        """Write the mode only if it is not raw: who opens the port now moves its lines, which must stay."""
        if termios.tcgetattr(slave)[3] & (termios.ECHO | termios.ICANON | termios.ISIG):
            tty.setraw(slave)

    def let_go(self) -> tuple[int, int] | None:
        """Do what a driver does at the last close. Return the lines before and after, if they moved."""
        mode = self._mode()
        if mode is None or not self.pins or not _CFLAG.unpack_from(mode, _CFLAG_AT)[0] & termios.HUPCL:
            return None
        mode[_VEOL2_AT] &= ~LINES
        fcntl.ioctl(self.master, _TCSETS2, mode)
        old, self.pins = self.pins, 0
        return old, 0

    def show_presence(self, present: bool) -> None:
        """Set CTS."""
        self.cts = present
        mode = self._mode() if self.master >= 0 else None
        if mode is not None:
            self._show_cts(mode)

    def _show_cts(self, mode: bytearray) -> None:
        mode[_VEOL2_AT] = mode[_VEOL2_AT] & ~CTS | (CTS if self.cts else 0)
        fcntl.ioctl(self.master, _TCSETS2, mode)

    def _mode(self) -> bytearray | None:
        mode = bytearray(_TERMIOS2_BYTES)
        try:
            fcntl.ioctl(self.master, _TCGETS2, mode)
        except OSError:
            return None
        return mode


def are_in_reset(pins: int) -> bool:
    """Return whether these lines hold a chip in reset."""
    return pins & LINES == RTS


def power_on(board: SimulatedBoard, pins: int, *, strapped: bool) -> None:
    """Let a board that has just got its power, and is up, do what these lines make of it."""
    board.loader_runs = not are_in_reset(pins) and (strapped or pins & LINES == DTR)


def move_pins(board: SimulatedBoard, old: int, new: int, now: float, *, strapped: bool) -> None:
    """Let a board feel a move of its lines."""
    if are_in_reset(new) and not are_in_reset(old):
        board.lose_power(now)
        board.loader_runs = False
    elif are_in_reset(old) and not are_in_reset(new):
        board.start(now, download=strapped or bool(new & DTR))


def named(old: int, new: int) -> str:
    """Return a move in words, as in `DTR on, RTS off`."""
    each = ((DTR, "DTR"), (RTS, "RTS"))
    return ", ".join(f"{name} {'on' if new & bit else 'off'}" for bit, name in each if (old ^ new) & bit)
