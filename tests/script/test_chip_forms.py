"""What a chip does not list, and options of another chip's form: both would burn what nobody meant."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from parburn.chips.model import SecureBootKeys
from parburn.chips.registry import chip_named, chip_names
from tests.script.board import Board, command, make_board, run

KEY = bytes(range(1, 33))
WITH_PURPOSES = [name for name in chip_names() if chip_named(name).takes_purposes]


def unlisted(name: str) -> list[str]:
    """The fields that a blank chip of this kind does not list."""
    board = make_board(name)
    return [one.name for one in board.chip.fields if one.on_request and not board.whole.is_shown(one)]


@pytest.mark.parametrize("name", chip_names())
def test_a_field_that_the_chip_does_not_list_is_not_burned_by_its_name(tmp_path: Path, name: str) -> None:
    for field in unlisted(name):
        if field == "CUSTOM_MAC":
            continue
        for words in (f"burn_efuse {field} 1", f"write_protect_efuse {field}"):
            ran = run(make_board(name), command(words), folder=tmp_path)
            assert f"does not list {field}" in ran.error, words
            assert not any(ran.board.blocks[index] for index in ran.board.blocks)
    source = f"espefuse.burn_efuse({{{unlisted(name)[0]!r}: 1}})" if unlisted(name) else ""
    if source:
        assert "does not list" in run(make_board(name), source, folder=tmp_path).error


def test_most_kinds_have_fields_that_a_blank_chip_does_not_list() -> None:
    assert {name for name in chip_names() if unlisted(name)} >= {"esp32", "esp32s2", "esp32c3", "esp32p4"}


def test_a_calibrated_chip_lists_its_calibration_and_a_custom_mac_is_burned_whole(tmp_path: Path) -> None:
    pointed = make_board("esp32", BLK3_PART_RESERVE=1)
    assert run(pointed, command("burn_efuse ADC1_TP_LOW 3"), folder=tmp_path).error == ""
    ran = run(make_board("esp32"), command("burn_efuse CUSTOM_MAC aa:cd:ef:01:02:03"), folder=tmp_path)
    assert ran.error == ""
    assert (ran.board.bits("MAC_VERSION"), ran.board.bits("CUSTOM_MAC_CRC") != 0) == (1, True)


def test_a_field_that_is_not_listed_can_still_be_looked_at(tmp_path: Path) -> None:
    ran = run(make_board("esp32c3"), "print(efuses['TEMP_CALIB'].get())", folder=tmp_path)
    assert (ran.error, ran.output) == ("", "0.0\n")


# options ------------------------------------------------------------------------------------------------


def burned(board: Board) -> bool:
    """Whether anything stands in the board that the factory did not put there."""
    return any(board.blocks.values())


@pytest.mark.parametrize("name", WITH_PURPOSES)
@pytest.mark.parametrize("form", ["text", "method", "args"])
def test_no_protect_key_is_refused_where_keys_have_purposes(tmp_path: Path, name: str, form: str) -> None:
    block = next(one for one in make_board(name).chip.blocks if one.for_keys)
    size = 16 if name == "esp32c2" else 32
    purpose = "XTS_AES_128_KEY_DERIVED_FROM_128_EFUSE_BITS" if name == "esp32c2" else "XTS_AES_128_KEY"
    (tmp_path / "k").write_bytes(KEY[:size])
    source = {
        "text": command(f"burn_key {block.name} {tmp_path}/k {purpose} --no-protect-key"),
        "method": f"espefuse.burn_key({block.name!r}, r'{tmp_path}/k', {purpose!r}, no_protect_key=True)\n",
        "args": f"args.block=[{block.name!r}]; args.keypurpose=[{purpose!r}]; args.no_protect_key=True\n"
        f"with open(r'{tmp_path}/k', 'rb') as f: args.keyfile=[f]; burn_key(esp, efuses, args)\n",
    }[form]
    ran = run(make_board(name), source, folder=tmp_path)
    assert "has no --no-protect-key" in ran.error
    assert not burned(ran.board)


@pytest.mark.parametrize("option", ["--no-read-protect", "--no-write-protect"])
@pytest.mark.parametrize("words", ["burn_key flash_encryption {key}", "burn_key_digest {pem}"])
def test_the_options_of_chips_with_purposes_are_refused_on_esp32(
    tmp_path: Path, option: str, words: str
) -> None:
    (tmp_path / "k").write_bytes(KEY)
    (tmp_path / "pem").write_bytes(pem_of(rsa.generate_private_key(65537, 3072)))
    board = make_board("esp32", CHIP_VER_REV1=1, CHIP_VER_REV2=1)
    before = dict(board.blocks)
    text = words.format(key=tmp_path / "k", pem=tmp_path / "pem")
    ran = run(board, command(f"{text} {option}"), folder=tmp_path)
    assert f"ESP32 has no {option}" in ran.error
    assert ran.board.blocks == before


def test_the_fourth_place_of_the_form_for_esp32_shows_the_key(tmp_path: Path) -> None:
    (tmp_path / "k").write_bytes(KEY)
    source = f"espefuse.burn_key('flash_encryption', r'{tmp_path}/k', False, True)\n"
    ran = run(make_board("esp32"), source, folder=tmp_path)
    assert ran.error == ""
    assert KEY.hex(" ") in ran.output
    assert ran.board.bits("RD_DIS") == 1  # shown to the operator, and protected all the same


# fields -------------------------------------------------------------------------------------------------


def test_the_same_value_twice_is_one(tmp_path: Path) -> None:
    for words in ("DIS_PAD_JTAG 1 DIS_PAD_JTAG 1", "DIS_PAD_JTAG 1 HARD_DIS_JTAG 1"):
        ran = run(make_board("esp32s3"), command(f"burn_efuse {words}"), folder=tmp_path)
        assert ran.error == ""
        assert ran.board.bits("DIS_PAD_JTAG") == 1
    ran = run(
        make_board("esp32s3"),
        command("burn_efuse SPI_BOOT_CRYPT_CNT 3 SPI_BOOT_CRYPT_CNT 3"),
        folder=tmp_path,
    )
    assert (ran.error, ran.board.bits("SPI_BOOT_CRYPT_CNT")) == ("", 3)


def test_the_next_bit_twice_is_no_value_twice(tmp_path: Path) -> None:
    source = "espefuse.burn_efuse([('SPI_BOOT_CRYPT_CNT', None), ('SPI_BOOT_CRYPT_CNT', None)])"
    ran = run(make_board("esp32s3"), source, folder=tmp_path)
    assert "named twice, with different values" in ran.error
    assert not burned(ran.board)


@pytest.mark.parametrize("with_key", [True, False])
def test_a_purpose_that_is_staged_counts_for_read_protection(tmp_path: Path, *, with_key: bool) -> None:
    (tmp_path / "k").write_bytes(KEY)
    source = command("burn_efuse KEY_PURPOSE_1 XTS_AES_128_KEY")
    if with_key:
        source += command(f"burn_block_data BLOCK_KEY1 {tmp_path}/k")
    ran = run(make_board("esp32c3"), source + command("read_protect_efuse BLOCK_KEY1"), folder=tmp_path)
    assert ran.error == ""
    assert ran.board.bits("RD_DIS") == 1 << 1


def test_a_purpose_for_software_that_is_staged_forbids_read_protection(tmp_path: Path) -> None:
    source = command("burn_efuse KEY_PURPOSE_1 SECURE_BOOT_DIGEST0") + command(
        "read_protect_efuse BLOCK_KEY1"
    )
    ran = run(make_board("esp32c3"), source, folder=tmp_path)
    assert "must stay readable: its purpose is SECURE_BOOT_DIGEST0" in ran.error
    assert not burned(ran.board)


# secure boot --------------------------------------------------------------------------------------------


def pem_of(key: PrivateKeyTypes) -> bytes:
    """A private key as a PEM file."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


KEYS = {
    SecureBootKeys.RSA: pem_of(rsa.generate_private_key(65537, 3072)),
    SecureBootKeys.ECDSA: pem_of(ec.generate_private_key(ec.SECP256R1())),
}


@pytest.mark.parametrize("name", chip_names())
@pytest.mark.parametrize("kind", list(SecureBootKeys))
def test_a_digest_that_the_rom_cannot_boot_with_is_refused(
    tmp_path: Path, name: str, kind: SecureBootKeys
) -> None:
    (tmp_path / "pem").write_bytes(KEYS[kind])
    only = chip_named(name).secure_boot_keys
    if name == "esp32":
        words, factory = f"burn_key_digest {tmp_path}/pem", {"CHIP_VER_REV1": 1, "CHIP_VER_REV2": 1}
    else:
        purpose = next(one.name for one in chip_named(name).key_purposes if one.digest)
        block = next(one.name for one in chip_named(name).blocks if one.for_keys)
        words, factory = f"burn_key_digest {block} {tmp_path}/pem {purpose}", {}
    board = make_board(name, factory)
    if name == "esp32":
        board.registers = {board.chip.extra_registers[0]: 1 << 31}
    before = dict(board.blocks)
    ran = run(board, command(words), folder=tmp_path)
    if only in (None, kind):
        assert ran.error == ""
        return
    assert "signatures only, and this is another kind of key" in ran.error
    assert ran.board.blocks == before
    assert run(board, command(f"{words} --force"), folder=tmp_path).error == ""


def test_rows_say_which_keys_a_rom_takes() -> None:
    """ESP-IDF's page on secure boot V2 for each chip says so; chips that take both have no entry."""
    by_kind: dict[SecureBootKeys | None, set[str]] = {}
    for name in chip_names():
        by_kind.setdefault(chip_named(name).secure_boot_keys, set()).add(name)
    assert by_kind[SecureBootKeys.RSA] == {"esp32", "esp32s2", "esp32s3", "esp32c3"}
    assert by_kind[SecureBootKeys.ECDSA] == {"esp32c2", "esp32c61"}
