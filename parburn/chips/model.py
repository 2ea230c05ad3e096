"""What a chip is: frozen rows of data. No behaviour beyond look-ups, no I/O, no bits of a real chip.

A `Chip` is built from one TOML row and one field table by `parburn.chips.registry` and checked by
`validate()` there. Everything that differs between chips stands here as a value; code elsewhere never
asks for a chip's name.

Bit numbers: bit 0 is the least significant bit of word 0 of a block's read registers. A block is one
Python int with word 0 in its low 32 bits.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from parburn.coding.scheme import CodingScheme

PGM_WORDS: Final = 8  # data words of the programming registers that all blocks share
CHECK_WORDS: Final = 3  # check words behind them
NOTHING: Final[Mapping[int, Any]] = MappingProxyType({})


class ControllerKind(StrEnum):
    """The two eFuse controllers, and what follows from which one a chip has."""

    CLASSIC = "classic"  # own WDATA registers for each block: the first generation
    PGM = "pgm"  # shared PGM registers, and the block's number in the program command

    @property
    def shares_registers(self) -> bool:
        """Whether all blocks are staged in the same registers, and a program command burns only one.

        The classic controller burns all that is staged with each program command.
        """
        return self is ControllerKind.PGM

    @property
    def reports_each_block(self) -> bool:
        """Whether each block has an error report of its own; the classic decoder has one for all."""
        return self is ControllerKind.PGM

    @property
    def has_security_info(self) -> bool:
        """Whether the ROM of such chips knows GET_SECURITY_INFO."""
        return self is ControllerKind.PGM


class SecureBootKeys(StrEnum):
    """The kind of public key whose signatures a ROM's secure boot V2 takes, where it takes one kind only."""

    RSA = "rsa"
    ECDSA = "ecdsa"


class FieldKind(StrEnum):
    """What the value of a field is."""

    BOOL = "bool"
    UINT = "uint"
    BYTES = "bytes"


class Codec(StrEnum):
    """How text and bits of a field meet; `parburn.efuse.values` has the rules."""

    PLAIN = ""
    ADC_TP = "adc_tp"
    BITCOUNT = "bitcount"
    COUNT = "count"  # the same, but an explicit 0 is refused
    COMPOSED = "composed"
    CUSTOM_MAC = "custom_mac"
    CUSTOM_MAC_CRC = "custom_mac_crc"
    KEYBLOCK = "keyblock"
    KEYPURPOSE = "keypurpose"
    MAC = "mac"
    MAC_CRC = "mac_crc"
    MAC_EUI64 = "mac_eui64"
    SPIPIN = "spipin"
    TEMP_SENSOR = "temp_sensor"
    VREF = "vref"


class LinkEndKind(StrEnum):
    """How a burn ends or limits the link, the hardest first."""

    NO_DOWNLOAD = "no-download"  # the chip never answers again
    SECURE_DOWNLOAD = "secure-download"  # SYNC and GET_SECURITY_INFO go on
    NEXT_RESET = "next-reset"  # acts at the next reset only


class RegisterWrite(NamedTuple):
    """One masked register write: `(old & ~mask) | (value & mask)`. Address is absolute."""

    address: int
    value: int
    mask: int = 0xFFFFFFFF
    delay_us: int = 0  # the ROM waits this long BEFORE the write


def merged_writes(writes: Iterable[RegisterWrite]) -> tuple[RegisterWrite, ...]:
    """Return the same writes with one for each register: those to several fields of a register become one."""
    merged: dict[int, RegisterWrite] = {}
    for write in writes:
        before = merged.get(write.address)
        if before is not None:
            value = before.value & ~write.mask | write.value & write.mask
            write = write._replace(value=value, mask=before.mask | write.mask)
        merged[write.address] = write
    return tuple(merged.values())


class BlockErrors(NamedTuple):
    """Where the error report of one RS block stands.

    `fail_bit` is None where the chip has no such bit; `fail_address` is set where it stands in another
    register than the count (both on ESP32-C3, whose fail bits are shifted by one block).
    """

    address: int
    count_mask: int
    count_shift: int
    fail_bit: int | None
    fail_address: int | None = None

    @property
    def addresses(self) -> tuple[int, ...]:
        """The registers that `read` needs."""
        return (self.address,) if self.fail_address is None else (self.address, self.fail_address)

    def read(self, registers: Mapping[int, int]) -> tuple[int, bool]:
        """Return the number of corrected errors, and whether decoding failed.

        Args:
            registers: values by address; must have all of `addresses`.
        """
        count = registers[self.address] >> self.count_shift & self.count_mask
        if self.fail_bit is None:
            return count, False
        where = self.address if self.fail_address is None else self.fail_address
        return count, bool(registers[where] >> self.fail_bit & 1)


class Block(NamedTuple):
    """One eFuse block.

    `write_address` is the first programming register: the shared PGM_DATA0 on PGM controllers, the block's
    own WDATA0 on the classic one. `wr_dis` is a bit of the WR_DIS field, `rd_dis` bits of RD_DIS (two on
    chips whose key block is protected in halves; empty: cannot be read-protected).
    """

    index: int  # type: ignore[assignment]  # not tuple.index
    name: str
    aliases: tuple[str, ...]
    read_address: int
    write_address: int
    words: int
    wr_dis: int | None
    rd_dis: tuple[int, ...]
    key_purpose: str | None  # name of the field that holds the key purpose
    errors: BlockErrors | None  # None: block 0, or the classic controller's common status
    for_keys: bool = False  # burn_key accepts it

    @property
    def names(self) -> tuple[str, ...]:
        """Name and aliases."""
        return (self.name, *self.aliases)

    @property
    def mask(self) -> int:
        """All bits of the read registers."""
        return (1 << (32 * self.words)) - 1


class Source(NamedTuple):
    """One part of a composed field: `bits` bits of a field or of a register, put at `shift`."""

    shift: int
    field: str | None = None
    address: int | None = None
    bit: int = 0
    bits: int = 1


class Field(NamedTuple):
    """One eFuse field.

    `shown_when` names a condition of the chip row; a field whose condition does not hold is left
    out of listings but can be named (`on_request`), or does not exist (`not on_request`).
    A composed field has `sources` and no place of its own (`start` is None); burning it, where its codec
    allows that, burns its sources. A field with both has its low bits in its own place and the rest in
    the sources (a key purpose of five bits whose highest stands elsewhere); `bits` is then its own place.
    """

    name: str
    block: int
    start: int | None
    bits: int
    kind: FieldKind
    wr_dis: int | None = None
    rd_dis: tuple[int, ...] = ()
    alt_names: tuple[str, ...] = ()
    codec: Codec = Codec.PLAIN
    category: str = "config"
    description: str = ""
    meanings: Mapping[int, str] = NOTHING
    shown_when: str = ""
    on_request: bool = True
    sources: tuple[Source, ...] = ()
    value_map: Mapping[int, int] = NOTHING
    custom: bool = False  # from --extend-efuse-table
    where: str = ""  # file:line:column of a custom field

    @property
    def names(self) -> tuple[str, ...]:
        """Name and alternative names."""
        return (self.name, *self.alt_names)

    @property
    def word(self) -> int | None:
        """Word of the block where the field starts; None for a composed field."""
        return None if self.start is None else self.start // 32

    @property
    def pos(self) -> int | None:
        """Bit within the word `word`; None for a composed field."""
        return None if self.start is None else self.start % 32

    @property
    def width(self) -> int:
        """Bits of the whole value: the own place, and what stands elsewhere."""
        return max((source.shift + source.bits for source in self.sources), default=0) or self.bits

    @property
    def mask(self) -> int:
        """The field's bits in its block (0 for a composed field)."""
        return 0 if self.start is None else ((1 << self.bits) - 1) << self.start

    @property
    def type_name(self) -> str:
        """`bool`, `uint:N` (N bits) or `bytes:N` (N bytes): what espefuse calls efuse_type."""
        if self.kind is FieldKind.BOOL:
            return "bool"
        return f"bytes:{self.bits // 8}" if self.kind is FieldKind.BYTES else f"uint:{self.bits}"


class Condition(NamedTuple):
    """Holds when the field's value is one of `values`, or at least `at_least`, or when `or_else` holds."""

    field: str
    values: tuple[int, ...] = ()
    at_least: int | None = None
    or_else: Condition | None = (
        None  # about another field: "block version 0.2 on" is MAJOR >= 1 or MINOR >= 2
    )

    def holds(self, value: int) -> bool:
        """Tell whether a field value meets the condition itself, without `or_else`."""
        return value in self.values or (self.at_least is not None and value >= self.at_least)


class KeyPurpose(NamedTuple):
    """One key purpose. `code` is -1 for a virtual purpose, which `split_into` names the real halves of."""

    name: str
    code: int
    reversed: bool = False  # key bytes go in reverse order
    read_protect: bool = False
    digest: bool = False  # burn_key_digest takes it
    needs_ecdsa: bool = False  # the key file is a PEM private key
    split_into: tuple[str, ...] = ()
    not_in_blocks: tuple[str, ...] = ()  # block names where the hardware forbids it
    target: str = ""  # field of the key block that takes the key; empty: the whole block
    sets: tuple[str, ...] = ()  # fields of one bit that are burned along with the key
    without: tuple[str, ...] = ()  # fields of one bit with which the chip would take another key than this


class Crystal(NamedTuple):
    """How the crystal's frequency is known.

    `fixed_mhz` when the chip has one crystal only. Otherwise from the UART clock divider that the ROM's
    autobaud left at `clkdiv_address` (MHz = baud * divider / 1e6 / `prescale`, nearest of `choices`), or
    from a register (`address`, `mask`, `shift`; value -> MHz by `by_value`).

    A ROM that takes its crystal for another one sets other baud rates than it is asked for: `rom_mhz` is what
    it always believes, or a register tells it (`rom_address`, `rom_mask`, `rom_shift`): in MHz or, with
    `rom_clock`, as a count of cycles against a clock whose frequency stands in the field of that name. From
    major revision `rom_rounds_from` on such a ROM takes the nearest of `choices` for it, and
    `rom_otherwise_mhz` where it has counted nothing that makes sense.
    """

    fixed_mhz: int | None = None
    clkdiv_address: int | None = None
    clkdiv_mask: int = 0xFFFFF
    prescale: int = 1
    choices: tuple[int, ...] = ()
    address: int | None = None
    mask: int = 0
    shift: int = 0
    by_value: Mapping[int, int] = NOTHING
    rom_mhz: int | None = None
    rom_address: int | None = None
    rom_mask: int = 0
    rom_shift: int = 0
    rom_clock: str | None = None
    rom_rounds_from: int | None = None
    rom_otherwise_mhz: int | None = None


class FeatureOf(NamedTuple):
    """A line of the feature list that depends on fields (`fields` joined, the first in the low bits).

    `by_value` names the feature, `otherwise` stands for every other value; an empty text is no feature.
    `{}` in a text is replaced by what `details` says for the value of `detail_field`.
    """

    fields: tuple[str, ...]
    by_value: Mapping[int, str]
    otherwise: str = ""
    detail_field: str | None = None
    details: Mapping[int, str] = NOTHING

    def text(self, value: int, detail: int = 0) -> str:
        """Return the feature for these values; empty when the chip does not have it."""
        return self.by_value.get(value, self.otherwise).replace("{}", self.details.get(detail, ""))


class LinkEnd(NamedTuple):
    """A field whose burn ends or limits the link."""

    field: str
    kind: LinkEndKind


class UsbJtag(NamedTuple):
    """How to see that we talk over USB-Serial-JTAG, and what must be quieted then."""

    buf_no_address: int | None  # UARTDEV_BUF_NO in the ROM's data; None: only the USB id of the port tells
    buf_no_value: int
    quiet: tuple[RegisterWrite, ...]  # disable RTC watchdog, auto-feed the super watchdog


class WatchdogReset(NamedTuple):
    """The writes that make the RTC watchdog reset the chip (`--after watchdog-reset`)."""

    writes: tuple[RegisterWrite, ...] = ()


@dataclass(frozen=True, eq=False)
class Chip:
    """One chip, whole. See the module docstring for bit order; all addresses are absolute.

    `registers` holds by TRM name, for both kinds of controller: CONF, CMD, DATE; for PGM: PGM_DATA0,
    CHECK_VALUE0, STATUS; for the classic one: DEC_STATUS. `coding` is the scheme of all blocks but BLOCK0,
    unless the field of the name `coding_field` tells another: `parburn.efuse.image` reads it.
    """

    name: str  # as on the command line: esp32s3
    title: str  # as CHIP_NAME: ESP32-S3
    controller: ControllerKind
    chip_ids: tuple[int, ...]  # GET_SECURITY_INFO
    magics: tuple[int, ...]  # word at 0x40001000
    efuse_base: int
    registers: Mapping[str, int]
    blocks: tuple[Block, ...]
    fields: tuple[Field, ...]
    key_purposes: tuple[KeyPurpose, ...]
    conditions: Mapping[str, Condition]
    coding: CodingScheme
    crystal: Crystal
    timing: Mapping[int, tuple[RegisterWrite, ...]]  # crystal MHz -> writes before a burn
    block0_errors: tuple[int, ...]  # REPEAT_ERR registers; empty on classic
    error_registers: tuple[int, ...]  # all, in the order of an EFSR token
    burned_last: tuple[str, ...]  # fields of BLOCK0 that lock or cut: burned after all else is verified
    link_ends: tuple[LinkEnd, ...]
    coding_field: str | None = None
    rules: tuple[str, ...] = ()  # names of functions in parburn.efuse.rules
    extra_registers: tuple[int, ...] = ()  # read at identification, for composed fields
    uart_clkdiv: int = 0
    dummy_register: int = 0  # harmless to write with mask 0: UART date
    mirrors: tuple[int, ...] = ()  # where the peripherals answer on a second bus, too
    usb_jtag: UsbJtag | None = None
    watchdog_reset: WatchdogReset | None = None
    mac_field: str = "MAC"
    unique_id_field: str | None = None  # OPTIONAL_UNIQUE_ID where the chip has one
    ring_bytes: int = 255  # never more unanswered bytes than this on the line, escapes counted
    entries_per_write: int = 15  # WRITE_REG entries in one packet
    program_ms: float = 1.0  # typical length of one program command
    read_ms: float = 0.1
    revision_fields: tuple[str, str] = ("WAFER_VERSION_MAJOR", "WAFER_VERSION_MINOR")
    data_ram: tuple[int, ...] = ()  # first and last address of the internal RAM on the data bus
    secure_boot_keys: SecureBootKeys | None = None  # None: the ROM takes both, or that is not known
    flash_voltage: str = ""  # how set_flash_voltage works: name of a rule set, empty: not on this chip
    features: tuple[str, ...] = ()
    package_field: str | None = None
    packages: Mapping[int, str] = field(default_factory=dict)  # package code -> description
    packages_when: Mapping[str, Mapping[int, str]] = field(
        default_factory=dict
    )  # by condition, later ones win
    unknown_package: str = ""  # description of any other code
    name_parts: tuple[FeatureOf, ...] = ()  # in place of packages: put behind the title; a "?" is unknown
    more_features: tuple[FeatureOf, ...] = ()  # follow `features`
    revision_zero_when: Mapping[str, int] = field(default_factory=dict)  # all fields so: it is revision 0.0

    @cached_property
    def read_registers(self) -> tuple[tuple[int, ...], ...]:
        """Addresses of each block's read registers, by block index, word 0 first."""
        return tuple(tuple(block.read_address + 4 * n for n in range(block.words)) for block in self.blocks)

    @cached_property
    def block_by_name(self) -> Mapping[str, Block]:
        """Blocks by name and alias."""
        return {name: block for block in self.blocks for name in block.names}

    @cached_property
    def field_by_name(self) -> Mapping[str, tuple[Field, ...]]:
        """Fields by name and alternative name; several of one name when conditions choose between them."""
        found: dict[str, tuple[Field, ...]] = {}
        for one in self.fields:
            for name in one.names:
                found[name] = (*found.get(name, ()), one)
        return found

    @cached_property
    def purpose_by_name(self) -> Mapping[str, KeyPurpose]:
        """Key purposes by name."""
        return {purpose.name: purpose for purpose in self.key_purposes}

    @cached_property
    def purpose_by_code(self) -> Mapping[int, KeyPurpose]:
        """Real (not virtual) key purposes by code; the first wins where names share a code."""
        found: dict[int, KeyPurpose] = {}
        for purpose in self.key_purposes:
            if purpose.code >= 0:
                found.setdefault(purpose.code, purpose)
        return found

    @cached_property
    def takes_purposes(self) -> bool:
        """Whether a key is burned with a purpose, and not for a use that its block's alias names."""
        return any(block.key_purpose for block in self.blocks) or any(
            purpose.target for purpose in self.key_purposes
        )

    @cached_property
    def identity_fields(self) -> tuple[Field, ...]:
        """What tells this chip from every other: factory MAC, its CRC, and the unique id."""
        named = (*self.field_by_name[self.mac_field], *self.field_by_name.get(self.unique_id_field or "", ()))
        return (*named, *self.mac_crc_fields)

    @cached_property
    def mac_crc_fields(self) -> tuple[Field, ...]:
        """Check bits of the factory MAC that the chip keeps beside it; only the first generation has them."""
        return tuple(one for one in self.fields if one.codec is Codec.MAC_CRC)

    @cached_property
    def programming_addresses(self) -> tuple[int, ...]:
        """The registers that a burn is staged in: the shared ones with their check words, or all blocks'."""
        if self.controller.shares_registers:
            data, check = self.registers["PGM_DATA0"], self.registers["CHECK_VALUE0"]
            return (*range(data, data + 4 * PGM_WORDS, 4), *range(check, check + 4 * CHECK_WORDS, 4))
        return tuple(block.write_address + 4 * n for block in self.blocks for n in range(block.words))

    @cached_property
    def silicon_words(self) -> tuple[tuple[int, int], ...]:
        """Block and word of each word that tells the silicon's revision or package."""
        names = (*self.revision_fields, *self.revision_zero_when, self.package_field)
        return tuple(dict.fromkeys(self._words_of(name for name in names if name)))

    def _words_of(self, names: Iterable[str]) -> Iterator[tuple[int, int]]:
        for one in (self.field_by_name[name][0] for name in names):
            if one.start is not None:
                for word in range(one.start // 32, (one.start + one.bits - 1) // 32 + 1):
                    yield one.block, word
            yield from self._words_of(source.field for source in one.sources if source.field)

    @cached_property
    def error_reports(self) -> tuple[tuple[int, BlockErrors, frozenset[int]], ...]:
        """Index, error report and its registers, of each block that has one of its own."""
        return tuple(
            (block.index, block.errors, frozenset(block.errors.addresses))
            for block in self.blocks
            if block.errors is not None
        )

    @cached_property
    def scheme_field(self) -> Field | None:
        """The field that tells the coding scheme; None where all chips of the kind have the same."""
        return None if self.coding_field is None else self.field_by_name[self.coding_field][0]

    @cached_property
    def link_end_by_field(self) -> Mapping[str, LinkEndKind]:
        """Kind of link end by field name."""
        return {end.field: end.kind for end in self.link_ends}
