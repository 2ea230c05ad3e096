"""Commands and answers: bytes as recorded, and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parburn.protocol import commands, slip
from parburn.protocol.commands import (
    ChangeBaudrate,
    Command,
    GetSecurityInfo,
    ReadReg,
    Reply,
    Sync,
    WriteReg,
    parse_command,
    read_reg_frame,
    write_reg_frames,
)

words = st.integers(0, 0xFFFFFFFF)
entries = st.lists(st.tuples(words, words, words, words), min_size=1, max_size=30).map(tuple)

CASES: list[tuple[Command, str]] = [
    (Sync(), "00082400000000000707122055" + "55" * 31),
    (ReadReg(0x40001000), "000a04000000000000100040"),
    (
        WriteReg(((0x3FF5A098, 0x01020304, 0xFFFFFFFF, 0),)),
        "00091000 00000000 98a0f53f 04030201 ffffffff 00000000",
    ),
    (GetSecurityInfo(), "0014000000000000"),
    (ChangeBaudrate(921600), "000f08000000000000100e0000000000"),
]


@pytest.mark.parametrize(("command", "packet"), CASES)
def test_packets(command: Command, packet: str) -> None:
    assert command.to_bytes() == bytes.fromhex(packet)
    assert type(command).parse(bytes.fromhex(packet)) == command
    assert parse_command(bytes.fromhex(packet)) == command


@pytest.mark.parametrize(("command", "packet"), CASES)
def test_damaged_packets_are_refused(command: Command, packet: str) -> None:
    whole = bytes.fromhex(packet)
    for damaged in (
        whole[:-1],
        whole + b"\0",
        whole[:4],
        b"",
        b"\x01" + whole[1:],
        whole[:1] + b"\x77" + whole[2:],
    ):
        with pytest.raises(ValueError, match=r"packet|takes|pattern|request"):
            type(command).parse(damaged)
        assert parse_command(damaged) is None


def test_another_sync_pattern_is_none() -> None:
    damaged = Sync().to_bytes()[:-1] + b"\x54"
    with pytest.raises(ValueError, match="pattern"):
        Sync.parse(damaged)


@given(entries)
def test_write_reg_round_trip(some: tuple[commands.WriteEntry, ...]) -> None:
    assert WriteReg.parse(WriteReg(some).to_bytes()).entries == some


@given(words, st.integers(1, 255), st.binary(max_size=40))
def test_reply_round_trip(value: int, code: int, data: bytes) -> None:
    reply = Reply(0x0A, value, data, 1, code)
    assert Reply.parse(reply.to_bytes()) == reply


@pytest.mark.parametrize("damaged", ["", "010a0400", "000a0400000000000000000", "010a05000000000000000000"])
def test_no_reply(damaged: str) -> None:
    with pytest.raises(ValueError, match="answer"):
        Reply.parse(bytes.fromhex(damaged + "0" * (len(damaged) % 2)))


def test_key_words_do_not_show() -> None:
    assert "1234567" not in repr(WriteReg(((0, 1234567, 0, 0),)))
    assert "1234567" not in repr(Reply(0x0A, 1234567, b"", 0, 0))


def test_read_frames_are_built_once() -> None:
    assert read_reg_frame(0x60008030) is read_reg_frame(0x60008030)
    assert read_reg_frame(0xC0DB0000) == slip.encode(ReadReg(0xC0DB0000).to_bytes())


@given(entries, st.integers(1, 20), st.sampled_from([60, 255, 2048]))
def test_writes_are_cut_to_fit_the_ring(some: tuple[commands.WriteEntry, ...], most: int, ring: int) -> None:
    frames = write_reg_frames(some, per_packet=most, longest=ring)
    found: list[commands.WriteEntry] = []
    for frame in frames:
        packet = slip.decode(frame[1:-1])
        assert packet is not None
        packed = WriteReg.parse(packet).entries
        assert len(packed) <= most
        assert len(frame) <= ring
        found += packed
    assert tuple(found) == some
