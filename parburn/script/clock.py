"""The clock of one script's deadline. It stands still while the script waits for us, not we for it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class ScriptClock:
    """Counts the seconds that a script has used.

    Not for two threads at once: the script's own thread pauses it around each crossing, the event loop only
    reads it.
    """

    def __init__(self, timeout_s: float, *, now: Callable[[], float] = time.monotonic) -> None:
        self.timeout_s = timeout_s
        self._now = now
        self._used = 0.0
        self._since: float | None = now()

    @property
    def is_paused(self) -> bool:
        """Whether the clock stands still: a prompt, its turn to burn, a commit or a read is under way."""
        return self._since is None

    def remaining(self) -> float:
        """Return the seconds left; 0 or less when the deadline has passed."""
        since = self._since
        used = self._used if since is None else self._used + self._now() - since
        return self.timeout_s - used

    def pause(self) -> None:
        """Stand still; do nothing when paused already."""
        if self._since is not None:
            self._used += self._now() - self._since
            self._since = None

    def resume(self) -> None:
        """Go on; do nothing when running."""
        if self._since is None:
            self._since = self._now()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Stand still for the time of a block."""
        self.pause()
        try:
            yield
        finally:
            self.resume()
