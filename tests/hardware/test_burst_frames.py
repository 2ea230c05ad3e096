"""What a burst sends: frames that are told apart, what the guard puts ahead of writes, and what is kept."""

from __future__ import annotations

import pytest

from parburn.chips.model import RegisterWrite
from parburn.hardware.burst_frames import BurstFrames, FrameBuilder, ReadRegs, WriteGuard, WriteRegs
from parburn.protocol import commands
from parburn.protocol.commands import READ_REG, read_reg_frame

CONF, CMD, HARMLESS, DATA = (0x60008800 + 4 * n for n in range(4))
FIRST = RegisterWrite(CONF, 0)
SECRET = 0x5EC2E7
END = b"\xc0"


def guarded() -> FrameBuilder:
    builder = FrameBuilder()
    builder.guard_writes(WriteGuard(CMD, HARMLESS, FIRST))
    return builder


def shape(built: BurstFrames) -> str:
    """R: a READ_REG, r: one of the harmless register, W: a WRITE_REG, w: one of FIRST alone."""
    letters = []
    for frame, opcode in zip(built.frames, built.opcodes, strict=True):
        first = frame.lstrip(END)[8:12] == CONF.to_bytes(4, "little")
        if opcode == READ_REG:
            letters.append("r" if frame == read_reg_frame(HARMLESS) else "R")
        else:
            letters.append("w" if first else "W")
    return "".join(letters)


@pytest.mark.parametrize(
    ("ops", "expected", "of_guard"),
    [
        ((), "", []),
        ((ReadRegs(()), WriteRegs(())), "", []),
        ((ReadRegs((DATA, DATA)),), "RR", []),
        ((ReadRegs((DATA, CMD)),), "RRr", [2]),
        ((ReadRegs((CMD, DATA)),), "RR", []),
        ((WriteRegs((RegisterWrite(DATA, 1),)),), "wW", []),
        ((ReadRegs((CMD,)), WriteRegs((RegisterWrite(DATA, 1),))), "RrwW", [1]),
        ((ReadRegs((CMD,)), ReadRegs((DATA,)), WriteRegs((RegisterWrite(DATA, 1),))), "RRwW", []),
        (
            (WriteRegs((RegisterWrite(DATA, 1),)), ReadRegs((CMD,)), WriteRegs((RegisterWrite(DATA, 2),))),
            "wWRrW",
            [1],
        ),
        (
            (ReadRegs((CMD,)), WriteRegs((RegisterWrite(DATA, 1),)), ReadRegs((DATA, CMD))),
            "RrwWRRr",
            [1, 4],
        ),
    ],
)
def test_what_the_guard_puts_ahead_of_writes(
    ops: tuple[ReadRegs | WriteRegs, ...], expected: str, of_guard: list[int]
) -> None:
    built = guarded().frames_of(ops)
    assert shape(built) == expected
    assert built.of_guard == of_guard


def test_without_a_guard_nothing_is_added() -> None:
    built = FrameBuilder().frames_of((ReadRegs((CMD,)), WriteRegs((RegisterWrite(DATA, 1),))))
    assert shape(built) == "RW"
    assert built.of_guard == []


def test_a_write_before_the_guard_is_no_first_write() -> None:
    builder = FrameBuilder()
    builder.write_executed()
    builder.guard_writes(WriteGuard(CMD, HARMLESS, FIRST))
    assert shape(builder.frames_of((WriteRegs((RegisterWrite(DATA, 1),)),))) == "wW"


def test_the_first_write_goes_out_until_a_burst_with_a_write_was_executed() -> None:
    builder, write = guarded(), (WriteRegs((RegisterWrite(DATA, 1),)),)
    assert shape(builder.frames_of(write)) == "wW"
    assert shape(builder.frames_of(write)) == "wW"  # what was sent may not have come
    builder.write_executed()
    assert shape(builder.frames_of(write)) == "W"


def test_writes_behind_another_frame_begin_with_two_ends() -> None:
    many = tuple(RegisterWrite(DATA + 4 * n, n) for n in range(20))
    for ops, twos in (
        ((WriteRegs(many),), [False, True, True]),
        ((ReadRegs((DATA,)), WriteRegs(many)), [False, True, True, True]),
        ((WriteRegs(many[:1]), WriteRegs(many[:1]), ReadRegs((DATA,))), [False, True, False]),
    ):
        built = FrameBuilder().frames_of(ops)
        assert [frame.startswith(END + END) for frame in built.frames] == twos
        assert all(frame.startswith(END) and frame.endswith(END) for frame in built.frames)


def test_packets_take_half_of_the_ring_and_the_entries_of_this_rom() -> None:
    builder, many = FrameBuilder(), tuple(RegisterWrite(DATA + 4 * n, n) for n in range(40))
    sizes = []
    for ring_bytes, entries in ((255, 15), (2047, 15), (2047, 100), (20, 15)):
        builder.set_limits(ring_bytes=ring_bytes, entries_per_write=entries)
        frames = builder.frames_of((WriteRegs(many),)).frames
        assert len(frames) == 40 or all(len(frame) <= ring_bytes // 2 + 1 for frame in frames)
        sizes.append([(len(frame.strip(END)) - 8) // 16 for frame in frames])
    assert sizes[:3] == [[7] * 5 + [5], [15, 15, 10], [40]]
    assert sizes[3] == [1] * 40


def test_delays_are_summed() -> None:
    writes = (RegisterWrite(DATA, 1, delay_us=100), RegisterWrite(CMD, 1, delay_us=50))
    built = FrameBuilder().frames_of((WriteRegs(writes), ReadRegs((DATA,)), WriteRegs(writes[:1])))
    assert built.delay_us == 250


def test_which_write_the_buffer_has_at_its_second_place() -> None:
    builder, many = FrameBuilder(), tuple(RegisterWrite(DATA + 4 * n, n) for n in range(16))
    assert builder.second_left(many[:1]) is None
    assert builder.second_left(many[:7]) == 1
    assert builder.second_left(many[:8]) == 1  # seven, and one that leaves the second place alone
    assert builder.second_left(many[:9]) == 8
    assert builder.second_left(many) == 15


def test_frames_are_kept_of_commands_and_never_of_what_may_be_a_key() -> None:
    commands.known_write_reg_packets.cache_clear()
    builder = guarded()
    key = (RegisterWrite(DATA, SECRET), RegisterWrite(CMD, 4))
    assert builder.second_left(key) == 1
    command = WriteRegs((RegisterWrite(CONF, 1), RegisterWrite(CMD, 2, 3)))
    built = builder.frames_of((WriteRegs(key), command))
    assert commands.known_write_reg_packets.cache_info().currsize == 2  # the guard's, and the command
    assert builder._cut == ((), ())
    secret = SECRET.to_bytes(4, "little")
    assert b"".join(built.frames).count(secret) == 1
    assert "frames" in repr(built)
    assert secret.hex() not in repr(built)
    assert str(SECRET) not in repr(built)
    assert repr(secret)[2:-1] not in repr(built)
