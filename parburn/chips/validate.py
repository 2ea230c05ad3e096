"""Checks that a chip row is sound. Pure: looks at the row and raises, repairs nothing.

Each check is a small function whose name says what must hold; it yields a sentence for every breach.
`validate` runs them all. The tests run it over every chip and every overlay, and `extend_chip` over a chip
with a custom table: a slip in the data would burn wrong bits.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from itertools import combinations

from parburn.chips.model import Block, Chip, Codec, Condition, ControllerKind, Field, FieldKind
from parburn.coding.scheme import CodingScheme
from parburn.errors import ChipDataError

CATEGORIES = frozenset(
    (
        "config",
        "flash",
        "identity",
        "jtag",
        "security",
        "spi pad",
        "vdd",
        "usb",
        "wdt",
        "calibration",
        "MAC",
        "User",
    )
)
ADC_POINTS = frozenset(("ADC1_TP_LOW", "ADC1_TP_HIGH", "ADC2_TP_LOW", "ADC2_TP_HIGH"))
REGISTERS = {
    ControllerKind.CLASSIC: frozenset(("CONF", "CMD", "DATE", "DEC_STATUS")),
    ControllerKind.PGM: frozenset(("CONF", "CMD", "DATE", "PGM_DATA0", "CHECK_VALUE0", "STATUS")),
}
# What a row says that the chip's blocks are coded with; a field of the classic chip may tell another scheme.
CODING = {ControllerKind.CLASSIC: CodingScheme.NONE, ControllerKind.PGM: CodingScheme.RS}
MACS = frozenset((Codec.MAC, Codec.CUSTOM_MAC, Codec.MAC_EUI64))

Breaches = Iterator[str]


def validate(chip: Chip) -> None:
    """Run all checks over a chip.

    Raises:
        ChipDataError: it has every breach, each with the name of its check.
    """
    breaches = [f"{check.__name__}: {text}" for check in CHECKS for text in check(chip)]
    if breaches:
        raise ChipDataError(f"the data of {chip.title} break a rule. " + "; ".join(breaches), where=chip.name)


def _exists(chip: Chip, *names: str | None) -> Breaches:
    for name in names:
        if name is not None and name not in chip.field_by_name:
            yield f"there is no field {name}"


def _field_bits(chip: Chip, name: str) -> int:
    return chip.field_by_name[name][0].bits


def _width(chip: Chip, name: str) -> int:
    """Return the bits of a field's whole value; 0 without such a field."""
    return next((one.width for one in chip.field_by_name.get(name, ())), 0)


def _exclude_each_other(chip: Chip, one: Field, other: Field) -> bool:
    """Tell whether the two fields can never exist at the same time."""
    first, second = chip.conditions.get(one.shown_when), chip.conditions.get(other.shown_when)
    if first is None or second is None or one.on_request or other.on_request:
        return False
    return first.field == second.field and not set(first.values) & set(second.values)


def controller_has_its_registers(chip: Chip) -> Breaches:
    """Check that the row names each register that a burn on its kind of controller uses."""
    if missing := REGISTERS[chip.controller] - chip.registers.keys():
        yield f"registers {', '.join(sorted(missing))} are missing"


def coding_fits_the_controller(chip: Chip) -> Breaches:
    """Check that the blocks are coded as the controller decodes them.

    PGM controllers decode RS. The classic one reads its coding scheme from a field, which the row must name.
    """
    wanted = CODING[chip.controller]
    if chip.coding is not wanted:
        yield f"a {chip.controller} controller codes with {wanted.value}, not {chip.coding.value}"
    if (chip.coding_field is None) != (wanted is CodingScheme.RS):
        yield "a field tells the coding scheme exactly where it is not rs"
    yield from _exists(chip, chip.coding_field)


def blocks_are_numbered(chip: Chip) -> Breaches:
    """Check that a block's index is its place in the row: program commands and masks use it."""
    if [block.index for block in chip.blocks] != list(range(len(chip.blocks))):
        yield "the indexes are not 0, 1, 2 ..."


def block_names_are_unique(chip: Chip) -> Breaches:
    """Check that no two blocks share a name or alias."""
    names = Counter(name for block in chip.blocks for name in block.names)
    yield from (f"{name} is used twice" for name, count in names.items() if count > 1)


def read_registers_of_blocks_are_apart(chip: Chip) -> Breaches:
    """Check that no block's read registers reach into the next block's."""
    for one, other in combinations(sorted(chip.blocks, key=lambda block: block.read_address), 2):
        if one.read_address + 4 * one.words > other.read_address:
            yield f"{one.name} reaches into {other.name}"


def registers_are_addresses(chip: Chip) -> Breaches:
    """Check that all addresses are those of 32-bit words: not 0, and multiples of 4."""
    ends = [one.read_address + 4 * (one.words - 1) for one in chip.blocks]
    used = (*chip.registers.values(), *ends, *(one.write_address for one in chip.blocks))
    errors = [one.errors.address for one in chip.blocks if one.errors]
    for address in (*used, *chip.error_registers, *chip.extra_registers, *errors):
        if not 0 < address <= 0xFFFFFFFF or address % 4:
            yield f"{address:#x} is not the address of a register"


def protection_bits_exist(chip: Chip) -> Breaches:
    """Check that WR_DIS and RD_DIS have the bits by which blocks and fields are protected."""
    limits = {name: _field_bits(chip, name) for name in ("WR_DIS", "RD_DIS") if name in chip.field_by_name}
    protected: tuple[Block | Field, ...] = (*chip.blocks, *chip.fields)
    for what in protected:
        if what.wr_dis is not None and not 0 <= what.wr_dis < limits.get("WR_DIS", 0):
            yield f"{what.name}: WR_DIS has no bit {what.wr_dis}"
        if any(not 0 <= bit < limits.get("RD_DIS", 0) for bit in what.rd_dis):
            yield f"{what.name}: RD_DIS does not have all of {what.rd_dis}"


def block_errors_are_read(chip: Chip) -> Breaches:
    """Check that each error report stands in a register that is read back after a burn."""
    for block in chip.blocks:
        if block.errors is not None:
            for address in (block.errors.address, block.errors.fail_address):
                if address is not None and address not in chip.error_registers:
                    yield f"{block.name}: {address:#x} is not among the error registers"
    if not set(chip.block0_errors) <= set(chip.error_registers):
        yield "the registers of block 0 are not among the error registers"


def field_names_are_unique(chip: Chip) -> Breaches:
    """Check that a name means one field; fields that can never exist together may share it."""
    for name, fields in chip.field_by_name.items():
        for one, other in combinations(fields, 2):
            if not _exclude_each_other(chip, one, other):
                yield f"{name} is used twice"


def fields_fit_into_their_blocks(chip: Chip) -> Breaches:
    """Check that each field has bits, and has all of them in a block of the chip."""
    for one in chip.fields:
        if not 0 <= one.block < len(chip.blocks):
            yield f"{one.name}: there is no block {one.block}"
        elif one.bits < 1 or (one.start is not None and one.mask & ~chip.blocks[one.block].mask):
            yield f"{one.name} does not fit into block {one.block}"


def fields_are_apart_or_inside(chip: Chip) -> Breaches:
    """Check that fields do not share bits, unless one is inside the other.

    Fields of a custom table are left out: `chips.table.extend_chip` compares those with each other.
    """
    placed = [one for one in chip.fields if one.start is not None and not one.custom]
    for one, other in combinations(sorted(placed, key=lambda field: (field.block, field.start or 0)), 2):
        common = one.mask & other.mask if one.block == other.block else 0
        if common and common not in (one.mask, other.mask):
            yield f"{one.name} and {other.name} share some bits"


def categories_are_known(chip: Chip) -> Breaches:
    """Check that each field is in a category that `summary` knows."""
    for one in chip.fields:
        if one.category not in CATEGORIES:
            yield f"{one.name}: there is no category {one.category}"


def composed_fields_have_sources(chip: Chip) -> Breaches:
    """Check that each field has a place or sources, and that both together do not overlap."""
    for one in chip.fields:
        if one.start is None and not one.sources:
            yield f"{one.name} has neither a place nor sources"
        if one.start is not None and any(source.shift < one.bits for source in one.sources):
            yield f"{one.name}: a source stands where its own bits are"
        for source in one.sources:
            if source.address is None:
                yield from _exists(chip, source.field)
            elif source.address not in chip.extra_registers:
                yield f"{one.name}: {source.address:#x} is not among the extra registers"


def sources_are_parts_of_fields(chip: Chip) -> Breaches:
    """Check that each source has its bits in one register, or in a field with a place of its own.

    A field with a place of its own can have no bits of a register: it could not be burned whole.
    """
    for one in chip.fields:
        for source in one.sources:
            if source.field is None:
                if one.start is not None or source.bit + source.bits > 32:
                    yield f"{one.name} cannot have these bits of a register"
            elif any(
                field.start is None or source.bit + source.bits > field.bits
                for field in chip.field_by_name.get(source.field, ())
            ):
                yield f"{one.name}: {source.field} does not have these bits in a place of its own"


def codecs_fit_their_fields(chip: Chip) -> Breaches:
    """Check that each field has the type and size that its codec, or its use as an identity, needs."""
    for one in chip.fields:
        macs = one.codec in MACS
        if one.kind is FieldKind.BYTES and (one.bits % 8 or one.width > one.bits):
            yield f"{one.name} is not a number of whole bytes"
        if macs and (one.kind is not FieldKind.BYTES or one.bits > 64):
            yield f"{one.name}: {one.bits} bits cannot be an address"
        if one.codec is Codec.ADC_TP and one.name not in ADC_POINTS:
            yield f"{one.name} is not a calibration point of the ADC"
    for name, bits in ((chip.mac_field, 48), (chip.unique_id_field or "", 128)):
        for one in chip.field_by_name.get(name, ()):
            if one.start is None or one.bits != bits or one.sources:
                yield f"{one.name} must be {bits} bits in a place of their own"


def data_ram_is_a_range(chip: Chip) -> Breaches:
    """Refuse a RAM that is not a first and a last address: the simulator would answer elsewhere."""
    if chip.data_ram and (len(chip.data_ram) != 2 or chip.data_ram[0] > chip.data_ram[1]):
        yield "data_ram is the first and the last address of the RAM"


def conditions_are_about_fields(chip: Chip) -> Breaches:
    """Check that each condition is about fields, can hold, and exists where it is named."""
    for condition in chip.conditions.values():
        now: Condition | None = condition
        while now:
            yield from _exists(chip, now.field)
            if not now.values and now.at_least is None:
                yield f"a condition on {now.field} can never hold"
            now = now.or_else
    used = {one.shown_when for one in chip.fields if one.shown_when} | set(chip.packages_when)
    yield from (f"there is no condition {name}" for name in used - chip.conditions.keys())


def key_purposes_are_sound(chip: Chip) -> Breaches:
    """Check that purposes have names of their own, codes that fit the purpose fields, and real halves.

    Exactly the virtual purposes (code below 0) are split into others.
    """
    names = Counter(purpose.name for purpose in chip.key_purposes)
    yield from (f"{name} is used twice" for name, count in names.items() if count > 1)
    widths = [_width(chip, block.key_purpose) for block in chip.blocks if block.key_purpose]
    for purpose in chip.key_purposes:
        if (purpose.code < 0) != bool(purpose.split_into):
            yield f"{purpose.name}: exactly the virtual purposes are split"
        if any(purpose.code >> width for width in widths if purpose.code >= 0):
            yield f"{purpose.name}: code {purpose.code} does not fit into the purpose fields"
        yield from (f"{purpose.name}: no purpose {half}" for half in purpose.split_into if half not in names)
        for block in purpose.not_in_blocks:
            if block not in chip.block_by_name:
                yield f"{purpose.name}: there is no block {block}"


def key_purposes_name_fields(chip: Chip) -> Breaches:
    """Check that the fields a purpose names exist: its place in a key block, and single bits."""
    key_blocks = [block.index for block in chip.blocks if block.for_keys]
    for purpose in chip.key_purposes:
        yield from _exists(chip, purpose.target or None, *purpose.sets, *purpose.without)
        for one in chip.field_by_name.get(purpose.target, ()):
            if one.block not in key_blocks:
                yield f"{purpose.name}: {one.name} is not a part of a key block"
        for name in (*purpose.sets, *purpose.without):
            if any(one.bits != 1 for one in chip.field_by_name.get(name, ())):
                yield f"{purpose.name}: {name} is more than one bit"


def key_blocks_have_purpose_fields(chip: Chip) -> Breaches:
    """Check that the purpose field of each block exists."""
    for block in chip.blocks:
        yield from _exists(chip, block.key_purpose)


def burned_last_is_in_block0(chip: Chip) -> Breaches:
    """Check that what is burned last is in BLOCK0, and that WR_DIS and RD_DIS are among it."""
    yield from _exists(chip, *chip.burned_last)
    for name in chip.burned_last:
        if any(one.block != 0 or one.start is None for one in chip.field_by_name.get(name, ())):
            yield f"{name} is not in block 0"
    for name in ("WR_DIS", "RD_DIS"):
        if name not in chip.burned_last:
            yield f"{name} is missing"


def link_ends_are_burned_last(chip: Chip) -> Breaches:
    """Check that a field that ends the link is burned after all else has been verified."""
    for end in chip.link_ends:
        if end.field not in chip.burned_last:
            yield f"{end.field} is not burned last"


def every_crystal_has_timing(chip: Chip) -> Breaches:
    """Check that the row tells the crystal, and the programming times for each one that a chip may have.

    A burn with the times of another crystal may leave bits half burned.
    """
    crystal = chip.crystal
    if not (crystal.fixed_mhz or crystal.clkdiv_address or crystal.address):
        yield "nothing tells the crystal"
    if crystal.fixed_mhz is None and not (crystal.choices if crystal.clkdiv_address else crystal.by_value):
        yield "nothing says which crystals there are"
    if crystal.rom_rounds_from is not None and not (crystal.rom_clock and crystal.choices):
        yield "a ROM that counts nothing cannot round it"
    if (crystal.rom_rounds_from is None) != (crystal.rom_otherwise_mhz is None):
        yield "a ROM that rounds needs something to fall back on, and no other does"
    for mhz in (crystal.fixed_mhz, *crystal.choices, *crystal.by_value.values()):
        if mhz is not None and mhz not in chip.timing:
            yield f"there is no timing for {mhz} MHz"


def timing_writes_stay_in_the_controller(chip: Chip) -> Breaches:
    """Check that timing writes reach only registers of the eFuse controller, within their masks."""
    for write in (write for writes in chip.timing.values() for write in writes):
        if not 0 <= write.address - chip.efuse_base < 0x1000 or write.value & ~write.mask:
            yield f"{write} leaves the controller or its mask"


def named_fields_exist(chip: Chip) -> Breaches:
    """Check that all fields that the row names for identity, revision, package and features exist."""
    yield from _exists(chip, chip.mac_field, chip.unique_id_field, chip.package_field, chip.crystal.rom_clock)
    yield from _exists(chip, *(name or None for name in chip.revision_fields), *chip.revision_zero_when)
    for feature in (*chip.more_features, *chip.name_parts):
        yield from _exists(chip, feature.detail_field, *feature.fields)
    clock = chip.field_by_name.get(chip.crystal.rom_clock or "", ())
    if any(one.start is None or one.start % 32 + one.bits > 32 for one in clock):
        yield f"{chip.crystal.rom_clock} does not stand in one word"


def limits_of_the_line_are_sane(chip: Chip) -> Breaches:
    """Check that packets fit the ROM's receive ring, and that there is a register for harmless writes.

    A request packet is at least 18 bytes on the line; the ROM takes at most 511 entries of 16 bytes in one.
    """
    if not 18 <= chip.ring_bytes <= 0xFFFF or not 1 <= chip.entries_per_write <= 511:
        yield f"ring of {chip.ring_bytes} bytes, {chip.entries_per_write} entries a packet"
    if not chip.dummy_register:
        yield "there is no dummy register"


CHECKS: tuple[Callable[[Chip], Breaches], ...] = (
    controller_has_its_registers,
    coding_fits_the_controller,
    blocks_are_numbered,
    block_names_are_unique,
    read_registers_of_blocks_are_apart,
    registers_are_addresses,
    protection_bits_exist,
    block_errors_are_read,
    field_names_are_unique,
    fields_fit_into_their_blocks,
    fields_are_apart_or_inside,
    categories_are_known,
    composed_fields_have_sources,
    sources_are_parts_of_fields,
    codecs_fit_their_fields,
    data_ram_is_a_range,
    conditions_are_about_fields,
    key_purposes_are_sound,
    key_purposes_name_fields,
    key_blocks_have_purpose_fields,
    burned_last_is_in_block0,
    link_ends_are_burned_last,
    every_crystal_has_timing,
    timing_writes_stay_in_the_controller,
    named_fields_exist,
    limits_of_the_line_are_sane,
)
