"""Replays a job's frames with faults in them, and judges every pulse that comes of it.

A replay begins with the state before the damaged frame and ends where all is as planned again, or where the
host looks: at the end of a breath in which an answer is missing, refused, of another command, or in which a
register that is compared reads differently. There the host synchronises again, so that what stood half
received is executed; what it does then goes out whole and is the subject of the fault tests.

Harmful is a pulse whose content (block, all programming registers, CLK, timing) is not that of the last step
that was staged, read back and recorded, and a change of those registers before the pulse was seen to be over.
A planned pulse that is repeated at once is counted, no more.

Known, counted, and not mended by any order of frames:

* two faults: a bit of the block's number flipped in the value and in the mask of one program command;
* two faults: a register damaged as it is staged, and the very READ_REG that was to show it;
* two faults: `CONF <- 0` lost or damaged, and the read command behind it cut (the planned pulse again).
"""

from __future__ import annotations

import random
import struct
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from parburn.efuse.plan import BurnStep
from parburn.protocol import commands, slip
from tests.pulses.faults import Fault, damaged, random_fault, single_faults
from tests.pulses.record import Job
from tests.pulses.rom import (
    ENTRY_BYTES,
    NUMBER_SHIFT,
    OP_PROGRAM,
    READ_BEHIND,
    READ_REG,
    TOO_SOON,
    WRITE_REG,
    Registers,
    Rom,
    State,
    Words,
)

ALL_BITS = 0xFFFF_FFFF
VALUE_AT, MASK_AT = 28, 32  # of the second entry, in a frame's body
NEAR = 3  # frames between the two faults of half of all pairs


class Frame(NamedTuple):
    """A frame as it travels and as the ROM takes it; `compared` are the bits of its answer that the host
    looks at."""

    raw: bytes
    body: bytes
    compared: int

    @property
    def address(self) -> int:
        """Of a READ_REG, or of the first entry of a WRITE_REG."""
        return int.from_bytes(self.body[8:12], "little")


@dataclass(frozen=True)
class Harm:
    """What a fault came to."""

    job: str
    breath: int
    frame: int
    fault: str
    what: str

    def __str__(self) -> str:
        return f"{self.job}, breath {self.breath}, frame {self.frame}, {self.fault}: {self.what}"


class Kill(NamedTuple):
    """Where a job was killed, how many of its steps were verified by then, what it left, and what that is
    once the next run has sent a SYNC."""

    breath: int
    frame: int
    sent: int
    verified: int
    left: State
    synced: State
    allowed: Words | None


@dataclass
class Tally:
    """What was tried, and what came of it."""

    faults: int = 0
    repeats: int = 0
    known: int = 0
    harmful: list[Harm] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        """Count another's in."""
        self.faults += other.faults
        self.repeats += other.repeats
        self.known += other.known
        self.harmful += other.harmful

    def kinds(self) -> Counter[str]:
        """How often what."""
        return Counter(harm.what for harm in self.harmful)


def _programs(frame: Frame, registers: Registers) -> bool:
    """Whether this frame has the program op code in its first entry."""
    return frame.body[1] == WRITE_REG and frame.body[8:16] == struct.pack("<II", registers.conf, OP_PROGRAM)


def _commands(frame: Frame, registers: Registers) -> bool:
    """Whether this frame starts an operation."""
    return (
        frame.body[1] == WRITE_REG and frame.address == registers.conf and len(frame.body) > 8 + ENTRY_BYTES
    )


def _reads_at_the_end(frames: Sequence[Frame]) -> tuple[int, tuple[int, ...]]:
    """From which frame on they only read, and what."""
    start = len(frames)
    while start and frames[start - 1].body[1] == READ_REG:
        start -= 1
    return start, tuple(frame.address for frame in frames[start:])


class Replay:
    """A job, the states between its frames, and the faults that are tried on them."""

    def __init__(self, job: Job, *, start: State | None = None, allowed: Words | None = None) -> None:
        self.job = job
        self.resumed = start is not None
        self.registers = Registers.of(job.chip, job.timing)
        self.rom = Rom(self.registers)
        self.breaths = [self._frames(breath.frames) for breath in job.breaths]
        self.tails = [_reads_at_the_end(frames) for frames in self.breaths]
        self.states: list[list[State]] = []  # before each frame, and after the last
        self.answers: list[list[int]] = []
        self.pulses: list[list[int]] = []  # how many each frame gives
        self.allowed: list[Words | None] = []
        self.others: list[dict[int, int]] = []
        self.doubts: list[str] = []  # of the frames as they were sent
        self._run_clean(start, allowed)

    def _frames(self, raws: Sequence[bytes]) -> list[Frame]:
        found: list[Frame] = []
        written = False
        for raw in raws:
            body = slip.decode(raw.strip(b"\xc0")) or b""
            compared = ALL_BITS
            address = int.from_bytes(body[8:12], "little")
            if body[1] == READ_REG and address == self.job.chip.dummy_register:
                compared = 0
            elif body[1] == READ_REG and address == self.registers.cmd and written:
                compared = 3  # a poll: the block's number is not looked at
            written = body[1] == WRITE_REG or (written and compared == 3)
            found.append(Frame(raw, body, compared))
        return found

    def _run_clean(self, start: State | None, allowed: Words | None) -> None:
        """The frames as they were sent. Whatever of it is not as planned goes into `doubts`."""
        rom = self.rom
        rom.words = tuple(self.job.at_reset.get(address, 0) for address in self.registers.places)
        if start is not None:
            rom.put_back(start)
        held: dict[int, int] = {}
        steps = list(self.job.plan.steps if self.job.plan else ())
        unread: set[int] = set()  # places that were written and not read back since
        for number, (breath, frames) in enumerate(zip(self.job.breaths, self.breaths, strict=True)):
            held = {**held, **breath.read}
            rom.allowed, rom.others, rom.answers, rom.pulses, rom.harm = allowed, held, [], [], []
            states, pulses = [], []
            for frame in frames:
                states.append(rom.state())
                before = len(rom.pulses)
                if _programs(frame, self.registers) and steps:
                    rom.allowed = allowed = self._content(steps.pop(0), rom.words)
                    if unread or not 0 <= self.job.durable_at <= number:
                        self.doubts.append(f"breath {number} programs what was not read back or not recorded")
                rom.feed(frame.raw)
                pulses.append(len(rom.pulses) - before)
                self._note_read_back(frame, unread)
            self.doubts += rom.harm
            self._compare(breath.read, frames, rom.answers)
            states.append(rom.state())
            rom.end_of_breath()
            self.states.append(states)
            self.answers.append(rom.answers)
            self.pulses.append(pulses)
            self.allowed.append(allowed)
            if self.resumed and not number:
                allowed = (
                    None  # the SYNC has executed what was left; what is staged from here is read back anew
                )
            self.others.append(held)
        self.end = rom.state()
        rom.harm = []

    def _content(self, step: BurnStep, words: Words) -> Words:
        """What the pulse of this step must find; CLK and timing as they are."""
        places, chip = self.registers.places, self.job.chip
        content = [*words]
        content[1] = 0
        for place in self.registers.data:
            content[place] = 0
        for write in step.writes:
            if self.registers.pgm:
                content[0] = write.block.index << NUMBER_SHIFT
                addresses = chip.programming_addresses
            else:
                addresses = tuple(write.block.write_address + 4 * n for n in range(len(write.words)))
            for address, word in zip(addresses, write.words, strict=False):
                content[places[address]] = word
        return tuple(content)

    def _note_read_back(self, frame: Frame, unread: set[int]) -> None:
        places = self.registers.places
        if frame.body[1] == READ_REG:
            unread.discard(places.get(frame.address, 0))
            return
        if frame.body[1] == WRITE_REG and not _programs(frame, self.registers):
            entries = struct.iter_unpack("<4I", frame.body[8:])
            unread |= {places[address] for address, *_ in entries if address in places} - {1}
            if frame.address == self.registers.conf:
                unread.discard(0)  # the read command: CMD is polled

    def _compare(self, read: Mapping[int, int], frames: Sequence[Frame], answers: Sequence[int]) -> None:
        """What the model answers with what the simulator did."""
        if len(answers) != len(frames):
            self.doubts.append("the model does not answer as the simulator does")
            return
        last = {f.address: a for f, a in zip(frames, answers, strict=True) if f.body[1] == READ_REG}
        for address, answer in last.items():
            if address != self.registers.cmd and read.get(address, answer) != answer:
                self.doubts.append(f"the model reads {address:#x} otherwise than the simulator does")

    # --- one fault

    def harm_of(self, breath: int, faults: Sequence[tuple[int, Fault]]) -> tuple[list[str], int]:
        """What faults in some frames of one breath, in order, come to: harm, and planned pulses repeated."""
        at, fault = faults[0]
        rom = self.rom
        rom.put_back(self.states[breath][at])
        self._enter(breath)
        rom.harm, planned, given = [], 0, 0
        first = at
        more = dict(faults[1:])
        while True:
            frames, states = self.breaths[breath], self.states[breath]
            tail, addresses = self.tails[breath]
            while at < len(frames):
                if at == tail and not (more or rom.inside or at == first):
                    rom.read_all(addresses, frames[-1].body)
                    planned += sum(self.pulses[breath][at:])
                    at = len(frames)
                    if rom.state() == states[at]:
                        return rom.harm, given + len(rom.pulses) - planned
                    break
                frame = frames[at]
                planned += self.pulses[breath][at]
                if at == first:
                    rom.feed(damaged(frame.raw, fault))
                elif at in more:
                    rom.feed(damaged(frame.raw, more.pop(at)))
                elif rom.inside:
                    rom.feed(frame.raw)
                else:
                    rom.execute(frame.body)
                at += 1
                if not more and rom.state() == states[at]:
                    return rom.harm, given + len(rom.pulses) - planned
            given += len(rom.pulses)
            if self._looks(breath, first):
                rom.pulses = []
                rom.feed(commands.SYNC_FRAME)
                return rom.harm, given + len(rom.pulses) - planned
            self.rom.end_of_breath()
            breath, at, first = breath + 1, 0, 0
            if breath == len(self.breaths) or rom.state() == self.states[breath][0]:
                return rom.harm, given - planned
            self._enter(breath)
            first = -1

    def _enter(self, breath: int) -> None:
        rom = self.rom
        rom.answers, rom.pulses = [], []
        rom.allowed, rom.others = self.allowed[breath], self.others[breath]

    def _looks(self, breath: int, first: int) -> bool:
        """Whether the host sees that something is wrong."""
        first = max(first, 0)
        frames, wanted = self.breaths[breath], self.answers[breath]
        answers = self.rom.answers
        if len(answers) != len(wanted) - first:
            return True
        if self.rom.shown != self.states[breath][-1][-1]:
            return True  # bits are missing where the blocks are read
        for at, answer in enumerate(answers, first):
            differs = answer ^ wanted[at]
            if differs & ~ALL_BITS or differs & frames[at].compared:
                return True
        return False

    def _told_damaged(self, breath: int, at: int, damaged_frame: bytes, what: str, tally: Tally) -> None:
        rom = self.rom
        rom.put_back(self.states[breath][at])
        self._enter(breath)
        rom.harm = []
        rom.feed(damaged_frame)
        tally.faults += 1
        if rom.harm:
            tally.harmful.append(Harm(self.job.name, breath, at, what, rom.harm[0]))

    def _known(self, breath: int, faults: Sequence[tuple[int, Fault]], harm: Sequence[str]) -> bool:
        """Whether the order on the wire cannot mend these two faults: see the head of this module."""
        if len(faults) == 1:
            return False
        (first, fault), (second, _) = faults
        one, other = self.breaths[breath][first], self.breaths[breath][second]
        if other.body[1] == READ_REG:
            return self._wrong_behind(breath, first, fault, second) == {
                self.registers.places.get(other.address)
            }
        takes_op_code_out = one.address == self.registers.conf and len(one.body) == 8 + ENTRY_BYTES
        starts_read = _commands(other, self.registers) and not _programs(other, self.registers)
        return takes_op_code_out and starts_read and set(harm) == {TOO_SOON}

    def _wrong_behind(self, breath: int, at: int, fault: Fault, end: int) -> set[int | None]:
        """The places that hold something else than planned ahead of frame `end`, with the fault at `at`."""
        rom = self.rom
        rom.put_back(self.states[breath][at])
        self._enter(breath)
        rom.feed(damaged(self.breaths[breath][at].raw, fault))
        for frame in self.breaths[breath][at + 1 : end]:
            rom.feed(frame.raw)
        planned = self.states[breath][end][4]
        rom.harm = []
        return {place for place, word in enumerate(rom.words) if word != planned[place]}

    def _told(self, breath: int, faults: Sequence[tuple[int, Fault]], tally: Tally) -> None:
        harm, repeats = self.harm_of(breath, faults)
        tally.faults += 1
        tally.repeats += repeats > 0
        if harm and self._known(breath, faults, harm):
            tally.known += 1
            return
        for what in dict.fromkeys(harm):
            text = " and ".join(f"frame {at} {fault}" for at, fault in faults)
            tally.harmful.append(Harm(self.job.name, breath, faults[0][0], text, what))

    # --- many

    def singles(self, breaths: Collection[int] | None = None) -> Tally:
        """Every single fault and lost tail of every frame, or of those of these breaths."""
        tally = Tally()
        for breath, frames in enumerate(self.breaths):
            if breaths is not None and breath not in breaths:
                continue
            for at, frame in enumerate(frames):
                for fault in single_faults(frame.raw):
                    self._told(breath, ((at, fault),), tally)
        return tally

    def pairs(self, count: int, seed: int) -> Tally:
        """So many pairs of faults within one breath, half of them close together."""
        tally = Tally()
        rng = random.Random(seed)
        several = [breath for breath, frames in enumerate(self.breaths) if len(frames) > 1]
        weights = [sum(len(frame.raw) for frame in self.breaths[breath]) for breath in several]
        for breath in rng.choices(several, weights, k=count):
            frames = self.breaths[breath]
            one = other = rng.randrange(len(frames))
            while one == other:
                near = rng.random() < 0.5
                other = (
                    one + rng.choice((-1, 1)) * rng.randint(1, NEAR) if near else rng.randrange(len(frames))
                )
                other = min(len(frames) - 1, max(0, other))
            one, other = min(one, other), max(one, other)
            first, second = random_fault(frames[one].raw, rng), random_fault(frames[other].raw, rng)
            self._told(breath, ((one, first), (other, second)), tally)
        return tally

    def known_pairs(self) -> Tally:
        """The pairs that do burn another block: a bit of the number flipped in value and mask of CMD."""
        tally = Tally()
        for breath, frames in enumerate(self.breaths):
            for at, frame in enumerate(frames):
                if self.registers.pgm and _programs(frame, self.registers):
                    for bit in range(NUMBER_SHIFT, NUMBER_SHIFT + 4):
                        body = bytearray(frame.body)
                        body[VALUE_AT] ^= 1 << bit
                        body[MASK_AT] ^= 1 << bit
                        self._told_damaged(breath, at, slip.encode(bytes(body)), f"number bit {bit}", tally)
        return tally

    def first_writes(self) -> list[int]:
        """The breaths that write, up to that of the first read command behind a program command, if any."""
        found, programmed = [], False
        for breath, frames in enumerate(self.breaths):
            if any(frame.body[1] == WRITE_REG for frame in frames):
                found.append(breath)
            programs = any(_programs(frame, self.registers) for frame in frames)
            if programmed and not programs and any(_commands(f, self.registers) for f in frames):
                break
            programmed |= programs
        return found

    def kills(self) -> Iterator[Kill]:
        """Every prefix of every program and read frame: what is left of a job that is killed there."""
        rom, sent, verified = self.rom, 0, 0
        for breath, frames in enumerate(self.breaths):
            for at, frame in enumerate(frames):
                if _commands(frame, self.registers):
                    for count in range(1, len(frame.raw) + 1):
                        rom.put_back(self.states[breath][at])
                        self._enter(breath)
                        rom.allowed = self.allowed[breath]
                        rom.feed(frame.raw[:count])
                        rom.pulse = READ_BEHIND if rom.pulse else rom.pulse
                        rom.end_of_breath()  # whoever comes next comes later
                        left = rom.state()
                        rom.feed(commands.SYNC_FRAME)
                        yield Kill(breath, at, sent + count, verified, left, rom.state(), rom.allowed)
                sent += len(frame.raw)
            verified += any(_commands(f, self.registers) and not _programs(f, self.registers) for f in frames)
