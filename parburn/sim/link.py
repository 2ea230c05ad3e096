"""The serial line of one simulated board: when each byte arrives. No bytes are understood here.

To the chip: bytes come one after the other at the line's rate, and what the ROM does not take in time waits
in a ring that has no overflow check. To the host: an answer leaves when the line is free and is handed over
in the USB frame after its last byte. A rate of 0 is a line without length: everything arrives at once.
"""

from __future__ import annotations

import math
from collections import deque

BITS_PER_BYTE = 10
TX_FIFO_BYTES = 128
BATCH_S = 0.004  # the longest that a burst in progress is left to gather; the end of a burst is exact
BATCH_ANSWERS = 4
SPEED_TOLERANCE = 0.03  # of the baud rate, before a UART reads garbage


def byte_seconds(baud: int, limit: int) -> float:
    """Return the seconds that a byte takes (10 bits); 0 on a line without a limit."""
    return BITS_PER_BYTE / max(1, min(baud, limit)) if limit else 0.0


def same_speed(one: int, other: int) -> bool:
    """Return whether two UARTs at these rates understand each other."""
    return abs(one - other) <= SPEED_TOLERANCE * max(one, other)


def garble(data: bytes) -> bytes:
    """Return what a UART at another rate makes of these bytes: something, and never a frame mark."""
    return bytes((byte * 7 + 85) & 0x3F for byte in data[::2])


class Burst:
    """Bytes on their way to the chip; byte n is there at `start + (n + 1) * pace`."""

    __slots__ = ("at", "baud", "data", "pace", "start")

    def __init__(self, data: bytes, start: float, pace: float, baud: int) -> None:
        self.data, self.start, self.pace, self.baud = data, start, pace, baud
        self.at = 0

    def heard_at(self, baud: int) -> None:
        """Make garbage of it when the listener's rate is another one."""
        if not same_speed(self.baud, baud):
            self.data, self.baud = self.data[: self.at] + garble(self.data[self.at :]), baud

    def arrived(self, now: float) -> int:
        """Return how many of its bytes have arrived."""
        if now >= self.end:
            return len(self.data)
        return max(self.at, int((now - self.start) / self.pace + 1e-6)) if self.pace else self.at

    def time_of(self, place: int) -> float:
        """Return when byte number `place` arrives."""
        return self.start + (place + 1) * self.pace

    @property
    def end(self) -> float:
        """When the last byte arrives."""
        return self.start + len(self.data) * self.pace


class LineToChip:
    """Bursts in order, and the ROM's ring."""

    def __init__(self, ring_bytes: int) -> None:
        self.ring_bytes = ring_bytes
        self.bursts: deque[Burst] = deque()
        self.ring = b""
        self._free_at = 0.0

    def __bool__(self) -> bool:
        return bool(self.bursts or self.ring)

    def put(self, data: bytes, now: float, pace: float, baud: int) -> None:
        """Put bytes of the host on the line."""
        burst = Burst(data, max(now, self._free_at), pace, baud)
        self._free_at = burst.end
        self.bursts.append(burst)

    def spill(self, until: float, baud: int) -> None:
        """Move what arrives while the ROM is busy into the ring: one lap too many loses all of it."""
        while self.bursts:
            burst = self.bursts[0]
            burst.heard_at(baud)
            count = burst.arrived(until)
            if count > burst.at:
                self.ring += burst.data[burst.at : count]
                burst.at = count
                if len(self.ring) >= self.ring_bytes:
                    kept = len(self.ring) % self.ring_bytes
                    self.ring = self.ring[len(self.ring) - kept :]
            if count < len(burst.data):
                return
            self.bursts.popleft()

    def clear(self) -> None:
        """Forget everything on the way."""
        self.bursts.clear()
        self.ring = b""
        self._free_at = 0.0

    def next_event(self) -> float:
        """Return when it is worth looking again while the ROM listens."""
        if self.ring:
            return 0.0
        if not self.bursts:
            return math.inf
        burst = self.bursts[0]
        return min(burst.end, burst.time_of(burst.at) + BATCH_S)


class LineToHost:
    """Answers in order, each with the moment at which the host gets it."""

    def __init__(self, usb_frame_s: float) -> None:
        self.usb_frame_s = usb_frame_s
        self._answers: deque[tuple[float, bytes, int]] = deque()
        self.free_at = 0.0

    def put(self, data: bytes, now: float, pace: float, baud: int) -> None:
        """Put bytes of the chip on the line."""
        self.free_at = max(now, self.free_at) + len(data) * pace
        at = self.free_at
        if self.usb_frame_s:
            at = math.ceil(at / self.usb_frame_s) * self.usb_frame_s
        self._answers.append((at, data, baud))

    def take(self, now: float, baud: int) -> bytes:
        """Return what the host, at its own baud rate, has received by now."""
        got = b""
        while self._answers and self._answers[0][0] <= now:
            _, data, sent_at = self._answers.popleft()
            got += data if same_speed(sent_at, baud) else garble(data)
        return got

    def clear(self) -> None:
        """Forget everything on the way."""
        self._answers.clear()
        self.free_at = 0.0

    def next_event(self) -> float:
        """Return when it is worth handing over: few answers when due, many in one go."""
        if not self._answers:
            return math.inf
        last = self._answers[min(BATCH_ANSWERS, len(self._answers)) - 1][0]
        return min(last, self._answers[0][0] + BATCH_S)
