"""LoaderProtocol: order and count, the window, errors and their repeats, damage."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parburn.errors import GarbledAnswer
from parburn.protocol import commands, slip
from parburn.protocol.commands import Reply, WriteReg, read_reg_frame
from parburn.protocol.loader import LoaderProtocol
from tests.protocol.fake_rom import FakeRom

BASE = 0x60008800


def reads(count: int) -> tuple[list[bytes], bytes]:
    return [read_reg_frame(BASE + 4 * n) for n in range(count)], b"\x0a" * count


def answer(opcode: int, value: int = 0, *, data: bytes = b"", code: int = 0) -> bytes:
    return slip.encode(Reply(opcode, value, data, 1 if code else 0, code).to_bytes())


def converse(protocol: LoaderProtocol, rom: FakeRom, *, chunk: int = 1 << 20) -> None:
    """Run a burst to its end, handing answers over in chunks."""
    while not protocol.complete:
        data = protocol.data_to_send()
        assert data or protocol.unanswered_bytes
        answers = rom.feed(data)
        for start in range(0, len(answers), chunk):
            protocol.receive_data(answers[start : start + chunk])


@pytest.mark.parametrize("chunk", [1, 5, 14, 64, 1 << 20])
def test_values_come_in_order(chunk: int) -> None:
    rom = FakeRom({BASE + 4 * n: (0xC0DB0000 + n * 0x01DBC001) & 0xFFFFFFFF for n in range(100)})
    protocol = LoaderProtocol()
    protocol.begin(*reads(100))
    converse(protocol, rom, chunk=chunk)
    assert protocol.values == list(rom.registers.values())
    assert protocol.unanswered_bytes == 0
    assert not protocol.refused
    assert not protocol.strays


@given(
    st.lists(st.one_of(st.none(), st.integers(1, 15)), min_size=1, max_size=60),
    st.sampled_from([255, 300, 2048]),
    st.integers(1, 40),
)
def test_never_more_than_the_ring_unanswered(kinds: list[int | None], ring: int, step: int) -> None:
    frames, opcodes = [], bytearray()
    for number, entries in enumerate(kinds):
        if entries is None:
            frames.append(read_reg_frame(0xC0DBC000 + number))
            opcodes.append(commands.READ_REG)
        else:
            some = tuple((0xC0C0C0C0, 0xDBDB0000, 0xFFFFFFFF, 0) for _ in range(entries))
            packets = commands.write_reg_frames(some, per_packet=15, longest=ring)
            frames += packets
            opcodes += bytes((commands.WRITE_REG,)) * len(packets)
    protocol, rom = LoaderProtocol(ring_bytes=ring), FakeRom()
    protocol.begin(frames, bytes(opcodes))
    line = bytearray()  # sent, but not yet taken out of the ring by the ROM
    sent = b""
    while not protocol.complete:
        data = protocol.data_to_send()
        sent += data
        line += data
        assert len(line) <= ring
        assert protocol.unanswered_bytes <= ring
        part, line = line[:step], line[step:]
        protocol.receive_data(rom.feed(bytes(part)))
    assert sent == b"".join(frames)
    assert protocol.all_sent


def test_refills_when_half_the_ring_is_free() -> None:
    protocol = LoaderProtocol()
    protocol.begin(*reads(40))
    assert len(protocol.data_to_send()) == 18 * 14
    for number in range(8):
        protocol.receive_data(answer(0x0A, number))
        assert protocol.data_to_send() == b""
    protocol.receive_data(answer(0x0A, 8))
    assert len(protocol.data_to_send()) == 9 * 14


def test_an_error_after_sync_comes_eight_times() -> None:
    protocol = LoaderProtocol()
    protocol.begin([*reads(1)[0], commands.SECURITY_INFO_FRAME], bytes((0x0A, 0x14)))
    protocol.data_to_send()
    for _ in range(7):
        protocol.receive_data(answer(0x08, code=5))
        assert not protocol.complete
    protocol.receive_data(answer(0x08, code=5) + answer(0x14, data=bytes(20)))
    assert protocol.complete
    assert list(protocol.refused) == [0]
    assert [len(reply.data) for reply in protocol.replies] == [20]
    assert not protocol.strays


def test_an_error_after_another_command_comes_once() -> None:
    protocol = LoaderProtocol()
    protocol.begin(*reads(2))
    protocol.data_to_send()
    protocol.receive_data(answer(0x14, code=5) + answer(0x0A, 7))
    assert protocol.complete
    assert protocol.values == [0, 7]
    assert protocol.refused[0].code == 5


def test_a_rom_that_does_not_repeat() -> None:
    protocol = LoaderProtocol()
    protocol.begin(*reads(2))
    protocol.data_to_send()
    protocol.receive_data(answer(0x08, code=5) + answer(0x0A, 7))
    assert protocol.complete
    assert protocol.values == [0, 7]


def test_a_rom_that_does_not_repeat_its_last_answer() -> None:
    protocol = LoaderProtocol()
    protocol.begin(*reads(1))
    protocol.data_to_send()
    protocol.receive_data(answer(0x08, code=5))
    assert not protocol.complete
    assert protocol.only_repeats_missing


@pytest.mark.parametrize(
    "damage",
    [
        answer(0x09),  # a success that belongs to another command
        answer(0x0A, data=bytes(4)),
        answer(0x0A)[:-3] + b"\xc0",
        b"\xc0\x01\x0a\xdb\x04\xc0",
        b"ets Jun  8 2016 00:22:57\r\n\xc0",
    ],
)
def test_damage_is_noticed(damage: bytes) -> None:
    protocol = LoaderProtocol()
    protocol.begin(*reads(2))
    protocol.data_to_send()
    with pytest.raises(GarbledAnswer):
        protocol.receive_data(damage)


def test_late_sync_answers_are_swallowed_everywhere() -> None:
    protocol = LoaderProtocol()
    protocol.receive_data(answer(0x08, 0x20120707))
    assert not protocol.strays
    protocol.begin(*reads(1))
    protocol.data_to_send()
    protocol.receive_data(answer(0x08, 0x20120707) * 3 + answer(0x0A, 5))
    assert protocol.complete
    assert protocol.values == [5]


def test_an_answer_too_many_is_counted() -> None:
    protocol = LoaderProtocol()
    protocol.begin(*reads(1))
    protocol.data_to_send()
    protocol.receive_data(answer(0x0A, 5) * 2)
    assert protocol.complete
    assert protocol.strays == 1
    protocol.forget()
    assert not protocol.strays


def test_forget_drops_half_an_answer() -> None:
    protocol = LoaderProtocol()
    protocol.begin(*reads(1))
    protocol.data_to_send()
    protocol.receive_data(answer(0x0A, 5)[:6])
    protocol.forget()
    protocol.begin(*reads(1))
    protocol.data_to_send()
    protocol.receive_data(answer(0x0A, 6))
    assert protocol.values == [6]


@pytest.mark.parametrize("chunk", [1, 7, 1000])
def test_sync_answers_are_found_in_noise(chunk: int) -> None:
    protocol = LoaderProtocol()
    protocol.begin_sync()
    line = (
        b"boot:0x3 (DOWNLOAD_BOOT)\r\n"
        + FakeRom().feed(commands.SYNC_FRAME)
        + answer(0x0A)
        + b"\xc0\xdb\x00\xc0x"
    )
    for start in range(0, len(line), chunk):
        protocol.receive_data(line[start : start + chunk])
    assert protocol.sync_replies == 8
    assert protocol.noise.startswith(b"boot:0x3 (DOWNLOAD_BOOT)\r\n")
    assert protocol.noise.endswith(b"?x")
    protocol.begin_sync()
    assert protocol.sync_replies == 0


def test_an_error_is_no_sync_answer() -> None:
    protocol = LoaderProtocol()
    protocol.begin_sync()
    protocol.receive_data(answer(0x08, code=5))
    assert protocol.sync_replies == 0
    assert len(protocol.noise) == 12


def test_a_watched_burst_gives_the_same() -> None:
    rom = FakeRom({BASE: 1, BASE + 4: 2})
    protocol = LoaderProtocol()
    seen: list[tuple[bytes, bytes | None]] = []
    protocol.observer = lambda request, packet: seen.append((request, packet))
    write = slip.encode(WriteReg(((BASE, 9, 0xF, 0),)).to_bytes())
    frames = [*reads(2)[0], write]
    protocol.begin(frames, b"\x0a\x0a\x09")
    converse(protocol, rom)
    assert protocol.values == [1, 2]
    assert [request for request, _ in seen] == frames
