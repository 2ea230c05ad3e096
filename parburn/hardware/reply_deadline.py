"""How long a burst may be silent, and what it means when the time is over. No I/O; the loop's clock is given.

The time that a burst gets, renewed as long as replies come:

    floor + 1.5 x (bytes of all requests and replies) x 10 bits / baud + 2 x delays of the entries

* The *line* needs its 10 bits a byte: 40 reads are 40 x (14 + 14) bytes, 97 ms at 115200 baud. Half of that
  again is for requests and replies that do not overlap as well as they could.
* The *delays* are those that the ROM waits before writes. How long they are on silicon is not known
  exactly, so they count twice.
* The *floor* is 3 s, for all that is slow without being lost: a host that is busy with 64 other boards, a
  bridge, an adapter that holds replies back for its latency timer (16 ms: it needs no term of its own). It
  is 1 s where a false alarm costs no more than a SYNC.

Hence a false alarm is rare, and a real one late. That is the right way round: behind an alarm the line is
out of step, and near a program command all blocks must then be read again.

A connection has one alarm for all of its bursts, which rings at the end of some earlier one and looks
whether there is a later: most bursts end in milliseconds, and to set and cancel a timer for each costs
more.
"""

from __future__ import annotations

import asyncio
from typing import Final

from parburn.errors import NoAnswer
from parburn.protocol.commands import REPLY_BYTES
from parburn.protocol.loader import LoaderProtocol

FLOOR_S: Final = 3.0
HASTY_FLOOR_S: Final = 1.0  # where a false alarm costs no more than a SYNC

_BITS_PER_BYTE: Final = 10
_LINE_SLACK: Final = 1.5
_DELAY_SLACK_S: Final = 2e-6  # for each microsecond


def silence_allowed_s(request_bytes: int, replies: int, *, baud: int, delay_us: int, hasty: bool) -> float:
    """Return how long a burst may be without a reply, in seconds; the head of this module has the formula."""
    size = request_bytes + REPLY_BYTES * replies
    floor_s = min(FLOOR_S, HASTY_FLOOR_S) if hasty else FLOOR_S
    return floor_s + size * _BITS_PER_BYTE / baud * _LINE_SLACK + delay_us * _DELAY_SLACK_S


class ReplyDeadline:
    """The deadline of the burst that is under way on one connection."""

    def __init__(self, loop: asyncio.AbstractEventLoop, protocol: LoaderProtocol, port: str) -> None:
        """Judge the silence of `protocol` by the clock of `loop`; `port` is for the error's words."""
        self._loop = loop
        self._protocol = protocol
        self._port = port
        self._waiter: asyncio.Future[None] | None = None  # of the burst; None: there is none
        self._alarm: asyncio.TimerHandle | None = None  # outlives bursts
        self._at = self._allowed_s = 0.0
        self._answered_before = 0  # replies of the burst, when its deadline was set

    def begin(self, waiter: asyncio.Future[None], allowed_s: float, *, answered: int = 0) -> None:
        """Give a burst so many seconds from now; if they pass in silence, `waiter` gets NoAnswer.

        Args:
            waiter: Has a result when the burst has all of its replies.
            allowed_s: Seconds of silence.
            answered: Replies that have come already.
        """
        self._waiter = waiter
        self._allowed_s, self._answered_before = allowed_s, answered
        self._at = self._loop.time() + allowed_s
        if self._alarm is not None and self._alarm.when() > self._at:
            self._alarm.cancel()
            self._alarm = None
        if self._alarm is None:
            self._alarm = self._loop.call_at(self._at, self._ring)

    def end(self) -> None:
        """Judge no more: the burst has ended. The alarm stays for the next one."""
        self._waiter = None

    def _ring(self) -> None:
        self._alarm = None
        waiter = self._waiter
        if waiter is None or waiter.done():
            return
        if self._loop.time() < self._at:  # the alarm was an earlier burst's
            self._alarm = self._loop.call_at(self._at, self._ring)
        else:
            self._judge(waiter)

    def _judge(self, waiter: asyncio.Future[None]) -> None:
        protocol = self._protocol
        if protocol.only_repeats_missing:  # a ROM that does not repeat its errors
            waiter.set_result(None)
        elif protocol.answered > self._answered_before:  # slow (a busy machine, a far bridge), not silent
            self.begin(waiter, self._allowed_s, answered=protocol.answered)
        else:
            waiter.set_exception(
                NoAnswer(
                    f"{self._port}: the chip did not answer within {self._allowed_s:.1f} s "
                    f"({protocol.answered} of {protocol.asked} answers came)",
                    hint="it may have been reset or lost its supply",
                )
            )
