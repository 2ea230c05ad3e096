"""The 3/4 coding of ESP32 blocks 1 to 3: six data bytes become eight. Pure arithmetic, no chips.

Each chunk of six data bytes is followed by two check bytes (TRM of ESP32, chapter eFuse Controller): the
exclusive or of the six, and the sum over the six of position (counted from 1) times number of set bits.
"""

from __future__ import annotations

DATA_BYTES = 24  # of a block
CODED_BYTES = 32
_CHUNK = 6

# For each position in a chunk: what a byte there adds to the second check byte. A whole chunk sums to 168 at
# most, so the check byte never overflows.
_SUMS = tuple(tuple(position * byte.bit_count() for byte in range(256)) for position in range(1, _CHUNK + 1))
_S1, _S2, _S3, _S4, _S5, _S6 = _SUMS


def encode(data: bytes) -> bytes:
    """Return the coded bytes of `data`: 8 for every 6.

    Raises:
        ValueError: the length is no multiple of 6.
    """
    if len(data) % _CHUNK:
        raise ValueError(f"3/4 coding takes chunks of {_CHUNK} bytes, not {len(data)} bytes")
    coded = bytearray()
    for at in range(0, len(data), _CHUNK):
        chunk = data[at : at + _CHUNK]
        a, b, c, d, e, f = chunk
        coded += chunk
        coded.append(a ^ b ^ c ^ d ^ e ^ f)
        coded.append(_S1[a] + _S2[b] + _S3[c] + _S4[d] + _S5[e] + _S6[f])
    return bytes(coded)


def decode(coded: bytes) -> bytes:
    """Return the data bytes of `coded`, 6 for every 8, without looking at the check bytes."""
    return b"".join(coded[at : at + _CHUNK] for at in range(0, len(coded), _CHUNK + 2))
