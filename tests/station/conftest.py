"""Fixtures of a station's tests: empty sockets, and a folder of its own for the socket of its commands."""

from __future__ import annotations

import shutil
import tempfile
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


@pytest.fixture(autouse=True)
def _own_runtime_folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Set it for this test and all that it starts; its name is short, since that of a socket must be."""
    folder = tempfile.mkdtemp(prefix="pb-")
    monkeypatch.setenv("XDG_RUNTIME_DIR", folder)
    yield
    shutil.rmtree(folder, ignore_errors=True)
