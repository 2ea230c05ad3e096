"""The process dies at every ledger transition and after every packet of one burn; the next run goes on."""

from __future__ import annotations

import pytest

from tests.soak.test_soak import soak


@pytest.mark.parametrize("chip", ["esp32c3", "esp32-3/4"])
def test_every_crash_point_of_a_burn_is_survived(chip: str) -> None:
    found = soak(chip, module="tests.soak.points")
    assert found["violations"] == 0, found["text"]
    assert found["struck"] == found["points"] >= 250
    assert found["with bits in the chip"] >= found["points"] / 2
