"""How long reads pause, by a clock and a conversation alone; and that no reply waits for a pause to end."""

from __future__ import annotations

import pytest

from parburn.hardware.read_pauses import ENDS_BEFORE_S, SHORTEST_S, ReadPauses
from parburn.protocol.commands import READ_REG, REPLY_BYTES, WRITE_REG, read_reg_frame, write_reg_frames
from parburn.protocol.loader import LoaderProtocol
from tests.protocol.fake_rom import FakeRom

BAUD = 115200
BYTE_S = 10 / BAUD
END = b"\xc0"
REPLY_S = REPLY_BYTES * BYTE_S


class Line:
    """One end of a paced line: a clock, what is sent, and the pauses that are made."""

    def __init__(self, *, ring_bytes: int = 255, baud: int = BAUD) -> None:
        self.now, self.baud = 1000.0, baud
        self.protocol, self.rom = LoaderProtocol(ring_bytes=ring_bytes), FakeRom()
        self.made: list[float] = []
        self.pauses = ReadPauses(self.protocol, lambda: self.now, self.made.append)
        self.replies = b""
        self.due_at: list[float] = []  # when each reply is here, on a line that loses no time
        self._travelled_at = 0.0

    def ask(self, frames: list[bytes], opcode: int) -> None:
        """Begin a burst, and pause."""
        self.protocol.begin(frames, bytes((opcode,)) * len(frames))
        self.send()

    def read(self, count: int) -> None:
        """Ask for so many registers."""
        self.ask([read_reg_frame(4 * n) for n in range(count)], READ_REG)

    def send(self) -> None:
        """Send what fits, as the loader does."""
        data = self.protocol.data_to_send()
        if data:
            self.pauses.wrote(len(data), self.baud)
            self.replies += self.rom.feed(data)
            for frame in data.split(END)[1::2]:
                byte_s = 10 / self.baud
                self._travelled_at = max(self._travelled_at, self.now) + (len(frame) + 2) * byte_s
                before = self.due_at[-1] if self.due_at else 0.0
                self.due_at.append(max(self._travelled_at, before) + REPLY_BYTES * byte_s)
        self.pauses.until_due(self.baud)

    def come(self, replies: int, after_s: float) -> None:
        """Let replies come after some time, and send what fits then."""
        self.now += after_s
        size = replies * REPLY_BYTES
        self.protocol.receive_data(self.replies[:size])
        self.replies = self.replies[size:]
        self.send()


def test_the_example_of_the_head() -> None:
    line = Line()
    line.read(40)
    assert line.protocol.answers_needed() == 9
    assert line.made == [pytest.approx(10 * REPLY_S - ENDS_BEFORE_S)]
    assert line.made == [pytest.approx(0.0107, abs=0.0001)]
    assert int(line.made[0] / REPLY_S) - 1 == 7  # the reply to the first comes after two times


def test_a_request_that_is_longer_than_its_reply_takes_its_time_there() -> None:
    line = Line()
    frames = write_reg_frames(
        tuple((4 * n, 1, ~0 & 0xFFFFFFFF, 0) for n in range(7)), per_packet=7, longest=127
    )
    assert [len(frame) for frame in frames] == [122]
    line.ask(frames, WRITE_REG)
    assert line.made == [pytest.approx(122 * BYTE_S + REPLY_S - ENDS_BEFORE_S)]


def test_once_the_requests_have_travelled_only_the_replies_count() -> None:
    line = Line(ring_bytes=2047)
    line.read(40)
    line.come(1, 10 * REPLY_S)  # an adapter has held all of them back
    line.now += 100 * REPLY_S
    line.pauses.until_due(BAUD)
    assert line.made[-1] == pytest.approx(39 * REPLY_S - ENDS_BEFORE_S)


def test_what_was_written_before_is_still_on_its_way() -> None:
    """The second window goes out behind the first one, not at once."""
    line = Line()
    line.read(40)
    line.come(9, 10 * REPLY_S)
    assert line.protocol.answers_needed() == 9
    # 252 + 126 bytes in 378 bytes' time since the beginning; the next that is needed is the eighteenth.
    assert line.made[-1] == pytest.approx(18 * REPLY_S + REPLY_S - 10 * REPLY_S - ENDS_BEFORE_S)


def test_a_higher_rate_makes_shorter_pauses_and_then_none() -> None:
    line = Line(baud=2 * BAUD)
    line.read(40)
    assert line.made == [pytest.approx(10 * REPLY_S / 2 - ENDS_BEFORE_S)]
    line = Line(baud=4 * BAUD)
    line.read(40)
    assert line.made == []


@pytest.mark.parametrize(("reads", "pauses"), [(1, 0), (2, 1), (3, 1)])
def test_a_short_wait_is_no_pause(reads: int, pauses: int) -> None:
    """One read is 2.4 ms, two are 3.6 ms; 3.5 ms is the least that is worth it."""
    line = Line()
    line.read(reads)
    assert len(line.made) == pauses
    assert all(one > SHORTEST_S for one in line.made)


@pytest.mark.parametrize("baud", [115200, 230400, 460800])
@pytest.mark.parametrize("ring_bytes", [255, 2047])
@pytest.mark.parametrize("reads", [2, 9, 18, 40, 200])
def test_every_pause_ends_before_the_reply_that_it_waits_for(reads: int, ring_bytes: int, baud: int) -> None:
    """Replies come as early as a line can bring them, one by one; while reads pause, the driver has them."""
    line = Line(ring_bytes=ring_bytes, baud=baud)
    line.read(reads)
    answered = looks = 0
    while not line.protocol.complete:
        needed = answered + line.protocol.answers_needed()
        if line.made:
            line.now += line.made.pop()
            left_s = ENDS_BEFORE_S - 1e-9 if looks == 0 else 0.0
            assert line.due_at[needed - 1] - line.now >= left_s
        new = sum(at <= line.now for at in line.due_at) - answered
        if not new:
            line.now, new = line.due_at[answered], 1
        answered += new
        looks += 1
        line.come(new, 0.0)
    assert answered == reads
    assert looks <= reads


def test_below_the_usual_rates_a_pause_may_end_after_the_reply_but_less_than_one_reply_after() -> None:
    """Part of a reply has come when the host looks, which it does not know of. At 115200 that is little."""
    line = Line(baud=9600)
    line.read(2)
    line.now += line.made.pop()
    assert line.due_at[0] < line.now < line.due_at[1]
    line.come(1, 0.0)
    assert 0 < line.now + line.made[0] - line.due_at[1] < REPLY_BYTES * 10 / 9600
