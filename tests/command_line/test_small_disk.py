"""A disk that is full or read-only: nothing is burned that cannot be recorded, and all goes on with room."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.rig import ROOT


def mounts_are_possible(folder: Path) -> bool:
    unshare = shutil.which("unshare")
    command = [unshare or "", "-m", "mount", "-t", "tmpfs", "none", str(folder)]
    return bool(unshare) and subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_no_burn_without_room_for_its_record(tmp_path: Path) -> None:
    if not mounts_are_possible(tmp_path):
        pytest.skip("needs the right to mount a disk of its own")
    done = subprocess.run(
        ["unshare", "-m", sys.executable, "-m", "tests.command_line.on_small_disk", str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, timeout=180, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: dict[str, dict[str, Any]] = {
        outcome["name"]: outcome for outcome in map(json.loads, done.stdout.splitlines())
    }
    assert all("error inside" not in one["said"] and "Traceback" not in one["said"] for one in found.values())
    early = found["full before the first burn"]
    assert (early["exit"], early["words"], early["programs"]) == (2, ["refused"] * 2, [0, 0]), early["said"]
    assert "is full" in early["said"]
    for name, words in (("full at the start", "Make room"), ("read-only", "a read-only disk")):
        assert (found[name]["exit"], found[name]["programs"]) == (2, [0, 0]), found[name]["said"]
        assert words in found[name]["said"]
    late = found["full between two burns"]
    assert late["programs"] == [1, 1], late["said"]
    assert (late["exit"], set(late["words"])) == (1, {"incomplete"}), late["said"]
    assert "is full" in late["said"]
    last = found["with room"]
    assert (last["exit"], last["words"], last["indexes"]) == (0, ["pass"] * 2, late["indexes"]), last["said"]
    assert last["indexes"] == [1, 2]
    assert found["simulated"]["exit"] == 2
    assert "cannot be made" in found["simulated"]["said"]
