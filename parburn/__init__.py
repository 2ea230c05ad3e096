"""parburn: burn the eFuses of many Espressif chips at once.

The names in `__all__` are the public ones; docs/api.md tells what each does. They are loaded when they are
first asked for: `parburn --help` waits for none of them.
"""

__version__ = "0.1.0"

TYPE_CHECKING = False  # type checkers take it for true; `typing` takes longer to load than all of this
if TYPE_CHECKING:
    from parburn.api import (
        PlanOfBoard,
        burn,
        burn_async,
        simulated_boards,
    )
    from parburn.errors import (
        BadValue,
        BatchRefused,
        BegunElsewhere,
        BoardSwapped,
        BurnError,
        ChipDataError,
        ChipError,
        CommandRefused,
        ControllerStuck,
        EfuseError,
        GarbledAnswer,
        IdentityUnclear,
        InternalError,
        Interrupted,
        LedgerError,
        LedgerUnusable,
        LeftOut,
        LinesBusy,
        LinkError,
        NeedsResume,
        NoAnswer,
        NoStation,
        NotAsArmed,
        NotConfirmed,
        NotDone,
        OutOfIndexes,
        ParburnError,
        PartialBurn,
        PlanError,
        PortBusy,
        PortDenied,
        PortGone,
        PortHangs,
        ReadOtherwise,
        RecordsUndeclared,
        ScriptError,
        ScriptExited,
        ScriptFailed,
        ScriptSyntaxError,
        ScriptTimeout,
        SecureDownload,
        StagingMismatch,
        TooFewBoards,
        UniqueValueTaken,
        UnitHeld,
        UnitQuarantined,
        UnitRefused,
        UnitScrapped,
        UnknownName,
        UsageError,
        VerifyFailed,
        WrongChip,
    )
    from parburn.events import (
        BlockBurned,
        Claimed,
        DeviceReport,
        Event,
        Finished,
        Identified,
        LedgerOpened,
        Note,
        Planned,
        PlannedBlock,
        Result,
        RunFinished,
        RunStarted,
        ScriptOutput,
        StepChanged,
        TokenRead,
    )
    from parburn.job import Job, Script, TableOption

__all__ = [
    "BadValue",
    "BatchRefused",
    "BegunElsewhere",
    "BlockBurned",
    "BoardSwapped",
    "BurnError",
    "ChipDataError",
    "ChipError",
    "Claimed",
    "CommandRefused",
    "ControllerStuck",
    "DeviceReport",
    "EfuseError",
    "Event",
    "Finished",
    "GarbledAnswer",
    "Identified",
    "IdentityUnclear",
    "InternalError",
    "Interrupted",
    "Job",
    "LedgerError",
    "LedgerOpened",
    "LedgerUnusable",
    "LeftOut",
    "LinesBusy",
    "LinkError",
    "NeedsResume",
    "NoAnswer",
    "NoStation",
    "NotAsArmed",
    "NotConfirmed",
    "NotDone",
    "Note",
    "OutOfIndexes",
    "ParburnError",
    "PartialBurn",
    "PlanError",
    "PlanOfBoard",
    "Planned",
    "PlannedBlock",
    "PortBusy",
    "PortDenied",
    "PortGone",
    "PortHangs",
    "ReadOtherwise",
    "RecordsUndeclared",
    "Result",
    "RunFinished",
    "RunStarted",
    "Script",
    "ScriptError",
    "ScriptExited",
    "ScriptFailed",
    "ScriptOutput",
    "ScriptSyntaxError",
    "ScriptTimeout",
    "SecureDownload",
    "StagingMismatch",
    "StepChanged",
    "TableOption",
    "TokenRead",
    "TooFewBoards",
    "UniqueValueTaken",
    "UnitHeld",
    "UnitQuarantined",
    "UnitRefused",
    "UnitScrapped",
    "UnknownName",
    "UsageError",
    "VerifyFailed",
    "WrongChip",
    "__version__",
    "burn",
    "burn_async",
    "simulated_boards",
]

_HOMES = ("errors", "events", "job", "api")  # where they are defined, quick ones first

if not TYPE_CHECKING:  # to a type checker a module with __getattr__ has all names

    def __getattr__(name):
        """Load a public name when it is first asked for."""
        if name in __all__:
            from importlib import import_module

            for home in _HOMES:
                module = import_module(f"parburn.{home}")
                if hasattr(module, name):
                    return globals().setdefault(name, getattr(module, name))
        raise AttributeError(f"module 'parburn' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
