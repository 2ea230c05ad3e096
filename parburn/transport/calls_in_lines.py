"""Calls in a port's thread that may move its lines, made inside LINES of the machine's lock. Opens nothing.

What a driver has begun cannot be taken back: a call goes on when its task was cancelled, and when it is not
waited for any more. So the stay inside ends when the call does, in the thread, or once it was inside for its
time; not when the task goes away. An adapter that hangs must not keep every other board from burning: what it
does with its lines after that is the known remainder.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Final, TypeVar

from parburn.transport.lines_lock import LINES_WAIT_S, Stay, machine_lines
from parburn.transport.lock_file import Kind
from parburn.transport.port_thread import PortThread

OPEN_LASTS_S: Final = 0.01  # of an adapter that is well
OPEN_HOLDS_LINES_S: Final = 0.3
CLOSE_HOLDS_LINES_S: Final = 0.3

_LOOK_S: Final = 1.0  # how often a port that waits to be closed is looked at; longer than OVERDUE_S

Result = TypeVar("Result")


async def done_in_lines(
    thread: PortThread,
    call: Callable[[], Result],
    within_s: float,
    *,
    lasts_s: float = math.inf,
    holds_s: float,
    given_up: Callable[[], object] | None = None,
    unwanted: Callable[[Result], object] | None = None,
) -> Result:
    """Have `call` made in a port's thread while no chip of this machine burns.

    Args:
        thread: The port's.
        call: What may move its lines.
        within_s: Seconds until it is not waited for any more.
        lasts_s: Seconds of the call where all is well, where they are known.
        holds_s: Seconds of the call inside LINES at most; from then on others may burn.
        given_up: Called when that time is over, or `within_s` is: the call is to move no further line.
        unwanted: Gets what the call returns when nobody waits any more.

    Raises:
        LinesBusy: chips burned all the time; the call was not made.
        TimeoutError: the call took longer than `within_s`. And what the call raises.
    """
    stay = await machine_lines().enter(Kind.LINES, within_s=LINES_WAIT_S, lasts_s=lasts_s)
    return await _done_inside(stay, thread, call, within_s, holds_s, given_up, unwanted)


async def closed_in_lines(
    thread: PortThread, close: Callable[[], object], within_s: float, *, is_gone: Callable[[], bool]
) -> None:
    """Have a port closed in its thread while no chip of this machine burns.

    Boards of this process that burn do not wait for it: a run would burn fewer at once. It is closed in any
    case: at once where the port is gone, after LINES_WAIT_S of burning, or when this is cancelled, since then
    the loop ends. HUPCL is cleared, so what Linux does at closing moves no line.

    Raises:
        TimeoutError: closing took longer than `within_s`.
    """
    try:
        stay = await _stay_to_close(is_gone)
    except BaseException:
        thread.post(close, lambda error: None)
        raise
    await _done_inside(stay, thread, close, within_s, CLOSE_HOLDS_LINES_S)


async def _stay_to_close(is_gone: Callable[[], bool]) -> Stay | None:
    loop, lock = asyncio.get_running_loop(), machine_lines()
    until = loop.time() + LINES_WAIT_S
    while loop.time() < until and not is_gone():
        patient = lock.is_inside(Kind.BURN)
        stay = await lock.find_stay(Kind.LINES, patient=patient, within_s=_LOOK_S)
        if stay is not None:
            return stay
    return None


async def _done_inside(
    stay: Stay | None,
    thread: PortThread,
    call: Callable[[], Result],
    within_s: float,
    holds_s: float,
    given_up: Callable[[], object] | None = None,
    unwanted: Callable[[Result], object] | None = None,
) -> Result:
    if stay is None:
        return await thread.do(call, within_s, unwanted=unwanted)
    stay.outlives_task()

    def inside() -> Result:
        try:
            return call()
        finally:
            stay.leave()

    def over() -> None:
        if given_up is not None:
            given_up()
        stay.leave()

    timer = asyncio.get_running_loop().call_later(holds_s, over)
    try:
        result = await thread.do(inside, within_s, unwanted=unwanted)
    except asyncio.CancelledError:
        raise  # the call goes on, and is still inside
    except TimeoutError:
        over()
        timer.cancel()
        raise
    except BaseException:
        timer.cancel()
        raise
    timer.cancel()
    return result
