"""The simulated ROM is as unforgiving as the measured one."""

from __future__ import annotations

import struct

import pytest

from parburn.chips.registry import chip_named, chip_names
from parburn.sim.rom_loader import SlipReceiver
from tests.sim.boards import OK, SYNC, Host, answers, frame, make_board, read_reg, write_reg

BAD = bytes((1, 5, 0, 0))
SCRATCH = {"esp32": 0x3FF5A098, "esp32c3": 0x60008800, "esp32s3": 0x60007000}


@pytest.fixture(params=sorted(SCRATCH))
def host(request: pytest.FixtureRequest) -> Host:
    return Host(make_board(request.param))


def scratch(host: Host, word: int = 0) -> int:
    """A programming register: plain storage."""
    return SCRATCH[host.board.chip.name] + 4 * word


@pytest.mark.parametrize("size", [1, 2, 5, 1000])
def test_slip_states(size: int) -> None:
    """Text, empty frames, escapes (DB C0 is a plain C0), a shared END, and the rest of a frame."""
    line = bytes.fromhex("6869c0c0c001db02dbdcdbdddbc003c0c0040506c007c008c0ff")
    receiver, found, at = SlipReceiver(), [], 0
    for start in range(0, len(line), size):
        piece, at = line[start : start + size], 0
        while at < len(piece):
            at, whole = receiver.feed(piece, at)
            if whole:
                found.append(bytes(receiver.frame).hex())
    assert found == ["0102c0dbc003", "040506", "08"]


def test_many_reads_in_a_row_get_as_many_answers(host: Host) -> None:
    got = answers(host.ask(read_reg(scratch(host)) * 400))
    assert len(got) == 400


@pytest.mark.parametrize("entries", [1, 15, 511])
def test_write_reg_runs_every_entry_in_order(host: Host, entries: int) -> None:
    host.write(*[(scratch(host), n + 1) for n in range(entries)])
    assert host.read(scratch(host)) == entries


def test_write_reg_of_512_entries_runs_the_last_on_stale_memory_and_513_ends_it(host: Host) -> None:
    host.write(*[(scratch(host), 5)] * 511, (scratch(host), 6, 0xFFFF, 0))
    assert host.read(scratch(host)) == 5  # the last entry's mask and delay fell outside the buffer: 0
    host.ask(write_reg(*[(scratch(host), 1)] * 513))
    assert host.ask(SYNC) == b""


def test_write_reg_waits_before_each_write(host: Host) -> None:
    host.board.receive(write_reg((scratch(host), 1), (scratch(host), 2, 0xFFFFFFFF, 5000)), host.now)
    assert host.wait(0.004) == b""
    assert answers(host.wait(0.002)) == [(9, 0, OK)]
    assert host.read(scratch(host)) == 2


def test_write_reg_masks(host: Host) -> None:
    host.write((scratch(host), 0x11223344))
    host.write((scratch(host), 0xAAAAAAAA, 0x0000FF00))
    assert host.read(scratch(host)) == 0x1122AA44


def test_header_length_is_trusted_and_the_rest_comes_from_the_frame_before(host: Host) -> None:
    host.ask(write_reg((scratch(host, 0), 1), (scratch(host, 1), 0x77)))
    host.write((scratch(host, 1), 0))
    first = struct.pack("<4I", scratch(host, 0), 9, 0xFFFFFFFF, 0)
    host.ask(write_reg((scratch(host, 0), 1), (scratch(host, 2), 0x77)))
    got = answers(host.ask(frame(0x09, first, length=32)))
    assert [status for _, _, status in got] == [OK]
    assert (host.read(scratch(host, 0)), host.read(scratch(host, 2))) == (9, 0x77)


def test_a_cut_frame_is_executed_on_stale_bytes(host: Host) -> None:
    host.write((scratch(host), 0x55))
    host.write((scratch(host), 0))
    cut = write_reg((scratch(host), 0xAB))[:14]  # opcode, length, address, one byte of the value
    got = answers(host.ask(cut + b"\xc0"))
    assert [status for _, _, status in got] == [OK]
    assert host.read(scratch(host)) == 0xAB


@pytest.mark.parametrize("size", [0, 4, 15])
def test_short_writes_are_answered_and_do_nothing(host: Host, size: int) -> None:
    host.write((scratch(host), 3))
    entry = struct.pack("<4I", scratch(host), 4, 0xFFFFFFFF, 0)
    assert [s for _, _, s in answers(host.ask(frame(0x09, entry[:size])))] == [OK]
    assert host.read(scratch(host)) == 3


def test_sync_answers_eight_times_and_so_does_an_error_after_it(host: Host) -> None:
    assert answers(host.ask(SYNC)) == [(8, 0x20120707, OK)] * 8
    assert answers(host.ask(frame(0x77))) == [(8, 0x20120707, BAD)] * 8
    host.read(scratch(host))
    assert answers(host.ask(frame(0x77))) == [(10, 0, BAD)]


def test_an_unmapped_register_is_the_end_until_reset(host: Host) -> None:
    assert host.ask(read_reg(0x12345678)) == b""
    assert host.ask(SYNC) == b""
    assert host.wait(10) == b""
    host.board.power_cycle(host.now)
    host.wait(0.1)
    assert len(answers(host.ask(SYNC))) == 8


@pytest.mark.parametrize("name", [name for name in chip_names() if chip_named(name).data_ram])
def test_the_internal_ram_answers(name: str) -> None:
    host = Host(make_board(name))
    for address in (*chip_named(name).data_ram, chip_named(name).data_ram[1] - 0x2EC):
        assert len(answers(host.ask(read_reg(address & ~3)))) == 1
    assert len(answers(host.ask(SYNC))) == 8  # it is not dead


def fill_while_busy(host: Host, count: int) -> int:
    """How many of `count` read requests are answered that come while the ROM delays."""
    busy = write_reg((scratch(host), 0, 0, 100_000))
    host.ask(busy)
    host.ask(read_reg(scratch(host)) * count, wait_s=0.01)
    return len(answers(host.wait(1.0))) - 1


def test_a_lap_of_the_ring_loses_everything_silently() -> None:
    host = Host(make_board("esp32"))
    assert fill_while_busy(host, 18) == 18  # 252 bytes
    assert fill_while_busy(host, 19) == 0  # 266 bytes: ten are left, and no frame in them
    assert fill_while_busy(host, 128) == 0  # seven whole laps: nothing at all is left
    assert fill_while_busy(host, 1) in (0, 1)  # the last lap may have left the receiver inside a frame
    assert fill_while_busy(host, 18) == 18


def test_the_larger_ring() -> None:
    host = Host(make_board("esp32c3"))
    assert fill_while_busy(host, 146) == 146  # 2044 bytes
    assert fill_while_busy(host, 147) == 0


def test_change_baudrate_answers_at_the_old_rate_and_adds_two_marks(host: Host) -> None:
    got = host.ask(frame(0x0F, struct.pack("<II", 921600, 0)))
    assert got.endswith(b"\xc0\xc0\xc0")
    assert answers(got) == [(15, 0, OK)]
    assert host.ask(read_reg(scratch(host)), baud=115200) == b""
    assert len(answers(host.ask(read_reg(scratch(host)), baud=921600))) == 1


def test_the_first_sync_measures_the_rate_and_the_next_does_not(host: Host) -> None:
    assert host.ask(read_reg(scratch(host)), baud=57600) == b""
    assert len(answers(host.ask(SYNC, baud=57600))) == 8
    assert answers(host.ask(SYNC, baud=460800)) == []


def test_security_info(host: Host) -> None:
    host.read(scratch(host))
    ((opcode, _, rest),) = answers(host.ask(frame(0x14)))
    if host.board.chip.controller == "classic":
        assert (opcode, rest) == (10, BAD)
    else:
        assert (opcode, len(rest)) == (20, 24)
        assert struct.unpack("<I", rest[12:16]) == host.board.chip.chip_ids


def test_mem_data_checks_its_checksum(host: Host) -> None:
    assert answers(host.ask(frame(0x05, bytes(4))))[0][2] == BAD
    assert answers(host.ask(frame(0x05, struct.pack("<4I", 4, 1, 4, 0x3FFC0000))))[0][2] == OK
    data = struct.pack("<4I", 4, 0, 0, 0) + b"abcd"
    assert answers(host.ask(frame(0x07, data)))[0][2] == bytes((1, 7, 0, 0))
    good = bytearray(frame(0x07, data))
    good[5] = 0xEF ^ ord("a") ^ ord("b") ^ ord("c") ^ ord("d")
    assert answers(host.ask(bytes(good)))[0][2] == OK


@pytest.mark.parametrize(
    ("payload", "before", "reboots"),
    [
        (bytes(4), 0xFF, True),
        (bytes((0, 1, 1, 1)), 0xFF, True),
        (b"\1", 0, False),
        (b"", 0x98, False),  # what the frame before left there
        (b"", 0, True),
    ],
)
def test_opcode_12_answers_and_reboots_where_its_first_byte_is_0(
    host: Host, payload: bytes, before: int, reboots: bool
) -> None:
    host.ask(frame(0x0B, bytes((before,)) * 8))  # a command that takes anything
    resets = host.board.resets
    got = host.ask(frame(0x12, payload))
    assert answers(got[: got.rindex(b"\xc0") + 1]) == [(0x12, 0, OK)]
    assert host.board.resets == resets + reboots
    assert (b"waiting for download" in got + host.wait(0.1)) == reboots


@pytest.mark.parametrize("chip", ["esp32c3", "esp32s3"])
def test_secure_download(chip: str) -> None:
    host = Host(make_board(chip, "ENABLE_SECURITY_DOWNLOAD=1"))
    assert answers(host.ask(SYNC))[0][2] == OK
    ((_, _, info),) = answers(host.ask(frame(0x14)))
    assert info[0] & 4
    address = SCRATCH[chip]
    for request in (read_reg(address), write_reg((address, 1)), frame(0x05, bytes(16))):
        assert [status for _, _, status in answers(host.ask(request))] == [BAD]
    assert answers(host.ask(frame(0x0F, struct.pack("<II", 115200, 0))))[0][2] == OK


@pytest.mark.parametrize("chip", ["esp32c3", "esp32s3"])
def test_disabled_download_mode_is_a_reset_loop(chip: str) -> None:
    host = Host(make_board(chip, "DIS_DOWNLOAD_MODE=1"))
    assert answers(host.ask(SYNC)) == []
    assert b"waiting for download" not in host.wait(2.0)
    assert host.board.next_event() < float("inf")


def test_burning_the_secure_download_fuse_resets_at_the_request_after_the_reload() -> None:
    host = Host(make_board("esp32c3"))
    field = host.board.memory.field_place("ENABLE_SECURITY_DOWNLOAD")
    assert field is not None
    assert field.start is not None
    host.set_timing()
    host.write((scratch(host, field.start // 32), 1 << field.start % 32))
    host.command(0x5A5A, 2)
    assert host.read(scratch(host)) == 0  # burned, but not in force before the reload
    host.command(0x5AA5, 1)
    assert answers(host.ask(read_reg(scratch(host)))) == []
    host.wait(0.1)
    assert len(answers(host.ask(SYNC))) == 8
    assert answers(host.ask(read_reg(scratch(host)))) == [(8, 0x20120707, BAD)] * 8


def test_the_classic_download_fuse_acts_at_the_next_reset() -> None:
    host = Host(make_board("esp32"))
    field = host.board.memory.field_place("UART_DOWNLOAD_DIS")
    assert field is not None
    assert field.start is not None
    host.set_timing()
    host.program({host.board.chip.blocks[0].write_address + 4 * (field.start // 32): 1 << field.start % 32})
    assert host.board.memory.field_bits("UART_DOWNLOAD_DIS") == 1
    assert len(answers(host.ask(SYNC))) == 8
    host.board.power_cycle(host.now)
    host.wait(0.1)
    assert host.ask(SYNC) == b""
