"""Commands as people type them who know the originals: what is refused says what is meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from parburn.errors import UsageError
from parburn.script.commands.command_line import parse_commands
from tests.command import parburn


@pytest.mark.parametrize(
    ("text", "said", "hint"),
    [
        (
            "espefuse.py --port /dev/x burn_efuse A 1", "espefuse.py is a program",
            "parburn --port /dev/x --commands 'burn_efuse A 1'",
        ),
        ("python -m espefuse summary", "python -m espefuse is a program", "--commands summary"),
        ("espefuse -c esp32 -d summary", "espefuse is a program", "parburn -c esp32 -d --commands summary"),
        ("--port /dev/x summary", "--port stands outside", "parburn --port /dev/x --commands summary"),
        ("burn_efuse A 1 --do-not-confirm", "--do-not-confirm stands outside", "--do-not-confirm --commands"),
        ("summary --virt", "there is no --virt", "--sim CHIP:1"),
        ("summary dump", "two commands stand here", "--commands 'summary; dump'"),
        (
            "burn_efuse A 1 burn_key BLOCK_KEY0 f USER summary", "two commands stand here",
            "--commands 'burn_efuse A 1; burn_key BLOCK_KEY0 f USER; summary'",
        ),
        ("get-custom-mac adc-info", "two commands stand here", "get-custom-mac; adc-info"),
    ],
)  # fmt: skip
def test_words_that_stand_elsewhere_are_told(text: str, said: str, hint: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_commands(text)
    assert said in str(refused.value)
    assert hint in refused.value.hint


def test_options_and_files_that_are_called_as_commands_are_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("dump").touch()
    for text in ("summary --file dump", "burn_block_data BLOCK3 dump", "burn_block_data -o 4 BLOCK3 dump",
                 "execute_scripts dump --index 3 --configfiles dump"):  # fmt: skip
        assert len(parse_commands(text)) == 1


def test_a_key_beside_a_second_command_is_not_repeated() -> None:
    with pytest.raises(UsageError) as refused:
        parse_commands(f"burn_efuse BLOCK_KEY0 {'a1b2c3d4' * 8} summary")
    assert "a1b2" not in str(refused.value) + refused.value.hint


@pytest.mark.parametrize(
    ("chip", "command", "hint"),
    [
        ("esp32s3", "burn_key flash_encryption FILE", "burn_key BLOCK_KEY0 FILE XTS_AES_128_KEY"),
        ("esp32c2", "burn_key flash_encryption FILE", "burn_key BLOCK_KEY0 FILE XTS_AES_128_KEY"),
        (
            "esp32s3",
            "burn_key secure_boot_v2 FILE",
            "burn_key_digest BLOCK_KEY0 FILE.pem SECURE_BOOT_DIGEST0",
        ),
        ("esp32s3", "burn_key secure_boot_v1 FILE", "has no such key"),
        (
            "esp32",
            "burn_key BLOCK1 FILE XTS_AES_128_KEY",
            "name the block by its use: BLOCK1, flash_encryption",
        ),
        ("esp32s3", "burn_key KEY_BLOCK0 FILE USER", "did you mean BLOCK_KEY0?"),
        ("esp32s3", "burn_efuse KEY_BLOCK0 1", "did you mean BLOCK_KEY0?"),
        ("esp32s3", "burn_efuse WR_DIS_DIS_ICACHE 1", "`write_protect_efuse DIS_ICACHE`"),
        (
            "esp32s3",
            "write_protect_efuse ESP_EFUSE_WR_DIS_KEY_PURPOSE_0",
            "`write_protect_efuse KEY_PURPOSE_0`",
        ),
        ("esp32s3", "burn_efuse WR_DIS.BLK1 1", "`write_protect_efuse BLOCK1`"),
        ("esp32c3", "burn_efuse RD_DIS_BLOCK_KEY0 1", "`read_protect_efuse BLOCK_KEY0`"),
    ],
)
def test_names_of_other_chips_and_of_esp_idf_are_explained(
    chip: str, command: str, hint: str, tmp_path: Path
) -> None:
    (tmp_path / "key").write_bytes(bytes(range(32)))
    typed = command.replace(" FILE", f" {tmp_path / 'key'}")
    done = parburn("--sim", f"{chip}:1", "--do-not-confirm", "--commands", typed, state=tmp_path)
    assert done.exit in (1, 3)
    assert hint in done.stderr
