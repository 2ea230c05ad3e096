"""What may stand under each key of a chip's TOML row: its type and its size. Builds nothing.

`check_row` runs before anything is made of a row that is not one of ours. A value of the wrong type or size
is refused with its key (`blocks[3][2]`) and never reaches arithmetic or an allocation. What the values mean
to each other is the subject of `chips.validate`.

Our own rows are checked by the tests: a run that needs no others does not import this module, since msgspec
would make its start 6 % slower.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from parburn.chips.model import LinkEndKind, SecureBootKeys

_WHERE = re.compile(r" - at (`key` in )?`\$\.?(.*)`\Z", re.DOTALL)
_LARGEST = 0xFFFFFFFF
_LONGEST = 200  # characters of a sentence of msgspec's, which repeats what it refuses
_NAME = "[A-Za-z_][A-Za-z0-9_]{0,63}"
_WORD = r" [a-z-]{1,20}(?::" + _NAME + r"(?:\+" + _NAME + r"){0,15})?"  # of a key purpose
_A_NAME = rf"\A{_NAME}\Z"
_NAMES = rf"\A(?:{_NAME}(?: {_NAME})*)?\Z"
_SOME_NAMES = rf"\A{_NAME}(?: {_NAME}){{0,7}}\Z"
_LINE = r"\A[^\x00-\x1f\x7f-\x9f]{0,200}\Z"
_CONDITION = r"\A[A-Za-z0-9_/.-]{1,64}\Z"
_NUMBER = r"\A[0-9]{1,5}\Z"
_FILE = r"\A[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}\Z"
_PURPOSE = rf"\A{_NAME} -?[0-9]{{1,3}}(?:{_WORD}){{0,8}}\Z"
_TITLE = r"\A[A-Za-z0-9][A-Za-z0-9 ._+-]{0,39}\Z"
_MEANT = {
    _A_NAME: "a name",
    _NAMES: "names with a space between",
    _SOME_NAMES: "names with a space between",
    _LINE: "a line of text",
    _CONDITION: "the name of a condition",
    _NUMBER: "a number",
    _FILE: "the name of a file in the same folder",
    _PURPOSE: "NAME CODE and words",
    _TITLE: "a name of at most 40 characters",
}

Word = Annotated[int, Meta(ge=0, le=_LARGEST)]
Address = Annotated[int, Meta(ge=1, le=_LARGEST)]
Offset = Annotated[int, Meta(ge=0, le=0xFFFF)]  # of the eFuse controller
Bit = Annotated[int, Meta(ge=0, le=31)]
BitOrNone = Annotated[int, Meta(ge=-1, le=31)]  # -1: there is none
Index = Annotated[int, Meta(ge=0, le=15)]
Megahertz = Annotated[int, Meta(ge=1, le=1000)]
Milliseconds = Annotated[float, Meta(gt=0, le=60_000)]
Name = Annotated[str, Meta(pattern=_A_NAME)]
Names = Annotated[str, Meta(pattern=_NAMES)]
Words = Annotated[str, Meta(pattern=_LINE)]
ConditionName = Annotated[str, Meta(pattern=_CONDITION)]
NumberText = Annotated[str, Meta(pattern=_NUMBER)]  # as TOML has keys
FileName = Annotated[str, Meta(pattern=_FILE)]
Purpose = Annotated[str, Meta(pattern=_PURPOSE)]
NumberedWords = Annotated[dict[NumberText, Words], Meta(max_length=256)]


class RowPart(Struct, forbid_unknown_fields=True):
    """A table of known keys; those without a default must be there."""


class Places(Struct, array_like=True, forbid_unknown_fields=True):
    """A list with a place for each value; those with a default may be missing at its end."""


class Write(Places):
    """A masked register write."""

    address: Word
    value: Word
    mask: Word = _LARGEST


Writes = Annotated[list[Write], Meta(max_length=64)]


class Block(Places):
    """A block of the chip; the classic controller's ends with the write offset."""

    name: Name
    aliases: Names
    read: Offset
    words: Annotated[int, Meta(ge=1, le=16)]
    wr_dis: BitOrNone
    rd_dis: Annotated[list[Bit], Meta(max_length=2)]
    purpose: Names
    write: Offset = 0


class BlockError(Places):
    """Where a block's error report stands."""

    index: Index
    register: Offset
    shift: Bit
    fail_bit: BitOrNone
    fail_register: Offset = 0


class LastCondition(RowPart):
    """A condition that has no alternative."""

    field: Name
    values: Annotated[list[Word], Meta(max_length=64)] = []
    at_least: Word = 0


class Condition(LastCondition):
    """A condition; `or_else` is another one."""

    or_else: LastCondition | None = None


class Feature(RowPart):
    """A part of the chip's name or of its list of features."""

    fields: Annotated[str, Meta(pattern=_SOME_NAMES)]
    by_value: NumberedWords
    otherwise: Words = ""
    detail: Name = ""
    details: NumberedWords = {}


class Crystal(RowPart):
    """The crystal of a chip; `chips.model.Crystal` says what the keys mean."""

    fixed_mhz: Megahertz = 1
    clkdiv_address: Word = 0
    clkdiv_mask: Address = 1
    prescale: Annotated[int, Meta(ge=1, le=256)] = 1
    choices: Annotated[list[Megahertz], Meta(min_length=1, max_length=8)] = []
    address: Word = 0
    mask: Word = 0
    shift: Bit = 0
    by_value: Annotated[dict[NumberText, Megahertz], Meta(max_length=256)] = {}
    rom_mhz: Megahertz = 1
    rom_address: Word = 0
    rom_mask: Address = 1
    rom_shift: Bit = 0
    rom_clock: Name = ""
    rom_rounds_from: Bit = 0
    rom_otherwise_mhz: Megahertz = 1


class UsbJtag(RowPart):
    """The USB-Serial-JTAG of a chip; `chips.model.UsbJtag` says what the keys mean."""

    quiet: Writes
    buf_no: Word = 0
    value: Word = 0


class Row(RowPart):
    """A row, or what an overlay makes of it. The defaults say only that a key may be missing."""

    title: Annotated[str, Meta(pattern=_TITLE)]
    controller: Literal["classic", "pgm"]
    coding: Literal["none", "rs"]
    chip_ids: Annotated[list[Word], Meta(max_length=16)]
    magics: Annotated[list[Word], Meta(max_length=16)]
    efuse_base: Address
    registers: Annotated[dict[Name, Offset], Meta(max_length=64)]
    blocks: Annotated[list[Block], Meta(min_length=1, max_length=16)]
    error_registers: Annotated[list[Offset], Meta(max_length=64)]
    burned_last: Annotated[list[Name], Meta(max_length=32)]
    link_ends: Annotated[dict[Name, LinkEndKind], Meta(max_length=64)]
    crystal: Crystal
    timing: Annotated[dict[NumberText, Writes], Meta(max_length=256)]
    coding_field: Name = ""
    block_errors: Annotated[list[BlockError], Meta(max_length=16)] = []
    block0_errors: Annotated[list[Offset], Meta(max_length=32)] = []
    key_purposes: Annotated[list[Purpose], Meta(max_length=64)] = []
    custom_purpose_bits: Annotated[int, Meta(ge=0, le=6)] = 0
    rules: Annotated[list[Name], Meta(max_length=16)] = []
    flash_voltage: Name = ""
    secure_boot_keys: SecureBootKeys | None = None
    mac_field: Name = ""
    unique_id_field: Name = ""
    package_field: Name = ""
    ring_bytes: Offset = 0
    entries_per_write: Offset = 0
    program_ms: Milliseconds = 1.0
    read_ms: Milliseconds = 1.0
    uart_clkdiv: Word = 0
    dummy_register: Word = 0
    data_ram: Annotated[list[Word], Meta(max_length=2)] = []
    mirrors: Annotated[list[Word], Meta(max_length=4)] = []
    extra_registers: Annotated[list[Word], Meta(max_length=16)] = []
    revision_fields: tuple[Names, Names] = ("", "")
    revision_zero_when: Annotated[dict[Name, Word], Meta(max_length=64)] = {}
    features: Annotated[list[Words], Meta(max_length=32)] = []
    more_features: Annotated[list[Feature], Meta(max_length=32)] = []
    name_parts: Annotated[list[Feature], Meta(max_length=32)] = []
    packages: NumberedWords = {}
    packages_when: Annotated[dict[ConditionName, NumberedWords], Meta(max_length=64)] = {}
    unknown_package: Words = ""
    conditions: Annotated[dict[ConditionName, Condition], Meta(max_length=64)] = {}
    usb_jtag: UsbJtag | None = None
    watchdog_reset: Writes = []
    fields: FileName = ""
    more_fields: FileName = ""


class Overlay(Struct):
    """For which revisions an overlay holds; its other keys are the row's."""

    from_: Annotated[int, Meta(ge=0, le=99_999)] = msgspec.field(default=0, name="from")
    until: Annotated[int, Meta(ge=0, le=99_999)] = 0


def check_row(row: Mapping[str, Any]) -> None:
    """Check each value of a row, and of what its overlays make of it, for type and size.

    Raises:
        ValueError: a value has a wrong type or size, or a key is unknown; the sentence names the first one.
    """
    plain = {key: value for key, value in row.items() if key != "overlay"}
    _check(plain, Row, "")
    overlays = row.get("overlay", [])
    _check(overlays, Annotated[list[dict[Any, Any]], Meta(max_length=16)], "overlay")
    for at, overlay in enumerate(overlays):
        _check(overlay, Overlay, f"overlay[{at}]")
        keys = {key: value for key, value in overlay.items() if key not in ("from", "until")}
        _check(plain | keys, Row, f"overlay[{at}]")


def _check(value: Any, shape: Any, at: str) -> None:
    try:
        msgspec.convert(value, shape)
    except msgspec.ValidationError as error:
        raise ValueError(_sentence(str(error), at)) from error


def _sentence(text: str, at: str) -> str:
    """Return what msgspec said, with the key in front: `blocks[0][3]: Expected ...`."""
    found = _WHERE.search(text)
    what = text if found is None else text[: found.start()]
    for pattern, meant in _MEANT.items():
        what = what.replace(f"`str` matching regex {pattern!r}", meant)
    if len(what) > _LONGEST:
        what = f"{what[:_LONGEST]}..."
    key = ".".join(part for part in (at, found[2] if found else "") if part)
    if found and found[1]:
        key += ", a key"
    return f"{key}: {what}" if key else what
