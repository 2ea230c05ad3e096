"""From register operations to frames, with what must stand ahead of a write. No I/O, no clock, no answers.

Two rules of the ROM shape what goes out. It ends a frame at any END, so one lost END makes two frames one;
and it executes a frame that was cut on what its buffer still holds of the frame before. Hence:

* A WRITE_REG behind another frame of its burst begins with two ENDs. Where the end of the frame before it
  is lost, the first of them ends that one, and the second begins this one. Else two frames would be lost at
  once.
* Behind a READ_REG of a register that a cut write must not reach goes a READ_REG of a harmless one
  (`WriteGuard`).

Frames of commands and of reads are the same for all boards and are made once a process. Frames that may
hold a key are made for one burst, and kept nowhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import Final, NamedTuple

from parburn.chips.model import RegisterWrite
from parburn.protocol import commands, slip
from parburn.protocol.commands import (
    known_write_reg_packets,
    read_reg_frame,
    read_reg_frames,
    write_reg_packets,
)
from parburn.protocol.loader import SAFE_RING_BYTES

SAFE_ENTRIES: Final = 15  # of WRITE_REG in one packet, where the ring is 256 bytes

_ENTRY_BYTES: Final = 16
_PACKET_FRAME_BYTES: Final = 10  # of a WRITE_REG packet: header and two ENDs
_COMMAND_ENTRIES: Final = 3  # at most, of the packet that starts the controller
_NO_DELAYS: Final = 0
_READ: Final = bytes((commands.READ_REG,))
_WRITE: Final = bytes((commands.WRITE_REG,))
_address_of = attrgetter("address")
_delay_us_of = attrgetter("delay_us")

Packets = tuple[tuple[int, bytes], ...]  # number of entries, frame


class ReadRegs(NamedTuple):
    """Read these registers, in this order."""

    addresses: tuple[int, ...]


class WriteRegs(NamedTuple):
    """Execute these writes, in this order. Never shares a packet with the operation after it."""

    writes: tuple[RegisterWrite, ...]

    def __repr__(self) -> str:  # the values may be a key's
        return f"WriteRegs({len(self.writes)} writes)"


class WriteGuard(NamedTuple):
    """What must stand ahead of certain writes.

    A READ_REG leaves its address in the ROM's buffer where the next WRITE_REG has that of its first entry. So
    behind READ_REGs of `unsafe` one of `harmless` goes out ahead of any WRITE_REG; at the end of a burst at
    once, so that its answer is there before anything is written.

    Attributes:
        unsafe: Address of the register that no cut WRITE_REG may reach.
        harmless: Address of a register that may be read at any time.
        first: First write of a connection, in a packet of its own: nobody knows what the last connection,
            which may have been killed, has left in the buffer.
    """

    unsafe: int
    harmless: int
    first: RegisterWrite


class BurstFrames(NamedTuple):
    """What a burst sends, and what to know of it when its answers are in.

    Attributes:
        frames: Encoded requests, in order.
        opcodes: One byte for each of them.
        of_guard: Which of the values read are the guard's and not the caller's, ascending.
        delay_us: Sum of the delays that the ROM waits before writes.
    """

    frames: list[bytes]
    opcodes: bytes
    of_guard: list[int]
    delay_us: int

    def __repr__(self) -> str:  # a frame may hold a key
        return f"BurstFrames({len(self.frames)} frames)"


class FrameBuilder:
    """Makes the frames of one connection: it knows what the ROM takes, and what guards its writes."""

    def __init__(self) -> None:
        self._guard: WriteGuard | None = None
        self._keyless: frozenset[int] = frozenset()  # registers that the guard knows, which hold no key
        self._first_written = False
        self.set_limits(ring_bytes=SAFE_RING_BYTES, entries_per_write=SAFE_ENTRIES)

    def set_limits(self, *, ring_bytes: int, entries_per_write: int) -> None:
        """Set what the chip's ROM takes: bytes in its ring, entries in a WRITE_REG packet."""
        # A packet that fills the ring goes alone, and the line falls silent until its answer is here: halves.
        self._longest = ring_bytes // 2
        entries_in_half = (self._longest - _PACKET_FRAME_BYTES) // _ENTRY_BYTES
        self._per_packet = max(1, min(entries_per_write, entries_in_half))
        self._cut: tuple[tuple[RegisterWrite, ...], Packets] = (), ()  # writes that are about to be sent

    def guard_writes(self, guard: WriteGuard) -> None:
        """From now on put ahead of writes what must stand there."""
        self._guard = guard
        self._keyless = frozenset((guard.unsafe, guard.harmless, guard.first.address))

    def write_executed(self) -> None:
        """Note that the ROM has executed a burst with a write: the guard's first write stands."""
        self._first_written |= self._guard is not None

    def frames_of(self, ops: Sequence[ReadRegs | WriteRegs]) -> BurstFrames:
        """Return the frames of these operations, with what the guard puts ahead of writes.

        A WRITE_REG packet has the entries of one operation only, in its order.
        """
        frames: list[bytes] = []
        opcodes = bytearray()
        delay_us = _NO_DELAYS
        guard, first_written = self._guard, self._first_written
        last_read: int | None = None  # by what stands in the ROM's buffer now
        of_guard: list[int] = []
        reads = 0
        for op in ops:
            if isinstance(op, ReadRegs):
                if op.addresses:
                    frames += read_reg_frames(op.addresses)
                    opcodes += _READ * len(op.addresses)
                    reads += len(op.addresses)
                    last_read = op.addresses[-1]
            elif op.writes:
                if guard is not None:
                    if last_read == guard.unsafe:
                        frames.append(read_reg_frame(guard.harmless))
                        opcodes += _READ
                        of_guard.append(reads)
                        reads += 1
                    if not first_written:
                        frames += _told_apart(self._packets((guard.first,)), frames)
                        opcodes += _WRITE
                        first_written = True
                last_read = None
                packets = self._packets(op.writes)
                frames += _told_apart(packets, frames)
                opcodes += _WRITE * len(packets)
                delay_us += sum(map(_delay_us_of, op.writes))
        if guard is not None and last_read == guard.unsafe:
            frames.append(read_reg_frame(guard.harmless))
            opcodes += _READ
            of_guard.append(reads)
        self._cut = (), ()
        return BurstFrames(frames, bytes(opcodes), of_guard, delay_us)

    def second_left(self, writes: tuple[RegisterWrite, ...]) -> int | None:
        """Return which of these writes is at the second place of the ROM's buffer when all are executed.

        None where none of their packets has two entries: what stood there before stays.
        """
        self._cut = writes, self._packets(writes)
        at, second = 0, None
        for size, _ in self._cut[1]:
            second = at + 1 if size > 1 else second
            at += size
        return second

    def _packets(self, writes: tuple[RegisterWrite, ...]) -> Packets:
        """WRITE_REG packets for these writes. Commands are the same for all boards, and hold no key."""
        if writes == self._cut[0]:
            return self._cut[1]
        short = len(writes) <= _COMMAND_ENTRIES and self._keyless.issuperset(map(_address_of, writes))
        return (known_write_reg_packets if short else write_reg_packets)(
            writes, self._per_packet, self._longest
        )


def _told_apart(packets: Packets, before: Sequence[bytes]) -> list[bytes]:
    """Return the frames of these packets; those behind another one begin with two ENDs, as the head says."""
    frames = [slip.END + frame for _, frame in packets]
    if not before:
        frames[0] = packets[0][1]
    return frames
