"""A station under everything that may happen to it, in any order: what it shows, and that it leaves nothing.

Whatever a socket does is a transition of its table: any other one raises, and ends the station.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from parburn.errors import NotDone
from parburn.ledger import schema
from parburn.sim.control_client import ControlledRig
from parburn.station.states import SocketState
from parburn.station.words import Word
from tests.station.floor import Floor

LOOP_IS_NOT_WATCHED = "the machine itself blocks its loop between two steps"

SOCKETS = 4
AWAY_S = (0.1, 0.9)  # the second one is longer than the ledger is waited for
BUSY_S = 0.4
socket = st.integers(0, SOCKETS - 1)


class StationMachine(RuleBasedStateMachine):
    """Boards, engineers and a ledger that go and come."""

    rig: ClassVar[ControlledRig]

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="floor-"))
        self.sits: dict[int, str] = {}  # what is in which socket
        self.kind: dict[str, str] = {}  # board: good, wrong, dead, odd (not sure what its word must be)
        self.shelf: list[str] = []
        self.locker: sqlite3.Connection | None = None

    @initialize(first_article=st.integers(0, 1))
    def begin(self, first_article: int) -> None:
        self.floor = Floor(self.rig, self.folder / "job", first_article=first_article)

    # Boards ---------------------------------------------------------------------------------------------

    def _free(self, number: int) -> int | None:
        """This socket, or the next one that is empty."""
        return next(
            (n % SOCKETS for n in range(number, number + SOCKETS) if n % SOCKETS not in self.sits), None
        )

    def _full(self, number: int) -> int | None:
        return next((n % SOCKETS for n in range(number, number + SOCKETS) if n % SOCKETS in self.sits), None)

    def _came(self, number: int, name: str, kind: str) -> None:
        self.sits[number] = name
        self.kind.setdefault(name, kind)

    @rule(number=socket, kind=st.sampled_from(["good", "good", "good", "wrong", "dead"]))
    def insert(self, number: int, kind: str) -> None:
        free = self._free(number)
        if free is None:
            return
        if kind == "dead":
            self._came(free, self.rig.dead(free).name, kind)
        else:
            chip = "esp32c6" if kind == "wrong" else "esp32c3"
            self._came(free, self.rig.insert(free, chip=chip).name, kind)

    @precondition(lambda self: self.sits)
    @rule(number=socket)
    def remove(self, number: int) -> None:
        full = self._full(number)
        assert full is not None
        name = self.rig.remove(full)
        for place in [place for place, one in self.sits.items() if one == name]:
            del self.sits[place]
        self.shelf.append(name)

    @precondition(lambda self: self.shelf)
    @rule(number=socket)
    def put_back(self, number: int) -> None:
        free = self._free(number)
        if free is not None:
            name = self.shelf.pop()
            self.rig.insert(free, name)
            self._came(free, name, "good")

    def _alone(self, number: int) -> int | None:
        """A socket with a board that has no second node."""
        full = self._full(number)
        return full if full is not None and [*self.sits.values()].count(self.sits[full]) == 1 else None

    @rule(number=socket)
    def swap(self, number: int) -> None:
        full = self._alone(number)
        if full is not None:
            self.shelf.append(self.sits[full])
            self._came(full, self.rig.swap(full, chip="esp32c3").name, "good")

    @rule(number=socket, other=socket)
    def replug(self, number: int, other: int) -> None:
        full, free = self._alone(number), self._free(other)
        if full is not None:
            to = full if free is None else free
            self.rig.replug(full, to)
            self.sits[to] = self.sits.pop(full)

    @rule(number=socket, other=socket, how=st.sampled_from(["twin", "clone"]))
    def double(self, number: int, other: int, how: str) -> None:
        full, free = self._alone(number), self._free(other)
        if full is None or free is None:
            return
        came = self.rig.twin(full, free) if how == "twin" else self.rig.clone(full, free)
        self.kind[self.sits[full]] = "odd"
        self._came(free, came.name, "odd")
        self.kind[came.name] = "odd"

    @rule(number=socket, after=st.sampled_from([300, 900, 1500, 2200, 3000]))
    def fall_silent(self, number: int, after: int) -> None:
        free = self._free(number)
        if free is not None:
            self.rig.fault(free, f"the link is silent after {after} bytes for 200 ms")
            self._came(free, self.rig.insert(free, chip="esp32c3").name, "odd")

    # People, and the ledger -----------------------------------------------------------------------------

    @rule()
    def halt(self) -> None:
        self.floor.do(lambda: self.floor.station.halt("", "an engineer says so"))

    @rule()
    def resume(self) -> None:
        self._told(lambda: self.floor.station.resume(None, "go on", "Eva"))

    @rule(number=socket)
    def resume_board(self, number: int) -> None:
        self._told(lambda: self.floor.station.resume(f"A{number + 1}", "go on", "Eva"))

    @rule(number=socket)
    def unlock(self, number: int) -> None:
        self._told(lambda: self.floor.station.unlock(f"A{number + 1}"))

    def _told(self, call: Callable[[], object]) -> None:
        with suppress(NotDone):
            self.floor.do(call)

    @rule(seconds=st.sampled_from(AWAY_S))
    def ledger_away(self, seconds: float) -> None:
        other = sqlite3.connect(self.floor.ledger, isolation_level=None, timeout=20)
        other.execute("BEGIN IMMEDIATE")
        try:
            self.floor.let(seconds)
        finally:
            other.execute("ROLLBACK")
            other.close()

    @rule()
    def restart(self) -> None:
        self.floor.stop()
        assert self.floor.held_units() == []
        self.floor.start()

    @rule(seconds=st.sampled_from([0.0, 0.05, 0.15, 0.3, 0.6]))
    def wait(self, seconds: float) -> None:
        self.floor.let(seconds)

    # What must hold -------------------------------------------------------------------------------------

    @invariant()
    def sockets_show_what_fits(self) -> None:
        if not hasattr(self, "floor"):
            return
        for one in self.floor.sockets:
            if one.state in (SocketState.READY, SocketState.HOLD, SocketState.BURNING):
                assert one.word is Word.LEAVE_IN, one
            if one.state is SocketState.EMPTY:
                assert one.word is None, one
            if one.state in (SocketState.VERDICT, SocketState.LOCKED):
                assert one.word is not None, one
            if one.state is SocketState.LOCKED:
                assert one.word is Word.SOCKET_OFF, one

    @precondition(lambda self: self.sits)
    @rule()
    def settle(self) -> None:
        """Let all boards come to a word, and compare it with the board."""
        self.floor.let(0.1)
        self._told(lambda: self.floor.station.resume(None, "go on", "Eva"))
        self.floor.until(self._has_settled, "all boards have a word", 40.0)
        macs = {slot: (board or {}).get("mac", "") for slot, board in self.rig.boards().items()}
        for number, name in self.sits.items():
            shown, kind = self.floor.socket(number), self.kind[name]
            mac = macs[f"ttyUSB{number}"]
            if shown.state is not SocketState.VERDICT:
                continue
            if shown.word is Word.PASS:
                assert kind in ("good", "odd"), (shown, kind)
                assert shown.mac == mac, (shown, mac)
                if kind == "good":
                    assert self.floor.custom_mac(name) == 0xAACDEF010000 + shown.index, shown  # type: ignore[operator]
            elif kind == "wrong":
                assert shown.word is Word.WRONG_BOARD, shown
            elif kind == "dead":
                assert shown.word is Word.RETRY, shown
            elif kind == "good" and not self.floor.custom_mac(name):
                assert shown.word in (Word.RETRY, Word.LEAVE_IN), (shown, name)

    def _has_settled(self) -> bool:
        gate = self.floor.around.gate
        if gate.halt:
            self._told(lambda: self.floor.station.resume(None, "go on", "Eva"))
        pictures = self.floor.sockets
        return all(
            pictures[number].state in (SocketState.VERDICT, SocketState.LOCKED)
            or (pictures[number].state is SocketState.HOLD and not gate.halt)
            for number in self.sits
        )

    def teardown(self) -> None:
        floor = getattr(self, "floor", None)
        try:
            if floor is not None:
                for number in sorted(self.sits):
                    if number in self.sits:
                        self.remove(number)
                floor.until(self._is_cleared, "all sockets are empty", 40.0)
                floor.until(lambda: not floor.left_behind(), f"nothing is left: {floor.left_behind()}", 5.0)
                floor.stop()
                assert floor.open_ptys() == []
                assert not any("error inside" in note for note in floor.view.notes), floor.view.notes
                assert not any("error inside" in one.error for _, one in floor.view.reports)
        finally:
            if floor is not None:
                for number in range(SOCKETS):
                    if self.rig.boards()[f"ttyUSB{number}"] is not None:
                        self.rig.remove(number)
                floor.close()
            shutil.rmtree(self.folder, ignore_errors=True)

    def _is_cleared(self) -> bool:
        for one in self.floor.sockets:
            if one.state is SocketState.LOCKED or "put it back" in one.detail:
                self._told(partial(self.floor.station.unlock, one.slot))
        return all(one.state is SocketState.EMPTY for one in self.floor.sockets)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[StationMachine]]:
    monkeypatch.setattr(schema, "BUSY_TIMEOUT_S", BUSY_S)
    with ControlledRig(f"esp32c3:{SOCKETS}", folder=tmp_path / "rig", lines=True) as rig:
        StationMachine.rig = rig
        yield StationMachine


@pytest.mark.long
def test_whatever_happens_to_it_a_station_shows_what_is_and_leaves_nothing(
    machine: type[StationMachine],
) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=int(os.environ.get("MACHINE_EXAMPLES", "12")),
            stateful_step_count=14,
            deadline=None,
            suppress_health_check=[*HealthCheck],
            derandomize="MACHINE_EXAMPLES" not in os.environ,
        ),
    )
