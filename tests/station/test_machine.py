"""What a station says of its machine: a clock that nobody keeps right, a disk that will be full."""

from __future__ import annotations

import asyncio
import ctypes
from pathlib import Path
from typing import Any

import pytest

from parburn.ledger.disk_room import DiskLeft
from parburn.station import machine
from parburn.station.machine import CLOCK, boards_of_a_shift, clock_is_synchronised, watch_machine
from tests.command import parburn


class Marks:
    """Takes marks, as a station does."""

    def __init__(self) -> None:
        self.now: dict[str, str] = {}
        self.both = asyncio.Event()

    def __call__(self, kind: str, sentence: str) -> None:
        self.now[kind] = sentence
        if {"clock", "disk"} <= set(self.now):
            self.both.set()


async def looked(ledger: Path, *, boards: int = 10) -> dict[str, str]:
    marks = Marks()
    task = asyncio.ensure_future(watch_machine(marks, ledger=ledger, to_come=lambda: boards, every_s=0.05))
    await asyncio.wait_for(marks.both.wait(), 20)
    task.cancel()
    await asyncio.wait({task})
    return marks.now


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    path = tmp_path / "ledger.sqlite3"
    assert parburn("ledger", "init", "--ledger", path, "--why", "a test", state=tmp_path).exit == 0
    return path


class LibC:
    """A C library whose clock has this error."""

    def __init__(self, answer: int, maxerror: int) -> None:
        self.answer, self.maxerror = answer, maxerror

    def adjtimex(self, found: Any) -> int:
        assert found._obj.modes == 0  # nothing may be set
        found._obj.maxerror = self.maxerror
        return self.answer


@pytest.mark.parametrize(
    ("answer", "maxerror", "synchronised"),
    [(0, 16_000_000, False), (5, 16_000_000, False), (0, 250_000, True), (5, 250_000, True), (-1, 0, None)],
)
def test_the_clock_is_right_while_something_keeps_its_error_small(
    answer: int, maxerror: int, synchronised: bool | None, monkeypatch: pytest.MonkeyPatch, ledger: Path
) -> None:
    monkeypatch.setattr(machine.ctypes, "CDLL", lambda *_, **__: LibC(answer, maxerror))  # type: ignore[attr-defined]
    assert clock_is_synchronised() is synchronised
    assert asyncio.run(looked(ledger))["clock"] == (CLOCK if synchronised is False else "")


def test_a_real_kernel_is_asked_and_nothing_is_set() -> None:
    assert clock_is_synchronised() in (True, False, None)
    assert ctypes.sizeof(machine._Timex) > 300  # the kernel writes all of its structure


def test_a_disk_that_is_full_within_the_shift_is_told_and_one_with_room_is_not(
    ledger: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert asyncio.run(looked(ledger))["disk"] == ""
    monkeypatch.setattr(machine, "disk_left", lambda _: DiskLeft(free=4096 * 9, per_unit=4096))
    assert "room for about 9 more boards" in asyncio.run(looked(ledger))["disk"]


def test_a_ledger_that_cannot_be_asked_is_a_sentence(tmp_path: Path) -> None:
    assert str(tmp_path) in asyncio.run(looked(tmp_path / "none.sqlite3"))["disk"]


def test_a_shift_has_as_many_boards_as_its_pace_and_no_more_than_its_indexes() -> None:
    assert boards_of_a_shift(0, 0.0, None) == machine.FEW_BOARDS
    assert boards_of_a_shift(10, 5.0, None) == machine.FEW_BOARDS  # ten boards at once are no pace
    assert boards_of_a_shift(3600, 3600.0, None) == 43_200
    assert boards_of_a_shift(3600, 3600.0, 500) == 500
