"""The only crossing between a script's thread and the event loop.

Everything else a script does stays in its thread: a crossing costs a wake-up of the loop, so only burns and
reads of what is not known yet come here. A closed bridge lets nothing through: a script that was given up
may go on running, but it reaches no chip.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Awaitable, Callable
from typing import TypeVar

from anyio.from_thread import BlockingPortal

from parburn.script.clock import ScriptClock
from parburn.script.inputs import READER
from parburn.script.output import SINK

Answer = TypeVar("Answer")


class ScriptStopped(BaseException):  # `except Exception` must not hold it
    """Raised inside a script that is past its deadline or whose board is no longer waited for."""


class Bridge:
    """Calls from one script's thread into the loop it belongs to."""

    def __init__(self, portal: BlockingPortal, clock: ScriptClock) -> None:
        self._portal = portal
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._context = contextvars.copy_context()  # the loop's, not the script's: its output is routed
        self._open = True
        self._lock = threading.Lock()
        self._crossing = False
        self.before_crossing: Callable[[], object] = int  # called on the loop; does nothing unless set

    def call(self, function: Callable[..., Awaitable[Answer]], *arguments: object) -> Answer:
        """Run a coroutine on the loop and wait for it; the script's clock stands still meanwhile.

        Args:
            function: What makes the coroutine, on the loop.
            *arguments: What it is called with.

        Raises:
            ScriptStopped: the bridge was closed.
            ParburnError: what the coroutine raises comes out of here.
        """
        with self._lock:
            if not self._open:
                raise ScriptStopped
            self._crossing = True
        try:
            with self._clock.paused():
                answer: Answer = self._portal.call(self._outside, function, arguments)
                return answer
        finally:
            self._crossing = False

    async def _outside(
        self, function: Callable[..., Awaitable[Answer]], arguments: tuple[object, ...]
    ) -> Answer:
        """Make the call without the script's context: what the device's own code prints is not its."""
        SINK.set(None)
        READER.set(None)
        self.before_crossing()
        return await function(*arguments)

    def check(self) -> None:
        """Raise ScriptStopped when the bridge was closed."""
        if not self._open:
            raise ScriptStopped

    def close(self) -> None:
        """Let nothing through any more."""
        with self._lock:
            self._open = False

    def close_unless_crossing(self) -> bool:
        """Close, unless a call is under way: then the script waits for us. Return whether it is closed."""
        with self._lock:
            if self._crossing:
                return False
            self._open = False
            return True

    def post(self, function: Callable[[], object]) -> None:
        """Have a function called on the loop, without waiting. Lost when the loop is gone."""
        try:
            self._loop.call_soon_threadsafe(function, context=self._context)
        except RuntimeError:  # the loop was closed: nobody listens any more
            self._open = False
