"""What boards leave behind is looked for while a station runs, however old it has grown."""

from __future__ import annotations

import asyncio
import gc
import weakref

from parburn.cli.garbage import collect_now_and_then


class Left:
    """A cycle."""

    def __init__(self) -> None:
        self.itself = self


def test_old_cycles_go() -> None:
    async def run() -> None:
        left = weakref.ref(Left())
        gc.collect(1)  # it is old now, and no rule of the collector's asks for it
        gc.disable()
        collecting = asyncio.ensure_future(collect_now_and_then(0.01))
        try:
            async with asyncio.timeout(5):
                while left() is not None:  # noqa: ASYNC110  # nobody tells
                    await asyncio.sleep(0.01)
        finally:
            gc.enable()
            collecting.cancel()

    asyncio.run(run())
