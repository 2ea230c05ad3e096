"""What a ledger is: identities, the states of a unit and their one transition table, claims. No storage here.

A *unit* is one chip within one batch. What it went through is written down before it happens:

- an index is claimed before the script runs, and spent for ever at BURN_ATTEMPTED;
- nothing that was attempted ever looks unattempted again: a unit that is INCOMPLETE stays so through a new
  claim and a new plan until it is attempted anew, passes, or is quarantined;
- FAILED_CLEAN means that no program command was ever sent in this unit's name.

`TRANSITIONS` is the only place that says what may follow what; `diagram()` draws it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from enum import Enum, StrEnum
from types import MappingProxyType
from typing import Final, NamedTuple, Protocol

from parburn.errors import LedgerError, RecordsUndeclared
from parburn.events import NO_VALUES


class UnitIdentity(NamedTuple):
    """Which chip this is.

    `mac` is the factory MAC as aa:bb:cc:dd:ee:ff; `unique_id` is OPTIONAL_UNIQUE_ID in hex, or empty where
    the chip has none.
    """

    chip: str
    mac: str
    unique_id: str = ""

    def __str__(self) -> str:
        return f"{self.chip} {self.mac}"


class State(Enum):
    """How far a unit has come."""

    __hash__ = object.__hash__  # each is there once; that of Enum is Python code, and asked for at each step

    IDENTIFIED = "identified"
    CLAIMED = "claimed"
    PLANNED = "planned"
    BURN_ATTEMPTED = "burn-attempted"
    BURNED = "burned"
    VERIFIED = "verified"
    LOCKED = "locked"
    PASS = "pass"
    FAILED_CLEAN = "failed-clean"
    INCOMPLETE = "incomplete"
    QUARANTINED = "quarantined"


class Cause(StrEnum):
    """How the last attempt of a unit ended that left it INCOMPLETE."""

    LINE = "line"  # silence, or bytes that are no answer
    UNPLUGGED = "unplugged"
    LEDGER = "ledger"  # it could not be written
    STOP = "stop"  # the operator's
    PROCESS_END = "process-end"  # killed, or a power cut
    OTHER = "other"  # also where it is not known
    ALLOWED = "allowed"  # whatever it was: somebody has looked at it since, and said why it may go on


# After these a begun unit may go on without anybody having looked at it.
HARMLESS_CAUSES: Final = frozenset(Cause) - {Cause.OTHER}


# from -> {to: why}. The words are those of the diagram.
TRANSITIONS: Mapping[State, Mapping[State, str]] = MappingProxyType(
    {
        State.IDENTIFIED: {State.CLAIMED: "gets an index", State.FAILED_CLEAN: "refused"},
        State.CLAIMED: {
            State.PLANNED: "the script asked for burns",
            State.FAILED_CLEAN: "failed before its plan",
            State.IDENTIFIED: "nothing was asked for, its board left, or the run died",
        },
        State.PLANNED: {
            State.PLANNED: "the next burn of the script",
            State.BURN_ATTEMPTED: "about to burn",
            State.PASS: "all of it is in the chip already",
            State.FAILED_CLEAN: "refused or not confirmed",
            State.IDENTIFIED: "its board left, or the run died",
        },
        State.FAILED_CLEAN: {State.CLAIMED: "is tried again"},
        State.BURN_ATTEMPTED: {
            State.BURNED: "a block is burned",
            State.VERIFIED: "a block is burned and verified",
            State.LOCKED: "locks only",
            State.INCOMPLETE: "interrupted",
            State.QUARANTINED: "its bits are wrong",
        },
        State.BURNED: {
            State.BURNED: "the next block",
            State.VERIFIED: "reads as planned",
            State.LOCKED: "a lock reads as planned",
            State.INCOMPLETE: "interrupted",
            State.QUARANTINED: "its bits are wrong",
        },
        State.VERIFIED: {
            State.BURNED: "the next block",
            State.VERIFIED: "the next block",
            State.LOCKED: "locks burned",
            State.BURN_ATTEMPTED: "the next burn of the script",
            State.PASS: "nothing to lock",
            State.INCOMPLETE: "interrupted",
            State.QUARANTINED: "its bits are wrong",
        },
        State.LOCKED: {
            State.BURNED: "the next lock",
            State.LOCKED: "the next lock",
            State.VERIFIED: "the next block",
            State.BURN_ATTEMPTED: "the next burn of the script",
            State.PASS: "all done",
            State.INCOMPLETE: "interrupted",
            State.QUARANTINED: "its bits are wrong",
        },
        State.INCOMPLETE: {
            State.INCOMPLETE: "still not whole",
            State.BURN_ATTEMPTED: "goes on with its own index",
            State.PASS: "nothing was missing",
            State.QUARANTINED: "is not what was recorded",
        },
        State.QUARANTINED: {
            State.INCOMPLETE: "released by hand, with its own index",
            State.PASS: "the chip that passed is back, the other one was another chip",
        },
        State.PASS: {
            State.PASS: "another job, nothing to burn",
            State.BURN_ATTEMPTED: "another job",
            State.QUARANTINED: "is not what was recorded",
        },
    }
)

# No program command was ever sent: an index may still go back.
UNTOUCHED = frozenset({State.IDENTIFIED, State.CLAIMED, State.PLANNED, State.FAILED_CLEAN})

# A program command may be under way: what a dead process leaves here is INCOMPLETE.
UNDER_WAY = frozenset({State.BURN_ATTEMPTED, State.BURNED, State.VERIFIED, State.LOCKED})


def check_transition(before: State, after: State) -> None:
    """Raise LedgerError unless `after` may follow `before`."""
    if after not in TRANSITIONS[before]:
        raise LedgerError(f"A unit that is {before.value} cannot become {after.value}.")


def diagram() -> str:
    """Return the transition table as a Mermaid state diagram."""
    lines = ["stateDiagram-v2", f"    [*] --> {State.IDENTIFIED.name}"]
    for before, followers in TRANSITIONS.items():
        lines += [f"    {before.name} --> {after.name}: {why}" for after, why in followers.items()]
    return "\n".join(lines) + "\n"


class ConfigView(Protocol):
    """What the ledger asks of a run's config files. Called from the ledger's thread: it must only read.

    Digests are SHA-256 in hex; indexes begin with 1.
    """

    @property
    def digest(self) -> str:
        """Digest of all files, whatever their names and order; empty when there are none."""

    @property
    def old_digest(self) -> str:
        """The digest in the form of older ledgers; empty where there is none."""

    @property
    def names(self) -> tuple[str, ...]:
        """File names by which a batch remembers its files."""

    @property
    def forms(self) -> Mapping[str, str]:
        """How the records of each file lie, by the file's name; empty where that is not known."""

    @property
    def shared(self) -> Mapping[str, str]:
        """Digest of what each file says for all indexes, by the file's name; empty where it says nothing."""

    @property
    def undeclared(self) -> tuple[str, ...]:
        """Names of the files whose form is not known."""

    @property
    def has_records(self) -> bool:
        """Whether any file holds records."""

    @property
    def last(self) -> int:
        """The highest index that may have a record."""

    def next_after(self, index: int) -> int:
        """Return the lowest index above `index` that may have a record.

        Args:
            index: An index without a record, below `last`.
        """

    def entries(self, index: int) -> str:
        """Return the digests of the records for an index, one per file that has one, separated by spaces."""

    def old_entries(self, index: int) -> str:
        """Return what `entries` returns, in the form of older ledgers."""

    def first_missing(self, carried: Iterable[tuple[int, str]]) -> tuple[int, str] | None:
        """Return the first pair of index and digest that the files do not hold; None when they hold all.

        Args:
            carried: What the chips of a batch carry, in order of the index.
        """

    def counts(self) -> str:
        """Return in words how many records there are."""

    def read_as(self, forms: Mapping[str, str]) -> ConfigView:
        """Return the same files, read in these forms where none was declared in this run.

        Raises:
            UsageError: a file cannot be read in the form that is given for it.
        """

    def undeclared_error(self) -> RecordsUndeclared:
        """Return the refusal that says how to declare the forms that are not known."""


class PlainConfig(NamedTuple):
    """A ConfigView of records that are known by their index: nothing is left to declare."""

    digest: str
    said: Callable[[int], str]
    old_digest: str = ""
    names: tuple[str, ...] = ()
    forms: Mapping[str, str] = MappingProxyType({})
    shared: Mapping[str, str] = MappingProxyType({})
    undeclared: tuple[str, ...] = ()
    has_records: bool = False  # no index is without a record
    last: int = 0

    def next_after(self, index: int) -> int:
        """Return the next index: none is without a record."""
        return index + 1

    def entries(self, index: int) -> str:
        """Return the digests of the records for an index; see ConfigView."""
        return self.said(index)

    def old_entries(self, index: int) -> str:
        """Return an empty text: these records never had an older form."""
        return ""

    def first_missing(self, carried: Iterable[tuple[int, str]]) -> tuple[int, str] | None:
        """Return the first pair that is not said; see ConfigView."""
        for index, digest in carried:
            if " " not in digest and digest not in self.said(index).split():
                return index, digest
        return None

    def counts(self) -> str:
        """Return an empty text: the number of records is not known."""
        return ""

    def read_as(self, forms: Mapping[str, str]) -> ConfigView:
        """Return itself: nothing is left to declare."""
        return self

    def undeclared_error(self) -> RecordsUndeclared:
        """Return an error that is never raised: nothing is left to declare."""
        return RecordsUndeclared("nothing is to be declared")


class BatchSpec(NamedTuple):
    """One index space: `name`, or without it the content of its config files.

    `config_digest` is of all config files whatever their names; empty when there are none. `entries(index)`
    gives the digests of what the files say for that index, separated by spaces, one per file, empty when they
    say nothing. `config` tells all of that and more. `uses_index`: records must be known by their index.
    `shares_with`: a batch whose chips may carry equal records and values.
    """

    name: str | None
    config_digest: str
    entries: Callable[[int], str]
    config: ConfigView | None = None
    uses_index: bool = False
    shares_with: str | None = None
    scripts: str = ""  # digest of the scripts: a new batch takes over what was declared for the same ones
    same: tuple[str, ...] = ()  # values that may be equal, by the names of the command line
    unique: tuple[str, ...] = ()  # values that are each chip's own

    @property
    def view(self) -> ConfigView:
        """The config files as the ledger asks for them."""
        return PlainConfig(self.config_digest, self.entries) if self.config is None else self.config


NO_FILES: Final[Mapping[str, Mapping[str, str]]] = MappingProxyType({})


class RunNote(NamedTuple):
    """What the history says of a run beside its batch: where it was made, by whom, and of which files.

    `files` are digests by the file's name, of scripts, config_files and tables. `arming` is the digest of the
    arming that a station works under; empty for a run.
    """

    station: str = ""
    operator: str = ""
    files: Mapping[str, Mapping[str, str]] = NO_FILES
    arming: str = ""


NO_NOTE: Final = RunNote()


class RangeValue(NamedTuple):
    """What a chip is about to hold in one range. `value` is hex or, where a key may stand, a keyed digest.

    `parts` say where, within chips of one layout: `3[64:96]`, joined by `+`; `3@64` for digests. `option` is
    what would allow an equal value, for the operator; empty: nothing does. `key`: see `ledger.values`.
    """

    name: str
    parts: str
    value: str
    shown: str
    option: str = ""
    key: bool = False


class UserBits(NamedTuple):
    """What the user blocks of a chip hold after a burn, and the ranges in which no other chip may be equal.

    `bits` is hex by block, of blocks that can hold no key. `options` tells for the named values of this plan
    which option of the command line would allow an equal one: name -> option.
    """

    layout: str = ""
    bits: tuple[tuple[int, str], ...] = ()
    ranges: tuple[RangeValue, ...] = ()
    options: tuple[tuple[str, str], ...] = ()


NO_USER_BITS: Final = UserBits()
CUSTOM_MAC: Final = "CUSTOM_MAC"  # the one value that is never the same on two chips
Inputs = tuple[tuple[str, str], ...]  # path and keyed digest of each file, sorted by path

NO_STEPS: Final[Mapping[str, State]] = MappingProxyType({})


class Attempt(NamedTuple):
    """One commit as written down before its first program command.

    `image_before` is text without key material (keyed digests stand for key blocks); `steps` are the labels
    of the plan's steps in order. `done` and `begun` come back from the ledger: how far each step got, and
    when the unit was last changed (UTC, ISO).
    """

    plan_digest: str
    image_before: str
    steps: tuple[str, ...]
    done: Mapping[str, State] = NO_STEPS
    begun: str = ""

    @property
    def remaining(self) -> tuple[str, ...]:
        """Steps that were never recorded as verified or locked."""
        return tuple(s for s in self.steps if self.done.get(s) not in (State.VERIFIED, State.LOCKED))


class Begun(NamedTuple):
    """A unit that was begun and is not whole, as it was when it was claimed.

    `arming` is what its open attempts were begun under: this run's own only where all of them were; empty: a
    run that was no station's. `armed_on` is when that was armed (UTC, ISO), empty where nobody knows.
    `went_on` counts how often it went on by itself.
    """

    arming: str
    armed_on: str
    cause: Cause
    went_on: int


class Claim(Protocol):
    """One chip's hold on its index until `end`, or until its run ends.

    Every method returns once its entry is on disk. Each of them raises LedgerUnusable when the entry could
    not be written, and UnitRefused when the ledger no longer counts the unit to this claim: all but `end` do
    so after `end`.
    """

    @property
    def identity(self) -> UnitIdentity:
        """The chip whose claim this is."""

    @property
    def index(self) -> int:
        """The unit's index."""

    @property
    def known(self) -> bool:
        """Whether the chip had this index before this run."""

    @property
    def unheard_of(self) -> bool:
        """Whether nothing was ever attempted on this chip, in any batch of this ledger."""

    @property
    def state(self) -> State:
        """How far the unit has come."""

    @property
    def passed_jobs(self) -> frozenset[str]:
        """Digests of the jobs that this unit has passed."""

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """What was attempted since the last pass, in order: one per burn of the script."""

    @property
    def attempt(self) -> Attempt | None:
        """The first of `attempts`: a resumed script must see its `image_before`. None: nothing to resume."""

    @property
    def state_before(self) -> State:
        """How far the unit had come when this run claimed it."""

    @property
    def since(self) -> str:
        """When it came to be what it was then (`unit_life.condition`), UTC, ISO; empty: never burned."""

    @property
    def unique_values(self) -> Mapping[str, str]:
        """Values that this unit had then, and that no other chip may have."""

    @property
    def burned_values(self) -> Mapping[str, str]:
        """What had been burned into it then, as people read it. Never keys."""

    async def planned(
        self,
        plan_digest: str,
        unique_values: Mapping[str, str],
        held: UserBits = NO_USER_BITS,
        *,
        shown: Mapping[str, str] = NO_VALUES,
    ) -> None:
        """Write down a plan, also one that is empty because the values are in the chip already.

        Args:
            plan_digest: Digest of the plan; a resumed script must make the same one.
            unique_values: Values by name, compared by their names over chips of all kinds.
            held: What the user blocks will hold, compared by its bits.
            shown: All that is to be burned, as people read it; it is compared with nothing. Never keys.

        Raises:
            UniqueValueTaken: another chip has one of the values, or plans it in this very moment. Where it
                has it, an index that was not spent yet is set aside.
        """

    async def burn_attempted(self, attempt: Attempt) -> None:
        """Spend the index for ever. Only after this has returned may a program command be sent.

        An attempt with the plan digest of an open one continues that one: its first image is kept.

        Raises:
            UniqueValueTaken: another plan holds the same value; neither may burn.
            UnitRefused: a config record of this index belongs to another chip.
        """

    def step_done(self, label: str, state: State) -> Awaitable[object]:
        """Write down that a step of the current attempt is BURNED, VERIFIED or LOCKED.

        The entry is on its way when this returns; await what it returns to know that it is on disk.

        Raises:
            LedgerError: no attempt is under way.
        """

    @property
    def image_passed(self) -> str:
        """What the chip held when it passed, as `passed` was given it last; empty when that is not known."""

    def passed_inputs(self, job_digest: str) -> Inputs:
        """Return what the scripts of a passed job had read, as `passed` was given it; empty if not known."""

    @property
    def put_out_by(self) -> str:
        """Why this unit is quarantined, where it had passed before and nothing was burned since.

        It may have been another chip with the same factory identity. Empty: it is not quarantined.
        """

    async def recognized(self) -> None:
        """Make a unit PASS again that another chip had put into quarantine; the history says so.

        The chip must hold all that this unit passed with, read twice, and nothing is to be burned.
        """

    @property
    def values_unknown(self) -> bool:
        """Whether an older ledger did not keep what this unit's user blocks hold."""

    async def learned(self, found: UserBits, found_values: Mapping[str, str]) -> None:
        """Take values of a unit of an older ledger over from its chip; an equal value elsewhere is noted.

        Args:
            found: What its user blocks hold.
            found_values: Values that have a name on chips of any kind.
        """

    async def passed(
        self,
        job_digest: str,
        image: str = "",
        *,
        inputs: Inputs = (),
        found: UserBits = NO_USER_BITS,
        found_values: Mapping[str, str] = NO_VALUES,
    ) -> None:
        """Write down that the unit holds what the job wants; without any plan before it, free the index.

        Args:
            job_digest: Digest of the job that passed.
            image: What the chip holds, as text without key material (see Attempt). It must be found in this
                chip ever after; empty keeps what was known.
            inputs: What the scripts have read, beside what the job's own digest covers.
            found: What the user blocks hold, whoever burned it: it is this chip's from now on.
            found_values: The same of values that have a name.

        Raises:
            UniqueValueTaken: another chip has one of the values found, or plans it in this moment.
            UnitRefused: a record of this index was given to another chip meanwhile.
        """

    async def already_passed(self) -> None:
        """Write down that this run ended with the unit as it had passed before: nothing was burned."""

    async def failed_clean(self, reason: str, *, release: bool, script_failed: bool = False) -> None:
        """Write down that nothing was attempted.

        A unit that was attempted in an earlier run keeps its state and index whatever is asked here; beside a
        PASS the reason is kept.

        Args:
            reason: Why it failed, for the operator.
            release: Free the index when the run ends: the script staged nothing, or failed before its plan.
            script_failed: Count this failure against the index's record.

        Raises:
            LedgerError: a burn of this unit is under way.
        """

    async def incomplete(self, reason: str, *, cause: str = "") -> None:
        """Write down that something was attempted and not all of it is verified.

        Args:
            reason: Why, for the operator.
            cause: How it ended, as one of `Cause`; empty where that is none of them.
        """

    async def quarantined(self, reason: str) -> None:
        """Write down that the bits are not what they should be: the unit must not be touched again."""

    @property
    def begun(self) -> Begun | None:
        """How this unit was begun and left; None where it was whole or never burned when it was claimed."""

    @property
    def passed_under(self) -> frozenset[str]:
        """Digests of the armings under which this unit has passed; those of a run are not among them."""

    async def goes_on(self) -> int:
        """Count that a begun unit goes on by itself, before anything is burned; return how often it did.

        Raises:
            UnitRefused: the unit is not INCOMPLETE.
        """

    async def allowed_to_go_on(self, why: str) -> None:
        """Write down that somebody lets a begun unit go on: it may do so by itself once more.

        Raises:
            UnitRefused: the unit is not INCOMPLETE.
        """

    async def end(self, *, cause: str = "") -> None:
        """End this claim while its run goes on. A second call does nothing.

        What the end of a run does for all its units: a released index is free from now on, a burn under way
        is INCOMPLETE, what was never attempted is IDENTIFIED and its index free. Anything else keeps its
        state, reason and attempts. The same chip can then be claimed again in the same run.

        Args:
            cause: How a burn ended that is under way, as one of `Cause`.
        """


class Ledger(Protocol):
    """The ledger as one run of one batch sees it."""

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences for the operator that nobody has taken yet, such as that this is a new ledger."""

    def take_notes(self) -> tuple[str, ...]:
        """Return the notes and forget them: each is told once."""

    @property
    def batch(self) -> str:
        """The batch's name; found by the config files' content when none was given."""

    @property
    def run(self) -> int | None:
        """The number of this run; None where it leaves nothing in a ledger."""

    @property
    def place(self) -> str:
        """Where the ledger lies; empty where it is thrown away at the end of the run."""

    @property
    def uuid(self) -> str:
        """Which ledger it is, wherever it lies; empty where it is thrown away at the end of the run."""

    @property
    def forms(self) -> Mapping[str, str]:
        """How the records of each config file lie, by its name: declared, or remembered by the batch."""

    @property
    def declared(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """What was declared `same` and `unique` for this batch, now and before."""

    def keyed_digest_key(self) -> bytes:
        """Return the key for digests (HMAC) of key material: 32 random bytes, made with the ledger."""

    async def claim_all(
        self, identities: Sequence[UnitIdentity], *, first: int, last: int | None, job_digest: str
    ) -> list[Claim | LedgerError]:
        """Claim indexes for all chips of the barrier, in their order, in one transaction.

        A known chip keeps its index; the others get the lowest free ones.

        Args:
            identities: The chips, in the order of their ports.
            first: The lowest index that a new chip may get.
            last: The highest one; None for no end.
            job_digest: Digest of the job: indexes whose record failed under it are set aside.

        Returns:
            Per chip its claim, or the error for which it gets none.

        Raises:
            LedgerUnusable: it could not be written.
        """

    @property
    def arming(self) -> str:
        """Digest of the arming that this run works under; empty: it is no station's."""

    async def tell_station(self, event: str, **detail: object) -> None:
        """Write an entry of the station that works with this ledger; see `station_entries.write`."""

    async def aclose(self) -> None:
        """End the run: free the indexes that were released, and wait until all is on disk.

        Raises:
            LedgerUnusable: it could not be written, or did not end within its deadline.
        """
