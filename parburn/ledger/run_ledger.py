"""The ledger as one run has it: opens it, hands out claims, ends the run.

The rules are in its neighbours: `allocate`, `batches`, `units`; the thread is in `writer`, the database in a
`store`.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from anyio import CancelScope, to_thread

from parburn.errors import LedgerError, LedgerUnusable
from parburn.events import NO_VALUES
from parburn.ledger import (
    allocate,
    begun,
    schema,
    station_counts,
    station_entries,
    unit_ends,
    units,
    values,
)
from parburn.ledger.base import (
    NO_NOTE,
    NO_USER_BITS,
    Attempt,
    BatchSpec,
    Begun,
    Cause,
    Claim,
    Inputs,
    RunNote,
    State,
    UnitIdentity,
    UserBits,
)
from parburn.ledger.batches import Batch, Override, find_batch
from parburn.ledger.file_location import (
    FILE_NAME,
    ledger_place,
    place_of,
)
from parburn.ledger.liveness import Process
from parburn.ledger.sqlite_store import SqliteStore
from parburn.ledger.store import Store
from parburn.ledger.writer import Transaction, Writer
from parburn.ledger_place import Place, PoolAddress
from parburn.scratch import Scratch

if TYPE_CHECKING:
    from parburn.ledger import learning, rebuilding

_NOTED_AT_MOST = 256
MIGRATION_S = 900.0  # a ledger of millions of units is brought to this version once
CLAIM_ENDED = "its board left the line, or its work ended"


async def open_ledger(
    path: Place | None,
    batch: BatchSpec,
    *,
    throw_away: bool = False,
    dry_run: bool = False,
    new_ledger: bool = False,
    overrides: Collection[Override | str] = frozenset(),
    note: RunNote = NO_NOTE,
) -> RunLedger:
    """Open the ledger at `path` for one run.

    Args:
        path: The ledger's file; None for the user's own.
        batch: Which batch the run is of.
        throw_away: Make one in a folder of its own that is deleted at the end: for simulated boards.
        dry_run: Work on a copy of it that is deleted at the end; the ledger itself is only read.
        new_ledger: Make one where none is. Nothing else makes one for real boards.
        overrides: Refusals that the operator takes upon himself, also by their words on the command line.
        note: What the history is to say of the run.

    Raises:
        LedgerUnusable: missing, older, foreign, damaged, too new, or not writable.
        BatchRefused: the config files do not fit the batch, or belong to another one.
        RecordsUndeclared: the scripts use the index, and nobody has said how records lie in a file.
        ValueError: a text among `overrides` is none of their words.
    """
    if isinstance(path, PoolAddress) and not (throw_away or dry_run):
        return await _open_pool(path, batch, frozenset(map(Override, overrides)), note)
    folder = await to_thread.run_sync(Scratch, "ledger-") if throw_away or dry_run else None
    place = folder.path / FILE_NAME if folder is not None else await to_thread.run_sync(place_of, path)
    copy_of = await to_thread.run_sync(ledger_place, path) if dry_run and not throw_away else None
    seen = place if copy_of is None else copy_of
    older = isinstance(seen, Path) and await to_thread.run_sync(schema.is_older, seen)
    store = SqliteStore(place, folder, new_ledger=new_ledger, copy_of=copy_of)
    ledger = RunLedger(store, is_dry=dry_run)
    try:
        await ledger._begin(batch, frozenset(map(Override, overrides)), note, older=older)
    except BaseException:
        await ledger._abandon()
        raise
    return ledger


async def _open_pool(
    address: PoolAddress, batch: BatchSpec, overrides: frozenset[Override], note: RunNote
) -> RunLedger:
    from parburn.ledger.pool.store import PoolStore  # here: psycopg is an extra

    ledger = RunLedger(PoolStore(address), is_dry=False)
    try:
        await ledger._begin(batch, overrides, note, older=False)
    except BaseException:
        await ledger._abandon()
        raise
    return ledger


class UnitClaim:
    """One unit held by this run; see `base.Claim` for what its methods promise."""

    __slots__ = (
        "_attempt", "_held", "_inputs", "_ledger", "_life", "_writer", "attempts", "begun", "image_passed",
        "known", "passed_jobs", "passed_under", "put_out_by", "state", "state_before", "unheard_of",
        "values_unknown",
    )  # fmt: skip

    def __init__(self, ledger: RunLedger, writer: Writer, granted: allocate.Granted) -> None:
        self._ledger = ledger
        self._writer = writer
        self._held = granted.held
        self._attempt: int | None = None
        self.known = granted.known
        self.state = self.state_before = granted.state
        self._life = granted.life
        self.passed_jobs = granted.passed_jobs
        self.attempts = granted.attempts
        self.image_passed = granted.image_passed
        self._inputs = granted.inputs
        self.unheard_of = granted.unheard_of
        self.values_unknown = granted.values_unknown
        self.put_out_by = granted.put_out_by
        self.passed_under = granted.passed_under
        self.begun = _begun(granted, ledger.arming)

    @property
    def identity(self) -> UnitIdentity:
        """See `Claim.identity`."""
        return self._held.identity

    @property
    def index(self) -> int:
        """See `Claim.index`."""
        return self._held.index

    @property
    def attempt(self) -> Attempt | None:
        """See `Claim.attempt`."""
        return self.attempts[0] if self.attempts else None

    @property
    def since(self) -> str:
        """See `Claim.since`."""
        return self._life.since

    @property
    def unique_values(self) -> Mapping[str, str]:
        """See `Claim.unique_values`."""
        return self._life.unique_values

    @property
    def burned_values(self) -> Mapping[str, str]:
        """See `Claim.burned_values`."""
        return self._life.values

    async def planned(
        self,
        plan_digest: str,
        unique_values: Mapping[str, str],
        held: UserBits = NO_USER_BITS,
        *,
        shown: Mapping[str, str] = NO_VALUES,
    ) -> None:
        """Write down a plan; see `Claim.planned`."""
        unit = self._held
        self.state, refused, aside = await self._writer.call(
            lambda t: units.planned(t, unit, plan_digest, unique_values, held, shown)
        )
        if aside and not self._ledger.is_dry:
            self._ledger.add_note(
                f"Index {self.index} is set aside from now on: {aside}. "
                "It comes back when the script or the record changes."
            )
        if refused is not None:
            raise refused

    async def burn_attempted(self, attempt: Attempt) -> None:
        """Spend the index for ever; see `Claim.burn_attempted`."""
        work = partial(units.burn_attempted, unit=self._held, attempt=attempt, arming=self._ledger.arming)
        self.state, self._attempt = await self._writer.call(work)

    def step_done(self, label: str, state: State) -> asyncio.Future[State]:
        """Write down how far a step came; see `Claim.step_done`. The future gives the unit's state."""
        held, attempt = self._held, self._attempt
        if attempt is None:
            raise LedgerError("A step was done without an attempt.")
        written = self._writer.call(lambda t: units.step_done(t, held, attempt, label, state), alone=True)
        written.add_done_callback(self._moved)
        return written

    def _moved(self, written: asyncio.Future[State]) -> None:
        if not written.cancelled() and written.exception() is None:
            self.state = written.result()

    def passed_inputs(self, job_digest: str) -> Inputs:
        """Return what a passed job had read; see `Claim.passed_inputs`."""
        return self._inputs.get(job_digest, ())

    async def passed(
        self,
        job_digest: str,
        image: str = "",
        *,
        inputs: Inputs = (),
        found: UserBits = NO_USER_BITS,
        found_values: Mapping[str, str] = NO_VALUES,
    ) -> None:
        """Write down a pass; see `Claim.passed`."""
        work = partial(
            units.passed,
            unit=self._held,
            job_digest=job_digest,
            image=image,
            inputs=inputs,
            found=found,
            found_values=found_values,
            arming=self._ledger.arming,
        )
        self.state = await self._writer.call(work)

    async def recognized(self) -> None:
        """See `Claim.recognized`."""
        held = self._held
        self.state = await self._writer.call(lambda t: units.recognized(t, held))
        self.put_out_by = ""

    async def learned(self, found: UserBits, found_values: Mapping[str, str]) -> None:
        """Bind what was read from the chip; see `Claim.learned`."""
        from parburn.ledger import learning  # here: only a ledger that an older parburn began needs it

        held = self._held

        def work(transaction: Transaction) -> None:
            units.current(transaction, held)
            learning.learn(transaction, held.holder, found_values, found, how="read from the chip")

        await self._writer.call(work)
        self.values_unknown = False

    async def already_passed(self) -> None:
        """Write down that it had passed before; see `Claim.already_passed`."""
        held = self._held
        self.state = await self._writer.call(lambda t: units.already_passed(t, held))

    async def failed_clean(self, reason: str, *, release: bool, script_failed: bool = False) -> None:
        """Write down that nothing was attempted; see `Claim.failed_clean`."""
        work = partial(
            units.failed_clean, unit=self._held, reason=reason, release=release, script_failed=script_failed
        )
        self.state, set_aside = await self._writer.call(work)
        if set_aside:
            self._ledger.add_note(
                f"Index {self.index} is set aside from now on: the script failed with its record on "
                f"{units.FAILURES_THAT_SET_ASIDE} chips. It comes back when the script or the record changes."
            )

    async def incomplete(self, reason: str, *, cause: str = "") -> None:
        """Write down that the unit is not whole; see `Claim.incomplete`."""
        await self._ended_badly(State.INCOMPLETE, reason, cause and Cause(cause).value)

    async def quarantined(self, reason: str) -> None:
        """Write down a quarantine; see `Claim.quarantined`."""
        await self._ended_badly(State.QUARANTINED, reason)

    async def _ended_badly(self, state: State, reason: str, cause: str = "") -> None:
        held = self._held
        self.state = await self._writer.call(lambda t: units.ended_badly(t, held, state, reason, cause))

    async def goes_on(self) -> int:
        """Count that the unit goes on by itself; see `Claim.goes_on`."""
        held = self._held
        return await self._writer.call(lambda t: begun.goes_on(t, held))

    async def allowed_to_go_on(self, why: str) -> None:
        """Let the unit go on by itself once more; see `Claim.allowed_to_go_on`."""
        held = self._held
        await self._writer.call(lambda t: begun.allow_to_go_on(t, held, why))

    async def end(self, *, cause: str = "") -> None:
        """End this claim while its run goes on; see `Claim.end`."""
        held, how = self._held, Cause(cause).value if cause else Cause.OTHER.value
        state = await self._writer.call(lambda t: unit_ends.end_claim(t, held, CLAIM_ENDED, how))
        self.state = state or self.state


def _begun(granted: allocate.Granted, arming: str) -> Begun | None:
    if granted.begun is None:
        return None
    under = granted.begun.as_seen_under(arming)
    cause = Cause(granted.begun.cause or Cause.OTHER)
    return Begun(under, granted.armed_on.get(under, ""), cause, granted.begun.went_on)


class RunLedger:
    """The ledger of one run, see `base.Ledger` for what its methods promise."""

    def __init__(self, store: Store, *, is_dry: bool) -> None:
        self._store = store
        self._is_dry = is_dry
        self._notes: list[str] = []  # that nobody has taken
        self._noted: dict[str, None] = {}  # the last ones: what comes at each claim is told once
        self._batch: Batch | None = None
        self._declared: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
        self.arming = ""  # of the station that works with it
        self._closed = False
        self._writer = Writer(store)

    @property
    def notes(self) -> tuple[str, ...]:
        """See `Ledger.notes`."""
        return tuple(self._notes)

    def take_notes(self) -> tuple[str, ...]:
        """Return the notes and forget them; see `Ledger.take_notes`."""
        taken, self._notes = tuple(self._notes), []
        return taken

    @property
    def batch(self) -> str:
        """See `Ledger.batch`."""
        return self._opened.name

    @property
    def run(self) -> int | None:
        """See `Ledger.run`."""
        return self._writer.run if self._store.leaves_a_run else None

    @property
    def place(self) -> str:
        """See `Ledger.place`."""
        return self._store.place

    @property
    def uuid(self) -> str:
        """See `Ledger.uuid`."""
        return self._store.uuid if self._store.place else ""

    @property
    def forms(self) -> Mapping[str, str]:
        """See `Ledger.forms`."""
        return self._opened.config.forms

    @property
    def declared(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """See `Ledger.declared`."""
        return self._declared

    @property
    def is_dry(self) -> bool:
        """Whether this is a dry run, of which nothing stays."""
        return self._is_dry

    @property
    def commits(self) -> int:
        """How many times the disk was waited for."""
        return self._writer.commits

    @property
    def _opened(self) -> Batch:
        if self._batch is None:
            raise LedgerUnusable("The ledger is not open.")
        return self._batch

    def wait_without_end(self, on_away: Callable[[bool], None]) -> None:
        """Wait for a pool that is away until it is back, however long; a file never is away.

        Args:
            on_away: Is called on the event loop: the pool is away, or it is back.
        """
        if self._store.beat_s is None:
            return
        loop = asyncio.get_running_loop()

        def tell(away: bool) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is gone
                loop.call_soon_threadsafe(on_away, away)

        self._writer.patience_s = math.inf
        self._store.on_away = tell

    def add_note(self, text: str) -> None:
        """Keep a sentence for the operator; one that was told lately is not kept again."""
        if text not in self._noted:
            while len(self._noted) >= _NOTED_AT_MOST:
                del self._noted[next(iter(self._noted))]
            self._noted[text] = None
            self._notes.append(text)

    def keyed_digest_key(self) -> bytes:
        """Return the key for digests of key material; see `Ledger.keyed_digest_key`."""
        return self._store.digest_key

    async def claim_all(
        self, identities: Sequence[UnitIdentity], *, first: int, last: int | None, job_digest: str
    ) -> list[Claim | LedgerError]:
        """Claim indexes for all chips of the barrier; see `Ledger.claim_all`."""
        batch = self._opened
        nobody_waits = threading.Event()

        def work(transaction: Transaction) -> allocate.Allocation:
            if nobody_waits.is_set():  # a claim that nobody gets would hold its chip until the run ends
                raise LedgerUnusable("The ledger gave no answer in time; nothing was claimed.")
            ended = self._store.find_ended(transaction.connection, transaction.run)
            notes = allocate.end_dead_runs(transaction, ended)
            allocate.take_up(transaction, identities, ended)
            allocate.remember_full(transaction, batch.id, first)
            allocation = allocate.claim_all(
                transaction, batch, identities, first=first, last=last, job=job_digest
            )
            allocation.notes[:0] = notes
            return allocation

        try:
            allocation = await self._writer.call(work)
        except BaseException:
            nobody_waits.set()
            raise
        for note in allocation.notes:
            self.add_note(note)
        return [
            outcome if isinstance(outcome, LedgerError) else UnitClaim(self, self._writer, outcome)
            for outcome in allocation.outcomes
        ]

    async def find_known(self, identities: Sequence[UnitIdentity]) -> list[rebuilding.Known | None]:
        """Return what the ledger knows of these chips; see `rebuilding.find_known`."""
        from parburn.ledger import rebuilding  # here: only `ledger rebuild` needs it

        return await self._writer.call(lambda t: rebuilding.find_known(t, identities))

    async def has_unknown(self) -> bool:
        """Return whether there are units of older ledgers whose values are not known."""
        return await self._writer.call(lambda t: values.any_unknown(t.connection))

    async def find_unknown(self) -> list[learning.UnknownUnit]:
        """Return units of older ledgers whose values are not known."""
        from parburn.ledger import learning  # here: only a ledger that an older parburn began needs it

        return await self._writer.call(lambda t: learning.find_unknown(t.connection))

    async def find_unlearned(self) -> list[learning.UnknownUnit]:
        """Return units of this batch whose values or records are not known."""
        from parburn.ledger import learning  # here: only a ledger that an older parburn began needs it

        batch = self._opened.id
        return await self._writer.call(lambda t: learning.find_unknown(t.connection, batch=batch))

    async def learn_all(self, learned: Sequence[learning.Learned], how: str) -> int:
        """Bind what was learned of units; return their number. See `learning.learn_all`."""
        from parburn.ledger import learning  # here: only a ledger that an older parburn began needs it

        return await self._writer.call(lambda t: learning.learn_all(t, learned, how))

    async def tell_unknown(self) -> None:
        """Note the units whose values are still not known."""
        from parburn.ledger import learning  # here: only a ledger that an older parburn began needs it

        note = await self._writer.call(lambda t: learning.unknown_note(t.connection))
        if note:
            self.add_note(note)

    async def bind_found(
        self, found: Sequence[rebuilding.FoundUnit], *, first: int, why: str
    ) -> rebuilding.Rebuilt:
        """Give chips what was found in them; see `rebuilding.bind_found`."""
        from parburn.ledger import rebuilding  # here: only `ledger rebuild` needs it

        batch = self._opened
        return await self._writer.call(lambda t: rebuilding.bind_found(t, batch, found, first=first, why=why))

    async def allow_to_go_on(self, identity: UnitIdentity, why: str) -> None:
        """Let a begun unit of this batch go on by itself once more; see `begun.allow_unit`."""
        batch = self._opened.name
        await self._writer.call(lambda t: begun.allow_unit(t, batch, identity, why))

    async def tell_station(self, event: str, **detail: object) -> None:
        """Write an entry of the station that works with this ledger; see `station_entries.write`."""
        batch, arming = self._opened.name, self.arming
        await self._writer.call(
            lambda t: station_entries.write(t.history, event, **{"batch": batch, "arming": arming, **detail})
        )

    async def find_halt(self) -> station_entries.Halt | None:
        """Return the halt of this batch that holds, or None."""
        batch = self._opened.name
        return await self._writer.call(lambda t: station_entries.find_halt(t.connection, batch))

    async def station_counts(self, first: int, last: int) -> station_counts.StationCounts:
        """Count what passed under this run's arming, and what is used of a range of indexes."""
        batch, arming = self._opened.id, self.arming
        return await self._writer.call(
            lambda t: station_counts.count(t.connection, batch, arming, first, last)
        )

    async def aclose(self) -> None:
        """End the run; see `Ledger.aclose`. A second call does nothing."""
        if self._closed:
            return
        self._closed = True
        try:
            run = self._writer.run
            if run is not None:
                await self._writer.call(partial(unit_ends.end_run, run=run, why="the run ended"))
        finally:
            await self._abandon()

    async def _begin(
        self, spec: BatchSpec, overrides: frozenset[Override], said: RunNote, *, older: bool
    ) -> None:
        def work(transaction: Transaction) -> tuple[Batch, int, list[str], values.Remembered]:
            ended = self._store.find_ended(transaction.connection, transaction.run)
            notes = allocate.end_dead_runs(transaction, ended)
            batch = find_batch(transaction, spec, overrides)
            declared = values.declare(transaction, batch.id, batch.name, spec)
            (run,) = transaction.connection.execute(
                "INSERT INTO runs (batch, started, process, station, operator) VALUES (?, ?, ?, ?, ?)"
                " RETURNING id",
                (batch.id, transaction.at, str(Process.current()), said.station, said.operator),
            ).fetchone()
            self._store.hold(run)  # before the commit that shows the run to others
            transaction.history.append(
                "run",
                number=run,
                batch=batch.name,
                overrides=sorted(one.value for one in overrides),
                **{name: value for name, value in said._asdict().items() if value},
            )
            return batch, run, notes, declared

        self.arming = said.arming
        self._writer.patience_s = MIGRATION_S if older else None
        self._batch, self._writer.run, notes, declared = await self._writer.call(work)
        self._writer.patience_s = None
        self._declared = declared.same, declared.unique
        for note in (*self._writer.notes, *notes, *declared.notes):
            self.add_note(note)

    async def _abandon(self) -> None:
        try:
            await self._writer.aclose()
        finally:
            with CancelScope(shield=True):  # or a cancelled run would leave what is thrown away
                await to_thread.run_sync(self._store.close)
