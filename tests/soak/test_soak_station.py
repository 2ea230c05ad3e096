"""The short soak of a station, and one row switched off. The long ones: `python -m tests.soak.station`."""

from __future__ import annotations

import pytest

from tests.soak.station.off import OFF, THEMES
from tests.soak.test_soak import soak

MODULE = "tests.soak.station"


@pytest.mark.long
def test_a_few_hundred_insertions_lose_nothing() -> None:
    found = soak("--insertions", 220, "--seed", 5, module=MODULE)
    assert found["violations"] == 0, found["text"]
    assert found["insertions"] >= 220
    assert found["passes"] >= 80
    assert found["kills"] + found.get("stops", 0) >= 1  # which of both it is, chance decides
    assert found["line moves"] > 300
    assert found["moves during burns"] == 0


def test_each_row_that_can_be_off_has_what_presses_on_it() -> None:
    assert OFF.keys() == THEMES.keys()


def test_the_soak_sees_that_the_lines_lock_is_off() -> None:
    found = soak("--insertions", 200, "--seed", 5, "--off", "lines", module=MODULE)
    assert found["violations"] > 0
    assert "line moves while a chip burned" in found["first violations"][0]
