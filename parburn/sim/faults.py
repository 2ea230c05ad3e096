"""The fault language of the simulator: sentences that say what goes wrong with one board, and when.

Each sentence is one `Fault`; several make a `Faults`, applied in order. Positions count from 1, over the
whole life of the rig. "Random" means drawn from a generator seeded by seed, board and sentence, so that the
same rig misbehaves the same way again. A fault is a property of this run: cells that it spoiled stay
spoiled, the fault itself is not kept.

`SENTENCES` below is the whole grammar, with an example of each; `parse_faults` also takes several sentences
joined by `;` and a leading `on board 3:` or `on boards 0-2:` (boards count from 0).
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from parburn.errors import UsageError
from parburn.sim.efuse_memory import EfuseMemory


@dataclass(frozen=True, slots=True)
class Unplugged:
    """The port is gone; it comes back as `name` after `after_s` seconds, or never when `name` is empty."""

    name: str = ""
    after_s: float = 0.0


class Fault:
    """One thing that goes wrong. Every hook does nothing unless a kind of fault says otherwise."""

    def __init__(self, sentence: str, rng: random.Random) -> None:
        self.sentence = sentence
        self.rng = rng
        self.spent = False

    def from_host(self, data: bytes, start: int) -> bytes:
        """What the chip gets of bytes number `start`.. of the host."""
        return data

    def to_host(self, data: bytes, start: int) -> tuple[bytes, float]:
        """What the host gets of an answer that starts with byte number `start`, and how many seconds late."""
        return data, 0.0

    def link_is_silent(self, received: int, now: float) -> bool:
        """Whether nothing passes the line now, in either direction."""
        return False

    def unplugged(self, received: int) -> Unplugged | None:
        """Whether the port vanishes now."""
        return None

    def reboots(self, packet: int) -> bool:
        """Whether the ROM reboots instead of executing this packet."""
        return False

    def controller_hangs(self, program: int) -> bool:
        """Whether CMD never shows idle again after this program command."""
        return False

    def burned(self, memory: EfuseMemory, index: int, cells: int, program: int) -> int:
        """The cells that really burn, of those that should."""
        return cells

    def brown_out(self, program: int) -> bool:
        """Whether the chip resets in this program pulse."""
        return False


class Faults(Fault):
    """Several faults of one board, in order."""

    def __init__(self, faults: Sequence[Fault] = ()) -> None:
        super().__init__("; ".join(one.sentence for one in faults), random.Random(0))
        self.all = tuple(faults)

    def __bool__(self) -> bool:
        return bool(self.all)

    def from_host(self, data: bytes, start: int) -> bytes:
        for one in self.all:
            data = one.from_host(data, start)
        return data

    def to_host(self, data: bytes, start: int) -> tuple[bytes, float]:
        late_s = 0.0
        for one in self.all:
            data, more = one.to_host(data, start)
            late_s += more
        return data, late_s

    def link_is_silent(self, received: int, now: float) -> bool:
        return any(one.link_is_silent(received, now) for one in self.all)

    def unplugged(self, received: int) -> Unplugged | None:
        return next((found for one in self.all if (found := one.unplugged(received))), None)

    def reboots(self, packet: int) -> bool:
        return any(one.reboots(packet) for one in self.all)

    def controller_hangs(self, program: int) -> bool:
        return any(one.controller_hangs(program) for one in self.all)

    def burned(self, memory: EfuseMemory, index: int, cells: int, program: int) -> int:
        for one in self.all:
            cells = one.burned(memory, index, cells, program)
        return cells

    def brown_out(self, program: int) -> bool:
        return any(one.brown_out(program) for one in self.all)


def _spoil(data: bytes, at: int, how: str, bit: int) -> bytes:
    """One byte of `data` lost, doubled or with a bit flipped."""
    byte = data[at : at + 1]
    new = {"lost": b"", "doubled": byte * 2, "flipped": bytes([byte[0] ^ 1 << bit])}[how]
    return data[:at] + new + data[at + 1 :]


class ByteFault(Fault):
    """One byte, by number, is lost, doubled or flipped on its way."""

    def __init__(
        self, sentence: str, rng: random.Random, number: str, way: str, how: str, bit: str | None
    ) -> None:
        super().__init__(sentence, rng)
        self.number, self.way, self.how = int(number), way, how
        self.bit = rng.randrange(8) if bit is None else int(bit) & 7

    def _hit(self, data: bytes, start: int) -> bytes:
        at = self.number - start
        if self.spent or not 0 <= at < len(data):
            return data
        self.spent = True
        return _spoil(data, at, self.how, self.bit)

    def from_host(self, data: bytes, start: int) -> bytes:
        return self._hit(data, start) if self.way == "from" else data

    def to_host(self, data: bytes, start: int) -> tuple[bytes, float]:
        return (self._hit(data, start) if self.way == "to" else data), 0.0


class NoisyLine(Fault):
    """One byte in so many, at random, is lost, doubled or flipped on its way."""

    def __init__(self, sentence: str, rng: random.Random, every: str, way: str, how: str) -> None:
        super().__init__(sentence, rng)
        self.every, self.way, self.how = max(1, int(every)), way, how

    def _noise(self, data: bytes) -> bytes:
        for at in reversed(range(len(data))):
            if self.rng.randrange(self.every) == 0:
                data = _spoil(data, at, self.how, self.rng.randrange(8))
        return data

    def from_host(self, data: bytes, start: int) -> bytes:
        return self._noise(data) if self.way == "from" else data

    def to_host(self, data: bytes, start: int) -> tuple[bytes, float]:
        return (self._noise(data) if self.way == "to" else data), 0.0


class LateByte(Fault):
    """The answer with this byte comes late, and with it all that follow."""

    def __init__(self, sentence: str, rng: random.Random, number: str, ms: str) -> None:
        super().__init__(sentence, rng)
        self.number, self.late_s = int(number), float(ms) / 1000

    def to_host(self, data: bytes, start: int) -> tuple[bytes, float]:
        if self.spent or start + len(data) <= self.number:
            return data, 0.0
        self.spent = True
        return data, self.late_s


class Garbage(Fault):
    """Bytes that are no answer come before the n-th answer."""

    def __init__(self, sentence: str, rng: random.Random, count: str, answer: str) -> None:
        super().__init__(sentence, rng)
        self.count, self.left = int(count), int(answer)

    def to_host(self, data: bytes, start: int) -> tuple[bytes, float]:
        self.left -= 1
        return (self.rng.randbytes(self.count) + data if self.left == 0 else data), 0.0


class SilentLink(Fault):
    """After so many bytes of the host nothing passes any more, for a while or for good."""

    def __init__(self, sentence: str, rng: random.Random, after: str, ms: str | None) -> None:
        super().__init__(sentence, rng)
        self.after, self.for_s = int(after), float("inf") if ms is None else float(ms) / 1000
        self.since: float | None = None

    def link_is_silent(self, received: int, now: float) -> bool:
        if self.since is None and received >= self.after:
            self.since = now
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
        if self.spent or received < self.after:
            return None
        self.spent = True
        return self.what


class RomReboot(Fault):
    """The ROM reboots at the n-th packet instead of executing it."""

    def __init__(self, sentence: str, rng: random.Random, packet: str) -> None:
        super().__init__(sentence, rng)
        self.packet = int(packet)

    def reboots(self, packet: int) -> bool:
        return packet == self.packet


class HangingController(Fault):
    """From the n-th program command on CMD never shows idle."""

    def __init__(self, sentence: str, rng: random.Random, program: str) -> None:
        super().__init__(sentence, rng)
        self.program = int(program)

    def controller_hangs(self, program: int) -> bool:
        return program >= self.program


class BrownOut(Fault):
    """The supply breaks down in the n-th program pulse: a part of the bits burns, the chip resets."""

    def __init__(self, sentence: str, rng: random.Random, program: str, percent: str | None) -> None:
        super().__init__(sentence, rng)
        self.program, self.part = int(program), float(percent or 50) / 100

    def burned(self, memory: EfuseMemory, index: int, cells: int, program: int) -> int:
        if program != self.program:
            return cells
        bits = [bit for bit in range(cells.bit_length()) if cells >> bit & 1]
        return sum(1 << bit for bit in self.rng.sample(bits, int(len(bits) * self.part)))

    def brown_out(self, program: int) -> bool:
        return program == self.program


class BlockFault(Fault):
    """A fault of one block's cells; `bit` counts in the layout of its read registers."""

    def __init__(self, sentence: str, rng: random.Random, bit: str, block: str) -> None:
        super().__init__(sentence, rng)
        self.bit, self.block = int(bit), block.upper()

    def cells_of(self, memory: EfuseMemory, index: int, bit: int) -> int:
        """The cells of a bit, all copies of it; 0 in another block."""
        block = memory.chip.blocks[index]
        if self.block not in (name.upper() for name in block.names):
            return 0
        if index or not memory.pgm:
            return 1 << bit
        return sum(1 << (bit + 32 * block.words * n) for n in range(4))


class StubbornBit(BlockFault):
    """A bit refuses to burn, always or the first time only."""

    def __init__(self, sentence: str, rng: random.Random, bit: str, block: str, once: str | None) -> None:
        super().__init__(sentence, rng, bit, block)
        self.once = bool(once)

    def burned(self, memory: EfuseMemory, index: int, cells: int, program: int) -> int:
        stuck = self.cells_of(memory, index, self.bit) & cells
        if not stuck or self.spent:
            return cells
        self.spent = self.once
        return cells & ~stuck


class LeakingBit(BlockFault):
    """When a bit burns, the next higher one burns too."""

    def burned(self, memory: EfuseMemory, index: int, cells: int, program: int) -> int:
        if not self.cells_of(memory, index, self.bit) & cells:
            return cells
        return cells | self.cells_of(memory, index, self.bit + 1)


class WrongBytes(BlockFault):
    """So many bytes of a block burn wrong at its first program pulse: a coding error."""

    def burned(self, memory: EfuseMemory, index: int, cells: int, program: int) -> int:
        if self.spent or not cells or not self.cells_of(memory, index, 0):
            return cells
        self.spent = True
        for place in self.rng.sample(range(memory.chip.blocks[index].words * 4), self.bit):
            byte = cells >> (8 * place) & 0xFF
            cells ^= (byte & -byte or 1) << (8 * place)
        return cells


SENTENCES: tuple[tuple[str, Callable[..., Fault], str], ...] = (
    (
        r"byte (\d+) (from|to) the host is (lost|doubled|flipped)(?: in bit (\d))?",
        ByteFault,
        "byte 120 from the host is flipped in bit 3",
    ),
    (
        r"one byte in (\d+) (from|to) the host is (lost|doubled|flipped)",
        NoisyLine,
        "one byte in 2000 to the host is lost",
    ),
    (r"byte (\d+) to the host is late by ([\d.]+) ms", LateByte, "byte 300 to the host is late by 250 ms"),
    (
        r"(\d+) bytes of garbage come before answer (\d+)",
        Garbage,
        "20 bytes of garbage come before answer 1",
    ),
    (
        r"the link is silent after (\d+) bytes(?: for ([\d.]+) ms)?",
        SilentLink,
        "the link is silent after 900 bytes for 300 ms",
    ),
    (
        r"the port vanishes after (\d+) bytes(?: and comes back as (\w+) after ([\d.]+) ms)?",
        VanishingPort,
        "the port vanishes after 700 bytes and comes back as ttyUSB9 after 200 ms",
    ),
    (r"the ROM reboots at packet (\d+)", RomReboot, "the ROM reboots at packet 31"),
    (
        r"the controller never becomes idle after program (\d+)",
        HangingController,
        "the controller never becomes idle after program 2",
    ),
    (
        r"the supply browns out in program (\d+)(?: leaving ([\d.]+) percent of the bits)?",
        BrownOut,
        "the supply browns out in program 2 leaving 40 percent of the bits",
    ),
    (
        r"bit (\d+) of (\w+) refuses to burn( the first time)?",
        StubbornBit,
        "bit 7 of BLOCK4 refuses to burn the first time",
    ),
    (r"bit (\d+) of (\w+) burns its neighbour too", LeakingBit, "bit 7 of BLOCK4 burns its neighbour too"),
    (r"(\d+) bytes of (\w+) burn wrong", WrongBytes, "2 bytes of BLOCK4 burn wrong"),
)

_SCOPE = re.compile(r"on boards? (\d+)(?:-(\d+))?: *(.*)", re.IGNORECASE)


def parse_fault(sentence: str, *, seed: str) -> Fault:
    """The fault that a sentence describes. Raises UsageError with the sentences that are known."""
    for pattern, kind, _ in SENTENCES:
        found = re.fullmatch(pattern, sentence, re.IGNORECASE)
        if found:
            words = [word.lower() if word in ("From", "To") else word for word in found.groups()]
            return kind(sentence, random.Random(f"{seed}:{sentence}"), *words)
    examples = "; ".join(example for _, _, example in SENTENCES)
    raise UsageError(f"no fault reads {sentence!r}", hint=f"Sentences look like: {examples}.")


def parse_faults(texts: Iterable[str], *, board: int, seed: int) -> Faults:
    """The faults of one board, from what was given for all. Raises UsageError for a sentence not known."""
    chosen: list[Fault] = []
    for text in texts:
        scope = _SCOPE.fullmatch(text.strip())
        first, last = (int(scope[1]), int(scope[2] or scope[1])) if scope else (0, board)
        for part in (scope[3] if scope else text).split(";"):
            fault = parse_fault(" ".join(part.split()), seed=f"{seed}:{board}")
            if first <= board <= last:
                chosen.append(fault)
    return Faults(chosen)
