"""Boards that come with content into an armed station: made whole where they can be, else left alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from parburn.sim.control_client import ControlledRig
from tests.station.at_work import SCRIPT, arm, bits_of, make_job, running, units

KEY_TOO = "espefuse(esp, efuses, args, 'burn_key BLOCK_KEY0 {} XTS_AES_128_KEY')\n"


@pytest.mark.parametrize(
    ("setting", "word", "why"),
    [
        ("DIS_DIRECT_BOOT=1", "PASS", ""),  # what the script asks for
        ("KEY_PURPOSE_0=4", "PASS", ""),
        ("DIS_USB_JTAG=1", "PASS", ""),  # what nobody asks for
        ("CUSTOM_MAC=02:aa:cd:99:00:01", "WRONG BOARD", "it has the values of another record"),
        ("BLOCK_USR_DATA=0x55", "WRONG BOARD", "data in BLOCK_USR_DATA, unknown to this ledger"),
        ("BLOCK_KEY0=0x1234", "WRONG BOARD", "a key in BLOCK_KEY0, unknown to this ledger"),
        ("RD_DIS=1", "WRONG BOARD", "a key in BLOCK_KEY0, unknown to this ledger"),  # it may hold one
        ("KEY_PURPOSE_0=9", "WRONG BOARD", "this chip holds SECURE_BOOT_DIGEST0"),
        ("WR_DIS=0x800000", "WRONG BOARD", "BLOCK_KEY0 is write-protected"),
        ("WR_DIS=0x400000", "WRONG BOARD", "CUSTOM_MAC is write-protected"),
        ("WR_DIS=0x100", "WRONG BOARD", "KEY_PURPOSE_0 is USER and write-protected"),
        ("ENABLE_SECURITY_DOWNLOAD=1", "RED BIN", "in secure download mode"),
    ],
)
def test_a_board_with_content(tmp_path: Path, setting: str, word: str, why: str) -> None:
    key = tmp_path / "key.bin"
    key.write_bytes(bytes(range(1, 33)))
    with ControlledRig("esp32c3:1", folder=tmp_path / "rig", lines=True, options=["--set", setting]) as rig:
        job = make_job(
            tmp_path, rig, script=SCRIPT + KEY_TOO.replace("{}", str(key)), more="first_article = 0\n"
        )
        armed = arm(job)
        assert armed.returncode == 0, armed.stderr
        with running(job) as station:
            station.until(lambda one: one["event"] == "station", "start")
            board = rig.insert(0)
            before = bits_of(rig, board.name)
            verdict = station.verdict("A1", word)
            assert why in verdict["detail"]
            assert (bits_of(rig, board.name) == before) is (word != "PASS")
            assert station.stop() == 0
        assert not [one for one in station.said if one["event"] == "halt"]
    # What was not burned holds no index, and no attempt was written.
    assert [unit.number for unit in units(tmp_path).values() if unit.attempts] == [1] * (word == "PASS")
