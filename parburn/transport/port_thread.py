"""A thread for the calls of one port that its driver may hold up. Knows no ports; opens nothing.

Opening, moving lines, changing the rate and closing are control requests to a USB adapter. Linux waits 5 s
for each that an adapter does not answer: on the event loop that stops all boards. So each port has a thread,
and not a pool, which a few hung adapters would use up for the others. The thread is a daemon: a call that
never returns keeps no process. Calls are carried out one after the other, in the order they were asked for.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import TypeVar

Result = TypeVar("Result")


class PortThread:
    """One thread. Made and used on the event loop; only what it is given to call runs beside it."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.get_running_loop()
        self._work: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        threading.Thread(target=self._run, name=name, daemon=True).start()

    async def do(
        self,
        call: Callable[[], Result],
        within_s: float,
        *,
        unwanted: Callable[[Result], object] | None = None,
    ) -> Result:
        """Have `call` made in the thread, and wait for what it returns.

        Args:
            call: What to call.
            within_s: Seconds until it is not waited for any more; the call itself goes on.
            unwanted: Gets what the call returns when nobody waits for that any more: a port that opens late
                is closed.

        Raises:
            TimeoutError: it took longer. And what the call raises.
        """
        done: asyncio.Future[Result] = self._loop.create_future()

        def deliver(result: Result) -> None:
            if not done.done():
                done.set_result(result)
            elif unwanted is not None:  # the thread may have been ended meanwhile
                threading.Thread(target=unwanted, args=(result,), daemon=True).start()

        def fail(error: Exception) -> None:
            if not done.done():
                done.set_exception(error)

        def work() -> None:
            try:
                result = call()
            except Exception as error:
                self._tell(fail, error)
            else:
                if not self._tell(deliver, result) and unwanted is not None:
                    unwanted(result)

        self._work.put(work)
        async with asyncio.timeout(within_s):
            return await done

    def post(self, call: Callable[[], object], failed: Callable[[Exception], object]) -> None:
        """Have `call` made in the thread without waiting; `failed` gets what it raises, on the loop."""

        def work() -> None:
            try:
                call()
            except Exception as error:
                self._tell(failed, error)

        self._work.put(work)

    def end(self) -> None:
        """End the thread once all that it was given is done."""
        self._work.put(None)

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            work()

    def _tell(self, call: Callable[..., object], *args: object) -> bool:
        """Whether the loop, which may have ended, was told."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(call, *args)
            return True
        return False
