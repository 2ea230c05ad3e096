"""One pseudo-terminal behind a link in the rig's folder, with a board on its far side. No chip logic.

The terminal is kept raw before anybody opens it. Nobody having it open is seen once, by an edge-triggered
hang-up event on the master. What the last user left unread, and an exclusive lock that he left on it, are
swept away, so that the next one finds a port as a USB adapter would give it.
"""

from __future__ import annotations

import fcntl
import os
import struct
import termios
import tty
from pathlib import Path

from parburn.errors import UsageError
from parburn.sim.board import FIRST_BAUD, SimulatedBoard

_TCGETS2, _TERMIOS2_BYTES = 0x802C542A, 44  # Linux: termios with the rates as plain numbers
_OUTPUT_SPEED = struct.Struct("@I")
_CHUNK = 65536


class PtyPort:
    """A board on a terminal. `attached`: somebody has sent bytes since the last hang-up."""

    def __init__(self, board: SimulatedBoard, link: Path) -> None:
        self.board = board
        self.link = link
        self.master = -1
        self.slave_path = ""
        self.attached = False
        self.wake_at = float("inf")
        self.comes_back_at = float("inf")
        self._termios = bytearray(_TERMIOS2_BYTES)

    def open(self) -> None:
        """Make the terminal and its link.

        Raises:
            UsageError: something else has the link's name.
        """
        if self.link.exists() and not self.link.is_symlink():
            raise UsageError(f"{self.link} is in the way: it is no link")
        self.master, slave = os.openpty()
        self.slave_path = os.ttyname(slave)
        tty.setraw(slave)
        speed = termios.tcgetattr(slave)
        speed[4] = speed[5] = termios.B115200
        termios.tcsetattr(slave, termios.TCSANOW, speed)
        self.prepare()
        os.close(slave)
        os.set_blocking(self.master, False)
        fresh = self.link.with_name(f".{self.link.name}.new")
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(self.slave_path)
        fresh.replace(self.link)

    def prepare(self) -> None:
        """Make the terminal ready, before anybody can know it by its link."""

    def close(self) -> None:
        """Take terminal and link away."""
        if self.master >= 0:
            os.close(self.master)
            self.master = -1
        self.attached = False
        if self.link.is_symlink() and str(self.link.readlink()) == self.slave_path:
            self.link.unlink()

    def read(self) -> bytes:
        """Return all bytes that wait, without waiting."""
        found = b""
        while True:
            try:
                chunk = os.read(self.master, _CHUNK)
            except OSError:  # EAGAIN: no more now; EIO: no more and nobody there
                return found
            if not chunk:
                return found
            found += self.data_of(chunk)

    def data_of(self, chunk: bytes) -> bytes:
        """Return what of a read are bytes of the host: all."""
        return chunk

    def write(self, data: bytes) -> None:
        """Hand bytes to the host; what it does not fetch in time is lost, as with an adapter's buffer."""
        if not data or not self.attached:
            return
        try:
            os.write(self.master, data)
        except OSError:  # full, or just closed
            return

    def host_baud(self) -> int:
        """Return the rate that the host has set on its side."""
        try:
            fcntl.ioctl(self.master, _TCGETS2, self._termios)
        except OSError:
            return FIRST_BAUD
        speed: int = _OUTPUT_SPEED.unpack_from(self._termios, _TERMIOS2_BYTES - 4)[0]
        return speed

    def sweep(self) -> bool:
        """Drop what was left unread after a hang-up, and unlock.

        Returns:
            False where it is locked for us too: a new terminal must be made.
        """
        try:
            slave = os.open(self.slave_path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        except OSError:
            return False
        try:
            termios.tcflush(slave, termios.TCIFLUSH)
            fcntl.ioctl(slave, termios.TIOCNXCL)
            self.make_raw(slave)
        finally:
            os.close(slave)
        return True

    def make_raw(self, slave: int) -> None:
        """Let the terminal hand on bytes as they are, whatever its last user made of it."""
        tty.setraw(slave)
