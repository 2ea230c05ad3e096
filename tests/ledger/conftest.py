"""Most tests of the ledger do not wait for the disk; those that ask for `real_disk` do."""

from __future__ import annotations

import os
from functools import partial

import pytest

from parburn.ledger import schema


@pytest.fixture
def real_disk() -> None:
    """Sync the disk as in earnest."""


@pytest.fixture(autouse=True)
def _quick_disk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "real_disk" not in request.fixturenames:
        monkeypatch.setattr(os, "fsync", lambda _descriptor: None)
        monkeypatch.setattr(schema, "connect", partial(schema.connect, durable=False))
