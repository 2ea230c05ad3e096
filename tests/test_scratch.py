"""Folders that go with their process, also when it is killed, and no other folder."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from parburn.errors import UsageError
from parburn.scratch import MARK, PREFIX, Scratch, scratch, sweep
from tests.rig import ROOT

HOLD = """
import sys, time
from parburn.scratch import Scratch
made = Scratch("sim-")
(made.path / "esp32c3").mkdir()
(made.path / "esp32c3" / "state").write_text("x")
print(made.path, flush=True)
time.sleep(60)
"""
SIMULATED = """
import sys, time
from parburn.sim.processes import SimulatedBoards
with SimulatedBoards([("esp32c3", 1)]) as boards:
    print(boards._folder, flush=True)
    time.sleep(60)
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("program", [HOLD, SIMULATED])
def test_what_a_killed_process_left_is_removed_by_the_next_one(program: str, temporary: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        folder = Path(holder.stdout.readline().strip())
        assert folder.parent == temporary
        with scratch():
            assert any(folder.iterdir())  # its process lives
        holder.send_signal(signal.SIGKILL)
        holder.wait(10)
    assert folder.exists()
    with scratch() as own:
        assert {one.name for one in temporary.iterdir()} == {own.name}
    assert list(temporary.iterdir()) == []


def test_folders_of_others_stay(temporary: Path) -> None:
    mine = temporary / f"{PREFIX}boards"  # what a user may have called one
    mine.mkdir()
    (mine / "state").write_text("x")
    target = temporary / "elsewhere"
    target.mkdir()
    (target / MARK).touch()
    (temporary / f"{PREFIX}link").symlink_to(target)
    (temporary / f"{PREFIX}file").touch()
    (temporary / f"{PREFIX}loop").symlink_to(f"{PREFIX}loop")
    before = sorted(temporary.rglob("*"))
    sweep()
    assert sorted(temporary.rglob("*")) == before


def test_removing_twice_does_nothing(temporary: Path) -> None:
    made = Scratch()
    made.remove()
    made.remove()
    assert list(temporary.iterdir()) == []


def test_no_temporary_folder_is_a_sentence(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(temporary / "gone"))
    with pytest.raises(UsageError, match="no folder can be made in the temporary folder") as refused:
        Scratch()
    assert "TMPDIR" in refused.value.hint
