"""A station on real drivers: from plug to verdict, pulled in each state, and which lines move meanwhile.

One station serves all these tests, each with slots of its own: to start one takes long on an emulated
processor. The boards see the lines that their adapters were told to move, so the simulator is a witness of
what moves while a chip burns. Order is judged, never time.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from parburn.sim.control_client import ControlledRig
from tests.usb.bench import Adapter, Bench
from tests.usb.devices import Cp2102, Lines, UsbSerialJtag
from tests.usb.machine import COMMAND_S, Machine
from tests.usb.station import JOB, SLOTS, UsbStation

PLACES = {"A1": "2", "A2": "3", "B1": "4.1", "B2": "4.2", "C1": "5", "C2": "7"}
SECOND_NODES = {"C1": "6"}
HUB = "4"
PROGRAMS_BLOCK3 = struct.pack("<II", 0x600089D4, 0x0E)  # a custom MAC: from here on the chip burns
LOOKS_LONG_S = 2.0  # in which a station without the lines lock would have opened a port
BURNS_BESIDE = """
import asyncio, pathlib
from parburn.transport.lines_lock import machine_lines

async def burn():
    async with machine_lines().burning():
        print("burning", flush=True)
        while not pathlib.Path("/exchange/burned").exists():
            await asyncio.sleep(0.05)

asyncio.run(burn())
"""


@pytest.fixture(scope="module")
def one_station(machine: Machine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[UsbStation]:
    folder = tmp_path_factory.mktemp("station")
    with ExitStack() as stack:
        rig = stack.enter_context(ControlledRig("esp32c3:6", folder=folder / "rig", lines=True))
        bench = Bench(machine, folder, stack)
        stack.callback(bench.clear)
        bench.plug_hub(HUB)
        one = UsbStation(bench, rig, PLACES, SECOND_NODES)
        stack.callback(one.kill)
        yield one


@pytest.fixture
def station(one_station: UsbStation) -> Iterator[UsbStation]:
    """The station, with empty sockets."""
    yield one_station
    one_station.clear()


def silent(adapter: Adapter) -> None:
    assert adapter.board.silent.wait(COMMAND_S)


def test_boards_pass_hold_their_ports_and_keep_their_slots_when_nodes_are_numbered_anew(
    station: UsbStation,
) -> None:
    second_node = UsbSerialJtag("84:F7:03:00:00:01")
    station.bench.plug("6", station.bench.boards("esp32c3:1").ports[0], second_node)
    station.bench.node("6")  # it is there alone: a station that looked at it would open it now
    station.put_in("A1")
    station.put_in("A2", chip=Cp2102("A2"))
    station.put_in("C1")
    station.passed("A1", "A2", "C1")
    assert second_node.history == []  # whoever opens a port raises its lines
    one, other, third = (station.node(slot) for slot in ("A1", "A2", "C1"))
    assert station.held() == sorted([one, other, third])

    others = (
        ["station", JOB, "--json"],
        station.bench.burn(f"slots:{SLOTS}#A1"),
        ["ports", "--probe", one],
    )
    history = station.bench.adapters["2"].chip.history
    before = len(history)
    for done in [station.bench.ended(asked) for asked in [station.bench.start(*each) for each in others]]:
        assert done.code != 0
        assert f"process {station.running.process}" in done.output
    # Root is let in where others are refused, and the kernel raises both lines for him again: no reset.
    assert set(history[before:]) <= {Lines(dtr=True, rts=True)}

    station.take_out("A1", "A2")
    station.state("A1", "empty")
    station.state("A2", "empty")
    assert station.held() == [third]
    was = dict(station.boards)
    station.put_in("A2", was["A2"].name, chip=Cp2102("A2"))
    assert station.node("A2") == one  # the number was free again
    station.put_in("A1", was["A1"].name)
    assert station.node("A1") == other
    station.passed("A1", "A2", hollow=True)
    assert station.reports("A1") == station.reports("A2") == ["pass", "already-pass"]


def test_pulled_while_it_is_detected_in_its_burn_and_in_hold(station: UsbStation) -> None:
    before = len(station.reports("A1"))
    silent(station.put_in("A1", silent_after=b""))
    station.state("A1", "detecting")
    station.take_out("A1")
    station.state("A1", "empty")
    assert station.held() == []
    assert len(station.reports("A1")) == before  # no verdict, and no fault of the socket

    silent(station.put_in("A1", silent_after=PROGRAMS_BLOCK3))
    station.state("A1", "burning")
    begun = station.boards["A1"]
    station.take_out("A1")
    assert "put it back" in station.verdict("A1", "LEAVE IN")["detail"]
    assert station.held() == []

    station.put_in("A1")  # another one
    assert "put it back" in station.state("A1", "hold")["detail"]
    assert station.held() == [station.node("A1")]
    station.take_out("A1")
    assert "put it back" in station.verdict("A1", "LEAVE IN")["detail"]
    assert station.held() == []

    station.put_in("A1", begun.name)
    station.passed("A1")
    assert station.reports("A1")[-1] == "pass"


def test_a_hub_that_is_reset_brings_its_boards_again(station: UsbStation) -> None:
    station.put_in("B1")
    station.put_in("B2", chip=Cp2102("B2"))
    station.passed("B1", "B2")
    authorized = f"/sys/bus/usb/devices/1-{HUB}/authorized"
    station.bench.machine.shell(f"echo 0 >{authorized}")
    station.state("B1", "empty")
    station.state("B2", "empty")
    assert station.held() == []
    station.bench.machine.shell(f"echo 1 >{authorized}")
    station.passed("B1", "B2", hollow=True)
    assert station.held() == sorted([station.node("B1"), station.node("B2")])


def test_no_line_moves_while_a_chip_burns_and_an_adapter_that_hangs_is_off(station: UsbStation) -> None:
    machine = station.bench.machine
    burns = machine.start({"python": BURNS_BESIDE})  # as `run` on other ports of this machine
    burns.until("burning")
    adapter = station.put_in("A1")
    station.state("A1", "detecting")
    time.sleep(LOOKS_LONG_S)
    moved = list(adapter.chip.history)
    (machine.exchange / "burned").touch()
    assert burns.end().code == 0
    assert moved == []

    socket = station.bench.boards("esp32c3:1").ports[0]
    hangs = station.bench.plug(PLACES["C2"], socket, UsbSerialJtag("C2"))
    hangs.device.mute.set()
    station.passed("A1")
    assert "hangs" in station.verdict("C2", "SOCKET OFF")["detail"]
    assert hangs.device.left_unanswered
    station.bench.pull(PLACES["C2"])
    station.state("C2", "empty")
    station.bench.plug(PLACES["C2"], socket, UsbSerialJtag("C2"))
    station.verdict("C2", "PASS")

    told = [list(one.chip.history) for one in station.bench.adapters.values()]
    assert station.end() == 0
    assert [one.chip.history for one in station.bench.adapters.values()] == told  # closing moves none
    assert all(told)
    seen = station.rig.witness(with_first=True)
    assert seen.moves
    assert seen.during_burns == 0, seen.first
