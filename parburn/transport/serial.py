"""Serial ports and ptys over pyserial-asyncio: `open_tty`. Never waits for tcdrain, never copies to write.

pyserial-asyncio drives any object with pyserial's methods. `_Port` is pyserial's Serial with the five
methods replaced that cost most or block: read and write are one system call each, flush does not drain (on
some USB-CDC drivers tcdrain never returns), close leaves the closing to us, off the loop, and the driver is
not set up anew for a timeout.

Whatever may be a request to an adapter (opening, lines, rate, closing) is called in the port's own thread,
with a deadline. A pty has no adapter, and is spared the crossing; but for one that has lines
(`pty_lines`). What may move a line is called while no chip of this machine burns (`calls_in_lines`).
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import serial
import serial_asyncio

from parburn.errors import LinkError, PortHangs
from parburn.transport import pty_lines, tty
from parburn.transport.calls_in_lines import OPEN_HOLDS_LINES_S, OPEN_LASTS_S, closed_in_lines, done_in_lines
from parburn.transport.line_moves import LineMoves
from parburn.transport.port_errors import PORT_ERRORS, is_bad_setting, opening_error
from parburn.transport.port_thread import PortThread
from parburn.transport.stream import CallbackStream, LineStep

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_READ_BYTES = 4096
_DRAIN_S = 1.0  # how long closing waits for bytes the driver still holds
_CLOSE_S = 3.0  # how long closing waits for close() itself
_OPEN_S = 10.0  # the kernel gives up a request to an adapter after 5 s, and opening takes several
_REQUEST_S = 10.0  # for a rate
_MOVES_S = 2.0  # for a sequence of line moves, beside its own time: nobody may burn meanwhile

Result = TypeVar("Result")


class _Port(serial.Serial):
    """pyserial's port, without its select() before each read and without a blocking flush or close."""

    number: int  # the file descriptor
    _set_up_for = 0  # the rate with which the driver was set up last
    latency = tty.Latency()
    is_pty_with_lines = False
    usb_vid_pid: tuple[int, int] | None = None
    other_lines = 0
    on_write_error: Callable[[OSError], object]

    def read(self, size: int | None = 1) -> bytes:
        """Return what is there, at most 4096 bytes; b"" when nothing is.

        Raises:
            SerialException: the port is gone: EIO, or an empty read of a port that hung up. (An empty read of
                another port: a second program read in the same moment, and was first.)
        """
        try:
            data = os.read(self.number, _READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return b""
        except OSError as error:
            raise serial.SerialException(error.errno, str(error)) from error
        if not data and tty.hung_up(self.number):
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

    def __init__(self, port: str, device: _Port, thread: PortThread | None) -> None:
        super().__init__(port, device.baudrate)
        self._device = device
        self._thread = thread  # None: a pty, whose calls never wait
        self._loop = asyncio.get_running_loop()
        self._transport: Any = None  # serial_asyncio.SerialTransport, which has no types
        self._transport_ended = self._loop.create_future()
        # A loss is never reported from within write(): the caller is in the middle of its own state.
        device.on_write_error = lambda error: self._loop.call_soon(self._lose, error)
        self._closed: asyncio.Future[None] | None = None
        self._moves = LineMoves()
        self._reads_paused = False
        self.latency_ms = device.latency.timer_ms
        self.is_pty = tty.is_pty(device.number)
        self.has_lines = not self.is_pty or thread is not None
        self.usb_vid_pid = device.usb_vid_pid

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

    async def move_lines(self, steps: Sequence[LineStep]) -> None:
        """Move both lines, in one step each, while no chip of this machine burns.

        A sequence that was given up at its deadline goes no further, whenever the driver comes back: others
        burn then. For one that is only not waited for any more see `LineMoves`.

        Raises:
            PortGone: the port vanished.
            NoAnswer: the adapter does not carry it out.
            LinesBusy: chips burned for too long; no line was moved.
        """
        if not self.has_lines or self._thread is None:
            return
        given_up = threading.Event()

        def set_both(dtr: bool, rts: bool, _is_over: Callable[[], bool]) -> None:
            if self.is_pty:
                pty_lines.set_lines(self._device.number, dtr, rts)
            else:
                tty.set_lines(self._device.number, dtr, rts, self._device.other_lines)

        def move() -> None:
            self._moves.carry_out(steps, set_both, given_up)

        lasts_s = sum(step[2] for step in steps)
        within_s = _MOVES_S + lasts_s
        try:
            await done_in_lines(
                self._thread, move, within_s, lasts_s=lasts_s, holds_s=within_s, given_up=given_up.set
            )
        except PORT_ERRORS as error:
            if _is_deadline(error):
                raise _adapter_hangs(self.port, "moving its lines", within_s) from error
            raise self.gone(error) from error

    async def input_line(self, line: str) -> bool:
        """Tell whether an input line is set; see `ByteStream.input_line`."""
        try:
            return await self._in_driver(
                lambda: tty.presence_line(self._device.number, line), _REQUEST_S, "its input lines"
            )
        except PORT_ERRORS as error:
            raise self.gone(error) from error

    async def set_baud(self, baud: int) -> None:
        """Change the rate, once what was written has left the line; received bytes stay in the queue.

        Raises:
            LinkError: the driver cannot set this rate.
            PortGone: the port vanished.
            NoAnswer: the adapter does not carry it out.
        """
        await self._line_idle()
        try:
            await self._in_driver(lambda: setattr(self._device, "baudrate", baud), _REQUEST_S, "a new rate")
        except PORT_ERRORS as error:
            if is_bad_setting(error):
                raise LinkError(
                    f"{self.port} cannot be set to {baud} baud", hint="try --baud 460800"
                ) from error
            raise self.gone(error) from error
        self.baud = baud

    async def _in_driver(self, call: Callable[[], Result], within_s: float, what: str) -> Result:
        """Have the driver do something. Raises NoAnswer at the deadline; and what the call raises."""
        if self._thread is None:
            return call()
        try:
            return await self._thread.do(call, within_s)
        except TimeoutError as error:
            if _is_deadline(error):
                raise _adapter_hangs(self.port, what, within_s) from error
            raise

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
        await self._moves.end()
        if self.lost is None:
            await self._line_idle()
            await self._driver_empty()
        self._closing = True
        if not self._transport.is_closing():  # a second abort() of a transport that ended would raise
            self._transport.abort()
        await asyncio.wait({self._transport_ended}, timeout=_CLOSE_S)
        if self._thread is None:
            _shut(self._device, self.port)
            return
        try:  # a driver that hangs in close() must hold up neither loop nor exit
            with contextlib.suppress(TimeoutError):
                await closed_in_lines(
                    self._thread, lambda: _shut(self._device, self.port), _CLOSE_S, is_gone=self._is_gone
                )
        finally:
            self._thread.end()

    def _is_gone(self) -> bool:
        return self.lost is not None or tty.hung_up(self._device.number)

    async def _driver_empty(self) -> None:
        deadline = self._loop.time() + _DRAIN_S
        while self._transport.get_write_buffer_size() or tty.unsent_bytes(self._device.number):
            if self.lost is not None or self._loop.time() > deadline:
                return
            await asyncio.sleep(0.005)


async def open_tty(port: str, *, baud: int, within_s: float | None = None) -> SerialStream:
    """Open a serial port or pty: raw mode, locked, low latency where the OS allows.

    Args:
        port: Its path.
        baud: Bits per second.
        within_s: Seconds that its adapter has for it, None: _OPEN_S; one that opens later is closed again.

    Raises:
        PortBusy: another program holds the port.
        PortDenied: we have no rights to open it.
        PortGone: it is not there, or is not a serial port.
        NoAnswer: its adapter does not let itself be opened.
        LinesBusy: chips burned for too long, and opening moves lines.
        LinkError: the system has no more of what it takes to open it.
    """
    loop = asyncio.get_running_loop()
    thread = None
    try:
        if tty.is_pty(port):
            device = _open_device(port, baud)
            if device.is_pty_with_lines:
                thread = PortThread(f"port {port}")
                await _raise_lines(thread, device, port)
        else:
            thread = PortThread(f"port {port}")
            device = await _open_in(thread, port, baud, within_s or _OPEN_S)
    except PORT_ERRORS as error:  # who holds it is looked for in all of /proc
        raise await loop.run_in_executor(None, opening_error, port, error) from error
    stream = SerialStream(port, device, thread)
    transport, _ = await serial_asyncio.connection_for_serial(loop, lambda: stream, device)
    stream._transport = transport
    return stream


async def _open_in(thread: PortThread, port: str, baud: int, within_s: float) -> _Port:
    """Open the port in its thread. One that opens when nobody waits any more is closed again."""
    try:
        return await done_in_lines(
            thread,
            lambda: _open_device(port, baud),
            within_s,
            lasts_s=OPEN_LASTS_S,
            holds_s=OPEN_HOLDS_LINES_S,
            unwanted=_closes_late(port, asyncio.get_running_loop()),
        )
    except BaseException as error:
        thread.end()
        if _is_deadline(error):
            raise _adapter_hangs(port, "being opened", within_s) from error
        raise


async def _raise_lines(thread: PortThread, device: _Port, port: str) -> None:
    """Assert both lines of a pty that has them, as Linux does where a serial port is opened."""

    def assert_both() -> None:
        tty.keep_lines_at_close(device.number)
        pty_lines.set_lines(device.number, True, True)

    try:
        await done_in_lines(thread, assert_both, _OPEN_S, lasts_s=OPEN_LASTS_S, holds_s=OPEN_HOLDS_LINES_S)
    except BaseException:  # chips may burn meanwhile: closing waits for its turn, too
        _closes_late(port, asyncio.get_running_loop(), thread)(device)
        raise


def _closes_late(
    port: str, loop: asyncio.AbstractEventLoop, its_thread: PortThread | None = None
) -> Callable[[_Port], None]:
    """Return what closes, from any thread, a port that opened when nobody waited for it any more.

    `its_thread` is ended behind that; it may be at work with the port still.
    """

    async def close(late: _Port) -> None:
        thread = its_thread or PortThread(f"port {port}")
        try:
            with contextlib.suppress(TimeoutError, *PORT_ERRORS):
                await closed_in_lines(
                    thread, late.really_close, _CLOSE_S, is_gone=lambda: tty.hung_up(late.number)
                )
        finally:
            thread.end()

    def unwanted(late: _Port) -> None:
        closing = close(late)
        try:
            asyncio.run_coroutine_threadsafe(closing, loop)
        except RuntimeError:  # the loop has ended
            closing.close()
            late.really_close()

    return unwanted


def _is_deadline(error: BaseException) -> bool:
    """Whether it is our own deadline. The kernel's ETIMEDOUT is a TimeoutError too, and has a number."""
    return isinstance(error, TimeoutError) and error.errno is None


def _adapter_hangs(port: str, what: str, within_s: float) -> PortHangs:
    return PortHangs(
        f"{port}: its adapter did not answer to {what} within {within_s:g} s",
        hint="unplug the adapter and plug it in again, or use another one or another port of the hub; "
        "then run again",
    )


def _open_device(port: str, baud: int) -> _Port:
    device = None
    try:
        # exclusive: flock, before a single setting is touched
        device = _Port(port, baudrate=baud, exclusive=True, timeout=0, write_timeout=0)
        device.number = device.fileno()
        tty.claim_exclusively(device.number)
        if tty.is_pty(device.number):
            device.is_pty_with_lines = pty_lines.has_lines(device.number)
        else:
            _set_up_adapter(device, port)
    except BaseException:
        if device is not None:
            device.really_close()
        raise
    return device


def _set_up_adapter(device: _Port, port: str) -> None:
    tty.keep_lines_at_close(device.number)
    device.usb_vid_pid = tty.usb_ids(port)
    device.other_lines = 0 if device.usb_vid_pid else tty.other_lines(device.number)
    device.latency = tty.ask_low_latency(device.number, port)


def _shut(device: _Port, port: str) -> None:
    """Leave the port as it was found, and close it."""
    tty.put_back_latency(device.number, port, device.latency)
    tty.release(device.number)
    with contextlib.suppress(*PORT_ERRORS):
        device.really_close()
