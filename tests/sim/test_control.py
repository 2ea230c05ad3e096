"""Boards that come and go: the commands on standard input and on a socket, and what stays of a board."""

from __future__ import annotations

import json
import os
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from parburn.errors import NoAnswer, ParburnError, UsageError
from parburn.sim.command import main
from parburn.sim.control import COMMANDS, LONGEST_LINE, answer
from parburn.sim.control_client import ControlledRig
from parburn.sim.options import parse
from parburn.sim.sockets import SocketRig
from parburn.sim.workshop import Workshop
from tests.rig import ROOT
from tests.sim.boards import SYNC, read_reg, write_reg
from tests.sim.test_rig import Terminal, terminal

DEADLINE_S = 10.0
SCRATCH = 0x60008800
STAGED = [(SCRATCH + 4 * n, 0x1100 + n) for n in range(6)]
TIMING = [(0x600089E8, 0x1FE28), (0x600089F0, 0x300000), (0x600089F4, 0x190)]
PROGRAM = [(0x600089CC, 0x5A5A), (0x600089D4, 2)]


def synced(port: str) -> bool:
    """Whether a loader answers at this port."""
    with terminal(port) as line:
        return len(line.ask(SYNC, 8, deadline_s=1.0)) >= 8


def burn(port: str) -> None:
    """Burn six words into BLOCK0 of an ESP32-C3."""
    with terminal(port) as line:
        line.ask(SYNC, 8)
        assert len(line.ask(write_reg(*STAGED, *TIMING, *PROGRAM), 1)) == 1
        time.sleep(0.05)


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def node(port: str) -> tuple[int, int]:
    """What tells a node from the one before it: its inode, and when it was made."""
    found = os.lstat(port)
    return found.st_ino, found.st_ctime_ns


def bits_of(file: Path) -> int:
    content: dict[str, Any] = json.loads(file.read_text())
    return int(content["blocks"]["BLOCK0"]["bits"], 16)


@contextmanager
def rig_in_process(tmp_path: Path, *words: str, chip: str = "esp32c3:3") -> Iterator[SocketRig]:
    """A rig whose loop is turned by the test."""
    given = parse(["--chip", chip, "--dir", str(tmp_path / "rig"), "--control", "-", *words])
    rig = SocketRig(given, Workshop(given))
    rig.open()
    try:
        yield rig
    finally:
        rig.close()


def test_a_board_is_put_in_taken_out_and_put_in_elsewhere_with_its_bits() -> None:
    with ControlledRig("esp32c3:2") as rig:
        assert not any(Path(port).exists() for port in rig.ports)
        first = rig.insert(0)
        assert first.name == "board1"
        assert synced(rig.ports[0])
        burn(rig.ports[0])
        assert rig.remove(0) == first.name
        assert not Path(rig.ports[0]).is_symlink()
        assert bits_of(rig.file_of(first.name)) & 0xFFFFFFFF == 0x1100
        second = rig.insert(0)
        assert second.mac != first.mac
        assert rig.insert(1, first.name) == first
        with terminal(rig.ports[1]) as line:
            line.ask(SYNC, 8)
            ((_, value, _),) = line.ask(read_reg(0x6000882C), 1)
        assert value == 0x1100
        assert list(rig.boards().values()) == [
            {"board": "board2", "mac": second.mac, "chip": "esp32c3"},
            {"board": "board1", "mac": first.mac, "chip": "esp32c3"},
        ]


def test_a_port_is_another_one_after_each_insertion() -> None:
    with ControlledRig("esp32c3:1") as rig:
        rig.insert(0)
        with terminal(rig.ports[0]) as line:
            line.ask(SYNC, 8)
            before = node(rig.ports[0])
            rig.swap(0)
            assert node(rig.ports[0]) != before
            with pytest.raises(OSError, match="Input/output"):
                os.write(line.fd, SYNC)
        assert synced(rig.ports[0])


def test_a_bridge_stays_and_nothing_answers_where_no_board_is() -> None:
    with ControlledRig("esp32c3:1", bridges=True) as rig:
        place = os.path.realpath(rig.ports[0])
        with terminal(rig.ports[0]) as line:
            assert line.ask(SYNC, 8, deadline_s=0.2) == []
            first = rig.insert(0)
            assert len(line.ask(SYNC, 8)) >= 8
            rig.remove(0)
            assert line.ask(SYNC, 8, deadline_s=0.2) == []
            assert rig.insert(0, first.name) == first
            assert len(line.ask(SYNC, 8)) >= 8
            assert rig.swap(0) != first
            assert len(line.ask(SYNC, 8)) >= 8
        assert os.path.realpath(rig.ports[0]) == place


def test_a_board_that_is_pulled_out_while_it_burns_loses_what_is_on_the_line() -> None:
    """The pulse that runs ends, as with a port that vanishes; staged words of no pulse are gone."""
    with ControlledRig("esp32c3:2", options=["--baud-limit", "115200"]) as rig:
        whole, half = rig.insert(0), rig.insert(1)
        with terminal(rig.ports[0]) as one, terminal(rig.ports[1]) as other:
            for line in (one, other):
                line.ask(SYNC, 8)
            one.ask(write_reg(*STAGED, *TIMING), 1)
            os.write(other.fd, write_reg(*STAGED, *TIMING, *PROGRAM))
            rig.remove(1)  # 200 bytes take 17 ms
            one.ask(write_reg(*PROGRAM), 1)
            rig.remove(0)
        assert bits_of(rig.file_of(whole.name)) & 0xFFFFFFFF == 0x1100
        assert bits_of(rig.file_of(half.name)) & 0xFFFFFFFF == 0


@pytest.mark.parametrize("cut", [False, True])
def test_a_cut_pulse_burns_a_part_where_asked(tmp_path: Path, cut: bool) -> None:
    with rig_in_process(tmp_path, "--empty", *(["--cut-pulses"] if cut else [])) as rig:
        board = rig.insert(0)
        registers = board.registers
        for address, value in (*STAGED, *TIMING, PROGRAM[0]):
            registers.write(address, value)
        now = time.monotonic()
        board.controller.write_cmd(2, now + 3600.0)  # it is in its pulse for long
        board.controller._done_at = now + 0.0004
        rig.remove(0)
        kept = json.loads((tmp_path / "rig" / "state" / "board1.json").read_text())
        wanted = sum(value << 32 * n for n, (_, value) in enumerate(STAGED)) & board.chip.blocks[0].mask
        burned = int(kept["blocks"]["BLOCK0"]["cells"], 16) & (1 << 192) - 1
        assert (burned == wanted) is not cut
        assert 0 < burned.bit_count() <= wanted.bit_count()
        assert kept["burns"][0]["note"] == ("the pulse was cut" if cut else "")


def test_a_twin_answers_at_both_nodes_and_leaves_from_both() -> None:
    with ControlledRig("esp32c3:3") as rig:
        board = rig.insert(0)
        assert rig.twin(0, 1) == board
        for port in rig.ports[:2]:
            assert synced(port)
        with terminal(rig.ports[0]) as one, terminal(rig.ports[1]) as other:
            assert len(one.ask(SYNC, 8)) >= 8
            assert len(other.ask(read_reg(SCRATCH), 1)) == 1
            assert len(one.ask(read_reg(SCRATCH), 1)) == 1
        assert rig.untwin(0) == board.name
        assert not Path(rig.ports[0]).exists()
        assert synced(rig.ports[1])
        rig.twin(1, 0)
        rig.remove(0)
        assert list(rig.boards().values()) == [None, None, None]
        assert not any(Path(port).exists() for port in rig.ports)


def test_a_clone_has_the_identity_and_nothing_else() -> None:
    with ControlledRig("esp32c3:1,esp32:1,esp32c3:2") as rig:
        for socket_number, other in ((0, 2), (1, 3)):
            board = rig.insert(socket_number)
            if not socket_number:
                burn(rig.ports[0])
            copy = rig.clone(socket_number, other)
            assert copy.mac == board.mac
            assert copy.name != board.name
            blocks = [json.loads(rig.file_of(one.name).read_text())["blocks"] for one in (board, copy)]
            assert (blocks[0] == blocks[1]) is bool(socket_number)  # the first of them is burned
            assert {name: one for name, one in blocks[0].items() if name != "BLOCK0"} == {
                name: one for name, one in blocks[1].items() if name != "BLOCK0"
            }
        assert rig.boards()["ttyUSB3"] == {"board": copy.name, "mac": copy.mac, "chip": "esp32"}


def test_a_replug_is_the_same_board_without_its_registers() -> None:
    with ControlledRig("esp32c3:2", options=["--stay-powered"]) as rig:
        board = rig.insert(0)
        with terminal(rig.ports[0]) as line:
            line.ask(SYNC, 8)
            line.ask(write_reg((SCRATCH, 0x77)), 1)
        assert rig.replug(0) == board
        with terminal(rig.ports[0]) as line:
            line.ask(SYNC, 8)
            ((_, value, _),) = line.ask(read_reg(SCRATCH), 1)
        assert value == 0
        assert rig.replug(0, 1) == board
        assert not Path(rig.ports[0]).exists()
        assert synced(rig.ports[1])


def test_a_fault_is_for_the_next_board_only() -> None:
    with ControlledRig("esp32c3:1") as rig:
        rig.fault(0, "the link is silent after 100 bytes")
        board = rig.insert(0)
        found = rig.boards()["ttyUSB0"]
        assert found is not None
        assert found["faults"] == "the link is silent after 100 bytes"
        with terminal(rig.ports[0]) as line:
            assert len(line.ask(SYNC, 8)) == 8
            line.ask(SYNC, 8)
            assert line.ask(read_reg(SCRATCH), 1, deadline_s=0.2) == []
        rig.replug(0)
        with terminal(rig.ports[0]) as line:
            line.ask(SYNC, 8)
            assert len(line.ask(read_reg(SCRATCH), 1)) == 1
        assert rig.boards()["ttyUSB0"] == {"board": board.name, "mac": board.mac, "chip": "esp32c3"}


def test_a_dead_board_stays_dead_and_is_there() -> None:
    with ControlledRig("esp32c3:2") as rig:
        dead, good = rig.dead(0), rig.insert(1)
        assert not synced(rig.ports[0])
        assert synced(rig.ports[1])
        rig.dead(1)
        assert not synced(rig.ports[1])
        rig.remove(1)
        rig.swap(0, good.name)
        assert not synced(rig.ports[0])
        rig.insert(1, dead.name)
        assert not synced(rig.ports[1])
        rig.swap(1)
        assert synced(rig.ports[1])


def test_a_fault_that_takes_the_port_away_leaves_the_socket_to_commands() -> None:
    with ControlledRig("esp32c3:2") as rig:
        rig.fault(0, "the port vanishes after 40 bytes and comes back as ttyUSB9 after 50 ms")
        board = rig.insert(0)
        with terminal(rig.ports[0]) as line:
            line.ask(SYNC, 8, deadline_s=0.3)
        back = Path(rig.ports[0]).with_name("ttyUSB9")
        end = time.monotonic() + DEADLINE_S
        while not back.exists() and time.monotonic() < end:
            time.sleep(0.02)
        assert rig.boards()["ttyUSB0"] == {
            "board": board.name,
            "mac": board.mac,
            "chip": "esp32c3",
            "port": "ttyUSB9",
            "faults": "the port vanishes after 40 bytes and comes back as ttyUSB9 after 50 ms",
        }
        rig.remove(0)
        assert not back.is_symlink()
        rig.insert(0, board.name)
        assert synced(rig.ports[0])


def test_another_chip_and_boards_of_tokens(tmp_path: Path) -> None:
    with ControlledRig("esp32c3:2") as rig:
        rig.insert(0, chip="esp32s3")
        found = rig.boards()["ttyUSB0"]
        assert found is not None
        assert found["chip"] == "esp32s3"
        with pytest.raises(UsageError, match="esp99"):
            rig.insert(1, chip="esp99")
        assert rig.boards()["ttyUSB1"] is None


def test_settings_reach_boards_that_come_later() -> None:
    with ControlledRig("esp32:1", options=["--set", "coding=3/4", "--set", "mac=0"]) as rig:
        made = json.loads(rig.file_of(rig.insert(0).name).read_text())
        assert int(made["blocks"]["BLOCK0"]["bits"], 16) >> 192 & 3 == 1
        assert made["mac"] == "00:00:00:00:00:00"


REFUSED = [
    ("insert", "it reads: insert SOCKET"),
    ("insert 7", "there is no socket 7. They are ttyUSB0 to ttyUSB1."),
    ("insert ttyUSB0", "ttyUSB0 is in ttyUSB0"),
    ("insert -1", "no socket"),
    ("insert ²", "no socket"),
    ("insert 1 nobody", "there is no board nobody"),
    ("insert 1 ../x", "no name of a board"),
    ("insert 1 ttyUSB0", "ttyUSB0 is in ttyUSB0"),
    ("insert 1 a b", "one board"),
    ("insert 1 a chip=esp32", "has the chip that it has"),
    ("insert 1 forget", "means nothing"),
    ("remove 1", "ttyUSB1 is empty"),
    ("remove 0 chip=esp32", "means nothing"),
    ("swap 1", "ttyUSB1 is empty"),
    ("swap 0 ttyUSB0", "ttyUSB0 is in ttyUSB0"),
    ("twin 0 0", "is in ttyUSB0"),
    ("twin 1 0", "ttyUSB1 is empty"),
    ("untwin 0", "no other node"),
    ("clone 1 1", "is empty"),
    ("replug 1", "is empty"),
    ("fault 1 it rains", "no fault reads"),
    ("forget ttyUSB0", "is in ttyUSB0"),
    ("forget nobody", "no board nobody"),
    ("witness some", "means nothing"),
    ("jump 1", "no command jump"),
    ("ju\x1b[31mmp", "no command"),
]


def test_refused_commands_change_nothing_and_are_one_clean_line(tmp_path: Path) -> None:
    with rig_in_process(tmp_path, chip="esp32c3:2") as rig:
        rig.remove(1, forget=True)
        before = rig.boards(), sorted((tmp_path / "rig").rglob("*"))
        for line, said in REFUSED:
            told, ends = answer(rig, line)
            assert told.startswith("error "), line
            assert said in told, line
            assert told.isprintable()
            assert not ends
        assert (rig.boards(), sorted((tmp_path / "rig").rglob("*"))) == before


def test_a_port_that_cannot_be_made_leaves_the_socket_empty(tmp_path: Path) -> None:
    with rig_in_process(tmp_path, "--empty") as rig:
        (tmp_path / "rig" / "ttyUSB0").write_text("in the way")
        assert "is in the way" in answer(rig, "insert 0")[0]
        assert rig.boards()["ttyUSB0"] is None
        (tmp_path / "rig" / "ttyUSB0").unlink()
        first, second = os.dup(0), os.dup(0)
        os.close(first)
        os.close(second)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (second, hard))
        try:
            told = answer(rig, "insert 0")[0]
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert told.startswith("error insert did not work: "), told
        assert "oo many open files" in told or "out of pty" in told
        assert rig.boards()["ttyUSB0"] is None
        assert answer(rig, "insert 0")[0].startswith("ok ")


def test_many_insertions_leave_nothing_behind(tmp_path: Path) -> None:
    with rig_in_process(tmp_path, "--empty", "--lines") as rig:
        macs = set()
        for _ in range(120):
            board = rig.insert(0)
            macs.add(board.memory.field_bits(board.chip.mac_field))
            rig.serve_pending()
            rig.remove(0, forget=True)
            rig.serve_pending()
        assert len(macs) == 120
        assert list((tmp_path / "rig").rglob("*.json")) == []
        assert len(rig._by_fd) + len(rig._events) + len(rig._due) == 0
        assert open_descriptors() < 100


def test_the_mac_addresses_of_a_rig_never_meet(tmp_path: Path) -> None:
    given = parse(["--chip", "esp32c3", "--dir", str(tmp_path), "--control", "-", "--seed", "3"])
    workshop = Workshop(given)
    macs = set()
    for workshop._made in range(20_000):
        macs.add(workshop._next_mac())
    assert len(macs) == 20_000
    assert len({mac[:3] for mac in macs}) == 1


class Hand(RuleBasedStateMachine):
    """Random commands, against a model of who is where."""

    def __init__(self) -> None:
        super().__init__()
        import tempfile

        self.folder = tempfile.TemporaryDirectory()
        self.context = rig_in_process(Path(self.folder.name), "--empty", "--lines", chip="esp32c3:3")
        self.rig = self.context.__enter__()
        self.inside: dict[int, str] = {}
        self.outside: set[str] = set()

    def teardown(self) -> None:
        self.context.__exit__(None, None, None)
        self.folder.cleanup()

    def do(self, line: str, *, fits: bool) -> str:
        told, _ = answer(self.rig, line)
        assert told.startswith("ok") is fits, (line, told)
        return told.split()[1] if fits else ""

    @rule(number=st.integers(0, 2), known=st.booleans())
    def insert(self, number: int, known: bool) -> None:
        name = min(self.outside, default="") if known else ""
        told = self.do(f"insert {number} {name}", fits=number not in self.inside)
        if told:
            self.inside[number] = told
            self.outside.discard(told)

    @rule(number=st.integers(0, 2), forget=st.booleans())
    def remove(self, number: int, forget: bool) -> None:
        name = self.do(f"remove {number} {'forget' * forget}", fits=number in self.inside)
        self.gone(name, forget=forget)

    @rule(number=st.integers(0, 2), forget=st.booleans())
    def swap(self, number: int, forget: bool) -> None:
        gone = self.inside.get(number, "")
        came = self.do(f"swap {number} {'forget' * forget}", fits=bool(gone))
        self.gone(gone, forget=forget)
        if came:
            self.inside[number] = came

    @rule(number=st.integers(0, 2), other=st.integers(0, 2))
    def replug(self, number: int, other: int) -> None:
        fits = number in self.inside and (other == number or other not in self.inside)
        name = self.do(f"replug {number} {other}", fits=fits)
        if name:
            self.gone(name, forget=True)
            self.inside[other] = name

    @rule(number=st.integers(0, 2), other=st.integers(0, 2))
    def twin(self, number: int, other: int) -> None:
        name = self.do(f"twin {number} {other}", fits=number in self.inside and other not in self.inside)
        if name:
            self.inside[other] = name

    @precondition(lambda self: self.inside)
    @rule(data=st.data())
    def untwin(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(self.inside)))
        fits = list(self.inside.values()).count(self.inside[number]) > 1
        self.do(f"untwin {number}", fits=fits)
        if fits:
            del self.inside[number]

    def gone(self, name: str, *, forget: bool) -> None:
        self.inside = {number: one for number, one in self.inside.items() if one != name}
        if name and not forget:
            self.outside.add(name)

    @invariant()
    def boards_are_where_they_should_be(self) -> None:
        self.rig.serve_pending()
        found = [one and one["board"] for one in self.rig.boards().values()]
        assert found == [self.inside.get(number) for number in range(3)]
        assert [place.link.exists() for place in self.rig.places] == [
            number in self.inside for number in range(3)
        ]
        assert len(self.rig._by_fd) == len(self.inside)
        files = {path.stem for path in (Path(self.folder.name) / "rig" / "state").iterdir()}
        assert files == self.outside | set(self.inside.values())
        for number in self.inside:
            line = Terminal(str(self.rig.places[number].link))
            os.close(line.fd)


TestHand = Hand.TestCase
TestHand.settings = settings(
    max_examples=15, stateful_step_count=20, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


# The two ways to talk -----------------------------------------------------------------------------------


@contextmanager
def sim(tmp_path: Path, control: str, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    """`parburn sim` as a process that is ready."""
    command = [sys.executable, "-m", "parburn.sim", "--chip", "esp32c3", "--dir", str(tmp_path / "rig")]
    with subprocess.Popen(
        [*command, "--control", control, *words], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline().startswith(b"ready: 1 sockets in ")
            yield process
        finally:
            if process.poll() is None:
                process.terminate()
            process.wait(DEADLINE_S)


def talk(path: Path) -> socket.socket:
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(DEADLINE_S)
    client.connect(str(path))
    return client


def test_several_talk_on_one_socket(tmp_path: Path) -> None:
    path = tmp_path / "control"
    with sim(tmp_path, str(path)) as process:
        assert path.stat().st_mode & 0o777 == 0o600
        with talk(path) as one, talk(path) as two:
            ours, theirs = one.makefile("rw"), two.makefile("rw")
            ours.write("rem")
            ours.flush()
            theirs.write("\n  \nboards\n")
            theirs.flush()
            assert json.loads(theirs.readline().removeprefix("ok "))["ttyUSB0"]["board"] == "ttyUSB0"
            ours.write("ove 0\ninsert 0\n")
            ours.flush()
            assert ours.readline() == "ok ttyUSB0\n"
            assert ours.readline().startswith("ok board1 ")
            two.close()
            theirs.close()
            one.sendall(b"x" * (LONGEST_LINE + 1))
            assert ours.readline() == "error this line is too long\n"
            assert ours.readline() == ""
        with talk(path) as one:
            one.sendall(b"\xff\xfe\n")
            assert one.recv(100).startswith(b"error there is no command")
            one.sendall(b"quit\n")
            assert one.recv(100) == b"ok\n"
        assert process.wait(DEADLINE_S) == 0
    assert not path.exists()


def test_who_does_not_read_is_cut_off_and_the_others_go_on(tmp_path: Path) -> None:
    path = tmp_path / "control"
    with sim(tmp_path, str(path)), talk(path) as deaf:
        deaf.settimeout(2.0)
        with suppress(OSError):  # it is cut off, or cannot send more
            for _ in range(200):
                deaf.sendall(b"help\n" * 500)
        with talk(path) as one:
            one.sendall(b"witness\n")
            assert one.recv(100).startswith(b"ok moves 0 ")


def test_the_end_of_standard_input_ends_it(tmp_path: Path) -> None:
    with sim(tmp_path, "-") as process:
        out, _ = process.communicate(b"boards\nwitness\n", timeout=DEADLINE_S)
        assert process.returncode == 0
        assert [line[:2] for line in out.splitlines()] == [b"ok", b"ok"]
    assert not (tmp_path / "rig" / "ttyUSB0").is_symlink()


def test_a_socket_left_behind_is_replaced_and_nothing_else_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "control"
    words = ["--chip", "esp32c3", "--dir", str(tmp_path / "other"), "--control", str(path)]
    with sim(tmp_path, str(path)) as process:
        assert main(words) == 2
        assert "another process listens there" in capsys.readouterr().err
        process.kill()
        process.wait(DEADLINE_S)
    assert path.exists()
    with sim(tmp_path, str(path)):
        assert path.exists()
    path.write_text("mine")
    assert main(words) == 2
    assert "that is no socket" in capsys.readouterr().err
    assert path.read_text() == "mine"
    words[-1] = str(tmp_path / ("x" * 200))
    assert main(words) == 2
    assert "cannot be made" in capsys.readouterr().err


def test_a_file_is_no_standard_input(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "parburn.sim", "--chip", "esp32c3", "--dir", str(tmp_path / "rig")]
    with Path("/dev/null").open("rb") as nothing:
        done = subprocess.run(
            [*command, "--control", "-"],
            cwd=ROOT,
            stdin=nothing,
            capture_output=True,
            timeout=30,
            check=False,
        )
    assert done.returncode == 2
    assert b"no pipe and no terminal" in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--empty"], "go with --control"),
        (["--bridges"], "go with --control"),
        (["--control", "-", "--presence", "cts"], "go with --lines"),
        (["--strapped"], "go with --lines"),
    ],
)
def test_options_that_need_others(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["--chip", "esp32c3", "--dir", "/nowhere", *words])
    assert said in capsys.readouterr().err


def test_every_command_is_told_by_help(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with rig_in_process(tmp_path) as rig:
        told, _ = answer(rig, "help")
    assert all(f"{name} " in told or f"{name}:" in told for name in COMMANDS)
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    shown = capsys.readouterr().out
    assert all(word in shown for word in ("--control", "--empty", "--bridges", "--lines", "--witness"))


# The client ---------------------------------------------------------------------------------------------


def test_the_client_says_when_the_rig_is_gone() -> None:
    with ControlledRig("esp32c3:1") as rig:
        rig.quit()
        with pytest.raises(NoAnswer, match="ended"):
            rig.boards()
    with pytest.raises(NoAnswer, match="gone"):
        rig.boards()
    assert not Path(rig.ports[0]).parent.exists()


def test_the_client_says_why_a_rig_does_not_start() -> None:
    with pytest.raises(NoAnswer, match="esp99"), ControlledRig("esp99:1"):
        pass


def test_faults_of_the_command_line_are_for_the_first_board_of_an_empty_socket() -> None:
    with ControlledRig("esp32c3:2", options=["--fault", "on board 1: answer 3 is lost"]) as rig:
        rig.insert(0)
        rig.insert(1)
        rig.swap(1)
        assert all(found and "faults" not in found for found in rig.boards().values())


def test_a_closed_port_without_stay_powered_is_a_power_cycle_as_ever() -> None:
    with ControlledRig("esp32c3:1") as rig:
        rig.insert(0)
        with terminal(rig.ports[0]) as line:
            line.ask(SYNC, 8)
            line.ask(write_reg((SCRATCH, 0x77)), 1)
        time.sleep(0.1)
        with terminal(rig.ports[0]) as line:
            ((_, value, _),) = line.ask(read_reg(SCRATCH), 1)
        assert value == 0


def test_errors_are_of_this_package() -> None:
    with ControlledRig("esp32c3:1") as rig, pytest.raises(ParburnError, match="ttyUSB0 is empty"):
        rig.remove(0)
