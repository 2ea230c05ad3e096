"""How a simulated board comes from the factory: MAC, revision, unique id, and what `--set` asks for.

Settings are `coding` (none, 3/4, repeat), `revision` (major.minor), `crystal` (MHz), `magic`, `clkdiv` (what
the ROM's autobaud left in the UART's divider), `romclk` (the register from which the ROM
takes its crystal), or any eFuse field by name.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field

from parburn.chips.model import Chip, Codec, ControllerKind, Field
from parburn.chips.registry import chip_named
from parburn.errors import UsageError
from parburn.sim.efuse_memory import EfuseMemory
from parburn.sim.registers import MAGIC_ADDRESS, clkdiv_address

OUIS = ("240ac4", "30aea4", "7cdfa1", "84f703", "348518", "ecda3b", "a0764e", "f412fa")  # all unicast
CODINGS = {"none": 0, "3/4": 1, "repeat": 2}
DEFAULT_REVISION = {ControllerKind.CLASSIC: (3, 0), ControllerKind.PGM: (0, 2)}
CLOCK_CODE = 51  # what the factory measures of the clock against which a ROM counts its crystal's cycles
DATE_REGISTER = 0x16042000  # what a register that lends a bit to the revision holds besides it


@dataclass(slots=True)
class Product:
    """A board as made: its cells, and what is soldered around the chip. `registers` hold from reset on."""

    chip: Chip
    memory: EfuseMemory
    crystal_mhz: int
    revision: tuple[int, int]
    registers: dict[int, int] = field(default_factory=dict)


def factory_mac(rng: random.Random) -> bytes:
    """Return a unicast MAC address with one of the maker's prefixes."""
    return bytes.fromhex(rng.choice(OUIS)) + rng.randbytes(3)


def mac_crc(mac: bytes) -> int:
    """Return the CRC-8 that the classic chip keeps beside its MAC address (polynomial 0x31, reflected)."""
    crc = 0
    for byte in mac:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x8C if crc & 1 else 0)
    return crc


def make_product(chip_name: str, *, mac: bytes, settings: Mapping[str, str], rng: random.Random) -> Product:
    """Make a board.

    Args:
        chip_name: As in the chips' rows, or as users write it.
        mac: The factory MAC, first byte first.
        settings: `--set` options: crystal, revision, and fields by name.
        rng: Where all that is random comes from.

    Raises:
        UsageError: a setting that this chip does not have.
    """
    wanted = dict(settings)
    chip = chip_named(chip_name)
    revision = _revision(wanted.pop("revision", None), DEFAULT_REVISION[chip.controller])
    chip = chip_named(chip_name, revision=revision[0] * 100 + revision[1])
    memory = EfuseMemory(chip)
    made = Product(chip, memory, crystal_of(chip, wanted.pop("crystal", None)), revision)
    _set_coding(made, wanted.pop("coding", "none"))
    set_registers(made, wanted)
    memory.preset_field(chip.mac_field, int.from_bytes(mac, "big"))
    if chip.unique_id_field:
        place = memory.field_place(chip.unique_id_field)
        memory.preset_field(chip.unique_id_field, rng.getrandbits(place.bits if place else 1))
    for name, value in zip(chip.revision_fields, revision, strict=True):
        if name:
            set_field(made, name, value)
    if chip.crystal.rom_clock is not None:
        set_field(made, chip.crystal.rom_clock, CLOCK_CODE)
    for name, text in wanted.items():
        set_field(made, name.upper(), _number(name, text))
    if not {name.upper() for name in wanted} & {one.name for one in chip.mac_crc_fields}:
        set_mac_crc(made)
    return made


def sibling(made: Product, *, mac: bytes, unique_id: int) -> Product:
    """Return another board like this one, with an identity of its own; making it anew takes much longer.

    Args:
        made: The board to take after, as it came from the factory.
        mac: The factory MAC, first byte first.
        unique_id: The unique id, of which the chip takes as many bits as it has.
    """
    memory = EfuseMemory(made.chip, made.memory.cells)
    found = Product(made.chip, memory, made.crystal_mhz, made.revision, dict(made.registers))
    memory.preset_field(made.chip.mac_field, int.from_bytes(mac, "big"))
    place = memory.field_place(made.chip.unique_id_field or "")
    if place is not None:
        memory.preset_field(place.name, unique_id & ((1 << place.bits) - 1))
    set_mac_crc(found)
    return found


def set_registers(made: Product, wanted: dict[str, str]) -> None:
    """Take the settings `magic`, `clkdiv` and `romclk` out of `wanted` and hold them in registers."""
    places = (
        ("magic", MAGIC_ADDRESS),
        ("clkdiv", clkdiv_address(made.chip)),
        ("romclk", made.chip.crystal.rom_address),
    )
    for name, address in places:
        if name in wanted and address is not None:
            made.registers[address] = _number(name, wanted.pop(name))


def set_field(made: Product, name: str, value: int) -> None:
    """Give a field a value, through its parts when it is composed.

    Raises:
        UsageError: there is no such field, or it cannot have the value.
    """
    known = made.chip.field_by_name.get(name)
    if not known:
        raise UsageError(f"{made.chip.title} has no field {name} to set")
    if made.memory.field_place(name):
        made.memory.preset_field(name, value)
    else:
        set_composed(made, known[0], value)


def set_composed(made: Product, composed: Field, value: int, *, registers_only: bool = False) -> None:
    """Give the parts of a composed field the bits that make `value`.

    Raises:
        UsageError: no bits do.
    """
    bits = max((source.shift + source.bits for source in composed.sources), default=0)
    raw = next((raw for raw in range(1 << bits) if composed.value_map.get(raw, raw) == value), None)
    if raw is None:
        raise UsageError(f"{composed.name} of {made.chip.title} cannot be {value}")
    for source in composed.sources:
        part = raw >> source.shift & ((1 << source.bits) - 1)
        if source.field and not registers_only:
            old = made.memory.field_bits(source.field) & ~(((1 << source.bits) - 1) << source.bit)
            made.memory.preset_field(source.field, old | part << source.bit)
        elif source.address:
            word = made.registers.setdefault(source.address, DATE_REGISTER)
            made.registers[source.address] = word | part << source.bit


def _set_coding(made: Product, text: str) -> None:
    code = CODINGS.get(text.lower())
    if code is None or (code and made.chip.coding_field is None):
        raise UsageError(f"{made.chip.title} cannot have the coding scheme {text!r}")
    if code and made.chip.coding_field is not None:
        made.memory.preset_field(made.chip.coding_field, code)


def set_mac_crc(made: Product) -> None:
    """Set the CRC that the classic chip keeps beside its MAC address."""
    mac = made.memory.field_bits(made.chip.mac_field).to_bytes(6, "big")
    for one in made.chip.fields:
        if one.codec is Codec.MAC_CRC:
            made.memory.preset_field(one.name, mac_crc(mac))


def crystal_of(chip: Chip, text: str | None) -> int:
    """Return the crystal that `text` asks for, in MHz; None asks for the usual one.

    Raises:
        UsageError: the chip has no such crystal.
    """
    known = sorted(chip.timing)
    usual = chip.crystal.fixed_mhz or (40 if 40 in known else known[-1])
    mhz = usual if text is None else _number("crystal", text.lower().removesuffix("mhz"))
    if mhz not in known:
        raise UsageError(f"{chip.title} has no crystal of {mhz} MHz (known: {', '.join(map(str, known))})")
    return mhz


def _revision(text: str | None, usual: tuple[int, int]) -> tuple[int, int]:
    if text is None:
        return usual
    major, _, minor = text.lower().removeprefix("v").partition(".")
    return _number("revision", major), _number("revision", minor or "0")


def _number(name: str, text: str) -> int:
    try:
        if text.count(":") == 5:
            return int(text.replace(":", ""), 16)
        return int(text, 0)
    except ValueError as error:
        raise UsageError(f"--set {name}={text}: this is no number and no MAC address") from error
