"""The short soak: a few hundred board runs with faults and kills. The long one: `python -m tests.soak`."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from tests.rig import ROOT


def soak(*arguments: object, module: str = "tests.soak", timeout_s: float = 600.0) -> dict[str, Any]:
    """Run a soak; its last line. What it found is in the failure's text."""
    done = subprocess.run(
        [sys.executable, "-m", module, *map(str, arguments)],
        cwd=ROOT, capture_output=True, text=True, timeout=timeout_s, check=False,
    )  # fmt: skip
    assert done.returncode in (0, 1), done.stdout + done.stderr
    summary: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert bool(summary["violations"]) == (done.returncode == 1), done.stdout
    return {**summary, "text": done.stdout}


def test_a_few_hundred_board_runs_lose_nothing() -> None:
    found = soak("--runs", 400, "--seed", 1)
    assert found["violations"] == 0, found["text"]
    assert found["board runs"] >= 400
    assert found["killed"] >= 10
    assert found["faults struck"] >= 50
    assert found["result pass"] >= 100
