"""The hand that plays an operator: its pace, its verdicts, its end."""

from __future__ import annotations

import time
from pathlib import Path

from parburn.errors import NoAnswer
from parburn.sim.control_client import ControlledRig
from parburn.sim.hand import Hand

DEADLINE_S = 10.0


def until(rig: ControlledRig, count: int) -> list[str | None]:
    """The boards, once so many sockets have one."""
    end = time.monotonic() + DEADLINE_S
    while time.monotonic() < end:
        names = [str(one["board"]) if one else None for one in rig.boards().values()]
        if sum(name is not None for name in names) == count:
            return names
        time.sleep(0.01)
    raise AssertionError(f"never {count} boards")


def test_it_fills_the_sockets_and_takes_out_what_has_its_verdict() -> None:
    faulty: list[int] = []
    with ControlledRig("esp32c3:4") as rig:
        with Hand(rig, rate=200.0, sockets=3, pause_s=0.05, before_insert=faulty.append) as hand:
            names = until(rig, 3)
            assert names[3] is None
            hand.verdict(0)
            hand.verdict(rig.ports[1], "RETRY")
            hand.verdict("ttyUSB3")  # there is nothing
            end = time.monotonic() + DEADLINE_S
            while hand.inserted < 5 and time.monotonic() < end:
                time.sleep(0.01)
            after = until(rig, 3)
            assert after[0] not in names
            assert after[1:] == names[1:]
            assert (hand.inserted, hand.removed) == (5, 2)
            assert not rig.file_of(str(names[0])).exists()
        assert sorted(faulty) == [0, 0, 1, 2]
        assert hand.failure is None
        assert not hand._thread.is_alive()


def test_it_keeps_its_pace() -> None:
    with ControlledRig("esp32c3:16") as rig, Hand(rig, rate=20.0) as hand:
        time.sleep(0.5)
        assert 2 <= hand.inserted <= 12


def test_it_waits_for_verdicts_without_work() -> None:
    with ControlledRig("esp32c3:2") as rig, Hand(rig, rate=100.0) as hand:
        until(rig, 2)
        before = time.process_time()
        time.sleep(0.5)
        assert time.process_time() - before < 0.05
        assert hand.inserted == 2


def test_boards_are_left_in_and_sockets_left_empty_as_the_words_say() -> None:
    with ControlledRig("esp32c3:2", empty=False) as rig, Hand(rig, rate=100.0, pause_s=0.0) as hand:
        hand.verdict(0, "LEAVE IN")
        hand.verdict(1, "SOCKET OFF")
        assert until(rig, 1) == ["ttyUSB0", None]
        time.sleep(0.1)
        assert until(rig, 1) == ["ttyUSB0", None]
        assert (hand.inserted, hand.removed) == (0, 1)


def test_boards_that_left_can_be_kept() -> None:
    with ControlledRig("esp32c3:1") as rig, Hand(rig, rate=100.0, pause_s=0.01, keeps_boards=True) as hand:
        (name,) = until(rig, 1)
        hand.verdict(0, "RED BIN")
        end = time.monotonic() + DEADLINE_S
        while hand.inserted < 2 and time.monotonic() < end:
            time.sleep(0.01)
        assert Path(rig.file_of(str(name))).exists()


def test_a_rig_that_ends_ends_it_and_is_told() -> None:
    with ControlledRig("esp32c3:1") as rig, Hand(rig, rate=100.0) as hand:
        until(rig, 1)
        rig.quit()
        hand.verdict(0)
        hand._thread.join(DEADLINE_S)
        assert isinstance(hand.failure, NoAnswer)
