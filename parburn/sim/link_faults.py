"""Faults of the line between a host and one simulated board, and of who sits at its far end."""

from __future__ import annotations

import random
import struct

from parburn.chips.model import Chip
from parburn.sim.efuse_controller import OP_PROGRAM, OP_READ
from parburn.sim.fault import Fault, Swapped, Unplugged
from parburn.sim.rom_loader import ENTRY_BYTES, HEADER_BYTES, WRITE_REG, encode_frame

_OP_CODES = {"program": OP_PROGRAM, "read": OP_READ, "disarming": None}


def _spoil(data: bytes, at: int, how: str, bit: int) -> bytes:
    """Return `data` with one byte lost, doubled or with a bit flipped."""
    byte = data[at : at + 1]
    new = {"lost": b"", "doubled": byte * 2, "flipped": bytes([byte[0] ^ 1 << bit])}[how]
    return data[:at] + new + data[at + 1 :]


class ByteFault(Fault):
    """One byte, by number, is lost, doubled or flipped on its way."""

    def __init__(
        self, sentence: str, rng: random.Random, number: str, way: str, how: str, bit: str | None
    ) -> None:
        super().__init__(sentence, rng)
        self.number, self.way, self.how = int(number), way.lower(), how.lower()
        self.bit = rng.randrange(8) if bit is None else int(bit) & 7

    def _hit(self, data: bytes, start: int) -> bytes:
        at = self.number - start
        if self.fired or not 0 <= at < len(data):
            return data
        self.fired += 1
        return _spoil(data, at, self.how, self.bit)

    def from_host(self, data: bytes, start: int) -> bytes:
        """Spoil the byte on its way to the chip."""
        return self._hit(data, start) if self.way == "from" else data

    def to_host(self, data: bytes, start: int) -> tuple[bytes, float]:
        """Spoil the byte on its way to the host."""
        return (self._hit(data, start) if self.way == "to" else data), 0.0


class NoisyLine(Fault):
    """One byte in so many, at random, is lost, doubled or flipped on its way."""

    def __init__(self, sentence: str, rng: random.Random, every: str, way: str, how: str) -> None:
        super().__init__(sentence, rng)
        self.every, self.way, self.how = max(1, int(every)), way.lower(), how.lower()

    def _noise(self, data: bytes) -> bytes:
        for at in reversed(range(len(data))):
            if self.rng.randrange(self.every) == 0:
                self.fired += 1
                data = _spoil(data, at, self.how, self.rng.randrange(8))
        return data

    def from_host(self, data: bytes, start: int) -> bytes:
        """Spoil some bytes on their way to the chip."""
        return self._noise(data) if self.way == "from" else data

    def to_host(self, data: bytes, start: int) -> tuple[bytes, float]:
        """Spoil some bytes on their way to the host."""
        return (self._noise(data) if self.way == "to" else data), 0.0


class LostTail(Fault):
    """The rest of the n-th frame of the host is lost, the mark at its end too.

    The next mark on the line, which was to begin a frame, then ends this one. Bytes are those on the line:
    the mark at its beginning is the first of them, an escaped byte is two.
    """

    def __init__(self, sentence: str, rng: random.Random, number: str, after: str | None) -> None:
        super().__init__(sentence, rng)
        self.number, self.after = int(number), None if after is None else int(after)

    def bytes_kept(self, packet: int, frame: bytes, chip: Chip) -> int | None:
        """Return where the n-th frame is cut."""
        return self._cut(frame) if packet == self.number else None

    def _cut(self, frame: bytes) -> int | None:
        size = len(encode_frame(frame))
        kept = self.rng.randrange(1, size) if self.after is None else self.after
        if self.fired or kept >= size:
            return None
        self.fired += 1
        return kept


class LostCommandTail(LostTail):
    """The tail of the n-th frame with an op code for the eFuse controller is lost, as by LostTail.

    The op code is that to program or to read; or the frame is `disarming`: it takes the op code out of CONF.
    """

    def __init__(
        self, sentence: str, rng: random.Random, command: str, number: str, after: str | None
    ) -> None:
        super().__init__(sentence, rng, number, after)
        self.op_code = _OP_CODES[command.lower()]
        self.seen = 0

    def bytes_kept(self, packet: int, frame: bytes, chip: Chip) -> int | None:
        """Return where the n-th frame with this op code is cut."""
        written = _op_codes(frame, chip)
        if self.op_code is None:
            written = {None} if written and written.isdisjoint(_OP_CODES.values()) else set()
        if self.op_code not in written:
            return None
        self.seen += 1
        return self._cut(frame) if self.seen == self.number else None


def _op_codes(frame: bytes, chip: Chip) -> set[int | None]:
    """Return what a whole WRITE_REG frame writes into the op code of the eFuse controller."""
    if len(frame) < HEADER_BYTES or frame[1] != WRITE_REG:
        return set()
    entries, size = frame[HEADER_BYTES:], int.from_bytes(frame[2:4], "little")
    if size != len(entries) or size % ENTRY_BYTES:
        return set()
    writes = struct.iter_unpack("<4I", entries)
    return {value & mask & 0xFFFF for at, value, mask, _ in writes if at == chip.registers["CONF"]}


class LateByte(Fault):
    """The answer with this byte comes late, and with it all that follow."""

    def __init__(self, sentence: str, rng: random.Random, number: str, ms: str) -> None:
        super().__init__(sentence, rng)
        self.number, self.late_s = int(number), float(ms) / 1000

    def to_host(self, data: bytes, start: int) -> tuple[bytes, float]:
        """Return the answer with this byte late."""
        if self.fired or start + len(data) <= self.number:
            return data, 0.0
        self.fired += 1
        return data, self.late_s


class LostAnswer(Fault):
    """The n-th answer never arrives."""

    def __init__(self, sentence: str, rng: random.Random, answer: str) -> None:
        super().__init__(sentence, rng)
        self.left = int(answer)

    def to_host(self, data: bytes, start: int) -> tuple[bytes, float]:
        """Return nothing in place of the n-th answer."""
        self.left -= 1
        if self.left:
            return data, 0.0
        self.fired += 1
        return b"", 0.0


class Garbage(Fault):
    """Bytes that are no answer come before or after the n-th answer."""

    def __init__(self, sentence: str, rng: random.Random, count: str, where: str, answer: str) -> None:
        super().__init__(sentence, rng)
        self.count, self.where, self.left = int(count), where.lower(), int(answer)

    def to_host(self, data: bytes, start: int) -> tuple[bytes, float]:
        """Return the n-th answer with random bytes before or after it."""
        self.left -= 1
        if self.left:
            return data, 0.0
        self.fired += 1
        noise = self.rng.randbytes(self.count)
        return (noise + data if self.where == "before" else data + noise), 0.0


class SilentLink(Fault):
    """After so many bytes of the host nothing passes any more, for a while or for good."""

    def __init__(self, sentence: str, rng: random.Random, after: str, ms: str | None) -> None:
        super().__init__(sentence, rng)
        self.after, self.for_s = int(after), float("inf") if ms is None else float(ms) / 1000
        self.since: float | None = None

    def link_is_silent(self, received: int, now: float) -> bool:
        """Return whether the silence has begun and not ended."""
        if self.since is None and received >= self.after:
            self.since = now
            self.fired += 1
        return self.since is not None and now < self.since + self.for_s


class VanishingPort(Fault):
    """After so many bytes of the host the port is unplugged."""

    def __init__(
        self, sentence: str, rng: random.Random, after: str, name: str | None, ms: str | None
    ) -> None:
        super().__init__(sentence, rng)
        self.after = int(after)
        self.what = Unplugged(name or "", float(ms or 0) / 1000)

    def unplugged(self, received: int) -> Unplugged | None:
        """Return how the port vanishes, once."""
        if self.fired or received < self.after:
            return None
        self.fired += 1
        return self.what


class SwappedBoard(Fault):
    """After so many bytes of the host another board sits behind the port, which stays open all the while."""

    def __init__(self, sentence: str, rng: random.Random, other: str | None, after: str) -> None:
        super().__init__(sentence, rng)
        self.after = int(after)
        self.what = Swapped(None if other is None else int(other))

    def swapped(self, received: int) -> Swapped | None:
        """Return which board comes, once."""
        if self.fired or received < self.after:
            return None
        self.fired += 1
        return self.what
