"""`parburn ports` on real drivers: what is there, what it is, and why not."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest

from tests.usb.bench import OPERATOR, Bench
from tests.usb.devices import Cp2102, Ft232, UsbSerialJtag

# Another program that reads. It waits within read(2): so long the kernel lets nobody else read (n_tty_read
# holds `atomic_read_lock`), and it is not left to luck who gets the bytes. With VMIN 0 it would not wait.
READER = """
import os, sys, termios
descriptor = os.open(sys.argv[1], os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
os.set_blocking(descriptor, True)
print("reading", os.getpid(), flush=True)
while True:
    settings = termios.tcgetattr(descriptor)
    if settings[3] & termios.ICANON or settings[6][termios.VMIN] != 1:
        settings[3] &= ~termios.ICANON
        settings[6][termios.VMIN], settings[6][termios.VTIME] = 1, 0
        termios.tcsetattr(descriptor, termios.TCSANOW, settings)
    os.read(descriptor, 4096)
"""


class Stranger(Ft232):
    """An adapter whose vendor makes no bridges that boards use."""

    vendor, product = 0x1209, 0x0003
    names = ("Nobody", "A radio")


def let_operators_in(bench: Bench) -> None:
    """Let other users than root reach this Python, in the guest only."""
    start = {Path(sys.prefix), Path(sys.base_prefix), Path(__file__)}
    folders = {str(folder) for path in start for folder in (path, *path.parents) if folder.is_dir()}
    bench.machine.shell(f"chmod a+rx {' '.join(sorted(folders))}")


def test_the_installed_command_lists_the_ports_of_every_driver(bench: Bench) -> None:
    nodes = bench.plug_each(bench.boards("esp32c3:3"), Ft232, UsbSerialJtag, Cp2102)
    command = Path(sys.executable).with_name("parburn")
    done = bench.machine.start({"shell": f"{command} ports --json"}).end()
    assert done.code == 0, done.output
    assert {row["port"]: row["usb"] for row in done.events} == dict(
        zip(nodes, ("0403:6001", "303a:1001", "10c4:ea60"), strict=True)
    )


def test_every_driver_is_probed(bench: Bench) -> None:
    rig = bench.boards("esp32c3:1,esp32s3:1,esp32c6:1")
    nodes = bench.plug_each(rig, Ft232, UsbSerialJtag, Cp2102)
    done = bench.parburn("ports", "--probe", "--json")
    assert done.code == 0, done.output
    assert {row["port"]: row["mac"] for row in done.events} == {
        node: rig.mac(number) for number, node in enumerate(nodes)
    }


def test_no_rights(bench: Bench) -> None:
    let_operators_in(bench)
    (node,) = bench.plug_each(bench.boards("esp32c3:1"))
    done = bench.parburn("ports", "--probe", node, user=OPERATOR)
    assert done.code == 1
    assert f"no rights to open {node}" in done.output


def test_no_rights_and_what_to_do(bench: Bench) -> None:
    let_operators_in(bench)
    (node,) = bench.plug_each(bench.boards("esp32c3:1"))
    assert "dialout" in bench.parburn("ports", "--probe", node, user=OPERATOR).output


@pytest.mark.parametrize("words", [["ports", "--probe"], ["--commands", "summary", "--ports"]])
def test_another_reader_is_named(bench: Bench, words: list[str]) -> None:
    (node,) = bench.plug_each(bench.boards("esp32c3:1"))
    reader = bench.machine.start({"shell": f"exec {sys.executable} -c {shlex.quote(READER)} {node}"})
    reader.until("reading")
    number = reader.output.split()[1]
    try:
        assert f"process {number}" in bench.parburn(*words, node).output
    finally:
        bench.machine.shell(f"kill {number}")
        reader.end()


def test_only_where_a_chip_may_be_are_lines_moved(bench: Bench) -> None:
    bench.machine.shell("echo 1209 0003 >/sys/bus/usb-serial/drivers/ftdi_sio/new_id")
    rig = bench.boards("esp32c3:2")
    board, stranger = bench.plug_each(rig, Ft232, Stranger)
    done = bench.parburn("ports", "--probe", "--json")
    assert [row["port"] for row in done.events if row.get("mac")] == [board]
    assert not bench.adapters["3"].chip.history
    bench.parburn("ports", "--probe", "--json", stranger)  # unless it is named
    assert bench.adapters["3"].chip.history


def test_what_is_known_of_each_driver_is_shown(bench: Bench) -> None:
    nodes = bench.plug_each(bench.boards("esp32c3:3"), Ft232, UsbSerialJtag, Cp2102)
    rows = {row["port"]: row for row in bench.parburn("ports", "--json").events}
    assert [rows[node]["driver"] for node in nodes] == ["ftdi_sio", "cdc_acm", "cp210x"]
    assert [rows[node]["latency_ms"] for node in nodes] == [16, None, None]
    assert all(rows[node]["there"] and rows[node]["access"] for node in nodes)


def test_rights_that_are_missing_are_shown_without_opening(bench: Bench) -> None:
    let_operators_in(bench)
    (node,) = bench.plug_each(bench.boards("esp32c3:1"))
    done = bench.parburn("ports", "--ports", node, user=OPERATOR)
    assert done.code == 0
    assert (
        "ftdi_sio, latency timer 16 ms, no rights to open it (it belongs to the group dialout)" in done.output
    )


def test_watching_tells_what_is_plugged_and_pulled(bench: Bench) -> None:
    rig = bench.boards("esp32c3:1")
    command = Path(sys.executable).with_name("parburn")
    running = bench.machine.start({"shell": f"{command} ports --watch & echo number $! .; wait $!"})
    running.until("watching")
    running.until(" .")
    number = running.output.partition("number ")[2].split()[0]
    (node,) = bench.plug_each(rig)
    running.until(f"+ {node} ")
    bench.pull("2")
    running.until(f"- {node}")
    bench.machine.shell(f"kill {number}")
    assert running.end().code == 130
