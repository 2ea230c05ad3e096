"""How a board ended in the words of the screen: one for each result, a few for each kind of error. Tables.

They fit beside port, index and value in a terminal of 80 columns; the summary has the whole sentence.
"""

from __future__ import annotations

import re

from parburn.events import DeviceReport, Result

# At most 12 characters: a cell of the grid.
RESULT_WORDS: dict[Result, str] = {
    Result.PASS: "pass",
    Result.ALREADY_PASS: "already-pass",
    Result.FAILED: "failed",
    Result.REFUSED: "refused",
    Result.INCOMPLETE: "half burned",
    Result.QUARANTINED: "quarantined",
    Result.NO_ANSWER: "no answer",
    Result.STOPPED: "stopped",
    Result.WOULD_BURN: "would burn",
}

# By the name of the exception's class; what is not here is told by its result.
ERROR_WORDS: dict[str, str] = {
    "BadValue": "bad value",
    "BatchRefused": "wrong batch",
    "BoardSwapped": "other board!",
    "ControllerStuck": "chip is stuck",
    "GarbledAnswer": "noisy line",
    "IdentityUnclear": "chip unclear",
    "InternalError": "parburn's error",
    "LedgerUnusable": "ledger fails",
    "LeftOut": "no answer, left out",
    "LinesBusy": "others burn",
    "NotAsArmed": "not as armed",
    "NotConfirmed": "not confirmed",
    "OutOfIndexes": "no record left",
    "PlanError": "cannot be burned",
    "PortBusy": "port is busy",
    "PortDenied": "no rights to port",
    "PortGone": "port is gone",
    "PortHangs": "adapter hangs",
    "ReadOtherwise": "noisy line",
    "ScriptExited": "script ended",
    "ScriptFailed": "script failed",
    "ScriptTimeout": "script too slow",
    "SecureDownload": "secure download",
    "TooFewBoards": "too few boards",
    "UniqueValueTaken": "value is taken",
    "UnitRefused": "other record",
    "UnitHeld": "at work elsewhere",
    "UnitScrapped": "written off",
    "UnknownName": "unknown name",
    "WrongChip": "wrong chip",
}
_KEEPS_ITS_WORD = (Result.QUARANTINED, Result.INCOMPLETE, Result.STOPPED)
_THIS_IS = re.compile(r"this is ([\w-]+)")


def short_word(report: DeviceReport) -> str:
    """Return how a board ended in a few words, as `wrong chip: ESP32`."""
    word = RESULT_WORDS[report.result]
    if report.result is Result.WOULD_BURN and not report.blocks_total:
        return "nothing to burn"
    if report.result.passed or report.result in _KEEPS_ITS_WORD:
        return word
    if report.error_kind == "WrongChip" and (found := _THIS_IS.search(report.error)):
        return f"wrong chip: {found[1]}"
    return ERROR_WORDS.get(report.error_kind, word)
