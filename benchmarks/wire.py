"""A rig of simulated boards that notes what crosses each wire. A process of its own; burns nothing real.

`python -m benchmarks.wire --chip esp32c3 --count 3 --dir D --record F --baud-limit 115200 --latency-ms 16`

One JSON line a conversation (from the first byte to the hang-up) goes to F: when its first and its last byte
crossed, how many there were each way, the program pulses, the turns (how often the host spoke while the line
was silent and every answer had been handed over), and `host_s`, for how long the line was silent before them.
To the chip, bytes are paced one by one; the chip's answers wait for the adapter's latency timer or for a full
packet of 62 bytes, and then for the next USB frame of 1 ms. The boards are forgotten when the rig ends.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import signal
import socket
import sys
import time
from collections import deque
from pathlib import Path

from parburn.sim.board import BOOT_S, SimulatedBoard
from parburn.sim.efuse_controller import ProgramPulse
from parburn.sim.factory import factory_mac, make_product
from parburn.sim.link import LineToHost
from parburn.sim.pty_port import PtyPort
from parburn.sim.rig import Rig

FRAME_S = 0.001
PACKET_BYTES = 62  # of a full-speed packet of 64 that two status bytes begin


class LatencyLine(LineToHost):
    """Answers as an adapter with a latency timer hands them over.

    The timer ticks by the adapter's own clock, half a USB frame off here; what it lets go travels in the next
    frame. A full packet does not wait for it.
    """

    def __init__(self, latency_s: float) -> None:
        super().__init__(FRAME_S)
        self._latency_s = latency_s
        self._gathered = 0
        self._tick = 0.0

    def put(self, data: bytes, now: float, pace: float, baud: int) -> None:
        """The chip sends."""
        start = max(now, self.free_at)
        self.free_at = start + len(data) * pace
        if start > self._tick:
            self._gathered = 0
        self._tick = _next(self.free_at - FRAME_S / 2, self._latency_s) + FRAME_S / 2
        at = 0
        while self._gathered + len(data) - at >= PACKET_BYTES:
            upto = at + PACKET_BYTES - self._gathered
            full = _next(start + upto * pace, FRAME_S)
            waiting = [(min(when, full), part, rate) for when, part, rate in self._answers]
            self._answers = deque((*waiting, (full, data[at:upto], baud)))
            at, self._gathered = upto, 0
        if at < len(data):
            self._gathered += len(data) - at
            self._answers.append((_next(self._tick, FRAME_S), data[at:], baud))

    def clear(self) -> None:
        """Forget everything on the way."""
        super().clear()
        self._gathered = 0


def _next(at: float, grid_s: float) -> float:
    return math.ceil(at / grid_s) * grid_s


class RecordingPort(PtyPort):
    """A port whose conversations are written down when they end."""

    def __init__(self, link: Path, number: int, record: int, given: argparse.Namespace) -> None:
        rng = random.Random(number)
        made = make_product(given.chip, mac=factory_mac(rng), settings={}, rng=rng)
        board = SimulatedBoard(
            made.memory,
            crystal_mhz=made.crystal_mhz,
            registers=made.registers,
            baud_limit=given.baud_limit,
            on_burn=self._burned,
            now=time.monotonic() - BOOT_S,  # it is up already
        )
        board.to_host = LatencyLine(given.latency_ms / 1000)
        super().__init__(board, link)
        self._record = record
        self._forget()

    def _forget(self) -> None:
        self._first = self._last = self._host_s = 0.0
        self._tx = self._rx = self._turns = self._programs = 0

    def _burned(self, record: ProgramPulse) -> None:
        self._programs += 1

    def read(self) -> bytes:
        """All bytes that wait, without waiting."""
        data = super().read()
        if data:
            now, board = time.monotonic(), self.board
            if not (board.to_chip or board.to_host.next_event() < math.inf):
                self._turns += 1
                self._host_s += now - self._last if self._first else 0.0
            self._first = self._first or now
            self._last = now
            self._tx += len(data)
        return data

    def write(self, data: bytes) -> None:
        """Hand bytes to the host."""
        super().write(data)
        if data and self._first:
            self._rx += len(data)
            self._last = time.monotonic()

    def sweep(self) -> bool:
        """After a hang-up: the conversation is over."""
        if self._first:
            said = {
                "port": self.link.name,
                "first_s": self._first,
                "last_s": self._last,
                "tx_bytes": self._tx,
                "rx_bytes": self._rx,
                "turns": self._turns,
                "host_s": self._host_s,
                "programs": self._programs,
            }
            os.write(self._record, (json.dumps(said) + "\n").encode())
        self._forget()
        return super().sweep()


def main() -> int:
    """Serve until told to end, or until the process that started us ends."""
    parser = argparse.ArgumentParser(prog="benchmarks.wire", description=__doc__)
    parser.add_argument("--chip", required=True)
    parser.add_argument("--count", type=int, default=1)
    parser.add_argument("--dir", type=Path, required=True)
    parser.add_argument("--record", type=Path, required=True)
    parser.add_argument("--baud-limit", type=int, default=0)
    parser.add_argument("--latency-ms", type=float, default=1.0)
    given = parser.parse_args()
    record = os.open(given.record, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    given.dir.mkdir(parents=True, exist_ok=True)
    ports = [
        RecordingPort(given.dir / f"ttyUSB{number}", number, record, given) for number in range(given.count)
    ]
    rig = Rig(ports, stay_powered=False, new_board=lambda gone: gone)
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    signal.set_wakeup_fd(theirs.fileno())
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    rig.stop_on(ours.fileno())
    rig.stop_on(os.pidfd_open(os.getppid()))
    try:
        rig.open()
        sys.stdout.write(f"ready: {len(ports)} boards in {given.dir}\n")
        sys.stdout.flush()
        rig.serve()
    finally:
        rig.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
