"""Controller and commit against the simulated chip in memory and in virtual time: what the chip then holds.

A commit burns the plan and nothing else, notices what is not as it was when the plan was made, can be stopped
between two blocks, and knows the steps after which the chip answers no more. A bad line or a bad chip is the
subject of `test_commit_faults.py`, another chip in the same place that of `test_commit_identity.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from anyio import create_task_group

from parburn.coding import CodingScheme
from parburn.efuse.image import EfuseImage
from parburn.efuse.plan import BurnPlan, BurnStep, plan_burns
from parburn.efuse.staging import StagedBurns, stage_custom_mac, stage_key
from parburn.errors import BoardSwapped, LedgerError, PartialBurn, PortGone, VerifyFailed
from parburn.hardware.commit import CommitResult, commit
from parburn.hardware.hooks import CommitHooks
from parburn.hardware.identify import Device
from parburn.sim.board import SimulatedBoard
from tests.hardware.commit_bench import (
    CHIPS,
    CUSTOM_MAC,
    KEY,
    Book,
    Stage,
    board_named,
    burn,
    connected,
    finish,
    identity_and_key,
    in_virtual_time,
    one_field,
    plan_for,
    trial,
    true_bits,
    wanted_bits,
)
from tests.sim.boards import make_board

# --- what works


@pytest.mark.parametrize("name", [*CHIPS, "esp32 3/4"])
def test_a_plan_lands_bit_for_bit_and_every_step_is_told(name: str) -> None:
    found = in_virtual_time(trial(name))
    assert found.error is None
    assert found.whole
    assert found.book.attempted == 1
    assert found.book.burned == [step.label for step in found.plan.steps]
    assert [step.locks for step in found.plan.steps][-1:] == [True]


@pytest.mark.parametrize("name", CHIPS)
def test_what_is_there_already_costs_no_pulse(name: str) -> None:
    async def job() -> None:
        board = board_named(name)
        await burn(board)
        device = await connected(board)
        staged = StagedBurns()
        stage_custom_mac(device.image, staged, CUSTOM_MAC)
        assert not plan_burns(device.image, staged)

    in_virtual_time(job())


def test_a_26_mhz_crystal_gets_the_timing_it_needs() -> None:
    async def job() -> None:
        board = make_board("esp32", "crystal=26", baud_limit=115200)
        records: list[str] = []
        board.controller.on_burn = lambda record: records.append(record.note)
        device = await connected(board)
        assert device.crystal_mhz == 26
        plan = plan_for(device)
        before = true_bits(board)
        await commit(plan, device.controller, device.image, Book().hooks(device))
        assert true_bits(board) == wanted_bits(plan, before)
        assert records == [""] * len(plan.steps)

    in_virtual_time(job())


def key_alone(image: EfuseImage, staged: StagedBurns) -> None:
    """A key without locks: its block is the last that is staged."""
    name, purpose = ("BLOCK_KEY0", "USER") if image.chip.coding is CodingScheme.RS else ("BLOCK1", None)
    block = image.chip.block_by_name[name]
    key = KEY[: image.block_bits(block.index) // 8]
    stage_key(image, staged, block, key, purpose, write_protect=False, read_protect=False)


def key_words(plan: BurnPlan) -> set[int]:
    """What the programming registers hold of the plan's key."""
    writes = [write for step in plan.steps for write in step.writes]
    (key,) = (write for write in writes if write.block.name in ("BLOCK_KEY0", "BLOCK1"))
    return {word for word in key.words if word}


def staged_words(device: Device, board: SimulatedBoard) -> set[int]:
    """What the programming registers hold."""
    return {board.registers.words.get(address, 0) for address in device.controller.registers.addresses}


@pytest.mark.parametrize("breaks_off", [False, True])
def test_lines_are_still_from_the_first_write_to_the_last_step_read_back_and_no_longer(
    breaks_off: bool,
) -> None:
    """Reading before it, and the record of the last step, keep no other board from its reset."""

    async def job() -> None:
        board = board_named("esp32c3")
        device = await connected(board)
        plan, book = plan_for(device), Book()
        seen: list[str] = []
        left, records = asyncio.Event(), list[asyncio.Future[object]]()
        write, read = board.write, board.read

        def written(address: int, value: int, now: float) -> None:
            seen.append("write")
            write(address, value, now)

        def was_read(address: int, now: float) -> int:
            seen.append("read")
            return read(address, now)

        @asynccontextmanager
        async def burning() -> AsyncIterator[None]:
            seen.append("in")
            try:
                yield
            finally:
                seen.append("out")
                left.set()

        async def attempted() -> None:
            if breaks_off:
                raise LedgerError("the disk is full")

        def burned(step: BurnStep, number: int) -> asyncio.Future[object]:
            async def record() -> object:
                if number == len(plan.steps):
                    await left.wait()
                return None

            records.append(asyncio.ensure_future(record()))
            return records[-1]

        board.write, board.read = written, was_read  # type: ignore[method-assign]  # they only look
        hooks = book.hooks(device)._replace(attempted=attempted, burned=burned, burning=burning)
        if breaks_off:
            with pytest.raises(LedgerError):
                await commit(plan, device.controller, device.image, hooks)
            assert not key_words(plan) & staged_words(device, board)
        else:
            await commit(plan, device.controller, device.image, hooks)
        begins = seen.index("in")
        assert "read" in seen[:begins]
        assert "write" not in seen[:begins]
        assert "write" in seen[begins:]
        assert seen[-1] == "out"
        assert all(record.done() for record in records)

    in_virtual_time(job())


@pytest.mark.parametrize("stage", [identity_and_key, key_alone])
@pytest.mark.parametrize("name", CHIPS)
def test_no_key_stays_in_the_programming_registers(name: str, stage: Stage) -> None:
    async def job() -> None:
        board = board_named(name)
        device = await connected(board)
        plan = plan_for(device, stage)
        await commit(plan, device.controller, device.image, Book().hooks(device))
        assert not key_words(plan) & staged_words(device, board)

    in_virtual_time(job())


@pytest.mark.parametrize("name", CHIPS)
def test_nor_after_a_commit_that_broke_off(name: str) -> None:
    async def job() -> None:
        board = board_named(name)
        device = await connected(board)
        plan = plan_for(device, key_alone)

        async def attempted() -> None:
            assert key_words(plan) <= staged_words(device, board)
            raise LedgerError("the disk is full")

        with pytest.raises(LedgerError):
            await commit(
                plan, device.controller, device.image, Book().hooks(device)._replace(attempted=attempted)
            )
        assert not key_words(plan) & staged_words(device, board)
        assert board.controller.programs == 0

    in_virtual_time(job())


@pytest.mark.parametrize("name", ["esp32c3", "esp32s3"])
def test_nor_where_the_step_after_the_key_was_never_staged(name: str) -> None:
    """The chip takes no word any more but zeros: what was to overwrite the key did not get there."""

    async def job() -> None:
        board = board_named(name)
        device = await connected(board)
        plan = plan_for(device, identity_and_key)
        write = board.write

        def only_zeros(address: int, value: int, now: float) -> None:
            shared = address in device.controller.registers.addresses
            if not (shared and value and board.controller.programs):
                write(address, value, now)

        board.write = only_zeros  # type: ignore[method-assign]  # registers that do not hold what they get
        with pytest.raises(PartialBurn):
            await commit(plan, device.controller, device.image, Book().hooks(device))
        assert board.controller.programs == 1
        assert not key_words(plan) & staged_words(device, board)

    in_virtual_time(job())


# --- what it finds on the chip, and what stops it


@pytest.mark.parametrize("name", ["esp32", "esp32c3"])
def test_what_another_program_left_in_the_programming_registers_is_found(name: str) -> None:
    """A chip that was not reset may hold anything there: it is read back, and overwritten."""

    async def job() -> None:
        board = board_named(name)
        device = await connected(board)
        plan = plan_for(device, one_field("DIS_DOWNLOAD_ICACHE" if name == "esp32c3" else "JTAG_DISABLE"))
        before = true_bits(board)
        for address in device.controller.registers.addresses:
            board.registers.words[address] = 0xFFFF_FFFF
        await commit(plan, device.controller, device.image, Book().hooks(device))
        assert true_bits(board) == wanted_bits(plan, before)
        assert device.rom.counters.retries == 1

    in_virtual_time(job())


def test_bits_that_changed_since_the_plan_was_made_stop_it() -> None:
    async def job() -> None:
        board = board_named("esp32")
        device = await connected(board)
        plan = plan_for(device)
        board.memory.preset_field("JTAG_DISABLE", 1)
        board.controller.load()
        before, book = true_bits(board), Book()
        with pytest.raises(BoardSwapped, match="BLOCK0"):
            await commit(plan, device.controller, device.image, book.hooks(device))
        assert true_bits(board) == before
        assert book.attempted == 0

    in_virtual_time(job())


def test_a_stop_between_two_blocks_says_what_is_left() -> None:
    async def job() -> None:
        board = board_named("esp32c3")
        device = await connected(board)
        plan, book = plan_for(device), Book(stop_after=2)
        before = true_bits(board)
        with pytest.raises(PartialBurn, match="stopped") as caught:
            await commit(plan, device.controller, device.image, book.hooks(device))
        assert caught.value.remaining == len(plan.steps) - 2
        assert len(book.burned) == 2
        await device.rom.aclose()
        await finish(board, plan, book.burned)
        assert true_bits(board) == wanted_bits(plan, before)

    in_virtual_time(job())


def test_cancelling_does_not_tear_a_commit_that_has_begun() -> None:
    async def job() -> None:
        board = board_named("esp32c3")
        device = await connected(board)
        plan, book = plan_for(device), Book()
        before = true_bits(board)
        begun = asyncio.Event()
        hooks = book.hooks(device)

        async def attempted() -> None:
            begun.set()

        hooks = CommitHooks(
            identity=hooks.identity,
            same_board=hooks.same_board,
            attempted=attempted,
            burned=hooks.burned,
            may_go_on=hooks.may_go_on,
        )
        results: list[CommitResult] = []

        async def run() -> None:
            results.append(await commit(plan, device.controller, device.image, hooks))

        async with create_task_group() as tasks:
            tasks.start_soon(run)
            await begun.wait()
            tasks.cancel_scope.cancel()
        assert len(results) == 1
        assert true_bits(board) == wanted_bits(plan, before)

    in_virtual_time(job())


# --- steps after which the chip answers no more


@pytest.mark.parametrize(
    ("name", "field_name", "unread"),
    [
        ("esp32c3", "ENABLE_SECURITY_DOWNLOAD", True),
        ("esp32s3", "DIS_DOWNLOAD_MODE", True),
        ("esp32", "UART_DOWNLOAD_DIS", False),
    ],
)
def test_a_step_that_ends_the_link(name: str, field_name: str, unread: bool) -> None:
    async def job() -> None:
        board = board_named(name)
        result = await burn(board, one_field(field_name))
        assert board.memory.field_bits(field_name) == 1
        assert result.unread == ((field_name,) if unread else ())

    in_virtual_time(job())


def test_silence_is_no_success_when_the_port_went_too() -> None:
    async def job() -> None:
        found = await trial("esp32s3", stage=one_field("DIS_DOWNLOAD_MODE"))
        assert found.error is None
        received = found.board.received
        unplugged = await trial(
            "esp32s3", f"the port vanishes after {received - 44} bytes", stage=one_field("DIS_DOWNLOAD_MODE")
        )
        assert isinstance(unplugged.error, PartialBurn)
        assert isinstance(unplugged.error.__cause__, PortGone)

    in_virtual_time(job())


def test_secure_download_that_is_not_in_force_is_no_success() -> None:
    async def job() -> None:
        found = await trial(
            "esp32c3",
            "the supply browns out in program 1 leaving 0 percent of the bits",
            stage=one_field("ENABLE_SECURITY_DOWNLOAD"),
        )
        assert found.error is not None
        assert not (isinstance(found.error, VerifyFailed) and found.error.permanent)
        await finish(found.board, found.plan, ())
        assert found.board.memory.field_bits("ENABLE_SECURITY_DOWNLOAD") == 1

    in_virtual_time(job())
