"""First contact with a chip: identifies it, again where the line was damaged. Nothing is burned by then.

Answers carry no checksum and requests are executed as they arrive, so one damaged byte looks like another
chip, like a refusal, or like silence. All that is read before the first pulse can be read again: silence and
garbage are followed by a SYNC and a new identification, and a chip is refused only when it gives the same bad
answer twice. A damaged READ_REG may ask for an address where nothing is, and then the ROM is dead until it is
reset: where SYNC finds nobody, the chip is connected anew, with a reset unless the operator forbade it. That
is before the barrier, where lines may move.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from parburn.errors import (
    ChipError,
    CommandRefused,
    EfuseError,
    GarbledAnswer,
    LinkError,
    NoAnswer,
    ParburnError,
    PortGone,
)
from parburn.hardware.identify import Device
from parburn.hardware.rom_loader import RomLoader

ROUNDS: Final = 3  # of an identification, or of reading blocks

Value = TypeVar("Value")


async def identified(
    rom: RomLoader,
    look: Callable[[], Awaitable[Device]],
    *,
    connect_anew: Callable[[], Awaitable[None]],
    slow_down: Callable[[LinkError], None],
) -> Device:
    """Return what `look` identifies; after damage it is called again, at most `ROUNDS` times in all.

    Args:
        look: identifies the chip; reads only.
        connect_anew: finds the ROM again at its first rate, with a reset where that is allowed. It is called
            where SYNC alone does not help, and after a second failure at a raised rate.
        slow_down: is told of the error that ended a raised rate.

    Raises:
        PortGone: the port vanished.
        LinkError: what the last call raised.
        ChipError, EfuseError: what the last call raised, or a refusal that has come twice.
    """
    refusal = ""
    try:
        for number in range(1, ROUNDS + 1):
            rom.hasty = number == 1  # silence may be a slow line: from the second round on it has its time
            try:
                return await look()
            except PortGone:
                raise
            except (LinkError, ChipError, EfuseError) as error:
                said = "" if isinstance(error, LinkError) else f"{type(error).__name__}: {error}"
                if number == ROUNDS or (said and said == refusal):
                    raise
                refusal = said or refusal
                rom.counters.retries += 1
                await _in_step_again(rom, error, number, connect_anew, slow_down)
    finally:
        rom.hasty = False
    raise AssertionError("the last round returns or raises")


async def _in_step_again(
    rom: RomLoader,
    error: ParburnError,
    number: int,
    connect_anew: Callable[[], Awaitable[None]],
    slow_down: Callable[[LinkError], None],
) -> None:
    """Find the ROM again after `error`. Raises `error` where it is not found, and PortGone."""
    raised = rom.raised
    try:
        if not raised or number == 1:
            try:
                await rom.sync(tries=1)
                return
            except (NoAnswer, GarbledAnswer):
                pass  # dead until it is reset, or back at its first rate
        await connect_anew()
    except PortGone:
        raise
    except LinkError as lost:
        raise error from lost
    if raised and isinstance(error, LinkError):
        slow_down(error)


async def read_again(device: Device, read: Callable[[], Awaitable[Value]]) -> Value:
    """Return what `read` reads of this chip; after damage SYNC and `read` again. No line is moved.

    Args:
        read: must only read: it may be called three times.

    Raises:
        ParburnError: what the last call raised, or what SYNC did.
    """
    for _ in range(ROUNDS - 1):
        try:
            return await read()
        except (NoAnswer, GarbledAnswer, CommandRefused):
            device.rom.counters.retries += 1
            await device.rom.sync()
            device.controller.forget()  # the ROM may have restarted
    return await read()
