"""Fixtures of a station's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.station.sockets import Sockets


@pytest.fixture
def sockets(tmp_path: Path) -> Iterator[Sockets]:
    """A folder with empty sockets."""
    made = Sockets(tmp_path / "rig")
    yield made
    made.close()
