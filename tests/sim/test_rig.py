"""The rig as a process: its command line, its ports, its files, its end."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from parburn.sim.command import main
from parburn.sim.workshop import chips_of
from tests.rig import ROOT, Rig, start_rig
from tests.sim.boards import SYNC, answers, read_reg, write_reg

SCRATCH = 0x60008800
DEADLINE_S = 5.0
TIOCGEXCL = 0x80045440  # Linux: whether the terminal is locked


class Terminal:
    """An open port."""

    def __init__(self, path: str) -> None:
        self.fd = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)

    def ask(self, data: bytes, count: int, *, deadline_s: float = DEADLINE_S) -> list[tuple[int, int, bytes]]:
        """Send, and wait for so many answers, or until the deadline."""
        os.write(self.fd, data)
        got, end = b"", time.monotonic() + deadline_s
        while len(answers(got)) < count and time.monotonic() < end:
            if select.select([self.fd], [], [], max(0.0, end - time.monotonic()))[0]:
                try:
                    got += os.read(self.fd, 4096)
                except OSError:  # the port is gone
                    break
        return answers(got)


@contextmanager
def terminal(path: str) -> Iterator[Terminal]:
    one = Terminal(path)
    try:
        yield one
    finally:
        os.close(one.fd)


def wait_until_off(rig: Rig) -> None:
    """Let the rig see that a port was closed (a close that is followed at once by an open is no unplug)."""
    time.sleep(0.1)


def test_boards_answer_and_keep_their_bits(tmp_path: Path) -> None:
    with start_rig("esp32:1,esp32c3:2", tmp_path=tmp_path, seed=None) as rig:
        assert [os.path.realpath(port).startswith("/dev/pts/") for port in rig.ports] == [True] * 3
        macs = [rig.mac(n) for n in range(3)]
        for port in rig.ports:
            with terminal(port) as line:
                assert len(line.ask(SYNC, 8)) == 8
        words = [(SCRATCH + 4 * n, 0x1100 + n) for n in range(6)]
        timing = [(0x600089E8, 0x1FE28), (0x600089F0, 0x300000), (0x600089F4, 0x190)]
        command = [(0x600089CC, 0x5A5A), (0x600089D4, 2)]
        with terminal(rig.ports[1]) as line:
            line.ask(SYNC, 8)
            assert len(line.ask(write_reg(*words, *timing, *command), 1)) == 1
            time.sleep(0.05)
        assert rig.bits(1, 0) & 0xFFFFFFFF == 0x1100
        assert (rig.programs(0), rig.programs(1), rig.programs(2)) == (0, 1, 0)
        links = [Path(port) for port in rig.ports]
        bits = [rig.bits(1, index) for index in range(11)]
    assert rig.process.returncode == 0
    assert not any(link.is_symlink() for link in links)
    assert len(set(macs)) == 3
    assert all(int(mac[:2], 16) & 1 == 0 for mac in macs)
    with start_rig("esp32:1,esp32c3:2", tmp_path=tmp_path, seed=None) as rig:
        assert [rig.mac(n) for n in range(3)] == macs
        assert [rig.bits(1, index) for index in range(11)] == bits


@pytest.mark.parametrize("stay_powered", [False, True])
def test_the_last_close_is_a_power_cycle(tmp_path: Path, stay_powered: bool) -> None:
    with start_rig("esp32c3", 1, tmp_path, stay_powered=stay_powered) as rig:
        with terminal(rig.ports[0]) as first, terminal(rig.ports[0]) as second:
            first.ask(SYNC, 8)
            first.ask(write_reg((SCRATCH, 0x77)), 1)
            os.write(second.fd, read_reg(SCRATCH))  # its answer is left unread
            time.sleep(0.05)
        wait_until_off(rig)
        with terminal(rig.ports[0]) as line:
            ((_, value, _),) = line.ask(read_reg(SCRATCH), 1)
        assert value == (0x77 if stay_powered else 0)


def test_the_port_is_raw_before_anybody_opens_it_and_after(tmp_path: Path) -> None:
    with start_rig("esp32c3", 1, tmp_path) as rig:
        for _ in range(2):
            with terminal(rig.ports[0]) as line:
                mode = termios.tcgetattr(line.fd)
                assert not mode[3] & (termios.ECHO | termios.ICANON)
                mode[3] |= termios.ECHO
                termios.tcsetattr(line.fd, termios.TCSANOW, mode)
                assert len(line.ask(SYNC, 8)) >= 8
            wait_until_off(rig)


def test_the_rate_of_the_port_counts(tmp_path: Path) -> None:
    with start_rig("esp32c3", 1, tmp_path) as rig, terminal(rig.ports[0]) as line:
        assert len(line.ask(SYNC, 8)) == 8
        mode = termios.tcgetattr(line.fd)
        mode[4] = mode[5] = termios.B460800
        termios.tcsetattr(line.fd, termios.TCSANOW, mode)
        assert line.ask(read_reg(SCRATCH), 1, deadline_s=0.2) == []


def test_an_idle_rig_uses_no_processor_time(tmp_path: Path) -> None:
    with start_rig("esp32c3", 8, tmp_path, baud_limit=115200, usb_latency_ms=1) as rig:
        for port in rig.ports[:4]:
            with terminal(port) as line:
                line.ask(SYNC, 8)
        with terminal(rig.ports[5]):
            time.sleep(0.3)
            before = rig.cpu_s()
            time.sleep(1.0)
            assert rig.cpu_s() - before <= 0.02


def test_a_port_vanishes_and_comes_back(tmp_path: Path) -> None:
    fault = "on board 0: the port vanishes after 60 bytes and comes back as ttyUSB9 after 200 ms"
    with start_rig("esp32c3", 2, tmp_path, faults=[fault]) as rig:
        with terminal(rig.ports[0]) as line:
            assert len(line.ask(SYNC, 8)) == 8
            assert line.ask(read_reg(SCRATCH), 1, deadline_s=0.1) == []
            assert not Path(rig.ports[0]).exists()
        back = rig.folder / "ttyUSB9"
        end = time.monotonic() + DEADLINE_S
        while not back.exists() and time.monotonic() < end:
            time.sleep(0.02)
        for port in (str(back), rig.ports[1]):
            with terminal(port) as line:
                assert len(line.ask(SYNC, 8)) == 8


def test_show_prints_a_board(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with start_rig("esp32", 1, tmp_path, settings=["coding=3/4", "crystal=26", "revision=1.0"]) as rig:
        assert main(["--show", str(rig.states[0])]) == 0
        printed = capsys.readouterr().out
        assert "ESP32 v1.0, crystal 26 MHz" in printed
        assert rig.mac(0) in printed
        assert rig.bits(0, 0) >> 192 & 3 == 1
    assert main(["--show", str(tmp_path / "none.json")]) == 2
    assert "not the file of a simulated board" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--chip", "esp32c3", "--set", "crystal"], "KEY=VALUE"),
        (["--chip", "esp32c3", "--set", "coding=3/4"], "cannot have the coding scheme"),
        (["--chip", "esp32c3", "--set", "NO_SUCH=1"], "has no field NO_SUCH"),
        (["--chip", "esp32c3", "--set", "crystal=39"], "no crystal of 39 MHz"),
        (["--chip", "esp99"], "esp99"),
        (["--chip", "esp32:two"], "no number of boards"),
        (["--chip", "esp32:2", "--count", "3"], "--count says 3"),
        (["--chip", "esp32", "--fault", "it rains"], "no fault reads"),
    ],
)
def test_bad_input(words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*words, "--dir", str(tmp_path / "rig")]) == 2
    assert said in capsys.readouterr().err


def test_chips_of() -> None:
    assert chips_of("esp32s3", 2) == ["esp32s3", "esp32s3"]
    assert chips_of("esp32:2,esp32c3:1", None) == ["esp32", "esp32", "esp32c3"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_end_it_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    with start_rig("esp32c3", 1, tmp_path) as rig:
        rig.process.send_signal(number)
        assert rig.process.wait(DEADLINE_S) == 0
        assert not Path(rig.ports[0]).is_symlink()
        assert rig.errors.read_text() == ""


def test_it_ends_with_its_parent(tmp_path: Path) -> None:
    script = (
        "import subprocess, sys\n"
        "words = '-m parburn.sim --chip esp32c3 --with-parent --dir'.split()\n"
        f"command = [sys.executable, *words, {str(tmp_path)!r}]\n"
        "p = subprocess.Popen(command, stdout=subprocess.PIPE)\n"
        "print(p.stdout.readline().decode(), flush=True)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout.startswith(f"ready: 1 boards in {tmp_path}")
    end = time.monotonic() + DEADLINE_S
    while (tmp_path / "ttyUSB0").is_symlink() and time.monotonic() < end:
        time.sleep(0.02)
    assert not (tmp_path / "ttyUSB0").is_symlink()


@pytest.mark.parametrize("says_something", [False, True])
def test_a_lock_left_behind_does_not_stay(tmp_path: Path, says_something: bool) -> None:
    """A pty keeps TIOCEXCL when it is closed, an adapter does not. Root passes locks, so look at it."""
    with start_rig("esp32c3", 1, tmp_path) as rig:
        with terminal(rig.ports[0]) as line:
            if says_something:
                line.ask(SYNC, 8)
            fcntl.ioctl(line.fd, termios.TIOCEXCL)
        wait_until_off(rig)
        with terminal(rig.ports[0]) as line:
            locked = fcntl.ioctl(line.fd, TIOCGEXCL, bytes(4))
            assert int.from_bytes(locked, sys.byteorder) == 0
            assert len(line.ask(SYNC, 8)) == 8
