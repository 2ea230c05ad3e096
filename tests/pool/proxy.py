"""A network between stations and their server: it delays, cuts at a message, or stalls without closing.

Run as a process it only delays: `python -m tests.pool.proxy PORT DELAY_MS`; it says its own port.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
import threading
from collections.abc import Iterator

from parburn.ledger_place import PoolAddress


class Proxy:
    """Between clients and one port of this machine. What is set holds for connections that are open, too.

    `delay_s` is added to each turn, on the way back. `cut_at` counts packets of both directions from when it
    is set: the connection of that packet is cut before it is handed on (`behind`: once it was handed on).
    """

    def __init__(self, port: int, *, delay_s: float = 0.0) -> None:
        self.to = port
        self.port = 0
        self.delay_s = delay_s
        self.refuses = False
        self.behind = False
        self.cut_at = 0
        self.packets = 0
        self.cuts = 0
        self._flows = asyncio.Event()
        self._flows.set()
        self._open: set[asyncio.StreamWriter] = set()
        self._loop: asyncio.AbstractEventLoop | None = None

    async def serve(self) -> asyncio.Server:
        """Listen on a free port."""
        self._loop = asyncio.get_running_loop()
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        return server

    def stall(self, *, ends: bool = False) -> None:
        """Carry nothing any more, without a word; or go on. From any thread."""
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._flows.set if ends else self._flows.clear)

    def cut_all(self) -> None:
        """Cut all connections that are open, from any thread."""
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._cut, *self._open)

    def _cut(self, *writers: asyncio.StreamWriter) -> None:
        for one in writers:
            self._open.discard(one)
            one.transport.abort()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.refuses:
            writer.transport.abort()
            return
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self.to)
        except OSError:
            writer.transport.abort()
            return
        for one in (writer, back):
            self._open.add(one)
            one.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            await asyncio.gather(
                self._carry(reader, back, (writer, back), 0.0),
                self._carry(there, writer, (writer, back), self.delay_s),
            )
        finally:
            self._cut(writer, back)

    async def _carry(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        both: tuple[asyncio.StreamWriter, asyncio.StreamWriter],
        delay_s: float,
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 16):
                await self._flows.wait()
                self.packets += 1
                strikes = self.cut_at == self.packets
                if strikes and not self.behind:
                    self.cuts += 1
                    self._cut(*both)
                    return
                if delay_s:
                    await asyncio.sleep(delay_s)
                writer.write(data)
                await writer.drain()
                if strikes:
                    self.cuts += 1
                    await asyncio.sleep(0.02)  # it arrives
                    self._cut(*both)
                    return
        self._cut(*both)


def through(network: Proxy, pool: PoolAddress) -> PoolAddress:
    """The same pool, behind the network."""
    head, _, database = str(pool).rpartition("/")
    return PoolAddress(f"{head.rpartition(':')[0]}:{network.port}/{database}")


@contextlib.contextmanager
def proxy(port: int, *, delay_s: float = 0.0) -> Iterator[Proxy]:
    """Run one in a thread of its own."""
    one = Proxy(port, delay_s=delay_s)
    ready = threading.Event()
    ends: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def main() -> None:
        server = await one.serve()
        end = asyncio.Event()
        ends.append((asyncio.get_running_loop(), end))
        ready.set()
        await end.wait()
        server.close()
        one._cut(*one._open)

    thread = threading.Thread(target=asyncio.run, args=(main(),), daemon=True)
    thread.start()
    assert ready.wait(10)
    try:
        yield one
    finally:
        loop, end = ends[0]
        loop.call_soon_threadsafe(end.set)
        thread.join(10)


async def _alone(port: int, delay_s: float) -> None:
    one = Proxy(port, delay_s=delay_s)
    server = await one.serve()
    sys.stdout.write(f"{one.port}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_alone(int(sys.argv[1]), float(sys.argv[2]) / 1000))
