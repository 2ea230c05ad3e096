"""The simulated eFuse controller: protections, codes, busy time, timing registers."""

from __future__ import annotations

import pytest

from parburn.sim import codes
from parburn.sim.board import SimulatedBoard
from tests.sim.boards import MAC, Host, make_board

PGM = ("esp32c3", "esp32s3")
KEY = bytes(range(1, 33))
OTHER = bytes(range(101, 133))


def host_of(chip: str, *settings: str, timing: bool = True) -> Host:
    host = Host(make_board(chip, *settings))
    if timing:
        host.set_timing(host.board.crystal_mhz)
    return host


def code_word(host: Host, data: bytes) -> dict[int, int]:
    """Programming registers for an RS block."""
    registers = host.board.chip.registers
    return words_at(registers["PGM_DATA0"], data) | words_at(
        registers["CHECK_VALUE0"], codes.rs_check_bytes(data)
    )


def words_at(address: int, data: bytes) -> dict[int, int]:
    return {address + n: int.from_bytes(data[n : n + 4], "little") for n in range(0, len(data), 4)}


def block0(host: Host, name: str, value: int) -> dict[int, int]:
    """Programming registers of block 0 with one field in them, the others cleared."""
    chip = host.board.chip
    field = host.board.memory.field_place(name)
    assert field is not None
    assert field.start is not None
    bits = value << field.start
    block = chip.blocks[0]
    return words_at(block.write_address, bits.to_bytes(4 * block.words, "little"))


def errors_of(host: Host, block: int) -> tuple[int, bool]:
    place = host.board.chip.blocks[block].errors
    assert place is not None
    addresses = {place.address, place.fail_address or place.address}
    return place.read({address: host.read(address) for address in addresses})


def as_int(data: bytes) -> int:
    return int.from_bytes(data, "little")


@pytest.mark.parametrize("chip", PGM)
def test_a_good_code_word(chip: str) -> None:
    host = host_of(chip)
    host.program(code_word(host, KEY), 4)
    assert host.shown(4) == as_int(KEY)
    assert errors_of(host, 4) == (0, False)


@pytest.mark.parametrize("chip", PGM)
def test_a_bad_code_word_burns_and_is_reported(chip: str) -> None:
    host = host_of(chip)
    words = code_word(host, KEY)
    first = host.board.chip.registers["PGM_DATA0"]
    host.program(words | {first: words[first] ^ 0x01}, 4)
    assert errors_of(host, 4) == (1, False)
    assert host.shown(4) == as_int(KEY)  # mended by the decoder
    host = host_of(chip)
    host.program(words | dict.fromkeys(words_at(first, KEY), 0xFFFFFFFF), 4)
    assert errors_of(host, 4)[1] or errors_of(host, 4)[0] > 0
    assert host.shown(4) != as_int(KEY)


@pytest.mark.parametrize("chip", PGM)
def test_a_second_different_burn_ors_data_and_check_bytes(chip: str) -> None:
    host = host_of(chip)
    host.program(code_word(host, KEY), 4)
    before = host.board.memory.cells[4]
    host.program(code_word(host, OTHER), 4)
    both = as_int(OTHER + codes.rs_check_bytes(OTHER))
    assert host.board.memory.cells[4] == before | both
    assert errors_of(host, 4)[0] > 0
    assert host.shown(4) not in (as_int(KEY), as_int(OTHER))


@pytest.mark.parametrize("chip", PGM)
def test_the_same_burn_again_changes_nothing(chip: str) -> None:
    host = host_of(chip)
    host.program(code_word(host, KEY), 4)
    host.program(code_word(host, KEY), 4)
    assert (host.shown(4), errors_of(host, 4)) == (as_int(KEY), (0, False))


@pytest.mark.parametrize("chip", PGM)
def test_read_registers_change_only_at_the_read_command_or_reset(chip: str) -> None:
    host = host_of(chip)
    host.write(*code_word(host, KEY).items())
    host.command(0x5A5A, 2 | 4 << 2)
    assert host.shown(4) == 0
    host.board.power_cycle(host.now)
    host.wait(0.1)
    assert host.shown(4) == as_int(KEY)


@pytest.mark.parametrize("chip", PGM)
def test_read_protection_hides_a_block_and_keeps_its_bits(chip: str) -> None:
    host = host_of(chip)
    host.program(code_word(host, KEY), 4)
    host.program(block0(host, "RD_DIS", 1 << host.board.chip.blocks[4].rd_dis[0]))
    assert host.shown(4) == 0
    assert host.board.memory.reading(4).bits == as_int(KEY)
    assert errors_of(host, 4) == (0, False)


@pytest.mark.parametrize("chip", [*PGM, "esp32"])
def test_write_protection_of_a_block(chip: str) -> None:
    host = host_of(chip)
    index = 3
    row = host.board.chip.blocks[index]
    assert row.wr_dis is not None
    words = words_at(row.write_address, KEY) if chip == "esp32" else code_word(host, KEY)
    host.program(block0(host, "WR_DIS", 1 << row.wr_dis))
    host.program(words, index)
    assert host.shown(index) == 0
    assert host.board.memory.cells[index] == 0


@pytest.mark.parametrize("chip", [*PGM, "esp32"])
def test_write_protection_of_fields_in_block_0(chip: str) -> None:
    host = host_of(chip)
    rd_dis = host.board.memory.field_place("RD_DIS")
    assert rd_dis is not None
    assert rd_dis.wr_dis is not None
    host.program(block0(host, "WR_DIS", 1 << rd_dis.wr_dis))
    host.program(block0(host, "RD_DIS", 1))
    assert host.board.memory.field_bits("RD_DIS") == 0
    assert host.board.memory.field_bits("WR_DIS") == 1 << rd_dis.wr_dis


@pytest.mark.parametrize("chip", PGM)
def test_copies_of_block_0_that_differ_are_reported(chip: str) -> None:
    host = host_of(chip)
    memory, row = host.board.memory, host.board.chip.blocks[0]
    memory.set_cells(0, 1 << 40)  # one copy of four
    host.reload()
    assert host.shown(0) >> 40 & 1 == 0
    assert host.read(host.board.chip.block0_errors[0]) == 1 << 8
    memory.set_cells(0, 1 << 40 + 32 * row.words)
    host.reload()
    assert host.shown(0) >> 40 & 1 == 1


@pytest.mark.parametrize("chip", [*PGM, "esp32"])
def test_wrong_timing_leaves_bits_unburned_always_the_same(chip: str) -> None:
    found = []
    for _ in range(2):
        host = host_of(chip, timing=False)
        row = host.board.chip.blocks[3]
        words = words_at(row.write_address, KEY) if chip == "esp32" else code_word(host, KEY)
        host.program(words, 3)
        found.append(host.board.memory.cells[3])
    assert found[0] == found[1]
    right = as_int(KEY) if chip == "esp32" else as_int(KEY + codes.rs_check_bytes(KEY))
    assert found[0] & ~right == 0
    assert found[0] != right


def test_timing_must_suit_the_crystal() -> None:
    for set_for, good in ((26, True), (40, False)):
        host = host_of("esp32", "crystal=26", timing=False)
        host.set_timing(set_for)
        host.program(words_at(host.board.chip.blocks[3].write_address, KEY))
        assert (host.shown(3) == as_int(KEY)) is good


@pytest.mark.parametrize(("crystal", "divider"), [(40, 347), (26, 226)])
def test_the_crystal_shows_in_the_uart_divider(crystal: int, divider: int) -> None:
    host = host_of("esp32", f"crystal={crystal}")
    assert host.read(host.board.chip.uart_clkdiv) == divider


@pytest.mark.parametrize("chip", [*PGM, "esp32"])
def test_busy_time(chip: str) -> None:
    host = host_of(chip)
    registers = host.board.chip.registers
    program_s = host.board.chip.program_ms / 1000
    host.write((registers["CONF"], 0x5A5A), (registers["CMD"], 2))
    assert host.read(registers["CMD"]) & 3 == 2
    host.wait(program_s * 0.9)
    assert host.read(registers["CMD"]) & 3 == 2
    host.wait(program_s * 0.2)
    assert host.read(registers["CMD"]) & 3 == 0


@pytest.mark.parametrize("chip", PGM)
def test_read_shows_idle_at_the_first_look(chip: str) -> None:
    host = host_of(chip)
    registers = host.board.chip.registers
    host.write((registers["CONF"], 0x5AA5), (registers["CMD"], 1))
    assert [host.read(registers["CMD"]) & 3 for _ in range(3)] == [0, 1, 1]


@pytest.mark.parametrize("chip", [*PGM, "esp32"])
@pytest.mark.parametrize(("op_code", "command"), [(0x5A5A, 1), (0x5AA5, 2), (0, 2)])
def test_the_op_code_must_match_the_command(chip: str, op_code: int, command: int) -> None:
    host = host_of(chip)
    registers = host.board.chip.registers
    host.write((registers["CONF"], op_code), (registers["CMD"], command))
    assert host.read(registers["CMD"]) & 3 == 0
    assert host.board.controller.programs == 0


@pytest.mark.parametrize("chip", PGM)
def test_the_block_number_stays(chip: str) -> None:
    host = host_of(chip)
    cmd = host.board.chip.registers["CMD"]
    host.write((cmd, 4 << 2))
    host.write(*code_word(host, KEY).items(), (host.board.chip.registers["CONF"], 0x5A5A), (cmd, 2, 2))
    host.wait(0.1)
    assert host.read(cmd) == 4 << 2
    host.reload()
    assert host.shown(4) == as_int(KEY)


def test_classic_burns_all_blocks_with_one_command_and_clears_the_registers() -> None:
    host = host_of("esp32")
    blocks = host.board.chip.blocks
    host.write(*words_at(blocks[1].write_address, KEY).items())
    host.program(words_at(blocks[3].write_address, OTHER))
    assert (host.shown(1), host.shown(2), host.shown(3)) == (as_int(KEY), 0, as_int(OTHER))
    assert [host.read(blocks[1].write_address + 4 * n) for n in range(8)] == [0] * 8
    assert host.board.controller.programs == 1


def test_classic_three_quarters() -> None:
    host = host_of("esp32", "coding=3/4")
    block = host.board.chip.blocks[2]
    host.program(words_at(block.write_address, codes.three_quarters_encode(KEY[:24])))
    assert host.shown(2) == as_int(KEY[:24])
    assert host.read(host.board.chip.registers["DEC_STATUS"]) == 0
    host.program(words_at(block.write_address, bytes(8) + b"\x80" + bytes(23)))
    assert host.read(host.board.chip.registers["DEC_STATUS"]) == 1 << 5  # block 2, second group


def test_classic_read_protection_of_block_0_fields() -> None:
    host = host_of("esp32", "FLASH_CRYPT_CONFIG=5")
    place = host.board.memory.field_place("FLASH_CRYPT_CONFIG")
    assert place is not None
    assert place.rd_dis
    host.program(block0(host, "RD_DIS", 1 << place.rd_dis[0]))
    assert host.shown(0) & place.mask == 0
    assert host.board.memory.field_bits("FLASH_CRYPT_CONFIG") == 5


def mac_of(board: SimulatedBoard) -> bytes:
    return board.memory.field_bits(board.chip.mac_field).to_bytes(6, "big")


@pytest.mark.parametrize("chip", [*PGM, "esp32"])
def test_factory_data(chip: str) -> None:
    host = host_of(chip)
    assert mac_of(host.board) == MAC
    for block in host.board.chip.blocks:
        assert host.board.memory.reading(block.index).errors == 0
    if chip == "esp32":
        assert host.board.memory.field_bits("MAC_CRC") == 0x38  # as in the recordings
    assert host.board.memory.wr_dis == 0
