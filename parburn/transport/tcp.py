"""`socket://host:port`: a chip's UART behind a plain TCP bridge. No control lines, no rate of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from urllib.parse import urlsplit

from parburn.errors import LinkError, PortDenied, PortGone, UsageError
from parburn.transport.stream import CallbackStream, LineStep

_CONNECT_S = 10.0
_CLOSE_S = 2.0


class TcpStream(CallbackStream, asyncio.Protocol):
    """One TCP connection to a bridge."""

    has_lines = False
    fixed_baud = True
    over_network = True

    def __init__(self, port: str, baud: int) -> None:
        super().__init__(port, baud)
        self._transport: asyncio.Transport | None = None
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the connection to write to."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Hand on what came."""
        self._deliver(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Note that the connection has ended, and report a loss unless we closed it."""
        if not self._ended.done():
            self._ended.set_result(None)
        self._lose(exc)

    def write(self, data: bytes) -> None:
        """Queue bytes for the bridge."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    async def move_lines(self, steps: Sequence[LineStep]) -> None:
        """Do nothing: a plain socket carries no control lines."""

    async def set_baud(self, baud: int) -> None:
        """Refuse: only the bridge's other side knows the rate.

        Raises:
            LinkError: always.
        """
        raise LinkError(
            f"{self.port}: the rate of a plain socket cannot be set from here", hint="leave out --baud"
        )

    async def aclose(self) -> None:
        """Send what is queued, then close. Does not wait long for a bridge that takes nothing."""
        if self._transport is None or self._ended.done():
            return
        self._closing = True
        self._transport.close()
        try:
            await asyncio.wait_for(asyncio.shield(self._ended), _CLOSE_S)
        except TimeoutError:
            self._transport.abort()


def host_and_port(url: str) -> tuple[str, int]:
    """Return host and port of `scheme://host:port`.

    Raises:
        UsageError: the address has another form.
    """
    try:
        parts = urlsplit(url)
        host, number = parts.hostname, parts.port
    except ValueError:
        host = number = None
    if not host or number is None:
        raise UsageError(f"{url} is not a host and port", hint=f"write {url.partition(':')[0]}://host:port")
    return host, number


async def open_tcp(url: str, *, baud: int) -> TcpStream:
    """Connect to `socket://host:port`.

    Raises:
        PortDenied: the system does not permit to connect.
        PortGone: the bridge cannot be reached.
        UsageError: the address is no host and port.
    """
    host, number = host_and_port(url)
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(_CONNECT_S):
            _, stream = await loop.create_connection(lambda: TcpStream(url, baud), host, number)
    except PermissionError as error:
        raise PortDenied(f"{url}: connecting is not permitted", hint="check the firewall") from error
    except (OSError, TimeoutError) as error:
        raise PortGone(
            f"{url} cannot be reached: {error or 'no answer'}", hint="is the bridge running?"
        ) from error
    return stream
