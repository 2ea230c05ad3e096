"""SLIP framing (RFC 1055) for the ROM's serial loader: bytes to frames and back, in bulk. No I/O.

A frame on the line is ``C0 payload C0``; inside it ``C0`` travels as ``DB DC`` and ``DB`` as ``DB DD``.
Every non-empty run between two ``C0`` counts as a frame, so text before a frame becomes a frame of its own
that the layer above recognises as noise, and a lost ``C0`` between two frames harms neither of them.
"""

from __future__ import annotations

END = b"\xc0"
ESC = b"\xdb"
_ESC_END = b"\xdb\xdc"
_ESC_ESC = b"\xdb\xdd"

LONGEST_FRAME = 4096  # bytes; a longer run without an END is noise, not an answer


def encode(payload: bytes) -> bytes:
    """Return the payload as one frame (RFC 1055), with an END on both sides."""
    if ESC in payload:
        payload = payload.replace(ESC, _ESC_ESC)
    if END in payload:
        payload = payload.replace(END, _ESC_END)
    return END + payload + END


def decode(escaped: bytes) -> bytes | None:
    """Undo the escapes of one frame given without its ends; None when an escape is broken.

    The ROM accepts a broken escape, by its second byte. Here it is refused: replies carry no checksum, and a
    damaged escape would become a wrong register value of the right length.
    """
    if ESC not in escaped:
        return escaped
    if escaped.count(ESC) != escaped.count(_ESC_END) + escaped.count(_ESC_ESC):
        return None
    return escaped.replace(_ESC_END, END).replace(_ESC_ESC, ESC)


class SlipDecoder:
    """Cuts a stream of bytes into frames, wherever the reads of the port split it."""

    __slots__ = ("_tail",)

    def __init__(self) -> None:
        self._tail = b""

    @property
    def tail(self) -> bytes:
        """What came since the last END, still escaped."""
        return self._tail

    def feed(self, data: bytes) -> list[bytes | None]:
        """Take bytes from the line; return the payloads of the frames they complete.

        None stands for a frame that is damaged: a broken escape, or no END within `LONGEST_FRAME` bytes.
        """
        if self._tail:
            data = self._tail + data
        runs = data.split(END)
        tail = runs.pop()
        frames: list[bytes | None] = [*filter(None, runs)]
        if ESC in data:
            frames = [run and decode(run) for run in frames]
        if len(tail) > LONGEST_FRAME:
            tail = b""
            frames.append(None)
        self._tail = tail
        return frames

    def reset(self) -> None:
        """Forget a frame that has begun."""
        self._tail = b""
