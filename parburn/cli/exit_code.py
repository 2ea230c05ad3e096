"""The exit code of a run, as a pure function of how its boards ended. It prints and decides nothing else.

=====  ==================================================================================
130    the operator interrupted the run
5      a unit was quarantined
4      no index was left for a board
2      fewer boards than --expect were identified
1      a board failed, did not answer or is incomplete, or was refused while others passed
3      every board was refused, or the burn was not confirmed: nothing was burned
2      the command line or an input file is wrong, or the ledger cannot be used: nothing was burned
6      all boards passed, and the report could not be written
0      all boards passed, or had passed before
=====  ==================================================================================

Where several hold, the upper one wins.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from parburn.errors import (
    InternalError,
    Interrupted,
    LedgerUnusable,
    OutOfIndexes,
    ParburnError,
    PortGone,
    TooFewBoards,
    UnitQuarantined,
    UsageError,
)
from parburn.events import DeviceReport, Result

PASSED = 0
SOME_FAILED = 1
BAD_INPUT = 2
REFUSED = 3
OUT_OF_INDEXES = 4
QUARANTINED = 5
NO_REPORT = 6
INTERRUPTED = 130
BURNED = frozenset({Result.PASS, Result.INCOMPLETE})
WENT_ON = BURNED | {Result.ALREADY_PASS, Result.QUARANTINED, Result.WOULD_BURN}


class RunFlags(NamedTuple):
    """How the whole run ended, as far as the boards' reports do not say it."""

    interrupted: bool = False
    error: ParburnError | None = None  # the whole run was refused
    no_report: bool = False  # it was asked for, and could not be written
    expect: int | None = None  # boards that had to be there before any was burned


def exit_code(reports: Sequence[DeviceReport], flags: RunFlags) -> int:
    """Return the exit code of a run, by the table in the module's docstring."""
    results = [report.result for report in reports]
    kinds = {report.error_kind for report in reports}
    refused = None if flags.error is None else exit_code_of(flags.error)
    if flags.interrupted or Interrupted.__name__ in kinds or refused == INTERRUPTED:
        return INTERRUPTED
    if Result.QUARANTINED in results or refused == QUARANTINED:
        return QUARANTINED
    if OutOfIndexes.__name__ in kinds or refused == OUT_OF_INDEXES:
        return OUT_OF_INDEXES
    if TooFewBoards.__name__ in kinds or _too_few(reports, flags.expect):
        return BAD_INPUT
    if refused is not None and not any(result in BURNED for result in results):
        return refused
    if refused is not None:  # it ended in the middle, as on a full disk: that is no bad input any more
        return SOME_FAILED
    if all(result.passed for result in results):
        return NO_REPORT if flags.no_report else PASSED
    if all(result in (Result.REFUSED, Result.ALREADY_PASS) for result in results):
        return REFUSED
    return SOME_FAILED


def _too_few(reports: Sequence[DeviceReport], expect: int | None) -> bool:
    """Tell whether --expect was not met where nobody was left who could be told so."""
    if expect is None or not reports or any(report.result in WENT_ON for report in reports):
        return False
    there = sum(bool(report.chip) and report.error_kind != PortGone.__name__ for report in reports)
    return there < expect


def exit_code_of(error: ParburnError) -> int:
    """Return the exit code of an error that ended the whole run."""
    match error:
        case Interrupted():
            return INTERRUPTED
        case UnitQuarantined():
            return QUARANTINED
        case OutOfIndexes():
            return OUT_OF_INDEXES
        case UsageError() | LedgerUnusable():
            return BAD_INPUT
        case InternalError():  # what was burned is not known here
            return SOME_FAILED
        case _:
            return REFUSED
