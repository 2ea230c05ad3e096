"""The simulator's own arithmetic of the eFuse codes, against recorded code words and against damage."""

from __future__ import annotations

import random

import pytest

from parburn.sim import codes

# Data and check bytes that a client sent in the recordings.
RECORDED = (
    ("bfbebdbcbbbab9b8b7b6b5b4b3b2b1b0afaeadacabaaa9a8a7a6a5a4a3a2a1a0", "a234a289b25148ca40f45a32"),
    ("000000000000000000000000000000000000000000000000" + "00aacdef01020300", "63e92cc90e0a8327a82eaf6e"),
)
WORD = bytes.fromhex("".join(RECORDED[0]))


@pytest.mark.parametrize(("data", "check"), RECORDED)
def test_recorded_words_have_no_syndrome(data: str, check: str) -> None:
    assert not any(codes.syndromes(bytes.fromhex(data + check)))
    assert codes.rs_check_bytes(bytes.fromhex(data)).hex() == check


def test_a_blank_block_is_a_code_word() -> None:
    assert codes.rs_decode(bytes(44)) == (bytes(32), 0, False)


@pytest.mark.parametrize("count", range(1, 7))
def test_up_to_six_wrong_bytes_are_mended_and_counted(count: int) -> None:
    rng = random.Random(count)
    for _ in range(20):
        word = bytearray(WORD)
        for place in rng.sample(range(44), count):
            word[place] ^= rng.randrange(1, 256)
        assert any(codes.syndromes(bytes(word)))
        assert codes.rs_decode(bytes(word)) == (WORD[:32], count, False)


@pytest.mark.parametrize("count", range(7, 13))
def test_more_wrong_bytes_never_decode_to_the_right_word(count: int) -> None:
    rng = random.Random(count)
    for _ in range(20):
        word = bytearray(WORD)
        for place in rng.sample(range(44), count):
            word[place] ^= rng.randrange(1, 256)
        data, errors, fail = codes.rs_decode(bytes(word))
        assert errors > 0
        assert fail or data != WORD[:32]


def test_three_quarters_by_hand() -> None:
    six = bytes((0x01, 0x03, 0x07, 0xFF, 0x80, 0x00))
    assert codes.three_quarters_check(six) == (
        0x01 ^ 0x03 ^ 0x07 ^ 0xFF ^ 0x80,
        1 + 2 * 2 + 3 * 3 + 4 * 8 + 5,
    )
    assert codes.three_quarters_decode(codes.three_quarters_encode(six * 4)) == (six * 4, 0)


@pytest.mark.parametrize("bit", range(48))
def test_three_quarters_mends_one_data_bit_and_warns(bit: int) -> None:
    data = bytes(range(7, 31))
    burned = bytearray(codes.three_quarters_encode(data))
    burned[8 + bit // 8] ^= 1 << bit % 8
    assert codes.three_quarters_decode(bytes(burned)) == (data, 0b0010)


def test_three_quarters_warns_of_a_wrong_check_byte() -> None:
    data = bytes(range(24))
    burned = bytearray(codes.three_quarters_encode(data))
    burned[31] ^= 0x10
    assert codes.three_quarters_decode(bytes(burned)) == (data, 0b1000)
