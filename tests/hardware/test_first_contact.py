"""Identification over a damaged line: it is done again, and a chip is refused only for what it says twice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from parburn.chips.model import Chip, Field
from parburn.errors import (
    ChipError,
    GarbledAnswer,
    IdentityUnclear,
    LinkError,
    NoAnswer,
    ParburnError,
    SecureDownload,
    WrongChip,
)
from parburn.hardware.first_contact import read_again
from parburn.job import Before
from parburn.run.baud import FAST_BAUD, ROM_BAUD
from parburn.sim.board import SimulatedBoard
from parburn.sim.faults import parse_faults
from tests.command import parburn
from tests.hardware.commit_bench import board_named, connected, in_virtual_time, true_bits
from tests.hardware.identify_walk import WALKED, contact, trouble, walk
from tests.provisioning import rows
from tests.rig import start_rig

DEAD_COSTS_S = 2.5  # a second of silence, five SYNCs, a reset, and all once more
KILLING = "byte 59 from the host is flipped in bit 6"  # the first READ_REG asks where nothing is


@pytest.mark.parametrize("chip", WALKED)
def test_a_damaged_byte_anywhere_is_made_up_for(chip: str) -> None:
    count, bad, seen = walk(chip, every=False)
    assert not bad, "\n".join(bad)
    assert count > 1000
    assert seen["dead, reset"] > 50  # requests that ended at an address where nothing is
    assert seen["slower"] > 10  # a raised rate that was lost
    assert seen["slowest, ms"] < 6000  # a rate that was lost: looked for at what the ROM may have made of it


@pytest.mark.parametrize("chip", WALKED)
@pytest.mark.parametrize(
    "what", ["the ROM reboots at packet {}", "the watchdog resets the chip after packet {}"]
)
def test_a_chip_that_restarts_in_the_middle_is_identified_anew(chip: str, what: str) -> None:
    """Its boot text comes instead of an answer, or between two; and it is back at its first rate."""
    healthy = contact(chip)
    before = true_bits(healthy.board)
    for packet in range(1, healthy.board.packets + 1):
        found = contact(chip, what.format(packet))
        assert not trouble(healthy, found, before), (packet, found.error)
        again = contact(chip, what.format(packet), rate=ROM_BAUD, before="no-reset")
        assert not trouble(healthy, again, before), (packet, again.error)
        assert again.resets == 0


def test_a_rate_that_was_asked_for_is_kept_after_damage() -> None:
    healthy = contact("esp32c3", baud=FAST_BAUD)
    for packet in range(1, healthy.board.packets + 1):
        found = contact("esp32c3", f"the ROM reboots at packet {packet}", baud=FAST_BAUD)
        assert found.device is not None, (packet, found.error)
        assert (found.device.rom.baud, found.notes) == (FAST_BAUD, ())


def test_a_dead_rom_is_reset_before_the_barrier_and_costs_little() -> None:
    healthy = contact("esp32c3")
    found = contact("esp32c3", KILLING)
    assert not trouble(healthy, found, true_bits(healthy.board))
    assert found.resets == healthy.resets + 1
    assert 1 < found.seconds - healthy.seconds < DEAD_COSTS_S


@pytest.mark.parametrize("before", ["no-reset", "no-reset-no-sync"])
def test_no_line_moves_where_the_operator_forbids_it(before: Before) -> None:
    found = contact(
        "esp32c3", KILLING if before == "no-reset" else KILLING.replace("59", "13"), before=before
    )
    assert isinstance(found.error, NoAnswer)
    assert found.error.hint
    assert found.resets == 0


def test_permanent_is_said_only_where_the_flags_say_so() -> None:
    def refuses(board: SimulatedBoard) -> None:
        board.loader.secure_download = True  # every register, whatever its flags say

    found = contact("esp32c3", before="no-reset", prepare=refuses)
    assert isinstance(found.error, ChipError)
    said = f"{found.error} {found.error.hint}"
    assert "does not let its registers be read" in said
    assert "permanent" not in said
    assert found.error.__cause__ is not None
    assert "secure" not in getattr(found.error.__cause__, "hint", "")
    secure = contact("esp32c3", settings=("ENABLE_SECURITY_DOWNLOAD=1",))
    assert isinstance(secure.error, SecureDownload)
    assert "permanent" in secure.error.hint


@pytest.mark.parametrize("bit", range(8))
def test_a_damaged_flag_is_no_secure_download(bit: int) -> None:
    """Flags are the first data of the answer to GET_SECURITY_INFO, which comes behind that to READ_REG."""
    healthy = contact("esp32c3", rate=ROM_BAUD)
    boot_text = len(healthy.board._boot_log())
    at = 2 * boot_text + 8 * 14 + 14 + 1 + 8 + 1
    found = contact("esp32c3", f"byte {at} to the host is flipped in bit {bit}", rate=ROM_BAUD)
    assert not trouble(healthy, found, true_bits(healthy.board))


@pytest.mark.parametrize("bit", range(8))
def test_a_damaged_chip_id_leads_to_no_other_chips_registers(bit: int) -> None:
    """At another chip's addresses the ROM can die, and here nothing could reset it."""
    healthy = contact("esp32c3", before="no-reset", rate=ROM_BAUD)
    at = len(healthy.board._boot_log()) + 8 * 14 + 14 + 1 + 8 + 12 + 1
    found = contact(
        "esp32c3", f"byte {at} to the host is flipped in bit {bit}", before="no-reset", rate=ROM_BAUD
    )
    assert not trouble(healthy, found, true_bits(healthy.board))


def test_a_damaged_request_for_the_flags_is_sent_again() -> None:
    """It is refused as a ROM would that has no such command, and then nothing were known of the flags."""
    found = contact("esp32c3", "byte 63 from the host is flipped in bit 0")
    assert found.device is not None
    assert found.device.security is not None


def changing(number: int, how: Callable[[bytes], tuple[bytes, ...]]) -> Callable[[SimulatedBoard], None]:
    """Prepares a board so that its answer with this number comes as `how` makes it."""

    def prepare(board: SimulatedBoard) -> None:
        count, put = 0, board.to_host.put

        def put_changed(data: bytes, now: float, pace: float, baud: int) -> None:
            nonlocal count
            count += 1
            for one in how(data) if count == number else (data,):
                put(one, now, pace, baud)

        board.to_host.put = put_changed  # type: ignore[method-assign]  # what a line does to one answer

    return prepare


@pytest.mark.parametrize(
    ("chip", "revision", "rate"),
    [
        ("esp32c3", "0.2", ROM_BAUD),
        ("esp32c61", "3.1", FAST_BAUD),
        ("esp32h2", "0.2", FAST_BAUD),
        ("esp32p4", "0.2", ROM_BAUD),
        ("esp32p4", "3.1", FAST_BAUD),
    ],
)
def test_one_damaged_bit_picks_no_other_tables(chip: str, revision: str, rate: int) -> None:
    """The tables go by the revision, and with others bits would be burned that nobody asked for."""
    healthy = contact(chip, settings=(f"revision={revision}",), rate=rate)
    assert healthy.device is not None
    fields = [healthy.device.chip.field_by_name[name][0] for name in healthy.device.chip.revision_fields]
    places = {source for one in fields for source in bits_of(healthy.device.chip, one)}
    for number in range(9, 9 + healthy.board.packets):
        for bit in places:

            def flipped(data: bytes, at: int = 5 + bit // 8, mask: int = 1 << bit % 8) -> tuple[bytes, ...]:
                return (data[:at] + bytes([data[at] ^ mask]) + data[at + 1 :] if at < len(data) else data,)

            found = contact(
                chip, settings=(f"revision={revision}",), rate=rate, prepare=changing(number, flipped)
            )
            assert found.device is not None, (number, bit, found.error)
            assert (found.device.chip, found.device.silicon) == (healthy.device.chip, healthy.device.silicon)


def bits_of(chip: Chip, field: Field) -> set[int]:
    """Where in their words a field's bits stand, those of its parts if it has some."""
    if field.start is not None:
        return {(field.start + n) % 32 for n in range(field.bits)}
    parts = [chip.field_by_name[source.field][0] for source in field.sources if source.field]
    return set().union(*(bits_of(chip, part) for part in parts))


@pytest.mark.parametrize("rate", [ROM_BAUD, FAST_BAUD])
@pytest.mark.parametrize("chip", WALKED)
def test_an_answer_too_many_shifts_no_values(chip: str, rate: int) -> None:
    def doubled(data: bytes) -> tuple[bytes, ...]:
        return data, data

    healthy = contact(chip, rate=rate)
    before, answers = true_bits(healthy.board), 8 + healthy.board.packets
    for number in range(1, answers + 3):
        found = contact(chip, rate=rate, prepare=changing(number, doubled))
        assert not trouble(healthy, found, before), number
        assert found.device is not None
        assert healthy.device is not None
        assert found.device.image == healthy.device.image, number


@pytest.mark.parametrize(
    ("chip", "settings", "wanted", "kind"),
    [
        ("esp32c3", (), "esp32s3", WrongChip),
        ("esp32", ("magic=0x12345678",), "auto", WrongChip),
        ("esp32s3", ("MAC=0",), "auto", IdentityUnclear),
        ("esp32", ("MAC_CRC=0x77",), "auto", IdentityUnclear),
        ("esp32c3", ("ENABLE_SECURITY_DOWNLOAD=1",), "auto", SecureDownload),
    ],
)
def test_the_same_bad_answer_twice_is_believed(
    chip: str, settings: Sequence[str], wanted: str, kind: type[ParburnError]
) -> None:
    found = contact(chip, settings=settings, wanted=wanted)
    assert isinstance(found.error, kind)
    assert found.error.hint
    assert found.seconds < 1
    assert found.board.packets < 80
    assert found.resets == 1


def test_a_wrong_crc_of_the_factory_mac_names_both() -> None:
    error = contact("esp32", settings=("MAC_CRC=0x77",)).error
    assert "24:0a:c4:01:02:03 is 0x77, and 0x" in str(error)
    assert contact("esp32").error is None


@pytest.mark.parametrize("chip", WALKED)
def test_a_line_that_damages_everything_ends_in_time(chip: str) -> None:
    found = contact(chip, "one byte in 25 to the host is flipped")
    assert isinstance(found.error, LinkError | ChipError)
    assert found.seconds < 30


# --- reading, before anything is burned


@pytest.mark.parametrize(
    "fault",
    [
        "byte 3 from the host is flipped in bit 0",
        "byte 42 from the host is lost",
        "byte 3 to the host is flipped",
        "answer 4 is lost",
        "30 bytes of garbage come before answer 3",
    ],
)
def test_blocks_are_read_again_after_damage(fault: str) -> None:
    async def job() -> None:
        board = board_named("esp32c3")
        device = await connected(board)
        board.received = board.sent = 0
        board.faults = parse_faults((fault,), board=0, seed=7)
        blank = device.image.with_blocks({4: 0})
        image = await read_again(device, lambda: device.controller.read_blocks((4,), blank))
        assert image == device.image
        assert device.rom.counters.retries == 1

    in_virtual_time(job())


def test_a_chip_that_stays_silent_is_not_read_for_ever() -> None:
    async def job() -> None:
        board = board_named("esp32c3")
        device = await connected(board)
        board.faults = parse_faults(("the link is silent after 0 bytes",), board=0, seed=7)
        with pytest.raises((NoAnswer, GarbledAnswer)):
            await read_again(device, lambda: device.controller.read_blocks((4,), device.image))

    in_virtual_time(job())


# --- through the installed command

DAMAGE = (
    "byte 20 from the host is lost",
    "byte 49 from the host is flipped in bit 5",  # the first opcode behind SYNC: refused, eight times
    "byte 63 from the host is flipped in bit 0",  # GET_SECURITY_INFO is no command any more
    "byte 150 to the host is lost",
    "byte 260 to the host is flipped in bit 3",
    "answer 12 is lost",
    "answer 15 is lost",
    "the ROM reboots at packet 3",
    "the ROM reboots at packet 6",
    "the watchdog resets the chip after packet 4",
    "20 bytes of garbage come before answer 11",
    "20 bytes of garbage come after answer 13",
    "the link is silent after 80 bytes for 700 ms",
)


@pytest.mark.parametrize("chip", WALKED)
def test_boards_pass_in_the_run_in_which_their_identification_was_damaged(chip: str, tmp_path: Path) -> None:
    script = tmp_path / "job.py"
    script.write_text("espefuse(esp, efuses, args, f'burn_custom_mac 02:00:00:00:07:{args.index:02x}')\n")
    report = tmp_path / "report.jsonl"
    faults = [f"on board {number}: {sentence}" for number, sentence in enumerate(DAMAGE)]
    with start_rig(chip, len(DAMAGE), tmp_path=tmp_path, faults=faults) as rig:
        outcome = parburn(
            "--ports", *rig.ports, "--scripts", script, "--do-not-confirm", "--json", "--report", report,
            state=tmp_path / "state",
        )  # fmt: skip
        assert outcome.words == ["pass"] * len(DAMAGE), outcome.stdout + outcome.stderr
        assert sorted(row["index"] for row in rows(report)) == list(range(1, len(DAMAGE) + 1))
        assert all("permanent" not in str(row) for row in rows(report))


def test_a_reading_of_what_passed_is_done_again_after_damage(tmp_path: Path) -> None:
    """A unit that passed is read again in full; the last request of that is damaged."""
    script = tmp_path / "job.py"
    script.write_text("espefuse(esp, efuses, args, 'burn_bit BLOCK3 9')\n")
    report, states = tmp_path / "report.jsonl", tmp_path / "boards"

    def run(word: str, *faults: str) -> dict[str, Any]:
        with start_rig("esp32c3", tmp_path=tmp_path, state=states, faults=faults) as rig:
            outcome = parburn(
                "--ports", *rig.ports, "--scripts", script, "--do-not-confirm", "--json", "--baud", "115200",
                "--report", report, state=tmp_path / "state",
            )  # fmt: skip
            assert outcome.words == [word], outcome.stdout + outcome.stderr
        return rows(report)[0]

    run("pass")
    clean = run("already-pass")
    assert clean["retries"] == 0
    opcode = clean["tx_bytes"] - 14 + 3
    damaged = run("already-pass", f"byte {opcode} from the host is flipped in bit 0")
    assert damaged["retries"] >= 1
    assert damaged["tx_bytes"] > clean["tx_bytes"]
