"""A station in the virtual machine: its job and slots, what it says, and which descriptors it holds."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

from parburn.sim.control_client import Board, ControlledRig
from tests.station.at_work import SCRIPT
from tests.usb.bench import Adapter, Bench
from tests.usb.devices import UsbSerial
from tests.usb.machine import COMMAND_S, Done, Running

Said = dict[str, Any]
SLOTS: Final = "rig.slots.toml"
JOB: Final = "job.toml"
_EMPTY_S: Final = 20.0  # in which sockets are empty again, unless a test has failed
# Bounds are wide where a processor that is emulated is slow; the hung adapter is given up before the kernel
# gives up a request to it (5 s), and opening takes several.
_JOB: Final = f"""\
schema = 1
name = "job"
scripts = ["burn.py"]
chips = ["esp32c3"]
slots = "{SLOTS}"
index = "1-30"
first_article = 0
retries = 20

[bounds]
open_ms = 4000

[ledger]
path = "LEDGER"
"""


class UsbStation:
    """One station, from its start to its end. Places are those of the controller: `3`, or `4.1` at a hub."""

    def __init__(self, bench: Bench, rig: ControlledRig, slots: dict[str, str], also: dict[str, str]) -> None:
        """Write the job and the slots, arm, and start. `slots` has places by name, `also` second nodes."""
        self.bench, self.rig = bench, rig
        self.places = slots
        self.boards: dict[str, Board] = {}  # by slot, what was put in last
        self._sockets = {slot: number for number, slot in enumerate(slots)}
        self._inside: set[str] = set()  # slots with boards of the rig
        self._seen: dict[str, int] = {}
        bench.file("burn.py", SCRIPT)
        # On a file system of the guest's own: the shared folder is a network one, where no ledger may lie.
        bench.file(JOB, _JOB.replace("LEDGER", f"/run/{bench.work.name}.sqlite3"))
        bench.file(SLOTS, _slots(bench, slots, also))
        armed = bench.parburn("arm", JOB, "--operator", "E. Ngineer", "--yes-burn", "--new-ledger")
        assert armed.code == 0, armed.output
        self.running: Running = bench.start("station", JOB, "--json", "--operator", "Ada")
        self.running.until('"event": "station"')

    # --- the hand

    def put_in(
        self, slot: str, board: str = "", *, chip: UsbSerial | None = None, silent_after: bytes | None = None
    ) -> Adapter:
        """Put a board in: a new one, or the one of this name again."""
        socket = self._sockets[slot]
        self.boards[slot] = self.rig.insert(socket, board)
        self._inside.add(slot)
        pty = self.rig.ports[socket]
        return self.bench.plug(self.places[slot], pty, chip, lines=True, silent_after=silent_after)

    def take_out(self, *slots: str) -> None:
        """Take boards out: their adapters go with them."""
        self.bench.pull(*(self.places[slot] for slot in slots))
        for slot in slots:
            self._inside.remove(slot)
            self.rig.remove(self._sockets[slot])

    def clear(self) -> None:
        """Take everything out."""
        self.bench.pull(*self.bench.adapters)
        for slot in self._inside:
            self.rig.remove(self._sockets[slot])
        self._inside.clear()
        deadline = time.monotonic() + _EMPTY_S
        while not self.running.ended.is_set() and time.monotonic() < deadline:
            if all(self.pictures(slot)[-1]["state"] == "empty" for slot in self.places):
                break
            time.sleep(0.1)
        self._seen = {slot: len(self.pictures(slot)) for slot in self.places}

    def node(self, slot: str) -> str:
        """The tty of a slot."""
        return self.bench.node(self.places[slot])

    # --- what it says

    @property
    def said(self) -> list[Said]:
        """All that it has said so far."""
        return Done(0, self.running.output.rpartition("\n")[0]).events

    def pictures(self, slot: str) -> list[Said]:
        """The pictures of a slot, in their order."""
        return [one for one in self.said if one["event"] == "socket" and one["slot"] == slot]

    def until(self, slot: str, what: str, wanted: Callable[[Said], bool]) -> Said:
        """Wait for a picture of a slot; those that came before and were not asked for yet count, too."""
        deadline = time.monotonic() + COMMAND_S
        while True:
            pictures = self.pictures(slot)
            for number in range(self._seen.get(slot, 0), len(pictures)):
                self._seen[slot] = number + 1
                if wanted(pictures[number]):
                    return pictures[number]
            told = f"{what}\n{self.running.output}"
            assert not self.running.ended.is_set(), f"it ended before {slot} was {told}"
            assert time.monotonic() < deadline, f"{slot} is not {told}"
            time.sleep(0.05)

    def state(self, slot: str, state: str) -> Said:
        """Wait until a slot is in this state."""
        return self.until(slot, state, lambda one: bool(one["state"] == state))

    def verdict(self, slot: str, word: str, *, hollow: bool = False) -> Said:
        """Wait for the verdict in a slot, which must be this."""
        found = self.until(slot, "verdict", lambda one: one["state"] in ("verdict", "locked"))
        assert (found["word"], found["hollow"]) == (word, hollow), f"{found}\n{self.running.output}"
        return found

    def passed(self, *slots: str, hollow: bool = False) -> None:
        """Wait until these slots are PASS, with the boards that were put in."""
        for slot in slots:
            assert self.verdict(slot, "PASS", hollow=hollow)["mac"] == self.boards[slot].mac

    def reports(self, slot: str) -> list[str]:
        """The results of a slot's boards."""
        return [one["result"] for one in self.said if one["event"] == "report" and one["slot"] == slot]

    # --- what it holds

    def held(self) -> list[str]:
        """The ttys of adapters that it has open; one that is gone is `.. (deleted)`."""
        folder = f"/proc/{self.running.process}/fd"
        listed = self.bench.machine.shell(
            f"for one in {folder}/*; do readlink $one; done | grep tty[UA]; true"
        )
        return sorted(listed.splitlines())

    def kill(self) -> None:
        """End it, if it still runs."""
        if not self.running.ended.is_set():
            self.bench.machine.shell(f"kill -KILL {self.running.process}")
            self.running.end()

    def end(self) -> int:
        """End it as an operator does; its exit code."""
        self.bench.machine.shell(f"kill -INT {self.running.process}")
        return self.bench.ended(self.running).code


def _slots(bench: Bench, slots: dict[str, str], also: dict[str, str]) -> str:
    """A slots file with these places of the controller that the machine has."""
    controller = bench.machine.shell("basename $(dirname $(readlink -f /sys/bus/usb/devices/usb1))")
    lines = ["[slots]"]
    for name, place in slots.items():
        first = f'"pci-{controller}-usb-0:{place}:1.0"'
        more = f'"pci-{controller}-usb-0:{also[name]}:1.0"' if name in also else ""
        lines.append(f"{name} = {{ place = {first}, also = [{more}] }}" if more else f"{name} = {first}")
    return "\n".join([*lines, ""])
