"""Finds out which chip answers, who it is, and what it holds. Reads only; burns and writes nothing.

Answers carry no checksum, so all that identity, timing and the choice of the chip's tables (by its revision,
where it has several) depend on is read twice in one burst and must agree.
What goes wrong here may be one damaged byte: `first_contact` calls it again before it is believed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from parburn.chips.model import Chip
from parburn.chips.registry import chip_named, find_chip, has_overlays
from parburn.efuse.image import EfuseImage
from parburn.efuse.values import crc8
from parburn.errors import BoardSwapped, ChipError, CommandRefused, IdentityUnclear, SecureDownload, WrongChip
from parburn.hardware import crystal, silicon
from parburn.hardware.burst_frames import ReadRegs, WriteRegs
from parburn.hardware.controller import CONTROLLERS, Controller, join_words, write_guard
from parburn.hardware.rom_loader import RomLoader
from parburn.hardware.silicon import Silicon
from parburn.protocol.commands import SecurityInfo
from parburn.transport.stream import USB_SERIAL_JTAG


class ChipIdentity(NamedTuple):
    """What tells this chip from every other.

    `registers` are read again before every burn; `masks` are their bits that belong to the identity: the
    other bits of such a word may be burned.
    """

    mac: bytes
    unique_id: bytes
    registers: tuple[int, ...]
    masks: tuple[int, ...]
    values: tuple[int, ...]  # masked

    @property
    def mac_text(self) -> str:
        """The factory MAC as aa:bb:cc:dd:ee:ff."""
        return self.mac.hex(":")

    def same_board(self, values: Sequence[int]) -> None:
        """Compare values of the first `registers` with those at the start; fewer may be given.

        Raises:
            BoardSwapped: they differ.
        """
        masked = tuple(value & mask for value, mask in zip(values, self.masks, strict=False))
        if masked != self.values[: len(values)]:
            raise BoardSwapped(
                f"another chip answers where {self.mac_text} was",
                hint="Put the board back or run again for the new one; nothing was burned into it.",
            )

    def gained(self, values: Sequence[int]) -> tuple[int, ...]:
        """Return the registers in which this very chip has more bits set than at the start.

        None for another chip, which hardly has all bits of this one's MAC.
        """
        rows = zip(self.registers, values, self.masks, self.values, strict=True)
        seen = [(register, value & mask, was) for register, value, mask, was in rows]
        if any(was & ~now for _, now, was in seen):
            return ()
        return tuple(register for register, now, was in seen if now != was)


class Device(NamedTuple):
    """One identified chip on an open line."""

    rom: RomLoader
    chip: Chip
    controller: Controller
    identity: ChipIdentity
    image: EfuseImage
    silicon: Silicon
    crystal_mhz: int
    security: SecurityInfo | None
    usb_jtag: bool

    @property
    def revision(self) -> str:
        """The silicon revision: v1.2 for major 1, minor 2."""
        return f"v{self.silicon.major}.{self.silicon.minor}"


async def find_out_chip(rom: RomLoader, wanted: str) -> tuple[Chip, SecurityInfo | None]:
    """Detect the chip: by GET_SECURITY_INFO's chip id where the ROM has it, by the magic word elsewhere.

    Args:
        wanted: `auto`, or the only chips that are welcome (`esp32c6,esp32s3`); a port with another one is
            left untouched.

    Raises:
        SecureDownload: registers cannot be reached.
        WrongChip: it is another chip than `wanted`, or one that we do not know.
        LinkError, CommandRefused: the chip could not be asked.
    """
    security = await rom.security_info()
    if _to_be_asked_again(security, rom.magic, wanted):
        security = await rom.security_info()
    magic = rom.magic
    chip = None
    if security is not None and security.chip_id is not None:
        chip = find_chip(chip_id=security.chip_id)
    if chip is None and magic is not None:
        chip = find_chip(magic=magic)
    if security is not None and security.secure_download:
        name = chip.title if chip else "a chip"
        raise SecureDownload(
            f"{name} in secure download mode: its eFuses can be neither read nor burned over the serial line",
            hint="This mode is permanent. Take the board out of this station.",
        )
    if chip is None:
        shown = f"chip id {security.chip_id}" if security and security.chip_id is not None else "no chip id"
        raise WrongChip(
            f"a chip that parburn does not know ({shown}, magic {magic if magic is None else hex(magic)})",
            hint="It was left untouched. A newer parburn may know this chip.",
        )
    if not is_wanted(chip, wanted):
        raise WrongChip(
            f"this is {chip.title}, and --chip {wanted} was asked for",
            hint="It was left untouched. Check which board sits in this slot.",
        )
    return chip, security


def is_wanted(chip: Chip, wanted: str) -> bool:
    """Tell whether a chip is welcome: one of the names in `wanted`, between which commas stand; or `auto`."""
    return wanted == "auto" or chip.name in wanted.split(",")


def _to_be_asked_again(security: SecurityInfo | None, magic: int | None, wanted: str) -> bool:
    """Tell whether one damaged byte may have made this answer.

    Such an answer would end the board, or lead to another chip's addresses, where a ROM can die.
    """
    by_magic = None if magic is None else find_chip(magic=magic)
    if security is None:  # only the classic ROM has no such command
        chip = by_magic
        odd = by_magic is None or by_magic.controller.has_security_info
    else:
        chip = by_magic if security.chip_id is None else find_chip(chip_id=security.chip_id)
        odd = security.secure_download or chip is None
    if chip is None or odd or not is_wanted(chip, wanted):
        return True
    return by_magic is not chip and (by_magic is not None or bool(chip.magics))


@lru_cache(128)
def identity_registers(chip: Chip) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the read registers of the factory MAC (with its CRC, if any), and of the unique id."""
    mac = chip.field_by_name[chip.mac_field][0]
    block = chip.blocks[mac.block]
    unique: tuple[int, ...] = ()
    if chip.unique_id_field is not None:
        one = chip.field_by_name[chip.unique_id_field][0]
        unique = _registers(chip, one.block, one.start or 0, one.bits)
    return _registers(chip, block.index, mac.start or 0, mac.bits), unique


@lru_cache(128)
def identity_masks(chip: Chip, registers: tuple[int, ...]) -> tuple[int, ...]:
    """Return the bits of these registers that are the factory MAC, its CRC, or the unique id."""
    masks = dict.fromkeys(registers, 0)
    for one in chip.identity_fields:
        for word, address in enumerate(chip.read_registers[one.block]):
            if address in masks:
                masks[address] |= one.mask >> 32 * word & 0xFFFFFFFF
    return tuple(masks[address] for address in registers)


def _registers(chip: Chip, block: int, start: int, bits: int) -> tuple[int, ...]:
    return chip.read_registers[block][start // 32 : (start + bits - 1) // 32 + 1]


async def identify(
    rom: RomLoader,
    *,
    wanted: str,
    blocks: Callable[[Chip], Collection[int]],
    extend: Callable[[Chip], Chip],
    found: Callable[[Chip], None] = lambda chip: None,
    rate: Callable[[Chip, Collection[int]], int] | None = None,
    burns: bool = True,
) -> Device:
    """Identify the chip and read it: identity, silicon, BLOCK0, and the blocks that `blocks` names for it.

    Args:
        wanted: `auto`, or the only chips that are welcome, with commas between them.
        blocks: the indexes of the blocks to read; BLOCK0 is always read.
        extend: adds custom eFuse tables.
        found: is told of the chip before any of its blocks is read.
        rate: the baud rate to go on with, given the blocks to be read. It is raised as soon as the crystal is
            known, so that they are read at the new rate. None: the rate stays.
        burns: False: timing registers are not read; should it come to a burn, timing is written all the same.

    Raises:
        WrongChip, SecureDownload: see `find_out_chip`.
        IdentityUnclear: two readings differ, or the MAC or crystal makes no sense.
        ChipError: the chip does not let its registers be read, or cannot burn with its crystal.
        LinkError, CommandRefused: the chip could not be read.
        EfuseError: nothing supports the chip's coding scheme.
    """
    chip, security = await find_out_chip(rom, wanted)
    rom.set_limits(ring_bytes=chip.ring_bytes, entries_per_write=chip.entries_per_write)
    rom.guard_writes(write_guard(chip))
    found(chip)
    plain = chip
    chip = extend(chip)
    wanted_blocks = {0, *blocks(chip)}
    baud = rom.baud if rate is None or rom.stream.fixed_baud else rate(chip, wanted_blocks)
    controller = CONTROLLERS[chip.controller](rom, chip)
    told = tuple(
        dict.fromkeys(
            (
                *controller.addresses(wanted_blocks),
                *silicon.telling_registers(chip),
                *(crystal.astray_registers(chip) if burns else ()),
            )
        )
    )
    changes = baud != rom.baud
    timed = crystal.telling_registers(chip, and_belief=changes)
    rounds = changes and chip.crystal.rom_rounds_from is not None  # by its revision
    revision = silicon.telling_registers(plain) if rounds or has_overlays(plain.name) else ()
    stale = () if rom.was_reset else crystal.timing_registers(chip)  # an earlier run may have written them
    sensed = await _sense(rom, chip, (*timed, *revision, *stale), () if changes else told)
    crystal_mhz = crystal.mhz_of(chip, sensed.values, rom.baud)
    reading = sensed.values
    if changes:
        major = silicon.silicon_of(plain, reading).major if rounds else 0
        rom.set_crystal(crystal_mhz, *crystal.beliefs(chip, reading, crystal_mhz, major))
        await rom.change_baud(baud)
        told = tuple([address for address in told if address not in revision])
        reading = {**reading, **dict(zip(told, await rom.read_regs(told), strict=True))}
        _agree(sensed.values, reading, sensed.values)
    blank = EfuseImage(chip, {}, registers={a: reading[a] for a in chip.extra_registers})
    image = controller.image_of(reading, wanted_blocks, blank)
    found_silicon = silicon.silicon_of(plain, reading)
    exact = chip_named(chip.name, revision=100 * found_silicon.major + found_silicon.minor)
    if exact is not plain:
        chip = extend(exact)
        image = image._replace(chip=chip)
        controller = CONTROLLERS[chip.controller](rom, chip)
        if exact.blocks != plain.blocks:
            image = await controller.read_blocks(image.blocks.keys(), image)
    image.scheme(1)  # a coding scheme that nothing supports is refused here, whatever the scripts would do
    timing = crystal.timing_for(chip, crystal_mhz)
    if stale:
        timing = crystal.whole_timing(chip, timing, sensed.values)
    controller.set_timing(timing, reading)
    if sensed.on_jtag and chip.usb_jtag is not None:
        await rom.burst(WriteRegs(chip.usb_jtag.quiet))
    rom.check_in_step()
    return Device(
        rom=rom,
        chip=chip,
        controller=controller,
        identity=_identity(chip, image, sensed.values),
        image=image,
        silicon=found_silicon,
        crystal_mhz=crystal_mhz,
        security=security,
        usb_jtag=sensed.on_jtag,
    )


class _Sensed(NamedTuple):
    """Registers by address, those that all else depends on read twice; and who talks to us."""

    values: dict[int, int]
    on_jtag: bool

    def __repr__(self) -> str:  # the values may be a key's
        return f"_Sensed({len(self.values)} registers)"


async def _sense(rom: RomLoader, chip: Chip, rested_on: Sequence[int], told: Sequence[int]) -> _Sensed:
    """Read the identity, what timing and the choice of tables depend on, and `told`, in one burst.

    All but what is told is read first and again: among the told ones or, if it is not there, behind them.
    Raises IdentityUnclear when the two readings differ.
    """
    mac_registers, unique_registers = identity_registers(chip)
    twice = (*mac_registers, *unique_registers, *rested_on, *chip.extra_registers)
    twice = tuple(dict.fromkeys(twice))
    jtag = _usb_jtag_register(chip)
    addresses = (*jtag, *twice, *told, *(address for address in twice if address not in told))
    try:
        values = await rom.burst(ReadRegs(addresses))
    except CommandRefused as error:
        raise ChipError(
            f"{chip.title} does not let its registers be read: {error}",
            hint="Its flags do not say that it is in secure download mode. Power-cycle the board and run "
            "again; it was left untouched.",
        ) from error
    on_jtag = rom.stream.usb_vid_pid == USB_SERIAL_JTAG
    if jtag and chip.usb_jtag is not None:
        on_jtag |= values[0] & 0xFF == chip.usb_jtag.buf_no_value
    first = dict(zip(addresses, values[: len(jtag) + len(twice)], strict=False))
    last = dict(zip(addresses, values, strict=True))  # of two readings the second
    _agree(first, last, twice)
    return _Sensed(last, on_jtag)


def _agree(one: Mapping[int, int], other: Mapping[int, int], registers: Iterable[int]) -> None:
    """Raise IdentityUnclear where two readings of these registers differ."""
    if any(one[address] != other[address] for address in registers):
        raise IdentityUnclear(
            "two readings of the chip's identity differ",
            hint="The line damages data: use a shorter cable or another hub port, then run again.",
        )


def _usb_jtag_register(chip: Chip) -> tuple[int, ...]:
    """Return the ROM's note of the UART that it talks over.

    Empty for a chip where its place is not known: the USB id of the port tells.
    """
    if chip.usb_jtag is None or chip.usb_jtag.buf_no_address is None:
        return ()
    return (chip.usb_jtag.buf_no_address,)


def check_mac_crc(image: EfuseImage, mac: bytes) -> None:
    """Check the CRC of the factory MAC `mac`, where the chip keeps one (ESP32).

    Raises:
        IdentityUnclear: it is another one.
    """
    for field in image.chip.mac_crc_fields:
        stored, computed = image.field_bits(field), crc8(mac)
        if stored != computed:
            raise IdentityUnclear(
                f"the CRC of the factory MAC {mac.hex(':')} is {stored:#04x}, and {computed:#04x} is right: "
                "who this chip is cannot be trusted",
                hint="It was read again and again: the chip is damaged, or its MAC was changed. It was left "
                "untouched; take the board out of the line.",
            )


def _identity(chip: Chip, image: EfuseImage, seen: Mapping[int, int]) -> ChipIdentity:
    """Check the factory MAC (RFC 7042 unicast, CRC where the chip has one) and build the identity."""
    mac_registers, unique_registers = identity_registers(chip)
    registers = tuple(dict.fromkeys((*mac_registers, *unique_registers)))
    mac_field = chip.field_by_name[chip.mac_field][0]
    raw = join_words([seen[a] for a in mac_registers]) >> ((mac_field.start or 0) % 32)
    mac = (raw & ((1 << mac_field.bits) - 1)).to_bytes(mac_field.bits // 8, "big")
    if not any(mac):
        raise IdentityUnclear(
            "the factory MAC address is all zero: this chip cannot be told from another",
            hint="It may be an engineering sample or a bad read. It was left untouched.",
        )
    if mac[0] & 1:
        raise IdentityUnclear(f"the factory MAC {mac.hex(':')} is a multicast address: a bad read")
    check_mac_crc(image, mac)
    unique = b""
    if chip.unique_id_field is not None:
        one = chip.field_by_name[chip.unique_id_field][0]
        number = join_words([seen[a] for a in unique_registers]) >> ((one.start or 0) % 32)
        unique = (number & ((1 << one.bits) - 1)).to_bytes(one.bits // 8, "little")
    masks = identity_masks(chip, registers)
    masked = tuple(seen[address] & mask for address, mask in zip(registers, masks, strict=True))
    return ChipIdentity(mac=mac, unique_id=unique, registers=registers, masks=masks, values=masked)
