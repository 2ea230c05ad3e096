"""What the insertions of a station share: ledger, armed job, stop, who sits where. Opens no port."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from anyio import CapacityLimiter, Event

from parburn.chips.model import Chip
from parburn.errors import BegunElsewhere, LedgerError, NeedsResume, NotAsArmed, ParburnError
from parburn.events import Event as RunEvent
from parburn.job import Before
from parburn.ledger.base import HARMLESS_CAUSES, Begun, Claim, Ledger, State, UnitIdentity
from parburn.run.around import Around, PlanToApprove
from parburn.run.checked_job import CheckedJob
from parburn.run.shared import options_for
from parburn.run.stop import StopRequest
from parburn.script.key_mask import KeptForms, KeyMask
from parburn.station.armed import Arming
from parburn.station.claim_desk import ClaimDesk
from parburn.station.gate import Gate
from parburn.station.kept_ports import KeptPorts
from parburn.station.presence import Presence

ONCE = 1  # in the life of a unit, it goes on by itself


Tells = Callable[[str, RunEvent], None]  # gets what runs of one board emit, with their slot


class StationRun:
    """Made once the ledger is open; handed to every insertion."""

    def __init__(
        self,
        checked: CheckedJob,
        ledger: Ledger,
        arming: Arming,
        *,
        stop: StopRequest,
        emit: Tells,
        gate: Gate,
        rework: bool,
        open_s: float,
        put_it_back: str,
    ) -> None:
        """Take what was checked and armed.

        Args:
            checked: The job; its ports count for nothing.
            ledger: Open, for as long as the station runs.
            arming: What may be burned.
            stop: The wish to end.
            emit: Gets what all insertions tell.
            gate: Who may begin.
            rework: A unit that passed under another arming goes through this one.
            open_s: Seconds that an adapter has to be opened.
            put_it_back: The sentence for a board that left in mid burn, in the operator's language.
        """
        self.job = checked.job
        self.ledger = ledger
        self.arming = arming
        self.stop = stop
        self.emit = emit
        self.gate = gate
        self._put_it_back = put_it_back
        self._rework = rework
        self.presence = Presence()
        self.ports = KeptPorts(open_s=open_s)
        self.desk = ClaimDesk(self._claim_all)
        self._checked = checked._replace(config=checked.config.read_as(ledger.forms))
        self._options = options_for(self._checked, self._checked.config, ledger)._replace(inputs_end=True)
        self._burning = CapacityLimiter(checked.job.max_burning or 10_000)
        self._key_forms = KeptForms()
        self._digest = checked.digest
        self._missing: dict[UnitIdentity, Event] = {}  # left in mid burn, and not back yet
        self._said_before: dict[str, str] = {}  # by slot: what was said while no station ran
        self._resumed: dict[UnitIdentity, str] = {}  # may go on once more, and why

    def checked_for(self, port: str, before: Before | None = None) -> CheckedJob:
        """Return the job for one board: it shares no key with another one.

        Args:
            port: Its tty.
            before: How its loader is reached in this socket; None: as the job says.
        """
        keys = KeyMask(shows_keys=self.job.show_sensitive_info, kept=self._key_forms)
        job = self.job._replace(ports=(port,), before=before or self.job.before)
        return self._checked._replace(job=job, keys=keys)

    def around_of(self, refusal: Callable[[], ParburnError | None]) -> Around:
        """Return what a run of one board gets; `refusal` says why nothing more of it may be begun."""
        approval = _Approval(self.arming, self.ledger.keyed_digest_key(), refusal, rework=self._rework)
        return Around(self._options, self._burning, self.ports, approval)

    async def _claim_all(self, identities: Sequence[UnitIdentity]) -> Sequence[Claim | LedgerError]:
        job = self.job
        return await self.ledger.claim_all(
            identities, first=job.index_first, last=job.index_last, job_digest=self._digest
        )

    # Boards that were begun -----------------------------------------------------------------------------

    def may_go_on(self, identity: UnitIdentity, slot: str, begun: Begun) -> bool:
        """Tell whether a unit that was begun may go on: by itself, or on an engineer's word."""
        if slot in self._said_before:
            self._resumed.setdefault(identity, self._said_before.pop(slot))
        same_arming = begun.arming == self.arming.digest
        by_itself = begun.went_on < ONCE and begun.cause in HARMLESS_CAUSES
        return same_arming and (by_itself or identity in self._resumed)

    def why_not_on(self, identity: UnitIdentity, slot: str, begun: Begun) -> ParburnError:
        """Return why it may not, and what to do."""
        if begun.arming != self.arming.digest:
            day = f" on {begun.armed_on[:16].replace('T', ' ')}" if begun.armed_on else ""
            how = f"under the job armed{day}" if begun.arming else "by a run that was no station's"
            what = "arm that one to finish it" if begun.arming else "finish it with that run's command"
            return BegunElsewhere(
                f"{identity} was begun {how}; nothing of it was changed",
                hint=f"An engineer: {what}.",
            )
        why = "went on by itself once before" if begun.went_on else "it was not the line that broke it off"
        return NeedsResume(
            f"{identity} was begun, is not whole, and {why}",
            hint=f"An engineer looks at it, then: parburn station resume {slot} --why REASON.",
        )

    def allow(self, identity: UnitIdentity, why: str) -> None:
        """Let a unit that was begun go on once more, on an engineer's word."""
        self._resumed[identity] = why

    def allow_next(self, slot: str, why: str) -> None:
        """Let the begun unit go on once more that is found in a socket next."""
        self._said_before[slot] = why

    def taken_up(self, identity: UnitIdentity) -> str:
        """Return an engineer's word that is now used, or empty."""
        return self._resumed.pop(identity, "")

    # Boards that left in mid burn -----------------------------------------------------------------------

    def put_back(self, slot: str) -> str:
        """Return what is said of a board that left its socket in mid burn."""
        return f"{slot}: {self._put_it_back}"

    def left(self, identity: UnitIdentity) -> None:
        """Remember a board that was taken out before its verdict; it waits to be put back anywhere."""
        self._missing.setdefault(identity, Event())

    def is_missing(self, identity: UnitIdentity) -> bool:
        """Tell whether a board that left in mid burn is not back yet."""
        return identity in self._missing

    def came(self, identity: UnitIdentity) -> bool:
        """Note that a chip was identified: if it was missing, it is back. Return whether it was missing."""
        event = self._missing.pop(identity, None)
        if event is not None:
            event.set()
        return event is not None

    async def until_back(self, identity: UnitIdentity) -> None:
        """Wait until a board that left in mid burn is back, in whatever socket, or is given up."""
        event = self._missing.get(identity)
        if event is not None:
            await event.wait()


class _Approval:
    """Lets a plan pass that fits what was armed."""

    def __init__(
        self, arming: Arming, key: bytes, refusal: Callable[[], ParburnError | None], *, rework: bool
    ) -> None:
        self._arming = arming.digest
        self._rework = rework
        self._template = arming.template
        self._key = key
        self._refusal = refusal
        self._variants: frozenset[int] | None = None  # that the board's burns so far have left

    def blocks(self, chip: Chip) -> frozenset[int]:
        """See `run.around.Approval`."""
        return self._template.blocks(chip.name)

    def counts_as_passed(self, claim: Claim) -> bool:
        """See `run.around.Approval`."""
        other = self._arming not in claim.passed_under
        return claim.state is State.PASS and other and not self._rework and not claim.attempts

    def begins(self) -> None:
        """See `run.around.Approval`."""
        if (refused := self._refusal()) is not None:
            raise refused

    def approve(self, asked: PlanToApprove) -> None:
        """See `run.around.Approval`."""
        self.begins()
        self._variants, why = self._template.fitting(
            asked.chip,
            asked.burn,
            asked.plan,
            asked.image,
            digest_key=self._key,
            verified_blocks=asked.verified,
            last=asked.last,
            among=self._variants if asked.burn > 1 else None,
        )
        if why:
            raise NotAsArmed(
                f"this board's burn is not the one that was armed: {why}",
                hint="The station is halted. An engineer looks at the script and its files, and arms anew.",
            )
