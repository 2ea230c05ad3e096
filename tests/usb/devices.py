"""The adapters: what each tells the host of itself, and what it does when the host sets rate and lines."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import ClassVar, Final, NamedTuple

from tests.usb.usbredir import BULK, INTERRUPT, PACKET_BYTES, Endpoint, Interface

_DEVICE, _CONFIGURATION, _STRING = 1, 2, 3  # descriptors
_GET_DESCRIPTOR = (0x80, 6)
_NOT_STANDARD: Final = 0x60  # a request of the class or of the vendor
_VENDOR: Final = (0xFF, 0, 0)


class Lines(NamedTuple):
    """DTR and RTS as the adapter was told to set them; True is asserted."""

    dtr: bool
    rts: bool


class UsbSerial:
    """What all adapters have in common: descriptors, a rate, two lines."""

    classes = (0, 0, 0)
    vendor = product = version = 0
    names = ("", "")  # maker, product
    interfaces: tuple[Interface, ...] = ()
    bulk_in = 0x81

    def __init__(self, serial: str = "") -> None:
        self.serial = serial
        self.baud = 115200
        self.lines = Lines(False, False)
        self.history: list[Lines] = []  # each time that the host set them, also to what they were
        self.on_lines: Callable[[Lines, Lines], None] = lambda before, now: None
        self.on_baud: Callable[[int], None] = lambda baud: None

    def control(self, kind: int, request: int, value: int, index: int, data: bytes) -> bytes | None:
        """Answer a control request; None refuses it."""
        if (kind, request) == _GET_DESCRIPTOR:
            return self._descriptor(value >> 8, value & 0xFF)
        if not kind & _NOT_STANDARD:  # GET_STATUS, CLEAR_FEATURE and the like
            return bytes(2) if kind & 0x80 else b""
        return self.command(request, value, index, data)

    def command(self, request: int, value: int, index: int, data: bytes) -> bytes | None:
        """Answer a request of the chip's own."""
        raise NotImplementedError

    def to_host(self, waiting: bytearray, size: int) -> bytes:
        """Take what one transfer carries."""
        data = bytes(waiting[:size])
        del waiting[:size]
        return data

    def set_lines(self, *, dtr: bool, rts: bool) -> None:
        """The host sets both lines."""
        before, self.lines = self.lines, Lines(dtr, rts)
        self.history.append(self.lines)
        self.on_lines(before, self.lines)

    def set_baud(self, baud: int) -> None:
        """The host sets the rate."""
        self.baud = baud
        self.on_baud(baud)

    def _descriptor(self, kind: int, number: int) -> bytes | None:
        if kind == _DEVICE:
            ids = (self.vendor, self.product, self.version, 1, 2, 3 if self.serial else 0, 1)
            return struct.pack("<BBHBBBBHHHBBBB", 18, kind, 0x0200, *self.classes, PACKET_BYTES, *ids)
        if kind == _CONFIGURATION:
            body = b"".join(_interface(number, one) for number, one in enumerate(self.interfaces))
            head = (9, kind, 9 + len(body), len(self.interfaces), 1, 0, 0xC0, 50)
            return struct.pack("<BBHBBBBB", *head) + body
        if kind == _STRING:
            text = ("", *self.names, self.serial)[number].encode("utf-16-le") if number else b"\x09\x04"
            return bytes((2 + len(text), kind)) + text
        return None


def _interface(number: int, one: Interface) -> bytes:
    endpoints = b"".join(
        struct.pack("<BBBBHB", 7, 5, end.address, end.kind, PACKET_BYTES, end.kind == INTERRUPT)
        for end in one.endpoints
    )
    return bytes((9, 4, number, 0, len(one.endpoints), *one.classes, 0)) + one.extra + endpoints


def _pair(number: int) -> tuple[Endpoint, Endpoint]:
    return Endpoint(0x80 | number, BULK), Endpoint(number, BULK)


class UsbSerialJtag(UsbSerial):
    """The peripheral inside the chips (driver cdc_acm; TRM, "USB Serial/JTAG Controller"). It has no rate."""

    classes = (0xEF, 2, 1)
    vendor, product, version = 0x303A, 0x1001, 0x0101
    names = ("Espressif", "USB JTAG/serial debug unit")
    # header, call management, abstract control model, union: interface 0 controls, interface 1 carries
    _FUNCTIONS = bytes((5, 0x24, 0, 0x10, 1, 5, 0x24, 1, 0, 1, 4, 0x24, 2, 2, 5, 0x24, 6, 0, 1))
    interfaces = (
        Interface((2, 2, 0), (Endpoint(0x82, INTERRUPT),), _FUNCTIONS),
        Interface((10, 0, 0), _pair(1)),
    )

    def command(self, request: int, value: int, index: int, data: bytes) -> bytes | None:
        """SET_LINE_CODING, GET_LINE_CODING, SET_CONTROL_LINE_STATE."""
        if request == 0x20:
            self.baud = struct.unpack_from("<I", data)[0]
        elif request == 0x21:
            return struct.pack("<IBBB", self.baud, 0, 0, 8)
        elif request == 0x22:
            self.set_lines(dtr=bool(value & 1), rts=bool(value & 2))
        return b""


class Cp2102(UsbSerial):
    """A bridge of Silicon Labs (driver cp210x, AN571)."""

    vendor, product, version = 0x10C4, 0xEA60, 0x0100
    names = ("Silicon Labs", "CP2102 USB to UART Bridge Controller")
    interfaces = (Interface(_VENDOR, _pair(1)),)
    _ANSWERS: ClassVar = {0xFF: b"\x02", 0x08: b"\x30", 0x10: bytes(19), 0x14: bytes(16), 0x04: b"\x00\x08"}

    def command(self, request: int, value: int, index: int, data: bytes) -> bytes | None:
        """SET_MHS, SET_BAUDRATE, GET_BAUDRATE, and what the driver asks for besides."""
        if request == 0x07:
            dtr = bool(value & 1) if value & 0x100 else self.lines.dtr
            rts = bool(value & 2) if value & 0x200 else self.lines.rts
            self.set_lines(dtr=dtr, rts=rts)
        elif request == 0x1E:
            self.set_baud(struct.unpack_from("<I", data)[0])
        elif request == 0x1D:
            return struct.pack("<I", self.baud)
        return self._ANSWERS.get(request, b"")


class Ft232(UsbSerial):
    """A bridge of FTDI (driver ftdi_sio, AN232B-05). Each packet to the host begins with two status bytes."""

    vendor, product, version = 0x0403, 0x6001, 0x0600
    names = ("FTDI", "FT232R USB UART")
    interfaces: tuple[Interface, ...] = (Interface(_VENDOR, (Endpoint(0x81, BULK), Endpoint(0x02, BULK))),)
    _LATENCY_MS = 16  # when it is plugged in
    _STATUS = b"\x31\x60"  # CTS, DSR; the transmitter is empty
    _EIGHTHS = (0, 4, 2, 1, 3, 5, 6, 7)  # of the divisor, by bits 14 to 16

    def __init__(self, serial: str = "") -> None:
        super().__init__(serial)
        self.latencies: list[int] = []  # ms, as the host set them

    @property
    def latency_ms(self) -> int:
        """How long it holds bytes back that fill no packet."""
        return self.latencies[-1] if self.latencies else self._LATENCY_MS

    def command(self, request: int, value: int, index: int, data: bytes) -> bytes | None:
        """MODEM_CTRL, SET_BAUD_RATE, SET_LATENCY_TIMER, GET_LATENCY_TIMER, and what may be ignored."""
        if request == 0x01:
            dtr = bool(value & 1) if value & 0x100 else self.lines.dtr
            rts = bool(value & 2) if value & 0x200 else self.lines.rts
            self.set_lines(dtr=dtr, rts=rts)
        elif request == 0x03:
            eighths = (value & 0x3FFF) * 8 + self._EIGHTHS[value >> 14 | (index >> 8 & 1 or index & 1) << 2]
            self.set_baud(round(24_000_000 / max(eighths, 1)))
        elif request == 0x09:
            self.latencies.append(value & 0xFF)
        elif request == 0x0A:
            return bytes((self.latency_ms,))
        elif request in (0x05, 0x90):  # modem status, EEPROM
            return self._STATUS
        return b""

    def to_host(self, waiting: bytearray, size: int) -> bytes:
        """Take packets of two bytes of status and up to 62 of data."""
        room = PACKET_BYTES - len(self._STATUS)
        data = bytearray()
        for _ in range(max(1, size // PACKET_BYTES)):
            if not waiting:
                break
            data += self._STATUS + waiting[:room]
            del waiting[:room]
        return bytes(data)


class Ft4232(Ft232):
    """Four bridges in one: an interface each."""

    product, version = 0x6011, 0x0800
    names = ("FTDI", "FT4232H Quad HS USB-UART")
    interfaces = tuple(
        Interface(_VENDOR, (Endpoint(0x81 + 2 * n, BULK), Endpoint(2 + 2 * n, BULK))) for n in range(4)
    )


class TwoPorts(UsbSerial):
    """An adapter of a vendor that nobody knows, with two ports in one interface (driver generic)."""

    vendor, product, version = 0x1209, 0x0002, 0x0100
    names = ("Nobody", "Two ports")
    interfaces = (Interface(_VENDOR, (*_pair(1), *_pair(2))),)

    def command(self, request: int, value: int, index: int, data: bytes) -> bytes | None:
        """The generic driver has nothing to say to a chip."""
        return b""
