"""Reads a board whole, until two readings agree. Burns nothing, and knows no ledger."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial

from anyio import fail_after, move_on_after

from parburn.chips.model import Chip
from parburn.efuse.image import EfuseImage
from parburn.errors import GarbledAnswer, NoAnswer, ParburnError
from parburn.hardware.first_contact import identified, read_again
from parburn.hardware.identify import Device, identify
from parburn.hardware.rom_loader import RomLoader
from parburn.job import Job
from parburn.transport.open import open_stream
from parburn.transport.stream import ByteStream

READ_DEADLINE_S = 60.0  # for a board to be identified and read
CLOSE_DEADLINE_S = 2.0
AGREEING_READS = 4  # readings of a board, until two in a row agree


async def read_board(job: Job, extend: Callable[[Chip], Chip], port: str) -> tuple[Device, EfuseImage]:
    """Identify the board at a port and read all of its blocks.

    Args:
        job: Which chip is wanted, and how its loader is reached.
        extend: Joins custom tables to a chip.
        port: The port.

    Raises:
        ParburnError: it could not be opened, identified or read within its time.
    """
    stream = None
    try:
        with fail_after(READ_DEADLINE_S):
            stream = await open_stream(port)
            return await _read_whole(job, extend, stream)
    except TimeoutError:
        raise NoAnswer(f"not identified and read within {READ_DEADLINE_S:g} s") from None
    finally:
        if stream is not None:
            with move_on_after(CLOSE_DEADLINE_S, shield=True), suppress(ParburnError):
                await stream.aclose()


async def _read_whole(
    job: Job, extend: Callable[[Chip], Chip], stream: ByteStream
) -> tuple[Device, EfuseImage]:
    rom = await RomLoader.connect(stream, before=job.before, attempts=job.connect_attempts)

    async def look() -> Device:
        return await identify(
            rom,
            wanted=job.chip,
            blocks=lambda chip: [block.index for block in chip.blocks],
            extend=extend,
        )

    async def connect_anew() -> None:
        await rom.reconnect(before=job.before, attempts=job.connect_attempts)

    device = await identified(rom, look, connect_anew=connect_anew, slow_down=lambda error: None)
    every = [block.index for block in device.chip.blocks]
    now = device.image
    for _ in range(AGREEING_READS):
        before = now
        now = await read_again(device, partial(device.controller.read_blocks, every, before))
        if now == before:
            return device, now
    raise GarbledAnswer(
        "no two readings of the chip's blocks agree",
        hint="The line damages data: use a shorter cable or another hub port, then try again.",
    )
