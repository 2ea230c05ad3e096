"""How long people were asked: the time that they took counts for no board. Knows no board."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class PeopleTime:
    """The spans in which somebody was asked, of one run."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._spans: list[tuple[float, float]] = []
        self._since: float | None = None

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Count the time in this context; one at a time."""
        self._since = self._clock()
        try:
            yield
        finally:
            self._spans.append((self._since, self._clock()))
            self._since = None

    def within(self, begin: float, end: float) -> float:
        """Return how many seconds of a span people took."""
        open_now = [] if self._since is None else [(self._since, end)]
        spans = [*self._spans, *open_now]
        return sum(max(0.0, min(end, last) - max(begin, first)) for first, last in spans)
