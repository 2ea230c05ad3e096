"""Whether a board's port is still there, for whoever waits for something else. Opens nothing, reads nothing.

A burst learns of a loss by itself. A board that waits for other boards, for the operator, for its turn or for
its script has no burst under way: it would be counted, and given an index and a plan, although it is gone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from anyio import CancelScope

from parburn.errors import ParburnError


class PortWatch:
    """The port of one board. Everything here runs on the event loop."""

    def __init__(self) -> None:
        self.error: ParburnError | None = None  # once the port is lost
        self._told: list[Callable[[ParburnError], object]] = []

    def lose(self, error: ParburnError) -> None:
        """Note the loss, and tell everybody who waits. Only the first one counts."""
        if self.error is None:
            self.error = error
            for call in tuple(self._told):
                call(error)

    def tell(self, call: Callable[[ParburnError], object]) -> None:
        """Have `call` called once the port is lost; at once where it is lost already."""
        self._told.append(call)
        if self.error is not None:
            call(self.error)

    @contextmanager
    def there(self) -> Iterator[None]:
        """End the wait within at once when the port is lost.

        What has been waited for and came in the same moment is kept: whoever uses it next learns of the loss.

        Raises:
            PortGone: it is lost.
        """
        if self.error is not None:
            raise self.error
        with CancelScope() as scope:

            def end(_: ParburnError) -> None:
                scope.cancel()

            self._told.append(end)
            try:
                yield
            finally:
                self._told.remove(end)
        if scope.cancelled_caught and self.error is not None:
            raise self.error
