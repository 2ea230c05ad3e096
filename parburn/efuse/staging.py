"""What a command may ask for, field by field and block by block. A refusal leaves what is staged alone.

What a single field accepts is decided here, when it is asked for; what whole blocks accept is decided by
`parburn.efuse.plan`. Every function that takes `force` (`--force-write-always`) sets it for all that is
staged; None is a command without that option.
"""

from __future__ import annotations

from collections.abc import Sequence

from parburn.chips.model import Block, Field, KeyPurpose
from parburn.efuse.image import EfuseImage
from parburn.efuse.layout import RD_DIS, WR_DIS, layout_of
from parburn.efuse.rules import must_stay_readable
from parburn.efuse.staged import StagedBurns as StagedBurns
from parburn.efuse.values import CUSTOM_MAC, crc8, crc_field_of, get, is_fixed, purpose_code
from parburn.errors import BadValue, EfuseError, UnknownName

DIGEST_BYTES = 32  # SHA-256
FORCE_HINT = "--force-write-always skips this check, and may spoil the block"


def set_force(staged: StagedBurns, force: bool | None) -> None:
    """Take over a command's `--force-write-always`; None: the command has no such option."""
    if force is not None:
        staged.force = force


def stage_field(
    image: EfuseImage, staged: StagedBurns, f: Field, bits: int, *, force: bool | None = None
) -> bool:
    """Ask for a value of a field. False: it is there or asked for already, and nothing was added.

    Raises EfuseError for a field that cannot be burned, is protected, or has set bits that `bits` clears.
    """
    if is_fixed(f):
        raise EfuseError(f"{f.name} cannot be burned: it is written in the factory or computed from others")
    with staged.all_or_nothing():
        set_force(staged, force)
        if f.codec == CUSTOM_MAC:
            return _stage_mac(image, staged, f, bits.to_bytes(6, "little"))
        return _stage_parts(image, staged, f, bits) if f.sources else _stage(image, staged, f, bits)


def _stage(image: EfuseImage, staged: StagedBurns, f: Field, bits: int) -> bool:
    have = image.field_bits(f)
    waiting = staged.field(f)
    if not _is_new(f, bits, have, waiting):
        return False
    if not staged.force:
        _refuse_clearing(f, bits, have, waiting)
        if not image.is_readable(f):
            raise EfuseError(
                f"{f.name} is read-protected: what is in it cannot be known, and a burn could spoil it",
                hint=FORCE_HINT,
            )
        if not image.is_writeable(f):
            raise EfuseError(f"{f.name} is write-protected: its bits cannot be burned any more")
    staged.add(f.block, bits << (f.start or 0))
    return bool(bits & ~waiting)


def _is_new(f: Field, bits: int, have: int, waiting: int) -> bool:
    if bits >> f.width:
        raise BadValue(f"the value does not fit {f.name}, which has {f.width} bits")
    return bits & ~have != 0 and bits not in (waiting, have | waiting)


def _refuse_clearing(f: Field, bits: int, have: int, waiting: int) -> None:
    # WR_DIS and RD_DIS collect single bits from many commands; all other fields are values of their own.
    if f.name not in (WR_DIS, RD_DIS) and (have | waiting) & ~bits:
        where = "burned" if have & ~bits else "staged"
        raise EfuseError(
            f"{f.name} has bits {where} that the new value would clear, and a burned bit stays",
            hint=FORCE_HINT,
        )


def _stage_parts(image: EfuseImage, staged: StagedBurns, f: Field, bits: int) -> bool:
    """Ask for a value that stands in several places: each takes its bits, the field's own the lowest."""
    have = image.value_bits(f)
    waiting = staged.value(image.chip, f)
    if not _is_new(f, bits, have, waiting):
        return False
    if not staged.force:
        _refuse_clearing(f, bits, have, waiting)  # each part alone could let a mixture of two values pass
    added = f.start is not None and _stage(image, staged, f, bits & ((1 << f.bits) - 1))
    for source in f.sources:
        part = image.chip.field_by_name[source.field or ""][0]
        share = (bits >> source.shift & ((1 << source.bits) - 1)) << source.bit
        added |= _stage(image, staged, part, share)
    return added


def _stage_mac(image: EfuseImage, staged: StagedBurns, f: Field, mac: bytes) -> bool:
    """Ask for a custom MAC; ESP32 keeps a version (1) and a CRC beside it."""
    added = False
    crc_field = crc_field_of(image.chip, f)
    if crc_field is not None:
        version = image.field_named("MAC_VERSION")
        number = image.field_bits(version)
        if number == 0:
            added |= _stage(image, staged, version, 1)
        elif number != 1 and not staged.force:
            raise EfuseError(
                f"MAC_VERSION is {number}: BLOCK{f.block} does not hold a custom MAC of version 1",
                hint=FORCE_HINT,
            )
    wanted = [(f, int.from_bytes(mac, "little"))]
    if crc_field is not None:
        wanted.append((crc_field, crc8(mac)))
    for one, bits in wanted:
        added |= _stage(image, staged, one, bits)
        # Bits that are set already count as burned elsewhere, but an address with more bits is another one.
        if image.field_bits(one) | staged.field(one) != bits and not staged.force:
            address = mac.hex(":")
            raise EfuseError(
                f"{one.name} has bits burned that do not belong to {address}: it would show another value",
                hint=FORCE_HINT,
            )
    return added


def stage_custom_mac(
    image: EfuseImage, staged: StagedBurns, mac: bytes, *, force: bool | None = None
) -> None:
    """Ask for a custom MAC (six bytes, first shown first) and all that the chip keeps beside it."""
    with staged.all_or_nothing():
        set_force(staged, force)
        _stage_mac(image, staged, image.field_named("CUSTOM_MAC"), mac)
        for used in image.chip.field_by_name.get("CUSTOM_MAC_USED", ()):
            _stage(image, staged, used, 1)


def stage_block_data(
    image: EfuseImage,
    staged: StagedBurns,
    block: Block,
    data: bytes,
    *,
    offset: int = 0,
    force: bool | None = None,
) -> None:
    """Ask for a block's bytes, from byte `offset` on; without an offset they must fill the block."""
    size = image.block_bits(block.index) // 8
    if not 0 <= offset < size:
        raise BadValue(f"offset {offset} is not in {block.name}, which has {size} bytes")
    if len(data) + offset > size or (offset == 0 and len(data) != size):
        at = f" at offset {offset}" if offset else ""
        raise BadValue(f"{len(data)} bytes{at} do not fit {block.name}, which has {size} bytes")
    set_force(staged, force)
    staged.add(block.index, int.from_bytes(data, "little") << (8 * offset))


def stage_bits(
    image: EfuseImage, staged: StagedBurns, block: Block, bits: Sequence[int], *, force: bool | None = None
) -> None:
    """Ask for single bits of a block, by number."""
    size = image.block_bits(block.index)
    mask = 0
    for bit in bits:
        if not 0 <= bit < size:
            raise BadValue(f"bit {bit} is not in {block.name}, which has bits 0 to {size - 1}")
        mask |= 1 << bit
    set_force(staged, force)
    staged.add(block.index, mask)


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
) -> None:
    """Ask for a key in a block, with its purpose and its protections.

    `key` is in the order of the key file; purposes that the hardware reads backwards are turned round here,
    and of a digest for a part of a block the first bytes are taken. `read_protect` takes effect only for
    purposes whose key software must not see. The purpose field, once it holds the purpose, is write-protected
    always.
    """
    use = _real_purpose(image, purpose)
    f = key_field(image, block, use)
    if use is not None and block.name in use.not_in_blocks:
        raise BadValue(f"{block.name} cannot hold a key for {use.name}", hint="take another key block")
    if use is not None and use.target and use.digest and len(key) == DIGEST_BYTES:
        key = key[: f.bits // 8]
    if len(key) * 8 != f.bits:
        raise BadValue(
            f"the key for {f.name} has {len(key)} bytes, and it must have {f.bits // 8} bytes",
            hint="key files hold raw bytes, not text",
        )
    data = key[::-1] if use is not None and use.reversed else key
    with staged.all_or_nothing():
        set_force(staged, force)
        _stage(image, staged, f, int.from_bytes(data, "little"))
        if use is not None and block.key_purpose is not None:
            _stage_purpose(image, staged, image.field_named(block.key_purpose), use)
        for name in () if use is None else use.sets:
            _stage(image, staged, image.field_named(name), 1)
        if read_protect and (use is None or use.read_protect):
            stage_read_bits(image, staged, f)
        if write_protect:
            stage_write_bit(image, staged, f)


def key_field(image: EfuseImage, block: Block, purpose: KeyPurpose | None) -> Field:
    """Return the field that a key for this purpose goes into: the whole block, or a part of it."""
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
    if get(image, f) != purpose.name:
        if not image.is_writeable(f):
            raise EfuseError(
                f"{f.name} is {get(image, f)} and write-protected: it cannot become {purpose.name}",
                hint="take another key block",
            )
        stage_field(image, staged, f, purpose_code(image.chip, f, purpose.name))
    if image.is_writeable(f):
        stage_write_bit(image, staged, f)


def stage_read_bits(image: EfuseImage, staged: StagedBurns, what: Field | Block) -> bool:
    """Ask for the RD_DIS bits of a field or block, whatever it holds."""
    if not what.rd_dis:
        raise EfuseError(f"{what.name} cannot be read-protected: it has no bit in {RD_DIS}")
    return _protect(image, staged, layout_of(image.chip).rd_dis, what, what.rd_dis)


def stage_write_bit(image: EfuseImage, staged: StagedBurns, what: Field | Block) -> bool:
    """Ask for the WR_DIS bit of a field or block."""
    if what.wr_dis is None:
        raise EfuseError(f"{what.name} cannot be write-protected: it has no bit in {WR_DIS}")
    return _protect(image, staged, layout_of(image.chip).wr_dis, what, (what.wr_dis,))


def _protect(
    image: EfuseImage, staged: StagedBurns, lock: Field, what: Field | Block, bits: tuple[int, ...]
) -> bool:
    if not image.is_writeable(lock):
        raise EfuseError(f"{what.name} cannot be protected any more: {lock.name} itself is write-protected")
    return _stage(image, staged, lock, sum(1 << bit for bit in bits))


def stage_recovery(image: EfuseImage, staged: StagedBurns) -> bool:
    """Ask to burn again what blocks with coding errors show, which mends bits that burned badly.

    False: no block with errors can be mended (none has any, or those show nothing or are write-protected).
    """
    bad = {index for index, status in image.status.items() if status.errors or status.fail}
    if image.block0_errors:
        bad.add(0)
    blocks = layout_of(image.chip).blocks
    mendable = {index for index in bad if image.block(index) and image.is_writeable(blocks[index])}
    staged.recovering |= mendable
    return bool(mendable)


def stage_write_protection(image: EfuseImage, staged: StagedBurns, what: Field | Block) -> bool:
    """Ask to write-protect a field or block. False: it is so already."""
    return image.is_writeable(what) and stage_write_bit(image, staged, what)


def stage_read_protection(
    image: EfuseImage, staged: StagedBurns, what: Field | Block, *, check_use: bool = True
) -> bool:
    """Ask to read-protect a field or block. False: it is so already.

    Raises EfuseError when the key in it must stay readable to software; `check_use=False`, as
    `field.disable_read()` of a script does it, leaves that out.
    """
    if not image.is_readable(what):
        return False
    reason = must_stay_readable(image, what) if check_use else None
    if reason is not None:
        raise EfuseError(reason)
    return stage_read_bits(image, staged, what)


def next_key_block(
    image: EfuseImage, staged: StagedBurns, after: Block, taken: frozenset[str] = frozenset()
) -> Block | None:
    """Return the next free key block behind `after`, round the end; None when there is none.

    Free: empty, readable, writeable, purpose 0 and still to be changed, nothing staged in block or purpose,
    and not in `taken` (names of blocks that the same command burns).
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
