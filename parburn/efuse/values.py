"""How bits of a field look to a script, and what a user's text means in bits. No staging, no chip access.

What `get()` and `get_meaning()` give is an interface: scripts compare it to the letter (`True`, 1121,
"aa:bb:cc:dd:ee:88 (OK)", "XTS_AES_128_KEY"). A field's `codec` picks the form; see `_SHOWN` and `_PARSED`.

Byte order: a field of bytes shows the byte of the lowest bits first. MACs burned in the factory lie the other
way round, so their shown form starts with the byte of the highest bits; a custom MAC is an ordinary field of
bytes. A composed EUI-64 holds its shown form from the highest bits down.

bitstring is needed at the surface of scripts only, and is imported by the one function that hands it out.
"""

from __future__ import annotations

import binascii
from collections.abc import Callable
from typing import TYPE_CHECKING

from parburn.chips.model import Chip, Codec, Field, FieldKind
from parburn.efuse.image import GOOD, EfuseImage
from parburn.efuse.staged import StagedBurns
from parburn.errors import BadValue

if TYPE_CHECKING:
    from bitstring import BitStream

Value = str | int | float | bool
Text = str | int | bytes | bool | None

COUNTERS = (Codec.BITCOUNT, Codec.COUNT)  # fields that are burned bit by bit
FACTORY_CODECS = frozenset({Codec.MAC, Codec.MAC_EUI64, Codec.VREF})

_ADC_TP_STEP = 4
_ADC_TP_OFFSETS = {"ADC1_TP_LOW": 278, "ADC2_TP_LOW": 421, "ADC1_TP_HIGH": 3265, "ADC2_TP_HIGH": 3406}
_VREF_MV = 1100
_VREF_STEP_MV = 7


def crc8(mac: bytes) -> int:
    """Return the CRC-8 that ESP32 keeps beside a MAC: polynomial 0x31 (0x8C reflected), from 0."""
    crc = 0
    for byte in mac:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x8C if crc & 1 else 0)
    return crc


def is_fixed(f: Field) -> bool:
    """Tell whether a field cannot be asked for: written in the factory, or only computed from others."""
    if f.codec in FACTORY_CODECS or f.codec is Codec.COMPOSED:
        return True
    return f.start is None and any(source.field is None for source in f.sources)


# --- bits to text


def get(image: EfuseImage, f: Field, bits: int | None = None) -> Value:
    """Return a field's value as `get()` shows it; of `bits` when given, else of what the chip shows."""
    if bits is None:
        bits = image.value_bits(f)
    shown = _SHOWN.get(f.codec)
    return _plain(f, bits) if shown is None else shown(image, f, bits)


def get_meaning(image: EfuseImage, f: Field, bits: int | None = None) -> Value:
    """Return the words of the field's table for its value, and what `get()` shows where it has none."""
    if bits is None:
        bits = image.value_bits(f)
    meaning = f.meanings.get(bits)
    return get(image, f, bits) if meaning is None else meaning


def get_raw(image: EfuseImage, f: Field, bits: int | None = None) -> int | bool | bytes:
    """Return the value as bitstring reads the field's type: bool, int, or bytes, highest bits first.

    It is what stands in the field's own place: of a value whose high bits stand elsewhere, the low bits.
    """
    if bits is None:
        bits = image.field_bits(f)
    if f.kind is FieldKind.BOOL:
        return bool(bits)
    if f.kind is FieldKind.BYTES:
        # A composed EUI-64 reads back with its bytes reversed; scripts compare that, so it stays.
        return bits.to_bytes(f.bits // 8, "little" if f.codec is Codec.MAC_EUI64 else "big")
    return bits & ((1 << f.bits) - 1)


def bitstring_of(image: EfuseImage, f: Field, bits: int | None = None) -> BitStream:
    """Return a field's bits as `get_bitstring()` hands them to a script, at position 0."""
    from bitstring import BitStream

    raw = get_raw(image, f, bits)
    return BitStream(bytes=raw) if isinstance(raw, bytes) else BitStream(uint=int(raw), length=f.bits)


def block_bitstring(bits: int, length: int) -> BitStream:
    """Return a block's bits (`length` of them) as a block's `get_bitstring()` hands them to a script."""
    from bitstring import BitStream

    return BitStream(uint=bits, length=length)


def _plain(f: Field, bits: int) -> Value:
    if f.kind is FieldKind.BOOL:
        return bool(bits)
    return bits.to_bytes(f.bits // 8, "little").hex(" ") if f.kind is FieldKind.BYTES else bits


def crc_field_of(chip: Chip, f: Field) -> Field | None:
    """Return the field that keeps a MAC's CRC-8 beside it (ESP32), or None."""
    found = chip.field_by_name.get(f"{f.name}_CRC")
    return None if found is None else found[0]


def _mac(image: EfuseImage, f: Field, bits: int) -> Value:
    mac = bits.to_bytes(f.bits // 8, "little" if f.codec is Codec.CUSTOM_MAC else "big")
    crc_field = crc_field_of(image.chip, f)
    if crc_field is not None:
        stored, right = image.field_bits(crc_field), crc8(mac)
        verdict = "OK" if stored == right else f"invalid - calculated 0x{right:02x}"
        return f"{mac.hex(':')} (CRC 0x{stored:02x} {verdict})"
    status = image.status.get(f.block, GOOD)
    if status.errors or status.fail:
        return f"{mac.hex(':')} (Block{f.block} has ERRORS:{status.errors} FAIL:{int(status.fail)})"
    return f"{mac.hex(':')} (OK)"


def _key_purpose(image: EfuseImage, f: Field, bits: int) -> Value:
    purpose = image.chip.purpose_by_code.get(bits)
    return "FORBIDDEN_STATE" if purpose is None else purpose.name


def _spi_pin(image: EfuseImage, f: Field, bits: int) -> Value:
    return bits + 2 if bits >= 30 else bits  # pins 30 and 31 do not exist: 32 and 33 take their codes


def _vref(image: EfuseImage, f: Field, bits: int) -> Value:
    return _VREF_MV + _VREF_STEP_MV * (-(bits & 0x0F) if bits & 0x10 else bits & 0x0F)


def _adc_two_point(image: EfuseImage, f: Field, bits: int) -> Value:
    sign = 1 << (f.bits - 1)
    return _ADC_TP_OFFSETS[f.name] + _ADC_TP_STEP * ((bits & (sign - 1)) - (bits & sign))


def _temperature(image: EfuseImage, f: Field, bits: int) -> Value:
    sign = 1 << (f.bits - 1)
    return (-1 if bits & sign else 1) * (bits & (sign - 1)) * 0.1


_SHOWN: dict[Codec, Callable[[EfuseImage, Field, int], Value]] = {
    Codec.MAC: _mac,
    Codec.MAC_EUI64: _mac,
    Codec.CUSTOM_MAC: _mac,
    Codec.KEYPURPOSE: _key_purpose,
    Codec.SPIPIN: _spi_pin,
    Codec.VREF: _vref,
    Codec.ADC_TP: _adc_two_point,
    Codec.TEMP_SENSOR: _temperature,
}


# --- text to bits


def custom_mac_bytes(chip: Chip, text: str | bytes | None) -> bytes:
    """Return the six bytes of a custom MAC given as AA:CD:EF:01:02:03, first byte first.

    Raises:
        BadValue: it has another form, or is a multicast address (lowest bit of the first byte set).
    """
    if isinstance(text, (bytes, bytearray)):
        mac = bytes(text)
    else:
        parts = (text or "").split(":")
        if len(parts) != 6 or not all(len(part) == 2 for part in parts):
            raise BadValue("a MAC address is six bytes in hexadecimal, joined by colons: AA:CD:EF:01:02:03")
        mac = _unhexlify("".join(parts), "a MAC address")
    if len(mac) != 6:
        raise BadValue(f"a MAC address has six bytes, not {len(mac)}")
    if mac[0] & 1:
        raise BadValue(
            f"{mac.hex(':')} is a multicast address; a custom MAC must be a unicast one",
            hint="the lowest bit of the first byte must be 0",
        )
    return mac


def parse(image: EfuseImage, staged: StagedBurns, f: Field, text: Text) -> int:
    """Return the bits that `burn_efuse NAME VALUE` means; None is `burn_efuse NAME` alone.

    Without a value a bool is True, and a counter burns its next bit.

    Raises:
        BadValue: the field takes no such value; the sentence never repeats key bytes.
    """
    if is_fixed(f):
        raise BadValue(f"{f.name} cannot be burned: it is written in the factory or computed from others")
    if f.codec is Codec.CUSTOM_MAC:
        if isinstance(text, int):
            raise BadValue(f"{f.name} takes a MAC address, not a number")
        return int.from_bytes(custom_mac_bytes(image.chip, text), "little")
    if f.codec is Codec.KEYPURPOSE:
        return purpose_code(image.chip, f, text)
    if f.kind is FieldKind.BYTES:
        return _parse_bytes(f, text)
    if f.kind is FieldKind.BOOL:
        if text is not None and _number(f, text) != 1:
            raise BadValue(f"{f.name} is a single bit, which can only be burned to 1")
        return 1
    if text is None and f.codec in COUNTERS:
        return _fitting(f, _next_bit(image.field_bits(f)))
    if f.codec is Codec.BITCOUNT:
        return _fitting(f, _number(f, text))
    if text is None:
        raise BadValue(f"{f.name} needs a value", hint=f"burn_efuse {f.name} VALUE")
    number = _number(f, text)
    if number == 0:
        raise BadValue(f"{f.name} cannot be burned to 0: burning only sets bits")
    return _fitting(f, _pin_code(f, number) if f.codec is Codec.SPIPIN else number)


def bits_of(image: EfuseImage, f: Field, value: object) -> int:
    """Return the bits of a value that a script hands to `field.save()`: number, bytes, text or a bitstring.

    Unlike `parse` it takes 0, which asks for nothing.

    Raises:
        BadValue: the field takes no such value.
    """
    length = getattr(value, "len", None)
    if length is not None and hasattr(value, "uint"):  # a BitArray, without importing bitstring
        if length != f.bits:
            raise BadValue(f"{f.name} has {f.bits} bits, the new value has {length}")
        return int(value.uint)
    if f.codec is Codec.KEYPURPOSE and isinstance(value, (str, int)):
        return purpose_code(image.chip, f, value)
    if f.kind is FieldKind.BYTES:
        if value == 0 and isinstance(value, int):
            return 0
        return _parse_bytes(f, value if isinstance(value, (str, bytes)) else None)
    if not isinstance(value, (str, int)):
        raise BadValue(f"{f.name} takes a number, not {type(value).__name__}")
    return _fitting(f, _number(f, value))


def _next_bit(old: int) -> int:
    """Return `old` with its lowest clear bit set: a counter counts the bits that are set."""
    return old | old + 1


def _unhexlify(digits: str, what: str) -> bytes:
    try:
        return binascii.unhexlify(digits)
    except ValueError:  # binascii.Error is one; the text may be a key, so it is not repeated
        raise BadValue(f"{what} must be given in hexadecimal digits, two for each byte") from None


def _parse_bytes(f: Field, text: Text) -> int:
    size = f.bits // 8
    if isinstance(text, str):
        number_form = text.startswith("0x")  # 0x.. is read as a number: its last byte is the lowest
        data = _unhexlify(text[2:] if number_form else text, f.name)
        if number_form:
            data = data[::-1]
    elif isinstance(text, (bytes, bytearray)):
        data = bytes(text)
    else:
        raise BadValue(f"{f.name} needs a value of {size} bytes in hexadecimal")
    if len(data) != size:
        raise BadValue(f"{f.name} has {size} bytes, the new value has {len(data)}")
    return int.from_bytes(data, "little")


def purpose_code(chip: Chip, f: Field, text: Text) -> int:
    """Return the code of a key purpose given by name or number.

    Raises:
        BadValue: there is none, or the field or its block cannot have it.
    """
    names = ", ".join(purpose.name for purpose in chip.key_purposes if purpose.code > 0)
    if text is None or isinstance(text, (bytes, bytearray)):
        raise BadValue(f"{f.name} needs a key purpose", hint=f"one of {names}")
    asked = str(int(text)) if isinstance(text, int) else text
    named = chip.purpose_by_name.get(asked)
    code = named.code if named is not None else int(asked) if asked.isdecimal() and len(asked) <= 4 else -1
    purpose = chip.purpose_by_code.get(code)
    if purpose is None or code <= 0 or code >> f.width:
        raise BadValue(f"{f.name} cannot be set to {asked!r}", hint=f"key purposes of this chip: {names}")
    for block in chip.blocks:
        if block.key_purpose == f.name and block.name in purpose.not_in_blocks:
            raise BadValue(
                f"{f.name} cannot be {purpose.name}: the hardware does not use such a key from {block.name}",
                hint="take another key block",
            )
    return code


def _number(f: Field, text: Text) -> int:
    if isinstance(text, int):
        return int(text)
    try:
        return int(text, 0) if isinstance(text, str) else int(str(text), 0)
    except ValueError:
        raise BadValue(f"{f.name} takes a number, and {text!r} is none", hint="5, 0x1F or 0b101") from None


def _fitting(f: Field, number: int) -> int:
    if number < 0 or number >> f.width:
        shown = number if number.bit_length() <= 64 else f"a number of {number.bit_length()} bits"
        raise BadValue(f"{shown} does not fit {f.name}, which holds 0 to {(1 << f.width) - 1}")
    return number


def _pin_code(f: Field, pin: int) -> int:
    if pin in (30, 31) or pin > 33:
        raise BadValue(f"{f.name} cannot be pin {pin}: only 0 to 29, 32 and 33 can be used for flash")
    return pin - 2 if pin >= 32 else pin
