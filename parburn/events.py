"""What a run tells its observers, in the order it happens. Frozen values; this module imports nothing.

Observers (table, log, JSON lines, report) cannot harm a burn: a failing one is logged and left out.
`port` is the path the operator gave; it is the key by which observers tell boards apart.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum


class Result(Enum):
    """How one board ended. The values are the words of `--json`."""

    PASS = "pass"
    ALREADY_PASS = "already-pass"
    FAILED = "failed"  # nothing was burned in this run
    REFUSED = "refused"  # parburn would not burn it, and says why
    INCOMPLETE = "incomplete"  # something was burned or attempted, can be continued
    QUARANTINED = "quarantined"  # something is wrong with its bits: do not touch
    NO_ANSWER = "no-answer"

    @property
    def passed(self) -> bool:
        """Whether the board holds what the job wants."""
        return self in (Result.PASS, Result.ALREADY_PASS)


@dataclass(frozen=True, slots=True)
class Event:
    """Base of all. `port` is empty for events of the whole run."""

    port: str


@dataclass(frozen=True, slots=True)
class RunStarted(Event):
    """First of all: ports in run order with their slots, and whether the boards are simulated."""

    ports: tuple[str, ...]
    slots: tuple[str, ...]
    simulated: bool = False
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Note(Event):
    """A sentence for the operator. `level` is info, hint or warning."""

    text: str
    level: str = "info"


@dataclass(frozen=True, slots=True)
class StepChanged(Event):
    """The board is now doing `step`: connecting, identifying, waiting, scripting, confirming, burning,
    verifying."""

    step: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Identified(Event):
    """The chip answered and is known."""

    chip: str
    mac: str
    revision: str
    crystal_mhz: int


@dataclass(frozen=True, slots=True)
class Claimed(Event):
    """The board has its index. `known` when the ledger knew this chip already."""

    index: int
    known: bool


@dataclass(frozen=True, slots=True)
class PlannedBlock:
    """One row of a plan as an operator sees it: never key material."""

    block: str
    bits: int  # how many bits will be burned
    fields: tuple[str, ...]
    locks: bool
    ends_link: str = ""


@dataclass(frozen=True, slots=True)
class Planned(Event):
    """A plan is ready; `burn` counts the burns of this script from 1."""

    blocks: tuple[PlannedBlock, ...]
    burn: int


@dataclass(frozen=True, slots=True)
class BlockBurned(Event):
    """A step of the plan was burned and verified."""

    block: str
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class ScriptOutput(Event):
    """Text that the board's script printed."""

    text: str


@dataclass(frozen=True, slots=True)
class TokenRead(Event):
    """The board's eFuses as an EFSR token; blocks `left_out` hold keys and were not asked for."""

    token: str = field(repr=False)
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DeviceReport:
    """How one board ended, and all an operator or a record needs of it. Never key material."""

    port: str
    slot: str
    result: Result
    chip: str = ""
    mac: str = ""
    index: int | None = None
    unique_values: Mapping[str, str] = field(default_factory=dict)
    error: str = ""
    error_kind: str = ""  # name of the exception's class
    burned: str = "nothing was burned"
    next_step: str = ""
    seconds: float = 0.0
    output: str = ""
    traceback_text: str = ""
    turns: int = 0
    tx_bytes: int = 0
    rx_bytes: int = 0
    blocks_done: int = 0
    blocks_total: int = 0
    retries: int = 0


@dataclass(frozen=True, slots=True)
class Finished(Event):
    """The board's last event."""

    report: DeviceReport


@dataclass(frozen=True, slots=True)
class RunFinished(Event):
    """Last of all."""

    boards: int
    passed: int
    failed: int
    exit: int
    next_command: str = ""


Emit = Callable[[Event], None]
