"""The process dies at ledger transitions and after packets of one burn; the next run goes on.

Each time a fifth of the points, another one by chance; all of them: `python -m tests.soak.points esp32c3`.
"""

from __future__ import annotations

import random

import pytest

from tests.soak.test_soak import soak

ONE_OF = 5
LEAST_POINTS = 250


@pytest.mark.long
@pytest.mark.parametrize("chip", ["esp32c3", "esp32-3/4"])
def test_the_crash_points_of_a_burn_are_survived(chip: str) -> None:
    begin = random.randrange(ONE_OF)
    found = soak(chip, "--one-of", ONE_OF, "--from", begin, module="tests.soak.points")
    assert found["violations"] == 0, f"--one-of {ONE_OF} --from {begin}: {found['text']}"
    assert found["struck"] == found["points"] >= LEAST_POINTS / ONE_OF - 1
    assert found["with bits in the chip"] >= found["points"] / 2
