"""The ports of a station: one that was opened stays open until its tty goes. Moves no line itself.

Closing a tty that is there may move its lines, and must wait until no chip burns; closing one that is gone
moves none. So a verdict does not wait for a close, and the loss of the port tells that a board was taken out.
"""

from __future__ import annotations

import asyncio

from parburn.errors import PortBusy
from parburn.run.baud import ROM_BAUD
from parburn.transport.open import open_stream
from parburn.transport.stream import ByteStream


class KeptPorts:
    """Opens ports for runs of one board, and keeps them. Everything here runs on the event loop."""

    def __init__(self, *, open_s: float) -> None:
        """Keep none yet. An adapter that does not open within `open_s` seconds is given up."""
        self._open_s = open_s
        self._kept: dict[str, ByteStream] = {}
        self._in_use: set[ByteStream] = set()
        self._opening: set[str] = set()
        self._closing: dict[str, asyncio.Future[None]] = {}  # by name, what was given up and still closes

    async def open(self, port: str) -> ByteStream:
        """Return the port's stream: the one that is open, where it is still good.

        Raises:
            PortBusy: another socket of this station uses it. And what `open_stream` raises.
        """
        while (closing := self._closing.get(port)) is not None:  # or it would find itself in the way
            await asyncio.wait({closing})
        stream = self._kept.get(port)
        if port in self._opening or (stream in self._in_use and stream is not None and stream.lost is None):
            raise PortBusy(
                f"{port} is in use by another socket of this station",
                hint="Two slots of the slots file are one port: `parburn slots check` tells.",
            )
        if stream is not None and stream.lost is not None:
            del self._kept[port]  # whoever still uses it closes it
            if stream not in self._in_use:
                await self._close(stream)
            stream = None
        if stream is None:
            self._opening.add(port)
            try:
                stream = self._kept[port] = await open_stream(port, within_s=self._open_s)
            finally:
                self._opening.discard(port)
        self._in_use.add(stream)
        return stream

    async def give_back(self, stream: ByteStream) -> None:
        """Keep the port open, unless it is gone or was left at a rate that the next chip does not speak."""
        self._in_use.discard(stream)
        if stream.lost is not None or stream.baud != ROM_BAUD:
            if self._kept.get(stream.port) is stream:
                del self._kept[stream.port]
            await self._close(stream)

    async def close(self, port: str) -> None:
        """Close a port; do nothing where it is in use (its run sees the loss) or not open."""
        stream = self._kept.get(port)
        if stream is not None and stream not in self._in_use:
            del self._kept[port]
            await self._close(stream)

    async def aclose(self) -> None:
        """Close all ports."""
        self._in_use.clear()
        for port in tuple(self._kept):
            await self.close(port)
        if self._closing:
            await asyncio.wait(self._closing.values())

    async def _close(self, stream: ByteStream) -> None:
        """Close a stream; who does not wait for it any more does not stop it."""
        closing = asyncio.ensure_future(stream.aclose())
        self._closing[stream.port] = closing
        closing.add_done_callback(lambda done: self._closed(stream.port, done))
        await asyncio.shield(closing)

    def _closed(self, port: str, closing: asyncio.Future[None]) -> None:
        if self._closing.get(port) is closing:
            del self._closing[port]
