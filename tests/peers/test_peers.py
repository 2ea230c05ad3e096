"""The peers themselves: their venvs, their workers, and what a worker does with a refusal."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.peers import venvs
from tests.peers.case import commands, factory_bits, key
from tests.peers.client import PeerError
from tests.peers.conftest import StartPeer
from tests.peers.venvs import PeerMissingError, peer_python, peers_are_off

needs_peers = pytest.mark.peer


@needs_peers
@pytest.mark.parametrize(("version", "release"), [(4, "4.12"), (5, "5.6")])
def test_the_venvs_hold_the_releases_we_are_judged_by(version: int, release: str, peer: StartPeer) -> None:
    peer(version)  # makes the venv, or skips
    shown = subprocess.run(
        [peer_python(version), "-c", "import esptool; print(esptool.__version__)"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout
    assert shown.startswith(release)


def test_a_changed_requirement_is_another_venv_and_a_cut_off_build_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PARBURN_PEERS_DIR", str(tmp_path))
    built: list[Path] = []

    def build(version: int, venv: Path, python: Path, requirements: tuple[str, ...]) -> None:
        built.append(venv)
        venv.mkdir(exist_ok=True)
        if len(built) > 1:  # the first build is cut off before its mark
            (venv / venvs.MARK).write_text("")

    monkeypatch.setattr(venvs, "_build", build)
    first = peer_python(4)
    assert peer_python(4) == peer_python(4) == first
    assert len(built) == 2
    monkeypatch.setitem(venvs.REQUIREMENTS, 4, ("esptool==4.11",))
    assert peer_python(4) != first
    assert len(built) == 3
    assert peer_python(5) not in (first, peer_python(4))


def test_a_venv_that_cannot_be_made_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARBURN_PEERS_DIR", str(tmp_path))
    monkeypatch.setattr("sys.executable", "/bin/false")
    with pytest.raises(PeerMissingError, match="cannot be installed"):
        peer_python(4)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PARBURN_PEERS_DIR", str(tmp_path / "file"))
    with pytest.raises(PeerMissingError, match="cannot be used"):
        peer_python(4)


@pytest.mark.parametrize(("value", "off"), [("1", True), ("", False), ("0", False)])
def test_only_1_leaves_the_peers_out(value: str, off: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARBURN_NO_PEERS", value)
    assert peers_are_off() is off


@needs_peers
@pytest.mark.parametrize("version", [4, 5])
def test_a_sequence_starts_from_its_bits_and_leaves_nothing_for_the_next(
    version: int, peer: StartPeer, tmp_path: Path
) -> None:
    step = commands("burn_efuse JTAG_DISABLE 1")
    for _ in range(2):
        outcome = peer(version).run("esp32", factory_bits("esp32"), (step,), folder=tmp_path)
        assert outcome.start.blocks[0] == factory_bits("esp32")[0]
        before, after = outcome.start.fields, outcome.steps[0].state.fields
        assert before is not None
        assert after is not None
        assert before["MAC"].get == "7c:9e:bd:41:a2:f0 (CRC 0x6d OK)"
        assert before["JTAG_DISABLE"].get is False
        assert after["JTAG_DISABLE"].get is True
        assert outcome.steps[0].state.summary is not None
        assert outcome.steps[0].state.summary["JTAG_DISABLE"]["raw_value"] == "0x1"


@needs_peers
@pytest.mark.parametrize("version", [4, 5])
def test_what_a_refusal_left_staged_is_noted_and_does_not_burn_later(
    version: int, peer: StartPeer, tmp_path: Path
) -> None:
    (tmp_path / "key.bin").write_bytes(key("key"))
    steps = (commands("burn_key BLOCK_KEY5 key.bin XTS_AES_128_KEY"), commands("burn_efuse DIS_ICACHE 1"))
    outcome = peer(version).run("esp32c3", factory_bits("esp32c3"), steps, folder=tmp_path)
    refused, taken = outcome.steps
    assert (refused.accepted, refused.half_staged, refused.where) == (False, True, steps[0].lines[0])
    assert "KEY_PURPOSE_5" in refused.message
    assert (taken.accepted, taken.half_staged) == (True, False)
    assert taken.state.blocks[9] == 0
    stopped = peer(version).run("esp32c3", factory_bits("esp32c3"), steps, folder=tmp_path, go_on=False)
    assert len(stopped.steps) == 1


@needs_peers
def test_a_worker_that_fails_is_no_refusal(peer: StartPeer, tmp_path: Path) -> None:
    with pytest.raises(PeerError, match=r"4\.x failed"):
        peer(4).run("esp8266", {}, (), folder=tmp_path)
    assert peer(4).run("esp32", {}, (), folder=tmp_path).start.blocks == {0: 0, 1: 0, 2: 0, 3: 0}
