"""How a burn ended, as the ledger calls it: only a harmless end lets a station go on by itself."""

from __future__ import annotations

import pytest

from parburn.errors import (
    BoardSwapped,
    CommandRefused,
    GarbledAnswer,
    Interrupted,
    LedgerUnusable,
    NoAnswer,
    ParburnError,
    PartialBurn,
    PortGone,
    ReadOtherwise,
    ScriptFailed,
    UniqueValueTaken,
    UnitRefused,
    VerifyFailed,
)
from parburn.ledger.base import HARMLESS_CAUSES, Cause
from parburn.run.leave import cause_of


def broken_off(by: BaseException | None) -> ParburnError:
    error = PartialBurn("KEY0 was not finished", remaining=1)
    error.__cause__ = by
    return error


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (NoAnswer("silence"), Cause.LINE),
        (GarbledAnswer("noise"), Cause.LINE),
        (PortGone("unplugged"), Cause.UNPLUGGED),
        (LedgerUnusable("full"), Cause.LEDGER),
        (Interrupted("stopped"), Cause.STOP),
        (UnitRefused("its record"), Cause.OTHER),
        (UniqueValueTaken("taken"), Cause.OTHER),
        (VerifyFailed("odd bits", permanent=False), Cause.OTHER),
        (BoardSwapped("another chip"), Cause.UNPLUGGED),
        (ReadOtherwise("read wrong"), Cause.LINE),
        (CommandRefused("refused"), Cause.OTHER),
        (RuntimeError("a defect"), Cause.OTHER),
    ],
    ids=lambda one: type(one).__name__,
)
def test_what_a_burn_broke_off_by_is_its_cause(error: BaseException, cause: Cause) -> None:
    assert cause_of(error) is cause
    assert cause_of(broken_off(error)) is cause
    assert cause_of(broken_off(broken_off(error))) is cause


def test_an_end_without_a_cause_is_not_harmless() -> None:
    assert cause_of(None) is Cause.OTHER
    assert cause_of(broken_off(None)) is Cause.OTHER
    assert Cause.OTHER not in HARMLESS_CAUSES


def test_a_link_that_a_script_caught_is_not_the_line() -> None:
    error = ScriptFailed("it raised")
    error.__cause__ = NoAnswer("silence")
    assert cause_of(error) is Cause.OTHER
