"""The ports of a station: one that was opened stays open until its tty goes. Moves no line itself.

Closing a tty that is there may move its lines, and must wait until no chip burns; closing one that is gone
moves none. So a verdict does not wait for a close, and the loss of the port tells that a board was taken out.
"""

from __future__ import annotations

from parburn.run.baud import ROM_BAUD
from parburn.transport.open import open_stream
from parburn.transport.stream import ByteStream


class KeptPorts:
    """Opens ports for runs of one board, and keeps them. Everything here runs on the event loop."""

    def __init__(self, *, open_s: float) -> None:
        """Keep none yet. An adapter that does not open within `open_s` seconds is given up."""
        self._open_s = open_s
        self._kept: dict[str, ByteStream] = {}
        self._in_use: set[str] = set()

    async def open(self, port: str) -> ByteStream:
        """Return the port's stream: the one that is open, where it is still good; raise as `open_stream`."""
        stream = self._kept.get(port)
        if stream is not None and stream.lost is not None:
            await self.close(port)
            stream = None
        if stream is None:
            stream = self._kept[port] = await open_stream(port, within_s=self._open_s)
        self._in_use.add(port)
        return stream

    async def give_back(self, stream: ByteStream) -> None:
        """Keep the port open, unless it is gone or was left at a rate that the next chip does not speak."""
        self._in_use.discard(stream.port)
        if stream.lost is not None or stream.baud != ROM_BAUD:
            await self.close(stream.port)

    def kept(self, port: str) -> ByteStream | None:
        """Return the open port that nobody uses now, to listen or to look on it; None where there is none."""
        return None if port in self._in_use else self._kept.get(port)

    async def close(self, port: str) -> None:
        """Close a port; do nothing where it is in use (its run sees the loss) or not open."""
        if port not in self._in_use and (stream := self._kept.pop(port, None)) is not None:
            await stream.aclose()

    async def aclose(self) -> None:
        """Close all ports."""
        self._in_use.clear()
        for port in tuple(self._kept):
            await self.close(port)
