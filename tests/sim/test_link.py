"""The paced line: bytes take their time, answers come in USB frames."""

from __future__ import annotations

import pytest

from tests.sim.boards import SYNC, Host, answers, make_board, read_reg, write_reg

BYTE_S = 10 / 115200
ADDRESS = 0x60008800


def arrivals(host: Host, *, step_s: float = 0.0001, until_s: float = 0.1) -> list[float]:
    """When each answer arrives, in seconds from now."""
    start, found = host.now, []
    while host.now < start + until_s:
        got = host.wait(step_s)
        found += [host.now - start] * len(answers(got))
    return found


def test_a_request_and_its_answer_take_the_time_of_their_bytes() -> None:
    host = Host(make_board("esp32c3", baud_limit=115200))
    host.board.receive(read_reg(ADDRESS), host.now)
    (at,) = arrivals(host)
    assert at == pytest.approx(28 * BYTE_S, abs=0.0002)


def test_pipelined_answers_overlap_the_requests() -> None:
    host = Host(make_board("esp32c3", baud_limit=115200))
    host.board.receive(read_reg(ADDRESS) * 18, host.now)
    found = arrivals(host)
    assert len(found) == 18
    assert found[-1] == pytest.approx(19 * 14 * BYTE_S, abs=0.0002)


def test_answers_wait_for_their_usb_frame() -> None:
    host = Host(make_board("esp32c3", baud_limit=115200, usb_frame_s=0.016))
    start = host.now
    host.board.receive(read_reg(ADDRESS), host.now)
    (at,) = arrivals(host)
    assert (start + at) % 0.016 < 0.0002


def test_the_next_event_is_never_late_and_seldom_early() -> None:
    """Served only when it asks to be, the board gives the same answers, in few visits."""
    host = Host(make_board("esp32c3", baud_limit=115200, usb_frame_s=0.001))
    start = host.now
    host.board.receive(read_reg(ADDRESS) * 18, host.now)
    got, visits = b"", 0
    while host.board.next_event() < start + 1.0:
        got += host.wait(max(0.0, host.board.next_event() - host.now))
        visits += 1
    assert len(answers(got)) == 18
    assert host.now - start == pytest.approx(19 * 14 * BYTE_S, abs=0.0011)
    assert visits < 25


def test_a_paced_line_fills_the_ring_while_the_rom_delays() -> None:
    host = Host(make_board("esp32", baud_limit=115200))
    wdata = host.board.chip.blocks[1].write_address
    host.ask(write_reg((wdata, 1, 0xFFFFFFFF, 50_000)) + read_reg(wdata) * 18)
    assert len(arrivals(host, until_s=0.2)) == 19
    host.ask(write_reg((wdata, 1, 0xFFFFFFFF, 50_000)) + read_reg(wdata) * 19)
    assert len(arrivals(host, until_s=0.2)) == 1


def test_sync_works_on_a_paced_line() -> None:
    host = Host(make_board("esp32s3", baud_limit=115200, usb_frame_s=0.001))
    host.board.receive(SYNC, host.now)
    assert len(arrivals(host)) == 8


def test_power_cycle_executes_what_is_still_on_the_line() -> None:
    host = Host(make_board("esp32c3", baud_limit=115200))
    host.board.receive(write_reg((ADDRESS, 0x55)), host.now)
    host.board.advance(host.now)
    packets = host.board.packets
    host.board.power_cycle(host.now)
    assert host.board.packets == packets + 1
    assert host.wait(0.1) == b""
    host.board.receive(read_reg(ADDRESS), host.now)
    assert [value for _, value, _ in answers(host.wait(0.1))] == [0]
