"""What a run tells its observers, in the order it happens. Frozen values; this module imports nothing.

Observers (table, log, JSON lines, report) cannot harm a burn: a failing one is logged and left out.
`port` is the path the operator gave, by which observers tell boards apart; it is empty in events of a
whole run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from types import MappingProxyType
from typing import Final, Literal, NamedTuple

# What a board is doing, in the order of a run; waiting comes between any two. Words of `--json`.
Step = Literal["connecting", "identifying", "waiting", "scripting", "confirming", "burning"]
NoteLevel = Literal["info", "hint", "warning"]  # words of `--json`

NO_VALUES: Final[Mapping[str, str]] = MappingProxyType({})


class Result(Enum):
    """How one board ended. The values are the words of `--json`."""

    PASS = "pass"
    ALREADY_PASS = "already-pass"
    FAILED = "failed"  # nothing was burned in this run
    REFUSED = "refused"  # parburn would not burn it, and says why
    INCOMPLETE = "incomplete"  # something was burned or attempted, can be continued
    QUARANTINED = "quarantined"  # something is wrong with its bits: do not touch
    NO_ANSWER = "no-answer"
    STOPPED = "stopped"  # by the operator, before anything was burned
    WOULD_BURN = "would-burn"  # of a dry run: all that can be checked without a burn is right

    @property
    def passed(self) -> bool:
        """Whether the board holds what the job wants; of a dry run: could be made to hold it."""
        return self in (Result.PASS, Result.ALREADY_PASS, Result.WOULD_BURN)


class LedgerOpened(NamedTuple):
    """Which run this is: its number in the ledger, its batch, which ledger, where and by whom.

    `run` is None, and `ledger` and `ledger_uuid` are empty, where the ledger is thrown away at the end.
    """

    port: str
    run: int | None
    batch: str
    ledger: str
    ledger_uuid: str
    station: str
    operator: str


class RunStarted(NamedTuple):
    """The boards begin: ports in run order with their slots, and whether the boards are simulated."""

    port: str
    ports: tuple[str, ...]
    slots: tuple[str, ...]
    simulated: bool = False
    dry_run: bool = False


class Note(NamedTuple):
    """A sentence for the operator. `port` is empty where it is of the whole run."""

    port: str
    text: str
    level: NoteLevel = "info"


class StepChanged(NamedTuple):
    """The board is now doing `step`. Each block is verified as it is burned: that is no step of its own."""

    port: str
    step: Step
    detail: str = ""


class Identified(NamedTuple):
    """The chip answered and is known. `mac` is the factory MAC as aa:bb:cc:dd:ee:ff."""

    port: str
    chip: str
    mac: str
    revision: str
    crystal_mhz: int
    unique_id: str = ""  # the factory's, in hex, where the chip has one


class Claimed(NamedTuple):
    """The board has its index. `known` when the ledger knew this chip already."""

    port: str
    index: int  # type: ignore[assignment]  # not tuple.index
    known: bool


class PlannedBlock(NamedTuple):
    """One row of a plan as an operator sees it: never key material."""

    block: str
    bits: int  # how many bits will be burned
    fields: tuple[str, ...]
    locks: bool
    ends_link: str = ""
    values: tuple[tuple[str, str], ...] = ()  # name and text of each value that is shown; of a key no text


class Planned(NamedTuple):
    """A plan is ready; `burn` counts the burns of this script from 1."""

    port: str
    blocks: tuple[PlannedBlock, ...]
    burn: int


class BlockBurned(NamedTuple):
    """A step of the plan was burned and verified."""

    port: str
    block: str
    done: int
    total: int


class ScriptOutput(NamedTuple):
    """Text that the board's script printed."""

    port: str
    text: str


class TokenRead(NamedTuple):
    """The board's eFuses as an EFSR token; blocks `left_out` hold keys and were not asked for."""

    port: str
    token: str
    left_out: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"TokenRead({self.port!r})"


class DeviceReport(NamedTuple):
    """How one board ended, and all an operator or a report needs of it. Never key material.

    `seconds` count from the opening of the port, without the time that people took; `turns`, `tx_bytes`,
    `rx_bytes` and `retries` are those of the serial line. `traceback_text` is a script's own, or, where the
    job says debug, ours. `burned` is about this run; `state` is what the chip is now and since when, whoever
    burned it, as "whole since 2026-11-29 06:40". Times are UTC.
    """

    port: str
    slot: str
    result: Result
    chip: str = ""
    mac: str = ""
    index: int | None = None  # type: ignore[assignment]  # not tuple.index
    unique_values: Mapping[str, str] = NO_VALUES
    error: str = ""
    error_kind: str = ""  # name of the exception's class
    burned: str = "nothing was burned"
    next_step: str = ""  # the hint of JSON lines; empty where it passed
    seconds: float = 0.0
    output: str = ""
    traceback_text: str = ""
    turns: int = 0
    tx_bytes: int = 0
    rx_bytes: int = 0
    blocks_done: int = 0
    blocks_total: int = 0
    retries: int = 0
    started: str = ""  # ISO 8601
    ended: str = ""
    unique_id: str = ""  # the factory's, in hex, where the chip has one
    revision: str = ""
    values: Mapping[str, str] = NO_VALUES  # what was burned, in this run or before
    state: str = ""


class Finished(NamedTuple):
    """The board's last event."""

    port: str
    report: DeviceReport


class RunFinished(NamedTuple):
    """The last event of all. `exit` is the command's exit code, `next_command` what would go on."""

    port: str
    boards: int
    passed: int
    failed: int
    exit: int
    next_command: str = ""


Event = (
    LedgerOpened
    | RunStarted
    | Note
    | StepChanged
    | Identified
    | Claimed
    | Planned
    | BlockBurned
    | ScriptOutput
    | TokenRead
    | Finished
    | RunFinished
)
Emit = Callable[[Event], None]
