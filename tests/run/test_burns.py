"""What a board's calls make of readings that differ, alone: readings are given, no chip is there."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import anyio
import pytest

from parburn.chips.registry import chip_named
from parburn.efuse.image import EfuseImage
from parburn.errors import EfuseError, ReadOtherwise
from parburn.run.burns import BoardCalls

CHIP = chip_named("esp32c3")
RIGHT, WRONG, OTHER = (EfuseImage(CHIP, {0: bits}) for bits in (0, 1 << 40, 1 << 41))


def calls(shown: EfuseImage, *readings: EfuseImage, monkeypatch: pytest.MonkeyPatch) -> BoardCalls:
    """A board whose scripts were shown one image, and whose chip is read as these, one after the other."""
    run = SimpleNamespace(
        job=SimpleNamespace(dry_run=False), scripts=SimpleNamespace(shows_only=False, may_burn=True)
    )
    board = SimpleNamespace(attempted=False, unread=())
    made = BoardCalls(
        cast(Any, run), cast(Any, board), cast(Any, SimpleNamespace(image=shown)),
        cast(Any, SimpleNamespace(attempts=())),
    )  # fmt: skip
    left = iter(readings)

    async def read(indexes: object) -> EfuseImage:
        return next(left)

    monkeypatch.setattr(made, "_read", read)
    return made


def test_scripts_that_run_again_have_not_ended_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the first of their burns would be taken for the last one, and the unit would pass with it."""
    made = calls(WRONG, RIGHT, RIGHT, monkeypatch=monkeypatch)
    made._then_passed, made._burns = "digest", 1
    assert anyio.run(made.read_wrong_at_first, EfuseError("is burned already"))
    assert (made._then_passed, made._inputs, made._burns) == ("", (), 0)


def test_scripts_do_not_run_again_where_they_were_shown_the_truth(monkeypatch: pytest.MonkeyPatch) -> None:
    for readings in ((RIGHT,), (WRONG, RIGHT, RIGHT), (WRONG, OTHER, WRONG, OTHER)):
        made = calls(RIGHT, *readings, monkeypatch=monkeypatch)
        assert not anyio.run(made.read_wrong_at_first, EfuseError("is burned already"))


def test_a_damaged_second_reading_refuses_no_board(monkeypatch: pytest.MonkeyPatch) -> None:
    anyio.run(calls(RIGHT, RIGHT, monkeypatch=monkeypatch)._still_shown)
    anyio.run(calls(RIGHT, WRONG, RIGHT, monkeypatch=monkeypatch)._still_shown)
    with pytest.raises(ReadOtherwise):
        anyio.run(calls(WRONG, RIGHT, RIGHT, monkeypatch=monkeypatch)._still_shown)
