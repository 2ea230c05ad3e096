"""The short soak: a few hundred board runs with faults and kills. The long one: `python -m tests.soak`."""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
from typing import Any

import pytest

from parburn.sim.faults import SENTENCES, parse_fault
from tests.rig import ROOT
from tests.soak.campaign import KINDS, MIXED, Campaign
from tests.soak.draw import run_campaign


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


@pytest.mark.long
def test_a_few_hundred_board_runs_lose_nothing() -> None:
    found = soak("--theme", "faults", "--runs", 400, "--seed", 1)
    assert found["violations"] == 0, found["text"]
    assert found["board runs"] >= 400
    assert 0 < found["slowest campaign"]["seconds"] <= found["seconds"]
    assert found["killed"] >= 10
    assert found["faults struck"] >= 50
    assert found["result pass"] >= 100
    assert found["sound boards end pass"] >= 30
    assert len(found["kinds that never struck"]) <= len(KINDS) / 3, found["kinds that never struck"]


def test_the_soak_draws_every_sentence_of_the_fault_language() -> None:
    rng = random.Random(1)
    drawn = [
        draw(rng, 8, chip) for draw in KINDS.values() for chip in ("esp32", "esp32c3") for _ in range(100)
    ]
    for pattern, _kind, example in SENTENCES:
        assert any(re.fullmatch(pattern, one, re.IGNORECASE) for one in drawn), f"never drawn: {example}"
    for one in drawn:
        parse_fault(one, seed="1")


def test_a_campaign_that_breaks_off_is_a_violation_of_its_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    def hangs(self: Campaign) -> None:
        raise AssertionError("parburn hangs: --ports ttyUSB0")

    monkeypatch.setattr(Campaign, "play", hangs)
    result = run_campaign(7, theme=MIXED)
    assert result.seed == 7
    assert "parburn hangs: --ports ttyUSB0" in result.violations[0]
