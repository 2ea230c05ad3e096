"""Simulated boards in virtual time, for the tests of the simulator: no port, no process, no clock."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterable

from parburn.sim.board import BOOT_S, FIRST_BAUD, SimulatedBoard
from parburn.sim.efuse_controller import ProgramPulse
from parburn.sim.factory import make_product
from parburn.sim.faults import parse_faults

MAC = bytes.fromhex("240ac4010203")
SYNC = bytes.fromhex("c000082400000000000707122055" + "55" * 31 + "c0")
OK = bytes(4)


def make_board(
    chip: str,
    *settings: str,
    faults: Iterable[str] = (),
    baud_limit: int = 0,
    usb_frame_s: float = 0.0,
    on_burn: Callable[[ProgramPulse], None] = lambda record: None,
) -> SimulatedBoard:
    """A new board, made with these `KEY=VALUE` settings, that has just come up."""
    wanted = dict(setting.split("=") for setting in settings)
    made = make_product(chip, mac=MAC, settings=wanted, rng=random.Random(1))
    return SimulatedBoard(
        made.memory,
        crystal_mhz=made.crystal_mhz,
        registers=made.registers,
        faults=parse_faults(faults, board=0, seed=7),
        baud_limit=baud_limit,
        usb_frame_s=usb_frame_s,
        on_burn=on_burn,
    )


def frame(opcode: int, payload: bytes = b"", *, length: int | None = None, direction: int = 0) -> bytes:
    """A SLIP frame as a host sends it; `length` overrides what its header says."""
    body = struct.pack("<BBHI", direction, opcode, len(payload) if length is None else length, 0) + payload
    return b"\xc0" + body.replace(b"\xdb", b"\xdb\xdd").replace(b"\xc0", b"\xdb\xdc") + b"\xc0"


def read_reg(address: int) -> bytes:
    """A READ_REG request."""
    return frame(0x0A, struct.pack("<I", address))


def write_reg(*entries: tuple[int, ...]) -> bytes:
    """A WRITE_REG request; each entry is address, value[, mask[, delay_us]]."""
    return frame(
        0x09, b"".join(struct.pack("<4I", *entry, *(0xFFFFFFFF, 0)[len(entry) - 2 :]) for entry in entries)
    )


def answers(data: bytes) -> list[tuple[int, int, bytes]]:
    """Opcode, value and the rest (data and status) of each answer; text between frames is left out."""
    found = []
    for part in data.split(b"\xc0"):
        body = part.replace(b"\xdb\xdc", b"\xc0").replace(b"\xdb\xdd", b"\xdb")
        if len(body) >= 12 and body[0] == 1:
            found.append((body[1], int.from_bytes(body[4:8], "little"), body[8:]))
    return found


class Host:
    """Talks with a board; its clock moves only when told."""

    def __init__(self, board: SimulatedBoard) -> None:
        self.board = board
        self.now = 2 * BOOT_S
        board.advance(self.now)
        board.take_output(self.now)

    def wait(self, seconds: float) -> bytes:
        """Let time pass; what came in it."""
        self.now += seconds
        self.board.advance(self.now)
        return self.board.take_output(self.now)

    def ask(self, data: bytes, *, wait_s: float = 0.0, baud: int = FIRST_BAUD) -> bytes:
        """Send bytes; what has come after `wait_s`."""
        self.board.receive(data, self.now, baud)
        return self.wait(wait_s)

    def read(self, address: int) -> int:
        """A register's value."""
        ((_, value, status),) = answers(self.ask(read_reg(address)))
        assert status == OK
        return value

    def write(self, *entries: tuple[int, ...]) -> None:
        """Register writes in one packet."""
        assert [status for _, _, status in answers(self.ask(write_reg(*entries)))] == [OK]

    def command(self, op_code: int, command: int, *, wait_s: float = 0.1) -> None:
        """Give the eFuse controller an op code and a command, and wait until it is surely done."""
        registers = self.board.chip.registers
        self.write((registers["CONF"], op_code), (registers["CMD"], command))
        self.wait(wait_s)

    def set_timing(self, crystal_mhz: int = 40) -> None:
        """The timing writes of the chip's row."""
        self.write(*((w.address, w.value, w.mask) for w in self.board.chip.timing[crystal_mhz]))

    def reload(self) -> None:
        """READ command."""
        self.command(0x5AA5, 1)

    def program(self, words: dict[int, int], block: int = 0) -> None:
        """Write programming registers and give the PGM command, then READ."""
        self.write(*words.items())
        self.command(0x5A5A, 2 | (block << 2 if self.board.memory.pgm else 0))
        self.reload()

    def shown(self, block: int) -> int:
        """What the read registers of a block show."""
        row = self.board.chip.blocks[block]
        return sum(self.read(row.read_address + 4 * n) << 32 * n for n in range(row.words))
