"""The commands that burn fields, bits, blocks and protections. Keys have a module of their own.

Each works on a Draft and stages nothing when it raises. None of them prints the bytes that it burns, but for
fields that are no keys.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from parburn.chips.model import Block, Codec, Field, FieldKind
from parburn.efuse import hints, rules, staging, values
from parburn.efuse.key_blocks import is_key, may_hold_key
from parburn.efuse.user_values import Kind
from parburn.errors import BadValue, EfuseError, UnknownName
from parburn.script.key_forms import PIECE
from parburn.script.session import Draft

MOST_BITS = 256  # of a block
Pairs = Sequence[tuple[str, str | int | bytes | bool | None]]


def burn_efuse(draft: Draft, pairs: Pairs, *, force: bool = False) -> None:
    """Burn fields, each by name and value.

    Args:
        draft: The command at work.
        pairs: Name and value; None for the bare form, which burns a bool or the next bit of a count.
        force: Burn what breaks a rule of the chip (see `rules.broken_rule`).

    Raises:
        UnknownName: no such field, or one that this chip does not list.
        BadValue: a name comes twice with two values, or a value does not fit.
        EfuseError: the hardware or a rule of the chip forbids it.
        UnitRefused: the chip carries another unit's value there; it ends the script.
    """
    draft.session.keys.give_words(_may_be_keys(draft, pairs))
    found = [(_field_to_burn(draft, name), value) for name, value in pairs]
    if force:
        draft.staged.ignored_rules = True
    asked: dict[str, int] = {}
    for one, value in found:
        bits = values.parse(draft.image, draft.staged, one, value)
        if one.name not in asked:
            stage_value(draft, one, bits)
        elif value is None or asked[one.name] != bits:  # None, the next bit: twice may be meant as two
            raise BadValue(f"{one.name} is named twice, with different values")
        asked[one.name] = bits
    reason = rules.broken_rule(draft.image, draft.staged)
    if reason is not None and not (draft.staged.ignored_rules or draft.staged.force):
        raise EfuseError(reason, hint=hints.RULE)


def _may_be_keys(draft: Draft, pairs: Pairs) -> Iterator[object]:
    """Yield the names and values that may be keys: all but the values of fields that hold none."""
    for name, value in pairs:
        yield name
        fields = draft.chip.field_by_name.get(name, ())
        if (
            not fields
            or fields[0].kind is not FieldKind.BYTES
            or is_key(draft.image, fields[0], draft.staged)
        ):
            yield value


def _field_to_burn(draft: Draft, name: str) -> Field:
    """Return the field of that name, if this chip lists it.

    Another one can be looked at, but on this chip its bits mean nothing or something else. CUSTOM_MAC is
    taken: what makes it count (its CRC and version) is staged with it.

    Raises:
        UnknownName: no such field, or one that this chip does not list.
    """
    one = draft.image.field_named(name)
    if draft.image.is_shown(one) or one.codec is Codec.CUSTOM_MAC:
        return one
    raise UnknownName(
        f"this {draft.chip.title} does not list {one.name}, and it cannot be burned by its name: the field "
        f"counts only where the chip's other eFuses say so ({one.shown_when})",
        hint="`summary` lists the fields of this chip",
    )


def stage_value(draft: Draft, one: Field, bits: int) -> None:
    """Stage a field's new value and say so.

    Args:
        draft: The command at work.
        one: The field.
        bits: Its value as bits, lowest bit first.
    """
    secret = is_key(draft.image, one, draft.staged)
    if secret:
        draft.session.keys.give(bits.to_bytes((one.bits + 7) // 8, "little"))
    draft.wrote_field(one, bits)
    before = values.get(draft.image, one)
    if not staging.stage_field(draft.image, draft.staged, one, bits):
        draft.show(f"{one.name}: nothing to do, this is burned or staged already")
    elif secret:
        draft.show(f"{one.name}: new bytes are staged")
    elif one.bits < 8 * PIECE:
        draft.show(f"{one.name}: {before} -> {values.get(draft.image, one, bits)}")
    else:
        draft.say(f"{one.name}: {before} -> {values.get(draft.image, one, bits)}")


def burn_bit(draft: Draft, block: str, bits: Sequence[int], *, force: bool | None = None) -> None:
    """Burn single bits of a block.

    Args:
        draft: The command at work.
        block: Name or alias.
        bits: Bit numbers, 0 for the lowest bit of word 0.
        force: `--force-write-always`: skip the checks of what the block holds, which may spoil it. None: the
            command has no such option.

    Raises:
        EfuseError: no such block or bit, or the hardware forbids it.
    """
    where = _data_block(draft, block)
    if not bits:
        raise BadValue("burn_bit needs at least one bit number")
    secret = may_hold_key(draft.chip, where)
    if secret:
        draft.session.keys.give(tuple(bits), tuple(sorted(bits)), _bytes_of_bits(bits))
    staging.stage_bits(draft.image, draft.staged, where, bits, force=force)
    if where.index:
        draft.wrote(Kind.BITS, where.name, where.index, min(bits), max(bits) + 1 - min(bits))
    which = f"{len(set(bits))} bits" if secret else f"bits {', '.join(map(str, bits))}"
    draft.show(f"{where.name}: {which} are staged")


def _bytes_of_bits(bits: Sequence[int]) -> bytes:
    number = sum(1 << bit for bit in {*bits} if 0 <= bit < MOST_BITS)
    return number.to_bytes(MOST_BITS // 8, "little")


def burn_block_data(
    draft: Draft, parts: Sequence[tuple[str, bytes]], *, offset: int = 0, force: bool | None = None
) -> None:
    """Burn bytes into blocks.

    Args:
        draft: The command at work.
        parts: Block name and its bytes, byte of the lowest bits first. Each fills its block.
        offset: First byte, for a single block that the bytes need not fill.
        force: As in `burn_bit`.

    Raises:
        EfuseError: no such block, one that comes twice, bytes that do not fit, or the hardware forbids it.
    """
    if not parts:
        raise BadValue("burn_block_data needs a block and a file")
    for name, data in parts:
        named = draft.chip.block_by_name.get(name)
        if named is None or may_hold_key(draft.chip, named):
            draft.session.keys.give_content(data)
    blocks = [_data_block(draft, name) for name, _ in parts]
    refuse_twice(block.name for block in blocks)
    if offset and len(parts) > 1:
        raise BadValue("--offset can be used with a single block only")
    for block, (_, data) in zip(blocks, parts, strict=True):
        stage_data(draft, block, data, offset=offset, force=force)
        at = f" at byte {offset}" if offset else ""
        shown = f": {data.hex(' ')}" if draft.session.options.show_sensitive_info else ""
        draft.show(f"{block.name}: {len(data)} bytes are staged{at}{shown}")


def stage_data(
    draft: Draft, block: Block, data: bytes, *, offset: int = 0, force: bool | None = None
) -> None:
    """Stage a block's bytes from byte `offset` on, byte of the lowest bits first."""
    if may_hold_key(draft.chip, block):
        draft.session.keys.give(data)
    staging.stage_block_data(draft.image, draft.staged, block, data, offset=offset, force=force)
    if block.index:
        draft.wrote(Kind.DATA, block.name, block.index, 8 * offset, 8 * len(data))


def _data_block(draft: Draft, name: str) -> Block:
    """Return a block for plain data. Names of uses are for keys alone, which may have to be reversed."""
    block = draft.block(name)
    if name in draft.chip.purpose_by_name:
        raise BadValue(
            f"{name} is a use of {block.name} for burn_key", hint=f"say {block.name} for plain data"
        )
    return block


def burn_custom_mac(draft: Draft, mac: str | bytes, *, force: bool | None = None) -> None:
    """Burn a custom MAC address and what the chip keeps beside it, such as its CRC and version.

    Args:
        draft: The command at work.
        mac: Six bytes, or text as aa:bb:cc:dd:ee:ff.
        force: As in `burn_bit`.

    Raises:
        BadValue: it is no unicast MAC address.
        EfuseError: the hardware forbids it.
        UnitRefused: the chip carries another custom MAC; it ends the script.
    """
    address = values.custom_mac_bytes(draft.chip, mac)
    staging.set_force(draft.staged, force)
    draft.wrote_field(draft.image.field_named("CUSTOM_MAC"), int.from_bytes(address, "little"))
    staging.stage_custom_mac(draft.image, draft.staged, address, force=force)
    draft.show(f"CUSTOM_MAC: {address.hex(':')}")


def read_protect_efuse(draft: Draft, names: Sequence[str]) -> None:
    """Read-protect fields and key blocks for ever (RD_DIS).

    Raises:
        EfuseError: no such name, one that comes twice, or one that cannot be protected.
    """
    for what in _protectable(draft, names, "read"):
        if staging.stage_read_protection(draft.image, draft.staged, what):
            _say_shared(draft, what, "read", lambda one: one.rd_dis)
        else:
            draft.show(f"{what.name} is read-protected already")


def write_protect_efuse(draft: Draft, names: Sequence[str]) -> None:
    """Write-protect fields and blocks for ever (WR_DIS).

    Raises:
        EfuseError: no such name, one that comes twice, or one that cannot be protected.
    """
    for what in _protectable(draft, names, "write"):
        if staging.stage_write_protection(draft.image, draft.staged, what):
            _say_shared(draft, what, "write", lambda one: one.wr_dis)
        else:
            draft.show(f"{what.name} is write-protected already")


def _protectable(draft: Draft, names: Sequence[str], kind: str) -> list[Field | Block]:
    if not names:
        raise BadValue(f"{kind}_protect_efuse needs the name of a field")
    found = [field_or_block(draft, name) for name in names]
    refuse_twice(what.name for what in found)
    for what in found:
        if (what.wr_dis is None) if kind == "write" else not what.rd_dis:
            raise EfuseError(f"{what.name} cannot be {kind}-protected")
    return found


def field_or_block(draft: Draft, name: str) -> Field | Block:
    """Return what a name means: a field that this chip lists, else a block.

    Raises:
        UnknownName: it is neither.
    """
    try:
        return _field_to_burn(draft, name)
    except UnknownName:
        block = draft.chip.block_by_name.get(name)
        if block is None:
            raise
        return block


def _say_shared(draft: Draft, what: Field | Block, kind: str, bit: Callable[[Field], object]) -> None:
    """Name every field that the same protection bit covers: they are protected together."""
    own = what.rd_dis if kind == "read" else what.wr_dis
    together = [one.name for one in draft.image.fields() if one.start is not None and bit(one) == own]
    draft.show(f"{kind} protection is staged for {', '.join(together or [what.name])}")


def refuse_twice(names: Iterable[str]) -> None:
    """Raise BadValue when a name comes twice (aliases resolved)."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise BadValue(f"{name} is named twice")
        seen.add(name)


# The three fields of the flash regulator, by the rule set of the chip row: force, regulator on, 3.3 V.
_FLASH_VOLTAGE = {
    "vdd_spi": ("VDD_SPI_FORCE", "VDD_SPI_XPD", "VDD_SPI_TIEH"),
    "vdd_sdio": ("XPD_SDIO_FORCE", "XPD_SDIO_REG", "XPD_SDIO_TIEH"),
}
VOLTAGES = ("1.8V", "3.3V", "OFF")


def set_flash_voltage(draft: Draft, voltage: str) -> None:
    """Fix the voltage of the flash regulator: 1.8V, 3.3V or OFF (VDD_SDIO or VDD_SPI fields).

    Raises:
        EfuseError: another voltage, a chip without these fields, or one where a burned bit is in the way.
    """
    if voltage not in VOLTAGES:
        raise BadValue(f"the flash voltage is one of {', '.join(VOLTAGES)}, not {voltage!r}")
    names = _FLASH_VOLTAGE.get(draft.chip.flash_voltage)
    if names is None:
        raise EfuseError(f"{draft.chip.title} has no eFuses for the flash voltage")
    forced, on, high = (draft.image.field_named(name) for name in names)
    unwanted = {"OFF": on, "1.8V": high}.get(voltage)
    if unwanted is not None and draft.image.field_bits(unwanted):
        raise EfuseError(f"the regulator cannot be set to {voltage}: {unwanted.name} is burned")
    if unwanted is not None and draft.staged.field(unwanted):
        raise EfuseError(
            f"the regulator cannot be set to {voltage}: a command before asks for {unwanted.name}",
            hint=hints.CONTRADICTION,
        )
    wanted = {"OFF": (forced,), "1.8V": (forced, on), "3.3V": (forced, on, high)}[voltage]
    for one in wanted:
        staging.stage_field(draft.image, draft.staged, one, 1)
    if unwanted is not None:  # a command that follows must not make it another voltage either
        mask = ((1 << unwanted.bits) - 1) << (unwanted.start or 0)
        draft.staged.want(staging.Wanted(f"flash voltage {voltage}", unwanted.block, mask, 0))
    draft.say(f"flash voltage {voltage}: {', '.join(one.name for one in wanted)}")
    if voltage != "3.3V":
        draft.say(f"burning {high.name} later can still raise it to 3.3V")


def flash_voltage_words(draft: Draft) -> str:
    """Return what the regulator's fields say now; empty where the chip has none."""
    names = _FLASH_VOLTAGE.get(draft.chip.flash_voltage)
    if names is None:
        return ""
    forced, on, high = (draft.image.field_bits(draft.image.field_named(name)) for name in names)
    if not forced:
        return "Flash voltage: chosen by the strapping pin at reset"
    if not on:
        return "Flash voltage: the internal regulator is off"
    return f"Flash voltage: {'3.3 V' if high else '1.8 V'} by eFuse"
