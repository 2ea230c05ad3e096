"""What a fault of one simulated board may touch.

The kinds are in `link_faults` and `chip_faults`, the sentences that name them in `faults`. Every hook does
nothing unless a kind of fault says otherwise.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from parburn.chips.model import Chip
from parburn.sim.efuse_memory import EfuseMemory


@dataclass(frozen=True, slots=True)
class Unplugged:
    """The port is gone; it comes back as `name` after `after_s` seconds, or never when `name` is empty."""

    name: str = ""
    after_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Swapped:
    """Somebody has put another board behind the port: that of port number `other`, or a new one."""

    other: int | None = None


class Fault:
    """One thing that goes wrong. `fired` counts how often it did."""

    def __init__(self, sentence: str, rng: random.Random) -> None:
        self.sentence = sentence
        self.rng = rng
        self.fired = 0

    def from_host(self, data: bytes, start: int) -> bytes:
        """Return what the chip gets of bytes number `start` and on of the host."""
        return data

    def bytes_kept(self, packet: int, frame: bytes, chip: Chip) -> int | None:
        """Return how many bytes on the line arrive of this packet's frame; None: it is whole."""
        return None

    def to_host(self, data: bytes, start: int) -> tuple[bytes, float]:
        """Return what the host gets of an answer that begins with byte number `start`, and how late (s)."""
        return data, 0.0

    def link_is_silent(self, received: int, now: float) -> bool:
        """Return whether nothing passes the line now, in either direction."""
        return False

    def unplugged(self, received: int) -> Unplugged | None:
        """Return how the port vanishes now; None: it stays."""
        return None

    def swapped(self, received: int) -> Swapped | None:
        """Return which other board is put behind the port now; None: it stays."""
        return None

    def crystal_mhz(self, usual: int) -> int:
        """Return the crystal that is soldered to the chip, in MHz."""
        return usual

    def reboots(self, packet: int) -> bool:
        """Return whether the ROM reboots instead of executing this packet."""
        return False

    def resets_after(self, packet: int) -> bool:
        """Return whether the chip is reset once it has executed this packet."""
        return False

    def controller_hangs(self, program: int) -> bool:
        """Return whether CMD never shows idle again after this program command."""
        return False

    def burned(self, memory: EfuseMemory, index: int, cells: int, program: int) -> int:
        """Return the cells that really burn, of those that should."""
        return cells

    def brown_out(self, program: int) -> bool:
        """Return whether the chip resets in this program pulse."""
        return False


class Faults(Fault):
    """Several faults of one board, in order: each gets what the one before it left."""

    def __init__(self, faults: Sequence[Fault] = ()) -> None:
        super().__init__("; ".join(one.sentence for one in faults), random.Random(0))
        self.all = tuple(faults)

    def __bool__(self) -> bool:
        return bool(self.all)

    def from_host(self, data: bytes, start: int) -> bytes:
        """Return the bytes after all faults."""
        for one in self.all:
            data = one.from_host(data, start)
        return data

    def bytes_kept(self, packet: int, frame: bytes, chip: Chip) -> int | None:
        """Return the fewest bytes that any fault keeps."""
        asked = [one.bytes_kept(packet, frame, chip) for one in self.all]  # all of them: they count frames
        return min((kept for kept in asked if kept is not None), default=None)

    def to_host(self, data: bytes, start: int) -> tuple[bytes, float]:
        """Return the bytes after all faults, and the sum of the delays (s)."""
        late_s = 0.0
        for one in self.all:
            data, more = one.to_host(data, start)
            late_s += more
        return data, late_s

    def link_is_silent(self, received: int, now: float) -> bool:
        """Return whether the line is silent by any fault."""
        return any(one.link_is_silent(received, now) for one in self.all)

    def unplugged(self, received: int) -> Unplugged | None:
        """Return how the port vanishes by the first fault that says so."""
        return next((found for one in self.all if (found := one.unplugged(received))), None)

    def swapped(self, received: int) -> Swapped | None:
        """Return which board comes by the first fault that says so."""
        return next((found for one in self.all if (found := one.swapped(received))), None)

    def crystal_mhz(self, usual: int) -> int:
        """Return the crystal by the last fault that says one, in MHz."""
        for one in self.all:
            usual = one.crystal_mhz(usual)
        return usual

    def reboots(self, packet: int) -> bool:
        """Return whether the ROM reboots by any fault."""
        return any(one.reboots(packet) for one in self.all)

    def resets_after(self, packet: int) -> bool:
        """Return whether the chip is reset by any fault."""
        return any(one.resets_after(packet) for one in self.all)

    def controller_hangs(self, program: int) -> bool:
        """Return whether the controller hangs by any fault."""
        return any(one.controller_hangs(program) for one in self.all)

    def burned(self, memory: EfuseMemory, index: int, cells: int, program: int) -> int:
        """Return the cells that burn after all faults."""
        for one in self.all:
            cells = one.burned(memory, index, cells, program)
        return cells

    def brown_out(self, program: int) -> bool:
        """Return whether the chip resets by any fault."""
        return any(one.brown_out(program) for one in self.all)
