"""How long the first barrier waits for boards that do not come; who is late is closed before it opens.

Boards that are there wait for the others no longer than twice the time that they took themselves, and at
least `wait_s`: one dead board must not cost every good one the time of all its connect attempts. While fewer
boards are there than `--expect` asks for, everyone is waited for until its last attempt has ended. All that
is decided here is who is out: the barrier opens once those have given their ports back, so that no reset line
moves after it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from anyio import CancelScope, Event, move_on_after

from parburn.errors import LeftOut

TIMES_THE_OTHERS = 2


class Stragglers:
    """The boards on their way to the first barrier."""

    def __init__(
        self, *, wait_s: float, expect: int | None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Wait at least `wait_s` seconds; `expect` boards (None: one) must be there before anyone is late."""
        self._wait_s = wait_s
        self._needed = max(1, expect or 1)
        self._clock = clock
        self._began: float | None = None  # when the first board set out
        self._last_came = 0.0  # seconds after that
        self._coming: dict[str, CancelScope] = {}
        self._changed = Event()
        self._too_late = False

    @contextmanager
    def waited_for(self, port: str) -> Iterator[None]:
        """Be on the way to the barrier for the time of a block: connecting and identifying.

        Opening is none: it moves lines whether anybody waits or not, and has its own deadline.

        Raises:
            LeftOut: the others do not wait any longer; the block was cancelled.
        """
        with CancelScope() as scope:
            self._coming[port] = scope
            try:
                if self._too_late:
                    scope.cancel()
                self._passed_s()  # the first one begins the time
                yield
            finally:
                del self._coming[port]
        if scope.cancelled_caught:
            raise LeftOut(
                f"{port}: not there after {self._passed_s():.1f} s, the others went on without it",
                hint="Is it powered, in download mode, and is its cable good? It comes in with the next run; "
                "a slow board is given more time with --wait SECONDS.",
            )

    def came(self) -> None:
        """Note that a board has reached the barrier."""
        self._last_came = self._passed_s()
        self._changed.set()

    def _passed_s(self) -> float:
        now = self._clock()
        if self._began is None:
            self._began = now
        return now - self._began

    async def leave_out_late(self, there: Callable[[], int]) -> None:
        """Cancel the boards that are late, once some are. It ends by then, or never: cancel it.

        Args:
            there: Tells how many boards have come, and are still there.
        """
        while True:
            self._changed = Event()
            left = self._left() if there() >= self._needed else None
            if left is not None and left <= 0:
                break
            with move_on_after(left):
                await self._changed.wait()
        self._too_late = True
        for scope in tuple(self._coming.values()):
            scope.cancel()

    def _left(self) -> float:
        """Return the seconds until who is not there is late."""
        return max(self._wait_s, TIMES_THE_OTHERS * self._last_came) - self._passed_s()
