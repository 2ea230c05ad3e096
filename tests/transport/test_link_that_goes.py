"""Links of ttys that go away while they are looked at, as udev's do when a board is pulled."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from parburn.transport import ports, tty


def test_a_link_that_goes_away_under_a_look_costs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python 3.11's realpath raises then: a port that was closed so took the whole station down."""
    link = tmp_path / "ttyUSB0"
    link.symlink_to("/dev/null")

    def gone(path: str, **_: object) -> str:
        raise FileNotFoundError(2, "No such file or directory", path)

    monkeypatch.setattr(os, "readlink", gone)
    with pytest.raises(FileNotFoundError):
        link.readlink()
    tty.put_back_latency(-1, str(link), tty.Latency())
    assert ports.holder_of(str(link)) == ""
    assert tty.usb_ids(str(link)) is None
