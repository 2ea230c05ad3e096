"""burn_key on chips whose keys are not one whole block each, and keys that take two blocks."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.script.board import Board, Ran, make_board, run

KEY = bytes(range(1, 33))
DOUBLE = bytes(range(64))
LOW, HIGH = "XTS_AES_128_KEY_DERIVED_FROM_128_EFUSE_BITS", "SECURE_BOOT_DIGEST"
FILES = {"half": KEY[:16], "whole": KEY, "other": KEY[::-1], "double": DOUBLE}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with key files."""
    for name, content in FILES.items():
        (tmp_path / name).write_bytes(content)
    number = ec.derive_private_key((1 << 300) + 7, ec.SECP384R1())
    (tmp_path / "p384.pem").write_bytes(
        number.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return tmp_path


def ask(board: Board, folder: Path, *commands: str) -> Ran:
    """Run command lines; words that name a file get its path."""
    lines = []
    for command in commands:
        words = [str(folder / word) if (folder / word).is_file() else word for word in command.split()]
        lines.append(f"espefuse(esp, efuses, args, {' '.join(words)!r})\n")
    return run(board, "".join(lines), folder=folder)


def number(data: bytes) -> int:
    """A block's bits with these bytes, the first the lowest."""
    return int.from_bytes(data, "little")


def test_a_flash_key_and_a_digest_share_a_block(folder: Path) -> None:
    ran = ask(make_board("esp32c2"), folder, f"burn_key BLOCK_KEY0 half {LOW} BLOCK_KEY0 whole {HIGH}")
    assert not ran.error
    assert ran.board.blocks[3] == number(bytes(16) + KEY[:16])  # the flash key is hidden
    assert (ran.board.bits("RD_DIS"), ran.board.bits("WR_DIS")) == (1, 1 << 7)
    assert "BLOCK_KEY0_HI_128: key staged as SECURE_BOOT_DIGEST (16 bytes" in ran.output


@pytest.mark.parametrize(
    "words",
    [
        f"BLOCK_KEY0 half {LOW} BLOCK_KEY0 half {LOW}",
        f"BLOCK_KEY0 whole XTS_AES_128_KEY BLOCK_KEY0 half {HIGH}",
        f"BLOCK_KEY0 half {HIGH} BLOCK3 whole USER",
    ],
)
def test_keys_in_one_place_are_refused(folder: Path, words: str) -> None:
    ran = ask(make_board("esp32c2"), folder, f"burn_key {words}")
    assert "same place: BLOCK_KEY0" in ran.error
    assert not any(ran.board.blocks.values())


def test_whole_key_and_digest_of_the_chip_with_one_key_block(folder: Path) -> None:
    ran = ask(make_board("esp32c2"), folder, "burn_key --no-read-protect BLOCK_KEY0 whole XTS_AES_128_KEY")
    assert ran.board.blocks[3] == number(KEY[::-1])
    assert ran.board.bits("XTS_KEY_LENGTH_256") == 1
    ran = ask(make_board("esp32c2"), folder, "burn_key_digest p384.pem")
    assert not ran.error
    assert ran.board.blocks[3] >> 128
    assert not ran.board.blocks[3] & (1 << 128) - 1


@pytest.mark.parametrize("words", ["", "BLOCK_KEY0 half", "BLOCK_KEY0 half DIGEST"])
def test_bad_words_on_the_chip_with_one_key_block(folder: Path, words: str) -> None:
    ran = ask(make_board("esp32c2"), folder, f"burn_key {words}")
    assert ran.error
    assert not any(ran.board.blocks.values())


# chip, what is staged before, the order, blocks that the two halves must be in, their purposes
SPLITS = [
    ("esp32s3", [], "BLOCK_KEY0 double XTS_AES_256_KEY", (0, 1), (2, 3)),
    ("esp32s3", [], "BLOCK5 double XTS_AES_256_KEY", (1, 2), (2, 3)),
    ("esp32s3", ["BLOCK_KEY1 whole USER"], "BLOCK_KEY0 double XTS_AES_256_KEY", (0, 2), (2, 3)),
    ("esp32s3", [], "BLOCK_KEY4 double XTS_AES_256_KEY", (4, 0), (2, 3)),  # not the last block
    ("esp32s2", [], "BLOCK_KEY4 double XTS_AES_256_KEY", (4, 5), (2, 3)),
    ("esp32s2", [], "BLOCK_KEY5 double XTS_AES_256_KEY", (5, 0), (2, 3)),
    ("esp32h4", [], "BLOCK_KEY4 double XTS_AES_256_PSRAM_KEY", (4, 0), (13, 14)),
    ("esp32s31", [], "BLOCK_KEY1 double XTS_AES_256_PSRAM_KEY", (1, 2), (13, 14)),
    ("esp32c5", ["BLOCK_KEY1 whole HMAC_UP"], "BLOCK4 p384.pem ECDSA_KEY_P384", (0, 2), (18, 17)),
]


@pytest.mark.parametrize(("chip", "before", "order", "blocks", "purposes"), SPLITS)
def test_keys_of_two_blocks(
    folder: Path,
    chip: str,
    before: list[str],
    order: str,
    blocks: tuple[int, int],
    purposes: tuple[int, int],
) -> None:
    board = make_board(chip)
    lines = [f"burn_key --no-read-protect {words}" for words in (*before, order)]
    ran = ask(board, folder, *lines)
    assert not ran.error
    key = ((1 << 300) + 7).to_bytes(64, "big") if "P384" in order else DOUBLE
    for block, half, purpose in zip(blocks, (key[:32], key[32:]), purposes, strict=True):
        assert board.bits(f"BLOCK_KEY{block}") == number(half[::-1])
        assert board.bits(f"KEY_PURPOSE_{block}") == purpose


def test_no_second_block_left(folder: Path) -> None:
    board = make_board("esp32s3", {f"KEY_PURPOSE_{block}": 9 for block in range(1, 5)})
    ran = ask(board, folder, "burn_key BLOCK_KEY0 double XTS_AES_256_KEY")
    assert "two free key blocks" in ran.error
    assert not board.bits("BLOCK_KEY0")


def test_the_same_block_by_two_names(folder: Path) -> None:
    board = make_board("esp32s3")
    ran = ask(board, folder, "burn_key BLOCK_KEY1 whole HMAC_UP BLOCK5 other USER")
    assert "same place: BLOCK_KEY1" in ran.error
    assert not any(board.blocks.values())
