"""Each sentence of the fault language does what it says, and the same again with the same seed."""

from __future__ import annotations

import pytest

from parburn.errors import UsageError
from parburn.sim.fault import Faults
from parburn.sim.faults import SENTENCES, parse_faults
from parburn.sim.registers import clkdiv_address
from tests.sim.boards import SYNC, Host, answers, make_board, read_reg, write_reg
from tests.sim.test_efuse_controller import KEY, as_int, block0, code_word, errors_of

ADDRESS = 0x60008800
READ = read_reg(ADDRESS)


def host_with(*faults: str) -> Host:
    host = Host(make_board("esp32c3", faults=faults))
    host.set_timing()
    return host


def test_every_example_is_understood_and_unknown_ones_name_them() -> None:
    for _, kind, example in SENTENCES:
        (fault,) = parse_faults([example], board=0, seed=1).all
        assert type(fault) is kind
        assert fault.fired == 0
    with pytest.raises(UsageError, match="no fault reads 'it rains'") as caught:
        parse_faults(["it rains"], board=0, seed=1)
    assert "refuses to burn" in caught.value.hint


def test_sentences_are_joined_and_aimed_at_boards() -> None:
    text = "on boards 1-2: the ROM reboots at packet 3; byte 5 to the host is lost"
    assert [len(parse_faults([text], board=board, seed=1).all) for board in range(4)] == [0, 2, 2, 0]


@pytest.mark.parametrize(
    ("sentence", "sent"),
    [
        ("byte 2 from the host is lost", READ[:1] + READ[2:]),
        ("byte 2 from the host is doubled", READ[:2] + READ[1:]),
        ("byte 10 from the host is flipped in bit 3", READ[:9] + bytes([READ[9] ^ 8]) + READ[10:]),
    ],
)
def test_bytes_from_the_host(sentence: str, sent: bytes) -> None:
    faults = parse_faults([sentence], board=0, seed=1)
    assert faults.from_host(READ[:4], 1) + faults.from_host(READ[4:], 5) == sent
    assert faults.from_host(READ, 1) == READ  # once only


@pytest.mark.parametrize("how", ["lost", "doubled", "flipped"])
def test_bytes_to_the_host(how: str) -> None:
    faults = parse_faults([f"byte 3 to the host is {how}"], board=0, seed=1)
    changed, late_s = faults.to_host(b"abcdef", 1)
    assert (changed != b"abcdef", late_s) == (True, 0.0)
    assert len(changed) == {"lost": 5, "doubled": 7, "flipped": 6}[how]


def test_noise_is_the_same_for_the_same_seed_and_board() -> None:
    def noise(seed: int, board: int) -> bytes:
        text = "one byte in 20 to the host is flipped"
        return parse_faults([text], board=board, seed=seed).to_host(bytes(1000), 1)[0]

    assert noise(1, 0) == noise(1, 0)
    assert len({noise(1, 0), noise(2, 0), noise(1, 1)}) == 3
    assert 20 < sum(map(bool, noise(1, 0))) < 100


def lines_of(host: Host, *frames: bytes) -> list[tuple[int, int, bytes]]:
    """The answers to frames that come back to back."""
    return answers(host.ask(b"".join(frames)))


@pytest.mark.parametrize("kept", range(27))
def test_a_lost_tail_is_as_if_the_line_had_carried_no_more(kept: int) -> None:
    """Behind it the next frame's mark ends it, and the rest of that frame is none. Escapes are two bytes."""
    cut = write_reg((ADDRESS, 0xC0, 0xDB))
    frames = cut, read_reg(ADDRESS + 4), READ
    one, other = host_with(), host_with()
    other.board.give_faults(
        parse_faults([f"the tail of frame 2 is lost after {kept} bytes"], board=0, seed=1),
        other.now,
        stay_powered=True,
    )
    for host in (one, other):
        assert len(lines_of(host, write_reg((ADDRESS, 0x55)))) == 1
    for host, line in ((one, (cut[:kept], *frames[1:])), (other, frames)):
        host.board.receive(b"".join(line), host.now)
    assert answers(one.wait(20.0)) == answers(other.wait(20.0))  # a cut escape makes a long delay
    assert one.read(ADDRESS) == other.read(ADDRESS)
    assert other.board.faults.all[0].fired == 1  # type: ignore[attr-defined]  # several make a `Faults`


def test_a_frame_that_is_not_longer_loses_nothing_and_the_draw_always_takes_something() -> None:
    short = host_with(f"the tail of frame 2 is lost after {len(READ)} bytes")
    assert len(lines_of(short, *[READ] * 4)) == 4
    for seed in range(40):
        host = Host(make_board("esp32c3"))
        faults = parse_faults(["the tail of frame 2 is lost"], board=0, seed=seed)
        host.board.give_faults(faults, host.now, stay_powered=True)
        assert len(lines_of(host, *[READ] * 4)) == 3, "one frame is cut, and the next one ends it"


COMMANDS = {"program": (0x5A5A, 2 | 4 << 2), "read": (0x5AA5, 1)}


@pytest.mark.parametrize("chip", ["esp32c3", "esp32"])
@pytest.mark.parametrize("command", COMMANDS)
def test_the_tail_of_a_command_to_the_controller_is_aimed_at(chip: str, command: str) -> None:
    host = Host(make_board(chip))
    conf, cmd = (host.board.chip.registers[name] for name in ("CONF", "CMD"))
    frames = {name: write_reg((conf, op), (cmd, value)) for name, (op, value) in COMMANDS.items()}
    nothing = write_reg((conf, 0)), write_reg((cmd, 0), (conf + 4, 0x5A5A), (conf + 4, 0x5AA5))
    faults = parse_faults([f"the tail of {command} frame 2 is lost after 12 bytes"], board=0, seed=1)
    host.board.give_faults(faults, host.now, stay_powered=True)
    other = frames["read" if command == "program" else "program"]
    for one in (*nothing, frames[command], other, READ, other, *nothing):
        assert len(answers(host.ask(one, wait_s=0.1))) == 1
    assert host.ask(frames[command], wait_s=0.1) == b""
    assert len(answers(host.ask(frames[command] * 2, wait_s=0.1))) == 2  # the cut one, and the second of two


def test_the_tail_of_the_frame_that_takes_the_op_code_out_is_aimed_at() -> None:
    host = host_with("the tail of disarming frame 2 is lost after 12 bytes")
    conf, cmd = (host.board.chip.registers[name] for name in ("CONF", "CMD"))
    disarming = write_reg((conf, 0))
    for one in (disarming, *(write_reg((conf, op), (cmd, value)) for op, value in COMMANDS.values()), READ):
        assert len(answers(host.ask(one, wait_s=0.1))) == 1
    assert host.ask(disarming, wait_s=0.1) == b""


def test_a_cut_read_command_behind_a_poll_of_cmd_burns_the_key_into_another_block() -> None:
    """Seen on the ROM of a real chip: the address that the poll left makes the op code a program command."""
    host = host_with("the tail of read frame 1 is lost after 7 bytes")
    conf, cmd = (host.board.chip.registers[name] for name in ("CONF", "CMD"))
    host.write(*code_word(host, KEY).items())
    host.command(0x5A5A, 2 | 4 << 2)
    host.read(cmd)
    host.ask(write_reg((conf, 0x5AA5), (cmd, 1)) + read_reg(cmd) * 2, wait_s=0.1)
    assert [n for n in range(11) if host.board.memory.reading(n).bits == as_int(KEY)] == [4, 6]


def test_what_was_cut_waits_for_the_next_host_where_the_board_stays_powered() -> None:
    for stay_powered, value in ((True, 0xAB), (False, 0)):
        host = host_with()
        host.write((ADDRESS, 0x55))
        host.ask(write_reg((ADDRESS, 0xAB))[:14])
        host.board.give_faults(Faults(), host.now, stay_powered=stay_powered)
        host.wait(0.1)
        host.ask(SYNC * 2)
        assert host.read(ADDRESS) == value


def sent_so_far(host: Host) -> int:
    return host.board.sent


def test_a_late_answer_is_late() -> None:
    first = sent_so_far(host_with())
    host = host_with(f"byte {first + 3} to the host is late by 250 ms")
    assert host.ask(READ, wait_s=0.24) == b""
    assert len(answers(host.wait(0.02))) == 1


def test_garbage_before_an_answer() -> None:
    host = Host(make_board("esp32c3", faults=["9 bytes of garbage come before answer 2"]))
    assert len(host.ask(READ)) == 14 + 9  # answer 1 was the boot log
    assert len(host.ask(READ)) == 14


def test_garbage_after_an_answer_and_an_answer_that_is_lost() -> None:
    host = Host(make_board("esp32c3", faults=["9 bytes of garbage come after answer 2", "answer 3 is lost"]))
    assert [len(host.ask(READ)) for _ in range(3)] == [14 + 9, 0, 14]


def test_a_silent_link_comes_back() -> None:
    received = host_with().board.received
    host = host_with(f"the link is silent after {received + 5} bytes for 300 ms")
    assert host.ask(READ, wait_s=0.29) == b""
    assert host.ask(READ) == b""
    host.wait(0.02)
    assert len(answers(host.ask(READ))) == 1


def test_a_vanishing_port_says_where_it_comes_back() -> None:
    host = Host(
        make_board(
            "esp32c3", faults=["the port vanishes after 20 bytes and comes back as ttyUSB9 after 50 ms"]
        )
    )
    assert len(answers(host.ask(READ))) == 1
    host.ask(READ)
    assert host.board.unplugged is not None
    assert (host.board.unplugged.name, host.board.unplugged.after_s) == ("ttyUSB9", 0.05)


def test_a_reboot_of_the_rom() -> None:
    packets = host_with().board.packets
    host = host_with(f"the ROM reboots at packet {packets + 2}")
    assert len(answers(host.ask(READ))) == 1
    assert b"waiting for download" in host.ask(READ)
    host.wait(0.1)
    assert len(answers(host.ask(SYNC))) == 8


def test_the_watchdog_bites_after_a_packet_that_was_executed() -> None:
    before = host_with()
    cmd = before.board.chip.registers["CMD"]
    before.write((cmd, 4 << 2))
    assert before.read(cmd) == 4 << 2
    host = host_with(f"the watchdog resets the chip after packet {host_with().board.packets + 1}")
    answer = host.ask(write_reg((cmd, 4 << 2)))
    assert answers(answer)[0][0] == 0x09
    assert b"waiting for download" in answer
    host.wait(0.1)
    host.ask(SYNC)
    assert host.read(cmd) == 0


def test_another_crystal_makes_another_divider_and_bad_burns() -> None:
    divider = clkdiv_address(make_board("esp32s3").chip)
    usual = Host(make_board("esp32s3")).read(divider)
    host = Host(make_board("esp32s3", faults=["the crystal has 26 MHz"]))
    assert host.read(divider) == round(usual * 26 / 40)
    host.set_timing()
    assert not host.board.controller.timing_is_right()


def test_a_swap_says_which_board_comes() -> None:
    for text, other in (("for a new one", None), ("with board 3", 3)):
        host = Host(make_board("esp32c3", faults=[f"the board is swapped {text} after 20 bytes"]))
        assert len(answers(host.ask(READ))) == 1
        host.ask(READ)
        assert host.board.swapped is not None
        assert host.board.swapped.other == other


def test_other_faults_for_the_next_run_count_from_its_start() -> None:
    host = Host(make_board("esp32c3", faults=["answer 2 is lost"]))
    assert host.ask(READ) == b""
    host.board.give_faults(parse_faults(["byte 2 to the host is lost"], board=0, seed=1), host.now)
    host.wait(1.0)
    assert (host.board.sent, host.board.packets) == (0, 0)
    assert [len(host.ask(READ)) for _ in range(2)] == [13, 14]
    host.board.give_faults(Faults(), host.now)
    host.wait(1.0)
    assert [len(host.ask(READ)) for _ in range(3)] == [14] * 3


def test_a_controller_that_never_becomes_idle() -> None:
    host = host_with("the controller never becomes idle after program 2")
    cmd = host.board.chip.registers["CMD"]
    host.program(code_word(host, KEY), 4)
    assert host.read(cmd) & 3 == 0
    host.program(code_word(host, KEY), 5)
    host.wait(100.0)
    assert host.read(cmd) & 3 == 2
    assert host.board.memory.reading(5).bits == as_int(KEY)


def test_a_brown_out_burns_a_part_and_resets() -> None:
    host = host_with("the supply browns out in program 1 leaving 30 percent of the bits")
    resets = host.board.resets
    host.write(*code_word(host, KEY).items())
    host.ask(
        write_reg((host.board.chip.registers["CONF"], 0x5A5A), (host.board.chip.registers["CMD"], 2 | 4 << 2))
    )
    host.wait(0.1)
    wanted = host_with()
    wanted.program(code_word(wanted, KEY), 4)
    whole, burned = wanted.board.memory.cells[4], host.board.memory.cells[4]
    assert host.board.resets == resets + 1
    assert burned & ~whole == 0
    assert burned.bit_count() == int(whole.bit_count() * 0.3)


def test_a_stubborn_bit() -> None:
    host = host_with("bit 0 of BLOCK_KEY0 refuses to burn the first time", "bit 33 of BLOCK0 refuses to burn")
    twice = host_with("bit 0 of BLOCK_KEY0 refuses to burn the first 2 times")
    for errors in (1, 1, 0):
        twice.program(code_word(twice, KEY), 4)
        assert errors_of(twice, 4) == (errors, False)
    host.program(code_word(host, KEY), 4)
    assert errors_of(host, 4) == (1, False)
    host.program(code_word(host, KEY), 4)
    assert errors_of(host, 4) == (0, False)
    for _ in range(2):
        host.program(block0(host, "RD_DIS", 3))
        assert host.board.memory.field_bits("RD_DIS") == 1


def test_a_bit_that_burns_its_neighbour() -> None:
    host = host_with("bit 32 of BLOCK0 burns its neighbour too")
    host.program(block0(host, "RD_DIS", 1))
    assert host.board.memory.field_bits("RD_DIS") == 3


@pytest.mark.parametrize(("count", "fail"), [(2, False), (9, True)])
def test_bytes_that_burn_wrong_are_a_coding_error(count: int, fail: bool) -> None:
    host = host_with(f"{count} bytes of BLOCK4 burn wrong")
    host.program(code_word(host, KEY), 4)
    errors, failed = errors_of(host, 4)
    assert (errors == min(count, 7) or fail, failed) == (True, fail)
