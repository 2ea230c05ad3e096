"""What can happen to the bytes of one frame on the line. Each fault is a name and the bytes that arrive."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import NamedTuple

from tests.pulses.rom import END

BITS = 8


class Fault(NamedTuple):
    """`kind` and the place of the byte; `bit` of a flip."""

    kind: str
    at: int
    bit: int = 0

    def __str__(self) -> str:
        bit = f", bit {self.bit}" if self.kind == "flipped" else ""
        return f"{self.kind} at byte {self.at}{bit}"


def damaged(frame: bytes, fault: Fault) -> bytes:
    """The bytes of the frame that arrive."""
    at = fault.at
    if fault.kind == "dropped":
        return frame[:at] + frame[at + 1 :]
    if fault.kind == "doubled":
        return frame[: at + 1] + frame[at:]
    if fault.kind == "flipped":
        return frame[:at] + bytes((frame[at] ^ 1 << fault.bit,)) + frame[at + 1 :]
    if fault.kind == "cut":
        return frame[:at]
    return frame[:at] + bytes((END,))  # "hollow": the end arrives, what was before it does not


def single_faults(frame: bytes) -> Iterator[Fault]:
    """Every byte dropped, doubled, each bit flipped; every tail lost, with the end mark and without."""
    for at in range(len(frame)):
        yield Fault("dropped", at)
        yield Fault("doubled", at)
        for bit in range(BITS):
            yield Fault("flipped", at, bit)
        if at:
            yield Fault("cut", at)
        if 0 < at < len(frame) - 2:
            yield Fault("hollow", at)


def random_fault(frame: bytes, rng: random.Random) -> Fault:
    """One of them."""
    at = rng.randrange(len(frame))
    kind = rng.choice(("dropped", "doubled", "flipped", "flipped", "flipped", "cut", "hollow"))
    if kind in ("cut", "hollow"):
        at = max(1, at)
    return Fault(kind, at, rng.randrange(BITS) if kind == "flipped" else 0)
