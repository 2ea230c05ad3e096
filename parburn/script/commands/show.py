"""The commands that show eFuses: summary, dump, adc_info, get_custom_mac, check_error. They stage nothing.

Values of key blocks that are secret by their purpose, but were left readable, are not printed unless the
operator asked for them; a file that the script names gets them, and so does `get()`.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TextIO

from parburn.chips.model import Block, Codec, Field, FieldCategory, FieldKind
from parburn.efuse import values
from parburn.efuse.image import GOOD, EfuseImage
from parburn.efuse.key_blocks import may_hold_key
from parburn.errors import BadValue, EfuseError
from parburn.script.commands.burn import flash_voltage_words
from parburn.script.commands.token import token_text, write_token
from parburn.script.output_files import output_file
from parburn.script.session import Draft

FORMATS = ("summary", "json", "value_only")
DUMP_FORMATS = ("default", "split", "joint", "token")
HIDDEN = "?? (not shown: a key; see --show-sensitive-info)"
COLUMN = 50  # characters of name and of description in a summary
WIDE = 20  # values longer than this get a line of their own


def summary(
    draft: Draft,
    names: Sequence[str] = (),
    *,
    format: str = "summary",
    file: str | Path | TextIO | None = None,
    active: bool = False,
) -> None:
    """Show fields: all, those named, or only those that are set or protected.

    Args:
        draft: The command at work.
        names: Fields; none for all.
        format: One of FORMATS.
        file: Where to write once the command has succeeded; None prints.
        active: Only fields that are set or protected.

    Raises:
        BadValue: an unknown format, or value_only without exactly one name.
        EfuseError: the file cannot be written.
    """
    if format not in FORMATS:
        raise BadValue(f"summary has the formats {', '.join(FORMATS)}, not {format!r}")
    if format == "value_only" and len(names) != 1:
        raise BadValue("the format value_only shows exactly one field: name it")
    image = draft.image
    fields = [
        one
        for one in image.fields()
        if (not names or not set(names).isdisjoint(one.names)) and (not active or _is_active(image, one))
    ]
    hide = file is None and not draft.session.options.show_sensitive_info
    if format == "json":
        rows = {one.name: _json_row(image, one, hide) for one in fields}
        text = json.dumps(rows, sort_keys=True, indent=4) + "\n"
    elif format == "value_only":
        text = "".join(f"{_value_text(image, one, hide)}\n" for one in fields)
    else:
        text = _table(draft, fields, hide)
    _put(draft, text, file)


def _put(draft: Draft, text: str, file: str | Path | TextIO | None) -> None:
    """Print, or write once the command has succeeded."""
    if file is None:
        if text:
            draft.show(text.rstrip("\n"))
    elif isinstance(file, (str, Path)):
        path = output_file(draft, file)
        draft.may_write(path, "summary --file")
        draft.effects.append(lambda: _written(lambda: path.write_text(text), path))
        draft.say(f"eFuse values -> {path}")
    else:
        handle = file
        draft.effects.append(lambda: _to_handle(handle, text))


def _to_handle(handle: TextIO, text: str) -> None:
    handle.write(text)
    handle.close()  # as the original does it


def _written(write: Callable[[], object], path: Path) -> None:
    try:
        write()
    except OSError as error:
        raise EfuseError(f"{path} cannot be written: {error.strerror}") from error


def _is_active(image: EfuseImage, one: Field) -> bool:
    return (
        bool(image.field_bits(one))
        or has_error(image, one)
        or not image.is_readable(one)
        or not image.is_writeable(one)
    )


def has_error(image: EfuseImage, one: Field) -> bool:
    """Return whether the controller reports an error in the field, or in its block."""
    if one.block == 0:
        return bool(image.block0_errors & one.mask)
    status = image.status.get(one.block, GOOD)
    return bool(status.errors or status.fail)


def _is_secret(image: EfuseImage, one: Field) -> bool:
    """Return whether the field is in a key block that holds, by its purpose or use, a secret key."""
    if one.start is None or not image.field_bits(one):
        return False
    block = image.chip.blocks[one.block]
    if not (may_hold_key(image.chip, block) or (one.codec is Codec.KEYBLOCK and block.for_keys)):
        return False
    if block.key_purpose is not None:
        purpose = image.chip.purpose_by_code.get(image.field_bits(image.field_named(block.key_purpose)))
        return purpose is not None and purpose.read_protect
    uses = [image.chip.purpose_by_name.get(name) for name in block.aliases]
    return any(use is not None and use.read_protect for use in uses)


def _masked(image: EfuseImage, one: Field, text: str) -> str:
    """Return a value that cannot be read, with ? for zeros.

    A block that is protected in halves keeps the readable one.
    """
    if len(one.rd_dis) == 2:
        half = len(text) // 2
        halves = (text[:half], text[half:])
        return "".join(
            part if image.is_readable(one, at) else part.replace("0", "?") for at, part in enumerate(halves)
        )
    return text if image.field_bits(one) else text.replace("0", "?")


def _value_text(image: EfuseImage, one: Field, hide: bool) -> str:
    text = str(values.get_meaning(image, one))
    if not image.is_readable(one):
        return _masked(image, one, text)
    return HIDDEN if hide and _is_secret(image, one) else text


def _json_row(image: EfuseImage, one: Field, hide: bool) -> dict[str, Any]:
    readable = image.is_readable(one)
    secret = hide and readable and _is_secret(image, one)
    meaning = values.get_meaning(image, one)
    return {
        "name": one.name,
        "value": HIDDEN if secret else meaning if readable else _masked(image, one, str(meaning)),
        "raw_value": HIDDEN if secret else _raw_hex(image, one),
        "readable": readable,
        "writeable": image.is_writeable(one),
        "description": one.description,
        "category": one.category,
        "block": one.block,
        "word": one.word,
        "pos": one.pos,
        "efuse_type": one.type_name,
        "bit_len": one.bits,
    }


def _raw_hex(image: EfuseImage, one: Field) -> str:
    raw = values.get_raw(image, one)
    if isinstance(raw, bytes):
        return "0x" + raw[::-1].hex()
    return f"0x{int(raw):0{(one.bits + 3) // 4}x}"


def _bits_text(image: EfuseImage, one: Field) -> str:
    bits = int(values.get_raw(image, one)) if one.kind is not FieldKind.BYTES else 0
    return f"(0b{bits:0{one.bits}b})" if one.bits % 4 else f"(0x{bits:0{one.bits // 4}x})"


def _table(draft: Draft, fields: Sequence[Field], hide: bool) -> str:
    image = draft.image
    lines = ["eFuse (block)".ljust(50) + " value, readable/writeable, bits", "-" * 90]
    for category in sorted({one.category for one in fields}, key=str.title):
        lines.append(f"{category.title()} fuses:")
        lines += [_line(image, one, hide) for one in fields if one.category == category]
        lines.append("")
    words = flash_voltage_words(draft)
    if words:
        lines.append(words)
    if image.block0_errors or any(status.errors or status.fail for status in image.status.values()):
        lines.append("WARNING: the coding of some blocks has errors; see check_error")
    return "\n".join(lines) + "\n"


def _line(image: EfuseImage, one: Field, hide: bool) -> str:
    """Return a field in the layout of the originals: scripts look for `= value R/W` and for `Purpose: `."""
    name = f"{one.name} (BLOCK{one.block})" + ("[error]" if has_error(image, one) else "")
    allowed = ("R" if image.is_readable(one) else "-") + "/" + ("W" if image.is_writeable(one) else "-")
    text = _value_text(image, one, hide)
    gap = "\n  " if len(text) > WIDE else ""
    bits = "" if one.kind is FieldKind.BYTES else _bits_text(image, one)
    block = next((block for block in image.chip.blocks if block.index == one.block), None)
    if one.codec is Codec.KEYBLOCK and block is not None and block.for_keys and block.key_purpose:
        use = image.field_named(block.key_purpose)
        name += f"\n  Purpose: {values.get(image, use)}\n "
    first, *rest = textwrap.wrap(one.description, COLUMN) or [""]
    more = "".join(f"\n{'':<{COLUMN}} {line}" for line in rest)
    return f"{name:<{COLUMN}} {first:<{COLUMN}}{gap} = {text} {allowed} {bits}{more}"


# dump -----------------------------------------------------------------------------------------------


def dump(draft: Draft, *, format: str = "default", file_name: str | Path | None = None) -> None:
    """Show or save the blocks as read: words, bytes (one file or one per block), or an EFSR token.

    Args:
        draft: The command at work.
        format: One of DUMP_FORMATS.
        file_name: Where to write once the command has succeeded; None prints.

    Raises:
        BadValue: an unknown format.
        EfuseError: a file cannot be written.
    """
    if format not in DUMP_FORMATS:
        raise BadValue(f"dump has the formats {', '.join(DUMP_FORMATS)}, not {format!r}")
    image, blocks = draft.image, draft.chip.blocks
    if format == "token":
        hide = file_name is None and not draft.session.options.show_sensitive_info
        hidden = {block.index: block.name for block in blocks if hide and _holds_secret(image, block)}
        text = write_token(image, draft.session.facts.revision, draft.session.read_registers, hidden)
        if file_name is None:
            draft.show(token_text(text, hidden.values()))
        else:
            _save(draft, output_file(draft, file_name), text.encode())
        return
    if file_name is None:
        for block in blocks:
            draft.show(_block_line(draft, block, words=format == "default"))
        return
    data = {block.index: block_bytes(image, block) for block in blocks}
    path = output_file(draft, file_name)
    if format == "joint":
        _save(draft, path, b"".join(data.values()))
    else:
        for index, content in data.items():
            _save(draft, path.with_name(f"{path.stem}{index}{path.suffix}"), content)


def block_bytes(image: EfuseImage, block: Block) -> bytes:
    """Return the bytes of a block as its user sees them, byte of the lowest bits first."""
    size = image.block_bits(block.index) // 8
    return (image.block(block.index) & ((1 << (8 * size)) - 1)).to_bytes(size, "little")


def _save(draft: Draft, path: Path, content: bytes) -> None:
    draft.may_write(path, "dump --file_name")
    draft.effects.append(lambda: _written(lambda: path.write_bytes(content), path))
    draft.say(f"dump -> {path}")


def _block_line(draft: Draft, block: Block, *, words: bool) -> str:
    image = draft.image
    content = block_bytes(image, block)
    if not draft.session.options.show_sensitive_info and _holds_secret(image, block):
        text = HIDDEN
    elif words:
        numbers = (int.from_bytes(content[at : at + 4], "little") for at in range(0, len(content), 4))
        text = " ".join(f"{word:08x}" for word in numbers)
    else:
        text = content.hex()
    if not words:
        return text
    return f"{block.name:<15} ({' '.join(block.aliases)[:16]:<16}) [{block.index:<2}] dump: {text}"


def _holds_secret(image: EfuseImage, block: Block) -> bool:
    return any(
        one.block == block.index and one.codec is Codec.KEYBLOCK and _is_secret(image, one)
        for one in image.fields()
    )


# the rest -------------------------------------------------------------------------------------------


def adc_info(draft: Draft) -> None:
    """Show the calibration values that this chip holds."""
    image = draft.image
    if "BLK_VERSION_MINOR" in image.chip.field_by_name:
        draft.say(f"Block version: {block_version(image)}")
    fields = [one for one in image.fields() if one.category == FieldCategory.CALIBRATION]
    if not fields:
        draft.say(f"this {image.chip.title} holds no calibration values")
    for one in fields:
        draft.say(f"{one.name} = {values.get(image, one)}")


def block_version(image: EfuseImage) -> int:
    """Return the version of the eFuse blocks' layout, major * 100 + minor; 0 where the chip has none."""
    version = 0
    for name, factor in (("BLK_VERSION_MAJOR", 100), ("BLK_VERSION_MINOR", 1)):
        if name in image.chip.field_by_name:
            version += factor * image.field_bits(image.field_named(name))
    return version


def get_custom_mac(draft: Draft) -> None:
    """Show the custom MAC address."""
    image = draft.image
    mac = values.get(image, image.field_named("CUSTOM_MAC"))
    if "MAC_VERSION" in image.chip.field_by_name:
        version = image.field_bits(image.field_named("MAC_VERSION"))
        if not version:
            draft.say("Custom MAC Address is not set in the device.")
            return
        draft.say(f"Custom MAC Address version {version}: {mac}")
        return
    draft.say(f"Custom MAC Address: {mac}")


def errors_found(image: EfuseImage) -> list[str]:
    """Return a line for each field of BLOCK0 and each other block whose coding has errors."""
    lines = []
    for one in image.fields():
        if one.block == 0 and one.start is not None and has_error(image, one):
            can = "writable" if image.is_writeable(one) else "not writable"
            lines.append(f"BLOCK0: {one.name} = {values.get(image, one)} ({can})")
    for block in image.chip.blocks:
        status = image.status.get(block.index, GOOD)
        if block.index and (status.errors or status.fail):
            can = "writable" if image.is_writeable(block) else "not writable"
            lines.append(f"{block.name}: {status.errors} errors, fail {int(status.fail)} ({can})")
    if image.block0_errors and not any(line.startswith("BLOCK0") for line in lines):
        lines.append("BLOCK0: errors outside of all fields")
    return lines
