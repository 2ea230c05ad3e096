"""One conversation with the ROM loader, without I/O and without a clock: bytes in, bytes out, values.

The ROM answers requests in order and puts what it has not read yet into a ring that it never checks for
overflow. Bytes that overtake its reader lose everything in the ring, silently. So requests go out back to
back, but never more than `ring_bytes` of them are unanswered, counted as they travel (escapes and ends
included).

Answers are matched by count and order. Their opcode is only a check: a success must carry the opcode of the
request it answers, else we are out of step. An error carries the opcode of the command before it; when that
was SYNC, the error comes eight times, and seven of them are dropped here.

Two modes: a burst (`begin`, strict: anything that is no answer is GarbledAnswer) and the search for a ROM
(`begin_sync`, lenient: everything that is no SYNC answer is kept as noise).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from struct import Struct
from typing import Final

from parburn.errors import GarbledAnswer
from parburn.protocol import commands
from parburn.protocol.commands import Reply
from parburn.protocol.slip import SlipDecoder

SAFE_RING_BYTES: Final = 255  # the smallest known ring has 256

_REGISTER_REPLY = Struct("<III")  # direction, opcode and size in one word; value; status
_unpack_register_reply = _REGISTER_REPLY.unpack
_REGISTER_REPLY_BYTES: Final = _REGISTER_REPLY.size
_READ_OK: Final = 0x0004_0001 | commands.READ_REG << 8
_WRITE_OK: Final = 0x0004_0001 | commands.WRITE_REG << 8
_NO_HEAD: Final = -1  # other commands' answers never take the short way
_HEADS: Final = {commands.READ_REG: _READ_OK, commands.WRITE_REG: _WRITE_OK}
_NOISE_KEPT: Final = 2048  # bytes

Observer = Callable[[bytes, bytes | None], None]  # request frame (empty: none was open), answer packet


@lru_cache(maxsize=256)
def _heads_of(opcodes: bytes) -> tuple[int, ...]:
    """Return how the good answers to these commands begin; most bursts have the shape of an earlier one."""
    return tuple([_HEADS.get(opcode, _NO_HEAD) for opcode in opcodes])


class LoaderProtocol:
    """Sans-IO state of one conversation: what may be sent now, what has been answered.

    `ring_bytes` is how many bytes may be unanswered; the default suits the smallest ROM that is known.
    """

    def __init__(self, *, ring_bytes: int = SAFE_RING_BYTES) -> None:
        self.ring_bytes = ring_bytes
        self.observer: Observer | None = None  # sees every answer; None keeps the fast path fast
        self.strays = 0  # frames that nobody asked for, late answers to SYNC apart
        self.sync_replies = 0
        self._noise = bytearray()
        self._decoder = SlipDecoder()
        self.begin((), b"")

    # --- a burst

    def begin(self, frames: Sequence[bytes], opcodes: bytes) -> None:
        """Start a burst of encoded requests; `opcodes` has one byte for each. Drops the one before."""
        self._frames = frames
        self._opcodes = opcodes
        self._heads = _heads_of(opcodes)
        self._sent = 0
        self._answered = 0
        self._unanswered_bytes = 0
        self._repeats = 0
        self._syncing = False
        self.values: list[int] = []  # READ_REG only, in order; a refused one counts as 0
        self.replies: list[Reply] = []  # of commands that are neither READ_REG nor WRITE_REG
        self.refused: dict[int, Reply] = {}  # request number -> its error

    @property
    def unanswered_bytes(self) -> int:
        """Bytes sent that the ROM may still hold in its ring."""
        return self._unanswered_bytes

    def opcode_of(self, number: int) -> int:
        """Return the opcode of a request of this burst."""
        return self._opcodes[number]

    @property
    def asked(self) -> int:
        """How many requests this burst has."""
        return len(self._frames)

    @property
    def answered(self) -> int:
        """How many requests of this burst are answered."""
        return self._answered

    @property
    def all_sent(self) -> bool:
        """Whether nothing of this burst is left to send."""
        return self._sent == len(self._frames)

    @property
    def complete(self) -> bool:
        """Whether every request of this burst has all of its answers."""
        return self._answered == len(self._frames) and not self._repeats

    def answers_needed(self) -> int:
        """Return how many answers must still come before there is more to send or all is answered."""
        if self.all_sent:
            return len(self._frames) - self._answered
        in_the_way = self._unanswered_bytes - self.ring_bytes // 2
        number = self._answered
        while in_the_way > 0 and number < self._sent:
            in_the_way -= len(self._frames[number])
            number += 1
        return number - self._answered

    def bytes_sent_after(self, count: int) -> int:
        """Return how many bytes were sent behind the request that the next `count` answers end with."""
        return sum(map(len, self._frames[self._answered + count : self._sent]))

    @property
    def only_repeats_missing(self) -> bool:
        """Whether all is answered but for copies of an error we expected eight times."""
        return self._answered == len(self._frames) and self._repeats > 0

    def data_to_send(self) -> bytes:
        """Return the next whole frames that fit into the ring, joined; empty when none may go now.

        More frames go out only when half of the ring is free: that takes fewer system calls than one by one,
        and the other half keeps the line busy meanwhile.
        """
        frames, first = self._frames, self._sent
        free = self.ring_bytes - self._unanswered_bytes
        if first == len(frames) or (self._unanswered_bytes and 2 * free < self.ring_bytes):
            return b""
        last = first
        for frame in frames[first:] if first else frames:
            free -= len(frame)
            if free < 0:
                # A frame larger than the ring can only go alone; packets are cut so that none is.
                free += len(frame)
                break
            last += 1
        if last == first and not self._unanswered_bytes:
            free -= len(frames[first])
            last = first + 1
        self._sent = last
        self._unanswered_bytes = self.ring_bytes - free
        return b"".join(frames[first:last])

    def receive_data(self, data: bytes) -> None:
        """Take bytes from the line.

        Raises:
            GarbledAnswer: in a burst, they are no answers to what was asked. Nothing that came is taken back.
        """
        packets = self._decoder.feed(data)
        if self._syncing:
            self._receive_sync(packets)
            return
        heads, frames, values = self._heads, self._frames, self.values
        begun = number = self._answered
        sent = self._sent
        slowly = self.observer is not None
        for packet in packets:
            if packet is not None and len(packet) == _REGISTER_REPLY_BYTES and number < sent and not slowly:
                head, value, status = _unpack_register_reply(packet)
                if head == heads[number] and not status and not self._repeats:
                    if head == _READ_OK:
                        values.append(value)
                    number += 1
                    continue
            self._answered = number
            self._receive_packet(packet)
            number = self._answered
        self._answered = number
        self._unanswered_bytes -= sum(map(len, frames[begun:number]))

    def _receive_packet(self, packet: bytes | None) -> None:
        number = self._answered
        asked = number < self._sent
        if self.observer is not None:
            open_request = number - 1 if self._repeats else number
            self.observer(self._frames[open_request] if open_request < self._sent else b"", packet)
        reply = _reply(packet)
        if reply is not None and reply.opcode == commands.SYNC and not reply.status:
            return  # late: a success with this opcode answers nothing but a SYNC
        if self._repeats and reply is not None and reply.status and reply.opcode == commands.SYNC:
            self._repeats -= 1
        elif not asked:
            self.strays += 1
        elif reply is None:
            raise GarbledAnswer("the chip's answer is damaged, or is no answer")
        else:
            self._repeats = 0  # a ROM that does not repeat: the next answer has come
            self._answer(number, reply)

    def _answer(self, number: int, reply: Reply) -> None:
        opcode = self._opcodes[number]
        if reply.status:
            self.refused[number] = reply
            if reply.opcode == commands.SYNC and opcode != commands.SYNC:
                self._repeats = commands.SYNC_REPLIES - 1
        elif reply.opcode != opcode or (opcode in _HEADS and reply.data):
            raise GarbledAnswer("the chip's answer belongs to another command: we are out of step with it")
        if opcode == commands.READ_REG:
            self.values.append(0 if reply.status else reply.value)
        elif opcode != commands.WRITE_REG:
            self.replies.append(reply)
        self._answered = number + 1

    def forget(self) -> None:
        """Drop the burst and any half-received frame: what comes until `begin` was not asked for."""
        self._decoder.reset()
        self.begin((), b"")
        self.strays = 0

    # --- the search for a ROM

    def begin_sync(self) -> None:
        """Look for answers to SYNC from now on; all else is noise."""
        self.begin((), b"")
        self._syncing = True
        self.strays = 0
        self.sync_replies = 0
        self._noise.clear()

    @property
    def noise(self) -> bytes:
        """What came and was no answer to SYNC: boot text, late answers, garbage (the newest 2048 bytes)."""
        return bytes(self._noise) + self._decoder.tail

    def _receive_sync(self, packets: list[bytes | None]) -> None:
        for packet in packets:
            if self.observer is not None:
                self.observer(commands.SYNC_FRAME, packet)
            reply = _reply(packet)
            if reply is not None and reply.opcode == commands.SYNC and not reply.status:
                self.sync_replies += 1
            else:
                self._noise += packet or b"?"
        del self._noise[:-_NOISE_KEPT]


def _reply(packet: bytes | None) -> Reply | None:
    try:
        return None if packet is None else Reply.parse(packet)
    except ValueError:
        return None
