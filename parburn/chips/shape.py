"""What may stand under each key of a chip's TOML row: its type and its size. Builds nothing.

`check_row` runs before anything is made of a row, so that a value of the wrong type or size is refused with
its key (`blocks[3][2]`) and never reaches arithmetic or an allocation. What the values mean to each other is
the subject of `chips.validate`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from parburn.chips.model import LinkEndKind

Shape = Callable[[Any, str], None]  # (value, where it stands); raises WrongShape
WORD = 0xFFFFFFFF
NAME = r"[A-Za-z_][A-Za-z0-9_]{0,63}"


class WrongShape(ValueError):
    """A value of the wrong type or size. The message names where it stands and what it must be."""


def shown(value: object) -> str:
    """A value for an error sentence: short, however large it is."""
    if isinstance(value, int) and value.bit_length() > 128:
        return f"a number of {value.bit_length()} bits"
    if isinstance(value, dict | list):
        return "a table" if isinstance(value, dict) else "a list"
    text = repr(value[:41] if isinstance(value, str) else value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _refuse(value: object, at: str, wanted: str) -> None:
    raise WrongShape(f"{at} must be {wanted}, not {shown(value)}")


def number(low: int, high: int) -> Shape:
    """An integer from `low` to `high`. True and false are none."""

    def check(value: Any, at: str) -> None:
        if type(value) is not int or not low <= value <= high:
            _refuse(value, at, f"a number from {low} to {high:#x}" if high > 9999 else f"{low} to {high}")

    return check


def duration(value: Any, at: str) -> None:
    """Milliseconds, more than none and no more than a minute."""
    if type(value) not in (int, float) or not 0 < value <= 60_000:
        _refuse(value, at, "milliseconds, more than 0 and at most 60000")


def text(pattern: str, what: str) -> Shape:
    """Text that the pattern fits as a whole."""
    fits = re.compile(pattern, re.ASCII).fullmatch

    def check(value: Any, at: str) -> None:
        if not isinstance(value, str) or not fits(value):
            _refuse(value, at, what)

    return check


def list_of(shape: Shape, longest: int, *, shortest: int = 0) -> Shape:
    """A list whose elements are all alike."""

    def check(value: Any, at: str) -> None:
        if not isinstance(value, list):
            _refuse(value, at, "a list")
        if not shortest <= len(value) <= longest:
            raise WrongShape(f"{at} must have {shortest} to {longest} elements, not {len(value)}")
        for place, one in enumerate(value):
            shape(one, f"{at}[{place}]")

    return check


def tuple_of(*shapes: Shape, optional: int = 0) -> Shape:
    """A list with a place for each shape, of which the last `optional` may be missing."""

    def check(value: Any, at: str) -> None:
        least = len(shapes) - optional
        if not isinstance(value, list) or not least <= len(value) <= len(shapes):
            _refuse(value, at, f"a list of {least} to {len(shapes)} values")
        for place, (shape, one) in enumerate(zip(shapes, value, strict=False)):
            shape(one, f"{at}[{place}]")

    return check


def keyed(key: str, shape: Shape, *, longest: int = 64) -> Shape:
    """A table from keys that the pattern fits to values that are all alike."""
    fits = re.compile(key, re.ASCII).fullmatch

    def check(value: Any, at: str) -> None:
        if not isinstance(value, dict) or len(value) > longest:
            _refuse(value, at, f"a table of at most {longest} keys")
        for name, one in value.items():
            if not fits(name):
                raise WrongShape(f"{at} has a key {shown(name)}, which cannot stand there")
            shape(one, f"{at}.{name}")

    return check


def numbered(shape: Shape) -> Shape:
    """A table from numbers, as TOML has keys, to values that are all alike."""
    return keyed(r"\d{1,5}", shape, longest=256)


def table(known: Mapping[str, Shape], *, needed: str = "") -> Shape:
    """A table of known keys; those in `needed` (with spaces between) must be there."""

    def check(value: Any, at: str) -> None:
        if not isinstance(value, dict):
            _refuse(value, at, "a table")
        if unknown := ", ".join(shown(key) for key in value.keys() - known.keys()):
            raise WrongShape(f"unknown keys in {at}: {unknown}" if at else f"unknown keys: {unknown}")
        for key in needed.split():
            if key not in value:
                raise WrongShape(f"{at}.{key} is missing" if at else f"{key} is missing")
        for key, one in value.items():
            known[key](one, f"{at}.{key}" if at else key)

    return check


def _condition(value: Any, at: str, depth: int = 0) -> None:
    """A condition; `or_else` holds another one."""
    if depth > 8:
        raise WrongShape(f"{at}: conditions stand too deep in each other")
    _CONDITION(value, at)
    if "or_else" in value:
        _condition(value["or_else"], f"{at}.or_else", depth + 1)


def _anything(value: Any, at: str) -> None:
    """Checked elsewhere."""


WORDS = r"[^\x00-\x1f\x7f-\x9f]{0,200}"
address = number(0, WORD)
offset = number(0, 0xFFFF)  # of the eFuse controller
field_value = number(0, WORD)
name = text(NAME, "a name")
words = text(WORDS, "a line of text")
names = text(rf"(?:{NAME}(?: {NAME})*)?", "names with a space between")
file_name = text(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}", "the name of a file in the same folder")
mhz = number(1, 1000)
write = tuple_of(address, field_value, field_value, optional=1)

_CONDITION = table(
    {
        "field": name,
        "values": list_of(field_value, 64),
        "at_least": field_value,
        "or_else": _anything,
    },
    needed="field",
)
_FEATURE = table(
    {
        "fields": text(rf"{NAME}(?: {NAME}){{0,7}}", "names with a space between"),
        "by_value": numbered(words),
        "otherwise": words,
        "detail": name,
        "details": numbered(words),
    },
    needed="fields by_value",
)
_CRYSTAL = table(
    {
        "fixed_mhz": mhz,
        "clkdiv_address": address,
        "clkdiv_mask": number(1, WORD),
        "prescale": number(1, 256),
        "choices": list_of(mhz, 8, shortest=1),
        "address": address,
        "mask": field_value,
        "shift": number(0, 31),
        "by_value": numbered(mhz),
        "rom_mhz": mhz,
        "rom_address": address,
        "rom_mask": number(1, WORD),
        "rom_shift": number(0, 31),
        "rom_clock": name,
        "rom_rounds_from": number(0, 31),
        "rom_otherwise_mhz": mhz,
    }
)
_USB_JTAG = table(
    {"buf_no": address, "value": field_value, "quiet": list_of(write, 64)},
    needed="quiet",
)
_BLOCK = tuple_of(
    name, names, offset, number(1, 16), number(-1, 31), list_of(number(0, 31), 2), names, offset, optional=1
)
_PURPOSE = rf"{NAME} -?\d{{1,3}}(?: [a-z-]{{1,20}}(?::{NAME}(?:\+{NAME}){{0,15}})?){{0,8}}"

# Keys of a row that an overlay may replace too, and those that a row must have.
KEYS: Mapping[str, Shape] = {
    "title": text(r"[A-Za-z0-9][A-Za-z0-9 ._+-]{0,39}", "a name of at most 40 characters"),
    "controller": text("classic|pgm", "classic or pgm"),
    "coding": text("none|rs", "none or rs"),
    "coding_field": name,
    "chip_ids": list_of(number(0, WORD), 16),
    "magics": list_of(field_value, 16),
    "efuse_base": number(1, WORD),
    "registers": keyed(NAME, offset),
    "blocks": list_of(_BLOCK, 16, shortest=1),
    "block_errors": list_of(
        tuple_of(number(0, 15), offset, number(0, 31), number(-1, 31), offset, optional=1), 16
    ),
    "block0_errors": list_of(offset, 32),
    "error_registers": list_of(offset, 64),
    "key_purposes": list_of(text(_PURPOSE, "NAME CODE and words"), 64),
    "custom_purpose_bits": number(0, 6),
    "burned_last": list_of(name, 32),
    "link_ends": keyed(NAME, text("|".join(LinkEndKind), "a kind of link end")),
    "rules": list_of(name, 16),
    "flash_voltage": name,
    "mac_field": name,
    "unique_id_field": name,
    "package_field": name,
    "ring_bytes": number(0, 0xFFFF),
    "entries_per_write": number(0, 0xFFFF),
    "program_ms": duration,
    "read_ms": duration,
    "uart_clkdiv": address,
    "dummy_register": address,
    "mirrors": list_of(address, 4),
    "extra_registers": list_of(address, 16),
    "revision_fields": tuple_of(names, names),
    "revision_zero_when": keyed(NAME, field_value),
    "crystal": _CRYSTAL,
    "features": list_of(words, 32),
    "more_features": list_of(_FEATURE, 32),
    "name_parts": list_of(_FEATURE, 32),
    "packages": numbered(words),
    "packages_when": keyed(r"[\w/.-]{1,64}", numbered(words)),
    "unknown_package": words,
    "conditions": keyed(r"[\w/.-]{1,64}", _condition),
    "timing": numbered(list_of(write, 64)),
    "usb_jtag": _USB_JTAG,
    "watchdog_reset": list_of(write, 64),
    "fields": file_name,
    "more_fields": file_name,
}
_REVISION = number(0, 99_999)
_OVERLAY = table({**KEYS, "from": _REVISION, "until": _REVISION})
_ROW = table(
    {**KEYS, "overlay": list_of(_OVERLAY, 16)},
    needed="title controller coding chip_ids magics efuse_base registers blocks error_registers burned_last"
    " link_ends crystal timing",
)


def check_row(row: Mapping[str, Any]) -> None:
    """Raise WrongShape, which names the key, for the first value of a wrong type or size."""
    _ROW(row, "")
