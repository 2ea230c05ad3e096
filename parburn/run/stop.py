"""The operator's wish that the run end: how urgent it is, and who is told. Ends nothing itself."""

from __future__ import annotations

from enum import IntEnum
from weakref import WeakSet

from anyio import CancelScope

from parburn.errors import Interrupted


class StopLevel(IntEnum):
    """How urgently the operator wants the run to end."""

    NONE = 0
    NO_NEW_COMMITS = 1  # running commits finish
    BETWEEN_BLOCKS = 2  # running commits stop at the next verified step


class StopRequest:
    """Set by signal handlers, asked by the boards. Each request raises the level by one."""

    def __init__(self) -> None:
        self.level = StopLevel.NONE
        self._scopes: WeakSet[CancelScope] = WeakSet()  # of boards that have ended nothing is kept

    def cancels(self, scope: CancelScope) -> None:
        """Register a scope that the first request cancels. Commits shield themselves from it."""
        self._scopes.add(scope)
        if self.level:
            scope.cancel()

    def request(self) -> None:
        """Raise the level: one Ctrl-C, SIGTERM or SIGHUP."""
        self.level = StopLevel(min(self.level + 1, StopLevel.BETWEEN_BLOCKS))
        for scope in tuple(self._scopes):
            scope.cancel()

    def commits_may_go_on(self) -> bool:
        """Return whether a commit may begin its next step; asked between two steps."""
        return self.level < StopLevel.BETWEEN_BLOCKS

    def check(self) -> None:
        """Raise Interrupted once a stop was requested; asked before a commit starts."""
        if self.level:
            raise Interrupted("stopped by the operator before this burn")
