"""RomLoader against the simulator's boards: another reading of the same ROM, through ptys and faults."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from parburn.chips.model import RegisterWrite
from parburn.chips.registry import chip_named
from parburn.errors import LinkError, NoAnswer, PortGone
from parburn.hardware.burst_frames import ReadRegs, WriteRegs
from parburn.hardware.rom_loader import MAGIC_ADDRESS, RomLoader
from parburn.transport.open import open_stream
from tests.rig import start_rig

SAFE_ADDRESS = MAGIC_ADDRESS


def talk(port: str, job: Callable[[RomLoader], Awaitable[None]]) -> None:
    async def run() -> None:
        stream = await open_stream(port)
        try:
            await job(await RomLoader.connect(stream, attempts=2))
        finally:
            await stream.aclose()

    asyncio.run(run())


@pytest.mark.parametrize("name", ["esp32", "esp32c3", "esp32s3"])
def test_a_paced_board(name: str, tmp_path: Path) -> None:
    chip = chip_named(name)
    addresses = tuple(block.read_address + 4 * word for block in chip.blocks for word in range(block.words))
    scratch = chip.blocks[-1].write_address

    async def job(rom: RomLoader) -> None:
        info = await rom.security_info()
        if info is None:
            assert rom.magic in chip.magics
        else:
            assert info.chip_id in chip.chip_ids
            assert not info.secure_download
        rom.set_limits(ring_bytes=chip.ring_bytes, entries_per_write=chip.entries_per_write)
        words = await rom.read_regs(addresses)
        assert await rom.read_regs(addresses) == words
        assert any(words)  # the factory MAC at least
        await rom.change_baud(921600)
        staging = tuple(RegisterWrite(scratch + 4 * n, 0xC0DB0000 + n) for n in range(8))
        back = tuple(scratch + 4 * n for n in range(8))
        seen = await rom.burst(
            WriteRegs(staging), ReadRegs(back), WriteRegs((RegisterWrite(scratch, 0, 0xFF),))
        )
        assert seen == [0xC0DB0000 + n for n in range(8)]
        await rom.write_regs([RegisterWrite(scratch + 4 * n, 0) for n in range(8)])
        await rom.change_baud(115200)
        assert await rom.read_regs(addresses) == words
        assert rom.counters.retries <= 1  # a board that was switched off and on is deaf while it boots

    with start_rig(name, tmp_path=tmp_path, baud_limit=115200, usb_latency_ms=1) as rig:
        talk(rig.ports[0], job)
        talk(rig.ports[0], job)  # the port was left as it was found


async def read_much(rom: RomLoader) -> None:
    """Read one register often enough to reach every fault below."""
    for _ in range(10):
        await rom.burst(ReadRegs((SAFE_ADDRESS,) * 20), timeout_s=0.5)


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("the link is silent after 900 bytes", NoAnswer),
        ("the port vanishes after 700 bytes", PortGone),
        ("the ROM reboots at packet 31", LinkError),
        ("byte 1003 to the host is lost", LinkError),
        ("byte 1003 to the host is doubled", LinkError),
        ("byte 1009 to the host is flipped in bit 3", LinkError),
        ("byte 303 from the host is lost", LinkError),
    ],
)
def test_faults_of_the_line_are_noticed(fault: str, error: type[LinkError], tmp_path: Path) -> None:
    with start_rig("esp32c3", tmp_path=tmp_path, faults=[fault]) as rig, pytest.raises(error) as caught:
        talk(rig.ports[0], read_much)
    assert rig.ports[0] in str(caught.value)


def test_a_board_whose_port_was_noisy_at_first(tmp_path: Path) -> None:
    with start_rig("esp32s3", tmp_path=tmp_path, faults=["20 bytes of garbage come before answer 1"]) as rig:
        talk(rig.ports[0], read_much)


def test_in_step_again_after_a_silence(tmp_path: Path) -> None:
    async def job(rom: RomLoader) -> None:
        with pytest.raises(NoAnswer):
            await read_much(rom)
        await rom.sync()
        await rom.read_regs([SAFE_ADDRESS] * 20)

    with start_rig(
        "esp32", tmp_path=tmp_path, faults=["the link is silent after 900 bytes for 600 ms"]
    ) as rig:
        talk(rig.ports[0], job)
