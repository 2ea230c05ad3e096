"""An adapter with a latency timer that cannot be set: the operator is told once, with the way out."""

from __future__ import annotations

from pathlib import Path

import pytest

from parburn.cli.main import main
from parburn.transport import serial, tty
from tests.rig import start_rig


@pytest.mark.parametrize(("timer_ms", "told"), [(16, True), (1, False), (None, False)])
def test_a_slow_latency_timer_is_told_once(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    timer_ms: int | None,
    told: bool,
) -> None:
    monkeypatch.setattr(serial._Port, "latency", tty.Latency(timer_ms))  # a pty has no adapter to ask
    with start_rig("esp32c3", 2, tmp_path=tmp_path) as rig:
        assert main(["--ports", *rig.ports, "--commands", "get_custom_mac"]) == 0
    said = capsys.readouterr()
    text = said.out + said.err
    assert text.count("holds every answer back for 16 ms") == told
    assert ("latency_timer" in text and "(and 1 more)" in text) is told
