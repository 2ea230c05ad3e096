"""The written conversation: readable by the recordings' reader, and without a key's word."""

from __future__ import annotations

from parburn.protocol import slip
from parburn.protocol.commands import ReadReg, WriteReg
from parburn.protocol.loader import LoaderProtocol
from parburn.protocol.trace import Trace
from tests.protocol.fake_rom import FakeRom
from tests.traces import all_traces, read_trace

KEY = 0x60008800
PLAIN = 0x60008000
SECRET = 0x5EC2E77A


def run(trace: Trace, rom: FakeRom, *requests: ReadReg | WriteReg) -> list[int]:
    protocol = LoaderProtocol()
    protocol.observer = trace.answered
    frames = [slip.encode(one.to_bytes()) for one in requests]
    protocol.begin(frames, bytes(one.to_bytes()[1] for one in requests))
    while not protocol.complete:
        data = protocol.data_to_send()
        trace.sent(data)
        protocol.receive_data(rom.feed(data))
    trace.flush()
    return protocol.values


def test_a_conversation_reads_back() -> None:
    lines: list[str] = []
    trace = Trace(lines.append, title="a chip")
    assert run(trace, FakeRom({PLAIN: 0x11}), ReadReg(PLAIN), ReadReg(PLAIN + 4)) == [0x11, 0]
    assert lines == [
        "# a chip",
        "> c0000a04000000000000800060c0c0000a04000000000004800060c0",
        "< c0010a04001100000000000000c0c0010a04000000000000000000c0",
    ]


def test_key_words_never_show() -> None:
    lines: list[str] = []
    trace = Trace(lines.append)
    trace.mask_writes(((KEY, KEY + 32),))
    rom = FakeRom({PLAIN: 0x12345678})
    write = WriteReg(((KEY, SECRET, 0xFFFFFFFF, 0), (PLAIN + 8, 0x77665544, 0xFFFFFFFF, 0)))
    values = run(
        trace, rom, write, ReadReg(PLAIN), ReadReg(KEY), WriteReg(((PLAIN + 8, 1, 1, 0),)), ReadReg(KEY + 4)
    )
    assert values == [0x12345678, SECRET, 0]
    text = "\n".join(lines)
    assert SECRET.to_bytes(4, "little").hex() not in text
    assert 0x12345678.to_bytes(4, "little").hex() in text
    assert 0x77665544.to_bytes(4, "little").hex() in text
    assert text.count("2a2a2a2a") == 6  # comment, one word written, two read, two stale


def test_stale_words_in_unasked_answers_are_masked() -> None:
    lines: list[str] = []
    trace = Trace(lines.append)
    trace.mask_writes(((KEY, KEY + 32),))
    rom = FakeRom({KEY: SECRET})
    answers = rom.feed(slip.encode(ReadReg(KEY).to_bytes()))
    trace.answered(b"", slip.decode(answers[1:-1]))
    trace.answered(b"", b"\x01\x0a" + SECRET.to_bytes(4, "little"))
    trace.answered(b"", None)
    trace.flush()
    assert SECRET.to_bytes(4, "little").hex() not in "".join(lines)
    assert "# a damaged frame" in lines


def test_recordings_come_out_as_they_were() -> None:
    for name in all_traces():
        for turn in read_trace(name):
            lines: list[str] = []
            trace = Trace(lines.append)
            trace.sent(turn.sent)
            trace.flush()
            if (
                turn.sent.startswith(b"\xc0")
                and b"\xc0\xc0\xc0" not in turn.sent
                and "lost" not in turn.comment
            ):
                assert lines == [f"> {turn.sent.hex()}"]
