"""Whether a block holds a key, or gets one, and so which fields may not be shown. Pure.

A block that takes keys may hold something else: fields of a custom table, or the custom MAC address.
"""

from __future__ import annotations

from functools import lru_cache

from parburn.chips.model import Block, Chip, Codec, Field
from parburn.efuse.image import EfuseImage
from parburn.efuse.staged import StagedBurns

FEWEST_KEY_BITS = 128  # of a custom field that counts as a key wherever a key may be


@lru_cache(64)
def _with_a_mac(chip: Chip) -> frozenset[int]:
    return frozenset(f.block for f in chip.fields if f.codec is Codec.CUSTOM_MAC)


def may_hold_key(chip: Chip, block: Block) -> bool:
    """Tell whether a block takes keys, and is not the one of the custom MAC address."""
    return block.for_keys and block.index not in _with_a_mac(chip)


def holds_key(image: EfuseImage, block: Block, staged: StagedBurns | None = None) -> bool:
    """Tell whether a block holds a key, or gets one with what is `staged`.

    It does where it has a purpose, or cannot be read; on chips without key purposes wherever it may.
    """
    if not may_hold_key(image.chip, block):
        return False
    if block.key_purpose is None or not image.is_readable(block):
        return True
    purpose = image.field_named(block.key_purpose)
    return bool(image.field_bits(purpose) or (staged is not None and staged.field(purpose)))


def holds_digest(image: EfuseImage, block: Block, staged: StagedBurns | None = None) -> bool:
    """Tell whether a block holds, or gets, the digest of a public key: by its purpose, which says so."""
    if block.key_purpose is None:
        return False
    purpose = image.field_named(block.key_purpose)
    code = image.field_bits(purpose) | (staged.field(purpose) if staged is not None else 0)
    return any(one.digest and one.code == code for one in image.chip.key_purposes)


def is_key(image: EfuseImage, f: Field, staged: StagedBurns | None = None) -> bool:
    """Tell whether a field's value is a key or a part of one: it is not to be shown."""
    if f.codec is Codec.KEYBLOCK:
        return True
    block = image.chip.blocks[f.block]
    if f.start is None or not may_hold_key(image.chip, block):
        return False
    return f.bits >= FEWEST_KEY_BITS or holds_key(image, block, staged)
