"""espefuse itself, of both dialects, works against simulated boards over their ports."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.peers.venvs import peer_python, peers_are_off
from tests.rig import Rig, start_rig

CHIPS = ("esp32", "esp32c3", "esp32s3")
KEY = bytes(range(0x41, 0x61))
MAC = "de:ad:be:ef:fe:00"
USER_BLOCK = 3

# By dialect: module, then the words that differ.
DIALECTS = {
    4: ("espefuse", "no_reset", {}),
    5: (
        "espefuse",
        "no-reset",
        {"burn_custom_mac": "burn-custom-mac", "burn_key": "burn-key", "burn_bit": "burn-bit"},
    ),
}

pytestmark = [
    pytest.mark.peer,
    pytest.mark.skipif(peers_are_off(), reason="PARBURN_NO_PEERS=1"),
]


def espefuse(rig: Rig, version: int, board: int, *words: str, fails: bool = False) -> str:
    """Run a command on a board; its output. It must end well, or not, as told."""
    module, before, names = DIALECTS[version]
    command, *rest = words
    start = [str(peer_python(version)), "-m", module, "--port", rig.ports[board], "--before", before]
    done = subprocess.run(
        [*start, "--do-not-confirm", names.get(command, command), *rest],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    output = done.stdout + done.stderr
    assert (done.returncode != 0) is fails, output
    return output


@pytest.mark.long
@pytest.mark.parametrize("version", [4, 5])
def test_summary_and_burns(version: int, tmp_path: Path) -> None:
    key = tmp_path / "key.bin"
    key.write_bytes(KEY)
    with start_rig(",".join(f"{chip}:1" for chip in CHIPS), tmp_path=tmp_path) as rig:
        for board, chip in enumerate(CHIPS):
            summary = espefuse(rig, version, board, "summary")
            assert rig.mac(board) in summary
            espefuse(rig, version, board, "burn_custom_mac", MAC)
            classic = chip == "esp32"
            shift = 8 if classic else 200
            mac = rig.bits(board, USER_BLOCK) >> shift & (1 << 48) - 1
            assert mac.to_bytes(6, "little").hex(":") == MAC
            where = ["flash_encryption"] if classic else ["BLOCK_KEY0"]
            purpose = [] if classic else ["XTS_AES_128_KEY"]
            espefuse(rig, version, board, "burn_key", *where, str(key), *purpose)
            assert rig.bits(board, 1 if classic else 4) == int.from_bytes(KEY, "big")
            before = rig.bits(board, 2 if classic else 5)
            espefuse(rig, version, board, "burn_bit", "BLOCK2" if classic else "BLOCK_KEY1", "7", "99")
            assert rig.bits(board, 2 if classic else 5) == before | 1 << 7 | 1 << 99
            after = espefuse(rig, version, board, "summary")
            assert MAC in after
            assert KEY[:8].hex(" ") not in after  # the key is read-protected


@pytest.mark.parametrize("chip", ["esp32s2", "esp32h21"])
def test_variables_of_the_rom_can_be_read(chip: str, tmp_path: Path) -> None:
    """espefuse 4 asks the ROM for the port in use, at an address in the chip's RAM."""
    with start_rig(chip, 1, tmp_path) as rig:
        assert rig.mac(0) in espefuse(rig, 4, 0, "summary")


@pytest.mark.parametrize("version", [4, 5])
def test_three_quarters_and_a_slow_crystal(version: int, tmp_path: Path) -> None:
    settings = ["coding=3/4", "crystal=26"]
    with start_rig("esp32", 1, tmp_path, settings=settings) as rig:
        espefuse(rig, version, 0, "burn_custom_mac", MAC)
        assert (rig.bits(0, USER_BLOCK) >> 8 & (1 << 48) - 1).to_bytes(6, "little").hex(":") == MAC
        assert rig.state(0)["burns"][0]["note"] == ""
        espefuse(rig, version, 0, "burn_bit", "BLOCK3", "100")  # in a group of six bytes that is still blank
        assert rig.bits(0, USER_BLOCK) >> 100 & 1
        assert "error" in espefuse(rig, version, 0, "burn_bit", "BLOCK3", "20", fails=True).lower()
        assert not rig.bits(0, USER_BLOCK) >> 20 & 1


def test_a_coding_error_over_a_paced_line(tmp_path: Path) -> None:
    with start_rig(
        "esp32c3",
        1,
        tmp_path,
        baud_limit=115200,
        usb_latency_ms=1,
        faults=["9 bytes of BLOCK_KEY2 burn wrong"],
    ) as rig:
        output = espefuse(rig, 5, 0, "burn_bit", "BLOCK_KEY2", "7", "8", "9", fails=True)
        assert "error" in output.lower()
        assert rig.bits(0, 6) != 0b111 << 7
