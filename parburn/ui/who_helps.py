"""Whom a board that did not pass waits for: the operator, an engineer, or nobody. A table of errors.

Running the same command again helps where the operator can do something about it (board, cable, supply);
where a script or the ids are wrong it helps once an engineer has mended them; what is in quarantine goes into
the red bin.
"""

from __future__ import annotations

from enum import Enum

from parburn import errors
from parburn.events import DeviceReport, Result


class Who(Enum):
    """Who can help, as the summary says it."""

    OPERATOR = "the operator (board, cable)"
    ENGINEER = "an engineer (script, ids)"
    NOBODY = "nobody: put it into the red bin"


# The nearest class of an error's family decides.
_WHO: dict[type[errors.ParburnError], Who] = {
    errors.ParburnError: Who.ENGINEER,
    errors.LinkError: Who.OPERATOR,
    errors.PortDenied: Who.ENGINEER,
    errors.ChipError: Who.OPERATOR,
    errors.SecureDownload: Who.NOBODY,
    errors.BurnError: Who.OPERATOR,
    errors.UnitQuarantined: Who.NOBODY,
    errors.NotConfirmed: Who.OPERATOR,
    errors.Interrupted: Who.OPERATOR,
    errors.TooFewBoards: Who.OPERATOR,
}


def who_helps(report: DeviceReport) -> Who:
    """Return who can help a board that did not pass."""
    if report.result is Result.QUARANTINED:
        return Who.NOBODY
    kind = getattr(errors, report.error_kind, errors.LinkError if not report.error_kind else None)
    if not (isinstance(kind, type) and issubclass(kind, errors.ParburnError)):
        return Who.ENGINEER
    return next(_WHO[one] for one in kind.__mro__ if one in _WHO)
