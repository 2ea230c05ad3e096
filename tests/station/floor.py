"""A whole station in one process, on simulated sockets, driven step by step: for the state machine's tests.

The loop runs only while a step waits. What is inside the station can be looked at between two steps.
"""

from __future__ import annotations

import asyncio
import re
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from parburn.events import DeviceReport
from parburn.run.stop import StopRequest
from parburn.sim.control_client import ControlledRig
from parburn.sim.state_file import read_board
from parburn.station import running
from parburn.station.arming import make_ledger
from parburn.station.opening import open_simulated
from parburn.station.picture import SocketPicture, StationPicture
from parburn.station.rig import Station
from parburn.station.running import Outside, run_station
from parburn.station.shared import StationRun
from parburn.station.slots_file import Presence
from parburn.station.view import StationFacts, Totals
from tests.station.jobs import SCRIPT, JobFolder

STEP_S = 0.02


class Kept:
    """A view that keeps what it is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.reports: list[tuple[str, DeviceReport]] = []

    def started(self, facts: StationFacts) -> None:
        """Keep nothing."""

    def update(self, picture: StationPicture) -> None:
        """Keep nothing: it is asked of the station."""

    def report(self, slot: str, report: DeviceReport) -> None:
        """Keep it."""
        self.reports.append((slot, report))

    def note(self, slot: str, text: str, level: str = "info") -> None:
        """Keep it."""
        self.notes.append(text)

    def halt(self, why: str) -> None:
        """Keep it."""
        self.notes.append(f"halt: {why}")

    def resumed(self, why: str) -> None:
        """Keep nothing."""

    def ended(self, totals: Totals) -> None:
        """Keep nothing."""

    def draw(self, *, force: bool = False) -> bool:
        """Nothing is drawn."""
        return False

    def close(self) -> None:
        """Nothing is held back."""


class Floor:
    """A rig, and a station on it that may be stopped and started."""

    def __init__(
        self, rig: ControlledRig, folder: Path, *, first_article: int = 0, presence: Presence = ""
    ) -> None:
        self.rig, self.folder = rig, folder
        folder.mkdir()
        self.job = JobFolder(folder, count=60, script=SCRIPT)
        self.job.sections += "[bounds]\ndebounce_ms = 10\nlook_ms = 10\nreplug_s = 0.5\n"
        self.job.write(first_article=str(first_article))
        self.ledger = folder / "ledger.sqlite3"
        make_ledger(self.ledger, "test")
        self.opened = open_simulated(self.job.path, chips=["esp32c3"], ports=rig.ports, ledger=self.ledger)
        if presence:
            slots = (slot._replace(kind="bridge", presence=presence) for slot in self.opened.slots)
            self.opened = self.opened._replace(slots=tuple(slots))
        self.loop = asyncio.new_event_loop()
        self.view = Kept()
        self.start()

    # The station ----------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin a station of this job; the one before has ended."""
        made: list[Any] = []

        class SeenStation(Station):
            def __init__(self, around: StationRun, **more: Any) -> None:
                super().__init__(around, **more)
                self.around = around

            async def run(self, source: Any, plugs: Any) -> None:
                made.extend((self, self.around))
                await super().run(source, plugs)

        self.stop_request = StopRequest()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(running, "Station", SeenStation)
            outside = Outside(self.view, self.stop_request)
            self.task = self.loop.create_task(run_station(self.opened, outside))
            self.until(lambda: len(made) == 2, "it is made")
        self.station: Station = made[0]
        self.around: StationRun = made[1]

    def stop(self) -> None:
        """Ctrl-C, and its end."""
        self.loop.call_soon(self.stop_request.request)
        self.until(self.task.done, "it ends", 30.0)
        self.task.result()

    def close(self) -> None:
        """End all."""
        if not self.task.done():
            self.stop()
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.close()

    # Steps ----------------------------------------------------------------------------------------------

    def let(self, seconds: float) -> None:
        """Let it work for so long; what it raises is raised here."""
        self.loop.run_until_complete(asyncio.sleep(seconds))
        if self.task.done():
            self.task.result()

    def do(self, call: Callable[[], Any]) -> Any:
        """Call something on the loop."""

        async def called() -> Any:
            return call()

        return self.loop.run_until_complete(called())

    def until(self, true: Callable[[], bool], what: str, seconds: float = 20.0) -> None:
        """Let it work until something is so."""
        deadline = time.monotonic() + seconds
        while not true():
            self.loop.run_until_complete(asyncio.sleep(STEP_S))
            if self.task.done():
                self.task.result()
                if true():
                    return
                raise AssertionError("the station has ended by itself")
            if time.monotonic() > deadline:
                shown = [(one.slot, one.state.value, one.word, one.detail) for one in self.sockets]
                raise AssertionError(f"not within {seconds:g} s: {what}: {shown} {self.view.notes[-5:]}")

    @property
    def sockets(self) -> tuple[SocketPicture, ...]:
        """What it shows."""
        return self.station.picture().sockets

    def socket(self, number: int) -> SocketPicture:
        """What it shows of a socket."""
        return self.sockets[number]

    # What is left ---------------------------------------------------------------------------------------

    def left_behind(self) -> list[str]:
        """What a station still holds of boards; nothing once all sockets are empty."""
        around = self.around
        found = {
            "seated chips": around.presence._seated,
            "boards at work": around.gate._at_work,
            "boards that wait at the gate": around.gate._waiting,
            "boards at the desk": around.desk._places,
            "ports in use": around.ports._in_use,
            "open ports": around.ports._kept,
            "boards that are waited for": around._missing,
            "units held in the ledger": self.held_units(),
            "ptys": self.open_ptys(),
        }
        return [f"{what}: {some}" for what, some in found.items() if some]

    def held_units(self) -> list[Any]:
        """Units that a run holds."""
        with sqlite3.connect(self.ledger) as connection:
            rows = connection.execute("SELECT mac, idx, state, run FROM units WHERE run IS NOT NULL")
            return rows.fetchall()

    @staticmethod
    def open_ptys() -> list[str]:
        """Terminals that this process has open."""
        found = []
        for descriptor in Path("/proc/self/fd").iterdir():
            try:
                place = str(descriptor.readlink())
            except OSError:
                continue
            if re.match(r"/dev/pts/\d+", place) and int(descriptor.name) > 2:
                found.append(place)
        return found

    def custom_mac(self, board: str) -> int:
        """The custom MAC that a board holds."""
        bits = read_board(self.rig.file_of(board)).product.memory.field_bits("CUSTOM_MAC")
        return int.from_bytes(bits.to_bytes(6, "little"), "big")
