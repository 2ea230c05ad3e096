"""What a chip shows that somebody gave it: a custom MAC, data of the user, keys. Pure; decides nothing.

Asked where a chip that the ledger has never heard of refuses a burn: then who it is matters, and not which
rule of the hardware it was.
"""

from __future__ import annotations

from parburn.chips.model import Chip
from parburn.efuse import values
from parburn.efuse.image import EfuseImage

USER_BLOCK = "BLOCK_USR_DATA"
HARDWARE = ("protected", "coding")  # words of reasons that tell nothing of who has burned a chip


def foreign(words: str, reason: str) -> str:
    """Return the sentence for a chip that carries `words` and that this ledger does not know."""
    more = "" if any(word in reason for word in HARDWARE) else f" {reason}"
    return f"this chip carries {words}, unknown to this ledger: another PC's?{more}"


def telling_blocks(chip: Chip) -> frozenset[int]:
    """Return the indexes of the blocks that must be read for `carried`."""
    told = {0, *(one.block for one in chip.field_by_name.get("CUSTOM_MAC", ()))}
    told |= {block.index for block in chip.blocks if block.key_purpose is not None}
    if USER_BLOCK in chip.block_by_name:
        told.add(chip.block_by_name[USER_BLOCK].index)
    return frozenset(told)


def carried(image: EfuseImage) -> str:
    """Return in words what somebody put into the chip; empty for nothing. Never key bits.

    `MAC aa:bb:.., a key in BLOCK_KEY0` is what it looks like in a sentence.
    """
    found = []
    for one in image.chip.field_by_name.get("CUSTOM_MAC", ()):
        if image.is_shown(one) and image.field_bits(one):
            found.append(f"MAC {str(values.get(image, one))[:17]}")
            break
    user = image.chip.block_by_name.get(USER_BLOCK)
    if user is not None and not found and image.blocks.get(user.index):
        found.append(f"data in {user.name}")
    for block in image.chip.blocks:
        if block.key_purpose is not None and (not image.is_readable(block) or image.blocks.get(block.index)):
            found.append(f"a key in {block.name}")
    return ", ".join(found)
