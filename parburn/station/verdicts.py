"""From how a board ended to the one word for its operator. A table; no clock, no screen, no ledger.

The rule behind the table: a word is an action, and the action must be right for whoever knows nothing more.
RETRY promises that nothing was burned. WRONG BOARD and RED BIN differ in where the board goes: back to the
boards that are still to be sorted, or to where nothing is shipped from. LEAVE IN is said where nothing is
wrong with the board: the job or the station must be mended, and the board in its socket shows by what.

A unit that was begun (INCOMPLETE) has no word of its own. RETRY would be wrong: something was burned, and
the board may end in the tray of boards that are as good as new. So it is LEAVE IN while it goes on by itself
("put it back", if it was pulled), and RED BIN once it waits for an engineer: it must not ship as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from parburn import errors
from parburn.errors import ParburnError, causes
from parburn.events import DeviceReport, Result
from parburn.station.words import Word
from parburn.ui.words import one_line


class Verdict(NamedTuple):
    """What the operator is told of a board, and what the station makes of it.

    `hollow`: it had passed before, and counts in no yield. `of_socket`: a failure of the socket's own kind,
    of which so many in a row lock it. `halts`: the job or the station is at fault, and the next board would
    fare no better. `failure_kind` is for statistics and for what halts only when it comes again: errors of
    scripts are `script`. It is empty for a board that passed. `begun`: something was burned into it earlier,
    and it is not whole.
    """

    word: Word
    sentence: str
    hollow: bool = False
    of_socket: bool = False
    halts: bool = False
    failure_kind: str = ""
    begun: bool = False


class Row(NamedTuple):
    """What one class of error means to a station. `said` is for the operator, in few words.

    `goes_on`: a unit that was begun may go on by itself after this error: the line, unplugging, the ledger,
    a stop or the end of a process broke it off, and no finding about chip or script.
    """

    word: Word
    kind: str
    said: str
    of_socket: bool = False
    halts: bool = False
    goes_on: bool = False


def _socket(kind: str, said: str) -> Row:
    """Nothing was burned, and socket, cable or contact is the likely cause."""
    return Row(Word.RETRY, kind, said, of_socket=True, goes_on=True)


def _job(kind: str, said: str, *, goes_on: bool = False) -> Row:
    """Nothing is wrong with the board: the engineer is needed."""
    return Row(Word.LEAVE_IN, kind, said, halts=True, goes_on=goes_on)


# Each class has a row of its own, also where it says what its parent's says: a test walks the tree, so that
# whoever adds a class must decide. `goes_on` is no default: only what is known to be harmless has it.
ERRORS: Final[Mapping[type[ParburnError], Row]] = MappingProxyType(
    {
        ParburnError: _job("internal", "parburn cannot go on"),
        errors.UsageError: _job("job", "the job is not right"),
        errors.TooFewBoards: _job("job", "too few boards"),
        errors.ChipDataError: _job("job", "a table of fields is not right"),
        errors.ScriptSyntaxError: _job("job", "a script is not right"),
        errors.NoStation: _job("internal", "no station runs"),
        errors.NotDone: _job("internal", "the station did not do it"),
        # The line. PortDenied, PortBusy and the like are of the socket, too, but no other try mends them.
        errors.LinkError: Row(Word.SOCKET_OFF, "port", "its port cannot be used", goes_on=True),
        errors.PortBusy: Row(Word.SOCKET_OFF, "port", "another program holds its port", goes_on=True),
        errors.PortDenied: Row(Word.SOCKET_OFF, "port", "no rights to its port", goes_on=True),
        errors.PortHangs: Row(Word.SOCKET_OFF, "port", "its adapter hangs", goes_on=True),
        errors.LinesBusy: Row(Word.RETRY, "lines", "other boards burned for too long", goes_on=True),
        errors.PortGone: _socket("vanished", "the board went away"),
        errors.NoAnswer: _socket("no-answer", "the board does not answer"),
        errors.LeftOut: _socket("no-answer", "the board came too late"),
        errors.GarbledAnswer: _socket("garbled", "bad contact or a bad line"),
        # The chip.
        errors.ChipError: Row(Word.RED_BIN, "chip", "the chip is not as it must be"),
        errors.CommandRefused: Row(Word.RETRY, "chip", "the chip refused a command"),
        errors.WrongChip: Row(Word.WRONG_BOARD, "wrong-chip", "not a chip of this job"),
        errors.SecureDownload: Row(Word.RED_BIN, "chip", "its eFuses are closed for ever"),
        errors.ControllerStuck: Row(Word.RED_BIN, "stuck", "the chip is stuck"),
        errors.IdentityUnclear: Row(Word.RED_BIN, "identity", "its identity cannot be trusted"),
        errors.BoardSwapped: Row(Word.RETRY, "swapped", "another board came meanwhile", goes_on=True),
        errors.ReadOtherwise: _socket("garbled", "its eFuses were read wrong"),
        # What was asked of the eFuses. The rehearsal has shown that a blank chip takes each record, so what
        # is refused now is refused for what this chip holds; but a value that does not fit fits no chip.
        errors.EfuseError: Row(Word.WRONG_BOARD, "content", "the chip holds something else"),
        errors.PlanError: Row(Word.WRONG_BOARD, "content", "this chip cannot take it any more"),
        errors.UnknownName: _job("script", "the script asks for what there is not"),
        errors.BadValue: _job("script", "a value of its record does not fit"),
        # The burn.
        errors.BurnError: Row(Word.RED_BIN, "burn", "the burn did not end well"),
        errors.StagingMismatch: _socket("staging", "the line damages data"),
        errors.VerifyFailed: Row(Word.RED_BIN, "verify", "it holds other bits than it must"),
        errors.PartialBurn: Row(Word.RED_BIN, "burn", "it is burned in part"),
        # The script.
        errors.ScriptError: _job("script", "the script is not right"),
        errors.ScriptFailed: _job("script", "the script failed"),
        errors.ScriptExited: _job("script", "the script ended early"),
        errors.ScriptTimeout: _job("script", "the script is too slow"),
        # The ledger.
        errors.LedgerError: _job("ledger", "the ledger forbids it"),
        errors.LedgerUnusable: _job("ledger", "the ledger cannot be used", goes_on=True),
        errors.OutOfIndexes: _job("indexes", "no record is left"),
        errors.UniqueValueTaken: _job("double", "its value belongs to another board"),
        errors.BatchRefused: _job("job", "the files are not of this batch"),
        errors.RecordsUndeclared: _job("job", "the records are not declared"),
        errors.UnitRefused: Row(Word.WRONG_BOARD, "other-unit", "a board of another job"),
        errors.BegunElsewhere: Row(Word.RED_BIN, "other-unit", "half burned by another job"),
        errors.NeedsResume: Row(Word.LEAVE_IN, "resume", "begun: an engineer lets it go on"),
        errors.UnitHeld: Row(Word.RETRY, "held", "another run is at work on it"),
        errors.UnitScrapped: Row(Word.RED_BIN, "scrapped", "it was written off"),
        errors.UnitQuarantined: Row(Word.RED_BIN, "quarantined", "it must not ship"),
        # The rest.
        errors.NotConfirmed: _job("job", "nobody has confirmed this burn"),
        errors.NotAsArmed: _job("template", "its plan is not what was armed"),
        errors.Interrupted: Row(Word.RETRY, "stopped", "the station was stopped", goes_on=True),
        errors.InternalError: _job("internal", "an error inside parburn"),
    }
)

# Results that decide by themselves, whatever the error is. All others go by their error; NO_ERROR has what
# they mean without one, which a report of ours never has.
RESULTS: Final[Mapping[Result, Row]] = MappingProxyType(
    {
        Result.PASS: Row(Word.PASS, "", ""),
        Result.ALREADY_PASS: Row(Word.PASS, "", "it had passed before"),
        Result.WOULD_BURN: Row(Word.RETRY, "stopped", "a dry run: nothing was burned"),  # never to be shipped
        Result.QUARANTINED: Row(Word.RED_BIN, "quarantined", "it must not ship"),
        Result.INCOMPLETE: Row(Word.RED_BIN, "burn", "it is burned in part: for the engineer"),
    }
)
NO_ERROR: Final[Mapping[Result, Row]] = MappingProxyType(
    {
        Result.FAILED: _job("internal", "it failed without a reason"),
        Result.REFUSED: Row(Word.WRONG_BOARD, "other-unit", "it was refused"),
        Result.NO_ANSWER: ERRORS[errors.NoAnswer],
        Result.STOPPED: ERRORS[errors.Interrupted],
    }
)
_GOES_ON: Final = "not finished: it goes on by itself"
_BEGUN: Final = "it was begun earlier, and is burned in part: for the engineer"
# These only carry what happened; what did is their cause, where that is one of ours.
_CARRIERS: Final = (errors.ScriptFailed, errors.PartialBurn)


def verdict_of(
    report: DeviceReport, error: ParburnError | None, *, may_go_on: bool = False, begun: bool = False
) -> Verdict:
    """Return the verdict on a board that has ended.

    Args:
        report: How it ended.
        error: The error behind the report; None where it passed.
        may_go_on: The ledger lets this unit, which was begun, go on by itself once more. It is LEAVE IN then
            if the error lets it, too (see `goes_on_by_itself`).
        begun: It was begun before, is not whole, and this time nothing was burned: it is no board for the
            trays of good ones, whatever the error is.
    """
    result = report.result
    if result is Result.INCOMPLETE and may_go_on and goes_on_by_itself(error):
        row = row_of(error) if error is not None else RESULTS[result]
        said = _sentence(_GOES_ON, report)
        return Verdict(Word.LEAVE_IN, said, of_socket=row.of_socket, halts=row.halts, failure_kind=row.kind)
    if result in RESULTS:
        row = RESULTS[result]
        cause = row_of(error) if error is not None and not result.passed else None
        if cause is not None:  # the word is the result's; what it was is the error's
            row = row._replace(kind=cause.kind, of_socket=cause.of_socket, halts=cause.halts)
    else:
        row = row_of(error) if error is not None else NO_ERROR[result]
        if begun and row.word in (Word.RETRY, Word.WRONG_BOARD):
            row = row._replace(word=Word.RED_BIN, said=_BEGUN)
    return Verdict(
        row.word,
        _sentence(row.said, report),
        hollow=result is Result.ALREADY_PASS,
        of_socket=row.of_socket,
        halts=row.halts,
        failure_kind=row.kind,
        begun=begun,
    )


def row_of(error: ParburnError) -> Row:
    """Return what an error means: its class's row, or that of the nearest class above it that has one."""
    kind = type(_telling(error))
    return next(ERRORS[one] for one in kind.__mro__ if one in ERRORS)


def goes_on_by_itself(error: ParburnError | None) -> bool:
    """Tell whether a unit that was begun may go on by itself after this, once in its life."""
    return error is not None and row_of(error).goes_on


def _telling(error: ParburnError) -> ParburnError:
    """Return the error that says what happened: a carrier's cause, if it is one of ours."""
    for one in causes(error):
        if not isinstance(one, ParburnError):
            break
        error = one
        if not isinstance(one, _CARRIERS):
            break
    return error


def _sentence(said: str, report: DeviceReport) -> str:
    """Return what the operator's line says: few words of ours, then what was found."""
    place = report.slot or report.port
    found = report.error.removeprefix(f"{report.port}: ").replace(report.port, place) if report.port else ""
    found = one_line(found or report.error)
    if found.casefold().startswith(said.casefold()):  # it says so itself
        return found
    return ": ".join(part for part in (said, found) if part)
