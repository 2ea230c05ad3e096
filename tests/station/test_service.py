"""What systemd is told, on a real datagram socket; and by the installed command."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from parburn.station.picture import SocketPicture, StationPicture
from parburn.station.service import Service, status_of
from parburn.station.states import SocketState
from tests.command import COMMAND, environment
from tests.rig import ROOT

EMPTY = StationPicture("bench", "Ana", "lamp", "lamp", (SocketPicture("A1", SocketState.EMPTY),))


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(20)
        yield listening


def words(listening: socket.socket) -> list[str]:
    """The lines of the next datagram."""
    return listening.recv(4096).decode().split("\n")


def said(listening: socket.socket) -> list[str]:
    """All that was said and not read yet."""
    listening.setblocking(False)
    found: list[str] = []
    try:
        while True:
            found += words(listening)
    except BlockingIOError:
        return found


async def told(service: Service, *pictures: StationPicture, beats: int) -> None:
    left = [*pictures]
    task = asyncio.ensure_future(service.keep_telling(lambda: left.pop(0) if len(left) > 1 else left[0]))
    await asyncio.sleep(service.beat_s * (beats - 0.5))
    task.cancel()
    await asyncio.wait({task})


def test_ready_comes_first_then_a_sign_of_life_each_half_of_the_time(
    systemd: socket.socket,
) -> None:
    service = Service(
        {"NOTIFY_SOCKET": systemd.getsockname(), "WATCHDOG_USEC": "200000", "WATCHDOG_PID": str(os.getpid())}
    )
    assert service.beat_s == pytest.approx(0.1)
    asyncio.run(told(service, EMPTY, beats=4))
    found = said(systemd)
    assert found[:3] == ["READY=1", "WATCHDOG=1", "STATUS=lamp: 0 passed, 0 of 1 socket at work"]
    assert 3 <= found.count("WATCHDOG=1") <= 4
    assert found.count("READY=1") == 1
    assert sum(word.startswith("STATUS=") for word in found) == 1  # it has not changed


def test_no_sign_of_life_comes_from_a_loop_that_does_not_turn(systemd: socket.socket) -> None:
    service = Service({"NOTIFY_SOCKET": systemd.getsockname(), "WATCHDOG_USEC": "100000"})

    async def stuck() -> None:
        task = asyncio.ensure_future(service.keep_telling(lambda: EMPTY))
        await asyncio.sleep(0.01)
        said(systemd)
        await asyncio.to_thread(lambda: None)
        _sleep_on_the_loop(0.4)
        assert said(systemd) == []
        task.cancel()
        await asyncio.wait({task})

    asyncio.run(stuck())


def _sleep_on_the_loop(seconds: float) -> None:
    """Block the loop on purpose; not by what the watch over blocked loops knows."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        sum(range(1000))


def test_a_station_that_drains_says_once_that_it_stops_and_goes_on_living(systemd: socket.socket) -> None:
    service = Service({"NOTIFY_SOCKET": systemd.getsockname(), "WATCHDOG_USEC": "100000"})
    asyncio.run(told(service, EMPTY, EMPTY._replace(draining=True), beats=4))
    found = said(systemd)
    assert found.count("STOPPING=1") == 1
    assert any(word.startswith("EXTEND_TIMEOUT_USEC=") for word in found)
    assert "WATCHDOG=1" in found[found.index("STOPPING=1") :]


def test_the_line_of_status_says_what_somebody_must_know() -> None:
    sockets = (
        SocketPicture("A1", SocketState.BURNING),
        SocketPicture("A2", SocketState.LOCKED),
        SocketPicture("A3", SocketState.VERDICT),
    )
    assert status_of(EMPTY._replace(sockets=sockets, passed=7)) == (
        "lamp: 7 passed, 1 of 3 sockets at work; 1 locked"
    )
    assert status_of(EMPTY._replace(halt="A1: no record is left")).startswith(
        "HALTED: A1: no record is left; "
    )


@pytest.mark.parametrize(
    ("environment", "listens", "watchdog_s"),
    [
        ({}, False, 0),
        ({"NOTIFY_SOCKET": ""}, False, 0),
        ({"NOTIFY_SOCKET": "vsock:2:1234"}, False, 0),
        ({"NOTIFY_SOCKET": "@"}, False, 0),
        ({"NOTIFY_SOCKET": "/nowhere", "WATCHDOG_USEC": "abc"}, True, 0),
        ({"NOTIFY_SOCKET": "/nowhere", "WATCHDOG_USEC": "-5"}, True, 0),
        ({"NOTIFY_SOCKET": "/nowhere", "WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"}, True, 0),
        ({"NOTIFY_SOCKET": "/nowhere", "WATCHDOG_USEC": "1000000"}, True, 1),
    ],
)
def test_what_the_environment_says(environment: dict[str, str], listens: bool, watchdog_s: float) -> None:
    service = Service(environment)
    assert service.is_listening is listens
    assert service.watchdog_s == watchdog_s
    service.ready()  # to nobody: it fails nothing
    service.alive("odd\n\x1b[2Jtext")
    service.stopping()


def test_an_abstract_socket_is_found_and_a_status_is_one_line() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        name = f"parburn-test-{os.getpid()}"
        listening.bind(f"\0{name}")
        listening.settimeout(10)
        service = Service({"NOTIFY_SOCKET": f"@{name}"})
        service.alive("two\nlines READY=1")
        assert words(listening) == ["STATUS=two lines READY=1"]


def test_the_installed_station_is_ready_lives_and_stops(systemd: socket.socket, tmp_path: Path) -> None:
    assert COMMAND
    env = environment(tmp_path / "state", NOTIFY_SOCKET=systemd.getsockname(), WATCHDOG_USEC="2000000")
    process = subprocess.Popen(
        [COMMAND, "station", "--sim", "esp32c3:1", "--plain"],
        cwd=ROOT,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    try:
        found: list[str] = []
        while "READY=1" not in found:
            found += words(systemd)
        while "WATCHDOG=1" not in found:
            found += words(systemd)
        process.send_signal(signal.SIGTERM)
        while "STOPPING=1" not in found:
            found += words(systemd)
        assert process.wait(60) == 0
    finally:
        process.kill()
        _, errors = process.communicate()
        assert errors == b""
