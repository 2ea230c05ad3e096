"""The one place where a port is opened, by its name's scheme. Heavy modules load when they are needed."""

from __future__ import annotations

from parburn.transport.stream import ByteStream


async def open_stream(port: str, *, baud: int = 115200, within_s: float | None = None) -> ByteStream:
    """Open a tty, pty, `socket://host:port` or `rfc2217://host:port`, locked where that means something.

    Args:
        baud: bits per second. A plain socket does not set it: the bridge has its own rate.
        within_s: seconds that an adapter has to be opened; None: as long as one that works may take.

    Raises:
        PortBusy: another program holds the port.
        PortDenied: we have no rights to open it.
        PortGone: it is not there, does not answer, or is not a serial port.
        UsageError: the address is no host and port.
    """
    if port.startswith("socket://"):
        from parburn.transport.tcp import open_tcp

        return await open_tcp(port, baud=baud)
    if port.startswith("rfc2217://"):
        from parburn.transport.rfc2217 import open_rfc2217

        return await open_rfc2217(port, baud=baud)
    from parburn.transport.serial import open_tty

    return await open_tty(port, baud=baud, within_s=within_s)
