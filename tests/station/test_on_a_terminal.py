"""The installed station on a terminal: what it draws while no board comes."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from pathlib import Path

from parburn.sim.control_client import ControlledRig
from parburn.station.tiles import CLEAR, ENTER, LEAVE
from tests.command import COMMAND, environment
from tests.station.at_work import arm, make_job


class Screen:
    """The other end of a terminal."""

    def __init__(self) -> None:
        self.master, self.slave = pty.openpty()
        self.text = b""

    def has_size(self, width: int, height: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("4H", height, width, 0, 0))

    def until(self, wanted: str, within_s: float = 20.0) -> None:
        """Wait for a text behind the last one that was waited for."""
        deadline = time.monotonic() + within_s
        while wanted.encode() not in self.text:
            left = deadline - time.monotonic()
            assert left > 0, f"no {wanted!r}: {self.text[-500:]!r}"
            if select.select([self.master], [], [], left)[0]:
                self.text += os.read(self.master, 65536)
        self.text = self.text.partition(wanted.encode())[2]


def test_empty_sockets_are_drawn_anew_as_the_terminal_grows_and_after_a_stop(tmp_path: Path) -> None:
    screen = Screen()
    screen.has_size(80, 24)
    size = {"COLUMNS": "", "LINES": "", "TERM": "xterm"}
    with ControlledRig("esp32c3:4", folder=tmp_path / "rig", lines=True) as rig:
        job = make_job(tmp_path, rig)
        assert arm(job).returncode == 0
        assert COMMAND
        env = environment(tmp_path / "state", **size)
        station = subprocess.Popen(
            [COMMAND, "station", str(job)],
            stdin=screen.slave,
            stdout=screen.slave,
            stderr=screen.slave,
            env=env,
        )
        try:
            screen.until(ENTER)
            screen.until("\x1b[24;1H")
            screen.has_size(90, 30)
            screen.until(CLEAR)
            screen.until("\x1b[30;1H")
            station.send_signal(signal.SIGCONT)
            screen.until(CLEAR)
            screen.until("\x1b[30;1H")
            station.send_signal(signal.SIGINT)
            screen.until(LEAVE)
            assert station.wait(20) == 0
        finally:
            station.kill()
            station.wait(20)
            os.close(screen.master)
            os.close(screen.slave)
