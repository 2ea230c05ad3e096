"""Stations of tests have a folder of their own for their sockets: none is found by another test."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def _own_runtime_folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Set it for this test and all that it starts; its name is short, since that of a socket must be."""
    folder = tempfile.mkdtemp(prefix="pb-")
    monkeypatch.setenv("XDG_RUNTIME_DIR", folder)
    yield
    shutil.rmtree(folder, ignore_errors=True)
