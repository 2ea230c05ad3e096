"""A folder with sockets: ptys without any chip that come and go behind links, as a rig's ttys do."""

from __future__ import annotations

import os
import time
from pathlib import Path


class Sockets:
    """Sockets 0, 1, ..: `ttyUSBn` in a folder."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self._open: dict[int, tuple[int, int]] = {}

    def path(self, number: int) -> str:
        """The tty of a socket."""
        return str(self.folder / f"ttyUSB{number}")

    def insert(self, *numbers: int) -> None:
        """Put boards in."""
        for number in numbers:
            master, slave = self._open[number] = os.openpty()
            assert master >= 0
            Path(self.path(number)).symlink_to(os.ttyname(slave))

    def remove(self, *numbers: int) -> None:
        """Take boards out."""
        for number in numbers:
            Path(self.path(number)).unlink()
            for descriptor in self._open.pop(number):
                os.close(descriptor)
        time.sleep(0.02)  # pts numbers are given out again; times of change have the kernel's tick

    def close(self) -> None:
        """Take all out."""
        self.remove(*self._open)
