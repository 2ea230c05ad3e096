"""EFSR tokens: a chip's eFuses as one line of text, compatible with espefuse 5.6. Pure but for `read`.

`EFSR:CHIP:REVISION:BLOCK0:..:BLOCKn:ERRORS:CRC`: every piece is base64url without padding, of the block's
bytes (byte of the lowest bits first) or the error registers (4 bytes each, little-endian). A piece of zeros
is left empty. The CRC is CRC-32 over all text before it, its last colon included, as 4 bytes little-endian.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple
from zlib import crc32

from parburn.chips.model import Chip
from parburn.efuse.image import EfuseImage
from parburn.errors import BadValue

MAGICS = ("EFSR", "EFSW", "EFSRW")
LONGEST_REVISION = 5  # digits


class Token(NamedTuple):
    """What a token says. `blocks` are bits by position in the chip row, `errors` the error registers."""

    chip: str
    revision: int
    blocks: tuple[int, ...]
    errors: tuple[int, ...] = ()

    def __repr__(self) -> str:  # the blocks may be keys
        return f"Token({self.chip})"


def write_token(
    image: EfuseImage,
    revision: int,
    read: Callable[[tuple[int, ...]], list[int]],
    left_out: Collection[int] = (),
) -> str:
    """Return the token of an image.

    Args:
        image: What the chip holds.
        revision: Of the silicon, major * 100 + minor.
        read: Reads registers of the chip by their addresses.
        left_out: Indexes of blocks that are empty in the token.
    """
    pieces = []
    for block in image.chip.blocks:
        if block.index in left_out:
            pieces.append("")
            continue
        size = image.block_bits(block.index) // 8
        pieces.append(_packed(image.block(block.index) & ((1 << (8 * size)) - 1), size))
    addresses = image.chip.error_registers
    errors = read(addresses) if addresses else []
    joined = b"".join(word.to_bytes(4, "little") for word in errors)
    errors_piece = _encoded(joined) if any(errors) else ""
    prefix = f"EFSR:{image.chip.name}:{revision:03d}:{':'.join(pieces)}:{errors_piece}:"
    return prefix + _crc(prefix)


LEFT_OUT = "left out of the token, as keys that can be read: "


def token_text(token: str, left_out: Collection[str]) -> str:
    """Return a token as `dump` prints it: a line, and one that names the blocks that it does not tell."""
    return f"{token}\n{LEFT_OUT}{', '.join(left_out)} (see --show-sensitive-info)" if left_out else token


def take_token_text(text: str) -> tuple[str, tuple[str, ...]]:
    """Return the token, and the names of the blocks left out of it, of what `token_text` made."""
    token, _, rest = text.partition("\n")
    names = rest.strip().removeprefix(LEFT_OUT).rpartition(" (")[0]
    return token.strip(), tuple(names.split(", ")) if names else ()


def parse_token(text: str, chips: Callable[[str], Chip]) -> Token:
    """Read a token.

    Takes blocks of 24 bytes where the classic controller uses 3/4 coding.

    Args:
        text: The token.
        chips: Finds a chip row by name.

    Raises:
        BadValue: it is no token, or its checksum is wrong.
        UnknownName: its chip is not known.
    """
    text = text.strip()
    prefix, _, crc = text.rpartition(":")
    parts = prefix.split(":")
    if len(parts) < 5 or parts[0] not in MAGICS:
        raise BadValue("this is no eFuse token: it begins with EFSR: and has the chip, blocks and a checksum")
    if crc != _crc(prefix + ":"):
        raise BadValue("the token's checksum is wrong", hint="Copy the whole token again.")
    chip = chips(parts[1])
    pieces, errors = parts[3:-1], parts[-1]
    if len(pieces) != len(chip.blocks):
        raise BadValue(f"the token has {len(pieces)} blocks, {chip.title} has {len(chip.blocks)}")
    if not parts[2].isdecimal() or len(parts[2]) > LONGEST_REVISION:
        raise BadValue(f"{parts[2]!r} is no chip revision")
    blocks = []
    for block, piece in zip(chip.blocks, pieces, strict=True):
        data = _decoded(piece)
        if len(data) not in (0, 4 * block.words, 3 * block.words):
            raise BadValue(f"{block.name} of the token has {len(data)} bytes, not {4 * block.words}")
        blocks.append(int.from_bytes(data, "little"))
    data = _decoded(errors)
    words = tuple(int.from_bytes(data[at : at + 4], "little") for at in range(0, len(data), 4))
    return Token(chip.name, int(parts[2]), tuple(blocks), words)


def error_registers(token: Token, chip: Chip) -> Mapping[int, int]:
    """Return the token's error registers by address."""
    return dict(zip(chip.error_registers, token.errors, strict=False))


def _packed(bits: int, size: int) -> str:
    return _encoded(bits.to_bytes(size, "little")) if bits else ""


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _decoded(piece: str) -> bytes:
    try:
        return base64.b64decode(piece + "=" * (-len(piece) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise BadValue("a piece of the token is no base64url text") from None


def _crc(prefix: str) -> str:
    return _encoded(crc32(prefix.encode(errors="replace")).to_bytes(4, "little"))
