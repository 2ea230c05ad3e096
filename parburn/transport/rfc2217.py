"""`rfc2217://host:port`: a remote port with lines and rate, over pyserial's own client.

That client blocks, so two daemon threads stand between it and the loop: one reads, one does everything else
in the order it was asked for. Timing of the control lines is as good as the network allows.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable
from typing import Any

import serial.rfc2217

from parburn.errors import LinkError, PortGone
from parburn.transport.stream import CallbackStream
from parburn.transport.tcp import host_and_port

_READ_S = 0.05  # how long one blocking read waits
_OPEN_S = 15.0
_CLOSE_S = 5.0

_Work = tuple[Callable[[], object], "asyncio.Future[None] | None"]


class Rfc2217Stream(CallbackStream):
    """One remote port (RFC 2217). Its two threads are daemons: a server that hangs keeps no process alive."""

    over_network = True

    def __init__(self, port: str, device: Any) -> None:
        super().__init__(port, device.baudrate)
        self._device = device
        self._loop = asyncio.get_running_loop()
        self._work: queue.SimpleQueue[_Work | None] = queue.SimpleQueue()
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._reader = threading.Thread(target=self._read_on, name=f"read {port}", daemon=True)
        self._worker = threading.Thread(target=self._work_on, name=f"write {port}", daemon=True)
        self._reader.start()
        self._worker.start()

    def write(self, data: bytes) -> None:
        """Queue bytes for the remote port. Never blocks; a failure is reported as a loss."""
        self._work.put((lambda: self._device.write(data), None))
        self._note_written(len(data), self._loop.time())

    def set_lines(self, dtr: bool, rts: bool) -> None:
        """Queue both lines; RFC 2217 sets them one after the other."""

        def both() -> None:
            self._device.dtr = dtr
            self._device.rts = rts

        self._work.put((both, None))

    async def set_baud(self, baud: int) -> None:
        """Change the remote rate, once what was written has left the line.

        Raises:
            PortGone: the connection is lost, or the server has not answered in time.
        """
        await self._line_idle()
        done = self._loop.create_future()
        self._work.put((lambda: setattr(self._device, "baudrate", baud), done))
        try:
            await asyncio.wait_for(done, _OPEN_S)
        except TimeoutError as error:
            raise self.gone(error) from error
        if self.lost is not None:
            raise self.lost
        self.baud = baud

    async def aclose(self) -> None:
        """Send what is queued, then close. Does not wait long for a server that does not answer."""
        if not self._closing:
            await self._line_idle()
            self._closing = True
            self._work.put(None)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(self._ended), _CLOSE_S)

    # --- the two threads

    def _read_on(self) -> None:
        try:
            while not self._closing:
                data = self._device.read(max(1, self._device.in_waiting))
                if data:
                    self._from_thread(self._deliver, data)
        except Exception as error:
            self._from_thread(self._lose, error)

    def _work_on(self) -> None:
        while (work := self._work.get()) is not None:
            do, done = work
            try:
                do()
            except Exception as error:
                self._from_thread(self._lose, error)
            if done is not None:
                self._from_thread(_resolve, done)
        self._reader.join(_CLOSE_S)
        with contextlib.suppress(OSError):
            self._device.close()
        self._from_thread(_resolve, self._ended)

    def _from_thread(self, call: Callable[..., object], *args: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(call, *args)


def _resolve(done: asyncio.Future[None]) -> None:
    if not done.done():
        done.set_result(None)


async def open_rfc2217(url: str, *, baud: int) -> Rfc2217Stream:
    """Connect to `rfc2217://host:port`.

    Raises:
        PortGone: the server cannot be reached, or does not answer.
        UsageError: the address is no host and port.
    """
    host_and_port(url)
    loop = asyncio.get_running_loop()
    opening = loop.run_in_executor(None, _open_device, url, baud)
    try:
        device = await asyncio.wait_for(opening, _OPEN_S)
    except TimeoutError as error:
        raise PortGone(f"{url} does not answer", hint="is the RFC 2217 server running?") from error
    return Rfc2217Stream(url, device)


def _open_device(url: str, baud: int) -> Any:
    try:
        return serial.rfc2217.Serial(url, baudrate=baud, timeout=_READ_S)
    except (OSError, ValueError) as error:
        reason: LinkError = PortGone(
            f"{url} cannot be reached: {error}", hint="is the RFC 2217 server running?"
        )
        raise reason from error
