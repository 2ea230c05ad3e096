"""The fuzzer in short: nothing is found in a few seconds, and what is wrong would be found and told."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import pytest

from parburn.ledger import show
from tests.fuzz import storm as storms
from tests.fuzz import subjects
from tests.fuzz.mutations import spoiled
from tests.fuzz.storm import Storm, one_case
from tests.rig import ROOT

SECONDS = 10.0


@pytest.fixture(autouse=True)
def here() -> Iterator[None]:
    before = Path.cwd()
    yield
    assert Path.cwd() == before


def test_a_few_seconds_of_bad_files_find_nothing() -> None:
    storm = Storm(random.randrange(10**6))
    storm.blow(SECONDS)
    assert not storm.findings, "\n".join(f"{one.what}\n{one.again(storm.seed)}" for one in storm.findings)
    assert all(storm.cases.values())


def test_a_defect_is_found_and_can_be_tried_again() -> None:
    def broken(*_: object, **__: object) -> str:
        raise KeyError("planted")

    told: list[str] = []
    with patch.object(show, "show_text", broken), patch.dict(subjects.SUBJECTS, _only("ledgers"), clear=True):
        storm = Storm(5)
        storm.blow(SECONDS, tell=told.append)
        assert storm.findings
        found = storm.findings[0]
        assert "inside parburn: KeyError: 'planted'" in found.what
        assert f"--seed 5 --subject ledgers --case {found.case}" in told[0]
        assert one_case(5, "ledgers", found.case)
    assert not one_case(5, "ledgers", found.case)


def test_a_hang_is_found() -> None:
    def hangs(_world: object, _rng: object) -> None:
        while True:
            pass

    with patch.dict(subjects.SUBJECTS, {"tables": (hangs, 1)}, clear=True), patch.object(storms, "HANG_S", 1):
        storm = Storm(1)
        storm.blow(0.0)
    assert "no end after 1 s" in storm.findings[0].what


def test_the_same_seed_makes_the_same_files() -> None:
    texts = [spoiled("A, 3, 0, 8, x\nB, 3, 8, 8, y", random.Random(n)) for n in range(50)]
    assert texts == [spoiled("A, 3, 0, 8, x\nB, 3, 8, 8, y", random.Random(n)) for n in range(50)]
    assert len(set(texts)) > 40


def test_the_last_line_of_the_command_is_an_object() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", "--minutes", "0", "--seed", "3"],
        cwd=ROOT, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    last = json.loads(done.stdout.splitlines()[-1])
    assert last["seed"] == 3
    assert last["findings"] == []
    assert set(last["by_subject"]) == set(subjects.SUBJECTS)
    assert done.returncode == 0, done.stdout


def _only(name: str) -> dict[str, tuple[subjects.Subject, int]]:
    return {name: subjects.SUBJECTS[name]}
