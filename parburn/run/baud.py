"""Whether raising the baud rate pays for a job: bytes still to come against the change. Pure arithmetic.

The ROM starts at 115200 baud. A change costs an exchange, a pause until both sides have settled, and one
more exchange that shows whether the line carries the new rate: 13 ms where replies come in 1 ms frames, 60 ms
behind an adapter with a latency timer of 16 ms (measured, `python -m benchmarks.one_board`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Final

from parburn.chips.model import Chip

ROM_BAUD: Final = 115200
FAST_BAUD: Final = 921600  # what nearly every USB adapter and the ROMs do
CHANGE_S: Final = 0.060
READ_BYTES: Final = 14  # of a register's request; its answer, as long, comes meanwhile
STEP_BYTES: Final = 850  # of a block that is staged, read back, burned and verified
LEAST_STEPS: Final = 2  # of a script that burns: a block, and BLOCK0

RateFor = Callable[[Chip, Collection[int]], int]  # blocks that are still to be read


def rate_that_pays(chip: Chip, blocks: Collection[int], *, burns: bool) -> int:
    """Return the baud rate for a job: 115200 or 921600, whichever ends sooner.

    Args:
        chip: The chip's row.
        blocks: Indexes of the blocks that are still to be read.
        burns: Whether the script may burn.
    """
    size = READ_BYTES * sum(chip.blocks[index].words for index in blocks)
    if burns:
        size += LEAST_STEPS * STEP_BYTES
    saved_s = size * 10 * (1 / ROM_BAUD - 1 / FAST_BAUD)
    return FAST_BAUD if saved_s > CHANGE_S else ROM_BAUD
