"""A USB device outside of the virtual machine, by the usbredir protocol: it comes, takes transfers, and goes.

What a device says and does is a `Chip` of `devices`. (Protocol: usbredir's own description, version 0.7, with
32-bit ids.)
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import struct
import threading
from collections import deque
from enum import IntEnum
from pathlib import Path
from typing import Final, NamedTuple, Protocol


class Packet(IntEnum):
    """Packet types."""

    HELLO = 0
    CONNECT = 1
    INTERFACES = 4
    ENDPOINTS = 5
    SET_CONFIGURATION = 6
    GET_CONFIGURATION = 7
    CONFIGURATION = 8
    SET_ALTERNATE = 9
    GET_ALTERNATE = 10
    ALTERNATE = 11
    START_INTERRUPT = 15
    STOP_INTERRUPT = 16
    INTERRUPT = 17
    CANCEL = 21
    CONTROL = 100
    BULK = 101


OK, CANCELLED, STALL = 0, 1, 4  # status of a transfer
BULK, INTERRUPT = 2, 3  # endpoint types
FULL_SPEED: Final = 1
PACKET_BYTES: Final = 64  # of an endpoint
_CAPABILITIES: Final = 1 << 1 | 1 << 4  # CONNECT has the device's version, ENDPOINTS has packet sizes
_HEAD = struct.Struct("<III")  # type, length, id
_CONTROL = struct.Struct("<BBBBHHH")  # endpoint, request, type, status, value, index, length
_BULK = struct.Struct("<BBHI")  # endpoint, status, length, stream


class Endpoint(NamedTuple):
    """One endpoint; addresses from 0x80 on lead to the host."""

    address: int
    kind: int


class Interface(NamedTuple):
    """One interface with what belongs to it."""

    classes: tuple[int, int, int]  # class, subclass, protocol
    endpoints: tuple[Endpoint, ...]
    extra: bytes = b""  # class-specific descriptors


class Chip(Protocol):
    """What makes a device the one that it is."""

    classes: tuple[int, int, int]
    vendor: int
    product: int
    version: int
    interfaces: tuple[Interface, ...]
    bulk_in: int  # the endpoint by which the board's bytes reach the host

    def control(self, kind: int, request: int, value: int, index: int, data: bytes) -> bytes | None:
        """Answer a control request; None refuses it."""

    def to_host(self, waiting: bytearray, size: int) -> bytes:
        """Take from what waits for the host what one transfer of `size` bytes carries."""


class Line(Protocol):
    """The far side of a device: a board."""

    descriptor: int  # becomes readable when the board says something

    def read(self) -> bytes:
        """What the board says."""

    def write(self, data: bytes) -> None:
        """Bytes for the board."""


class RedirectedDevice:
    """One device, connected to QEMU from `serve` until `close`."""

    def __init__(self, path: Path, chip: Chip, line: Line) -> None:
        self.chip, self.line = chip, line
        self.deaf = False  # takes no bytes: what is written to it stays with the driver
        self.mute = (
            threading.Event()
        )  # answers no request of its class or vendor: the driver waits 5 s for each
        self.left_unanswered = 0
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(path))
        self._listening.listen(1)
        self._wake_read, self._wake_write = os.pipe()
        self._wanted: deque[tuple[int, int]] = deque()  # transfers to the host that wait for bytes: id, size
        self._untaken: list[tuple[int, int]] = []  # transfers that a deaf device has not taken: id, endpoint
        self._waiting = bytearray()  # bytes for the host
        self._thread = threading.Thread(target=self._serve, name=f"USB {path.name}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Disconnect at once."""
        os.write(self._wake_write, b"x")
        self._thread.join(10)
        for number in (self._wake_read, self._wake_write):
            os.close(number)

    def _serve(self) -> None:
        with self._listening, contextlib.suppress(OSError):
            expected: list[socket.socket | int] = [self._listening, self._wake_read]
            select.select(expected, [], [])
            self._socket, _ = self._listening.accept()
            with self._socket:
                self._send(
                    Packet.HELLO, 0, b"parburn's tests".ljust(64, b"\0") + struct.pack("<I", _CAPABILITIES)
                )
                while self._turn():
                    pass

    def _turn(self) -> bool:
        """Wait for something and do it; whether to go on."""
        sources: list[socket.socket | int] = [self._socket, self._wake_read]
        if len(self._waiting) < 4096:
            sources.append(self.line.descriptor)
        readable, _, _ = select.select(sources, [], [])
        if self._wake_read in readable:
            return False
        if self.line.descriptor in readable:
            self._waiting += self.line.read()
        if self._socket in readable:
            head = self._receive(_HEAD.size)
            if len(head) < _HEAD.size:
                return False
            kind, length, number = _HEAD.unpack(head)
            self._take(kind, number, self._receive(length))
        while self._waiting and self._wanted:
            number, size = self._wanted.popleft()
            self._end_bulk(number, self.chip.bulk_in, OK, self.chip.to_host(self._waiting, size))
        return True

    def _receive(self, size: int) -> bytes:
        return self._socket.recv(size, socket.MSG_WAITALL) if size else b""

    def _send(self, kind: Packet, number: int, body: bytes) -> None:
        self._socket.sendall(_HEAD.pack(kind, len(body), number) + body)

    def _take(self, kind: int, number: int, body: bytes) -> None:
        match kind:
            case Packet.HELLO:
                self._introduce()
            case Packet.SET_CONFIGURATION:
                self._send(Packet.CONFIGURATION, number, bytes((OK, body[0])))
            case Packet.GET_CONFIGURATION:
                self._send(Packet.CONFIGURATION, number, bytes((OK, 1)))
            case Packet.SET_ALTERNATE:
                self._send(Packet.ALTERNATE, number, bytes((OK, body[0], body[1])))
            case Packet.GET_ALTERNATE:
                self._send(Packet.ALTERNATE, number, bytes((OK, body[0], 0)))
            case Packet.START_INTERRUPT | Packet.STOP_INTERRUPT:
                self._send(Packet.INTERRUPT, number, bytes((OK, body[0])))
            case Packet.CANCEL:
                self._cancel(number)
            case Packet.BULK:
                self._bulk(number, body)
            case Packet.CONTROL:
                self._control(number, body)

    def _introduce(self) -> None:
        """Say which interfaces and endpoints there are, then that the device is there."""
        chip = self.chip
        count = len(chip.interfaces)
        columns = [range(count), *zip(*(one.classes for one in chip.interfaces), strict=True)]
        table = b"".join(bytes(column).ljust(32, b"\0") for column in columns)
        self._send(Packet.INTERFACES, 0, struct.pack("<I", count) + table)
        kinds, intervals, owners, sizes = bytearray(b"\xff" * 32), bytearray(32), bytearray(32), [0] * 32
        known = [(number, one) for number, face in enumerate(chip.interfaces) for one in face.endpoints]
        for owner, endpoint in ((0, Endpoint(0, 0)), (0, Endpoint(0x80, 0)), *known):
            place = (endpoint.address & 0x80) >> 3 | endpoint.address & 15
            kinds[place], intervals[place] = endpoint.kind, endpoint.kind == INTERRUPT
            owners[place], sizes[place] = owner, PACKET_BYTES
        self._send(Packet.ENDPOINTS, 0, bytes(kinds + intervals + owners) + struct.pack("<32H", *sizes))
        ids = struct.pack("<HHH", chip.vendor, chip.product, chip.version)
        self._send(Packet.CONNECT, 0, bytes((FULL_SPEED, *chip.classes)) + ids)

    # --- transfers

    def _bulk(self, number: int, body: bytes) -> None:
        endpoint, _, length, _ = _BULK.unpack_from(body)
        if endpoint == self.chip.bulk_in:
            self._wanted.append((number, length))
        elif endpoint & 0x80 or self.deaf:  # of a port that has no board: it never says anything
            self._untaken.append((number, endpoint))
        else:
            self.line.write(body[_BULK.size :])
            self._send(Packet.BULK, number, _BULK.pack(endpoint, OK, length, 0))

    def _end_bulk(self, number: int, endpoint: int, status: int, data: bytes = b"") -> None:
        self._send(Packet.BULK, number, _BULK.pack(endpoint, status, len(data), 0) + data)

    def _cancel(self, number: int) -> None:
        for wanted in [one for one in self._wanted if one[0] == number]:
            self._wanted.remove(wanted)
            self._end_bulk(number, self.chip.bulk_in, CANCELLED)
        for untaken in [one for one in self._untaken if one[0] == number]:
            self._untaken.remove(untaken)
            self._end_bulk(number, untaken[1], CANCELLED)

    def _control(self, number: int, body: bytes) -> None:
        endpoint, request, kind, _, value, index, length = _CONTROL.unpack_from(body)
        if self.mute.is_set() and kind & 0x60:
            self.left_unanswered += 1
            return
        answer = self.chip.control(kind, request, value, index, body[_CONTROL.size :])
        status = STALL if answer is None else OK
        data = (answer or b"")[:length] if kind & 0x80 else b""
        size = len(data) if kind & 0x80 else length
        self._send(
            Packet.CONTROL, number, _CONTROL.pack(endpoint, request, kind, status, value, index, size) + data
        )
