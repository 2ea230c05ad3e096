"""Who the chip is: one that cannot be told is not touched, and another chip in its place gets no bit."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from parburn.efuse.image import EfuseImage
from parburn.efuse.staging import StagedBurns, stage_field
from parburn.errors import (
    BoardSwapped,
    ChipError,
    IdentityUnclear,
    LinkError,
    ParburnError,
    ReadOtherwise,
    SecureDownload,
    VerifyFailed,
    WrongChip,
)
from parburn.hardware.commit import FRESH_S, commit
from parburn.hardware.identify import identify
from parburn.hardware.rom_loader import RomLoader
from parburn.sim.board import SimulatedBoard
from tests.hardware.commit_bench import (
    BoardStream,
    Book,
    board_named,
    burn,
    connected,
    finish,
    identity_and_key,
    in_virtual_time,
    plan_for,
    trial,
    true_bits,
    wanted_bits,
)
from tests.sim.boards import make_board

# --- another chip in the same place


def changed_while_it_waits(
    board: SimulatedBoard, waits_s: float, field: str, value: int
) -> Callable[[], AbstractAsyncContextManager[None]]:
    """A commit's `burning`, for which it waits; meanwhile the chip gets other bits."""

    @asynccontextmanager
    async def burning() -> AsyncIterator[None]:
        await asyncio.sleep(waits_s)
        board.memory.preset_field(field, value)
        board.controller.load()
        yield

    return burning


def test_another_chip_in_the_same_place_gets_no_bit() -> None:
    async def job() -> None:
        board = board_named("esp32s3")
        device = await connected(board)
        plan = plan_for(device)
        board.memory.preset_field("MAC", int.from_bytes(b"\x24\x0a\xc4\x09\x09\x09", "big"))
        board.controller.load()
        before, book = true_bits(board), Book()
        with pytest.raises(BoardSwapped, match="another chip"):
            await commit(plan, device.controller, device.image, book.hooks(device))
        assert true_bits(board) == before
        assert book.attempted == 0

    in_virtual_time(job())


@pytest.mark.parametrize("waited_s", [0.0, 2 * FRESH_S])
def test_another_chip_that_came_while_it_waited_for_the_lines_gets_no_bit(waited_s: float) -> None:
    async def job() -> None:
        board = board_named("esp32s3")
        device = await connected(board)
        plan, book = plan_for(device), Book()
        burning = changed_while_it_waits(board, waited_s, "MAC", 0x240A_C409_0909)
        hooks = book.hooks(device)._replace(burning=burning)
        with pytest.raises(BoardSwapped, match="another chip"):
            await commit(plan, device.controller, device.image, hooks)
        assert all(not board.memory.cells[write.block.index] for step in plan.steps for write in step.writes)
        assert book.attempted == 0

    in_virtual_time(job())


def test_a_chip_that_shows_other_bits_after_a_long_wait_for_the_lines_gets_none() -> None:
    """Its identity is the same: a clone, say, that was put into the socket of a bridge."""

    async def job() -> None:
        board = board_named("esp32c3")
        device = await connected(board)
        plan, book = plan_for(device), Book()
        burning = changed_while_it_waits(board, 2 * FRESH_S, "CUSTOM_MAC", 5)
        hooks = book.hooks(device)._replace(burning=burning)
        with pytest.raises(ReadOtherwise, match="BLOCK_USR_DATA"):
            await commit(plan, device.controller, device.image, hooks)
        assert board.memory.field_bits("CUSTOM_MAC") == 5
        assert book.attempted == board.controller.programs == 0

    in_virtual_time(job())


def test_bits_beside_the_factory_mac_are_not_another_chip() -> None:
    """The word of the MAC's upper bytes and CRC has bits that belong to nobody; burn_bit may burn them."""

    def beside(image: EfuseImage, staged: StagedBurns) -> None:
        staged.add(0, 1 << 88)

    async def job() -> None:
        board = board_named("esp32")
        device = await connected(board)
        assert device.identity.masks == (0xFFFFFFFF, 0x00FFFFFF)
        await device.rom.aclose()
        await burn(board, beside)
        assert true_bits(board)[0] >> 88 & 1
        again = await connected(board)
        again.identity.same_board(await again.rom.read_regs(again.identity.registers))
        for bit in (1 << 23, 1):
            changed = (again.identity.values[0], again.identity.values[1] ^ bit)
            with pytest.raises(BoardSwapped):
                again.identity.same_board(changed)
        await again.rom.aclose()

    in_virtual_time(job())


@pytest.mark.parametrize("ends", [False, True])
def test_another_chip_in_the_middle_of_a_commit_gets_no_bit_either(ends: bool) -> None:
    """The hardest case: its line is in step at once, and nothing was lost."""

    def stage(image: EfuseImage, staged: StagedBurns) -> None:
        identity_and_key(image, staged)
        if ends:
            stage_field(image, staged, image.field_named("DIS_DOWNLOAD_MODE"), 1)  # not to be finished here

    async def job(name: str) -> int:
        healthy = await trial(name, stage=stage)
        cases = 0
        for size in range(7, healthy.board.received, 101):
            board, other = board_named(name), board_named(name)
            other.memory.preset_field("MAC", int.from_bytes(b"\x24\x0a\xc4\x09\x09\x09", "big"))
            if size % 2:  # one that was burned before, or a new one
                other.memory.cells[3] = 0b1011
            other.controller.load()
            device = await connected(board)
            plan, before, theirs = plan_for(device, stage), true_bits(board), true_bits(other)
            stream = device.rom.stream
            assert isinstance(stream, BoardStream)
            stream.other, stream.left_until_swap = other, size
            with pytest.raises(ParburnError) as caught:
                await commit(plan, device.controller, device.image, Book().hooks(device))
            assert true_bits(other) == theirs, f"after {size} bytes: {caught.value}"
            assert not isinstance(caught.value, VerifyFailed), f"after {size} bytes: {caught.value}"
            await device.rom.aclose()
            if not board.memory.field_bits("DIS_DOWNLOAD_MODE"):
                await finish(board, plan, [s.label for s in plan.steps])
            assert ends or true_bits(board) == wanted_bits(plan, before)
            cases += 1
        return cases

    assert in_virtual_time(job("esp32c3")) > 20


# --- identification


async def fails_to_connect(board: SimulatedBoard, wanted: str = "auto") -> ParburnError:
    """The error of a board that cannot be identified; its bits are as they were."""
    before = true_bits(board)
    try:
        rom = await RomLoader.connect(BoardStream(board), before="no-reset", attempts=2)
        await identify(rom, wanted=wanted, blocks=lambda chip: (), extend=lambda chip: chip)
    except ParburnError as error:
        assert true_bits(board) == before
        return error
    raise AssertionError("it was identified")


@pytest.mark.parametrize(
    ("chip", "settings", "wanted", "kind"),
    [
        ("esp32c3", (), "esp32s3", WrongChip),
        ("esp32", ("magic=0x12345678",), "auto", WrongChip),
        ("esp32c3", ("ENABLE_SECURITY_DOWNLOAD=1",), "auto", SecureDownload),
        ("esp32s3", ("DIS_DOWNLOAD_MODE=1",), "auto", LinkError),
        ("esp32s3", ("MAC=0",), "auto", IdentityUnclear),
        ("esp32s3", ("MAC=01:00:5e:00:00:01",), "auto", IdentityUnclear),
    ],
)
def test_boards_that_are_not_touched(
    chip: str, settings: tuple[str, ...], wanted: str, kind: type[ParburnError]
) -> None:
    error = in_virtual_time(fails_to_connect(make_board(chip, *settings), wanted))
    assert isinstance(error, kind)
    assert error.hint or "bad read" in str(error)


def test_a_crystal_that_this_chip_cannot_burn_with_is_refused() -> None:
    """Where the frequency is measured, a board with another crystal than the chip's timings know."""
    error = in_virtual_time(fails_to_connect(make_board("esp32", f"clkdiv={round(32e6 / 115200)}")))
    assert isinstance(error, ChipError)
    assert "MHz" in str(error)


def test_two_readings_of_the_identity_that_differ() -> None:
    """A bit flips in one answer, at every word of the identity: the board is refused, never mistaken."""

    async def job() -> set[str]:
        kinds: set[str] = set()
        healthy = board_named("esp32s3")
        mac = (await connected(healthy, blocks=())).identity.mac
        for byte in range(250, healthy.sent, 5):
            board = board_named("esp32s3", f"byte {byte} to the host is flipped")
            try:
                device = await connected(board)
            except (IdentityUnclear, LinkError, ChipError) as error:
                kinds.add(type(error).__name__)
            else:
                assert device.identity.mac == mac
        return kinds

    assert "IdentityUnclear" in in_virtual_time(job())
