"""What a command may ask for, field by field and block by block. A refusal leaves what is staged alone.

What a single field accepts is decided here, when it is asked for; what whole blocks accept is decided by
`parburn.efuse.plan`. "It is there already" means equal: a chip that holds 3 does not hold 1. Only bits of the
masks RD_DIS and WR_DIS, and single bits of a block, are there beside others. Every function that takes
`force` (`--force-write-always`) sets it for all that is staged; None is a command without that option.
"""

from __future__ import annotations

from collections.abc import Sequence

from parburn.chips.model import Block, Codec, Field, KeyPurpose
from parburn.efuse import hints
from parburn.efuse.image import EfuseImage
from parburn.efuse.key_blocks import is_key
from parburn.efuse.layout import RD_DIS, WR_DIS, layout_of
from parburn.efuse.rules import must_stay_readable
from parburn.efuse.staged import StagedBurns as StagedBurns
from parburn.efuse.staged import Wanted as Wanted
from parburn.efuse.values import crc8, crc_field_of, get, is_fixed, purpose_code
from parburn.errors import BadValue, EfuseError, UnknownName

DIGEST_BYTES = 32  # SHA-256
MASKS = (WR_DIS, RD_DIS)  # they collect single bits from many commands; all other fields are values
_SHOWN_BITS = 64  # a longer value is not repeated in a sentence


def set_force(staged: StagedBurns, force: bool | None) -> None:
    """Take over a command's `--force-write-always`; None: the command has no such option."""
    if force is not None:
        staged.force = force


def stage_field(
    image: EfuseImage, staged: StagedBurns, f: Field, bits: int, *, force: bool | None = None
) -> bool:
    """Ask for a value of a field.

    Returns:
        False when it is there or asked for already: nothing was added.

    Raises:
        EfuseError: the field cannot be burned, is protected, or has set bits that `bits` clears.
        BadValue: the value does not fit.
        BlockNotRead: a block of the field is not in the image.
    """
    if is_fixed(f):
        raise EfuseError(f"{f.name} cannot be burned: it is written in the factory or computed from others")
    if f.custom:
        _refuse_beyond_the_block(image, f)
    with staged.all_or_nothing():
        set_force(staged, force)
        staged.want_anew(f.name)
        if f.codec is Codec.CUSTOM_MAC:
            return _stage_mac(image, staged, f, bits.to_bytes(6, "little"))
        return _stage(image, staged, f, bits)


def _refuse_beyond_the_block(image: EfuseImage, f: Field) -> None:
    """Refuse a field of a table beyond what its block holds under the chip's coding scheme."""
    end, holds = (f.start or 0) + f.bits, image.block_bits(f.block)
    if end > holds:
        block = layout_of(image.chip).blocks[f.block]
        raise EfuseError(
            f"{f.where}: {f.name} ends with bit {end - 1}, but {block.name} of this chip has the coding "
            f"scheme 3/4 and ends with bit {holds - 1}",
            hint=f"Whoever made the table keeps it below bit {holds}; until then use boards with the coding "
            "scheme None.",
        )


def _stage(image: EfuseImage, staged: StagedBurns, f: Field, bits: int, *, kept: bool = False) -> bool:
    """Ask for a field's whole value, wherever its bits stand: its own place has the lowest ones."""
    if bits >> f.width:
        raise BadValue(f"the value does not fit {f.name}, which has {f.width} bits")
    if f.name in MASKS:
        return _stage_mask(image, staged, f, bits)
    if f.sources and not staged.force:  # each part alone could let a mixture of two values pass
        _refuse_clearing(image, staged, f, bits, image.value_bits(f), staged.value(image.chip, f))
    added = False
    if f.start is not None:
        added = _stage_part(image, staged, f, f.name, (1 << f.bits) - 1, bits & ((1 << f.bits) - 1), kept)
    for source in f.sources:
        part = image.chip.field_by_name[source.field or ""][0]
        place = (1 << source.bits) - 1
        share = (bits >> source.shift & place) << source.bit
        added |= _stage_part(image, staged, part, f.name, place << source.bit, share, kept)
    return added


def _stage_part(
    image: EfuseImage, staged: StagedBurns, f: Field, name: str, part: int, bits: int, kept: bool
) -> bool:
    """Ask for the bits under `part` of a field that has a place, for the value `name`."""
    have, waiting = image.field_bits(f) & part, staged.field(f) & part
    if not staged.force:
        if not image.is_readable(f):
            raise EfuseError(
                f"{f.name} is read-protected: what is in it cannot be known, and a burn could spoil it",
                hint=hints.HIDDEN,
            )
        _refuse_clearing(image, staged, f, bits, have, waiting)
    new = bits & ~(have | waiting)
    if new and not image.is_writeable(f) and not staged.force:
        raise EfuseError(
            f"{f.name} is write-protected: its bits cannot be burned any more", hint=hints.locked(f)
        )
    start = f.start or 0
    if new:
        _add(staged, f.block, bits << start)
    staged.want(Wanted(name, f.block, part << start, bits << start, kept))
    return bool(new)


def _stage_mask(image: EfuseImage, staged: StagedBurns, f: Field, bits: int) -> bool:
    """Ask for bits of RD_DIS or WR_DIS, beside all those that are set and asked for."""
    if not bits & ~(image.field_bits(f) | staged.field(f)):
        return False
    if not image.is_writeable(f) and not staged.force:
        raise EfuseError(
            f"{f.name} is write-protected: its bits cannot be burned any more", hint=hints.locked(f)
        )
    staged.add(f.block, bits << (f.start or 0))
    return True


def _add(staged: StagedBurns, index: int, bits: int) -> None:
    """Ask for more bits, unless they would make another value of one that a command before asked for."""
    for one in staged.wanted:
        if one.block == index and bits & one.mask & ~one.bits and not staged.force:
            raise EfuseError(
                f"{one.name} would not hold the value that a command before this one asked for",
                hint=hints.CONTRADICTION,
            )
    staged.add(index, bits)


def _refuse_clearing(
    image: EfuseImage, staged: StagedBurns, f: Field, bits: int, have: int, waiting: int
) -> None:
    if have & ~bits:
        raise EfuseError(
            f"{f.name} has bits burned that the new value would clear, and a burned bit stays"
            f"{_compared(image, staged, f, bits)}",
            hint=hints.ANOTHER_UNIT,
        )
    if waiting & ~bits:
        raise EfuseError(f"{f.name} has bits staged that the new value would clear", hint=hints.CONTRADICTION)


def _compared(image: EfuseImage, staged: StagedBurns, f: Field, bits: int) -> str:
    """Tell what a chip holds and what was asked for; nothing of what may be a key."""
    if is_key(image, f, staged) or f.width > _SHOWN_BITS or bits >> f.width:
        return ""
    return f": this chip holds {get(image, f)}, and {get(image, f, bits)} was asked for"


def _stage_mac(image: EfuseImage, staged: StagedBurns, f: Field, mac: bytes) -> bool:
    """Ask for a custom MAC; ESP32 keeps a version (1) and a CRC beside it."""
    added = False
    crc_field = crc_field_of(image.chip, f)
    if crc_field is not None:
        version = image.field_named("MAC_VERSION")
        number = image.field_bits(version)
        if number in (0, 1):
            added |= _stage(image, staged, version, 1, kept=True)
        elif not staged.force:
            raise EfuseError(
                f"MAC_VERSION is {number}: BLOCK{f.block} does not hold a custom MAC of version 1",
                hint=hints.ANOTHER_UNIT,
            )
    bits, have = int.from_bytes(mac, "little"), image.field_bits(f)
    if have not in (0, bits) and not staged.force:  # not even one that could be grown to the new one
        raise EfuseError(
            f"{f.name} has another address burned, so that it would show another value"
            f"{_compared(image, staged, f, bits)}",
            hint=hints.ANOTHER_UNIT,
        )
    added |= _stage(image, staged, f, bits, kept=True)
    if crc_field is not None:
        added |= _stage(image, staged, crc_field, crc8(mac), kept=True)
    return added


def stage_custom_mac(
    image: EfuseImage, staged: StagedBurns, mac: bytes, *, force: bool | None = None
) -> None:
    """Ask for a custom MAC and all that the chip keeps beside it (ESP32: version and CRC).

    Args:
        mac: six bytes, the first shown first.

    Raises:
        EfuseError: the chip holds another address, or a place for it is protected.
        BlockNotRead: its block is not in the image.
    """
    with staged.all_or_nothing():
        set_force(staged, force)
        _stage_mac(image, staged, image.field_named("CUSTOM_MAC"), mac)
        for used in image.chip.field_by_name.get("CUSTOM_MAC_USED", ()):
            _stage(image, staged, used, 1, kept=True)


def stage_block_data(
    image: EfuseImage,
    staged: StagedBurns,
    block: Block,
    data: bytes,
    *,
    offset: int = 0,
    force: bool | None = None,
) -> None:
    """Ask for a block's bytes, from byte `offset` on; without an offset they must fill the block.

    Bytes that are zero, here or in the chip, say nothing; all others must be equal.

    Raises:
        BadValue: the bytes do not fit the block.
        EfuseError: other bytes are burned or staged there.
        BlockNotRead: the block is not in the image.
    """
    size = image.block_bits(block.index) // 8
    if not 0 <= offset < size:
        raise BadValue(f"offset {offset} is not in {block.name}, which has {size} bytes")
    if len(data) + offset > size or (offset == 0 and len(data) != size):
        at = f" at offset {offset}" if offset else ""
        raise BadValue(f"{len(data)} bytes{at} do not fit {block.name}, which has {size} bytes")
    bits = int.from_bytes(data, "little") << (8 * offset)
    mask = _bytes_of(image, block, bits)
    with staged.all_or_nothing():
        set_force(staged, force)
        have = image.block(block.index) & mask
        if not staged.force:
            _refuse_other_bytes(block, have, bits & mask, "burned", hints.ANOTHER_UNIT)
            _refuse_other_bytes(
                block, staged.block(block.index) & mask, bits & mask, "staged", hints.CONTRADICTION
            )
        _add(staged, block.index, bits)
        staged.want(Wanted(block.name, block.index, mask, bits & mask, kept=True))


def _bytes_of(image: EfuseImage, block: Block, bits: int) -> int:
    """Return the mask of the bytes in which any of `bits` is set, without RD_DIS and WR_DIS."""
    size = image.block_bits(block.index)
    mask = sum(0xFF << at for at in range(0, size, 8) if bits >> at & 0xFF)
    if block.index == 0:
        layout = layout_of(image.chip)
        mask &= ~(layout.wr_dis.mask | layout.rd_dis.mask)
    return mask


def _refuse_other_bytes(block: Block, there: int, bits: int, where: str, hint: str) -> None:
    """Raise EfuseError when a byte that is there is not zero and differs from the one asked for."""
    differ = there ^ bits
    for at in range(0, differ.bit_length(), 8):
        if differ >> at & 0xFF and there >> at & 0xFF:
            raise EfuseError(
                f"{block.name} has other data {where} in byte {at // 8}, which these would change", hint=hint
            )


def stage_bits(
    image: EfuseImage, staged: StagedBurns, block: Block, bits: Sequence[int], *, force: bool | None = None
) -> None:
    """Ask for single bits of a block, by number.

    Raises:
        BadValue: the block has no such bit.
        EfuseError: a bit would change a value that a command before asked for.
    """
    size = image.block_bits(block.index)
    mask = 0
    for bit in bits:
        if not 0 <= bit < size:
            raise BadValue(f"bit {bit} is not in {block.name}, which has bits 0 to {size - 1}")
        mask |= 1 << bit
    with staged.all_or_nothing():
        set_force(staged, force)
        _add(staged, block.index, mask)


def stage_key(
    image: EfuseImage,
    staged: StagedBurns,
    block: Block,
    key: bytes,
    purpose: str | None,
    *,
    write_protect: bool,
    read_protect: bool,
    force: bool | None = None,
    any_key: bool = False,
) -> None:
    """Ask for a key in a block, with its purpose and its protections.

    The purpose field, once it holds the purpose, is write-protected always.

    Args:
        key: in the order of the key file; for purposes that the hardware reads backwards it is reversed here,
            and of a digest for a part of a block the first bytes are taken.
        purpose: None on a chip that takes keys without a purpose.
        read_protect: takes effect only for purposes whose key software must not see.
        any_key: `--force`: take a key whose bytes are all equal, and fill up a short one with zeros at its
            end (a file that a power cut left is one of these more often than a key is). And take one that the
            chip is known not to use.

    Raises:
        UnknownName: the chip has no such purpose.
        BadValue: the key does not fit, or looks like no key, or the block cannot hold one for this purpose.
        EfuseError: the block holds other content, or a place that is needed is protected.
        BlockNotRead: a block that is needed is not in the image.
    """
    use = _real_purpose(image, purpose)
    f = key_field(image, block, use)
    if use is not None and block.name in use.not_in_blocks:
        raise BadValue(f"{block.name} cannot hold a key for {use.name}", hint="take another key block")
    if use is not None and use.target and use.digest and len(key) == DIGEST_BYTES:
        key = key[: f.bits // 8]
    key = sound_key(f.name, key, f.bits // 8, any_key=any_key)
    if len(key) * 8 != f.bits:
        raise BadValue(
            f"the key for {f.name} has {len(key)} bytes, and it must have {f.bits // 8} bytes",
            hint="key files hold raw bytes, not text",
        )
    data = key[::-1] if use is not None and use.reversed else key
    with staged.all_or_nothing():
        set_force(staged, force)
        _stage_key_bytes(image, staged, f, int.from_bytes(data, "little"))
        if use is not None and block.key_purpose is not None:
            _stage_purpose(image, staged, image.field_named(block.key_purpose), use)
        for name in () if use is None else use.sets:
            _stage(image, staged, image.field_named(name), 1, kept=True)
        for name in () if use is None or any_key else use.without:
            _stay_unburned(image, staged, image.field_named(name), f, block)
        if read_protect and (use is None or use.read_protect):
            stage_read_bits(image, staged, f)
        if write_protect:
            stage_write_bit(image, staged, f)


def _stay_unburned(image: EfuseImage, staged: StagedBurns, choice: Field, place: Field, block: Block) -> None:
    """Refuse a key in a part of a block where `choice` makes the chip take the whole block for its key.

    No later command of the script may make it so either.
    """
    burned = image.field_bits(choice)
    if burned or staged.field(choice):
        raise EfuseError(
            f"{choice.name} is {'burned' if burned else 'asked for'}: the chip takes all of {block.name} for "
            f"its key, and not the one in {place.name}. What is encrypted with that one would not boot",
            hint="burn a key that fills the block, or leave that bit unburned; --force burns this one anyway",
        )
    mask = ((1 << choice.bits) - 1) << (choice.start or 0)
    staged.want(Wanted(choice.name, choice.block, mask, 0, kept=True))


def sound_key(name: str, key: bytes, size: int, *, any_key: bool) -> bytes:
    """Return a key that may be burned into a place of `size` bytes; too long a one is left to the caller.

    Raises:
        BadValue: the key is short, or all its bytes are equal, unless `any_key`.
    """
    if any_key:
        return key.ljust(size, b"\0") if key else key
    if len(key) < size:
        raise BadValue(
            f"the key for {name} has {len(key)} bytes, and it must have {size} bytes",
            hint="key files hold raw bytes, not text; --force fills up a short key with zeros",
        )
    if key.count(key[:1]) == len(key):
        raise BadValue(
            f"all {len(key)} bytes of the key for {name} are equal, as in a file that was never written",
            hint="make the key file anew, or --force burns it as it is",
        )
    return key


def _stage_key_bytes(image: EfuseImage, staged: StagedBurns, f: Field, bits: int) -> None:
    """Ask for a whole key. Unlike a value it is never grown out of what is there: that is another key."""
    have = image.field_bits(f)
    if have and have != bits and not staged.force:
        raise EfuseError(
            f"{f.name} has bits burned that are not this key: it holds other content, and nothing is locked "
            "over that",
            hint=hints.ANOTHER_UNIT,
        )
    _stage(image, staged, f, bits, kept=True)


def key_field(image: EfuseImage, block: Block, purpose: KeyPurpose | None) -> Field:
    """Return the field that a key for this purpose goes into: the whole block, or a part of it.

    Raises:
        UnknownName: the chip has no such field.
    """
    return image.field_named(block.name if purpose is None or not purpose.target else purpose.target)


def _real_purpose(image: EfuseImage, name: str | None) -> KeyPurpose | None:
    if name is None:
        return None
    purpose = image.chip.purpose_by_name.get(name)
    if purpose is None:
        known = ", ".join(image.chip.purpose_by_name)
        raise UnknownName(f"{image.chip.title} has no key purpose {name!r}", hint=f"it has {known}")
    if purpose.split_into:
        raise BadValue(
            f"{name} stands for two key blocks ({' and '.join(purpose.split_into)})",
            hint="give each block its half, or let burn_key split the key",
        )
    return purpose


def _stage_purpose(image: EfuseImage, staged: StagedBurns, f: Field, purpose: KeyPurpose) -> None:
    # USER is what a blank chip has; it can be wanted, but not be burned.
    code = purpose.code if purpose.code == 0 else purpose_code(image.chip, f, purpose.name)
    if image.value_bits(f) != code and not image.is_writeable(f):
        raise EfuseError(
            f"{f.name} is {get(image, f)} and write-protected: it cannot become {purpose.name}",
            hint="take another key block",
        )
    _stage(image, staged, f, code, kept=True)
    if image.is_writeable(f):
        stage_write_bit(image, staged, f)


def stage_read_bits(image: EfuseImage, staged: StagedBurns, what: Field | Block) -> bool:
    """Ask for the RD_DIS bits of a field or block, whatever it holds. False: they are there already.

    Raises:
        EfuseError: it cannot be read-protected, or RD_DIS is write-protected.
    """
    if not what.rd_dis:
        raise EfuseError(f"{what.name} cannot be read-protected: it has no bit in {RD_DIS}")
    return _protect(image, staged, layout_of(image.chip).rd_dis, what, what.rd_dis)


def stage_write_bit(image: EfuseImage, staged: StagedBurns, what: Field | Block) -> bool:
    """Ask for the WR_DIS bit of a field or block. False: it is there already.

    Raises:
        EfuseError: it cannot be write-protected, or WR_DIS is write-protected itself.
    """
    if what.wr_dis is None:
        raise EfuseError(f"{what.name} cannot be write-protected: it has no bit in {WR_DIS}")
    return _protect(image, staged, layout_of(image.chip).wr_dis, what, (what.wr_dis,))


def _protect(
    image: EfuseImage, staged: StagedBurns, lock: Field, what: Field | Block, bits: tuple[int, ...]
) -> bool:
    if not image.is_writeable(lock):
        raise EfuseError(
            f"{what.name} cannot be protected any more: {lock.name} itself is write-protected",
            hint=hints.LOCK_IS_LOCKED,
        )
    return _stage(image, staged, lock, sum(1 << bit for bit in bits))


def stage_recovery(image: EfuseImage, staged: StagedBurns) -> bool:
    """Ask to burn again what blocks with coding errors show, which repairs bits that burned badly.

    Returns:
        False when no block with errors can be repaired: none has any, or those show nothing or are
        write-protected.
    """
    bad = {index for index, status in image.status.items() if status.errors or status.fail}
    if image.block0_errors:
        bad.add(0)
    blocks = layout_of(image.chip).blocks
    mendable = {index for index in bad if image.block(index) and image.is_writeable(blocks[index])}
    staged.recovering |= mendable
    return bool(mendable)


def stage_write_protection(image: EfuseImage, staged: StagedBurns, what: Field | Block) -> bool:
    """Ask to write-protect a field or block. False: it is so, or is asked for, already.

    Raises:
        EfuseError: see `stage_write_bit`.
    """
    return image.is_writeable(what) and stage_write_bit(image, staged, what)


def stage_read_protection(
    image: EfuseImage, staged: StagedBurns, what: Field | Block, *, check_use: bool = True
) -> bool:
    """Ask to read-protect a field or block. False: it is so, or is asked for, already.

    Args:
        check_use: False, as `field.disable_read()` of a script has it: hide also a key that software reads.

    Raises:
        EfuseError: the key in it must stay readable to software; and see `stage_read_bits`.
    """
    if not image.is_readable(what):
        return False
    reason = must_stay_readable(image, staged, what) if check_use else None
    if reason is not None:
        raise EfuseError(reason, hint=hints.READABLE_ONLY)
    return stage_read_bits(image, staged, what)


def next_key_block(
    image: EfuseImage, staged: StagedBurns, after: Block, taken: frozenset[str] = frozenset()
) -> Block | None:
    """Return the next free key block behind `after`, going on from the first; None when there is none.

    Free: empty, readable, writeable, purpose 0 and still to be changed, nothing staged in block or purpose.

    Args:
        taken: names of blocks that the same command burns: they are not free either.

    Raises:
        BlockNotRead: a key block is not in the image.
    """
    blocks = [block for block in image.chip.blocks if block.key_purpose is not None]
    at = next((n for n, block in enumerate(blocks) if block.index == after.index), 0)
    for block in (*blocks[at + 1 :], *blocks[:at]):
        f = image.field_named(block.key_purpose or "")
        used = image.block(block.index) or staged.block(block.index)
        used = used or image.value_bits(f) or staged.value(image.chip, f)
        open_ = image.is_readable(block) and image.is_writeable(block) and image.is_writeable(f)
        if open_ and not used and block.name not in taken:
            return block
    return None
