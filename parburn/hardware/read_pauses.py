"""When the host need not read: it pauses reads until the reply that it waits for is due. No I/O of its own.

Why: replies come in chunks of a few bytes, and to wake up for each costs more than to parse all of them.
The driver collects them meanwhile. Of what comes before the window of requests can be filled again, or
before the burst is complete, nothing can be used; so the host pauses for all but the end of this time.

How long until the last one of n replies that are needed can be here at the earliest:

    due    = reply + max(asked, (n - 1) x reply)
    reply  = 14 bytes x 10 bits / baud                          1.2 ms at 115200 baud
    asked  = (bytes written - bytes behind its request) x 10 bits / baud - time since they were written

* The ROM answers in order, so n - 1 replies come first.
* The ROM answers a request when it has all of it. A WRITE_REG of 7 entries is 122 bytes, 10.6 ms at 115200
  baud, and its reply takes 1.2 ms: there it is the way there that takes the time.

An example: 18 READ_REGs fill the ring of 255 bytes, and when 9 of them are answered, half of it is free for
more. So n is 9; the ninth request has travelled after 126 bytes, 10.9 ms, and its reply 1.2 ms later. The
host does not look for 10.7 ms, in which 7 replies come.

The host reads again 1.5 ms before. When it looked last, part of a reply may have come, which only whole
replies tell of: up to 1.2 ms of it at 115200 baud, where all connections begin (at 9600 it would be 14.6 ms,
and a pause may end so much late). And a timer of the loop rings up to 1 ms late, since epoll waits for whole
milliseconds; meanwhile the other half of the window keeps the line busy. Less than 2 ms is no pause: the
timer and the two calls to the kernel cost more than the one or two chunks that they save.

What is *not* in it makes replies come later, never sooner: the adapter's latency timer (1 ms, or 16 ms),
USB frames (1 ms), delays of the entries. A pause that is too short costs a wake-up; one that is too long
would cost time on the line, and turns. So there are none at all before the line is known to bring bytes no
faster than its rate says (`pace`), and none over a network or on the USB inside a chip, where it is not so.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from parburn.protocol.commands import REPLY_BYTES
from parburn.protocol.loader import LoaderProtocol

SHORTEST_S: Final = 0.002
ENDS_BEFORE_S: Final = 0.0015  # the reply is due

_BITS_PER_BYTE: Final = 10


class ReadPauses:
    """The pauses of one connection's reads."""

    def __init__(
        self,
        protocol: LoaderProtocol,
        clock: Callable[[], float],
        pause_reads: Callable[[float], None],
    ) -> None:
        """Take what is sent and needed from `protocol`.

        Args:
            protocol: The conversation, whose requests are those that `wrote` is told of.
            clock: Seconds, of the loop.
            pause_reads: Reads nothing for so many seconds; what comes is collected by the driver.
        """
        self._protocol = protocol
        self._clock = clock
        self._pause_reads = pause_reads
        self._sent_at = 0.0  # when the line has carried all that was written, at the earliest

    def wrote(self, size: int, baud: int) -> None:
        """Note that so many bytes go to the line now, behind those that are still on their way to it."""
        now, sent_at = self._clock(), self._sent_at
        self._sent_at = (sent_at if sent_at > now else now) + size * _BITS_PER_BYTE / baud

    def until_due(self, baud: int) -> None:
        """Pause reads until the last reply that is needed can be here, where that is worth a pause.

        Only for a line that is known to be paced: on any other this would cost time.
        """
        protocol, byte_s = self._protocol, _BITS_PER_BYTE / baud
        count = protocol.answers_needed()
        asked_s = self._sent_at - self._clock() - protocol.bytes_sent_after(count) * byte_s
        before_s = (count - 1) * REPLY_BYTES * byte_s
        due_s = REPLY_BYTES * byte_s + (asked_s if asked_s > before_s else before_s)
        if due_s - ENDS_BEFORE_S > SHORTEST_S:
            self._pause_reads(due_s - ENDS_BEFORE_S)
