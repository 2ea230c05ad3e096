"""Reed-Solomon (44, 32) of the eFuse controllers since ESP32-S2: 32 data bytes get 12 check bytes.

The reference in Python, driven by tables; the optional C extension must give the same bytes.

The code is the one of `reedsolo.RSCodec(12)`: GF(256) over 0x11D, generator roots 2**0 .. 2**11. It is
linear, so the check bytes of a block are the exclusive or of what each byte contributes by itself. One table
for each of the 32 positions holds these contributions as ints of 96 bits, first check byte on top. Only the
eight rows for single bits of the last byte come from reedsolo; the rest follows:

* the row of any byte is the exclusive or of the rows of its bits;
* moving a byte one place to the left is one turn of the encoder's shift register: shift by a byte, and feed
  the byte that falls out back through the last table.
"""

from __future__ import annotations

from functools import cache

DATA_BYTES = 32
CHECK_BYTES = 12
CODED_BYTES = DATA_BYTES + CHECK_BYTES
_TOP = 8 * (CHECK_BYTES - 1)  # shift of the first check byte
_MASK = (1 << (8 * CHECK_BYTES)) - 1


def _spread(bit_rows: list[int]) -> tuple[int, ...]:
    """Return the rows of all 256 byte values from the eight rows of the single bits."""
    rows = [0]
    for bit_row in bit_rows:
        rows += [row ^ bit_row for row in rows]
    return tuple(rows)


@cache
def _tables() -> tuple[tuple[int, ...], ...]:
    import reedsolo  # here: it is needed only by runs that plan a burn

    codec = reedsolo.RSCodec(CHECK_BYTES)
    bit_rows = []
    for bit in range(8):
        coded = codec.encode(bytes(DATA_BYTES - 1) + bytes((1 << bit,)))
        bit_rows.append(int.from_bytes(coded[DATA_BYTES:], "big"))
    last = _spread(bit_rows)
    tables = [last]
    for _ in range(DATA_BYTES - 1):
        bit_rows = [((row << 8) & _MASK) ^ last[row >> _TOP] for row in bit_rows]
        tables.append(_spread(bit_rows))
    return tuple(reversed(tables))


def check_bytes(data: bytes) -> bytes:
    """Return the 12 check bytes of 32 data bytes.

    Raises:
        ValueError: the data have another length.
    """
    check = 0
    for table, byte in zip(_tables(), data, strict=True):
        check ^= table[byte]
    return check.to_bytes(CHECK_BYTES, "big")


def encode(data: bytes) -> bytes:
    """Return 44 coded bytes for each 32 data bytes.

    Raises:
        ValueError: the length is no multiple of 32.
    """
    if len(data) % DATA_BYTES:
        raise ValueError(f"RS coding takes blocks of {DATA_BYTES} bytes, not {len(data)} bytes")
    if len(data) == DATA_BYTES:
        return data + check_bytes(data)
    blocks = (data[at : at + DATA_BYTES] for at in range(0, len(data), DATA_BYTES))
    return b"".join(block + check_bytes(block) for block in blocks)
