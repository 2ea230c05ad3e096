"""Serial ports and ptys over pyserial-asyncio: `open_tty`. Never waits for tcdrain, never copies to write.

pyserial-asyncio drives any object with pyserial's methods. `_Port` is pyserial's Serial with the five
methods replaced that cost most or block: read and write are one system call each, flush does not drain (on
some USB-CDC drivers tcdrain never returns), close leaves the closing to us, off the loop, and the driver is
not set up anew for a timeout.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import termios
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import serial
import serial_asyncio

from parburn.errors import LinkError, PortBusy, PortDenied, PortGone
from parburn.transport import ports, tty
from parburn.transport.stream import CallbackStream

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_READ_BYTES = 4096
_DRAIN_S = 1.0  # how long closing waits for bytes the driver still holds
_CLOSE_S = 3.0  # how long closing waits for close() itself


class _Port(serial.Serial):
    """pyserial's port, without its select() before each read and without a blocking flush or close."""

    number: int  # the file descriptor
    _set_up_for = 0  # the rate with which the driver was set up last
    latency_ms: int | None  # of the driver's timer
    on_write_error: Callable[[OSError], object]

    def read(self, size: int | None = 1) -> bytes:
        """Return what is there, at most 4096 bytes; b"" when nothing is.

        Raises:
            SerialException: the port is gone: EIO, or an empty read although the port is readable.
        """
        try:
            data = os.read(self.number, _READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return b""
        except OSError as error:
            raise serial.SerialException(error.errno, str(error)) from error
        if not data:
            raise serial.SerialException(errno.EIO, "end of file")
        return data

    def write(self, b: ReadableBuffer, /) -> int | None:
        """Write what the driver takes now, and return how many bytes that were.

        A port that is gone takes everything and calls `on_write_error`: the transport would log it.

        Raises:
            BlockingIOError: the driver takes nothing now.
        """
        try:
            return os.write(self.number, b)
        except (BlockingIOError, InterruptedError):
            raise
        except OSError as error:
            self.on_write_error(error)
            return len(memoryview(b))

    def _reconfigure_port(self, force_update: bool = False) -> None:
        """Set up the driver for a new rate; not for a new timeout, of which the transport sets two."""
        if force_update or self.baudrate != self._set_up_for:
            super()._reconfigure_port(force_update)  # type: ignore[misc]  # the stubs leave it out
            self._set_up_for = self.baudrate

    def flush(self) -> None:
        """Do not wait: `release` has thrown away what is left."""

    def close(self) -> None:
        """Leave the descriptor open: `really_close` closes it where nobody waits on it."""

    def really_close(self) -> None:
        """Close. May block for seconds in some USB drivers."""
        super().close()


class SerialStream(CallbackStream, asyncio.Protocol):
    """One tty or pty."""

    def __init__(self, port: str, device: _Port) -> None:
        super().__init__(port, device.baudrate)
        self._device = device
        self._loop = asyncio.get_running_loop()
        self._transport: Any = None  # serial_asyncio.SerialTransport, which has no types
        self._transport_ended = self._loop.create_future()
        # A loss is never reported from within write(): the caller is in the middle of its own state.
        device.on_write_error = lambda error: self._loop.call_soon(self._lose, error)
        self._closed: asyncio.Future[None] | None = None
        self._reads_paused = False
        self.latency_ms = device.latency_ms
        self.is_pty = tty.is_pty(device.number)
        self.has_lines = not self.is_pty
        self.usb_vid_pid = None if self.is_pty else tty.usb_ids(port)

    # --- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Do nothing: the transport is known since it was made."""

    def data_received(self, data: bytes) -> None:
        """Hand on what the transport read."""
        self._deliver(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Note that the transport has let go of the port."""
        if not self._transport_ended.done():
            self._transport_ended.set_result(None)
        self._lose(exc)

    # --- ByteStream

    def write(self, data: bytes) -> None:
        """Write at once what the driver takes (nearly always all); the transport sends the rest."""
        if self.lost is not None or self._closing:
            return
        written = 0
        if not self._transport.get_write_buffer_size():
            with contextlib.suppress(BlockingIOError):
                written = self._device.write(data) or 0
        if written < len(data):
            self._transport.write(data[written:] if written else data)
        if not self.is_pty:  # what a pty took is with its other end already
            self._note_written(len(data), self._loop.time())

    def pause_reads(self, seconds: float) -> None:
        """Pause reads for so many seconds: the loop is not woken, and the driver collects what comes."""
        if not (self._reads_paused or self._closing or self._transport.is_closing()):
            self._reads_paused = True
            self._transport.pause_reading()
            self._loop.call_later(seconds, self._resume_reads)

    def _resume_reads(self) -> None:
        self._reads_paused = False
        self._transport.resume_reading()  # does nothing for a transport that closes

    def set_lines(self, dtr: bool, rts: bool) -> None:
        """Set both lines in one step.

        Raises:
            PortGone: the port vanished.
        """
        if not self.has_lines:
            return
        try:
            tty.set_lines(self._device.number, dtr, rts)
        except OSError as error:
            raise self.gone(error) from error

    async def set_baud(self, baud: int) -> None:
        """Change the rate, once what was written has left the line; received bytes stay in the queue.

        Raises:
            LinkError: the driver cannot set this rate.
            PortGone: the port vanished.
        """
        await self._line_idle()
        try:
            self._device.baudrate = baud
        except ValueError as error:
            raise LinkError(f"{self.port} cannot be set to {baud} baud", hint="try --baud 460800") from error
        except (OSError, termios.error) as error:
            raise self.gone(error) from error
        self.baud = baud

    def discard_input(self) -> None:
        """Throw away received bytes, here and in the driver."""
        super().discard_input()
        tty.discard_input(self._device.number)

    async def aclose(self) -> None:
        """Let what was written leave, then close without waiting on the driver for long."""
        if self._closed is None:
            self._closed = asyncio.ensure_future(self._close())
        await asyncio.shield(self._closed)

    # ---

    async def _close(self) -> None:
        if self.lost is None:
            await self._line_idle()
            await self._driver_empty()
        self._closing = True
        if not self._transport.is_closing():  # a second abort() of a transport that ended would raise
            self._transport.abort()
        await asyncio.wait({self._transport_ended}, timeout=_CLOSE_S)
        tty.release(self._device.number)
        if self.is_pty:
            self._device.really_close()
        else:
            await self._close_in_thread()

    async def _driver_empty(self) -> None:
        deadline = self._loop.time() + _DRAIN_S
        while self._transport.get_write_buffer_size() or tty.unsent_bytes(self._device.number):
            if self.lost is not None or self._loop.time() > deadline:
                return
            await asyncio.sleep(0.005)

    async def _close_in_thread(self) -> None:
        """Close in a daemon thread: a driver that hangs in close() must hold up neither loop nor exit."""
        done = self._loop.create_future()

        def close() -> None:
            with contextlib.suppress(OSError):
                self._device.really_close()
            with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
                self._loop.call_soon_threadsafe(_resolve, done)

        threading.Thread(target=close, name=f"close {self.port}", daemon=True).start()
        await asyncio.wait({done}, timeout=_CLOSE_S)


def _resolve(done: asyncio.Future[None]) -> None:
    if not done.done():
        done.set_result(None)


async def open_tty(port: str, *, baud: int) -> SerialStream:
    """Open a serial port or pty: raw mode, locked, low latency where the OS allows.

    Raises:
        PortBusy: another program holds the port.
        PortDenied: we have no rights to open it.
        PortGone: it is not there, or is not a serial port.
    """
    loop = asyncio.get_running_loop()
    try:
        if tty.is_pty(port):
            device = _open_device(port, baud)
        else:  # some drivers take their time
            device = await loop.run_in_executor(None, _open_device, port, baud)
    except (OSError, ValueError) as error:  # who holds it is looked for in all of /proc
        raise await loop.run_in_executor(None, _open_error, port, error) from error
    stream = SerialStream(port, device)
    transport, _ = await serial_asyncio.connection_for_serial(loop, lambda: stream, device)
    stream._transport = transport
    return stream


def _open_device(port: str, baud: int) -> _Port:
    # exclusive: flock, before a single setting is touched
    device = _Port(port, baudrate=baud, exclusive=True, timeout=0, write_timeout=0)
    device.number = device.fileno()
    tty.claim_exclusively(device.number)
    device.latency_ms = tty.ask_low_latency(device.number, port)
    return device


def _open_error(port: str, error: Exception) -> LinkError:
    number = getattr(error, "errno", None)
    if number in (errno.EBUSY, errno.EAGAIN):
        holder = ports.holder_of(port)
        by = f" by {holder}" if holder else " by another program"
        return PortBusy(f"{port} is held{by}", hint=ports.busy_hint())
    if number in (errno.EACCES, errno.EPERM):
        return PortDenied(
            f"no rights to open {port}",
            hint="add yourself to the group that owns it (dialout or uucp: sudo usermod -aG dialout $USER), "
            "then log in again",
        )
    if number in (errno.ENOENT, errno.ENXIO, errno.ENODEV):
        return PortGone(
            f"there is no {port}", hint="check cable and hub; `parburn ports` lists what is there"
        )
    return PortGone(f"{port} cannot be opened as a serial port: {error}", hint="is it a serial port at all?")
