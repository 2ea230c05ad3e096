"""What a script may ask of its device, and above all its burns: from what is staged to verified bits.

Coroutines of the event loop, called through the script's bridge (`script.session.DeviceCalls`). Here stands
the order of a burn: plan, meet the other boards and be confirmed, record, wait for a turn to burn, commit.

**Resuming an attempt.** A burn that has bits to burn is an *attempt*: before its first pulse the ledger
keeps the digest of its plan and what the chip held then. A run that broke off leaves its attempts open, in
their order, and the next run goes through the same script once more:

* the script sees the chip as it was before the first open attempt, not as it is: a counter that is burned
  from 0 to 1 would else be burned on to 3;
* its n-th burn must give the plan of the n-th attempt (`_resumed`), digest for digest; another plan is
  refused and changes nothing;
* of that plan only what the chip lacks is burned. What a read protection hides counts as there only where the
  ledger says that it was verified;
* a chip that lacks what was verified, or holds what nobody planned, is another one or is damaged: quarantine;
* attempts that the script does not come to again leave the unit incomplete.

**What ends the connection** is held back by the script's session (`efuse.held_back`) and comes with the last
burn of the scripts, behind all else. So the ledger has it in the last attempt only, and a run that takes the
unit up holds it back again.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from anyio import CancelScope, WouldBlock

from parburn.chips.model import RegisterWrite
from parburn.efuse.held_back import NOTHING_HELD, HeldBack, plan_to_the_end
from parburn.efuse.image import EfuseImage
from parburn.efuse.layout import layout_of
from parburn.efuse.plan import BurnPlan, needed_blocks, remaining
from parburn.efuse.planned_values import described, values_in_block0
from parburn.efuse.staging import StagedBurns
from parburn.efuse.unplanned_pulse import look_for_stray
from parburn.efuse.user_values import NOT_SHOWN, Take, UserValue, Written, values_found, values_of
from parburn.errors import (
    BadValue,
    ChipError,
    EfuseError,
    GarbledAnswer,
    ParburnError,
    PartialBurn,
    PlanError,
    ReadOtherwise,
    ScriptExited,
    ScriptFailed,
    UnitQuarantined,
    UnitRefused,
    UnknownName,
    VerifyFailed,
    causes,
)
from parburn.events import Note, Planned, PlannedBlock, Result, StepChanged
from parburn.hardware.commit import commit
from parburn.hardware.first_contact import read_again
from parburn.hardware.identify import Device
from parburn.hardware.verify import MARK_IT, told_of
from parburn.ledger.base import Attempt, Claim, Inputs, State
from parburn.run.around import PlanToApprove
from parburn.run.board_progress import BoardProgress
from parburn.run.burn_journal import BurnJournal
from parburn.run.burned_values import burned_values
from parburn.run.found_content import carried, foreign, telling_blocks
from parburn.run.masked_events import masked_rows, masked_texts
from parburn.run.resume import (
    image_from_record,
    image_record,
    passed_record,
    recorded_blocks,
    refuse_lacking,
    refuse_other_chip,
    user_record,
)
from parburn.run.shared import PlanOfBoard, SharedRun
from parburn.script.session import ScriptOutcome

AGREEING_READS = 4  # readings of a chip whose attempts are open, until two in a row agree


class BoardCalls:
    """What a script's thread may ask of its device. Coroutines of the event loop; see script.session."""

    def __init__(self, run: SharedRun, board: BoardProgress, device: Device, claim: Claim) -> None:
        self._run, self._board, self._device, self._claim = run, board, device, claim
        self._now = device.image  # what the chip shows
        self._seen = device.image  # what the script sees: the same but while an attempt is resumed
        self._burns = 0
        self._attempts = 0  # those of the burns that have bits to burn: the ledger keeps an attempt for each
        self._written: tuple[Written, ...] = ()  # what the plans so far know of
        self._touched: set[int] = set()  # blocks that were burned, or found burned, and verified
        self._left: dict[int, int] = {}  # what those blocks may show after the burns so far
        self._resumed: Attempt | None = None  # the attempt that this burn resumes, set once a burn
        self._then_passed = ""  # digest of the job, once the last burn is asked for
        self._inputs: Inputs = ()  # what its scripts have read
        self._held = NOTHING_HELD  # what waits for the end of the scripts

    async def still_what_passed(self) -> None:
        """Raise UnitQuarantined where the chip lacks what this unit held when it passed any job.

        Then it is another chip. Replies carry no checksum, so a missing bit is confirmed by a second read.
        """
        record = self._claim.image_passed
        if not record:
            return
        blocks = recorded_blocks(record, self._now.chip, with_earlier=True)
        lacking = blocks - self._now.blocks.keys()
        if lacking:
            self._now = await self._read(lacking)
        key = self._run.ledger.keyed_digest_key()
        try:
            refuse_lacking(record, self._now, key)
        except UnitQuarantined:
            self._now = await self._read(blocks | {0})
            refuse_lacking(record, self._now, key)
        if self._claim.put_out_by:  # what brings a unit back is read twice, too
            self._now = await self._read(blocks | {0})
            refuse_lacking(record, self._now, key)

    async def learn_values(self) -> None:
        """Read and keep what this unit's user blocks hold, where an older ledger did not.

        Raises:
            LinkError: the blocks could not be read.
            LedgerUnusable: they could not be written down.
        """
        claim, run = self._claim, self._run
        if not claim.values_unknown or run.job.dry_run:
            return
        rules = run.value_rules(self._now.chip)
        self._now = await self._read(rules.blocks)
        found = values_found(self._now, rules)
        record = user_record(found, self._now, rules, run.ledger.keyed_digest_key())
        await claim.learned(record, named_values(found))

    async def first_image(self) -> EfuseImage:
        """Return what the script sees first.

        Where attempts are open all blocks are read: the last one broke off. Replies carry no checksum, and a
        difference is a quarantine: two readings must agree before. A chip that was not reset shows what was
        burned only after another read command; a dry run gives it none, nor a script that shows only.

        Raises:
            GarbledAnswer: no two readings agree.
            UnitQuarantined: the chip is not the one whose attempts are open.
        """
        controller, open_attempts = self._device.controller, self._claim.attempts
        every = [block.index for block in self._device.chip.blocks]
        stale = not (self._device.rom.was_reset or self._run.scripts.shows_only)
        if (open_attempts or stale) and not self._run.job.dry_run:
            known = self._now
            blocks = every if open_attempts else known.blocks.keys()
            self._now, _ = await read_again(self._device, lambda: controller.reload(blocks, known, None))
        for _ in range(AGREEING_READS if open_attempts else 0):
            before = self._now
            self._now = await self._read(every)
            if self._now == before:
                return self.image_for_script()
        if open_attempts:
            raise GarbledAnswer(
                "no two readings of the chip's blocks agree",
                hint="The line damages data: use a shorter cable or another hub port, then run again.",
            )
        return self.image_for_script()

    async def read_wrong_at_first(self, error: ParburnError) -> bool:
        """Return whether the scripts may run again: they were shown other bits than the chip shows now.

        It is so only where nothing was burned since: then `error` may come of a damaged reading, and all is
        set for the scripts to run again. Two readings that agree are believed against one. A board that met
        the others has met them; as with each later burn of the scripts, the ledger compares what it asks for
        now.
        """
        burned = self._board.attempted or self._claim.attempts
        if burned or self._run.job.dry_run or not _rests_on_content(error):
            return False
        shown = self._now
        for _ in range(AGREEING_READS):
            before = self._now
            try:
                self._now = await self._read(shown.blocks.keys())
            except ParburnError:
                return False
            if self._now == before:
                break
        if self._now != before or self._now.blocks == shown.blocks:
            self._now = shown
            return False
        self._burns = self._attempts = 0
        self._written, self._touched, self._left = (), set(), {}
        self._held = NOTHING_HELD
        self._then_passed, self._inputs = (
            "",
            (),
        )  # no burn is the last one before the scripts have ended again
        return True

    async def _still_shown(self) -> None:
        """Raise ReadOtherwise where two more readings differ from what the scripts were shown.

        Where nothing is left to burn, no other reading stands between a damaged answer and a PASS.
        """
        if self._run.job.dry_run or self._run.scripts.shows_only or self._board.unread:
            return
        for _ in range(2):  # the second reading may be the damaged one
            if (await self._read(self._now.blocks.keys())).blocks == self._now.blocks:
                return
        raise ReadOtherwise(
            "two readings of this chip's blocks differ, and nothing was burned",
            hint="The line damages data: use a shorter cable or another hub port, then run again.",
        )

    @property
    def _open_attempts(self) -> tuple[Attempt, ...]:
        """The attempts of earlier runs that this script has not come to yet, in their order."""
        return self._claim.attempts[self._attempts :]

    def image_for_script(self) -> EfuseImage:
        """Return what the script sees now: the chip as it is, or as it was before an open attempt.

        A block that only a later attempt had read is shown as it was before that one.

        Raises:
            UnitQuarantined: the chip is not the one whose attempts are open.
        """
        self._seen = self._now
        for attempt in reversed(self._open_attempts):
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

    async def _read(self, indexes: Collection[int]) -> EfuseImage:
        """Return what the chip shows, with these blocks read anew."""
        known, controller = self._now, self._device.controller
        return await read_again(self._device, lambda: controller.read_blocks(indexes, known))

    async def read_blocks(self, indexes: Collection[int]) -> EfuseImage:
        """Read blocks and return what the script sees with those that it did not know.

        Raises:
            ChipError: a burn has ended what the chip answers to.
            LinkError: the line failed.
        """
        self._reachable()
        self._now = await self._read(indexes)
        blocks = {index: self._now.block(index) for index in indexes if index not in self._seen.blocks}
        self._seen = self._seen.with_blocks(blocks, self._now.status, self._now.block0_errors)
        return self._seen

    async def held_back(self, held: HeldBack) -> None:
        """Learn all that waits for the end of the scripts, and tell the operator once a run."""
        self._held = held
        layout = layout_of(self._now.chip)
        names = ", ".join(layout.names(0, held.bits & layout.ends))
        self._run.note_once(
            f"{names}: held back until a board's scripts have ended, since nothing can be burned or verified "
            "once the connection ends; the scripts see it as burned"
        )

    def _held_rows(self) -> tuple[PlannedBlock, ...]:
        """Return what is held back, as the operator confirms it with the first plan."""
        if not self._held:
            return ()
        layout, bits = layout_of(self._now.chip), self._held.bits
        kinds = [kind.value for mask, kind in layout.link_ends if mask & bits]
        label = f"{layout.blocks[0].name} when the scripts have ended"
        fields = layout.names(0, bits)
        shown = values_in_block0(self._now, bits)
        return (PlannedBlock(label, bits.bit_count(), fields, True, ", ".join(kinds), shown),)

    async def read_registers(self, addresses: tuple[int, ...]) -> list[int]:
        """Read any registers of the chip; return their values in the order of the addresses.

        Raises:
            ChipError: a burn has ended what the chip answers to, or the ROM refused.
            LinkError: the line failed.
        """
        self._reachable()
        return await read_again(self._device, lambda: self._device.rom.read_regs(addresses))

    async def write_registers(self, writes: tuple[RegisterWrite, ...]) -> None:
        """Write registers that are not the eFuse controller's.

        Raises:
            ChipError: a burn has ended what the chip answers to, or the ROM refused.
            LinkError: the line failed.
        """
        self._reachable()
        await self._device.rom.write_regs(writes)

    async def last_burn(self, outcome: ScriptOutcome) -> None:
        """Burn what the scripts left staged; then the unit has passed, and the ledger says so.

        Raises:
            PartialBurn: earlier attempts are open that the scripts did not come to.
            ParburnError: what `burn` raises.
        """
        self._then_passed, self._inputs = self._run.job_digest(self._claim.index), outcome.inputs
        to_burn = outcome.staged or outcome.held
        if to_burn or (outcome.written != self._written and await self._found_there(outcome)):
            self._held = outcome.held
            await self.burn(outcome.staged, outcome.image, outcome.written)
        else:
            if self._run.around is not None:
                await self._nothing_asked_approved(outcome)
            if not self._burns and self._run.scripts.may_burn:
                await self._still_shown()
            self._run.plans.withdraw(self._board.port)
        if self._board.result is None:
            await self._passed()

    async def _nothing_asked_approved(self, outcome: ScriptOutcome) -> None:
        """Have the station judge that the scripts end with nothing more to burn."""
        lacking = self._blocks_to_judge() - outcome.image.blocks.keys()
        image = await self.read_blocks(lacking) if lacking else outcome.image
        self._approved(BurnPlan(image.chip), image, self._burns + 1)

    async def _passed(self) -> None:
        left = len(self._open_attempts)
        if left and not self._run.scripts.shows_only:
            raise PartialBurn(
                f"this unit was begun with {left} more burns than the script asks for now",
                remaining=left,
                hint="Run the very script and files of the first attempt.",
            )
        if not self._run.job.dry_run:
            key = self._run.ledger.keyed_digest_key()
            before = self._claim.image_passed
            held = passed_record(self._now, key, self._touched, before) if self._touched else ""
            if self._burns or self._run.scripts.shows_only:
                await self._claim.passed(self._then_passed, held, inputs=self._inputs)
            else:
                await self._passed_unasked(key)
        would_burn = self._run.job.dry_run and not self._run.scripts.shows_only
        burns = self._attempts if would_burn else self._board.attempted
        nothing_new = self._board.passed_before and not burns
        if nothing_new:
            self._run.note(self._board.port, "it passed by an earlier version of the script; nothing is left")
        passed = Result.WOULD_BURN if would_burn else Result.PASS
        self._board.result = Result.ALREADY_PASS if nothing_new else passed

    async def told_who(self, error: ParburnError) -> ParburnError:
        """Return `error`, or a refusal that says who the chip is.

        It says so where what the chip holds is in the way, and nothing was ever attempted on it in this
        ledger.
        """
        reason = error if isinstance(error, EfuseError) else error.__cause__
        shows_only = self._run.scripts.shows_only
        known = shows_only or self._board.attempted or not self._claim.unheard_of
        if known or not isinstance(reason, EfuseError) or isinstance(reason, (BadValue, UnknownName)):
            return error
        unread = telling_blocks(self._device.chip) - self._now.blocks.keys()
        self._now = await self._read(unread) if unread else self._now
        words = carried(self._now)
        if not words:
            return error
        refused = UnitRefused(
            foreign(words, str(reason)),
            hint="Burn it with the ledger that knows it, or take that one over: parburn ledger import-used "
            "FILE. If nobody knows it, put it aside.",
        )
        refused.__cause__ = error
        return refused

    async def _found_there(self, outcome: ScriptOutcome) -> bool:
        """Return whether values that scripts asked for, and that are this chip's only, are in it already."""
        if self._board.unread:
            return False
        lacking = {one.place.block for one in outcome.written} - outcome.image.blocks.keys()
        image = await self.read_blocks(lacking) if lacking else outcome.image
        rules = self._run.value_rules(image.chip)
        return any(value.take is not Take.SAME for value in values_of(image, outcome.written, rules))

    async def _passed_unasked(self, key: bytes) -> None:
        """Bind what the user blocks hold to this chip, with or without an index: nothing was burned.

        Blocks that are not known are read for it.
        """
        board = self._board
        rules = self._run.value_rules(self._now.chip)
        lacking = rules.blocks - self._now.blocks.keys()
        if lacking:
            await self.read_blocks(lacking)
        found = values_found(self._now, rules)
        named = named_values(found)
        board.unique.update(named)
        board.values.update(named)
        record = user_record(found, self._now, rules, key)
        await self._claim.passed(self._then_passed, found=record, found_values=named)
        if self._claim.state is State.IDENTIFIED:
            board.nothing_asked, board.index = True, None
            stands = ", ".join(f"{name} {value}" for name, value in named.items())
            kept = f"; what it holds is bound to it in the ledger: {stands}" if stands else ""
            self._run.note(board.port, f"nothing asked, no index{kept}")

    async def burn(self, staged: StagedBurns, image: EfuseImage, written: tuple[Written, ...]) -> EfuseImage:
        """Plan, meet the others, be confirmed, record, burn and verify; return what the chip shows then.

        The last burn of the scripts has what was held back, too.

        Args:
            staged: What the script asked for.
            image: What the script saw.
            written: The places that the scripts have asked for so far; they may tell this chip from others.

        Raises:
            PlanError: the hardware's rules forbid it; nothing was burned.
            NotConfirmed: the operator said no; nothing was burned.
            UnitRefused: an attempt is open with another plan, or a record belongs to another chip.
            UniqueValueTaken: another chip has one of the values, or plans it.
            UnitQuarantined: the chip is not what the ledger recorded.
            BurnError: the burn was attempted and did not end well.
            Interrupted: the operator stopped the run before this burn.
            ChipError, LinkError, LedgerUnusable: as everywhere; the report tells what was burned.
        """
        run, board = self._run, self._board
        needed = needed_blocks(staged) | self._blocks_to_judge() | {one.place.block for one in written}
        lacking = needed - image.blocks.keys()
        if lacking:
            image = await self.read_blocks(lacking)
        plan = plan_to_the_end(image, staged, self._held if self._then_passed else NOTHING_HELD)
        if not plan:
            await self._still_shown()
        self._burns += 1
        rules = run.value_rules(image.chip)
        held = image.with_blocks({n: image.block(n) | bits for n, bits in staged.blocks().items()})
        values = values_of(held, written, rules)
        blocks = masked_rows(described(plan, image, values), run.keys)
        run.emit(Planned(board.port, blocks, self._burns))
        for reason in plan.forced if plan else ():
            run.emit(Note(board.port, f"FORCED: {reason}. It is burned all the same, for ever.", "warning"))
        digest = plan.keyed_digest(run.ledger.keyed_digest_key())
        self._resumed = None
        if plan:
            self._resumed = next(iter(self._open_attempts), None)
            self._attempts += 1
            self._same_as_attempted(digest)
        board.planned = True
        shown = masked_texts(burned_values(blocks, values), run.keys)
        self._approved(plan, image, self._burns)
        self._written = written
        named = named_values(values)
        board.unique.update(named)
        board.planned_values = shown
        await self._met_and_confirmed(blocks, values, rules.layout, rules.held(held))
        record = user_record(values, held, rules, run.ledger.keyed_digest_key())
        await self._claim.planned(digest, named, record, shown=board.planned_values)
        if run.job.dry_run:
            board.values |= board.planned_values
            board.total += len(plan.steps)
            return plan.apply(image)
        if plan:
            await self._committed(plan, image, digest)
        else:
            board.values |= board.planned_values
        return self.image_for_script()

    def _blocks_to_judge(self) -> frozenset[int]:
        """Return the blocks that a station must know of a chip to judge its plans; none in another run."""
        around = self._run.around
        return frozenset() if around is None else around.approval.blocks(self._now.chip)

    def _approved(self, plan: BurnPlan, image: EfuseImage, burn: int) -> None:
        """Have the station judge a plan, also one of nothing; a run asks its operator instead.

        Raises:
            NotAsArmed: it is not what the station was armed for.
        """
        around, record = self._run.around, self._claim.image_passed
        if around is not None:
            recorded = recorded_blocks(record, image.chip) if record else frozenset()
            verified = recorded | self._touched
            last = bool(self._then_passed)
            asked = PlanToApprove(self._board.port, image.chip, burn, plan, image, verified, last)
            around.approval.approve(asked)

    def _same_as_attempted(self, digest: str) -> None:
        """Raise UnitRefused unless a burn that was begun goes on with the very same plan."""
        begun = self._resumed
        if begun is not None and begun.plan_digest != digest:
            # Not a quarantine: that is for what the chip shows, and this is what a script says.
            day = begun.begun[:16].replace("T", " ")
            raise UnitRefused(
                f"burn {self._burns} of this unit was begun with another plan than the script makes now; "
                "nothing of it was changed",
                hint=f"Run the script and files of {day or 'the first attempt'}, in the same folder: it "
                "goes on with its index. A script that makes random keys must save them and use them "
                "again.",
            )

    async def _met_and_confirmed(
        self,
        blocks: tuple[PlannedBlock, ...],
        values: tuple[UserValue, ...],
        layout: str,
        held: Mapping[int, int],
    ) -> None:
        run, board, device = self._run, self._board, self._device
        if self._burns == 1:
            run.emit(StepChanged(board.port, "confirming"))
            brought = PlanOfBoard(
                port=board.port,
                slot=board.slot,
                chip=device.chip.title,
                mac=device.identity.mac_text,
                index=self._claim.index,
                blocks=blocks + (() if self._then_passed else self._held_rows()),
                unique_values=dict(board.unique),
                begun=self._resumed is not None,
                values=values,
                layout=layout,
                held=held,
            )
            await run.plans.arrive(board.port, brought)

    async def _committed(self, plan: BurnPlan, image: EfuseImage, digest: str) -> None:
        """Burn what the chip lacks of the plan. The rest of the run may be cancelled, this may not."""
        run, board = self._run, self._board
        self._reachable()
        pending = self._pending(plan, image)
        touched = {0, *(write.block.index for step in plan.steps for write in step.writes)}
        self._touched |= touched
        after = plan.apply(image)
        self._left.update((index, after.block(index) | plan.want(index)) for index in touched)
        before = image_record(image, run.ledger.keyed_digest_key(), touched)
        attempt = Attempt(digest, before, tuple(step.label for step in plan.steps))
        journal = BurnJournal(run, board, self._claim, plan, pending, attempt)
        if not pending:
            await journal.attempted()
            return
        run.emit(StepChanged(board.port, "waiting", "for its turn to burn"))
        turn = run.turn_to_burn()
        try:
            turn.acquire_nowait()
        except WouldBlock:
            with board.watch.there():
                await turn.acquire()
        try:
            run.stop.check(begun=board.attempted)
            run.emit(StepChanged(board.port, "burning"))
            with CancelScope() as scope:  # shielded from the first program command until the record is made
                hooks = journal.hooks(self._device.identity)
                result = await commit(pending, self._device.controller, self._now, hooks)
                scope.shield = True
                self._now, board.unread = result.image, result.unread
                if self._then_passed:
                    await self._passed()
        finally:
            turn.release()

    def _pending(self, plan: BurnPlan, image: EfuseImage) -> BurnPlan:
        """Return what the chip lacks of the plan. A resumed burn must find its own chip, and no stray bit.

        Raises:
            UnitQuarantined: it is another chip, or what was begun cannot be finished.
            VerifyFailed: a pulse that nobody planned hit the chip.
            PlanError: a burn that is begun now is forbidden.
        """
        begun = self._resumed
        if begun is None:
            return remaining(plan, self._now)
        done = [step for step in plan.steps if step.label not in begun.remaining]
        last = not self._open_attempts
        refuse_other_chip(plan, image, self._now, verified={step.label for step in done}, last=last)
        if last:
            self._refuse_stray(plan, image, begun)
        verified = frozenset(write.block.index for step in done for write in step.writes)
        try:
            return remaining(plan, self._now, verified=verified)
        except PlanError as error:
            raise UnitQuarantined(f"what was begun cannot be finished: {error}", hint=error.hint) from error

    def _refuse_stray(self, plan: BurnPlan, image: EfuseImage, begun: Attempt) -> None:
        """Raise VerifyFailed where the attempt at `plan`, which broke off, left a pulse that nobody planned.

        What a block held before is known from the ledger and from this script's burns before that one;
        `image` is the chip as the script sees it.
        """
        held: dict[int, int] = {}
        if self._claim.image_passed:
            key = self._run.ledger.keyed_digest_key()
            passed = image_from_record(self._claim.image_passed, self._now, key)
            held = {i: passed.block(i) for i in recorded_blocks(self._claim.image_passed, image.chip)}
        held |= self._left
        held |= {i: image.block(i) for i in recorded_blocks(begun.image_before, image.chip)}
        before = self._now._replace(blocks=held)
        found = look_for_stray(plan, plan, before, self._now, sure=held)
        if found.stray:
            raise VerifyFailed(
                f"since this unit was begun a pulse that nobody planned hit it: {found.stray}", hint=MARK_IT
            )
        if found.told:
            self._run.note(self._board.port, told_of(found.told))


def named_values(values: Collection[UserValue]) -> dict[str, str]:
    """Return by field name the values that no other chip may have, of whatever kind it is."""
    return {
        value.name: value.shown
        for value in values
        if value.of_table and value.take is not Take.SAME and value.shown != NOT_SHOWN
    }


def _rests_on_content(error: BaseException) -> bool:
    """Return whether an error, or its cause, may come of what the chip holds."""
    kinds = (EfuseError, ReadOtherwise, ScriptExited, ScriptFailed)
    return any(isinstance(cause, kinds) for cause in causes(error))
