"""Slots with real drivers and udev: learned, checked, held, and the same when nodes are numbered anew."""

from __future__ import annotations

import re

from tests.usb.bench import Bench
from tests.usb.devices import Cp2102, Ft232, Ft4232, UsbSerialJtag
from tests.usb.machine import Running

FILE = "rig.slots.toml"

# A station's source, which tells what it sees.
WATCH = f"""
import asyncio
from pathlib import Path
from parburn.station.arrival_sources import arrival_source
from parburn.station.slots_file import read_slots

def told(sign):
    return lambda slot, node: print(f"{{sign}}{{slot}} {{node.path}}", flush=True)

source = arrival_source(read_slots(Path("{FILE}")).slots)
print(type(source).__name__, flush=True)
asyncio.run(source.run(told("+"), told("-")))
"""


def learn(bench: Bench, *words: str) -> Running:
    """`slots learn`, with a pipe as its input that says nothing."""
    return bench.start("slots", "learn", FILE, *words, silent_pipe=True)


def watch(bench: Bench) -> Running:
    return bench.machine.start({"python": WATCH}, folder=bench.work_in_guest)


def kill(bench: Bench, running: Running) -> None:
    bench.machine.shell(f"kill -KILL {running.process}")
    running.end()


def slots(bench: Bench) -> dict[str, str]:
    """Name and place of each slot in the file, without the controller."""
    text = (bench.work / FILE).read_text()
    return {name: re.sub(r"pci-[^-]*-usb-0:", "", rest) for name, rest in re.findall(r"(\w+) = (.+)", text)}


def rig_of(bench: Bench, **places: str) -> None:
    """A slots file with these places of the controller that the machine has."""
    node = bench.parburn("ports", "--json").events[0]
    controller = node["slot"].partition("-usb-0:")[0]
    lines = "".join(f'{name} = "{controller}-usb-0:{place}"\n' for name, place in places.items())
    bench.file(FILE, f"[slots]\n{lines}")


def test_a_rig_is_learned_with_a_board_of_two_nodes(bench: Bench) -> None:
    rig = bench.boards("esp32c3:4")
    bench.plug("7", rig.ports[3])
    bench.node("7")
    learns = learn(bench, "--names", "A1-A2")
    learns.until("A1: put a board into it")
    bench.plug("3", rig.ports[0])
    learns.until("A2: put a board into it")
    bench.plug("5", rig.ports[1], Ft4232("four"))  # only one of its four leads to a chip that answers
    done = learns.end()
    assert done.code == 0, done.output
    found = slots(bench)
    assert found["A1"] == '"3:1.0"'
    assert all(f"5:1.{number}" in found["A2"] for number in range(4))


def test_twins_are_checked_and_stay_when_nodes_are_numbered_anew(bench: Bench) -> None:
    rig = bench.boards("esp32c3:3")
    one, other, third = bench.plug_each(rig, lambda _: Ft232(), lambda _: Ft232(), Cp2102)
    rig_of(bench, A1="2:1.0", A2="3:1.0", A3="4:1.0")
    done = bench.parburn("slots", "check", FILE, "--json")
    assert done.code == 0, done.output
    assert [(row["slot"], row["port"], row["driver"], row["mac"]) for row in done.events[:-1]] == [
        ("A1", one, "ftdi_sio", rig.mac(0)), ("A2", other, "ftdi_sio", rig.mac(1)),
        ("A3", third, "cp210x", rig.mac(2)),
    ]  # fmt: skip
    assert [row["latency_ms"] for row in done.events[:-1]] == [16, 16, None]
    bench.pull("2", "3")
    bench.plug("3", rig.ports[1])
    assert bench.node("3") == one
    bench.plug("2", rig.ports[0])
    assert bench.node("2") == other
    burned = bench.parburn(*bench.burn(f"slots:{FILE}#A1-A2"))
    assert burned.code == 0, burned.output
    ended = [row for row in burned.events if row["event"] == "result"]
    assert {row["slot"]: (row["port"], row["mac"], row["index"]) for row in ended} == {
        "A1": (other, rig.mac(0), 1), "A2": (one, rig.mac(1), 2)
    }  # fmt: skip


def test_a_station_sees_boards_come_and_go_and_no_trigger_moves_them(bench: Bench) -> None:
    rig = bench.boards("esp32c3:2")
    first, second = bench.plug_each(rig)
    rig_of(bench, A1="2:1.0", A2="3:1.0", A3="5:1.0")
    watches = watch(bench)
    watches.until("UdevSource")
    watches.until(f"+A2 {second}")
    bench.machine.shell("udevadm trigger --subsystem-match=tty --sysname-match='ttyUSB*'; udevadm settle")
    bench.pull("2")
    watches.until(f"-A1 {first}")
    bench.plug("5", rig.ports[0], UsbSerialJtag("84:F7:03:00:00:01"))
    watches.until("+A3 /dev/ttyACM0\n")
    bench.plug("2", rig.ports[0])
    watches.until("+A3 /dev/ttyACM0\n+A1 ")
    signs = re.findall(r"^[+-]A\d", watches.output, re.MULTILINE)
    assert signs == ["+A1", "+A2", "-A1", "+A3", "+A1"]
    kill(bench, watches)


def test_a_slots_file_is_held_by_one(bench: Bench) -> None:
    rig = bench.boards("esp32c3:1")
    bench.plug_each(rig)
    rig_of(bench, A1="2:1.0")
    learns = learn(bench, "--add")
    learns.until("A2: put a board into it")
    refused = bench.parburn("slots", "check", FILE)
    assert refused.code == 2, refused.output
    assert f"process {learns.process}" in refused.output
    kill(bench, learns)
    assert bench.parburn("slots", "check", FILE).code == 0
