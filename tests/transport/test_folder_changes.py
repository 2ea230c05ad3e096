"""Waiting for names that come to folders and leave them."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest

from parburn.transport import folder_changes
from parburn.transport.folder_changes import FolderChanges

LONG_S = 5.0
SHORT_S = 0.05


async def _waited(changes: FolderChanges, within_s: float) -> float:
    begun = time.monotonic()
    await changes.wait(within_s)
    return time.monotonic() - begun


async def _heard(folder: Path) -> None:
    changes = FolderChanges([str(folder)])
    name, other = folder / "ttyUSB0", folder / "ttyUSB1"
    for change in (name.touch, lambda: name.rename(other), other.unlink):
        asyncio.get_running_loop().call_later(0.02, change)
        assert await _waited(changes, LONG_S) < 1.0
        assert await _waited(changes, SHORT_S) >= SHORT_S * 0.9  # it is told once
    name.touch()
    await asyncio.sleep(0.02)  # what changes while nobody waits is told to the next who does
    assert await _waited(changes, LONG_S) < 1.0
    changes.close()
    changes.close()


def test_names_that_come_and_go_are_heard(tmp_path: Path) -> None:
    asyncio.run(_heard(tmp_path))


async def _made_later(folder: Path) -> None:
    changes = FolderChanges([str(folder / "later"), str(folder / "never")])
    assert await _waited(changes, SHORT_S) >= SHORT_S * 0.9
    (folder / "later").mkdir()
    await changes.wait(SHORT_S)
    asyncio.get_running_loop().call_later(0.02, (folder / "later" / "ttyUSB0").touch)
    assert await _waited(changes, LONG_S) < 1.0
    changes.close()


def test_a_folder_may_come_later(tmp_path: Path) -> None:
    asyncio.run(_made_later(tmp_path))


async def _sleeps(folder: Path) -> None:
    changes = FolderChanges([str(folder)])
    asyncio.get_running_loop().call_later(0.01, (folder / "ttyUSB0").touch)
    assert await _waited(changes, SHORT_S) >= SHORT_S * 0.9
    changes.close()


def test_without_inotify_a_wait_is_a_sleep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_changes, "_inotify", lambda: None)
    asyncio.run(_sleeps(tmp_path))


def test_it_leaves_no_descriptor(tmp_path: Path) -> None:
    before = os.listdir("/proc/self/fd")  # noqa: PTH208
    for _ in range(5):
        asyncio.run(_heard(tmp_path))
        (tmp_path / "ttyUSB0").unlink()
    assert len(os.listdir("/proc/self/fd")) == len(before)  # noqa: PTH208
