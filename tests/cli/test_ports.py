"""`parburn ports`: in what state ports are, and what --watch tells of them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from parburn.cli import ports as cli_ports
from parburn.cli.main import main
from parburn.transport import port_state, ports, tty
from parburn.transport.port_state import PortState, states_of
from tests.command import COMMAND, environment
from tests.transport.board import pty_board
from tests.transport.test_usb_ports import FTDI, Machine

READER = "import sys, time; f = open(sys.argv[1]); print(1, flush=True); time.sleep(60)"


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine whose ttys are known to all that looks for them."""
    found = Machine(tmp_path, monkeypatch)
    monkeypatch.setattr(tty, "_SYSFS_TTY", found.tty)
    return found


def plug_ftdi(machine: Machine, name: str, tmp_path: Path) -> Path:
    """Plug in an adapter with a driver and a latency timer; return its node."""
    device = machine.plug(name, FTDI)
    (device / "if" / name / "latency_timer").write_text("16\n")
    (tmp_path / "drivers" / "ftdi_sio").mkdir(parents=True, exist_ok=True)
    (device / "if" / name / "driver").symlink_to(tmp_path / "drivers" / "ftdi_sio")
    return machine.dev / name


def unplug(machine: Machine, name: str) -> None:
    (machine.dev / name).unlink()
    (machine.tty / name / "device").unlink()
    (machine.tty / name).rmdir()


def listed(capsys: pytest.CaptureFixture[str], *words: str) -> list[dict[str, Any]]:
    assert main(["ports", "--json", *words]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_driver_latency_and_rights_are_shown(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    node = plug_ftdi(machine, "ttyUSB0", tmp_path)
    (row,) = listed(capsys)
    assert (row["driver"], row["latency_ms"], row["access"], row["holder"]) == ("ftdi_sio", 16, True, "")
    assert "probed" not in row
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    monkeypatch.setattr(Path, "group", lambda self: "dialout")
    assert main(["ports"]) == 0
    said = capsys.readouterr().out
    assert f"{node}" in said
    assert "ftdi_sio, latency timer 16 ms, no rights to open it (it belongs to the group dialout)" in said


def test_modem_manager_is_told_where_it_may_come(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plug_ftdi(machine, "ttyUSB0", tmp_path)
    monkeypatch.setattr(ports, "modem_manager_runs", lambda: True)
    assert main(["ports"]) == 0
    assert "ModemManager may open it" in capsys.readouterr().out
    monkeypatch.setattr(port_state, "_is_ignored", lambda found: True)
    (row,) = listed(capsys)
    assert row["modem_manager"] is False


@pytest.mark.parametrize("rule", ["E:ID_MM_DEVICE_IGNORE=1", "E:ID_MM_PORT_IGNORE=1"])
def test_a_rule_of_udev_keeps_it_away(rule: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = Path("/dev/null").stat()
    monkeypatch.setattr(port_state, "_UDEV", tmp_path)
    assert not port_state._is_ignored(found)
    record = tmp_path / f"c{os.major(found.st_rdev)}:{os.minor(found.st_rdev)}"
    record.write_text(f"S:serial\nE:ID_MM_CANDIDATE=1\n{rule}\n")
    assert port_state._is_ignored(found)


@pytest.mark.parametrize(
    "named", [["ports", "--json", "--ports"], ["ports", "--json", "-p"], ["ports", "--json"]]
)
def test_ports_can_be_named_in_every_way(named: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pty_board() as board, subprocess.Popen(
        [sys.executable, "-c", READER, board.port], stdout=subprocess.PIPE
    ) as reader:  # fmt: skip
        assert reader.stdout is not None
        reader.stdout.readline()
        try:
            assert main([*named, board.port, "/dev/nowhere"]) == 0
        finally:
            reader.kill()
    rows = {row["port"]: row for row in map(json.loads, capsys.readouterr().out.splitlines())}
    assert f"process {reader.pid}" in rows[board.port]["holder"]
    assert rows[board.port]["there"]
    assert not rows["/dev/nowhere"]["there"]


def test_an_address_has_no_state() -> None:
    assert states_of(["socket://h:1"]) == {"socket://h:1": PortState()}


def test_watching_tells_what_comes_goes_and_changes(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plug_ftdi(machine, "ttyUSB0", tmp_path)

    def timer(text: str) -> None:
        (machine.devices / "usb1-ttyUSB0" / "if" / "ttyUSB0" / "latency_timer").write_text(text)

    def plug() -> None:
        plug_ftdi(machine, "ttyUSB10", tmp_path)

    def nothing() -> None:
        pass

    days: Iterator[Callable[[], None]] = iter(
        [
            plug,
            lambda: timer("1"),
            nothing,
            lambda: unplug(machine, "ttyUSB10"),
            lambda: timer("16"),  # and back at once: it is not told
            lambda: timer("1"),
            nothing,
        ]
    )
    monkeypatch.setattr(time, "sleep", lambda seconds: next(days)())
    cli_ports.watch((), as_json=True, rounds=7)
    said = capsys.readouterr()
    told = [json.loads(line) for line in said.out.splitlines()]
    assert [(row["change"], Path(row["port"]).name, row["latency_ms"]) for row in told] == [
        ("there", "ttyUSB0", 16),
        ("there", "ttyUSB10", 16),
        ("changed", "ttyUSB0", 1),
        ("gone", "ttyUSB10", 16),
    ]
    assert "Ctrl-C" in said.err


class Watching:
    """`parburn ports --watch`, line by line."""

    def __init__(self, state: Path, *words: str) -> None:
        assert COMMAND
        self.process = subprocess.Popen(
            [COMMAND, "ports", "--watch", *words], stdout=subprocess.PIPE, text=True, env=environment(state)
        )

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().rstrip("\n")


@pytest.fixture
def watching(tmp_path: Path) -> Iterator[Watching]:
    found = Watching(tmp_path, f"{tmp_path}/tty*")
    yield found
    found.process.kill()
    found.process.communicate()


def test_the_installed_command_watches_until_it_is_interrupted(watching: Watching, tmp_path: Path) -> None:
    master, slave = os.openpty()
    port, link = os.ttyname(slave), tmp_path / "ttyUSB0"
    os.close(slave)  # nobody has it open now
    link.symlink_to(port)
    assert watching.line().startswith(f"+ {link} ")
    with subprocess.Popen([sys.executable, "-c", READER, port], stdout=subprocess.PIPE) as reader:
        assert watching.line().startswith(f"~ {link} ")
        assert f"(process {reader.pid})" in watching.line()
        reader.kill()
    assert watching.line().startswith(f"~ {link} ")
    link.unlink()
    assert watching.line() == f"- {link}"
    os.close(master)
    watching.process.send_signal(signal.SIGINT)
    assert watching.process.wait(30) == 130


def test_watching_probes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ports", "--watch", "--probe"]) == 2
    assert "do not go together" in capsys.readouterr().err
