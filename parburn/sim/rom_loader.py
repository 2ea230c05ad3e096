"""The mask ROM's serial loader: SLIP frames in, answers out, as unforgiving as the real one.

It checks almost nothing: no checksum of register writes, no comparison of a header's length with what came.
Frames are written over what the buffer held before, so a short frame is executed on stale bytes. Answers
repeat the opcode and the value of earlier commands where the command sets none, and whatever carries SYNC's
opcode goes out eight times.

Time and registers belong to the `Bus`; this module only tells it when it uses them.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Mapping
from typing import Protocol

from parburn.sim.registers import BusError

END, ESCAPE = b"\xc0", 0xDB
_UNESCAPED = {0xDC: 0xC0, 0xDD: 0xDB}
_SPECIAL = re.compile(rb"[\xc0\xdb]")

BUFFER_BYTES = 8192  # what the ROM keeps of one frame; entry 512 of a WRITE_REG lies half outside
HEADER_BYTES = 8
MAX_ENTRIES = 512  # one more and the ROM runs off its memory
ENTRY_BYTES = 16

MEM_BEGIN, MEM_END, MEM_DATA = 0x05, 0x06, 0x07
SYNC, WRITE_REG, READ_REG = 0x08, 0x09, 0x0A
SPI_SET_PARAMS, SPI_ATTACH, CHANGE_BAUDRATE = 0x0B, 0x0D, 0x0F
RUN_USER_CODE, GET_SECURITY_INFO = 0x12, 0x14

OK, BAD_PARAMETERS, BAD_CHECKSUM = b"\0\0\0\0", b"\1\5\0\0", b"\1\7\0\0"
SYNC_ANSWERS = 8
IN_SECURE_DOWNLOAD = frozenset((SYNC, CHANGE_BAUDRATE, GET_SECURITY_INFO))


class ChipResetError(Exception):
    """The chip resets itself in the middle of what it was doing."""

    def __init__(self, at: float) -> None:
        super().__init__("the chip resets itself")
        self.at = at


class Bus(Protocol):
    """What the loader runs on. `now` is in seconds; each call may raise ChipResetError."""

    def check_fuses(self, now: float) -> None:
        """Reset the chip when its download fuses forbid what it is doing."""

    def read(self, address: int, now: float) -> int:
        """Read a register, or raise BusError."""

    def write(self, address: int, value: int, now: float) -> None:
        """Write a register, or raise BusError."""

    def send(self, data: bytes, now: float) -> None:
        """Put bytes on the line to the host."""

    def set_baud(self, baud: int) -> None:
        """Change the UART's rate for what follows."""

    def security_info(self) -> bytes:
        """Return what GET_SECURITY_INFO answers; nothing where this ROM has no such command."""


def encode_frame(body: bytes) -> bytes:
    """Return a body as one SLIP frame (RFC 1055)."""
    return END + body.replace(b"\xdb", b"\xdb\xdd").replace(b"\xc0", b"\xdb\xdc") + END


class SlipReceiver:
    """The ROM's receive state machine: OUTSIDE a frame, INSIDE it, or just after an ESCAPE byte."""

    def __init__(self) -> None:
        self._state = "outside"
        self.frame = bytearray()

    def feed(self, data: bytes, at: int) -> tuple[int, bool]:
        """Take bytes from `data[at:]` up to a frame's end; return the next place, and if one is whole."""
        size = len(data)
        while at < size:
            if self._state == "outside":
                at = data.find(END, at)
                if at < 0:
                    return size, False
                at += 1
                self._state = "inside"
                self.frame.clear()
            elif self._state == "escape":
                self.frame.append(_UNESCAPED.get(data[at], data[at]))
                at += 1
                self._state = "inside"
            else:
                found = _SPECIAL.search(data, at)
                stop = found.start() if found else size
                self.frame += data[at:stop]
                at = stop + 1
                if not found:
                    return size, False
                if data[stop] == ESCAPE:
                    self._state = "escape"
                elif self.frame:
                    self._state = "outside"
                    return at, True
        return size, False

    def lose_tail(self, kept: int) -> None:
        """Return to the state after the first `kept` bytes on the line of the frame that is whole."""
        line = encode_frame(bytes(self.frame))[:kept]
        self._state = "outside"
        self.feed(line, 0)


class SimulatedRom:
    """The commands. One instance lives from reset to reset."""

    def __init__(self, bus: Bus, *, secure_download: bool = False) -> None:
        self.bus = bus
        self.slip = SlipReceiver()
        self.dead = False
        self.secure_download = secure_download
        self._buffer = bytearray(BUFFER_BYTES)
        self._opcode = 0
        self._value = 0
        self._memory_open = False
        self._commands: Mapping[int, Callable[[int, float], float]] = {
            MEM_BEGIN: self._mem_begin,
            MEM_END: self._mem_end,
            MEM_DATA: self._mem_data,
            SYNC: self._sync,
            WRITE_REG: self._write_reg,
            READ_REG: self._read_reg,
            SPI_SET_PARAMS: self._accept,
            SPI_ATTACH: self._accept,
            CHANGE_BAUDRATE: self._change_baudrate,
            RUN_USER_CODE: self._run_user_code,
            GET_SECURITY_INFO: self._get_security_info,
        }

    def execute(self, now: float) -> float:
        """Execute the frame that `slip` holds; return when the ROM listens again.

        Raises:
            ChipResetError: the chip resets itself meanwhile.
        """
        frame = self.slip.frame[:BUFFER_BYTES]
        self._buffer[: len(frame)] = frame
        if self.dead:
            return now
        self.bus.check_fuses(now)
        direction, opcode, length = struct.unpack_from("<BBH", self._buffer)
        known = opcode in self._commands and (opcode != GET_SECURITY_INFO or self.bus.security_info())
        if direction or not known or (self.secure_download and opcode not in IN_SECURE_DOWNLOAD):
            return self._answer(now, BAD_PARAMETERS)
        self._opcode = opcode
        try:
            return self._commands[opcode](length, now)
        except BusError:
            self.dead = True
            return now

    def _answer(self, now: float, status: bytes = OK, data: bytes = b"") -> float:
        self.bus.check_fuses(now)
        head = struct.pack("<BBHI", 1, self._opcode, len(data) + len(status), self._value)
        frame = encode_frame(head + data + status)
        for _ in range(SYNC_ANSWERS if self._opcode == SYNC else 1):
            self.bus.send(frame, now)
        return now

    def _word(self, offset: int) -> int:
        at = HEADER_BYTES + offset
        return int.from_bytes(self._buffer[at : at + 4], "little")

    def _accept(self, length: int, now: float) -> float:
        return self._answer(now)

    def _sync(self, length: int, now: float) -> float:
        self._value = self._word(0)
        return self._answer(now)

    def _read_reg(self, length: int, now: float) -> float:
        self._value = self.bus.read(self._word(0), now)
        return self._answer(now)

    def _write_reg(self, length: int, now: float) -> float:
        entries = length // ENTRY_BYTES
        if entries > MAX_ENTRIES:
            self.dead = True
            return now
        for at in range(0, entries * ENTRY_BYTES, ENTRY_BYTES):
            address, value, mask, delay_us = (self._word(at + part) for part in (0, 4, 8, 12))
            now += delay_us / 1e6
            self.bus.check_fuses(now)
            old = self.bus.read(address, now)
            self.bus.write(address, (old & ~mask) | (value & mask), now)
        return self._answer(now)

    def _get_security_info(self, length: int, now: float) -> float:
        return self._answer(now, data=self.bus.security_info())

    def _change_baudrate(self, length: int, now: float) -> float:
        self._answer(now)
        self.bus.send(END + END, now)
        self.bus.set_baud(self._word(0))
        return now

    def _run_user_code(self, length: int, now: float) -> float:
        self._answer(now)
        if self._buffer[HEADER_BYTES] == 0:  # stale where the command has no payload
            raise ChipResetError(now)
        return now

    def _mem_begin(self, length: int, now: float) -> float:
        if length < 16:
            return self._answer(now, BAD_PARAMETERS)
        self._memory_open = True
        return self._answer(now)

    def _mem_data(self, length: int, now: float) -> float:
        if length < 16 or not self._memory_open:
            return self._answer(now, BAD_PARAMETERS)
        checksum = 0xEF
        for byte in self._buffer[24 : 24 + self._word(0) % BUFFER_BYTES]:
            checksum ^= byte
        return self._answer(now, OK if checksum == self._buffer[4] else BAD_CHECKSUM)

    def _mem_end(self, length: int, now: float) -> float:
        if length < 8:
            return self._answer(now, BAD_PARAMETERS)
        self._answer(now)
        self.dead = self._word(0) == 0  # it jumps into memory, and there is no processor here to follow it
        return now
