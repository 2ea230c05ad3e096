"""What the ledger keeps of a chip's bits: readable values in clear, key blocks as keyed digests only.

A record lets a later run give the script the image that the first run's script saw, and tells whether a key
block still holds what it held. Pure functions; no I/O.
"""

from __future__ import annotations

import hashlib
import hmac
import json

from parburn.chips.model import Chip, Field
from parburn.efuse import values
from parburn.efuse.image import EfuseImage
from parburn.efuse.plan import BurnPlan
from parburn.efuse.staging import StagedBurns
from parburn.errors import UnitQuarantined

UNIQUE_BITS = 32  # a longer field of a custom table is taken for an identity of the unit
CUSTOM_MAC_CODECS = ("custom_mac", "custom_mac_crc")
DIGEST_MARK = "hmac:"


def _digest(key: bytes, index: int, bits: int) -> str:
    return DIGEST_MARK + hmac.new(key, f"{index}:{bits:x}".encode(), hashlib.sha256).hexdigest()


def image_record(image: EfuseImage, key: bytes) -> str:
    """JSON of the blocks that are known: hex in clear, key blocks that hold anything as keyed digests."""
    blocks = {
        str(index): _digest(key, index, bits)
        if image.chip.blocks[index].key_purpose is not None and bits
        else f"{bits:x}"
        for index, bits in sorted(image.blocks.items())
    }
    return json.dumps({"blocks": blocks}, separators=(",", ":"))


def image_from_record(record: str, now: EfuseImage, key: bytes) -> EfuseImage:
    """The image as it was when `record` was made; `now` supplies key blocks that have not changed.

    Raises UnitQuarantined when a bit that was set is gone, or a key block that held a key holds another.
    """
    blocks: dict[int, int] = {}
    for name, text in json.loads(record)["blocks"].items():
        index = int(name)
        block = now.chip.blocks[index]
        current = now.blocks.get(index)
        if not text.startswith(DIGEST_MARK):
            blocks[index] = int(text, 16)
            if current is not None and now.is_readable(block) and blocks[index] & ~current:
                raise UnitQuarantined(
                    f"{block.name} lacks bits that it had in an earlier run: this is another chip",
                    hint="Two chips with one factory identity: take both out of the line.",
                )
        elif current is not None:
            if now.is_readable(block) and _digest(key, index, current) != text:
                raise UnitQuarantined(
                    f"{block.name} holds another key than in an earlier run",
                    hint="Take the board out of the line and mark it.",
                )
            blocks[index] = current
    return now.with_blocks(blocks)


def unique_values(plan: BurnPlan, image: EfuseImage, staged: StagedBurns) -> dict[str, str]:
    """Values that must be one chip's only: the custom MAC and long fields of custom tables that are staged.

    Text as `get()` shows it once burned; for a field that the chip holds already, the same.
    """
    after = plan.apply(image)
    found: dict[str, str] = {}
    for one in _unique_fields(image.chip):
        if one.start is not None and staged.block(one.block) & one.mask:
            bits = staged.block(one.block) >> one.start & ((1 << one.bits) - 1)
            found[one.name] = str(values.get(after, one, bits)).partition(" (")[0]
    return found


def _unique_fields(chip: Chip) -> tuple[Field, ...]:
    return tuple(
        one
        for one in chip.fields
        if one.bits > UNIQUE_BITS and (one.custom or one.codec in CUSTOM_MAC_CODECS)
    )
