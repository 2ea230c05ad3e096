"""The garbage collector, which our entry point has taken away, given back before boards are driven.

A board leaves cycles behind: 20 KB, and 30 KB more for each key. Left to its own rules the collector looks
for those that have grown old ever more rarely, and a station that runs for days grows.
"""

from __future__ import annotations

import asyncio
import gc
from typing import Final

EVERY_S: Final = 10.0


def collect_only_what_comes(*threshold: int) -> None:
    """Have the collector look at nothing that is there already; do nothing where it was never taken away.

    Modules, tables and config files (a million ids) live as long as the command; to look through them for
    each board that allocates costs more than driving it.

    Args:
        threshold: As of `gc.set_threshold`.
    """
    if not gc.isenabled():
        gc.freeze()
        gc.set_threshold(*threshold)
        gc.enable()


async def collect_now_and_then(every_s: float = EVERY_S) -> None:
    """Look for all that nobody needs any more, again and again; some 10 ms each time."""
    while True:
        await asyncio.sleep(every_s)
        gc.collect()
