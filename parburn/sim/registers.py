"""Address space of a simulated chip: plain words in the windows that exist. It has no peripherals."""

from __future__ import annotations

from parburn.chips.model import Chip

WINDOW_SHIFT = 20  # a window is 1 MiB
MAGIC_ADDRESS = 0x40001000
ROM_WINDOW = MAGIC_ADDRESS >> WINDOW_SHIFT


UART_CLKDIV = 0x14  # in the UART's page, on every chip


def clkdiv_address(chip: Chip) -> int:
    """Return the address of the UART's clock divider.

    It is where the row says, else in the page of the UART's date register.
    """
    return chip.uart_clkdiv or (chip.dummy_register & ~0xFFF) + UART_CLKDIV


class BusError(Exception):
    """No bus slave answers at this address, or it is not aligned: the ROM's exception handler ends it all."""


class Registers:
    """Words by address; those never written read 0. Writes to `read_only` words and to the ROM do nothing.

    What exists: a window around every address that the chip's row names, the ROM's, and the internal RAM:
    esptool reads variables of the ROM there. A mirror of the peripherals answers, but has words of its own.
    """

    def __init__(self, chip: Chip) -> None:
        self.words: dict[int, int] = {}
        self.read_only: set[int] = set()
        self._windows = {address >> WINDOW_SHIFT for address in _named_addresses(chip)} | {ROM_WINDOW}
        if chip.data_ram:
            first, last = (address >> WINDOW_SHIFT for address in chip.data_ram)
            self._windows.update(range(first, last + 1))

    def check(self, address: int) -> None:
        """Raise BusError where nothing is mapped."""
        if address & 3 or address >> WINDOW_SHIFT not in self._windows:
            raise BusError(f"nothing answers at 0x{address:08x}")

    def read(self, address: int) -> int:
        """Return the word at an address.

        Raises:
            BusError: nothing is mapped there, or it is not aligned.
        """
        value = self.words.get(address)
        if value is None:
            self.check(address)
            return 0
        return value

    def write(self, address: int, value: int) -> None:
        """Set the word at an address.

        Raises:
            BusError: nothing is mapped there, or it is not aligned.
        """
        self.check(address)
        if address not in self.read_only and address >> WINDOW_SHIFT != ROM_WINDOW:
            self.words[address] = value


def _named_addresses(chip: Chip) -> set[int]:
    found = {chip.efuse_base, clkdiv_address(chip), chip.dummy_register}
    found |= {*chip.extra_registers, *chip.mirrors}
    found |= {source.address for f in chip.fields for source in f.sources if source.address}
    crystal = chip.crystal
    found |= {at for at in (crystal.clkdiv_address, crystal.address, crystal.rom_address) if at}
    if chip.usb_jtag:
        found |= {chip.usb_jtag.buf_no_address or 0} | {write.address for write in chip.usb_jtag.quiet}
    if chip.watchdog_reset:
        found |= {write.address for write in chip.watchdog_reset.writes}
    return found - {0}
