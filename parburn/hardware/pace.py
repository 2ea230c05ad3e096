"""Whether a line brings bytes no faster than its rate says: a judgement from when they came. No I/O.

On such a line a poll takes as long as its bytes, so an operation that is shorter is over before it; and the
host may pause reads until a reply can be here. Where that is wrong it costs turns. So it is *known* only on
evidence that cannot come from a host or a loop that was busy, and a proof of the contrary ends it for good:

* a stretch of bytes agrees when it took about as long as they, or the requests that they answer, take at the
  rate, and the loop was never late in it: what comes in one lump after a blocked loop proves nothing;
* several stretches in a row, in more than one burst, must agree;
* bytes that are there sooner than the line could have carried them are the proof; only those count that
  answer what was sent since the line was idle.
"""

from __future__ import annotations

import asyncio
from typing import Final
from weakref import WeakValueDictionary

STRETCH_S: Final = 0.010  # on the line; USB frames of 1 ms and whole answers blur its ends by 2 ms
QUICKEST: Final = 0.75  # of a stretch that agrees, in lengths of what its bytes take
SLOWEST: Final = 1.3
AGREEING_STRETCHES: Final = 3  # in a row
AGREEING_BURSTS: Final = 2  # that these come from
SOONER: Final = 0.95  # no UART is off by so much
TELLING_BYTES: Final = (
    120  # since the line was idle: fewer may owe their haste to what the first poll waited for
)
BEAT_S: Final = 0.004
LATE_S: Final = 0.005  # half of the shortest stretch: alone it makes none agree
BEATS_ON_S: Final = 0.1  # after it was last needed

_BITS_PER_BYTE: Final = 10


class Heartbeat:
    """How late an event loop is. One timer for all lines that want to know, and only meanwhile."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._due_at = self._needed_until = 0.0
        self._late_at = float("-inf")
        self._beating = False

    def keep_on(self, now: float) -> None:
        """Beat for 100 ms more, so that `late_since` can tell."""
        self._needed_until = now + BEATS_ON_S
        if not self._beating:
            self._beating = True
            self._next(now)

    def late_since(self, then: float, now: float) -> bool:
        """Return whether the loop was late at any time since then, or nobody looked."""
        return not self._beating or self._late_at > then or now - self._due_at > LATE_S

    def _next(self, now: float) -> None:
        self._due_at = now + BEAT_S
        self._loop.call_at(self._due_at, self._beat)

    def _beat(self) -> None:
        now = self._loop.time()
        if now - self._due_at > LATE_S:
            self._late_at = now
        self._beating = now < self._needed_until
        if self._beating:
            self._next(now)


# A heartbeat holds its loop, so the lines hold the heartbeat, and not this: no loop outlives its runs.
_HEARTBEATS: WeakValueDictionary[asyncio.AbstractEventLoop, Heartbeat] = WeakValueDictionary()


def heartbeat_of(loop: asyncio.AbstractEventLoop) -> Heartbeat:
    """Return the heartbeat that all lines of this loop share."""
    return _HEARTBEATS.setdefault(loop, Heartbeat(loop))


class Pace:
    """The judgement on one line. All times are the loop's, in seconds."""

    def __init__(self, heartbeat: Heartbeat, *, ruled_out: bool = False) -> None:
        self.known = False  # that it is paced
        self.ruled_out = ruled_out  # for good
        self._heartbeat = heartbeat
        self._idle_at = 0.0
        self._received = 0  # since then
        self._stretch_at: float | None = None  # None: begins with the next bytes
        self._stretch_bytes = self._stretch_asked = 0
        self._agreeing = 0
        self._bursts = 0
        self._burst_agreed = False

    def burst_begins(self, now: float) -> None:
        """Note that the line was idle, and that the first requests of a burst go out now."""
        self._burst_agreed = False
        self.idle(now)

    def idle(self, now: float) -> None:
        """Note that all is answered: what comes from now on answers what is sent from now on."""
        self._idle_at, self._received = now, 0
        self._stretch_at = None
        if not (self.known or self.ruled_out):
            self._heartbeat.keep_on(now)

    def came(self, size: int, now: float, baud: int, asked: int) -> None:
        """Judge by what came.

        Args:
            size: Bytes that came.
            now: When they were read.
            baud: The rate that the port is set to.
            asked: Bytes of all requests of the connection that are answered now.
        """
        byte_s = _BITS_PER_BYTE / baud
        self._received += size
        if self._received >= TELLING_BYTES and now - self._idle_at < SOONER * self._received * byte_s:
            self.was_faster()
        elif not (self.known or self.ruled_out):
            self._weigh(size, now, byte_s, asked)

    def was_faster(self) -> None:
        """Note that something was there sooner than the line's rate allows: never paced again."""
        self.known, self.ruled_out = False, True

    def _weigh(self, size: int, now: float, byte_s: float, asked: int) -> None:
        begun_at = self._stretch_at
        if begun_at is None or self._heartbeat.late_since(begun_at, now):
            self._begin_stretch(now, asked)
            return
        self._stretch_bytes += size
        took_s, takes_s = now - begun_at, max(self._stretch_bytes, asked - self._stretch_asked) * byte_s
        if max(took_s / SLOWEST, takes_s) < STRETCH_S:
            return
        self._begin_stretch(now, asked)
        if QUICKEST * takes_s <= took_s <= SLOWEST * takes_s:
            self._agreed()
        else:
            self._agreeing = self._bursts = 0
            self._burst_agreed = False

    def _begin_stretch(self, now: float, asked: int) -> None:
        self._stretch_at, self._stretch_bytes, self._stretch_asked = now, 0, asked
        self._heartbeat.keep_on(now)

    def _agreed(self) -> None:
        self._agreeing += 1
        self._bursts += not self._burst_agreed
        self._burst_agreed = True
        self.known = self._agreeing >= AGREEING_STRETCHES and self._bursts >= AGREEING_BURSTS
