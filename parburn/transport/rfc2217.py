"""`rfc2217://host:port`: a remote port with lines and rate, over pyserial's own client.

That client blocks, so two daemon threads stand between it and the loop: one reads, one does everything else
in the order it was asked for. Timing of the control lines is as good as the network allows.

What the server sends is taken apart by the client in a third thread, its own. That thread believes the
server: an answer that is none ends it with an error, and Python would print that. `_Client` keeps it instead.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import serial.rfc2217

from parburn.errors import LinesBusy, LinkError, NoAnswer, PortGone
from parburn.transport.calls_in_lines import OPEN_HOLDS_LINES_S, OPEN_LASTS_S, closed_in_lines, done_in_lines
from parburn.transport.line_moves import LineMoves
from parburn.transport.port_thread import PortThread
from parburn.transport.stream import CallbackStream, LineStep
from parburn.transport.tcp import host_and_port

_READ_S = 0.05  # how long one blocking read waits
_OPEN_S = 15.0
_REQUEST_S = 15.0  # for a rate: the client waits 3 s for each answer
_MOVES_S = 6.0  # for a sequence of line moves, beside its own time: nobody may burn meanwhile
_CLOSE_S = 5.0


class _Client(serial.rfc2217.Serial):
    """pyserial's client, whose thread ends in silence at what is no RFC 2217, and says so in `failure`."""

    failure: Exception | None = None
    _read_buffer: Any  # the stubs leave it out

    def _telnet_read_loop(self) -> None:
        try:
            super()._telnet_read_loop()  # type: ignore[misc]  # the stubs leave it out
        except Exception as error:  # whatever it is that the server's bytes lead to
            self.failure = error
            self._read_buffer.put(None)  # wakes the reader, which then finds the thread ended


class Rfc2217Stream(CallbackStream):
    """One remote port (RFC 2217). Its two threads are daemons: a server that hangs keeps no process alive."""

    over_network = True

    def __init__(self, port: str, device: _Client, worker: PortThread) -> None:
        super().__init__(port, device.baudrate)
        self._device = device
        self._loop = asyncio.get_running_loop()
        self._worker = worker
        self._closed: asyncio.Future[None] | None = None
        self._moves = LineMoves()
        self._reader = threading.Thread(target=self._read_on, name=f"read {port}", daemon=True)
        self._reader.start()

    def write(self, data: bytes) -> None:
        """Queue bytes for the remote port. Never blocks; a failure is reported as a loss."""
        self._worker.post(lambda: self._device.write(data), self._lose)
        self._note_written(len(data), self._loop.time())

    async def move_lines(self, steps: Sequence[LineStep]) -> None:
        """Move both lines while no chip of this machine burns; RFC 2217 sets them one after the other.

        Raises:
            PortGone: the connection is lost.
            NoAnswer: the server did not carry it out in time.
            LinesBusy: chips burned for too long; no line was moved.
        """
        given_up = threading.Event()

        def set_each(dtr: bool, rts: bool, is_over: Callable[[], bool]) -> None:
            self._device.dtr = dtr
            if not is_over():
                self._device.rts = rts

        def move() -> None:
            self._moves.carry_out(steps, set_each, given_up)

        lasts_s = sum(step[2] for step in steps)
        within_s = _MOVES_S + lasts_s
        moving = done_in_lines(
            self._worker, move, within_s, lasts_s=lasts_s, holds_s=within_s, given_up=given_up.set
        )
        await self._request(moving, within_s, "moving its lines")

    async def set_baud(self, baud: int) -> None:
        """Change the remote rate, once what was written has left the line.

        Raises:
            PortGone: the connection is lost.
            NoAnswer: the server did not carry it out in time.
        """
        await self._line_idle()
        setting = self._worker.do(lambda: setattr(self._device, "baudrate", baud), _REQUEST_S)
        await self._request(setting, _REQUEST_S, "a new rate")
        self.baud = baud

    async def _request(self, request: Awaitable[object], within_s: float, what: str) -> None:
        """Wait for what the worker does. Raises PortGone, NoAnswer; LinesBusy where it did nothing."""
        try:
            await request
        except LinesBusy:
            raise
        except TimeoutError as error:
            raise NoAnswer(
                f"{self.port}: the server did not answer to {what} within {within_s:g} s",
                hint="is the RFC 2217 server busy, or its network slow?",
            ) from error
        except Exception as error:
            self._lose(error)
        if self.lost is not None:
            raise self.lost

    def gone(self, error: Exception | None) -> PortGone:
        """Return the error for a port that vanished, or whose server sends what is no RFC 2217."""
        if self._device.failure is None:
            return super().gone(error)
        gone = PortGone(
            f"{self.port}: the server sends what is no RFC 2217 ({self._device.failure})",
            hint="is it an RFC 2217 server? A plain TCP bridge is socket://host:port",
        )
        gone.__cause__ = self._device.failure
        return gone

    async def aclose(self) -> None:
        """Send what is queued, then close. Does not wait long for a server that does not answer."""
        if self._closed is None:
            self._closed = asyncio.ensure_future(self._close())
        await asyncio.shield(self._closed)

    async def _close(self) -> None:
        await self._moves.end()
        await self._line_idle()
        self._closing = True
        try:
            with contextlib.suppress(TimeoutError):
                await closed_in_lines(
                    self._worker, self._shut, _CLOSE_S, is_gone=lambda: self.lost is not None
                )
        finally:
            self._worker.end()

    # --- in threads

    def _shut(self) -> None:
        self._reader.join(_CLOSE_S)
        with contextlib.suppress(OSError):
            self._device.close()

    def _read_on(self) -> None:
        try:
            while not self._closing:
                data = self._device.read(max(1, self._device.in_waiting))
                if data:
                    self._from_thread(self._deliver, data)
        except Exception as error:
            self._from_thread(self._lose, error)

    def _from_thread(self, call: Callable[..., object], *args: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(call, *args)


async def open_rfc2217(url: str, *, baud: int) -> Rfc2217Stream:
    """Connect to `rfc2217://host:port`.

    Raises:
        PortGone: the server cannot be reached, or does not answer.
        UsageError: the address is no host and port.
        LinesBusy: chips burned for too long, and opening moves lines.
    """
    host_and_port(url)
    worker = PortThread(f"port {url}")
    try:
        device = await done_in_lines(
            worker,
            lambda: _open_device(url, baud),
            _OPEN_S,
            lasts_s=OPEN_LASTS_S,
            holds_s=OPEN_HOLDS_LINES_S,
            unwanted=_Client.close,
        )
    except BaseException as error:
        worker.end()
        if isinstance(error, TimeoutError):
            raise PortGone(f"{url} does not answer", hint="is the RFC 2217 server running?") from error
        raise
    return Rfc2217Stream(url, device, worker)


def _open_device(url: str, baud: int) -> _Client:
    try:
        return _Client(url, baudrate=baud, timeout=_READ_S)
    except Exception as error:  # the server's answers may lead to any
        reason: LinkError = PortGone(
            f"{url} cannot be reached: {error}", hint="is the RFC 2217 server running?"
        )
        raise reason from error
