"""Every exception of parburn. This module imports nothing of parburn.

::

    ParburnError                     a sentence in str(), data in attributes
    +-- UsageError                   blame: the command line or an input file (exit 2, nothing burned)
    |   +-- TooFewBoards             fewer boards than --expect were identified
    |   +-- ChipDataError            a chip row or a custom eFuse table breaks a rule (file, line, column)
    |   +-- ScriptSyntaxError        a script does not compile
    |   +-- NoStation                no station runs that could be told
    |   +-- NotDone                  a station was told, and did not do it
    +-- LinkError                    blame: the line between us and the chip
    |   +-- PortBusy                 another program holds the port
    |   +-- PortDenied               no rights to the port
    |   +-- PortGone                 unplugged, or the other end closed
    |   +-- LinesBusy                chips burned, so no line may move; or the other way round
    |   +-- NoAnswer                 a deadline passed in silence
    |   |   +-- LeftOut              it was late, and the other boards went on without it
    |   |   +-- PortHangs            the adapter does not let its port be opened
    |   +-- GarbledAnswer            bytes came that are no answer to what was asked
    +-- ChipError                    blame: the chip, or what it is
    |   +-- CommandRefused           the ROM answered with an error status
    |   +-- WrongChip                not the chip that was asked for, or none that we know
    |   +-- SecureDownload           registers cannot be reached in secure download mode
    |   +-- ControllerStuck          the eFuse controller does not become idle
    |   +-- IdentityUnclear          MAC all zero, bad CRC, two readings differ
    |   +-- BoardSwapped             another chip sits where this one was
    |       +-- ReadOtherwise        the same chip, but its eFuses read otherwise than at the start
    +-- EfuseError                   blame: what was asked of the eFuses; nothing was burned by this command
    |   +-- UnknownName              no such field, block, command or purpose
    |   +-- BadValue                 text or size that does not fit the field
    |   +-- PlanError                the hardware's rules forbid this burn
    +-- BurnError                    a burn that was attempted and did not end well
    |   +-- StagingMismatch          the programming registers read back differ; no bit was burned by it
    |   +-- VerifyFailed             after the burn the chip shows other bits than planned
    |   +-- PartialBurn              some steps are done, the rest is in `remaining`
    +-- ScriptError                  blame: the user's script
    |   +-- ScriptFailed             it raised (the traceback is cut to the script)
    |   +-- ScriptExited             it called exit()
    |   +-- ScriptTimeout            it ran past --script-timeout
    +-- LedgerError                  blame: the ledger, or what it says
    |   +-- LedgerUnusable           missing, foreign, damaged, too new, not writable
    |   +-- OutOfIndexes             no index left in --index A-B
    |   +-- UniqueValueTaken         this value already belongs to another chip
    |   +-- BatchRefused             the config files do not fit the batch, or belong to another one
    |   +-- RecordsUndeclared        how records lie in a config file must be said first (exit 2)
    |   +-- UnitRefused              the record of this unit forbids this job
    |   |   +-- BegunElsewhere       a station: it was begun under another arming
    |   |   +-- NeedsResume          a station: it was begun, and an engineer must let it go on
    |   |   +-- UnitHeld             another run is at work on it
    |   |   +-- UnitScrapped         it was written off: nobody is to use it
    |   +-- UnitQuarantined          the record of this unit says: do not touch
    +-- NotConfirmed                 the operator did not confirm
    |   +-- NotAsArmed               a plan is not what the engineer armed a station for
    +-- Interrupted                  the operator stopped the run
    +-- InternalError                blame: parburn itself, a defect
"""

from __future__ import annotations

from collections.abc import Iterator


class ParburnError(Exception):
    """Base of all. `str()` is one sentence for an operator; `hint` says what to do next, or is empty."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message


class UsageError(ParburnError):
    """The command line or an input file is wrong. Nothing was burned."""


class TooFewBoards(UsageError):
    """Fewer boards than `--expect` were identified."""


class ChipDataError(UsageError):
    """A chip row or an eFuse table is wrong. `where` is `file:line:column` as far as known."""

    def __init__(self, message: str, *, where: str = "", hint: str = "") -> None:
        super().__init__(f"{where}: {message}" if where else message, hint=hint)
        self.where = where


class ScriptSyntaxError(UsageError):
    """A script does not compile. Found before any port is opened."""


class NoStation(UsageError):
    """No station runs that could be told, or it is not known which one is meant."""


class NotDone(UsageError):
    """A station was told to do something and says why it did not."""


class LinkError(ParburnError):
    """The line between us and the chip failed."""


class PortBusy(LinkError):
    """Another program holds the port."""


class PortDenied(LinkError):
    """The port cannot be opened with the rights we have."""


class PortGone(LinkError):
    """The port vanished: unplugged, or the other end closed."""


class LinesBusy(LinkError):
    """A reset line may not move while any chip of this machine burns, and was waited with for too long.

    Or the other way round: nothing may burn while lines move.
    """


class NoAnswer(LinkError):
    """A deadline passed in silence."""


class LeftOut(NoAnswer):
    """The board was not there in time, and the others went on without it. It can come in the next run."""


class PortHangs(NoAnswer):
    """The adapter does not let its port be opened: it, and no board behind it, is at fault."""


class GarbledAnswer(LinkError):
    """Bytes came that are no answer to what was asked."""


class ChipError(ParburnError):
    """The chip refused, or is not what it should be."""


class CommandRefused(ChipError):
    """The ROM answered with an error status. `status` and `code` are the two status bytes."""

    def __init__(self, message: str, *, status: int = 1, code: int = 0, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.code = code


class WrongChip(ChipError):
    """Not the chip that was asked for, or none that we know."""


class SecureDownload(ChipError):
    """Registers cannot be reached in secure download mode."""


class ControllerStuck(ChipError):
    """The eFuse controller did not become idle before its deadline."""


class IdentityUnclear(ChipError):
    """The chip's identity cannot be trusted: MAC all zero, bad CRC, or two readings that differ."""


class BoardSwapped(ChipError):
    """Another chip sits where this one was, or its eFuses have changed since they were read."""


class ReadOtherwise(BoardSwapped):
    """This chip's eFuses read otherwise than at the start: one of the readings was damaged."""


class EfuseError(ParburnError):
    """What was asked of the eFuses cannot be done. The command that asked staged nothing."""


class UnknownName(EfuseError):
    """No such field, block, command or key purpose. The message names the nearest ones."""


class BadValue(EfuseError):
    """A value's text, range or size does not fit its field."""


class PlanError(EfuseError):
    """The hardware's rules forbid this burn. Raised before its first bit."""


class BurnError(ParburnError):
    """A burn was attempted and did not end well."""


class StagingMismatch(BurnError):
    """The programming registers read back differ from what was written. This step burned nothing."""


class VerifyFailed(BurnError):
    """After the burn the chip shows other bits than planned. `permanent` when a repeat cannot mend it."""

    def __init__(self, message: str, *, permanent: bool = True, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.permanent = permanent


class PartialBurn(BurnError):
    """Some steps are done. `remaining` counts the steps that are not."""

    def __init__(self, message: str, *, remaining: int, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.remaining = remaining


class ScriptError(ParburnError):
    """The user's script ended badly. `traceback_text` is cut to the script's own frames.

    `place` is `file:line` of the script where known, of `--commands` the number of the command; for the
    ledger, which must not hold what a script says, or what was typed.
    """

    def __init__(self, message: str, *, traceback_text: str = "", place: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.traceback_text = traceback_text
        self.place = place


class ScriptFailed(ScriptError):
    """The script raised."""


class ScriptExited(ScriptError):
    """The script called exit(). What it had staged is dropped."""


class ScriptTimeout(ScriptError):
    """The script ran past its deadline."""


class LedgerError(ParburnError):
    """The ledger cannot be used, or what it says forbids this.

    `total_state` is what the ledger says that the refused chip is, in words; empty where it says nothing.
    """

    total_state = ""


class LedgerUnusable(LedgerError):
    """Missing, foreign, damaged, from a newer parburn, or not writable."""


class OutOfIndexes(LedgerError):
    """No index is left in the range of --index."""


class UniqueValueTaken(LedgerError):
    """This value already belongs to another chip."""


class BatchRefused(LedgerError):
    """The config files do not fit what the ledger knows of this batch, or belong to another batch."""


class RecordsUndeclared(LedgerError, UsageError):
    """Scripts use the index, and a config file neither names indexes nor was declared by `--records`."""


class UnitRefused(LedgerError):
    """The ledger's entries of this unit, or its records, forbid this job."""


class BegunElsewhere(UnitRefused):
    """This unit was begun under another arming than this station's. Its record is unchanged."""


class NeedsResume(UnitRefused):
    """This unit was begun and is not whole; it goes on once an engineer says so. Its record is unchanged."""


class UnitHeld(UnitRefused):
    """A run is at work on this unit. It can be had when that has ended."""


class UnitScrapped(UnitRefused):
    """The unit was written off. It is not to be used, whatever job is asked for."""


class UnitQuarantined(LedgerError):
    """The ledger says of this unit: do not touch it."""


class NotConfirmed(ParburnError):
    """The operator was asked and did not confirm. Nothing was burned by this command."""


class NotAsArmed(NotConfirmed):
    """A plan is not what the engineer confirmed when he armed the job. Nothing was burned by this command."""


class Interrupted(ParburnError):
    """The operator stopped the run."""


def causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and what caused it, the nearest first; each once, also when they name each other."""
    seen: set[int] = set()
    one: BaseException | None = error
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        yield one
        one = one.__cause__


class InternalError(ParburnError):
    """A defect of parburn itself. Made of the exception that showed it, which is its `__cause__`.

    It says nothing about what was burned: the report of its board does.
    """

    def __init__(self, cause: BaseException) -> None:
        super().__init__(
            f"an error inside parburn: {type(cause).__name__}: {cause}",
            hint="Run again with --debug and report what it shows.",
        )
        self.__cause__ = cause
