"""One insertion: from the tty of a board to its verdict. It is a run of one board, and `device.py` its story.

What a run decides at its barriers, where it has all boards before it, is decided here one by one: who sits
where (`presence`), who may begin (`gate`), which index (`claim_desk`), and whether what was begun earlier may
go on by itself.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, Final, NamedTuple

from anyio import CancelScope, create_task_group, sleep

from parburn.device import burn_device
from parburn.errors import (
    BoardSwapped,
    ChipError,
    InternalError,
    LedgerError,
    LinkError,
    ParburnError,
    PortGone,
    ReadOtherwise,
)
from parburn.events import DeviceReport, Event, Identified, Result, StepChanged
from parburn.hardware.identify import Device
from parburn.job import Before
from parburn.ledger.base import HARMLESS_CAUSES, Begun, Cause, Claim, UnitIdentity
from parburn.run.board_progress import BoardProgress
from parburn.run.leave import cause_of, telling_cause
from parburn.run.shared import SharedRun
from parburn.station.presence import Seated, SitsThere
from parburn.station.seats import MAC_REGISTERS, SILENCES
from parburn.station.shared import ONCE, StationRun

LOOK_S: Final = 0.5  # between two looks at a board that waits behind a tty that stays


class Ended(NamedTuple):
    """How an insertion ended. `seated` is the chip that was identified in it; it is left at removal."""

    report: DeviceReport
    error: ParburnError | None
    seated: Seated | None
    device: Device | None
    unread: tuple[str, ...]  # ends of the link that were burned
    goes_on: bool  # it was begun, is not whole, and may go on by itself
    identity: UnitIdentity | None  # of the chip
    tty_lost: bool
    left: bool = False  # it was seen to leave while its tty stayed
    away: UnitIdentity | None = None  # a chip that was begun here, and is not here any more
    begun: bool = False  # it was begun before it came, is not whole, and nothing was burned now


class Watcher:
    """Is told what an insertion does. The socket shows it; nothing here can change what is done."""

    def identified(self, found: Identified) -> None:
        """Take that its chip answered and is known."""

    def holds(self, why: str) -> None:
        """Take that it must wait before it begins, and why."""

    def begins(self, index: int | None) -> None:
        """Take that it has its index, and its script begins."""

    def step(self, text: str) -> None:
        """Take what it does now."""


class Insertion:
    """One board in one socket."""

    def __init__(
        self,
        around: StationRun,
        slot: str,
        port: str,
        watcher: Watcher,
        *,
        expected: UnitIdentity | None,
        reset_of: UnitIdentity | None,
        before: Before | None,
        tty_stays: bool,
        sits_there: SitsThere,
    ) -> None:
        """Make it; `live` does all.

        Args:
            around: What the station shares.
            slot: The socket's name.
            port: The tty to be opened.
            watcher: Is told what happens.
            expected: The chip that left this socket in mid burn and was not finished: another one waits.
            before: How its loader is reached in this socket; None: as the job says.
            reset_of: The chip that we reset here a moment ago: if it is that one, it is not reset again.
            tty_stays: It does not go with the board, so whoever waits is looked at.
            sits_there: Tells whether the board is in its socket for sure.
        """
        self._around = around
        self._slot, self._port = slot, port
        self._watcher = watcher
        self.seated: Seated | None = None  # the chip, once it is known; whoever made this ends its stay
        self._claim: Claim | None = None
        self._went_on = 0  # by itself, in the life of this unit
        self._begun = False  # this unit, before it came
        self._expected, self._reset_of = expected, reset_of
        self._tty_stays, self._has_left = tty_stays, False
        self._sits_there = sits_there
        self._run = SharedRun(
            around.checked_for(port, before),
            emit=self._emit,
            ledger=around.ledger,
            stop=around.stop,
            around=around.around_of(self.refusal),
        )
        self._run.slots[port] = slot

    def refusal(self) -> ParburnError | None:
        """Return why nothing may be burned that was not begun: another chip with this identity came."""
        board = self._run.boards.get(self._port)
        if self.seated is None or (board is not None and board.attempted):
            return None
        return self.seated.refusal

    def gone(self, error: ParburnError) -> None:
        """Learn that the tty is gone, before any read of it fails."""
        board = self._run.boards.get(self._port)
        if self.seated is not None:
            self.seated.node_is_gone = True
        if board is not None:
            board.watch.lose(error)

    async def live(self) -> Ended:
        """Live it from the opened port to the written end. Raises nothing but cancellation from outside."""
        try:
            async with create_task_group() as tasks:
                tasks.start_soon(self._admit)
                report = await burn_device(self._run, self._port, self._slot)
                tasks.cancel_scope.cancel()
        finally:
            self._around.desk.waits_not_for(self._slot)
            self._around.gate.ended(self._slot, passed=self._has_passed())
        board = self._board
        if self._claim is not None and board.claim is not self._claim:  # it was lost in this moment
            with CancelScope(shield=True):
                await self._around.desk.give_back(self._claim)
        if board.claim is not None and board.claim_is_open:
            self._around.desk.not_ended(board.claim, cause_of(board.error))
        self._run.tell_ledger_notes()
        if self.seated is not None and board.watch.error is not None:
            self.seated.node_is_gone = True
        if self.seated is not None and board.rom is not None:
            self.seated.heard_at = board.rom.heard_at
        harmless = cause_of(board.error) in HARMLESS_CAUSES and self._went_on < ONCE
        goes_on = report.result is Result.INCOMPLETE and harmless
        identity = self.seated.identity if self.seated is not None else None
        lost = board.watch.error is not None or isinstance(board.error, PortGone)
        telling = telling_cause(board.error)
        left = self._has_left or (
            isinstance(telling, BoardSwapped) and not isinstance(telling, ReadOtherwise)
        )
        begun = self._begun and not board.attempted and not report.result.passed
        return Ended(
            report,
            board.error,
            self.seated,
            board.device,
            board.unread,
            goes_on,
            identity,
            lost,
            left,
            begun=begun,
        )

    @property
    def _board(self) -> BoardProgress:
        return self._run.boards[self._port]

    def _has_passed(self) -> bool:
        board = self._run.boards.get(self._port)
        return board is not None and board.result is Result.PASS

    async def _admit(self) -> None:
        """Decide at the barriers of this run, which has one board."""
        run, port = self._run, self._port
        brought = await run.claims.complete()
        device = brought.get(port)
        outcome: Claim | ParburnError | None = None
        if device is not None:
            try:
                outcome = await self._claimed(device)
            except ParburnError as error:
                outcome = error
            except Exception as error:
                outcome = InternalError(error)
            run.identified.add(port)
            run.claims.release({port: outcome})
        await run.plans.complete()
        run.plans.release({port: self.refusal()})

    async def _claimed(self, device: Device) -> Claim:
        """Return the claim with which the board goes on.

        Raises:
            IdentityUnclear: a chip with this identity sits in another socket.
            NeedsResume: it was begun, and an engineer must say that it may go on.
            LedgerError: it gets no index, and why.
        """
        around, slot = self._around, self._slot
        identity = identity_of(device)
        seated = self.seated = await around.presence.enter(identity, slot, sits_there=self._sits_there)
        self._begun = around.came(identity)
        if identity == self._reset_of:
            self._run.job = self._run.job._replace(after="no-reset")
        if self._expected is not None and self._expected != identity:
            self._holds(around.put_back(slot))
            await self._while_there(device, around.until_back(self._expected))
        await self._while_there(device, around.gate.enter(slot, on_hold=self._holds))
        claim = self._claim = await around.desk.claim(slot, identity)
        self._begun = claim.begun is not None
        if (lost := self._board.watch.error) is not None:  # nothing is counted of a board that is away
            raise lost
        if seated.refusal is not None:
            await self._unchanged(claim)
            raise seated.refusal
        if claim.begun is not None:
            await self._goes_on(claim, claim.begun)
        self._watcher.begins(claim.index)
        return claim

    def _holds(self, why: str) -> None:
        self._around.desk.waits_not_for(self._slot)
        self._watcher.holds(why)

    async def _while_there(self, device: Device, waiting: Coroutine[Any, Any, None]) -> None:
        """Wait; where the tty would not tell that the board is taken out, look meanwhile.

        Raises:
            PortGone: it was.
        """
        if not self._tty_stays:
            await waiting
            return
        async with create_task_group() as tasks:

            async def look() -> None:
                await until_gone(device)
                self._has_left = True
                tasks.cancel_scope.cancel()

            tasks.start_soon(look)
            await waiting
            tasks.cancel_scope.cancel()
        if self._has_left:
            raise PortGone(f"{self._slot}: the board was taken out while it waited")

    async def _goes_on(self, claim: Claim, begun: Begun) -> None:
        """Let a unit that was begun go on, or raise why not; its record is then what it was."""
        around, identity = self._around, claim.identity
        if not around.may_go_on(identity, self._slot, begun):
            await self._unchanged(claim)
            raise around.why_not_on(identity, self._slot, begun)
        why = around.taken_up(identity)
        if why:
            await claim.allowed_to_go_on(why)
        self._went_on = await claim.goes_on()

    async def _unchanged(self, claim: Claim) -> None:
        """End a claim of which nothing is used: the unit stays what it was."""
        self._claim = None
        with CancelScope(shield=True):
            try:
                await claim.end()
            except LedgerError:
                self._around.desk.not_ended(claim, Cause.OTHER)

    def _emit(self, event: Event) -> None:
        if isinstance(event, Identified):
            self._watcher.identified(event)
        elif isinstance(event, StepChanged):
            if event.step == "identifying":
                self._around.desk.comes(self._slot)
            self._watcher.step(event.detail or event.step)
        self._around.emit(self._slot, event)


async def until_gone(device: Device) -> None:
    """Return once a chip does not answer any more, or another one does. Nobody else may talk to it."""
    registers, silences = device.identity.registers[:MAC_REGISTERS], 0
    while silences < SILENCES:
        await sleep(LOOK_S)
        with CancelScope(shield=True):  # whoever talks next must not meet half an answer
            try:
                device.identity.same_board(await device.rom.read_regs(registers))
                silences = 0
            except BoardSwapped:
                return
            except (LinkError, ChipError):
                silences += 1


def identity_of(device: Device) -> UnitIdentity:
    """Return who a chip is, as the ledger knows it."""
    return UnitIdentity(
        chip=device.chip.name, mac=device.identity.mac_text, unique_id=device.identity.unique_id.hex()
    )
