"""From a port to a chip that is known: connect, identify, again where the line was damaged. Burns nothing."""

from __future__ import annotations

from anyio import fail_after, to_thread

from parburn.errors import LinkError, NoAnswer, ParburnError
from parburn.events import Identified, StepChanged
from parburn.hardware.first_contact import identified
from parburn.hardware.hooks import GUARD_REGISTERS
from parburn.hardware.identify import Device, identify
from parburn.hardware.rom_loader import RomLoader
from parburn.job import Before
from parburn.run.baud import ROM_BAUD, RateFor
from parburn.run.board_progress import BoardProgress
from parburn.run.shared import SharedRun
from parburn.transport.ports import is_of_the_line, told_of_reader
from parburn.transport.stream import ByteStream

CONNECT_DEADLINE_S = 60.0
SLOW_ADAPTER_MS = 2
NO_RESET: tuple[Before, ...] = ("no-reset", "no-reset-no-sync")


async def opened(run: SharedRun, board: BoardProgress) -> ByteStream:
    """Open the board's port.

    Raises:
        PortBusy, PortDenied, PortGone: each with a hint, as `transport.open_stream`.
        UsageError: the port is an address that cannot be understood.
    """
    run.emit(StepChanged(board.port, "connecting"))
    stream = await run.ports.open(board.port)
    if (stream.latency_ms or 0) > SLOW_ADAPTER_MS:
        run.slow_adapters[board.port] = stream.latency_ms or 0
    return stream


async def name_reader(port: str, error: ParburnError) -> None:
    """Say in an error of the line which other program has the port open, where one has."""
    if is_of_the_line(error):
        await to_thread.run_sync(told_of_reader, port, error)


async def connected(run: SharedRun, board: BoardProgress, stream: ByteStream) -> Device:
    """Find the ROM and the chip at the other end, within CONNECT_DEADLINE_S.

    Raises:
        LinkError: no answer, or damaged ones, or the deadline has passed.
        ChipError: not the chip that was asked for, or its identity is not certain.
    """
    try:
        with fail_after(CONNECT_DEADLINE_S):
            return await _connect_and_identify(run, board, stream)
    except TimeoutError as error:
        raise NoAnswer(
            f"not identified within {CONNECT_DEADLINE_S:g} s",
            hint="Check the cable and that the board is in download mode.",
        ) from error


async def _connect_and_identify(run: SharedRun, board: BoardProgress, stream: ByteStream) -> Device:
    def attempt(number: int) -> None:
        run.emit(StepChanged(board.port, "connecting", f"attempt {number}"))

    job = run.job
    board.rom = rom = await RomLoader.connect(
        stream,
        before=job.before,
        attempts=job.connect_attempts,
        on_attempt=attempt,
        trace=run.traces.open(board.port),
    )
    board.watch.tell(lambda error: run.lost(board, error))
    rom.when_lost(board.watch.lose)
    run.emit(StepChanged(board.port, "identifying"))
    rate: RateFor | None = run.rate_for(stream)

    async def look() -> Device:
        return await _identify(run, rom, rate=rate)

    async def connect_anew() -> None:
        before: Before = "no-reset" if job.before in NO_RESET else job.before
        await rom.reconnect(before=before, attempts=job.connect_attempts, on_attempt=attempt)
        run.emit(StepChanged(board.port, "identifying"))

    def slow_down(error: LinkError) -> None:
        nonlocal rate
        if job.baud is None:
            rate = None
            run.note(board.port, f"{error}; it goes on at {ROM_BAUD} baud", "warning")

    device = await identified(rom, look, connect_anew=connect_anew, slow_down=slow_down)
    board.device = device
    device.controller.guard(device.identity.registers[:GUARD_REGISTERS], device.identity.same_board)
    run.emit(
        Identified(
            board.port,
            device.chip.title,
            device.identity.mac_text,
            device.revision,
            device.crystal_mhz,
            device.identity.unique_id.hex(),
        )
    )
    return device


async def _identify(run: SharedRun, rom: RomLoader, *, rate: RateFor | None) -> Device:
    return await identify(
        rom,
        wanted=run.job.chip,
        blocks=run.blocks_in_scripts,
        extend=run.extend,
        found=lambda chip: run.traces.mask_keys(rom.trace, chip),
        rate=rate,
        burns=run.scripts.may_burn,
    )
