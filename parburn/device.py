"""THE STORY: one chip's whole life in one task, from the opened port to the written record.

Read `_live` first. Everything a rule of SAFETY orders in time is ordered here; how each thing is done stands
in the module that the line names. No error escapes `burn_device`: whatever happens, one DeviceReport comes
out of it, and it says whether anything was burned.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from anyio import CancelScope, fail_after, move_on_after

from parburn.chips.model import RegisterWrite
from parburn.commit import GUARD_REGISTERS, CommitHooks, commit
from parburn.efuse.image import EfuseImage
from parburn.efuse.plan import BurnPlan, BurnStep, needed_blocks, plan_burns, remaining
from parburn.efuse.staging import StagedBurns
from parburn.errors import (
    BoardSwapped,
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
    PlanError,
    PortGone,
    ScriptError,
    TooFewBoards,
    UnitQuarantined,
    UnitRefused,
    VerifyFailed,
)
from parburn.events import (
    BlockBurned,
    Claimed,
    DeviceReport,
    Finished,
    Identified,
    Note,
    Planned,
    Result,
    ScriptOutput,
    StepChanged,
)
from parburn.identify import Device, identify
from parburn.ledger.base import Attempt, Claim, State
from parburn.records import image_from_record, image_record, recorded_blocks, refuse_other_chip
from parburn.rom import RomLoader
from parburn.run import PlanOfBoard, SharedRun, defect
from parburn.script.runner import run_scripts
from parburn.script.session import DeviceFacts, ScriptOutcome
from parburn.transport.open import open_stream
from parburn.transport.reset import apply_reset
from parburn.transport.stream import ByteStream

CONNECT_DEADLINE_S = 60.0
CLOSE_DEADLINE_S = 2.0
AGREEING_READS = 4  # readings of a chip that is taken up again, until two in a row agree
ROM_BAUD = 115200


@dataclass(slots=True)
class _Board:
    """What has become known of this board so far; the report is made of it."""

    port: str
    slot: str
    started: float = field(default_factory=time.monotonic)
    device: Device | None = None
    claim: Claim | None = None
    claimed: bool = False
    index: int | None = None  # none for a job that only shows: its claim means nothing
    planned: bool = False  # a plan was made: the index is bound to this chip
    attempted: bool = False  # a program command may have been sent
    done: int = 0
    total: int = 0
    unread: tuple[str, ...] = ()
    unique: dict[str, str] = field(default_factory=dict)
    output: list[str] = field(default_factory=list)
    result: Result | None = None
    error: ParburnError | None = None
    rom: RomLoader | None = None

    def burned(self) -> str:
        """Whether anything was burned, in words."""
        if not self.attempted:
            return "nothing was burned"
        if self.done < self.total:
            return (
                f"{self.done} of {self.total} steps were burned and verified, the rest may be burned in part"
            )
        words = f"all {self.total} steps were burned and verified"
        return words + (f", {', '.join(self.unread)} could not be read back" if self.unread else "")


async def burn_device(run: SharedRun, port: str, slot: str) -> DeviceReport:
    """Take one board from its port to its record. Never raises but for cancellation from outside the run."""
    board = _Board(port, slot)
    with CancelScope() as scope:
        run.stop.cancels(scope)
        try:
            await _live(run, board)
        except ParburnError as error:
            board.error = error
        except Exception as error:  # a defect of ours must not take the other boards down
            board.error = defect(error)
    if board.result is None and board.error is None:
        board.error = Interrupted("stopped by the operator", hint=_AGAIN)
    with CancelScope(shield=True):
        run.withdraw(port)
        await _record(run, board)
    report = _report(board, debug=run.job.debug)
    run.emit(Finished(port, report))
    return report


async def _live(run: SharedRun, board: _Board) -> None:
    """One chip's life, in the order of SAFETY, "A run, in order"."""
    say = run.emit
    say(StepChanged(board.port, "connecting"))
    stream = await open_stream(board.port)
    try:
        try:
            with fail_after(CONNECT_DEADLINE_S):
                device = await _connect_and_identify(run, board, stream)
        except TimeoutError as error:
            raise NoAnswer(
                f"not identified within {CONNECT_DEADLINE_S:g} s",
                hint="Check the cable and that the board is in download mode.",
            ) from error
        say(StepChanged(board.port, "waiting", "for the other boards"))
        claim = await run.claims.arrive(board.port, device)  # barrier: all ports are identified
        board.claim, board.claimed = claim, True
        if not run.scripts.shows_only:
            board.index = claim.index
            say(Claimed(board.port, claim.index, claim.known))
        job_digest = run.job_digest(claim.index)
        calls = _Calls(run, board, device, claim)
        await calls.still_what_passed()
        if job_digest in claim.passed_jobs and not run.job.dry_run:
            if claim.attempts:
                raise UnitRefused(
                    f"index {claim.index} has passed this job, but another one was begun and is not whole",
                    hint="Run the script and files of that other job first.",
                )
            board.result = Result.ALREADY_PASS
            await _farewell(run, board, device)
            return
        if run.job.baud != ROM_BAUD:
            await device.rom.change_baud(run.job.baud)
        seen = await calls.first_image()
        say(StepChanged(board.port, "scripting"))
        outcome = await run_scripts(
            run.scripts,
            _facts(board, device),
            seen,
            calls,
            run.script_options,
            on_output=lambda text: _printed(run, board, text),
        )
        if outcome.error is not None:
            raise outcome.error
        await calls.last_burn(outcome, job_digest)
        await _farewell(run, board, device)
    finally:
        with CancelScope(shield=True):
            await _close(run, board, stream)


async def _connect_and_identify(run: SharedRun, board: _Board, stream: ByteStream) -> Device:
    job = run.job
    rom = await RomLoader.connect(
        stream,
        before=job.before,
        attempts=job.connect_attempts,
        on_attempt=lambda n: run.emit(StepChanged(board.port, "connecting", f"attempt {n}")),
        trace=run.traces.open(board.port),
    )
    board.rom = rom
    run.emit(StepChanged(board.port, "identifying"))
    device = await identify(
        rom,
        wanted=job.chip,
        blocks=run.blocks_in_scripts,
        extend=run.extend,
        found=lambda chip: run.traces.mask_keys(rom.trace, chip),
    )
    board.device = device
    device.controller.guard(device.identity.registers[:GUARD_REGISTERS], device.identity.same_board)
    run.emit(
        Identified(
            board.port, device.chip.title, device.identity.mac_text, device.revision, device.crystal_mhz
        )
    )
    return device


class _Calls:
    """What a script's thread may ask of its device. Coroutines of the event loop; see script.session."""

    def __init__(self, run: SharedRun, board: _Board, device: Device, claim: Claim) -> None:
        self._run, self._board, self._device, self._claim = run, board, device, claim
        self._now = device.image  # what the chip shows
        self._seen = device.image  # what the script sees: the same but while an attempt is taken up again
        self._burns = 0
        self._attempts = 0  # those of the burns that have bits to burn: the ledger keeps an attempt for each
        self._touched: set[int] = set()  # blocks that were burned, or found burned, and verified
        self._then_passed = ""  # digest of the job, once the last burn is asked for

    async def still_what_passed(self) -> None:
        """Raise UnitQuarantined where the chip lacks what this unit held when it passed: it is another one.

        Answers carry no checksum: what is missing is looked for in a second reading.
        """
        record = self._claim.image_passed
        blocks = recorded_blocks(record) if record else frozenset[int]()
        lacking = blocks - self._now.blocks.keys()
        if lacking:
            self._now = await self._device.controller.read_blocks(lacking, self._now)
        key = self._run.ledger.keyed_digest_key()
        try:
            if record:
                image_from_record(record, self._now, key)
        except UnitQuarantined:
            self._now = await self._device.controller.read_blocks(blocks | {0}, self._now)
            image_from_record(record, self._now, key)

    async def first_image(self) -> EfuseImage:
        """What the script sees first. All that records of open attempts speak of is read and compared.

        Answers carry no checksum, and a difference is a quarantine: two readings must agree before.
        """
        recorded = {i for one in self._claim.attempts for i in recorded_blocks(one.image_before)}
        for _ in range(AGREEING_READS if recorded else 0):
            before = self._now
            self._now = await self._device.controller.read_blocks({*recorded, *before.blocks}, before)
            if self._now == before:
                return self.image_for_script()
        if recorded:
            raise GarbledAnswer(
                "no two readings of the chip's blocks agree",
                hint="The line damages data: use a shorter cable or another hub port, then run again.",
            )
        return self.image_for_script()

    def image_for_script(self) -> EfuseImage:
        """What the script sees now: the chip as it is, or as it was before the attempt that must go on.

        A block that only a later attempt had read is shown as it was before that one.
        """
        self._seen = self._now
        for attempt in reversed(self._claim.attempts[self._attempts :]):
            self._seen = image_from_record(
                attempt.image_before, self._seen, self._run.ledger.keyed_digest_key()
            )
        return self._seen

    def _reachable(self) -> None:
        """Raise ChipError once a burn has ended what the chip answers to."""
        if self._board.unread:
            raise ChipError(
                f"{', '.join(self._board.unread)} is burned: the chip's registers cannot be reached any more",
                hint="Let the script do everything else before it burns such a field.",
            )

    async def read_blocks(self, indexes: Collection[int]) -> EfuseImage:
        """Read blocks that are not known yet."""
        self._reachable()
        self._now = await self._device.controller.read_blocks(indexes, self._now)
        blocks = {index: self._now.block(index) for index in indexes if index not in self._seen.blocks}
        self._seen = self._seen.with_blocks(blocks, self._now.status, self._now.block0_errors)
        return self._seen

    async def read_registers(self, addresses: tuple[int, ...]) -> list[int]:
        """Read any registers of the chip."""
        self._reachable()
        return await self._device.rom.read_regs(addresses)

    async def write_registers(self, writes: tuple[RegisterWrite, ...]) -> None:
        """Write registers that are not the eFuse controller's."""
        self._reachable()
        await self._device.rom.write_regs(writes)

    async def last_burn(self, outcome: ScriptOutcome, job_digest: str) -> None:
        """Burn what the scripts left staged; then the unit has passed, and the ledger says so."""
        self._then_passed = job_digest
        if outcome.staged:
            await self.burn(outcome.staged, outcome.image, outcome.unique_values)
        else:
            self._run.plans.withdraw(self._board.port)
        if self._board.result is None:
            await self._passed()

    async def _passed(self) -> None:
        left = len(self._claim.attempts) - self._attempts
        if left > 0 and not self._run.scripts.shows_only:
            raise PartialBurn(
                f"this unit was begun with {left} more burns than the script asks for now",
                remaining=left,
                hint="Run the very script and files of the first attempt.",
            )
        if not self._run.job.dry_run:
            key = self._run.ledger.keyed_digest_key()
            held = image_record(self._now, key, self._touched) if self._touched else ""
            await self._claim.passed(self._then_passed, held)
        self._board.result = Result.PASS

    async def burn(self, staged: StagedBurns, image: EfuseImage, unique: Mapping[str, str]) -> EfuseImage:
        """Plan, record, meet the others, confirm, burn, verify. Returns what the chip shows then."""
        run, board = self._run, self._board
        lacking = needed_blocks(image.chip, staged) - image.blocks.keys()
        if lacking:
            image = await self.read_blocks(lacking)
        plan = plan_burns(image, staged)
        self._burns += 1
        run.emit(Planned(board.port, plan.describe(), self._burns))
        for reason in plan.forced if plan else ():
            run.emit(Note(board.port, f"FORCED: {reason}. It is burned all the same, for ever.", "warning"))
        digest = plan.keyed_digest(run.ledger.keyed_digest_key())
        if plan:
            self._attempts += 1
            self._same_as_attempted(digest)
        board.planned = True
        board.unique.update(unique)
        await self._met_and_confirmed(plan)
        if run.job.dry_run:
            return plan.apply(image)
        await self._claim.planned(digest, unique)
        if plan:
            await self._committed(plan, image, digest)
        return self.image_for_script()

    def _same_as_attempted(self, digest: str) -> None:
        """A burn that was begun must go on with the very same plan."""
        if self._attempts <= len(self._claim.attempts):
            before = self._claim.attempts[self._attempts - 1]
            if before.plan_digest != digest:
                raise UnitQuarantined(
                    f"burn {self._burns} of this unit was begun with another plan than the script makes now",
                    hint="Run the very script and files of the first attempt. A script that makes random "
                    "keys must save them and use them again.",
                )

    async def _met_and_confirmed(self, plan: BurnPlan) -> None:
        run, board, device = self._run, self._board, self._device
        if self._burns == 1:
            run.emit(StepChanged(board.port, "confirming"))
            await run.plans.arrive(
                board.port,
                PlanOfBoard(
                    port=board.port,
                    slot=board.slot,
                    chip=device.chip.title,
                    mac=device.identity.mac_text,
                    index=self._claim.index,
                    blocks=plan.describe(),
                    unique_values=dict(board.unique),
                ),
            )

    async def _committed(self, plan: BurnPlan, image: EfuseImage, digest: str) -> None:
        """Burn what the chip lacks of the plan. The rest of the run may be cancelled, this may not."""
        run, board, device = self._run, self._board, self._device
        self._reachable()
        known = self._claim.attempts
        if self._attempts <= len(known):
            done = {step.label for step in plan.steps} - set(known[self._attempts - 1].remaining)
            refuse_other_chip(plan, image, self._now, verified=done, last=self._attempts == len(known))
        try:
            pending = remaining(plan, self._now, verified=self._verified_blocks(plan))
        except PlanError as error:
            if self._attempts > len(self._claim.attempts):
                raise
            raise UnitQuarantined(f"what was begun cannot be finished: {error}", hint=error.hint) from error
        lacking = {_planned_label(plan, step) for step in pending.steps}
        found = tuple(step for step in plan.steps if step.label not in lacking)  # by an earlier attempt
        touched = {0, *(write.block.index for step in plan.steps for write in step.writes)}
        self._touched |= touched

        async def attempted() -> None:
            await self._claim.burn_attempted(
                Attempt(
                    plan_digest=digest,
                    image_before=image_record(image, run.ledger.keyed_digest_key(), touched),
                    steps=tuple(step.label for step in plan.steps),
                )
            )
            board.attempted = True
            for step in found:  # its lock may hide it later: then only this record speaks for it
                await self._claim.step_done(step.label, State.LOCKED if step.locks else State.VERIFIED)

        if not pending:
            await attempted()
            return
        run.emit(StepChanged(board.port, "waiting", "for a burn slot"))
        async with run.burn_slot():
            run.stop.check()
            run.emit(StepChanged(board.port, "burning"))
            first = board.done
            board.total = first + len(pending.steps)

            async def burned(step: BurnStep, number: int) -> None:
                board.done = first + number
                label = _planned_label(plan, step)
                await self._claim.step_done(label, State.LOCKED if step.locks else State.VERIFIED)
                run.emit(BlockBurned(board.port, step.label, board.done, board.total))

            hooks = CommitHooks(
                identity=device.identity.registers,
                same_board=device.identity.same_board,
                attempted=attempted,
                burned=burned,
                may_go_on=run.stop.commits_may_go_on,
            )
            with CancelScope() as scope:  # shielded from the first program command until the record is made
                result = await commit(pending, device.controller, self._now, hooks)
                scope.shield = True
                self._now, board.unread = result.image, result.unread
                if self._then_passed:
                    await self._passed()

    def _verified_blocks(self, plan: BurnPlan) -> frozenset[int]:
        """Blocks that the ledger recorded as verified in an earlier attempt at this very burn."""
        if self._attempts > len(self._claim.attempts):
            return frozenset()
        left = self._claim.attempts[self._attempts - 1].remaining
        done = [step for step in plan.steps if step.label not in left]
        return frozenset(write.block.index for step in done for write in step.writes)


def _planned_label(plan: BurnPlan, step: BurnStep) -> str:
    """The step's name in the whole plan: what is left of a step that burns several blocks has a shorter one."""
    blocks = {write.block.index for write in step.writes}
    for whole in plan.steps:
        burned = {write.block.index for write in whole.writes}
        if blocks <= burned and (whole.locks, whole.ends_link) == (step.locks, step.ends_link):
            return whole.label
    return step.label


def _facts(board: _Board, device: Device) -> DeviceFacts:
    security = device.security
    package = None
    if device.chip.package_field is not None:
        package = device.image.field_bits(device.chip.field_by_name[device.chip.package_field][0])
    return DeviceFacts(
        port=board.port,
        chip=device.chip,
        index=board.index,
        mac=device.identity.mac,
        major=device.major,
        minor=device.minor,
        crystal_mhz=device.crystal_mhz,
        package=package,
        security_flags=security.flags if security else None,
        secure_download=bool(security and security.secure_download),
        features=device.chip.features,
    )


def _printed(run: SharedRun, board: _Board, text: str) -> None:
    board.output.append(text)
    run.emit(ScriptOutput(board.port, text))


async def _farewell(run: SharedRun, board: _Board, device: Device) -> None:
    """`--after`, for a unit that passed; any other is never reset (a boot loader could burn more)."""
    after = run.job.after
    if after == "no-reset" or run.job.dry_run:
        return
    try:
        await device.rom.change_baud(ROM_BAUD)
        if after == "hard-reset":
            await apply_reset(device.rom.stream, "hard-reset")
        elif after == "soft-reset":
            await device.rom.reboot()
        elif device.chip.watchdog_reset is not None:
            await device.rom.write_regs(device.chip.watchdog_reset.writes)
        else:
            run.note(board.port, f"{device.chip.title} has no watchdog reset: it was left as it is", "hint")
    except ParburnError as error:
        run.note(board.port, f"passed, but --after {after} did not work: {error}", "warning")


async def _close(run: SharedRun, board: _Board, stream: ByteStream) -> None:
    """Leave the ROM at its first baud rate where it still listens, and give the port back."""
    rom = board.rom
    if rom is not None and rom.baud != ROM_BAUD and not rom.broken:
        with move_on_after(CLOSE_DEADLINE_S), suppress(ParburnError):
            await rom.change_baud(ROM_BAUD)
    with move_on_after(CLOSE_DEADLINE_S):
        await stream.aclose()
    if rom is not None:
        try:
            run.traces.finish(board.port, rom.trace)
        except OSError as error:  # a full disk: no reason to lose the board's result
            run.note(board.port, f"its trace could not be written: {error.strerror}", "warning")


# How a board ends -----------------------------------------------------------------------------------

_RESULTS: tuple[tuple[type[ParburnError] | tuple[type[ParburnError], ...], Result], ...] = (
    (UnitQuarantined, Result.QUARANTINED),
    (VerifyFailed, Result.QUARANTINED),
    (ScriptError, Result.FAILED),
    (Interrupted, Result.FAILED),
    ((NoAnswer, GarbledAnswer, PortGone), Result.NO_ANSWER),
    ((BoardSwapped, ChipError, EfuseError, LedgerError, NotConfirmed, TooFewBoards), Result.REFUSED),
)


def _result_of(board: _Board) -> Result:
    error = board.error
    if board.result is not None:
        return board.result
    if isinstance(error, UnitQuarantined) or (isinstance(error, VerifyFailed) and error.permanent):
        return Result.QUARANTINED
    if board.attempted or isinstance(error, PartialBurn):
        return Result.INCOMPLETE
    if board.claimed and isinstance(error, LinkError):
        return Result.FAILED
    for kind, result in _RESULTS:
        if isinstance(error, kind):
            return result
    return Result.FAILED


async def _record(run: SharedRun, board: _Board) -> None:
    """Write the board's end into the ledger. A ledger that fails now is told to the operator, not raised."""
    board.result = _result_of(board)
    claim = board.claim
    if claim is None:
        return
    error = board.error
    by_script = isinstance(error, ScriptError)
    # What a script says may hold a key, so only where it stopped goes into the record.
    reason = f"{type(error).__name__} {error.place}" if isinstance(error, ScriptError) else str(error or "")
    try:
        if run.job.dry_run:
            await claim.failed_clean("dry run", release=True)
        elif board.result is Result.QUARANTINED:
            await claim.quarantined(reason)
        elif board.result is Result.INCOMPLETE:
            await claim.incomplete(reason)
        elif not board.result.passed:
            await claim.failed_clean(reason, release=not board.planned, script_failed=by_script)
    except LedgerError as error:
        run.note(board.port, f"the ledger could not record how this board ended: {error}", "warning")


def _traceback_of(error: ParburnError | None, *, debug: bool) -> str:
    """A script's own traceback always; ours only when it was asked for."""
    if isinstance(error, ScriptError):
        return error.traceback_text
    return "".join(traceback.format_exception(error)) if error is not None and debug else ""


def _report(board: _Board, *, debug: bool) -> DeviceReport:
    error, device = board.error, board.device
    result = board.result or Result.FAILED
    counters = board.rom.counters if board.rom is not None else None
    return DeviceReport(
        port=board.port,
        slot=board.slot,
        result=result,
        chip=device.chip.name if device else "",
        mac=device.identity.mac_text if device else "",
        index=board.index,
        unique_values=dict(board.unique),
        error=str(error) if error else "",
        error_kind=type(error).__name__ if error else "",
        burned=board.burned(),
        next_step=_next_step(result, error),
        seconds=time.monotonic() - board.started,
        output="".join(board.output),
        traceback_text=_traceback_of(error, debug=debug),
        turns=counters.turns if counters else 0,
        tx_bytes=counters.tx_bytes if counters else 0,
        rx_bytes=counters.rx_bytes if counters else 0,
        retries=counters.retries if counters else 0,
        blocks_done=board.done,
        blocks_total=board.total,
    )


_AGAIN = "Run the same command again with this board: it goes on with the same index."
_NEXT_STEPS = {
    Result.INCOMPLETE: _AGAIN,
    Result.QUARANTINED: "Take the board out of the line and mark it: it must not ship.",
    Result.NO_ANSWER: "Check cable, supply and download mode, then run the same command again.",
}


def _next_step(result: Result, error: ParburnError | None) -> str:
    if error is not None and error.hint:
        return error.hint
    return _NEXT_STEPS.get(
        result, "" if result.passed else "Mend the cause, then run the same command again."
    )
