"""The operator's wish that the run end: how urgent it is, and who is told. Ends nothing itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import IntEnum
from weakref import WeakKeyDictionary

from anyio import CancelScope

from parburn.errors import Interrupted


class StopLevel(IntEnum):
    """How urgently the operator wants the run to end."""

    NONE = 0
    NO_NEW_COMMITS = 1  # running commits finish; in a station, boards that were begun
    BETWEEN_BLOCKS = 2  # running commits stop at the next verified step


class StopRequest:
    """Set by signal handlers, asked by the boards. Each request raises the level by one."""

    def __init__(self, *, begun_ends_whole: bool = False) -> None:
        """Make one that nobody has asked for yet.

        Args:
            begun_ends_whole: After the first request a board that was begun is burned to its end; in a run
                only to the end of its commit.
        """
        self.level = StopLevel.NONE
        self._begun_ends_whole = begun_ends_whole
        # By scope, whether its board was begun. A scope is not forgotten by itself where this leads to it.
        self._scopes: WeakKeyDictionary[CancelScope, Callable[[], bool]] = WeakKeyDictionary()

    def cancels(self, scope: CancelScope, *, is_begun: Callable[[], bool] = lambda: False) -> None:
        """Register a scope that the first request cancels. Commits shield themselves from it.

        Args:
            scope: What is to end.
            is_begun: Tells whether a program command was sent to the board of this scope.
        """
        self._scopes[scope] = is_begun
        if self.level:
            scope.cancel()

    @contextmanager
    def cancelling(self, scope: CancelScope, *, is_begun: Callable[[], bool]) -> Iterator[None]:
        """Register a scope as `cancels` does, for a block: of a board that has ended nothing is kept."""
        self.cancels(scope, is_begun=is_begun)
        try:
            yield
        finally:
            del self._scopes[scope]

    def request(self) -> None:
        """Raise the level: one Ctrl-C, SIGTERM or SIGHUP."""
        self.level = StopLevel(min(self.level + 1, StopLevel.BETWEEN_BLOCKS))
        for scope, is_begun in tuple(self._scopes.items()):
            if not self._lets_end(begun=is_begun()):
                scope.cancel()

    def _lets_end(self, *, begun: bool) -> bool:
        return begun and self._begun_ends_whole and self.level < StopLevel.BETWEEN_BLOCKS

    def commits_may_go_on(self) -> bool:
        """Return whether a commit may begin its next step; asked between two steps."""
        return self.level < StopLevel.BETWEEN_BLOCKS

    def check(self, *, begun: bool) -> None:
        """Raise Interrupted once a stop was requested; asked before a commit starts.

        Args:
            begun: A program command was sent to this board before.
        """
        if self.level and not self._lets_end(begun=begun):
            raise Interrupted("stopped by the operator before this burn")
