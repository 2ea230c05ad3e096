"""A conversation as text: ``> `` host to chip, ``< `` chip to host, hex; ``# `` comments. Key words masked.

The writer hands over what is sent and, for every answer, the request that it answers; so an answer is masked
by the address that was asked for. An answer's value field is stale for all commands but READ_REG and SYNC:
it repeats the word read last, which may be a word of a key, so it is masked there as well. No I/O of its own:
lines go to the callable it was made with.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from parburn.protocol import commands, slip
from parburn.protocol.commands import ReadReg, Reply, WriteReg

MASKED_WORD: Final = 0x2A2A_2A2A

AddressRange = tuple[int, int]  # first address, first address after it


class Trace:
    """Writes one port's conversation.

    Args:
        write: gets whole lines without their line end.
        title: the first comment; none when empty.
    """

    def __init__(self, write: Callable[[str], None], *, title: str = "") -> None:
        self._write = write
        self._ranges: tuple[AddressRange, ...] = ()
        self._direction = ""
        self._pending = bytearray()
        if title:
            self.comment(title)

    def mask_writes(self, ranges: tuple[AddressRange, ...]) -> None:
        """Hide the words written to and read from these addresses from now on, as `MASKED_WORD`.

        From then on every stale value is hidden, too, and a packet that is no answer is replaced by `*`.
        """
        self.comment(f"words of key registers are shown as {MASKED_WORD:08x}")
        self._ranges = ranges

    def comment(self, text: str) -> None:
        """Write a comment line."""
        self.flush()
        self._write(f"# {text}")

    def sent(self, data: bytes) -> None:
        """Note whole frames that went to the chip."""
        self._add(">", b"".join(self._masked_request(run) for run in data.split(slip.END) if run))

    def answered(self, request: bytes, packet: bytes | None) -> None:
        """Note an answer packet and the request frame it answers (empty: nobody asked)."""
        if packet is None:
            self.comment("a damaged frame")
            return
        self._add("<", slip.encode(self._masked_answer(request, packet)))

    def flush(self) -> None:
        """Write what is collected: answers up to the next request share a line."""
        if self._pending:
            self._write(f"{self._direction} {self._pending.hex()}")
            self._pending.clear()

    def _add(self, direction: str, data: bytes) -> None:
        if direction != self._direction:
            self.flush()
            self._direction = direction
        self._pending += data

    def _hidden(self, address: int) -> bool:
        return any(first <= address < end for first, end in self._ranges)

    def _masked_request(self, run: bytes) -> bytes:
        packet = slip.decode(run)
        command = commands.parse_command(packet) if packet is not None and self._ranges else None
        if not isinstance(command, WriteReg):
            return slip.END + run + slip.END
        masked = tuple(
            (address, MASKED_WORD if self._hidden(address) else value, mask, delay)
            for address, value, mask, delay in command.entries
        )
        return slip.encode(WriteReg(masked).to_bytes())

    def _masked_answer(self, request: bytes, packet: bytes) -> bytes:
        if not self._ranges:
            return packet
        try:
            reply = Reply.parse(packet)
        except ValueError:
            return b"*" * len(packet)
        asked = commands.parse_command(slip.decode(request.strip(slip.END)) or b"")
        shown = (
            isinstance(asked, commands.Sync)
            if reply.opcode == commands.SYNC
            else (isinstance(asked, ReadReg) and not self._hidden(asked.address) and not reply.status)
        )
        if shown:
            return packet
        return Reply(reply.opcode, MASKED_WORD, reply.data, reply.status, reply.code).to_bytes()
