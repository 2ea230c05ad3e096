"""Walks over every byte of connecting and identifying, both ways, and damages it: lost, doubled, one bit.

In memory and in virtual time, over a line that can reset the chip. All faults:
`python -m tests.hardware.identify_walk --all [CHIP ..]`; without `--all` a sample, one fault a byte.
"""

from __future__ import annotations

import asyncio
import random
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple, cast

from parburn.errors import ParburnError
from parburn.hardware.identify import Device
from parburn.job import Before, Job
from parburn.run.baud import FAST_BAUD
from parburn.run.board_progress import BoardProgress
from parburn.run.connect import _connect_and_identify
from parburn.run.traces import TraceBook
from parburn.sim.board import SimulatedBoard
from parburn.sim.faults import parse_faults
from parburn.transport.stream import LineStep
from tests.hardware.commit_bench import BoardStream, in_virtual_time, true_bits
from tests.sim.boards import make_board

WALKED = ("esp32", "esp32c3")
WAYS = ("from", "to")
HOWS = ("lost", "doubled", *(f"flipped in bit {bit}" for bit in range(8)))
BLOCKS = {"esp32": (1,), "esp32c3": (2, 4)}


class LinedStream(BoardStream):
    """Both ends at their own rate; with lines, of which one resets the chip."""

    has_lines = True
    resets = 0
    _held = False

    def write(self, data: bytes) -> None:
        """Send at our own rate."""
        self.board.receive(data, self._loop.time(), self.baud)
        self._again(0.0)

    async def move_lines(self, steps: Sequence[LineStep]) -> None:
        """RTS resets."""
        for _, rts, seconds in steps:
            if rts and not self._held:
                self.resets += 1
                self.board.reset(self._loop.time())
            self._held = rts
            await asyncio.sleep(seconds)


class Contact(NamedTuple):
    """What came of one first contact. `seconds` are virtual; `image` by block."""

    device: Device | None
    error: ParburnError | None
    seconds: float
    resets: int
    notes: tuple[str, ...]
    board: SimulatedBoard


def contact(
    chip: str,
    *faults: str,
    settings: Sequence[str] = (),
    before: Before = "default-reset",
    wanted: str = "auto",
    baud: int | None = None,
    rate: int = FAST_BAUD,
    prepare: Callable[[SimulatedBoard], None] = lambda board: None,
) -> Contact:
    """Connect to a board with these faults and identify it, as a run does."""
    board = make_board(chip, *settings)
    prepare(board)
    board.faults = board.controller.faults = parse_faults(faults, board=0, seed=7)
    notes: list[str] = []
    run = SimpleNamespace(
        job=Job(ports=("memory",), scripts=(), baud=baud, before=before, chip=wanted),
        emit=lambda event: None,
        note=lambda port, text, level: notes.append(text),
        scripts=SimpleNamespace(may_burn=True),
        traces=TraceBook(None, show_keys=False),
        blocks_in_scripts=lambda found: BLOCKS.get(found.name, ()),
        extend=lambda found: found,
        rate_for=lambda stream: lambda found, blocks: baud or rate,
    )

    async def job() -> Contact:
        stream = LinedStream(board)
        begun = stream._loop.time()
        device = error = None
        try:
            device = await _connect_and_identify(cast(Any, run), BoardProgress("memory", "memory"), stream)
        except ParburnError as caught:
            error = caught
        seconds = stream._loop.time() - begun
        return Contact(device, error, seconds, stream.resets, tuple(notes), board)

    found: Contact = in_virtual_time(job())
    return found


def sentences(healthy: SimulatedBoard, *, every: bool) -> Iterator[str]:
    """A fault for each byte that a healthy contact has, both ways; or every fault of each."""
    rng = random.Random(1)
    for way, count in zip(WAYS, (healthy.received, healthy.sent), strict=True):
        for number in range(1, count + 1):
            for how in HOWS if every else (rng.choice(HOWS),):
                yield f"byte {number} {way} the host is {how}"


def trouble(healthy: Contact, found: Contact, before: dict[int, int]) -> str:
    """What is wrong with a contact over a damaged line; empty if it is as good as the healthy one.

    A word of a block is read once: there, one damaged byte may change one word (before a burn all that it
    touches is read again and compared). Who the chip is, its kind and its timing may not differ.
    """
    one, other = healthy.device, found.device
    if true_bits(found.board) != before:
        return "it burned"
    if one is None or other is None:
        return f"{type(found.error).__name__}: {found.error}"
    if (one.chip, one.identity, one.crystal_mhz) != (other.chip, other.identity, other.crystal_mhz):
        return f"{other.chip.name} {other.identity.mac_text} with {other.crystal_mhz} MHz"
    for field in one.chip.identity_fields:
        if field.block in one.image.blocks and one.image.field_bits(field) != other.image.field_bits(field):
            return f"the image has another {field.name} than the identity"
    words = {
        (index, word)
        for index, bits in one.image.blocks.items()
        for word in range(32)
        if (bits ^ other.image.blocks.get(index, ~bits)) >> 32 * word & 0xFFFFFFFF
    }
    return f"{len(words)} words read wrong" if len(words) > 1 else ""


def walk(chip: str, *, every: bool, rate: int = FAST_BAUD) -> tuple[int, list[str], Counter[str]]:
    """How many faults there were; those that ended badly, with why; and what the others cost."""
    healthy = contact(chip, rate=rate)
    before = true_bits(healthy.board)
    bad: list[str] = []
    seen: Counter[str] = Counter()
    faults = list(sentences(healthy.board, every=every))
    for sentence in faults:
        found = contact(chip, sentence, rate=rate)
        why = trouble(healthy, found, before)
        if why:
            bad.append(f"{chip}: {sentence}: {why}")
        seen["dead, reset"] += found.resets > healthy.resets
        seen["slower"] += bool(found.notes)
        seen["over 3 s"] += found.seconds - healthy.seconds > 3
        seen["slowest, ms"] = max(seen["slowest, ms"], round(1000 * (found.seconds - healthy.seconds)))
        seen["a word read wrong"] += bool(
            found.device and healthy.device and found.device.image != healthy.device.image
        )
    return len(faults), bad, seen


if __name__ == "__main__":
    chosen = [word for word in sys.argv[1:] if not word.startswith("--")]
    for name in chosen or WALKED:
        total, failed, figures = walk(name, every="--all" in sys.argv)
        sys.stdout.write(
            "\n".join([*failed, f"{name}: {len(failed)} of {total} failed; {dict(figures)}", ""])
        )
