"""The ROM's one buffer and the registers that a pulse depends on, as a value that can be put back. No time.

What it knows of the ROM (measured on the mask ROMs): a frame overwrites as many bytes of the buffer as it
has and leaves the rest; a frame mark behind a part of a frame executes that part; the header's length is
believed, whatever arrived; nothing is checked but the direction byte and the opcode.

A pulse runs until the end of the breath in which something was read behind it: no sooner can the host see
that it is over, and the driver waits in the packet wherever the line is faster than the pulse. A READ that
runs while registers are written is no matter: what was written is read back.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from parburn.chips.model import Chip, ControllerKind, RegisterWrite

END, ESCAPE = 0xC0, 0xDB
UNESCAPED = {0xDC: 0xC0, 0xDD: 0xDB}
SYNC, WRITE_REG, READ_REG, CHANGE_BAUDRATE = 0x08, 0x09, 0x0A, 0x0F
MAX_ENTRIES = 512
HEAD_BYTES, ENTRY_BYTES = 8, 16
READ, PROGRAM = 1, 2
OP_READ, OP_PROGRAM = 0x5AA5, 0x5A5A
NUMBER_SHIFT, NUMBER_MASK = 2, 0xF
ANSWERED = 1 << 32  # not the value of a register
REFUSED = 1 << 33
UNKNOWN = 1 << 34  # what stands where nobody reads; taken not to be what is expected

IDLE, RUNS, READ_BEHIND = 0, 1, 2

TOO_SOON = "written before a pulse was seen to be over"

_entries = struct.Struct("<4I").iter_unpack
_no_words: Mapping[int, int] = {}

Words = tuple[int, ...]
State = tuple[bytes, bool, bool, bytes, Words, int, bool, Words | None, Words | None]


class Registers(NamedTuple):
    """Which registers are followed, and at which place of `Words`: CMD's block number and CONF come first."""

    cmd: int
    conf: int
    places: Mapping[int, int]
    pgm: bool
    data: tuple[int, ...]  # places of the programming registers

    @classmethod
    def of(cls, chip: Chip, timing: tuple[RegisterWrite, ...]) -> Registers:
        """CMD, CONF, the programming registers, CLK and timing."""
        cmd, conf = chip.registers["CMD"], chip.registers["CONF"]
        others = [chip.registers["CLK"]] if "CLK" in chip.registers else []
        others += [write.address for write in timing]
        followed = dict.fromkeys((cmd, conf, *chip.programming_addresses, *others))
        places = {address: place for place, address in enumerate(followed)}
        data = tuple(places[address] for address in chip.programming_addresses)
        return cls(cmd, conf, places, chip.controller is ControllerKind.PGM, data)


class Rom:
    """The ROM and its eFuse controller. `answers` and `harm` grow until the caller empties them."""

    __slots__ = (
        "allowed", "answers", "buffer", "burned", "dead", "escape", "harm", "inside", "others", "part",
        "pulse", "pulses", "registers", "shown", "words",
    )  # fmt: skip

    def __init__(self, registers: Registers) -> None:
        self.registers = registers
        self.others = _no_words  # what registers that are not followed hold
        self.answers: list[int] = []
        self.harm: list[str] = []
        self.pulses: list[Words] = []
        self.allowed: Words | None = None  # content of the pulse that was planned last
        self.buffer = b""
        self.inside = self.escape = False
        self.part = b""
        self.words: Words = (0,) * len(registers.places)
        self.pulse = IDLE
        self.dead = False
        self.burned: Words | None = None  # content of the last pulse that burned anything
        self.shown: Words | None = None  # what that was when READ was done last

    def state(self) -> State:
        """All that decides what comes."""
        return (
            self.buffer, self.inside and bool(self.part), self.escape, self.part, self.words, self.pulse,
            self.dead, self.burned, self.shown,
        )  # fmt: skip

    def put_back(self, state: State) -> None:
        """Be as it was."""
        (
            self.buffer, self.inside, self.escape, self.part, self.words, self.pulse,
            self.dead, self.burned, self.shown,
        ) = state  # fmt: skip

    def feed(self, data: bytes) -> None:
        """Take bytes from the line."""
        at, size = 0, len(data)
        while at < size:
            if not self.inside:
                at = data.find(END, at) + 1
                if not at:
                    return
                self.inside, self.escape, self.part = True, False, b""
                continue
            stop = data.find(END, at)
            run = data[at : stop if stop >= 0 else size]
            self._take(run)
            if stop < 0:
                return
            at = stop + 1
            if self.escape:  # the mark behind an escape is taken as it stands
                self.part += b"\xc0"
                self.escape = False
            elif self.part:
                part, self.part, self.inside = self.part, b"", False
                self.execute(part)

    def _take(self, run: bytes) -> None:
        if not self.escape and ESCAPE not in run:
            self.part += run
            return
        taken = bytearray(self.part)
        for byte in run:
            if self.escape:
                taken.append(UNESCAPED.get(byte, byte))
                self.escape = False
            elif byte == ESCAPE:
                self.escape = True
            else:
                taken.append(byte)
        self.part = bytes(taken)

    def execute(self, frame: bytes) -> None:
        """Execute a frame on top of what the buffer holds."""
        buffer = self.buffer = frame + self.buffer[len(frame) :]
        if self.dead:
            return
        opcode = buffer[1] if len(buffer) > 1 else 0
        if buffer[0]:
            self.answers.append(REFUSED)
        elif opcode == READ_REG:
            self._read(int.from_bytes(buffer[8:12], "little"))
        elif opcode == WRITE_REG:
            self._write_all(int.from_bytes(buffer[2:4], "little") // ENTRY_BYTES)
        else:
            word = int.from_bytes(buffer[8:12], "little") if opcode == CHANGE_BAUDRATE else 0
            self.answers.append(REFUSED + (opcode << 40) + word)

    def read_all(self, addresses: Sequence[int], last: bytes) -> None:
        """As `execute` of whole READ_REG frames of these addresses, of which `last` is the last."""
        self.buffer = last + self.buffer[len(last) :]
        if self.dead:
            return
        if self.pulse:
            self.pulse = READ_BEHIND
        places, others, words = self.registers.places, self.others, self.words
        self.answers += [
            words[places[address]] if address in places else others.get(address, UNKNOWN)
            for address in addresses
        ]

    def _read(self, address: int) -> None:
        if address & 3 or not address:
            self.dead = True
            return
        if self.pulse:
            self.pulse = READ_BEHIND
        place = self.registers.places.get(address)
        self.answers.append(self.others.get(address, UNKNOWN) if place is None else self.words[place])

    def _write_all(self, entries: int) -> None:
        if entries > MAX_ENTRIES:
            self.dead = True
            return
        last = HEAD_BYTES + ENTRY_BYTES * entries
        body = self.buffer[HEAD_BYTES:last]
        if len(body) < ENTRY_BYTES * entries:
            body += bytes(ENTRY_BYTES * entries - len(body))
        places = self.registers.places
        for address, value, mask, _delay in _entries(body):
            if address & 3 or not address:
                self.dead = True
                return
            place = places.get(address)
            if place is not None:
                self._write(place, value, mask)
        self.answers.append(ANSWERED)

    def _write(self, place: int, value: int, mask: int) -> None:
        words = self.words
        old = words[place]
        new = (old & ~mask) | (value & mask)
        if place == 0:
            self._command(old, new)
        elif new != old:
            self.words = (*words[:place], new, *words[place + 1 :])
            if place > 1 and (
                new & ~old or place not in self.registers.data
            ):  # a bit less burns nothing else
                self._changed()

    def _changed(self) -> None:
        if self.pulse:
            self.harm.append(TOO_SOON)

    def _command(self, old: int, new: int) -> None:
        """CMD: the place of the block's number and of both commands."""
        registers = self.registers
        number = new & NUMBER_MASK << NUMBER_SHIFT if registers.pgm else 0
        if number != old:
            self.words = (number, *self.words[1:])
            self._changed()
        op_code = self.words[1] & 0xFFFF
        if new & PROGRAM and op_code == OP_PROGRAM:
            self._program()
        elif new & READ and op_code == OP_READ:
            self.shown = self.burned

    def _program(self) -> None:
        content = (self.words[0], 0, *self.words[2:])
        data = self.registers.data
        empty = not self.registers.pgm and not any(content[place] for place in data)
        self.pulse = RUNS
        self.pulses.append(content)
        if not empty:
            self.burned = content
            if content != self.allowed:
                self.harm.append("a pulse that was not planned")

    def end_of_breath(self) -> None:
        """The host has its answers: a pulse behind which something was read is over."""
        if self.pulse != READ_BEHIND:
            return
        self.pulse = IDLE
        if not self.registers.pgm:  # the classic controller clears them
            words = list(self.words)
            for place in self.registers.data:
                words[place] = 0
            self.words = tuple(words)
