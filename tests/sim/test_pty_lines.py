"""Ports with DTR, RTS and CTS: the circuit for reset and boot pin, packet mode, and the witness."""

from __future__ import annotations

import json
import os
import select
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from parburn.errors import UsageError
from parburn.sim.control_client import ControlledRig
from parburn.sim.line_pins import CTS, DTR, EXTPROC, RTS, are_in_reset, named
from parburn.sim.witness import Witness, moves_during_burns
from tests.sim.boards import SYNC, read_reg, write_reg
from tests.sim.test_control import PROGRAM, SCRATCH, STAGED, TIMING, bits_of, rig_in_process
from tests.sim.test_rig import Terminal

DEADLINE_S = 5.0


class Adapter(Terminal):
    """An open port with lines, as a driver has it: open asserts both, HUPCL is cleared."""

    def __init__(self, path: str, rig: ControlledRig | None = None) -> None:
        super().__init__(path)
        self.rig = rig  # each move waits until it has seen it
        mode = termios.tcgetattr(self.fd)
        mode[2] &= ~termios.HUPCL
        termios.tcsetattr(self.fd, termios.TCSANOW, mode)
        self.move(DTR | RTS)

    def word(self) -> int:
        """What c_cc[VEOL2] holds."""
        return int(termios.tcgetattr(self.fd)[6][termios.VEOL2][0])

    def move(self, pins: int) -> None:
        """Set both lines at once."""
        before = self.rig.witness().moves if self.rig else 0
        mode = termios.tcgetattr(self.fd)
        old = mode[6][termios.VEOL2][0]
        mode[6][termios.VEOL2] = bytes([old & ~(DTR | RTS) | pins])
        termios.tcsetattr(self.fd, termios.TCSANOW, mode)
        if self.rig and old & (DTR | RTS) != pins:
            settled(self.rig, before + 1)

    def reset(self, *, download: bool = True) -> bytes:
        """Pulse reset; what the ROM says then."""
        self.move(RTS)
        time.sleep(0.005)
        self.move(DTR if download else 0)
        return self.heard(b"boot:", 1.0)

    def heard(self, until: bytes, deadline_s: float) -> bytes:
        """What comes until this does."""
        got, end = b"", time.monotonic() + deadline_s
        while until not in got and time.monotonic() < end:
            try:
                got += os.read(self.fd, 4096)
            except BlockingIOError:
                time.sleep(0.005)
        time.sleep(0.03)
        return got

    def answers_sync(self) -> bool:
        """Whether the loader runs."""
        return len(self.ask(SYNC, 8, deadline_s=0.5)) >= 8


@contextmanager
def adapter(path: str, rig: ControlledRig | None = None) -> Iterator[Adapter]:
    one = Adapter(path, rig)
    try:
        yield one
    finally:
        os.close(one.fd)


def settled(rig: ControlledRig, moves: int) -> None:
    """Wait until the simulator has seen so many moves."""
    end = time.monotonic() + DEADLINE_S
    while rig.witness().moves < moves and time.monotonic() < end:
        time.sleep(0.005)
    assert rig.witness().moves == moves


def test_only_ports_with_lines_have_the_mark() -> None:
    for lines in (False, True):
        with ControlledRig("esp32c3:1", lines=lines, empty=False) as rig:
            fd = os.open(rig.ports[0], os.O_RDWR | os.O_NOCTTY)
            mode = termios.tcgetattr(fd)
            os.close(fd)
            assert bool(mode[3] & EXTPROC) is lines
            assert mode[6][termios.VEOL2] == b"\0"


def test_the_circuit_takes_the_chip_to_its_loader_and_to_its_program() -> None:
    with ControlledRig("esp32c3:1", lines=True) as rig:
        rig.insert(0)
        with adapter(rig.ports[0], rig) as line:
            assert not line.answers_sync()  # plugged in with its lines at rest: its own program runs
            assert b"waiting for download" in line.reset()
            assert line.answers_sync()
            line.move(0)
            line.move(DTR | RTS)
            assert line.answers_sync()  # no reset was in it
            line.move(RTS)
            assert not line.answers_sync()
            line.move(DTR | RTS)  # as by way of both lines, which real drivers cannot always avoid
            assert b"boot:download" in line.heard(b"boot:", 1.0)
            assert line.answers_sync()
            assert b"boot:flash" in line.reset(download=False)
            assert not line.answers_sync()


def test_registers_go_with_a_reset_and_closing_is_none() -> None:
    with ControlledRig("esp32c3:1", lines=True, empty=False) as rig:
        with adapter(rig.ports[0], rig) as line:
            line.reset()
            line.ask(SYNC, 8)
            line.ask(write_reg((SCRATCH, 0x77)), 1)
        time.sleep(0.1)
        with adapter(rig.ports[0], rig) as line:
            ((_, value, _),) = line.ask(read_reg(SCRATCH), 1)
            assert value == 0x77
            line.reset()
            line.ask(SYNC, 8)
            ((_, value, _),) = line.ask(read_reg(SCRATCH), 1)
            assert value == 0


def test_strapped_boards_wait_for_a_loader_whatever_the_lines_say() -> None:
    with ControlledRig("esp32c3:1", lines=True, options=["--strapped"]) as rig:
        rig.insert(0)
        with adapter(rig.ports[0], rig) as line:
            assert line.answers_sync()
            assert b"boot:download" in line.reset(download=False)
            assert line.answers_sync()


def test_lines_of_a_bridge_are_felt_by_the_board_that_comes() -> None:
    with ControlledRig("esp32c3:1", lines=True, bridges=True) as rig, adapter(rig.ports[0], rig) as line:
        line.move(RTS)
        settled(rig, 2)
        rig.insert(0)
        assert not line.answers_sync()  # held in reset
        line.move(DTR)
        assert b"boot:download" in line.heard(b"boot:", 1.0)
        assert line.answers_sync()
        rig.swap(0)
        assert line.answers_sync()  # the boot pin is low while it is plugged in
        line.move(0)
        settled(rig, 4)
        rig.swap(0)
        assert not line.answers_sync()


def test_cts_tells_who_is_there_and_a_host_that_writes_it_back_does_not_undo_it() -> None:
    options = ["--presence", "cts"]
    with (
        ControlledRig("esp32c3:1", lines=True, bridges=True, options=options) as rig,
        adapter(rig.ports[0], rig) as line,
    ):
        assert line.word() == DTR | RTS
        stale = termios.tcgetattr(line.fd)
        rig.insert(0)
        assert line.word() == DTR | RTS | CTS
        termios.tcsetattr(line.fd, termios.TCSANOW, stale)
        end = time.monotonic() + DEADLINE_S
        while not line.word() & CTS and time.monotonic() < end:
            time.sleep(0.005)
        assert line.word() == DTR | RTS | CTS
        rig.remove(0)
        assert line.word() == DTR | RTS
        seen = rig.witness()
        assert (seen.moves, seen.closes) == (1, 0)


def test_presence_is_no_hang_up_where_nobody_has_the_port_open() -> None:
    options = ["--presence", "cts"]
    with ControlledRig("esp32c3:1", lines=True, bridges=True, options=options) as rig:
        for _ in range(3):
            rig.insert(0)
            rig.remove(0)
        assert rig.witness().closes == 0


def test_data_and_status_come_apart_however_they_are_mixed() -> None:
    """Many frames and moves of DTR at once: each frame arrives whole, and the last state counts."""
    with ControlledRig("esp32c3:1", lines=True, options=["--strapped"]) as rig:
        rig.insert(0)
        with adapter(rig.ports[0]) as line:
            assert line.answers_sync()
            values = [(n * 0x01010101) & 0xFFFFFFFF for n in range(64)]
            for n, value in enumerate(values):
                frame = write_reg((SCRATCH + 4 * (n % 8), value))
                os.write(line.fd, frame[:20])
                line.move(DTR | RTS if n % 2 else DTR)
                time.sleep(0.005 * (n % 3))  # sometimes the first part is read before the second is there
                os.write(line.fd, frame[20:])
                termios.tcflush(line.fd, termios.TCIFLUSH)
            while select.select([line.fd], [], [], 0.5)[0]:  # until the simulator has answered the last one
                os.read(line.fd, 65536)
            for n in range(8):
                ((_, value, _),) = line.ask(read_reg(SCRATCH + 4 * n), 1)
                assert value == values[56 + n]


@pytest.mark.parametrize("cleared", [True, False])
def test_a_close_moves_lines_only_with_hupcl(cleared: bool) -> None:
    with ControlledRig("esp32c3:1", lines=True, empty=False) as rig:
        with adapter(rig.ports[0], rig) as line:
            settled(rig, 1)
            if not cleared:
                mode = termios.tcgetattr(line.fd)
                mode[2] |= termios.HUPCL
                termios.tcsetattr(line.fd, termios.TCSANOW, mode)
        end = time.monotonic() + DEADLINE_S
        while not rig.witness().closes and time.monotonic() < end:
            time.sleep(0.005)
        seen = rig.witness()
        assert (seen.moves, seen.closes) == (1 if cleared else 2, 1)
        fd = os.open(rig.ports[0], os.O_RDWR | os.O_NOCTTY)
        assert termios.tcgetattr(fd)[6][termios.VEOL2][0] == (DTR | RTS if cleared else 0)
        os.close(fd)


def test_a_port_that_is_taken_away_is_no_close() -> None:
    with ControlledRig("esp32c3:1", lines=True, empty=False) as rig:
        with adapter(rig.ports[0], rig):
            settled(rig, 1)
            rig.remove(0)
        time.sleep(0.05)
        assert rig.witness()[:4] == (1, 0, 0, 0)


# The witness --------------------------------------------------------------------------------------------


def begin_burn(line: Adapter) -> None:
    line.reset()
    line.ask(SYNC, 8)
    assert len(line.ask(write_reg(*STAGED, *TIMING, *PROGRAM), 1)) == 1


def end_burn(line: Adapter) -> None:
    """The READ that follows, as a driver gives it: twice looked at."""
    line.ask(write_reg((0x600089CC, 0x5AA5), (0x600089D4, 1)), 1)
    time.sleep(0.01)
    for _ in range(2):
        ((_, value, _),) = line.ask(read_reg(0x600089D4), 1)
    assert value & 3 == 0


def test_the_witness_counts_what_moves_on_any_port_from_program_to_read(tmp_path: Path) -> None:
    told = tmp_path / "witness.jsonl"
    with (
        ControlledRig("esp32c3:3", lines=True, empty=False, options=["--witness", str(told)]) as rig,
        adapter(rig.ports[0], rig) as burning,
        adapter(rig.ports[1], rig) as other,
    ):
        begin_burn(burning)
        settled(rig, 4)
        assert rig.witness().during_burns == 0
        other.move(DTR)
        settled(rig, 5)
        assert rig.witness().during_burns == 1
        with adapter(rig.ports[2], rig):
            settled(rig, 6)
        end_burn(burning)
        other.move(0)
        settled(rig, 7)
        seen = rig.witness(with_first=True)
        assert seen[:4] == (7, 2, 1, 1)
        assert [Path(one["port"]).name for one in seen.first] == ["ttyUSB1", "ttyUSB2", "ttyUSB2"]
        assert [one["kind"] for one in seen.first] == ["RTS off", "DTR on, RTS on", "closed"]
        assert all(list(one["burning"]) == ["ttyUSB0"] for one in seen.first)
        assert all(one["burning"]["ttyUSB0"] <= one["at"] for one in seen.first)
    lines = [json.loads(line) for line in told.read_text().splitlines()]
    kinds = [one["what"] for one in lines]
    assert kinds[:10] == ["move"] * 4 + ["burns", "move", "move", "close", "burned", "move"]
    assert [one["port"] for one in moves_during_burns([told])] == list(rig.ports[1:])


def test_a_reset_in_the_middle_of_a_burn_is_seen_and_ends_it() -> None:
    with ControlledRig("esp32c3:1", lines=True, empty=False) as rig, adapter(rig.ports[0], rig) as line:
        begin_burn(line)
        line.move(RTS)
        settled(rig, 4)
        assert rig.witness().during_burns == 1
        line.move(DTR)
        settled(rig, 5)
        assert rig.witness().during_burns == 1
        assert bits_of(rig.file_of("ttyUSB0")) & 0xFFFFFFFF == 0x1100


@pytest.mark.parametrize("way", ["closed", "pulled out", "faulty"])
def test_a_burn_that_nobody_will_read_ends_with_its_pulse(way: str) -> None:
    options = ["--fault", "on board 0: answer 900 is lost"] if way == "faulty" else []
    with (
        ControlledRig("esp32c3:2", lines=True, empty=False, options=options) as rig,
        adapter(rig.ports[1], rig) as other,
    ):
        with adapter(rig.ports[0], rig) as line:
            begin_burn(line)
            if way == "pulled out":
                rig.remove(0)
            if way == "faulty":
                time.sleep(0.05)
                other.move(0)
                settled(rig, 5)
        time.sleep(0.05)
        other.move(DTR)
        settled(rig, 6 if way == "faulty" else 5)
        assert rig.witness().during_burns == 0


def test_files_of_several_simulators_are_compared_by_the_clock_of_the_machine(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    burns = [
        {"what": "burns", "at": 1.0, "board": "a", "pid": 1},
        {"what": "burned", "at": 2.0, "board": "a"},
    ]
    burns[1]["pid"] = 1
    moves = [
        {"what": "move", "at": at, "port": str(at), "kind": "RTS on", "pid": 2}
        for at in (0.9, 1.01, 1.5, 2.1)
    ]
    one.write_text("".join(json.dumps(line) + "\n" for line in burns) + '{"what": "bur')
    two.write_text("".join(json.dumps(line) + "\n" for line in [*moves, {"what": "close", "at": 1.6}]))
    assert [found["at"] for found in moves_during_burns([two, one])] == [1.5]
    assert [found["at"] for found in moves_during_burns([two, one], slack_s=0.0)] == [1.01, 1.5]


def test_a_witness_file_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be written"):
        Witness(tmp_path / "none" / "file")


def test_a_full_disk_does_not_end_the_witness() -> None:
    witness = Witness(Path("/dev/full"))
    witness.moved("ttyUSB0", "DTR on", 1.0)
    witness.moved("ttyUSB0", "DTR off", 2.0)
    assert witness.summary() == "moves 2 during-burns 0 closes 0 closes-during-burns 0"


def test_a_host_that_dies_in_a_burn_leaves_none_behind(tmp_path: Path) -> None:
    """The pulse may still run when the last descriptor is closed; it ends by itself."""
    with rig_in_process(tmp_path, "--lines", chip="esp32c3:1") as rig:
        board = rig.ports[0].board
        board.registers.write(*PROGRAM[0])
        board.controller.write_cmd(2, time.monotonic())
        board.controller.abandon()
        assert board.controller.burning
        board.advance(time.monotonic() + 1)
        assert not board.controller.burning


def test_the_words_of_a_move() -> None:
    assert named(0, DTR | RTS) == "DTR on, RTS on"
    assert named(DTR | RTS, RTS) == "DTR off"
    assert [pins for pins in range(4) if are_in_reset(pins)] == [RTS]
