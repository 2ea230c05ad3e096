"""What a station tells systemd, where systemd started it: ready, alive, stopping. It opens no port.

A station is a service of `Type=notify` (docs/station.md has the unit). Each word is one datagram to the
socket that NOTIFY_SOCKET names; without it nothing is done. Nobody waits, and nothing here can fail a
station: a word that cannot be said is left out. The sign of life comes from the event loop itself, so that it
stops when the loop does, and systemd starts the station again.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final

from parburn.station.picture import StationPicture
from parburn.station.states import SocketState
from parburn.ui.words import one_line, plural

BEAT_S: Final = 2.0  # between two looks whether there is something to say, at most
LONGEST_STATUS: Final = 200  # characters
LONGEST_DRAIN_S: Final = 150.0  # what a station may take from the wish to stop to its end
_EMPTY: Final = (SocketState.EMPTY, SocketState.LOCKED)


class Service:
    """The words of one process to systemd."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        """Read what systemd says by the environment: where its socket is, and whether it has a watchdog."""
        self._address = _address(environment.get("NOTIFY_SOCKET", ""))
        self.watchdog_s = _watchdog_s(environment)
        self._status = ""

    @property
    def is_listening(self) -> bool:
        """Whether systemd waits for a word."""
        return self._address != ""

    @property
    def beat_s(self) -> float:
        """How long to wait between two signs of life: half of the watchdog's time, or less."""
        return min(BEAT_S, self.watchdog_s / 2) if self.watchdog_s else BEAT_S

    def ready(self) -> None:
        """Say that the station has started."""
        self._say("READY=1")

    def alive(self, status: str) -> None:
        """Give a sign of life, and say in a line how it is, where that has changed."""
        words = ["WATCHDOG=1"] if self.watchdog_s else []
        status = one_line(status)[:LONGEST_STATUS]
        if status != self._status:
            self._status = status
            words.append(f"STATUS={status}")
        if words:
            self._say(*words)

    def stopping(self) -> None:
        """Say that the station ends, and how long burns that have begun may take."""
        self._say("STOPPING=1", f"EXTEND_TIMEOUT_USEC={int(LONGEST_DRAIN_S * 1e6)}")

    async def keep_telling(self, picture: Callable[[], StationPicture]) -> None:
        """Say that it is ready, then how it is, until cancelled. Run it on the station's loop."""
        if not self.is_listening:
            return
        self.ready()
        stopping = False
        try:
            while True:
                now = picture()
                if now.draining and not stopping:
                    stopping = True
                    self.stopping()
                self.alive(status_of(now))
                await asyncio.sleep(self.beat_s)
        finally:
            if not stopping:  # it had nothing to drain
                self.stopping()

    def _say(self, *words: str) -> None:
        if not self._address:
            return
        data = "\n".join(words).encode()
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as say:
            say.setblocking(False)  # a systemd that is busy is not waited for
            say.sendto(data, self._address)


def status_of(picture: StationPicture) -> str:
    """Return how a station is, in a line of `systemctl status`."""
    at_work = sum(one.state not in (*_EMPTY, SocketState.VERDICT) for one in picture.sockets)
    locked = sum(one.state is SocketState.LOCKED for one in picture.sockets)
    sockets = plural(len(picture.sockets), "socket")
    parts = [f"{picture.job}: {picture.passed} passed, {at_work} of {sockets} at work"]
    if locked:
        parts.append(f"{locked} locked")
    if picture.halt:
        parts.insert(0, f"HALTED: {picture.halt}")
    if picture.draining:
        parts.insert(0, "stopping")
    return "; ".join(parts)


def _address(text: str) -> str:
    """Return the socket's address as Python takes it; empty where there is none of a kind that we know."""
    if text.startswith("@") and len(text) > 1:
        return f"\0{text[1:]}"
    return text if text.startswith("/") else ""


def _watchdog_s(environment: Mapping[str, str]) -> float:
    """Return after how many seconds without a word systemd ends this process; 0: it does not."""
    wanted, process = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", "")
    if not (wanted.isascii() and wanted.isdigit()) or (process and process != str(os.getpid())):
        return 0.0
    return int(wanted) / 1e6
