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
from collections.abc import Callable, Iterable

from parburn.errors import UsageError
from parburn.sim import chip_faults, link_faults
from parburn.sim.fault import Fault, Faults

SENTENCES: tuple[tuple[str, Callable[..., Fault], str], ...] = (
    # the line
    (
        r"byte (\d+) (from|to) the host is (lost|doubled|flipped)(?: in bit (\d))?",
        link_faults.ByteFault,
        "byte 120 from the host is flipped in bit 3",
    ),
    (
        r"one byte in (\d+) (from|to) the host is (lost|doubled|flipped)",
        link_faults.NoisyLine,
        "one byte in 2000 to the host is lost",
    ),
    (
        r"the tail of frame (\d+) is lost(?: after (\d+) bytes)?",
        link_faults.LostTail,
        "the tail of frame 40 is lost",
    ),
    (
        r"the tail of (program|read|disarming) frame (\d+) is lost(?: after (\d+) bytes)?",
        link_faults.LostCommandTail,
        "the tail of read frame 2 is lost after 7 bytes",
    ),
    (
        r"byte (\d+) to the host is late by ([\d.]+) ms",
        link_faults.LateByte,
        "byte 300 to the host is late by 250 ms",
    ),
    (r"answer (\d+) is lost", link_faults.LostAnswer, "answer 40 is lost"),
    (
        r"(\d+) bytes of garbage come (before|after) answer (\d+)",
        link_faults.Garbage,
        "20 bytes of garbage come before answer 1",
    ),
    (
        r"the link is silent after (\d+) bytes(?: for ([\d.]+) ms)?",
        link_faults.SilentLink,
        "the link is silent after 900 bytes for 300 ms",
    ),
    (
        r"the port vanishes after (\d+) bytes(?: and comes back as (\w+) after ([\d.]+) ms)?",
        link_faults.VanishingPort,
        "the port vanishes after 700 bytes and comes back as ttyUSB9 after 200 ms",
    ),
    (
        r"the board is swapped (?:for a new one|with board (\d+)) after (\d+) bytes",
        link_faults.SwappedBoard,
        "the board is swapped for a new one after 900 bytes",
    ),
    # the chip
    (r"the crystal has (\d+) MHz", chip_faults.WrongCrystal, "the crystal has 26 MHz"),
    (r"the ROM reboots at packet (\d+)", chip_faults.RomReboot, "the ROM reboots at packet 31"),
    (
        r"the watchdog resets the chip after packet (\d+)",
        chip_faults.Watchdog,
        "the watchdog resets the chip after packet 31",
    ),
    (
        r"the controller never becomes idle after program (\d+)",
        chip_faults.HangingController,
        "the controller never becomes idle after program 2",
    ),
    (
        r"the supply browns out in program (\d+)(?: leaving ([\d.]+) percent of the bits)?",
        chip_faults.BrownOut,
        "the supply browns out in program 2 leaving 40 percent of the bits",
    ),
    (
        r"bit (\d+) of (\w+) refuses to burn(?:( the first time)| the first (\d+) times)?",
        chip_faults.StubbornBit,
        "bit 7 of BLOCK4 refuses to burn the first time",
    ),
    (
        r"bit (\d+) of (\w+) burns its neighbour too",
        chip_faults.LeakingBit,
        "bit 7 of BLOCK4 burns its neighbour too",
    ),
    (r"(\d+) bytes of (\w+) burn wrong", chip_faults.WrongBytes, "2 bytes of BLOCK4 burn wrong"),
)

_SCOPE = re.compile(r"on boards? (\d+)(?:-(\d+))?: *(.*)", re.IGNORECASE)


def parse_fault(sentence: str, *, seed: str) -> Fault:
    """Return the fault that a sentence describes.

    Args:
        sentence: One of SENTENCES.
        seed: With the sentence the seed of all that is random in it.

    Raises:
        UsageError: it is none; the hint has an example of each.
    """
    for pattern, kind, _ in SENTENCES:
        found = re.fullmatch(pattern, sentence, re.IGNORECASE)
        if found:
            return kind(sentence, random.Random(f"{seed}:{sentence}"), *found.groups())
    examples = "; ".join(example for _, _, example in SENTENCES)
    raise UsageError(f"no fault reads {sentence!r}", hint=f"Sentences look like: {examples}.")


def parse_faults(texts: Iterable[str], *, board: int, seed: int) -> Faults:
    """Return the faults of one board, from what was given for all.

    Raises:
        UsageError: a sentence is none.
    """
    chosen: list[Fault] = []
    for text in texts:
        scope = _SCOPE.fullmatch(text.strip())
        first, last = (int(scope[1]), int(scope[2] or scope[1])) if scope else (0, board)
        for part in (scope[3] if scope else text).split(";"):
            fault = parse_fault(" ".join(part.split()), seed=f"{seed}:{board}")
            if first <= board <= last:
                chosen.append(fault)
    return Faults(chosen)
