"""Asks whether a ROM loader is at the other end of an open port, and whose chip it is. Moves no line.

One frame goes out, and what comes back within a time is looked at; nothing is raised but that the port is
gone. It is used between two boards of a station, when nobody else talks on the port.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from enum import Enum

from parburn.errors import GarbledAnswer, PortGone
from parburn.protocol import commands
from parburn.protocol.commands import read_reg_frame
from parburn.protocol.loader import LoaderProtocol
from parburn.transport.stream import ByteStream


class Answer(Enum):
    """What came back."""

    NOTHING = "nothing"
    SOMETHING = "something"  # bytes, an error: somebody is there
    VALUES = "values"


class PresenceLook:
    """Looks through one open stream. Everything here runs on the event loop."""

    def __init__(self, stream: ByteStream) -> None:
        """Take what comes on the stream from now on."""
        self._loop = asyncio.get_running_loop()  # asked once: on Python 3.11 each question is a system call
        self._stream = stream
        self._protocol = LoaderProtocol()
        self._lost: PortGone | None = None
        self._heard = False
        self._wanted: asyncio.Future[bool] | None = None
        stream.discard_input()
        stream.attach(self._on_data, self._on_lost)

    async def synchronises(self, within_s: float) -> bool:
        """Send one SYNC; tell whether a ROM loader answers it within so many seconds.

        Raises:
            PortGone: the port vanished.
        """
        self._protocol.begin_sync()
        return await self._ask(commands.SYNC_FRAME, within_s)

    async def read(self, addresses: Sequence[int], within_s: float) -> tuple[Answer, tuple[int, ...]]:
        """Read registers; return what came, and their values.

        Raises:
            PortGone: the port vanished.
        """
        frames = [read_reg_frame(address) for address in addresses]
        self._protocol.begin(frames, bytes([commands.READ_REG] * len(frames)))
        self._heard = False
        try:
            await self._ask(self._protocol.data_to_send(), within_s)
        except GarbledAnswer:
            return Answer.SOMETHING, ()
        if self._protocol.complete and not self._protocol.refused:
            return Answer.VALUES, tuple(self._protocol.values)
        return (Answer.SOMETHING if self._heard else Answer.NOTHING), ()

    async def _ask(self, frame: bytes, within_s: float) -> bool:
        if self._lost is not None:
            raise self._lost
        wanted: asyncio.Future[bool] = self._loop.create_future()
        self._wanted = wanted
        self._stream.write(frame)
        deadline = self._loop.call_later(within_s, _give_up, wanted)
        try:
            return await wanted
        finally:
            deadline.cancel()
            self._wanted = None

    def _on_data(self, data: bytes) -> None:
        self._heard = True
        wanted, protocol = self._wanted, self._protocol
        try:
            protocol.receive_data(data)
        except GarbledAnswer as error:
            if wanted is not None and not wanted.done():
                wanted.set_exception(error)
            return
        if wanted is not None and not wanted.done() and self._is_answered():
            wanted.set_result(True)

    def _is_answered(self) -> bool:
        if self._protocol.asked:
            return self._protocol.complete
        return self._protocol.sync_replies > 0

    def _on_lost(self, error: PortGone) -> None:
        self._lost = error
        if self._wanted is not None and not self._wanted.done():
            self._wanted.set_exception(error)


def _give_up(wanted: asyncio.Future[bool]) -> None:
    if not wanted.done():
        wanted.set_result(False)
