"""The hardware's rules, one small function each. Each looks at values and returns why a burn is forbidden.

Three kinds: rules of every chip, which `plan_burns` asks for each block; rules that a chip row names in
`rules`, found by `RULES`; and `must_stay_readable`, which guards read protection of a key.

A rule returns a sentence, or None when it has nothing against the burn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from parburn.chips.model import Block, Field
from parburn.coding import CodingScheme
from parburn.efuse.image import EfuseImage
from parburn.efuse.layout import layout_of
from parburn.efuse.staged import StagedBurns, Wanted
from parburn.efuse.values import get
from parburn.errors import ChipDataError

_CHUNK_BITS = 48  # six data bytes share two check bytes in 3/4 coding
_CHUNK = (1 << _CHUNK_BITS) - 1

Rule = Callable[[EfuseImage, StagedBurns], str | None]


# --- every block


def read_protected(image: EfuseImage, block: Block) -> str | None:
    """Refuse a read-protected block: it reads as 0, so what is in it cannot be taken into account."""
    if image.is_readable(block):
        return None
    return f"{block.name} is read-protected: what is in it cannot be known, and a burn could spoil it"


def write_protected(image: EfuseImage, block: Block) -> str | None:
    """Refuse a write-protected block: the controller ignores a burn of it."""
    if image.is_writeable(block):
        return None
    return f"{block.name} is write-protected: it cannot be burned any more"


def write_protected_fields(image: EfuseImage, block: Block, bits: int) -> str | None:
    """Refuse bits that belong to a write-protected field: the controller ignores these single bits."""
    lost = bits & protected_bits(image, block)
    if not lost:
        return None
    names = layout_of(image.chip).names(block.index, lost)
    return f"{block.name} has write-protected fields that were to be burned: {', '.join(names)}"


def hidden_fields(image: EfuseImage, block: Block, bits: int) -> str | None:
    """Refuse bits of hidden fields in a block that can be read: nobody would see whether they are burned."""
    layout = layout_of(image.chip)
    hidden = bits & layout.hidden(block.index, image.field_bits(layout.rd_dis))
    if not hidden:
        return None
    names = ", ".join(layout.names(block.index, hidden))
    return f"{block.name} has read-protected fields, in which no burn can be verified: {names}"


def coding_hidden(image: EfuseImage, block: Block) -> str | None:
    """Refuse a block whose coding a read-protected field tells: it would be burned as if it had none."""
    field = image.chip.scheme_field
    if block.index == 0 or field is None or image.is_readable(field):
        return None
    return f"{field.name} is read-protected: how {block.name} is coded cannot be known"


def identity(image: EfuseImage, block: Block, bits: int) -> str | None:
    """Refuse to change factory MAC, its CRC or the unique id: with others it is another chip, or none."""
    for field in image.chip.identity_fields:
        if field.block == block.index and field.mask & bits:
            return f"{field.name} says who this chip is, and {block.name} was to get other bits there"
    return None


def identity_coded(image: EfuseImage, scheme: CodingScheme, block: Block, have: int) -> str | None:
    """Refuse a second write of an RS block that says who the chip is: it spoils what all of it shows."""
    if scheme is CodingScheme.RS and have:
        for field in image.chip.identity_fields:
            if field.block == block.index:
                return (
                    f"{field.name} says who this chip is, and a second write of {block.name} would spoil it"
                )
    return None


def second_write(scheme: CodingScheme, block: Block, have: int, bits: int) -> str | None:
    """Refuse other data in a coded block: their check bytes cannot be burned over the first ones.

    RS covers the whole block, 3/4 each chunk of six bytes (TRM, chapter eFuse Controller).

    Args:
        bits: the data that are wanted; never such that are all there already.
    """
    if scheme is CodingScheme.RS and have:
        return f"{block.name} is written already, and its RS coding allows no second write with other data"
    if scheme is CodingScheme.THREE_QUARTERS:
        for chunk in range(4):
            there, wanted = (value >> chunk * _CHUNK_BITS & _CHUNK for value in (have, bits))
            if there and wanted and there != wanted:
                at = f"bytes {6 * chunk} to {6 * chunk + 5}"
                return f"{block.name} is written in {at}, and its 3/4 coding allows no other data there"
    return None


def chunks_missing(have: int, bits: int) -> int:
    """Return `bits` without the 3/4 chunks that the block holds already, whole and equal."""
    missing = 0
    for at in range(0, 4 * _CHUNK_BITS, _CHUNK_BITS):
        wanted = bits >> at & _CHUNK
        if wanted != have >> at & _CHUNK:
            missing |= wanted << at
    return missing


def unlike(image: EfuseImage, staged: StagedBurns) -> Iterator[tuple[Wanted, str]]:
    """Yield each wanted value that the chip would not hold after the burn, and why, without the value."""
    for one in staged.wanted:
        have = image.block(one.block) & one.mask
        if have & ~one.bits:
            yield one, f"{one.name} has bits burned that the wanted value does not have, and they stay"
        elif (have | staged.block(one.block)) & one.mask != one.bits:
            yield one, f"{one.name} would not hold the value that a command asked for"


def locked_anew(image: EfuseImage, staged: StagedBurns, index: int) -> int:
    """Return the bits of a block that locks which are staged and not burned yet would freeze or hide."""
    layout = layout_of(image.chip)
    wr_dis, rd_dis = (staged.field(f) & ~image.field_bits(f) for f in (layout.wr_dis, layout.rd_dis))
    return layout.protected(index, wr_dis) | layout.hidden(index, rd_dis)


def protected_bits(image: EfuseImage, block: Block) -> int:
    """Return the bits of a block that WR_DIS keeps from being burned."""
    layout = layout_of(image.chip)
    return layout.protected(block.index, image.field_bits(layout.wr_dis))


# --- named in a chip's row


def _burned(image: EfuseImage, name: str) -> int:
    """Return the bits of a field that every chip with the rule has."""
    return image.field_bits(image.chip.field_by_name[name][0])


def _becomes_set(image: EfuseImage, staged: StagedBurns, name: str) -> tuple[bool, bool]:
    """Tell of a field whether it is burned, and whether it is asked for."""
    return bool(_burned(image, name)), bool(staged.field(image.chip.field_by_name[name][0]))


def usb_jtag_or_serial_jtag(image: EfuseImage, staged: StagedBurns) -> str | None:
    """Refuse that both be set: the ROM boot loader has a fault then.

    A chip that has both already is left alone.
    """
    jtag, wants_jtag = _becomes_set(image, staged, "DIS_USB_JTAG")
    serial, wants_serial = _becomes_set(image, staged, "DIS_USB_SERIAL_JTAG")
    if (wants_jtag and (serial or wants_serial)) or (wants_serial and jtag):
        return "DIS_USB_JTAG and DIS_USB_SERIAL_JTAG must not both be burned: the ROM loader fails with both"
    return None


RULES: Mapping[str, Rule] = {"usb_jtag_or_serial_jtag": usb_jtag_or_serial_jtag}


def broken_rule(image: EfuseImage, staged: StagedBurns) -> str | None:
    """Return the first reason of the chip's named rules against what is staged.

    Raises:
        ChipDataError: the chip's row names a rule that is not here.
    """
    for name in _named_rules(image):
        rule = RULES.get(name)
        reason = rule(image, staged) if rule is not None else None
        if reason is not None:
            return reason
    return None


def _named_rules(image: EfuseImage) -> tuple[str, ...]:
    """Return the names of the chip's rules.

    Raises ChipDataError for one that is not here: it must not be passed over, since it would have kept a burn
    from being made.
    """
    for name in image.chip.rules:
        if name not in RULES and name not in READ_RULES:
            raise ChipDataError(f"there is no rule {name!r}", where=image.chip.name)
    return image.chip.rules


# --- read protection


def must_stay_readable(image: EfuseImage, staged: StagedBurns, what: Field | Block) -> str | None:
    """Refuse to read-protect a key block whose purpose, burned or staged, is one that software reads.

    Raises:
        ChipDataError: the chip's row names a rule that is not here.
    """
    for name in _named_rules(image):
        rule = READ_RULES.get(name)
        reason = rule(image, what) if rule is not None else None
        if reason is not None:
            return reason
    block = image.chip.block_by_name.get(what.name)
    if block is None or block.key_purpose is None:
        return None
    use = image.field_named(block.key_purpose)
    purpose_name = get(image, use, image.value_bits(use) | staged.value(image.chip, use))
    purpose = image.chip.purpose_by_name.get(str(purpose_name))
    if purpose is not None and purpose.read_protect:
        return None
    return f"{block.name} must stay readable: its purpose is {purpose_name}, and software reads such a key"


def block2_readable_for_secure_boot_v2(image: EfuseImage, what: Field | Block) -> str | None:
    """Refuse to hide BLOCK2 where secure boot V2 (without V1) reads its digest from it.

    That is so on ESP32 from revision 3.0 on.
    """
    if what.name != "BLOCK2":
        return None
    major, minor = (_burned(image, name) for name in image.chip.revision_fields)
    v1, v2 = _burned(image, "ABS_DONE_0"), _burned(image, "ABS_DONE_1")
    if v2 and not v1 and 100 * major + minor >= 300:
        return f"{what.name} must stay readable: secure boot V2 is on (ABS_DONE_1) and its digest is there"
    return None


def key_block_readable_for_secure_boot(image: EfuseImage, what: Field | Block) -> str | None:
    """Refuse to hide a secure boot digest that shares its block with a key.

    The one key block holds a flash encryption key (low half or all of it) and the digest (high half).
    """
    whole = what.name == "BLOCK_KEY0"
    if whole and not _burned(image, "XTS_KEY_LENGTH_256"):
        return f"{what.name} must stay readable: its key does not fill it (XTS_KEY_LENGTH_256 is not burned)"
    if (whole or what.name == "BLOCK_KEY0_HI_128") and _burned(image, "SECURE_BOOT_EN"):
        return f"{what.name} must stay readable: secure boot is on (SECURE_BOOT_EN) and its digest is there"
    return None


READ_RULES: Mapping[str, Callable[[EfuseImage, Field | Block], str | None]] = {
    rule.__name__: rule for rule in (block2_readable_for_secure_boot_v2, key_block_readable_for_secure_boot)
}
