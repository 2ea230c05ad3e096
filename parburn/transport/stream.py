"""What the rest of parburn sees of a port: bytes by callback, two control lines, a rate. Opens nothing.

Data arrive by callback and not by an awaited `receive`, because waking a task for every chunk costs more than
all the parsing. `CallbackStream` is the part that all transports share: it keeps what arrives before anyone
is attached, and reports a loss once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

from parburn.errors import PortGone
from parburn.transport.port_errors import lost_error

USB_SERIAL_JTAG = (0x303A, 0x1001)  # vendor and product id of the peripheral inside the chips

LineStep = tuple[bool, bool, float]  # DTR, RTS, seconds to leave them so

OnData = Callable[[bytes], None]
OnLost = Callable[[PortGone], None]


class ByteStream(Protocol):
    """One open port."""

    port: str
    baud: int
    lost: PortGone | None  # why, once it is known to be gone
    is_pty: bool
    has_lines: bool  # whether DTR and RTS reach anything: not on most ptys, not over a plain socket
    fixed_baud: bool  # the rate cannot be set from here
    over_network: bool  # when bytes come says nothing of the line
    usb_vid_pid: tuple[int, int] | None
    latency_ms: int | None  # how long the adapter holds answers back, where its driver says so

    def attach(self, on_data: OnData, on_lost: OnLost) -> None:
        """Hand every byte to `on_data`, beginning with those that came before; `on_lost` is called once."""

    def write(self, data: bytes) -> None:
        """Queue bytes for the line. Never blocks; a failure is reported as a loss."""

    async def move_lines(self, steps: Sequence[LineStep]) -> None:
        """Move both control lines step by step, each pair at once where the OS can.

        Raises:
            PortGone: the port vanished.
            NoAnswer: the adapter does not carry it out.
            LinesBusy: chips of this machine burned for too long; no line was moved.
        """

    async def input_line(self, line: str) -> bool:
        """Tell whether an input line (cts, dsr, dcd) is set; False where the port has none.

        Raises:
            PortGone: the port vanished.
            NoAnswer: the adapter does not say.
        """

    async def set_baud(self, baud: int) -> None:
        """Change the rate of the port, once what was written has left the line.

        Raises:
            LinkError: this rate cannot be set, or none can be set from here.
            PortGone: the port vanished.
        """

    def pause_reads(self, seconds: float) -> None:
        """Pause reads for so many seconds: the driver collects what comes. A hint, which may do nothing."""

    def discard_input(self) -> None:
        """Throw away what has arrived and was not handed on yet."""

    async def aclose(self) -> None:
        """Let what was written reach the line, then close. Never raises for a port that is gone."""


class CallbackStream:
    """Keeps early data, reports a loss once, and knows until when the line is busy with what was written."""

    is_pty = False
    has_lines = True
    fixed_baud = False
    over_network = False
    usb_vid_pid: tuple[int, int] | None = None
    latency_ms: int | None = None

    def __init__(self, port: str, baud: int) -> None:
        self.port = port
        self.baud = baud
        self.lost: PortGone | None = None
        self._on_data: OnData | None = None
        self._on_lost: OnLost | None = None
        self._early: list[bytes] = []
        self._closing = False
        self._line_busy_until = 0.0  # loop time

    def attach(self, on_data: OnData, on_lost: OnLost) -> None:
        """Hand over all bytes, those that came before first; a loss that came before is reported now."""
        self._on_data, self._on_lost = on_data, on_lost
        early, self._early = self._early, []
        for data in early:
            on_data(data)
        if self.lost is not None:
            on_lost(self.lost)

    async def input_line(self, line: str) -> bool:
        """Return False: it has none."""
        return False

    def pause_reads(self, seconds: float) -> None:
        """Do nothing: the driver does not collect for us."""

    def discard_input(self) -> None:
        """Throw away what nobody has taken yet."""
        self._early.clear()

    def _deliver(self, data: bytes) -> None:
        if self._on_data is not None:
            self._on_data(data)
        else:
            self._early.append(data)

    def _lose(self, error: Exception | None) -> None:
        """Report once that the port is gone; a loss after aclose() is no news."""
        if self.lost is not None or self._closing:
            return
        self.lost = self.gone(error)
        if self._on_lost is not None:
            self._on_lost(self.lost)

    def gone(self, error: Exception | None) -> PortGone:
        """Return the error for a port that vanished."""
        return lost_error(self.port, error)

    def _note_written(self, size: int, now: float) -> None:
        """Count `size` more bytes, of 10 bits each, into the time that the line is busy."""
        self._line_busy_until = max(self._line_busy_until, now) + size * 10 / self.baud

    async def _line_idle(self) -> None:
        """Wait until what was written has left an adapter's buffer too.

        Half a frame must never be cut off: the ROM would execute it on top of what its buffer still holds.
        """
        rest = self._line_busy_until - asyncio.get_running_loop().time()
        if rest > 0 and self.lost is None:
            await asyncio.sleep(min(rest, 2.0))
