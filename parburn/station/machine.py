"""What a station's machine is like: whether its clock is right, and how long its disk has room. Looks only.

Order in the ledger never comes from the clock, so a wrong one harms no board; but who reads the record later
would be misled. A full disk stops all boards, and is known hours before.
"""

from __future__ import annotations

import asyncio
import ctypes
from collections.abc import Callable
from typing import Final

from anyio import to_thread

from parburn.errors import LedgerError
from parburn.ledger.disk_room import disk_left
from parburn.ledger_place import Place, PoolAddress

LOOK_S: Final = 180.0  # between two looks
SHIFT_S: Final = 12 * 3600.0
FEW_BOARDS: Final = 1000  # a shift has at least so many, whatever the first minutes were like
MEASURED_S: Final = 600.0  # the pace of a shorter time is none
CLOCK: Final = "the clock is not synchronised: times in the record may be wrong"

Amber = Callable[[str, str], object]  # kind, sentence; an empty sentence takes the mark away


async def watch_machine(
    amber: Amber, *, ledger: Place, to_come: Callable[[], int], every_s: float = LOOK_S
) -> None:
    """Look at clock and disk every few minutes, until cancelled.

    Args:
        amber: Takes what is found.
        ledger: Where it is. Of a pool somebody else looks at the disk.
        to_come: How many boards may come within the shift.
        every_s: Between two looks.
    """
    while True:
        amber("clock", CLOCK if clock_is_synchronised() is False else "")
        if isinstance(ledger, PoolAddress):
            await asyncio.sleep(every_s)
            continue
        try:
            room = await to_thread.run_sync(disk_left, ledger)
        except LedgerError as error:  # no reason to stop: the next entry that fails says so itself
            amber("disk", str(error))
        else:
            amber("disk", room.amber(to_come()) or "")
        await asyncio.sleep(every_s)


def boards_of_a_shift(begun: int, seconds: float, indexes_left: int | None) -> int:
    """Return how many boards may still come within a shift, by the pace so far.

    Args:
        begun: Boards since the start.
        seconds: Since the start.
        indexes_left: More can never come; None: not known.
    """
    pace = begun / max(seconds, MEASURED_S)
    boards = max(FEW_BOARDS, int(pace * SHIFT_S))
    return boards if indexes_left is None else min(boards, indexes_left)


# The clock --------------------------------------------------------------------------------------------


class _Timex(ctypes.Structure):
    """`struct timex` of <sys/timex.h> up to `maxerror`; the kernel writes some more behind it."""

    _fields_ = (
        ("modes", ctypes.c_int),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),  # us
        ("rest", ctypes.c_char * 512),
    )


_MOST_ERROR_US: Final = 16_000_000  # the kernel counts up to this while nobody sets the clock


def clock_is_synchronised() -> bool | None:
    """Tell whether something keeps the clock right (timesyncd, chrony, ntpd); None: it cannot be known.

    It asks the kernel, which needs no rights, as `timedatectl` does: by the error that the clock may have by
    now. The flag STA_UNSYNC says less: some programs leave it set to keep the kernel off the hardware clock.
    """
    found = _Timex()  # modes = 0: nothing is set
    try:
        answer = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(found))
    except (OSError, AttributeError):  # no such call in this C library
        return None
    return None if answer < 0 else bool(found.maxerror < _MOST_ERROR_US)
