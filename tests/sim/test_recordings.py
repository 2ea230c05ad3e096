"""The simulator answers the recorded requests with the recorded replies, byte for byte.

Time is taken from the recordings: the eFuse controller is done when a recorded poll of CMD says so.
"""

from __future__ import annotations

import dataclasses

import pytest

from parburn.sim.board import SimulatedBoard
from tests.sim.boards import Host, make_board, read_reg
from tests.traces import Turn, all_traces, read_trace

# What the boards of the recordings were, by chip.
RECORDED_BOARDS = {
    "esp32": ("revision=3.0", "clkdiv=0x15a", "clk8m_freq=0"),
    "esp32c3": ("revision=0.4", "clkdiv=0x152", "magic=0x1b31506f", "OPTIONAL_UNIQUE_ID=0"),
}
SECURE_DOWNLOAD = {"esp32c3-secure-download": ("ENABLE_SECURITY_DOWNLOAD=1",)}

# What the emulator behind the recordings does otherwise than silicon, and the switch of the simulator for it.
NOT_IN_THE_EMULATOR = {
    "the block number in CMD keeps its value after a program command": "keeps_block_number",
    "CMD shows idle at the first look after a READ command": "shows_idle_once",
}


def recorded_board(name: str) -> SimulatedBoard:
    chip = name.partition("-")[0]
    board = make_board(chip, *RECORDED_BOARDS[chip], *SECURE_DOWNLOAD.get(name, ()))
    board.controller.chip = dataclasses.replace(board.chip, program_ms=500.0, read_ms=500.0)
    for switch in NOT_IN_THE_EMULATOR.values():
        assert isinstance(getattr(board.controller, switch), bool)
        setattr(board.controller, switch, False)
    return board


def replay(host: Host, turn: Turn) -> bytes:
    """The answer to a recorded request, at the time that the recording tells."""
    got = host.wait(1.0 if is_last_poll(host, turn) else 0.0)
    return got + host.ask(turn.sent, wait_s=delay_s(turn), baud=host.board.baud)


def is_last_poll(host: Host, turn: Turn) -> bool:
    """Whether the recording looks at CMD here and finds the controller idle."""
    return turn.sent == read_reg(host.board.chip.registers["CMD"]) and turn.answered[5] & 3 == 0


def delay_s(turn: Turn) -> float:
    """The delay that espefuse asks for in the second entry of a register write."""
    is_pair = turn.sent[:4] == bytes.fromhex("c0000920") and len(turn.sent) == 42
    return int.from_bytes(turn.sent[-5:-1], "little") / 1e6 if is_pair else 0.0


@pytest.mark.parametrize("name", all_traces())
def test_answers_as_recorded(name: str) -> None:
    host = Host(recorded_board(name))
    turns = read_trace(name)
    assert turns
    for turn in turns:
        assert replay(host, turn).hex() == turn.answered.hex(), turn.comment


@pytest.mark.parametrize("switch", NOT_IN_THE_EMULATOR.values())
def test_each_difference_from_the_emulator_is_seen(switch: str) -> None:
    host = Host(recorded_board("esp32c3-espefuse-burn"))
    setattr(host.board.controller, switch, True)
    assert any(replay(host, turn) != turn.answered for turn in read_trace("esp32c3-espefuse-burn"))


@pytest.mark.parametrize("name", ["esp32-espefuse-burn", "esp32c3-espefuse-burn"])
@pytest.mark.parametrize("size", [1, 7])
def test_answers_the_same_when_fed_in_pieces(name: str, size: int) -> None:
    host = Host(recorded_board(name))
    for turn in read_trace(name)[:400]:
        got = host.wait(1.0 if is_last_poll(host, turn) else 0.0)
        for at in range(0, len(turn.sent), size):
            got += host.ask(turn.sent[at : at + size])
        got += host.wait(delay_s(turn))
        assert got.hex() == turn.answered.hex(), turn.comment
