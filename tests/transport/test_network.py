"""socket:// and rfc2217://: a chip behind a TCP bridge, and behind pyserial's own RFC 2217 server."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Any, cast

import pytest
import serial
import serial.rfc2217

from parburn.errors import LinkError, PortGone, UsageError
from parburn.hardware.rom_loader import RomLoader
from parburn.transport.open import open_stream
from tests.protocol.fake_rom import FakeRom
from tests.transport.board import PtyBoard, pty_board

BASE = 0x60008800


def test_a_conversation_over_a_socket() -> None:
    rom = FakeRom({BASE: 77})

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(4096):
            writer.write(rom.feed(data))
        writer.close()

    async def run() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        url = f"socket://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        stream = await open_stream(url)
        assert (stream.has_lines, stream.fixed_baud, stream.is_pty) == (False, True, False)
        loader = await RomLoader.connect(stream)
        assert await loader.read_regs([BASE]) == [77]
        await loader.change_baud(921600)
        assert loader.baud == 115200
        with pytest.raises(LinkError, match="rate"):
            await stream.set_baud(921600)
        await loader.aclose()
        await loader.aclose()
        server.close()
        await server.wait_closed()

    asyncio.run(run())


def test_a_bridge_that_hangs_up() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.close()

    async def run() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        stream = await open_stream(f"socket://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        with pytest.raises(PortGone):
            await RomLoader.connect(stream)
        await stream.aclose()
        server.close()

    asyncio.run(run())


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number: int = probe.getsockname()[1]
        return number


@pytest.mark.parametrize("scheme", ["socket", "rfc2217"])
def test_nobody_listens(scheme: str) -> None:
    url = f"{scheme}://127.0.0.1:{free_port()}"
    with pytest.raises(PortGone, match="cannot be reached") as caught:
        asyncio.run(open_stream(url))
    assert url in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize("url", ["socket://", "socket://host", "rfc2217://host:port", "socket://:1234"])
def test_addresses_that_are_none(url: str) -> None:
    with pytest.raises(UsageError):
        asyncio.run(open_stream(url))


class PtyWithLines(serial.Serial):
    """A pty that pretends to have modem lines; notes what DTR and RTS are set to."""

    def __init__(self, port: str) -> None:
        self.seen: list[tuple[bool, bool]] = []
        super().__init__(port, timeout=0.02)

    cts = dsr = ri = cd = property(lambda self: False)

    def _update_dtr_state(self) -> None:
        self.seen.append((self.dtr, self.rts))

    def _update_rts_state(self) -> None:
        self.seen.append((self.dtr, self.rts))


class Rfc2217Server:
    """pyserial's PortManager between one TCP client and one serial port."""

    def __init__(self, port: str) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"rfc2217://127.0.0.1:{self.listener.getsockname()[1]}"
        self.device = PtyWithLines(port)
        self.rates: list[int] = []
        self.ended = threading.Event()
        self.client: socket.socket | None = None
        self.threads = [threading.Thread(target=self._accept, daemon=True)]
        self.threads[0].start()

    def write(self, data: bytes) -> None:
        """What PortManager sends to the client."""
        if self.client is not None:
            with contextlib.suppress(OSError):
                self.client.sendall(data)

    def _accept(self) -> None:
        self.client, _ = self.listener.accept()
        manager = serial.rfc2217.PortManager(cast("Any", self.device), cast("Any", self))
        reader = threading.Thread(target=self._to_client, args=(manager,), daemon=True)
        self.threads.append(reader)
        reader.start()
        with contextlib.suppress(OSError):
            while data := self.client.recv(1024):
                self.device.write(b"".join(manager.filter(data)))
                self.rates.append(self.device.baudrate)

    def _to_client(self, manager: serial.rfc2217.PortManager) -> None:
        while not self.ended.is_set():
            with contextlib.suppress(OSError):
                data = self.device.read(max(1, self.device.in_waiting))
                if data:
                    self.write(b"".join(manager.escape(data)))

    def hang_up(self) -> None:
        """Close the connection."""
        if self.client is not None:
            with contextlib.suppress(OSError):
                self.client.shutdown(socket.SHUT_RDWR)
            self.client.close()

    def close(self) -> None:
        """End all threads."""
        self.ended.set()
        self.hang_up()
        for thread in self.threads:
            thread.join(5)
        self.listener.close()
        self.device.close()


@contextlib.contextmanager
def rfc2217_server(board: PtyBoard) -> Iterator[Rfc2217Server]:
    server = Rfc2217Server(board.port)
    try:
        yield server
    finally:
        server.close()


# pyserial 3.5 starts its reader thread with setDaemon() and setName(), deprecated since Python 3.10.
rfc2217_client = pytest.mark.filterwarnings("ignore:set(Daemon|Name).. is deprecated:DeprecationWarning")


@rfc2217_client
def test_a_conversation_over_rfc2217() -> None:
    rom = FakeRom({BASE + 4 * n: n for n in range(50)})

    async def run(server: Rfc2217Server) -> None:
        stream = await open_stream(server.url)
        assert (stream.has_lines, stream.fixed_baud) == (True, False)
        loader = await RomLoader.connect(stream, before="default-reset")
        assert await loader.read_regs(list(rom.registers)) == list(range(50))
        await loader.change_baud(921600)
        assert rom.baud == 921600
        assert server.rates[-1] == 921600
        pulse = [(False, False), (False, True), (True, True), (True, False), (False, False)]
        seen = [
            state for n, state in enumerate(server.device.seen) if server.device.seen[n - 1 : n] != [state]
        ]
        assert seen[-len(pulse) :] == pulse
        await loader.aclose()
        await loader.aclose()

    with pty_board(rom) as board, rfc2217_server(board) as server:
        asyncio.run(run(server))


@rfc2217_client
def test_an_rfc2217_server_that_hangs_up() -> None:
    async def run(server: Rfc2217Server) -> None:
        stream = await open_stream(server.url)
        losses: asyncio.Queue[Exception] = asyncio.Queue()
        stream.attach(lambda data: None, losses.put_nowait)
        server.hang_up()
        assert isinstance(await asyncio.wait_for(losses.get(), 5), PortGone)
        await stream.aclose()
        assert losses.empty()

    with pty_board() as board, rfc2217_server(board) as server:
        asyncio.run(run(server))


# --- servers that lie

IAC, SB, SE, WILL, WONT, DO, DONT, COM_PORT = 255, 250, 240, 251, 252, 253, 254, 44
AGREES = bytes((IAC, WILL, 0, IAC, DO, 0, IAC, WILL, COM_PORT, IAC, DO, COM_PORT))
LIES = {
    "an end without a beginning": bytes((IAC, SE)),
    "an option in no state": bytes((IAC, WILL, 1, IAC, WILL, 1, IAC, WONT, 1, IAC, DONT, 1)) * 3,
    "a short block": bytes((IAC, SB, COM_PORT, IAC, SE)),
    "an empty block": bytes((IAC, SB, IAC, SE)) * 3,
    "a block that never ends": bytes((IAC, SB)) + bytes(50_000),
    "every byte": bytes(range(256)) * 20,
    "commands": bytes(byte for second in range(240, 256) for byte in (IAC, second)),
}


@contextlib.contextmanager
def lying_server(first: bytes, then: bytes) -> Iterator[str]:
    """Sends `first` at once, and `then` for each thing that it hears."""
    listener = socket.create_server(("127.0.0.1", 0))
    clients: list[socket.socket] = []

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                clients.append(client)
                client.sendall(first)
                while client.recv(4096):
                    client.sendall(then)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"rfc2217://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        for one in (*clients, listener):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        thread.join(5)


@pytest.fixture
def thread_errors(monkeypatch: pytest.MonkeyPatch) -> list[threading.ExceptHookArgs]:
    """What threads would have printed."""
    failed: list[threading.ExceptHookArgs] = []
    monkeypatch.setattr(threading, "excepthook", failed.append)
    return failed


@rfc2217_client
@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("agrees", [False, True])
def test_a_server_that_lies_is_a_port_that_cannot_be_used(
    lie: str, agrees: bool, thread_errors: list[threading.ExceptHookArgs], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run(url: str) -> None:
        stream = await open_stream(url + "?timeout=0.3")
        try:
            with pytest.raises(LinkError):
                await RomLoader.connect(stream, attempts=1)
        finally:
            await stream.aclose()

    with lying_server(AGREES if agrees else b"", LIES[lie]) as url:
        with pytest.raises(PortGone) as caught:
            asyncio.run(run(url))
        assert url in str(caught.value)
        assert caught.value.hint
    assert thread_errors == []


@rfc2217_client
def test_a_server_that_begins_to_lie(thread_errors: list[threading.ExceptHookArgs]) -> None:
    async def run(server: Rfc2217Server) -> None:
        stream = await open_stream(server.url)
        losses: asyncio.Queue[Exception] = asyncio.Queue()
        stream.attach(lambda data: None, losses.put_nowait)
        server.write(LIES["an end without a beginning"])
        lost = await asyncio.wait_for(losses.get(), 5)
        assert isinstance(lost, PortGone)
        assert "the server sends what is no RFC 2217" in str(lost)
        assert "socket://host:port" in lost.hint
        with pytest.raises(PortGone):
            await stream.move_lines([(True, False, 0.0)])
        await stream.aclose()

    with pty_board() as board, rfc2217_server(board) as server:
        asyncio.run(run(server))
    assert thread_errors == []
