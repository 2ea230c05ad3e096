"""Which register accesses of a script go to the chip: no write that may reach the eFuse controller.

Pure: sends nothing. The controller answers under more addresses than its own, and not all of them stand in a
manual. So a write is let through by what is known to be memory, and refused elsewhere by its low bits: buses
decode peripherals by these, in windows of 256 KiB (ESP32: 0x3FF4.... and 0x6000....; ESP32-S2: 0x3F40....
and 0x6000....; TRM, "System and Memory", address mapping).
"""

from __future__ import annotations

from operator import index
from typing import Final

from parburn.chips.model import Chip, RegisterWrite
from parburn.errors import BadValue, EfuseError

_WORD: Final = 0xFFFF_FFFF
_LOW_BITS: Final = 0x3FFFF  # by which a peripheral is found within each of its windows
_PAGE: Final = 0x1000  # what the manuals give a controller that begins at such a boundary
_HALF_PAGE: Final = 0x800  # and what the others have at most

# Internal and external memory, ROM and caches of all chips; peripherals are below, between and above.
_MEMORY: Final = ((0x3C00_0000, 0x3F40_0000), (0x3F50_0000, 0x3FF0_0000), (0x3FF8_0000, 0x5000_0000))


def checked_address(address: int) -> int:
    """Return an address that the ROM can be asked for.

    Raises:
        BadValue: it does not fit into 32 bits.
        TypeError: it is no number.
    """
    number = index(address)
    if not 0 <= number <= _WORD:
        raise BadValue(f"{number:#x} is no address: it does not fit into 32 bits")
    return number


def checked_write(chip: Chip, write: RegisterWrite) -> RegisterWrite:
    """Return a write that may go to the chip, as plain numbers.

    Raises:
        EfuseError: it would reach the eFuse controller.
        BadValue: it is no write of one register.
        TypeError: something in it is no number.
    """
    address = checked_address(write.address)
    for name, value in (("value", write.value), ("mask", write.mask), ("delay_us", write.delay_us)):
        if not 0 <= index(value) <= _WORD:
            raise BadValue(f"esp.write_reg to {address:#010x}: the {name} does not fit into 32 bits")
    if any(_is_of_controller(chip, byte) for byte in range(address, address + 4)):
        raise EfuseError(
            f"esp.write_reg to 0x{address:08x} is refused: it reaches a register of the eFuse controller, or "
            "an address under which the bus may know one",
            hint="Use the burn commands, which check, record and verify what they burn.",
        )
    if address % 4:
        raise BadValue(f"esp.write_reg to {address:#010x} is refused: registers lie at multiples of 4")
    return RegisterWrite(address, index(write.value), index(write.mask), index(write.delay_us))


def _is_of_controller(chip: Chip, address: int) -> bool:
    base = chip.efuse_base
    size = _HALF_PAGE if base % _PAGE else _PAGE
    if base <= address < base + size:
        return True
    memory = any(first <= address < end for first, end in _MEMORY)
    return not memory and (base & _LOW_BITS) <= (address & _LOW_BITS) < (base & _LOW_BITS) + size
