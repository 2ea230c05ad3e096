"""A ROM loader in a few lines for tests of the wire: bytes in, bytes out, with the ROM's ring and repeats."""

from __future__ import annotations

import struct

SYNC_DATA = b"\x07\x07\x12\x20" + b"\x55" * 32


class FakeRom:
    """Answers SYNC, READ_REG, WRITE_REG, CHANGE_BAUDRATE, GET_SECURITY_INFO as recorded from the mask ROM.

    Decodes byte by byte and by its own means. `security_info` None: the command does not exist.
    """

    def __init__(self, registers: dict[int, int] | None = None) -> None:
        self.registers = registers if registers is not None else {}
        self.security_info: bytes | None = None
        self.secure_download = False
        self.deaf_syncs = 0  # SYNCs that get no answer
        self.requests: list[bytes] = []
        self.baud: int | None = None
        self.value = 0
        self.last_valid = 0
        self._frame: bytearray | None = None
        self._escaped = False

    def feed(self, data: bytes) -> bytes:
        """Take bytes from the host; return the answers they cause."""
        answers = b""
        for byte in data:
            if byte == 0xC0:
                if self._frame:
                    answers += self._execute(bytes(self._frame))
                    self._frame = None
                else:
                    self._frame = bytearray()
            elif self._frame is None:
                continue
            elif self._escaped:
                self._escaped = False
                self._frame.append({0xDC: 0xC0, 0xDD: 0xDB}.get(byte, byte))
            elif byte == 0xDB:
                self._escaped = True
            else:
                self._frame.append(byte)
        return answers

    def _execute(self, packet: bytes) -> bytes:
        self.requests.append(packet)
        direction, opcode, _size, _checksum = struct.unpack_from("<BBHI", packet)
        data = packet[8:]
        if direction == 0 and opcode == 0x08 and data == SYNC_DATA:
            if self.deaf_syncs:
                self.deaf_syncs -= 1
                return b""
            self.last_valid, self.value = opcode, 0x20120707
            return self._answer() * 8
        forbidden = self.secure_download and opcode in (0x09, 0x0A)
        if direction == 0 and opcode in (0x09, 0x0A, 0x0F) and not forbidden:
            self.last_valid = opcode
            extra = self._register_command(opcode, data)
            return self._answer() + extra
        if direction == 0 and opcode == 0x14 and self.security_info is not None:
            self.last_valid = opcode
            return self._answer(self.security_info)
        return self._answer(code=5) * (8 if self.last_valid == 0x08 else 1)

    def _register_command(self, opcode: int, data: bytes) -> bytes:
        if opcode == 0x0A:
            self.value = self.registers.get(struct.unpack("<I", data)[0], 0)
        elif opcode == 0x09:
            for address, value, mask, _delay in struct.iter_unpack("<IIII", data):
                old = self.registers.get(address, 0)
                self.registers[address] = (old & ~mask & 0xFFFFFFFF) | (value & mask)
        else:
            self.baud = struct.unpack("<II", data)[0]
            return b"\xc0\xc0"
        return b""

    def _answer(self, data: bytes = b"", *, code: int = 0) -> bytes:
        body = data + bytes((1 if code else 0, code, 0, 0))
        packet = struct.pack("<BBHI", 1, self.last_valid, len(body), self.value) + body
        escaped = bytearray()
        for byte in packet:
            escaped += {0xC0: b"\xdb\xdc", 0xDB: b"\xdb\xdd"}.get(byte, bytes((byte,)))
        return b"\xc0" + bytes(escaped) + b"\xc0"
