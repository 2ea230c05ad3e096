"""The boards of `--sim`: started, numbered, kept or thrown away, and gone when parburn is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from parburn.errors import NoAnswer
from parburn.sim import processes
from parburn.sim.processes import SimulatedBoards

ROOT = Path(__file__).parents[2]


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def gone_soon(*pids: int) -> bool:
    deadline = time.monotonic() + 10
    while any(map(is_alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not any(map(is_alive, pids))


def test_ports_of_all_chips_are_numbered_through_and_open_to_terminals() -> None:
    with SimulatedBoards([("esp32c3", 2), ("esp32", 1)]) as boards:
        assert [Path(port).name for port in boards.ports] == ["ttyUSB0", "ttyUSB1", "ttyUSB2"]
        assert all(Path(port).is_char_device() for port in boards.ports)
        assert len({Path(port).stat().st_rdev for port in boards.ports}) == 3
        folder = Path(boards.ports[0]).parent
        pids = [rig.process.pid for rig in boards._rigs]
        assert all(os.getsid(pid) != os.getsid(0) for pid in pids)  # Ctrl-C in our terminal is not for them
    assert not folder.exists()
    assert not any(map(is_alive, pids))


def test_efuses_are_kept_where_asked(tmp_path: Path) -> None:
    for _ in range(2):
        with SimulatedBoards([("esp32c3", 2)], state=tmp_path / "kept"):
            pass
        kept = sorted(path.name for path in (tmp_path / "kept" / "esp32c3").iterdir())
        assert kept == ["ttyUSB0.json", "ttyUSB1.json"]


@pytest.mark.parametrize(
    ("program", "sentence"),
    [
        ("import sys; sys.exit('no such chip')", "ended before they answered: no such chip"),
        ("import time; print('not yet', flush=True); time.sleep(60)", "did not answer within 0.5 s"),
    ],
)
def test_boards_that_do_not_come_up_are_an_error_and_leave_nothing(
    program: str, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[subprocess.Popen[bytes]] = []
    real = subprocess.Popen

    def start(command: list[str], **options: object) -> subprocess.Popen[bytes]:
        started.append(real([sys.executable, "-c", program], **options))  # type: ignore[call-overload]  # handed on
        return started[-1]

    monkeypatch.setattr(subprocess, "Popen", start)
    monkeypatch.setattr(processes, "READY_DEADLINE_S", 0.5)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    if "before" in sentence:
        monkeypatch.setattr(processes, "READY_DEADLINE_S", 20.0)
    with pytest.raises(NoAnswer, match=sentence), SimulatedBoards([("esp32c3", 1)]):
        pass
    assert started[0].returncode is not None
    assert list(tmp_path.iterdir()) == []


def test_boards_end_when_parburn_is_killed() -> None:
    program = (
        "import time\n"
        "from parburn.sim.processes import SimulatedBoards\n"
        "with SimulatedBoards([('esp32c3', 1)]) as boards:\n"
        "    print(boards._rigs[0].process.pid, flush=True)\n"
        "    time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert is_alive(pid)
        parent.send_signal(signal.SIGKILL)
        parent.wait(10)
    assert gone_soon(pid)


def test_a_simulator_finds_this_very_package() -> None:
    """And not the modules of it, whose names could hide those of others."""
    first = processes.environment()["PYTHONPATH"].split(os.pathsep)[0]
    assert Path(first, "parburn", "__init__.py").exists()
    assert not Path(first, "__init__.py").exists()


def test_a_port_is_simulated_as_long_as_its_board_is_there() -> None:
    with SimulatedBoards([("esp32c3", 1)]) as boards:
        assert processes.is_simulated(boards.ports[0])
        assert not processes.is_simulated(os.path.realpath(boards.ports[0]))
    assert not processes.is_simulated(boards.ports[0])
