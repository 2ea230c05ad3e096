"""Commits on a line that is spoiled byte by byte and on a chip that fails pulse by pulse.

Whatever happens, three things must hold: a commit that returns has burned the plan and nothing else; one that
raises has burned no bit that was not planned, unless it says so by VerifyFailed; and what was begun is
finished by the same plan on a healthy line.
"""

from __future__ import annotations

import random

import pytest

from parburn.errors import ControllerStuck, ParburnError, PartialBurn, PortGone, VerifyFailed
from parburn.hardware.commit import commit
from tests.hardware.commit_bench import (
    KEY,
    Book,
    Trial,
    board_named,
    connected,
    finish,
    in_virtual_time,
    plan_for,
    trial,
    true_bits,
    wanted_bits,
)
from tests.sim.boards import make_board

# --- a line that damages one byte, anywhere in the commit

# One byte in so many is tried; each position of a frame comes up, since the stride is no factor of its size.
STRIDE = 97
DAMAGES = [
    f"byte {{}} {way} the host is {how}" for way in ("from", "to") for how in ("flipped", "lost", "doubled")
]


async def check_trial(found: Trial) -> str:
    """Hold the three promises; gives the word for how the commit ended."""
    error = found.error
    if error is None:
        assert found.whole
        return "pass"
    assert not found.stray
    assert not isinstance(error, VerifyFailed), "one damaged byte must not scrap a chip"
    attempted = isinstance(error, PartialBurn)
    assert found.book.attempted == attempted
    if not attempted:
        assert true_bits(found.board) == found.before
    await finish(found.board, found.plan, found.book.burned)
    assert found.whole
    return type(error).__name__


@pytest.mark.parametrize("name", ["esp32", "esp32c3", "esp32 3/4"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_byte_anywhere_scraps_no_chip(name: str, damage: str) -> None:
    async def job() -> list[str]:
        healthy = await trial(name)
        size = healthy.board.received if " from " in damage else healthy.board.sent
        start = DAMAGES.index(damage) + 1
        return [await check_trial(await trial(name, damage.format(n))) for n in range(start, size, STRIDE)]

    words = in_virtual_time(job())
    assert len(words) > 15
    assert words.count("pass") > 2
    if " to " in damage:  # the chip has executed everything: what it answered can be asked again
        assert set(words) == {"pass"}


@pytest.mark.parametrize("name", ["esp32c3"])
def test_a_command_that_went_astray_into_a_timing_register_spoils_nothing(name: str) -> None:
    """CONF and a timing register lie one address bit apart: the next pulse must not trust the old timing."""

    async def job() -> None:
        board = board_named(name)
        device = await connected(board)
        plan = plan_for(device)
        before = true_bits(board)
        conf = board.chip.registers["CONF"]
        write = board.write
        hits: list[int] = []

        def astray(address: int, value: int, now: float) -> None:
            if address == conf and value == 0x5A5A and not hits:
                hits.append(value)
                address ^= 0x20
            write(address, value, now)

        board.write = astray  # type: ignore[method-assign]  # one address bit flips on its way
        await commit(plan, device.controller, device.image, Book().hooks(device))
        assert hits
        assert true_bits(board) == wanted_bits(plan, before)

    in_virtual_time(job())


def test_random_noise_never_leaves_a_stray_bit() -> None:
    async def job() -> None:
        rng = random.Random(4)
        for _ in range(12):
            every = rng.choice((300, 900, 2500))
            way, how = rng.choice(("from", "to")), rng.choice(("lost", "doubled", "flipped"))
            found = await trial("esp32c3", f"one byte in {every} {way} the host is {how}")
            assert not found.stray
            assert found.error is not None or found.whole

    in_virtual_time(job())


# --- a chip or a supply that fails


@pytest.mark.parametrize("name", ["esp32", "esp32c3", "esp32 3/4"])
@pytest.mark.parametrize("percent", [0, 50, 95])
def test_a_brown_out_in_any_pulse_is_made_up_for(name: str, percent: int) -> None:
    async def job() -> None:
        steps = len((await trial(name)).plan.steps)
        for program in range(1, steps + 1):
            sentence = f"the supply browns out in program {program} leaving {percent} percent of the bits"
            found = await trial(name, sentence)
            assert found.error is None, f"program {program}: {found.error}"
            assert true_bits(found.board) == wanted_bits(found.plan, found.before)

    in_virtual_time(job())


@pytest.mark.parametrize("percent", [50, 95])
def test_a_block_left_with_coding_errors_is_burned_again_when_it_is_taken_up(percent: int) -> None:
    """Its data may read right already, since the code corrects them: that is not good enough."""

    async def job() -> None:
        found = await trial(
            "esp32c3",
            f"the supply browns out in program 1 leaving {percent} percent of the bits",
            "the link is silent after 2000 bytes",
        )
        assert isinstance(found.error, PartialBurn)
        assert found.board.memory.reading(4).errors
        await finish(found.board, found.plan, found.book.burned)
        assert found.whole

    in_virtual_time(job())


def test_brown_outs_again_and_again_leave_a_chip_that_can_be_finished() -> None:
    async def job() -> None:
        faults = [f"the supply browns out in program {n} leaving 0 percent of the bits" for n in range(1, 9)]
        found = await trial("esp32s3", *faults)
        assert isinstance(found.error, ParburnError)
        assert not found.stray
        assert found.book.attempted == 1
        await finish(found.board, found.plan, found.book.burned)
        assert found.whole

    in_virtual_time(job())


@pytest.mark.parametrize("name", ["esp32", "esp32c3"])
def test_the_rom_reboots_at_any_packet(name: str) -> None:
    async def job() -> None:
        packets = (await trial(name)).board.packets
        for packet in range(3, packets, 23):
            found = await trial(name, f"the ROM reboots at packet {packet}")
            assert found.error is None, f"packet {packet}: {found.error}"
            assert found.whole

    in_virtual_time(job())


@pytest.mark.parametrize("program", [1, 2, 3])
def test_a_controller_that_stays_busy_is_left_and_can_be_finished(program: int) -> None:
    async def job() -> None:
        found = await trial("esp32c3", f"the controller never becomes idle after program {program}")
        assert isinstance(found.error, PartialBurn)
        assert isinstance(found.error.__cause__, ControllerStuck)
        assert found.error.remaining == len(found.plan.steps) - program + 1
        assert found.error.hint
        await finish(found.board, found.plan, found.book.burned)
        assert found.whole

    in_virtual_time(job())


@pytest.mark.parametrize(
    ("name", "sentence"),
    [("esp32", "bit 14 of BLOCK1 refuses to burn"), ("esp32c3", "bit 9 of BLOCK_KEY0 refuses to burn")],
)
def test_a_bit_that_never_burns_ends_in_verify_failed_after_three_pulses(name: str, sentence: str) -> None:
    found = in_virtual_time(trial(name, sentence))
    assert isinstance(found.error, VerifyFailed)
    assert found.error.permanent
    assert not found.stray
    assert found.board.controller.programs == 3
    assert found.book.burned == []


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("esp32", "bit 14 of BLOCK1 refuses to burn the first time"),
        ("esp32c3", "bit 9 of BLOCK_KEY0 refuses to burn the first time"),
        ("esp32c3", "2 bytes of BLOCK_KEY0 burn wrong"),
        ("esp32c3", "the link is silent after 900 bytes for 400 ms"),
    ],
)
def test_what_a_second_pulse_or_a_second_look_mends(name: str, sentence: str) -> None:
    found = in_virtual_time(trial(name, sentence))
    assert found.error is None
    assert found.whole


@pytest.mark.parametrize(
    ("name", "block", "bit", "pulses"),
    [("esp32", "BLOCK1", 6, 1), ("esp32c3", "BLOCK0", None, 3)],  # pulses: up to and with the one that leaks
)
def test_a_bit_that_nobody_asked_for_ends_it_at_once(
    name: str, block: str, bit: int | None, pulses: int
) -> None:
    if bit is None:
        bit = make_board(name).chip.field_by_name["DIS_DOWNLOAD_ICACHE"][0].start
    found = in_virtual_time(trial(name, f"bit {bit} of {block} burns its neighbour too"))
    assert found.stray
    assert isinstance(found.error, VerifyFailed)
    assert found.error.permanent
    assert "1 too many" in str(found.error)
    assert found.board.controller.programs == pulses


def test_a_stray_cell_that_the_code_corrects_is_found_by_its_error_report() -> None:
    found = in_virtual_time(trial("esp32c3", "bit 201 of BLOCK_USR_DATA burns its neighbour too"))
    assert not found.stray
    assert isinstance(found.error, VerifyFailed)
    assert "coding errors" in str(found.error)


@pytest.mark.parametrize("size", [60, 900, 2000])
def test_a_port_that_vanishes(size: int) -> None:
    async def job() -> None:
        found = await trial("esp32c3", f"the port vanishes after {size} bytes")
        assert found.error is not None
        assert isinstance(found.error.__cause__ if found.book.attempted else found.error, PortGone)
        assert not found.stray
        await finish(found.board, found.plan, found.book.burned)
        assert found.whole

    in_virtual_time(job())


def test_no_error_of_a_commit_shows_key_material() -> None:
    async def job() -> None:
        found = await trial("esp32c3", "bit 9 of BLOCK_KEY0 refuses to burn")
        shown = f"{found.error!r} {found.error} {found.plan!r} {found.plan.steps!r} {found.plan.describe()!r}"
        words = [f"{word:x}" for word in found.plan.steps[0].writes[0].words[:8]]
        for secret in (KEY.hex(), KEY[::-1].hex(), *words, str(found.plan.want(4))):
            assert secret not in shown

    in_virtual_time(job())
