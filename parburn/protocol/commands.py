"""The ROM loader's commands as values, `to_bytes` and `parse` side by side. No I/O, no escapes, no chips.

A request packet is ``00 opcode size(16) checksum(32) data``, an answer ``01 opcode size(16) value(32) data
status(4)``, all little-endian ("Serial Protocol" in the esptool documentation). The checksum is 0 for all
commands here; the ROM ignores it. An answer's opcode is no proof of what it answers: an error carries the
opcode of the command before, so answers are told apart by their order alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from itertools import starmap
from struct import Struct
from typing import Final, NamedTuple

from parburn.protocol import slip

SYNC: Final = 0x08
WRITE_REG: Final = 0x09
READ_REG: Final = 0x0A
CHANGE_BAUDRATE: Final = 0x0F
FLASH_DEFL_END: Final = 0x12
GET_SECURITY_INFO: Final = 0x14

COMMAND_NAMES: Final = {
    SYNC: "SYNC",
    WRITE_REG: "WRITE_REG",
    READ_REG: "READ_REG",
    CHANGE_BAUDRATE: "CHANGE_BAUDRATE",
    FLASH_DEFL_END: "FLASH_DEFL_END",
    GET_SECURITY_INFO: "GET_SECURITY_INFO",
}

SYNC_REPLIES: Final = 8  # to each SYNC, and to a refused command right after one
STATUS_BYTES: Final = 4
REPLY_BYTES: Final = 14  # of a register command's answer on the line, escapes apart

_HEADER = Struct("<BBHI")
_WORD = Struct("<I")
_TWO_WORDS = Struct("<II")
_ENTRY = Struct("<IIII")
_INFO_LONG = Struct("<IB7sII")
_INFO_SHORT = Struct("<IB7s")
_SECURE_DOWNLOAD: Final = 1 << 2
_SYNC_DATA = bytes((0x07, 0x07, 0x12, 0x20)) + b"\x55" * 32

WriteEntry = tuple[int, int, int, int]  # address, value, mask, delay in microseconds (before the write)


def _request(opcode: int, data: bytes) -> bytes:
    return _HEADER.pack(0, opcode, len(data), 0) + data


def _request_data(packet: bytes, opcode: int) -> bytes:
    if len(packet) < _HEADER.size:
        raise ValueError("the packet is shorter than a header")
    direction, found, size, _checksum = _HEADER.unpack_from(packet)
    data = packet[_HEADER.size :]
    if direction != 0 or found != opcode or size != len(data):
        raise ValueError(f"the packet is no {COMMAND_NAMES[opcode]} request")
    return data


class _Bare:
    """A command without data. No empty tuple: that would equal every other."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self)

    def __hash__(self) -> int:
        return hash(type(self))

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class Sync(_Bare):
    """SYNC: lets the ROM measure the baud rate. It is answered eight times."""

    __slots__ = ()

    def to_bytes(self) -> bytes:
        """Return the request packet."""
        return _request(SYNC, _SYNC_DATA)

    @classmethod
    def parse(cls, packet: bytes) -> Sync:
        """Return the command of a request packet.

        Raises:
            ValueError: the packet is another command's, or damaged.
        """
        if _request_data(packet, SYNC) != _SYNC_DATA:
            raise ValueError("the SYNC pattern is damaged")
        return cls()


class ReadReg(NamedTuple):
    """READ_REG: one 32-bit word."""

    address: int

    def to_bytes(self) -> bytes:
        """Return the request packet."""
        return _request(READ_REG, _WORD.pack(self.address))

    @classmethod
    def parse(cls, packet: bytes) -> ReadReg:
        """Return the command of a request packet.

        Raises:
            ValueError: the packet is another command's, or damaged.
        """
        data = _request_data(packet, READ_REG)
        if len(data) != _WORD.size:
            raise ValueError("READ_REG takes one address")
        return cls(_WORD.unpack(data)[0])


class WriteReg(NamedTuple):
    """WRITE_REG: masked writes, executed in order, with one answer for all. Entries may hold key words.

    For each entry the ROM waits the delay, then writes `(old & ~mask) | (value & mask)`.
    """

    entries: tuple[WriteEntry, ...]

    def __repr__(self) -> str:  # the values may be a key's
        return f"WriteReg({len(self.entries)} entries)"

    def to_bytes(self) -> bytes:
        """Return the request packet."""
        return _request(WRITE_REG, b"".join(starmap(_ENTRY.pack, self.entries)))

    @classmethod
    def parse(cls, packet: bytes) -> WriteReg:
        """Return the command of a request packet.

        Raises:
            ValueError: the packet is another command's, or damaged.
        """
        data = _request_data(packet, WRITE_REG)
        if not data or len(data) % _ENTRY.size:
            raise ValueError("WRITE_REG takes whole entries of 16 bytes")
        entries: Iterable[WriteEntry] = _ENTRY.iter_unpack(data)
        return cls(tuple(entries))


class GetSecurityInfo(_Bare):
    """GET_SECURITY_INFO: works in secure download mode too; some ROMs do not have it."""

    __slots__ = ()

    def to_bytes(self) -> bytes:
        """Return the request packet."""
        return _request(GET_SECURITY_INFO, b"")

    @classmethod
    def parse(cls, packet: bytes) -> GetSecurityInfo:
        """Return the command of a request packet.

        Raises:
            ValueError: the packet is another command's, or damaged.
        """
        if _request_data(packet, GET_SECURITY_INFO):
            raise ValueError("GET_SECURITY_INFO takes no data")
        return cls()


class ChangeBaudrate(NamedTuple):
    """CHANGE_BAUDRATE: answered at the old rate, then two extra END bytes.

    `old` is 0 for a ROM; only a stub loader uses it.
    """

    new: int
    old: int = 0

    def to_bytes(self) -> bytes:
        """Return the request packet."""
        return _request(CHANGE_BAUDRATE, _TWO_WORDS.pack(self.new, self.old))

    @classmethod
    def parse(cls, packet: bytes) -> ChangeBaudrate:
        """Return the command of a request packet.

        Raises:
            ValueError: the packet is another command's, or damaged.
        """
        data = _request_data(packet, CHANGE_BAUDRATE)
        if len(data) != _TWO_WORDS.size:
            raise ValueError("CHANGE_BAUDRATE takes two rates")
        return cls(*_TWO_WORDS.unpack(data))


Command = Sync | ReadReg | WriteReg | GetSecurityInfo | ChangeBaudrate

_BY_OPCODE: Final[dict[int, type[Command]]] = {
    SYNC: Sync,
    READ_REG: ReadReg,
    WRITE_REG: WriteReg,
    GET_SECURITY_INFO: GetSecurityInfo,
    CHANGE_BAUDRATE: ChangeBaudrate,
}


def parse_command(packet: bytes) -> Command | None:
    """Return the command of any request packet; None when it is none of those here."""
    command = _BY_OPCODE.get(packet[1]) if len(packet) >= _HEADER.size else None
    if command is None:
        return None
    try:
        return command.parse(packet)
    except ValueError:
        return None


class Reply(NamedTuple):
    """One answer. `value` means something after READ_REG and SYNC only: else it is the word read before."""

    opcode: int
    value: int
    data: bytes
    status: int
    code: int

    def __repr__(self) -> str:  # the value may be a key's
        return f"Reply({self.opcode:#04x}, status {self.status:02x} {self.code:02x})"

    def to_bytes(self) -> bytes:
        """Return the answer packet."""
        size = len(self.data) + STATUS_BYTES
        tail = bytes((self.status, self.code, 0, 0))
        return _HEADER.pack(1, self.opcode, size, self.value) + self.data + tail

    @classmethod
    def parse(cls, packet: bytes) -> Reply:
        """Return the answer of a packet.

        Raises:
            ValueError: the packet is no answer.
        """
        if len(packet) < _HEADER.size + STATUS_BYTES:
            raise ValueError("shorter than an answer")
        direction, opcode, size, value = _HEADER.unpack_from(packet)
        if direction != 1 or size != len(packet) - _HEADER.size:
            raise ValueError("not an answer")
        status, code = packet[-4], packet[-3]
        return cls(opcode, value, packet[_HEADER.size : -STATUS_BYTES], status, code)


class SecurityInfo(NamedTuple):
    """The answer to GET_SECURITY_INFO. The oldest ROMs that have it give no chip id and no ECO version."""

    flags: int
    crypt_count: int
    key_purposes: bytes
    chip_id: int | None
    eco: int | None

    @property
    def secure_download(self) -> bool:
        """Whether the chip is in secure download mode, where registers cannot be reached."""
        return bool(self.flags & _SECURE_DOWNLOAD)

    @classmethod
    def parse(cls, data: bytes) -> SecurityInfo:
        """Return what an answer's data say.

        Raises:
            ValueError: they have neither of the two known lengths.
        """
        if len(data) == _INFO_LONG.size:
            return cls(*_INFO_LONG.unpack(data))
        if len(data) == _INFO_SHORT.size:
            flags, crypt_count, purposes = _INFO_SHORT.unpack(data)
            return cls(flags, crypt_count, purposes, None, None)
        raise ValueError(f"GET_SECURITY_INFO was answered with {len(data)} bytes")


@lru_cache(maxsize=8192)
def read_reg_frame(address: int) -> bytes:
    """Return the encoded READ_REG request of an address, built once per process."""
    return slip.encode(ReadReg(address).to_bytes())


@lru_cache(maxsize=1024)
def read_reg_frames(addresses: tuple[int, ...]) -> tuple[bytes, ...]:
    """Return these frames for several addresses; cached, since bursts read the same registers again."""
    return tuple([read_reg_frame(address) for address in addresses])


def write_reg_frames(entries: tuple[WriteEntry, ...], *, per_packet: int, longest: int) -> list[bytes]:
    """Return encoded WRITE_REG requests that execute the entries in order.

    Escapes can double a packet on the line, and a packet that is longer than the ROM's receive ring is lost
    with everything else in the ring.

    Args:
        entries: address, value, mask, and delay in microseconds.
        per_packet: the most entries of one packet.
        longest: the most bytes of one packet on the line, escapes and ends included; only a packet of one
            entry may be longer.
    """
    return [frame for _, frame in write_reg_packets(entries, per_packet, longest)]


def write_reg_packets(
    entries: tuple[WriteEntry, ...], per_packet: int, longest: int
) -> tuple[tuple[int, bytes], ...]:
    """Return what `write_reg_frames` does, each request behind the number of its entries."""
    found: list[tuple[int, bytes]] = []
    for start in range(0, len(entries), per_packet):
        _split(entries[start : start + per_packet], longest, found)
    return tuple(found)


known_write_reg_packets = lru_cache(maxsize=256)(write_reg_packets)  # only for entries that hold no key


def _split(entries: tuple[WriteEntry, ...], longest: int, found: list[tuple[int, bytes]]) -> None:
    frame = slip.encode(WriteReg(entries).to_bytes())
    if len(frame) <= longest or len(entries) == 1:
        found.append((len(entries), frame))
        return
    middle = len(entries) // 2
    _split(entries[:middle], longest, found)
    _split(entries[middle:], longest, found)


SYNC_FRAME: Final = slip.encode(Sync().to_bytes())
SECURITY_INFO_FRAME: Final = slip.encode(GetSecurityInfo().to_bytes())
REBOOT_FRAME: Final = slip.encode(_request(FLASH_DEFL_END, bytes(4)))  # restarts where the first byte is 0
