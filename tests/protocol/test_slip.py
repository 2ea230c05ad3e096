"""SLIP: round trips, damage, and every way of chopping the bytes up."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parburn.protocol import slip
from parburn.protocol.slip import SlipDecoder

payloads = st.lists(st.sampled_from(b"\x00\x01\xc0\xdb\xdc\xdd\x55"), min_size=1, max_size=40).map(bytes)


@given(st.binary(min_size=1, max_size=300))
def test_round_trip(payload: bytes) -> None:
    assert SlipDecoder().feed(slip.encode(payload)) == [payload]


@given(payloads)
def test_round_trip_of_escapes(payload: bytes) -> None:
    frame = slip.encode(payload)
    assert frame.count(b"\xc0") == 2
    assert SlipDecoder().feed(frame) == [payload]


@given(st.lists(payloads, max_size=6), st.data())
def test_chopped_up_anyhow(frames: list[bytes], data: st.DataObject) -> None:
    line = b"".join(map(slip.encode, frames))
    decoder, found, start = SlipDecoder(), [], 0
    while start < len(line):
        size = data.draw(st.integers(1, len(line) - start))
        found += decoder.feed(line[start : start + size])
        start += size
    assert found == frames


@pytest.mark.parametrize("step", [1, 2, 3, 1000])
def test_trailing_bytes_wait(step: int) -> None:
    line = slip.encode(b"one") + slip.encode(b"t\xc0wo") + b"\xc0thr"
    decoder = SlipDecoder()
    found = [
        frame for start in range(0, len(line), step) for frame in decoder.feed(line[start : start + step])
    ]
    assert found == [b"one", b"t\xc0wo"]
    assert decoder.tail == b"thr"
    assert decoder.feed(b"ee\xc0") == [b"three"]


@pytest.mark.parametrize(
    ("line", "frames"),
    [
        (b"\xc0\xc0\xc0", []),
        (b"hello\xc0ab\xc0", [b"hello", b"ab"]),
        (b"\xc0a\xc0b\xc0", [b"a", b"b"]),
        (b"\xc0a\xdb\xdc\xc0", [b"a\xc0"]),
        (b"\xc0a\xdb\xdd\xdc\xc0", [b"a\xdb\xdc"]),
        (b"\xc0a\xdb\x01\xc0\xc0b\xc0", [None, b"b"]),
        (b"\xc0a\xdb\xc0\xc0b\xc0", [None, b"b"]),
    ],
)
def test_frames(line: bytes, frames: list[bytes | None]) -> None:
    assert SlipDecoder().feed(line) == frames
    decoder = SlipDecoder()
    assert [frame for byte in line for frame in decoder.feed(bytes((byte,)))] == frames


def test_endless_noise_is_bounded() -> None:
    decoder, found = SlipDecoder(), []
    for _ in range(20):
        found += decoder.feed(b"\x55" * 1000)
    assert len(decoder.tail) <= slip.LONGEST_FRAME
    assert set(found) == {None}


def test_reset_forgets_half_a_frame() -> None:
    decoder = SlipDecoder()
    decoder.feed(b"\xc0half")
    decoder.reset()
    assert decoder.feed(b"\xc0whole\xc0") == [b"whole"]
