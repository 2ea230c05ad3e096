"""The moves of a port's lines, of which none begins any more once the port is being closed. Opens nothing.

A sequence that nobody waits for any more ends as it should, if it ends soon: a chip must not be left in
reset. One that an adapter or a server holds up goes no further: by then another chip burns, and it may be the
one behind these lines.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

from parburn.transport.stream import LineStep

MOVES_END_S: Final = 1.0  # longer than any reset, and less than closing may take


class LineMoves:
    """Those of one port. The loop makes and ends them, the port's thread carries them out."""

    def __init__(self) -> None:
        self._over = threading.Event()
        self._at_work = False

    def carry_out(
        self,
        steps: Sequence[LineStep],
        move: Callable[[bool, bool, Callable[[], bool]], object],
        given_up: threading.Event,
    ) -> None:
        """Make the moves of a sequence, in the port's thread.

        Args:
            steps: The states of both lines, and the seconds to leave them so.
            move: Sets DTR and RTS; gets what tells that no further one may be set.
            given_up: Ends this sequence alone.
        """

        def is_over() -> bool:
            return given_up.is_set() or self._over.is_set()

        self._at_work = True
        try:
            for dtr, rts, seconds in steps:
                if is_over():
                    return
                move(dtr, rts, is_over)
                if seconds:
                    time.sleep(seconds)
        finally:
            self._at_work = False

    async def end(self) -> None:
        """Give a sequence that is at work MOVES_END_S to come to its end; no move begins after that."""
        until = time.monotonic() + MOVES_END_S
        while self._at_work and time.monotonic() < until:  # noqa: ASYNC110  # a thread ends it
            await asyncio.sleep(0.01)
        self._over.set()
