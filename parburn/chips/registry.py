"""Finds chips by name or by what they answer, and builds their rows. Reads chip data files, nothing else.

`index.csv` (see `chips.index`) holds what is needed to find a chip: name, chip ids, magics. Only the row that
was asked for is then read: `NAME.toml` (controller, blocks, purposes, ROM facts) and the field table that it
names. A row that is not in our own folder is checked (`chips.shape`) and validated (`chips.validate`) when it
is loaded; the tests do that for our own rows. Addresses in a row are offsets from `efuse_base` where the
eFuse controller is meant; those of other peripherals are absolute. `chips.shape` says what may stand under
each key, and refuses a row before anything is built of it.

An overlay changes a row for some silicon revisions (`from` and `until`, both inclusive, as major * 100 +
minor): it replaces keys, and with `more_fields` adds a table. Without a known revision no overlay holds.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from parburn.chips.index import DATA, entries, text_of
from parburn.chips.model import (
    Block,
    BlockErrors,
    Chip,
    Condition,
    ControllerKind,
    Crystal,
    FeatureOf,
    Field,
    KeyPurpose,
    LinkEnd,
    LinkEndKind,
    RegisterWrite,
    SecureBootKeys,
    UsbJtag,
    WatchdogReset,
)
from parburn.chips.table import parse_fields
from parburn.chips.validate import validate
from parburn.coding.scheme import CodingScheme
from parburn.errors import ChipDataError, UnknownName
from parburn.nearest import nearest_names

T = TypeVar("T")
Row = dict[str, Any]


def chip_names() -> tuple[str, ...]:
    """Return the names of all chips, as on the command line, without loading their rows.

    Raises:
        ChipDataError: see `parburn.chips.index.entries`.
    """
    return tuple(entries())


def chip_named(name: str, *, revision: int | None = None) -> Chip:
    """Return the chip of that name, however it is written (esp32s3, ESP32-S3, esp32-s3).

    Args:
        name: as `chip_names` gives it; upper case, `-` and `_` do not count.
        revision: the silicon revision as major * 100 + minor, which picks overlays; None: no overlay holds.

    Raises:
        UnknownName: there is no such chip; the hint has the nearest names.
        ChipDataError: the chip's files cannot be read, or break a rule.
    """
    plain = name.lower().replace("-", "").replace("_", "")
    if plain not in entries():
        raise UnknownName(f"there is no chip {name!r}", hint=_nearest(plain))
    row = _read_row(plain)
    chosen = tuple(at for at, one in enumerate(row.get("overlay", ())) if _holds(one, revision))
    return _build(plain, chosen)


def _nearest(name: str) -> str:
    near = nearest_names(name, chip_names())
    return f"Did you mean {' or '.join(near)}?" if near else f"Known chips: {', '.join(chip_names())}."


def find_chip(*, chip_id: int | None = None, magic: int | None = None) -> Chip | None:
    """Return the chip that answers so, without overlays; None when no chip that we know does.

    Args:
        chip_id: from the answer to GET_SECURITY_INFO.
        magic: the word at 0x40001000, which the older chips are told by.

    Raises:
        ChipDataError: the chip's files cannot be read, or break a rule.
    """
    for name, found in entries().items():
        if chip_id in found.chip_ids or magic in found.magics:
            return chip_named(name)
    return None


def has_overlays(name: str) -> bool:
    """Tell whether this chip's revision decides what holds for it. `name` as `chip_names` gives it."""
    return bool(_read_row(name).get("overlay"))


def _holds(overlay: Row, revision: int | None) -> bool:
    if revision is None:
        return False
    return bool(overlay.get("from", 0) <= revision <= overlay.get("until", revision))


@lru_cache(maxsize=32)
def _read_row(name: str) -> Row:
    path = entries()[name].folder / f"{name}.toml"
    try:
        row = tomllib.loads(text_of(path))
    except (ValueError, RecursionError) as error:  # also numbers too long, tables too deep in each other
        raise ChipDataError(f"this is not TOML: {error}", where=str(path)) from error
    if path.parent != DATA:  # our own are checked by the tests
        from parburn.chips.shape import check_row  # here: a start with our own chips does without msgspec

        try:
            check_row(row)
        except ValueError as error:
            raise ChipDataError(str(error), where=path.name) from error
    return row


@lru_cache(maxsize=64)
def _fields(path: Path) -> tuple[Field, ...]:
    return parse_fields(text_of(path), file=path.name)


@lru_cache(maxsize=64)
def _build(name: str, chosen: Sequence[int]) -> Chip:
    """Return the chip with the chosen overlays laid over its row."""
    folder = entries()[name].folder
    row = dict(_read_row(name))
    overlays = row.pop("overlay", [])
    for at in chosen:
        row |= {key: value for key, value in overlays[at].items() if key not in ("from", "until")}
    tables = [row.pop("fields", f"{name}.csv"), row.pop("more_fields", None)]
    fields = sum((_fields(folder / table) for table in tables if table), ())
    try:
        chip = build_chip(name, row, fields)
    except ValueError as error:
        raise ChipDataError(str(error), where=f"{name}.toml") from error
    if folder != DATA:  # our own are validated by the tests
        validate(chip)
    return chip


def build_chip(name: str, row: Row, fields: tuple[Field, ...]) -> Chip:
    """Return the chip of a row that `check_row` let through, and its fields. The row stays as it is.

    Raises:
        ValueError: the row's keys do not fit each other.
        ChipDataError: the row has a key that nothing takes.
    """
    row = dict(row)
    base = row.pop("efuse_base")
    controller = ControllerKind(row.pop("controller"))
    registers = {key: base + offset for key, offset in row.pop("registers").items()}
    bits = row.pop("custom_purpose_bits", 0)
    purposes = tuple(_purpose(text) for text in row.pop("key_purposes", ()))
    chip = Chip(
        name=name,
        title=row.pop("title"),
        controller=controller,
        chip_ids=tuple(row.pop("chip_ids")),
        magics=tuple(row.pop("magics")),
        efuse_base=base,
        registers=registers,
        blocks=_blocks(
            base,
            row.pop("blocks"),
            registers.get("PGM_DATA0", 0) if controller.shares_registers else None,
            _errors(base, row),
        ),
        fields=fields,
        key_purposes=purposes + _custom_purposes(bits, purposes),
        conditions={key: _condition(value) for key, value in row.pop("conditions", {}).items()},
        coding=CodingScheme(row.pop("coding")),
        crystal=_crystal(row.pop("crystal")),
        timing={int(mhz): _writes(value, base) for mhz, value in row.pop("timing").items()},
        block0_errors=_addresses(base, row.pop("block0_errors", ())),
        error_registers=_addresses(base, row.pop("error_registers")),
        burned_last=tuple(row.pop("burned_last")),
        link_ends=tuple(LinkEnd(field, LinkEndKind(kind)) for field, kind in row.pop("link_ends").items()),
        secure_boot_keys=SecureBootKeys(row.pop("secure_boot_keys")) if "secure_boot_keys" in row else None,
        usb_jtag=_usb_jtag(row.pop("usb_jtag", None)),
        watchdog_reset=_watchdog_reset(row.pop("watchdog_reset", None)),
        packages=_numbered(row.pop("packages", {})),
        packages_when={key: _numbered(value) for key, value in row.pop("packages_when", {}).items()},
        more_features=tuple(_feature(one) for one in row.pop("more_features", ())),
        name_parts=tuple(_feature(one) for one in row.pop("name_parts", ())),
        **{key: _plain(row.pop(key)) for key in _PLAIN & row.keys()},
    )
    if row:
        raise ChipDataError(f"unknown keys: {', '.join(row)}", where=f"{name}.toml")
    return chip


# Keys whose values go into the Chip as they are (lists become tuples).
_PLAIN = frozenset(
    (
        "coding_field",
        "data_ram",
        "dummy_register",
        "entries_per_write",
        "extra_registers",
        "features",
        "flash_voltage",
        "mac_field",
        "mirrors",
        "package_field",
        "program_ms",
        "read_ms",
        "revision_fields",
        "revision_zero_when",
        "ring_bytes",
        "rules",
        "uart_clkdiv",
        "unique_id_field",
        "usb_ends",
        "unknown_package",
    )
)


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _numbered(table: Mapping[str, T]) -> dict[int, T]:
    return {int(key): value for key, value in table.items()}


def _addresses(base: int, offsets: Sequence[int]) -> tuple[int, ...]:
    return tuple(base + offset for offset in offsets)


def _writes(rows: Sequence[Sequence[int]], base: int = 0) -> tuple[RegisterWrite, ...]:
    """Return register writes. Each row: address (an offset from `base`), value, mask if not all bits."""
    return tuple(RegisterWrite(base + address, *rest) for address, *rest in rows)


def _errors(base: int, row: Row) -> dict[int, BlockErrors]:
    """Return the error reports by block.

    Each row: index, register, count shift, fail bit (-1: none), register of the fail bit if another.
    """
    found: dict[int, BlockErrors] = {}
    for index, offset, shift, fail, *elsewhere in row.pop("block_errors", ()):
        fail_address = base + elsewhere[0] if elsewhere else None
        found[index] = BlockErrors(base + offset, 7, shift, None if fail < 0 else fail, fail_address)
    return found


def _blocks(
    base: int, rows: Sequence[Sequence[Any]], pgm: int | None, errors: Mapping[int, BlockErrors]
) -> tuple[Block, ...]:
    """Return the blocks of a row.

    Each row: name, aliases, read offset, words, WR_DIS bit (-1: none), RD_DIS bits, purpose field or "". A
    classic controller's rows go on with the write offset. A purpose field, or `key`, makes it a key block.
    """
    blocks: list[Block] = []
    for index, (name, aliases, read, words, wr_dis, rd_dis, purpose, *write) in enumerate(rows):
        if pgm is None and not write:
            raise ValueError(f"blocks[{index}] must end with the write offset on this controller")
        blocks.append(
            Block(
                index=index,
                name=name,
                aliases=tuple(aliases.split()),
                read_address=base + read,
                write_address=base + write[0] if pgm is None else pgm,
                words=words,
                wr_dis=None if wr_dis < 0 else wr_dis,
                rd_dis=tuple(rd_dis),
                key_purpose=purpose if purpose not in ("", "key") else None,
                errors=errors.get(index),
                for_keys=bool(purpose),
            )
        )
    return tuple(blocks)


_PURPOSE_WORDS = frozenset(
    ("reversed", "read-protect", "digest", "ecdsa", "split", "not-in", "in", "sets", "without")
)


def _purpose(text: str) -> KeyPurpose:
    """Return a key purpose from its text: `NAME CODE` and any of these words.

    reversed, read-protect, digest, ecdsa, split:A+B, not-in:BLOCK+BLOCK, in:FIELD (a part of the key block),
    sets:FIELD+FIELD (burned along), without:FIELD+FIELD (must not be burned).
    """
    name, code, *words = text.split()
    given = {word.partition(":")[0]: tuple(word.partition(":")[2].split("+")) for word in words}
    unknown = given.keys() - _PURPOSE_WORDS
    if unknown:
        raise ValueError(f"key_purposes: {name} has unknown words: {', '.join(unknown)}")
    return KeyPurpose(
        name=name,
        code=int(code),
        reversed="reversed" in given,
        read_protect="read-protect" in given,
        digest="digest" in given,
        needs_ecdsa="ecdsa" in given,
        split_into=given.get("split", ()),
        not_in_blocks=given.get("not-in", ()),
        target="".join(given.get("in", ())),
        sets=given.get("sets", ()),
        without=given.get("without", ()),
    )


def _custom_purposes(bits: int, known: Sequence[KeyPurpose]) -> tuple[KeyPurpose, ...]:
    """Return CUSTOM_n and CUSTOM_DIGEST_n for each code without a name, MAX for the last code."""
    if not bits:
        return ()
    taken = {purpose.code for purpose in known}
    last = (1 << bits) - 1
    codes = [(str(code), code) for code in range(last + 1) if code not in taken]
    return tuple(
        KeyPurpose(f"CUSTOM_{digest}{text}", code, digest=bool(digest))
        for text, code in [*codes, ("MAX", last)]
        for digest in ("", "DIGEST_")
    )


def _condition(row: Row) -> Condition:
    other = row.get("or_else")
    return Condition(
        field=row["field"],
        values=tuple(row.get("values", ())),
        at_least=row.get("at_least"),
        or_else=_condition(other) if other else None,
    )


def _crystal(row: Row) -> Crystal:
    plain = {key: _plain(value) for key, value in row.items() if key != "by_value"}
    return Crystal(**plain, by_value=_numbered(row.get("by_value", {})))


def _usb_jtag(row: Row | None) -> UsbJtag | None:
    return UsbJtag(row.get("buf_no"), row.get("value", 0), _writes(row["quiet"])) if row else None


def _watchdog_reset(rows: Sequence[Sequence[int]] | None) -> WatchdogReset | None:
    return WatchdogReset(_writes(rows)) if rows else None


def _feature(row: Row) -> FeatureOf:
    return FeatureOf(
        fields=tuple(row["fields"].split()),
        by_value=_numbered(row["by_value"]),
        otherwise=row.get("otherwise", ""),
        detail_field=row.get("detail"),
        details=_numbered(row.get("details", {})),
    )
