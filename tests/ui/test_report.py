"""A file that is written anew: whole or not at all, with the rights that the umask leaves."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from parburn.ui.report import replace_file


def test_it_replaces_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "all.json"
    path.write_text("old")
    path.chmod(0o640)
    replace_file(path, iter(["one ", "two \udcff"]))
    assert path.read_text() == "one two \\udcff"
    assert path.stat().st_mode & 0o777 == 0o640
    assert [entry.name for entry in tmp_path.iterdir()] == ["all.json"]


def test_what_cannot_be_written_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "all.json"
    path.write_text("old")

    def full(self: Path, target: object) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space"):
        replace_file(path, "new")
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["all.json"]


def test_it_may_go_to_a_device() -> None:
    replace_file(Path(os.devnull), "text")
    assert Path(os.devnull).is_char_device()
