"""PEM digests and EFSR tokens against what espsecure and espefuse 5.6 made of the same keys and chips."""

from __future__ import annotations

from pathlib import Path

import pytest

from parburn.chips.registry import chip_named
from parburn.errors import BadValue
from parburn.script.commands.pem import secure_boot_digest
from parburn.script.commands.token import error_registers, parse_token, write_token
from tests.script.board import make_board

KEYS = Path(__file__).parent / "keys"
ONE_AND_NINE = "AgIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"  # bits 1 and 9

RECORDED = {
    "esp32": f"EFSR:esp32:000::::{ONE_AND_NINE}::FmwUvg",
    "esp32s3": f"EFSR:esp32s3:000::::{ONE_AND_NINE}:::::::::ZpxE1A",
    "esp32c3": f"EFSR:esp32c3:000::::{ONE_AND_NINE}:::::::::qbolbg",
}


@pytest.mark.parametrize(
    ("name", "digest"),
    [
        ("rsa3072", "a556b678de7c4b5307a6844c3811def4380eab6e65681a233a2a5c1aeea7909d"),
        ("ec256", "f4debae16be6aa596292cd0abbb7cd079faa6f860eee9022f92c65dbe07858f0"),
        ("ec384", "87604cd995cc55b36508458729deeba130b5ac2babd1ed3fcb5bcabed91c0871"),
        ("ec192", "6023de00be06af8d5ee0d5f7f31e37914d97f15bd2031b07df41719365e4514e"),
    ],
)
def test_digest_of_a_recorded_key(name: str, digest: str) -> None:
    assert secure_boot_digest((KEYS / f"{name}.pem").read_bytes()).hex() == digest


@pytest.mark.parametrize("chip", RECORDED)
def test_recorded_tokens(chip: str) -> None:
    token = parse_token(RECORDED[chip] + "\n", chip_named)
    board = make_board(chip)
    board.blocks[3] = 1 << 1 | 1 << 9
    assert token.blocks == tuple(board.blocks.values())
    assert (token.chip, token.revision, token.errors) == (chip, 0, ())
    zeros = [0] * len(board.chip.error_registers)
    assert write_token(board.whole, 0, lambda addresses: zeros) == RECORDED[chip]
    assert "blocks" not in repr(token)


def test_error_registers_of_a_token() -> None:
    board = make_board("esp32c3")
    addresses = board.chip.error_registers
    text = write_token(board.whole, 3, lambda asked: [n + 1 for n in range(len(asked))])
    token = parse_token(text, chip_named)
    assert error_registers(token, board.chip) == {address: n + 1 for n, address in enumerate(addresses)}


GOOD = RECORDED["esp32"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no eFuse token"),
        ("EFSX" + GOOD[4:], "no eFuse token"),
        (GOOD[:-1] + "A", "checksum"),
        (GOOD.replace("AgIA", "AgIB"), "checksum"),
        (GOOD[:-7], "checksum"),
    ],
)
def test_a_token_that_is_none_is_refused(text: str, words: str) -> None:
    with pytest.raises(BadValue, match=words):
        parse_token(text, chip_named)
