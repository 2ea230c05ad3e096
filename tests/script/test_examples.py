"""Every example runs as its header says, on each chip it is for."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.command import parburn
from tests.provisioning import rows, said
from tests.script.board import CHIPS, make_board, run

EXAMPLES = Path(__file__).parents[2] / "examples"
IDS = EXAMPLES / "ids.json"


def test_the_generator_makes_what_the_scripts_read(tmp_path: Path) -> None:
    script = str(EXAMPLES / "01_generate_ids.py")
    words = [
        sys.executable,
        script,
        "--count",
        "20",
        "--first-mac",
        "02:00:00:00:00:f8",
        "--dir",
        str(tmp_path),
    ]
    subprocess.run(words, check=True)
    macs = json.loads((tmp_path / "mac_addresses.json").read_text())
    ids = json.loads((tmp_path / "unique_id.json").read_text())
    assert macs["1"] == "02:00:00:00:00:f8"
    assert macs["9"] == "02:00:00:00:01:00"
    assert len(set(macs.values())) == len(set(ids.values())) == 20
    assert subprocess.run(words, check=False, capture_output=True).returncode != 0  # never overwrites
    board = make_board("esp32", table=(EXAMPLES / "unique_id.csv").read_text())
    files = [tmp_path / "mac_addresses.json", tmp_path / "unique_id.json"]
    ran = run(board, EXAMPLES / "02_mac_and_unique_id.py", folder=tmp_path, config=files, index=9)
    assert ran.error == ""


@pytest.mark.parametrize(
    ("chip", "fields"), [*((chip, {}) for chip in CHIPS), ("esp32", {"CODING_SCHEME": 1})]
)
def test_mac_and_unique_id(tmp_path: Path, chip: str, fields: dict[str, int]) -> None:
    board = make_board(chip, fields, table=(EXAMPLES / "unique_id.csv").read_text())
    files = [EXAMPLES / "mac_addresses.json", EXAMPLES / "unique_id.json"]
    ran = run(board, EXAMPLES / "02_mac_and_unique_id.py", folder=tmp_path, config=files, index=7)
    assert ran.error == ""
    mac, unique = (json.loads(file.read_text())["7"] for file in files)
    assert board.whole.field_bits(board.whole.field_named("CUSTOM_MAC")).to_bytes(6, "little").hex(":") == mac
    assert board.bits("UNIQUE_ID").to_bytes(5, "little").hex() == unique
    assert ran.unique_values["CUSTOM_MAC"] == mac
    assert ran.unique_values["UNIQUE_ID"].replace(" ", "") == unique
    assert board.burns == 1
    again = run(board, EXAMPLES / "02_mac_and_unique_id.py", folder=tmp_path, config=files, index=7)
    assert again.error == ""


def test_flash_encryption(tmp_path: Path) -> None:
    board = make_board("esp32")
    ran = run(board, EXAMPLES / "03_flash_encryption.py", folder=tmp_path)
    assert ran.error == ""
    assert "coding scheme NONE (BLK1-3 len=256 bits)" in ran.output
    assert board.bits("FLASH_CRYPT_CNT") == 1
    again = run(board, EXAMPLES / "03_flash_encryption.py", folder=tmp_path)
    assert again.error == ""
    assert "already" in again.output
    assert board.bits("FLASH_CRYPT_CNT") == 1


@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("script", ["04_mixed_chips.py", "06_nested.py"])
def test_mixed_chips(tmp_path: Path, chip: str, script: str) -> None:
    board = make_board(chip)
    ran = run(board, EXAMPLES / script, folder=tmp_path, config=[IDS], index=3)
    assert ran.error == ""
    unit = json.loads(IDS.read_text())["3"]
    assert f"unit {unit['serial']} gets {unit['mac']}" in ran.output
    assert ran.unique_values == {"CUSTOM_MAC": unit["mac"]}
    assert board.bits("JTAG_DISABLE" if chip == "esp32" else "DIS_PAD_JTAG") == 1


@pytest.mark.parametrize("chip", ["esp32s3", "esp32c3"])
def test_dialect_5(tmp_path: Path, chip: str) -> None:
    board = make_board(chip)
    ran = run(board, EXAMPLES / "05_dialect_5.py", folder=tmp_path, config=[IDS], index=4)
    assert ran.error == ""
    assert board.bits("KEY_PURPOSE_0") == 8
    assert board.bits("SPI_BOOT_CRYPT_CNT") == 7


def test_numbers_from_a_file(tmp_path: Path) -> None:
    copy = tmp_path / "numbers.py"
    copy.write_text((EXAMPLES / "07_numbers_from_a_file.py").read_text())
    state = tmp_path / "state"
    words = ("--sim", "esp32:1,esp32c3:2", "--scripts", copy, "--do-not-confirm")
    report = tmp_path / "report.jsonl"
    outcome = parburn(*words, "--one-at-a-time", "--show-output", "--report", report, state=state)
    assert outcome.exit == 0, said(outcome)
    assert all(f"number {number}\n" in outcome.stdout for number in (1, 2, 3))
    given = [row["mac"].replace(":", "") for row in rows(report)]
    assert (tmp_path / "numbers.txt").read_text().split() == given
    together = parburn(*words, state=state)  # other boards
    assert together.exit != 0
    assert "--one-at-a-time" in together.stdout


def test_every_script_is_told_in_the_readme() -> None:
    text = (EXAMPLES / "README.md").read_text()
    for path in EXAMPLES.iterdir():
        if path.name != "README.md":
            assert f"`{path.name}`" in text
