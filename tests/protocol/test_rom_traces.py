"""Every recording of the mask ROMs, replayed: requests we build are the recorded bytes, answers parse."""

from __future__ import annotations

import re

import pytest

from parburn.protocol import commands, slip
from parburn.protocol.commands import Command, ReadReg, Reply, Sync, WriteReg, parse_command
from parburn.protocol.loader import LoaderProtocol
from parburn.protocol.slip import SlipDecoder
from tests.traces import Turn, all_traces, read_trace


def split(line: bytes, chunk: int, trailing: bytes = b"") -> list[bytes]:
    """All frames of a recorded line, fed in chunks, with something after it."""
    decoder, frames = SlipDecoder(), []
    for start in range(0, len(line), chunk):
        for frame in decoder.feed(line[start : start + chunk]):
            assert frame is not None
            frames.append(frame)
    decoder.feed(trailing)
    return frames


def clean_requests(turn: Turn) -> list[Command] | None:
    """The commands of a turn; None when it holds something that we would never send."""
    parsed = [parse_command(packet) for packet in split(turn.sent, 1 << 20)]
    found = [command for command in parsed if command is not None]
    clean = len(found) == len(parsed) and turn.sent == b"".join(slip.encode(one.to_bytes()) for one in found)
    return found if clean else None


@pytest.mark.parametrize("name", all_traces())
@pytest.mark.parametrize("chunk", [1, 13, 1 << 20])
def test_replay(name: str, chunk: int) -> None:
    replayed = 0
    for turn in read_trace(name):
        requests = clean_requests(turn)
        if requests is None:
            assert "malformed" in name or "secure" in name or "write-reg" in name, turn.comment
            continue
        replayed += len(requests)
        protocol = LoaderProtocol(ring_bytes=1 << 16)
        if requests == [Sync()]:
            protocol.begin_sync()
        else:
            frames = [slip.encode(one.to_bytes()) for one in requests]
            protocol.begin(frames, bytes(one.to_bytes()[1] for one in requests))
            assert protocol.data_to_send() == turn.sent
        line = turn.answered + b"\xc0\x01"  # trailing: half of something that comes next
        for start in range(0, len(line), chunk):
            protocol.receive_data(line[start : start + chunk])
        check(turn, requests, protocol)
    assert replayed >= 2


def check(turn: Turn, requests: list[Command], protocol: LoaderProtocol) -> None:
    packets = split(turn.answered, 1 << 20, b"\xc0\x01")
    if requests == [Sync()]:
        assert protocol.sync_replies == len(packets) == 8
        assert protocol.noise == b"\x01"
        return
    assert protocol.complete
    assert not protocol.strays
    answers = [Reply.parse(packet) for packet in packets]
    if not protocol.refused:
        assert len(answers) == len(requests)
        expected = [
            reply.value for one, reply in zip(requests, answers, strict=True) if isinstance(one, ReadReg)
        ]
        assert protocol.values == expected
    else:
        assert len(requests) == 1
        assert protocol.refused[0].code == answers[0].code == 5
        assert len(answers) == (8 if answers[0].opcode == commands.SYNC else 1)


@pytest.mark.parametrize("name", all_traces())
def test_answers_round_trip(name: str) -> None:
    for turn in read_trace(name):
        packets = split(turn.answered, 1)
        assert packets == split(turn.answered, 1 << 20)
        rebuilt = b"".join(slip.encode(Reply.parse(packet).to_bytes()) for packet in packets)
        assert rebuilt == re.sub(b"\xc0\xc0\xc0$", b"\xc0", turn.answered)  # the ENDs after CHANGE_BAUDRATE


def test_connect_says_what_the_comments_say() -> None:
    sync, magic, info, divider = read_trace("esp32-connect")
    assert sync.sent == commands.SYNC_FRAME
    assert magic.sent == commands.read_reg_frame(0x40001000)
    assert Reply.parse(split(magic.answered, 1)[0]).value == 0x00F01D83
    assert info.sent == commands.SECURITY_INFO_FRAME
    refused = Reply.parse(split(info.answered, 1)[0])
    assert (refused.opcode, refused.status, refused.code) == (commands.READ_REG, 1, 5)
    assert Reply.parse(split(divider.answered, 1)[0]).value == 0x15A


def test_writes_end_in_the_registers() -> None:
    turns = read_trace("esp32c3-write-reg")
    eight = next(turn for turn in turns if turn.comment.startswith("eight entries"))
    packet = slip.decode(eight.sent[1:-1])
    assert packet is not None
    written = WriteReg.parse(packet).entries
    read_back = turns[turns.index(eight) + 1]
    protocol = LoaderProtocol()
    protocol.begin([commands.read_reg_frame(entry[0]) for entry in written], b"\x0a" * 8)
    assert protocol.data_to_send() == read_back.sent
    protocol.receive_data(read_back.answered)
    assert protocol.values == [entry[1] for entry in written]


def test_pipelined_reads_give_what_single_reads_gave() -> None:
    for name in ("esp32-read-all", "esp32c3-read-all"):
        single: list[int] = []
        bulk: list[int] = []
        for turn in read_trace(name):
            requests = clean_requests(turn)
            assert requests is not None
            protocol = LoaderProtocol()
            protocol.begin([slip.encode(one.to_bytes()) for one in requests], b"\x0a" * len(requests))
            assert protocol.data_to_send() == turn.sent  # bursts of 18 fit the ring
            protocol.receive_data(turn.answered)
            (single if len(requests) == 1 else bulk).extend(protocol.values)
        assert len(single) > 20
        assert bulk[: len(single)] == single[: len(bulk)]
