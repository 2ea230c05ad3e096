"""A board of this run: what has become known of it, and how that reads as a result and a report.

Knows the order of nothing and touches no chip; `device` and `burns` fill it in.
"""

from __future__ import annotations

import time
import traceback
from datetime import UTC, datetime

from parburn.errors import (
    BoardSwapped,
    ChipDataError,
    ChipError,
    EfuseError,
    GarbledAnswer,
    Interrupted,
    LedgerError,
    LinkError,
    NoAnswer,
    NotConfirmed,
    ParburnError,
    PartialBurn,
    PortGone,
    ScriptError,
    TooFewBoards,
    UnitQuarantined,
    VerifyFailed,
)
from parburn.events import DeviceReport, Result
from parburn.hardware.identify import Device
from parburn.hardware.rom_loader import RomLoader
from parburn.ledger.base import Claim, State
from parburn.ledger.unit_life import (
    BURNED_ELSEWHERE,
    NEVER_BURNED,
    NOT_KNOWN,
    condition,
    total_state,
)
from parburn.run.people_time import PeopleTime
from parburn.run.port_watch import PortWatch

AGAIN = "Run the same command again with this board: it goes on with the same index."
_NEXT_STEPS = {
    Result.INCOMPLETE: AGAIN,
    Result.QUARANTINED: "Take the board out of the line and mark it: it must not ship.",
    Result.NO_ANSWER: "Check cable, supply and download mode, then run the same command again.",
}

_RESULTS: tuple[tuple[type[ParburnError] | tuple[type[ParburnError], ...], Result], ...] = (
    (ScriptError, Result.FAILED),
    (Interrupted, Result.STOPPED),
    ((NoAnswer, GarbledAnswer, PortGone), Result.NO_ANSWER),
    ((BoardSwapped, ChipError, EfuseError, LedgerError, NotConfirmed), Result.REFUSED),
    ((TooFewBoards, ChipDataError), Result.REFUSED),
)


class BoardProgress:
    """What has become known of this board so far; the report is made of it."""

    def __init__(self, port: str, slot: str, *, dry_run: bool = False) -> None:
        self.port = port
        self.dry_run = dry_run
        self.slot = slot
        self.started = time.monotonic()
        self.started_at = utc_now()
        self.watch = PortWatch()
        self.device: Device | None = None
        self.claim: Claim | None = None
        self.claim_is_open = False  # its end, which a station writes down, could not be written
        self.index: int | None = None  # none for a job that only shows: its claim means nothing
        self.passed_before = False  # this job or another one, when the run began
        self.planned = False  # a plan was made: the index is bound to this chip
        self.nothing_asked = False  # the scripts asked for nothing that is this chip's only: it has no index
        self.attempted = False  # a program command may have been sent
        self.done = 0
        self.total = 0
        self.unread: tuple[str, ...] = ()
        self.unique: dict[str, str] = {}
        self.planned_values: dict[str, str] = {}  # what the burn that is planned now would put in
        self.values: dict[
            str, str
        ] = {}  # what was attempted in this run, or found there; in a dry run planned
        self.output: list[str] = []
        self.ended_at = ""
        self.result: Result | None = None
        self.error: ParburnError | None = None
        self.rom: RomLoader | None = None

    def burned(self) -> str:
        """Return in words whether anything was burned."""
        if self.dry_run:
            return "nothing was burned: a dry run"
        if self.nothing_asked:
            return "nothing was burned: nothing asked, no index"
        if not self.attempted:
            return f"nothing was burned{self._earlier()}"
        if self.done < self.total:
            return (
                f"{self.done} of {self.total} steps were burned and verified, the rest may be burned in part"
            )
        words = f"all {self.total} steps were burned and verified"
        return words + (f", {', '.join(self.unread)} could not be read back" if self.unread else "")

    def _earlier(self) -> str:
        """Return what runs before this one have left in the chip, where this run has burned nothing."""
        now = self.condition()
        if now in ("", NEVER_BURNED, NOT_KNOWN):
            return ""
        if not self.passed_before or self.result is Result.QUARANTINED or self.error is None:
            return f" in this run; the chip is {now}"
        return " in this run; it has passed before, and that PASS stays in the ledger"

    def condition(self) -> str:
        """Return what the chip is as a whole, without since when; empty where the ledger was not asked."""
        if self.claim is not None:
            return self._of_claim(self.claim).partition(" since ")[0]
        return self._refused().partition(" since ")[0]

    def chip_state(self) -> str:
        """Return what the chip is as a whole and since when, as far as the ledger knows."""
        return self._of_claim(self.claim) if self.claim is not None else self._refused() or NOT_KNOWN

    def _refused(self) -> str:
        return self.error.total_state if isinstance(self.error, LedgerError) else ""

    def _of_claim(self, claim: Claim) -> str:
        was, now = condition(claim.state_before), condition(claim.state)
        if now == NEVER_BURNED:
            return NEVER_BURNED if claim.unheard_of else BURNED_ELSEWHERE
        same = was == now and not (self.attempted and now == condition(State.PASS))
        return total_state(claim.state, claim.since if same else self.ended_at)

    def result_now(self) -> Result:
        """Return the result so far: as it was set, or as the error says."""
        error = self.error
        if self.result is not None:
            return self.result
        if isinstance(error, UnitQuarantined) or (isinstance(error, VerifyFailed) and error.permanent):
            return Result.QUARANTINED
        if self.attempted or isinstance(error, PartialBurn):
            return Result.INCOMPLETE
        if self.claim is not None and isinstance(error, LinkError):
            return Result.FAILED
        for kind, result in _RESULTS:
            if isinstance(error, kind):
                return result
        return Result.FAILED

    def report(self, *, debug: bool, people: PeopleTime, known: bool) -> DeviceReport:
        """Return the report of a board that has ended.

        Args:
            debug: Give it the traceback of our errors.
            people: What they took is no time of the board's.
            known: Whether the ledger knows what was burned into these boards before.
        """
        error, device, claim = self.error, self.device, self.claim
        ended = time.monotonic()
        self.ended_at = utc_now()
        result = self.result or Result.FAILED
        counters = self.rom.counters if self.rom is not None else None
        return DeviceReport(
            port=self.port,
            slot=self.slot,
            result=result,
            chip=device.chip.name if device else "",
            mac=device.identity.mac_text if device else "",
            index=self.index,
            unique_values={**(claim.unique_values if claim else {}), **self.unique},
            error=str(error) if error else "",
            error_kind=type(error).__name__ if error else "",
            burned=self.burned(),
            next_step=_next_step(result, error),
            seconds=ended - self.started - people.within(self.started, ended),
            output="".join(self.output),
            traceback_text=_traceback_of(error, debug=debug),
            turns=counters.turns if counters else 0,
            tx_bytes=counters.tx_bytes if counters else 0,
            rx_bytes=counters.rx_bytes if counters else 0,
            retries=counters.retries if counters else 0,
            blocks_done=self.done,
            blocks_total=self.total,
            started=self.started_at,
            ended=self.ended_at,
            unique_id=device.identity.unique_id.hex() if device else "",
            revision=device.revision if device else "",
            values={**(claim.burned_values if claim else {}), **self.values},
            state=self.chip_state() if known else NOT_KNOWN,
        )


def utc_now() -> str:
    """Return the time as records have it: UTC, ISO 8601 with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _traceback_of(error: ParburnError | None, *, debug: bool) -> str:
    """Return a script's own traceback always; ours only when it was asked for."""
    if isinstance(error, ScriptError):
        return error.traceback_text
    return "".join(traceback.format_exception(error)) if error is not None and debug else ""


def _next_step(result: Result, error: ParburnError | None) -> str:
    if error is not None and error.hint:
        return error.hint
    return _NEXT_STEPS.get(
        result, "" if result.passed else "Mend the cause, then run the same command again."
    )
