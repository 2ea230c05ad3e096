"""What the boards of one run share: the two barriers, the confirmation, the burn slots, the stop request.

Holds no chip and opens nothing. A board either arrives at a barrier or withdraws from it; the barrier is
complete when every board has done one of both.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from enum import IntEnum
from types import MappingProxyType
from typing import Final, Generic, NamedTuple, TypeVar
from weakref import WeakSet

from anyio import CancelScope, CapacityLimiter, Event

from parburn.chips.model import Chip
from parburn.config.records import ConfigFiles
from parburn.efuse.user_values import UserValue, ValueRules, rules_of
from parburn.errors import Interrupted, NotConfirmed, ParburnError
from parburn.events import NO_VALUES, Emit, Note, PlannedBlock, StepChanged
from parburn.hardware.identify import Device
from parburn.job import Job
from parburn.ledger.base import Claim, Inputs, Ledger
from parburn.run.baud import ROM_BAUD, RateFor, rate_that_pays
from parburn.run.tables import TableSet
from parburn.run.traces import TraceBook
from parburn.script.runner import CompiledScripts
from parburn.script.session import DeviceFacts, ScriptOptions
from parburn.transport.stream import USB_SERIAL_JTAG, ByteStream
from parburn.transport.tty import latency_timer

NO_BITS: Final[Mapping[int, int]] = MappingProxyType({})
Brought = TypeVar("Brought")
Taken = TypeVar("Taken")


class StopLevel(IntEnum):
    """How urgently the operator wants the run to end."""

    NONE = 0
    NO_NEW_COMMITS = 1  # running commits finish
    BETWEEN_BLOCKS = 2  # running commits stop at the next verified step


class StopRequest:
    """Set by signal handlers, asked by the boards. Each request raises the level by one."""

    def __init__(self) -> None:
        self.level = StopLevel.NONE
        self._scopes: WeakSet[CancelScope] = WeakSet()  # of boards that have ended nothing is kept

    def cancels(self, scope: CancelScope) -> None:
        """Register a scope that the first request cancels. Commits shield themselves from it."""
        self._scopes.add(scope)
        if self.level:
            scope.cancel()

    def request(self) -> None:
        """One Ctrl-C, SIGTERM or SIGHUP."""
        self.level = StopLevel(min(self.level + 1, StopLevel.BETWEEN_BLOCKS))
        for scope in tuple(self._scopes):
            scope.cancel()

    def commits_may_go_on(self) -> bool:
        """Asked between two steps of a commit."""
        return self.level < StopLevel.BETWEEN_BLOCKS

    def check(self) -> None:
        """Raise Interrupted once a stop was requested; asked before a commit starts."""
        if self.level:
            raise Interrupted("stopped by the operator before this burn")


class Barrier(Generic[Brought, Taken]):
    """Where all boards meet. Each brings a value, waits, and takes what was decided for it."""

    def __init__(self, ports: Iterable[str]) -> None:
        self._missing = set(ports)
        self._brought: dict[str, Brought] = {}
        self._taken: Mapping[str, Taken | ParburnError] = {}
        self._complete = Event()
        self._released = Event()
        if not self._missing:
            self._complete.set()

    async def arrive(self, port: str, value: Brought) -> Taken:
        """Bring a value and wait for the decision; raises the error that was decided for this board."""
        if port in self._missing:
            self._brought[port] = value
            self._out(port)
        await self._released.wait()
        taken = self._taken[port]
        if isinstance(taken, ParburnError):
            raise taken
        return taken

    def withdraw(self, port: str) -> None:
        """This board will not come. Does nothing when it has arrived or withdrawn before."""
        self._out(port)

    async def complete(self) -> Mapping[str, Brought]:
        """Wait for all boards; what those that came have brought, in the order they came."""
        await self._complete.wait()
        return self._brought

    def release(self, taken: Mapping[str, Taken | ParburnError]) -> None:
        """Let every board go on with what was decided for it."""
        self._taken = taken
        self._released.set()

    def _out(self, port: str) -> None:
        self._missing.discard(port)
        if not self._missing:
            self._complete.set()


class OneByOne(Barrier[Brought, Taken]):
    """A barrier at which each board is decided for alone, in the order in which they come: nobody waits in it
    for a board that has not begun."""

    def __init__(self, ports: Iterable[str]) -> None:
        super().__init__(ports)
        self._decided: dict[str, Event] = {}
        self._changed = Event()
        self._waiting: list[str] = []

    async def arrive(self, port: str, value: Brought) -> Taken:
        if port in self._missing:
            self._brought[port] = value
            self._decided[port] = Event()
            self._waiting.append(port)
            self._out(port)
        if port in self._decided and port not in self._taken and not self._released.is_set():
            await self._decided[port].wait()
        taken = self._taken[port]
        if isinstance(taken, ParburnError):
            raise taken
        return taken

    async def next(self) -> str | None:
        """The next board that has come, None when no more will; what they all brought is in `brought`."""
        while not self._waiting:
            if not self._missing:
                return None
            self._changed = Event()
            await self._changed.wait()
        return self._waiting.pop(0)

    @property
    def brought(self) -> Mapping[str, Brought]:
        """What the boards that came so far have brought."""
        return self._brought

    def decide(self, port: str, taken: Taken | ParburnError) -> None:
        """Let one board go on with what was decided for it."""
        self._taken = {**self._taken, port: taken}
        self._decided[port].set()

    def release(self, taken: Mapping[str, Taken | ParburnError]) -> None:
        """Decide for all that are not decided for, also for those that come later."""
        self._taken = {**taken, **self._taken}
        self._released.set()
        for decided in self._decided.values():
            decided.set()

    def _out(self, port: str) -> None:
        super()._out(port)
        self._changed.set()


class Turns:
    """Whose turn it is under `--one-at-a-time`: a board begins when all before it have ended."""

    def __init__(self, ports: Sequence[str]) -> None:
        self._ended = {port: Event() for port in ports}

    async def wait(self, port: str) -> None:
        """Wait until the boards at the ports before this one have ended."""
        for other, ended in self._ended.items():
            if other == port:
                return
            if not ended.is_set():
                await ended.wait()

    def ended(self, port: str) -> None:
        """This board's script does nothing any more."""
        self._ended[port].set()


class PlanOfBoard(NamedTuple):
    """What the operator confirms for one board. Never key material."""

    port: str
    slot: str
    chip: str
    mac: str
    index: int  # type: ignore[assignment]  # not tuple.index
    blocks: tuple[PlannedBlock, ...]
    unique_values: Mapping[str, str] = NO_VALUES
    begun: bool = False  # this very plan was attempted before: the values are its own for ever
    values: tuple[UserValue, ...] = ()
    layout: str = ""  # of its user blocks
    held: Mapping[int, int] = NO_BITS  # what those of them that can hold no key will hold
    taken: str = ""  # how the values of this run are taken, as a sentence


class SharedRun:
    """Everything the boards of one run have in common. Made by `fleet`, handed to each `burn_device`."""

    def __init__(
        self,
        job: Job,
        *,
        emit: Emit,
        ports: Sequence[str],
        ledger: Ledger,
        scripts: CompiledScripts,
        script_options: ScriptOptions,
        stop: StopRequest,
        tables: TableSet,
        config: ConfigFiles,
    ) -> None:
        self.job = job
        self.emit = emit
        self.ledger = ledger
        self.scripts = scripts
        self.script_options = script_options
        self.stop = stop
        self.claims: Barrier[Device, Claim] = Barrier(ports)
        self.plans: Barrier[PlanOfBoard, None] = (OneByOne if job.one_at_a_time else Barrier)(ports)
        self.turns = Turns(ports)
        self.refused_by_operator = False  # asked once under --one-at-a-time: no other script begins
        self.slow_adapters: dict[str, int] = {}  # port: ms that it holds answers back
        self.traces = TraceBook(job.trace, show_keys=job.show_sensitive_info)
        self._config = config
        self._tables = tables
        self._slots = CapacityLimiter(job.max_burning or max(1, len(ports)))
        self.digest = hashlib.sha256(f"{scripts.digest}\n{tables.digest}".encode()).hexdigest()
        self._blocks: dict[str, frozenset[int]] = {}

    def burn_slot(self) -> CapacityLimiter:
        """The right to be in the commit phase (`--max-burning`)."""
        return self._slots

    def withdraw(self, port: str) -> None:
        """This board comes to no barrier any more."""
        self.claims.withdraw(port)
        self.plans.withdraw(port)

    def job_digest(self, index: int) -> str:
        """What makes two jobs the same for a unit: scripts, tables, its own records of the config files, and
        what these say for all."""
        return self._job_digest(self._config.of_job(index))

    def passed_as(self, index: int, passed: Collection[str]) -> str:
        """By which of these digests a unit has passed this job; empty when by none. Ledgers may hold it as it
        was reckoned before."""
        digest = self.job_digest(index)
        if digest in passed or not passed:
            return digest if passed else ""
        before = map(self._job_digest, self._config.as_passed_before(index))
        return next((old for old in before if old in passed), "")

    def _job_digest(self, of_config: str) -> str:
        return hashlib.sha256(f"{self.digest}\n{of_config}".encode()).hexdigest()

    async def turn(self, port: str) -> None:
        """Wait until this board's script may begin: at once, unless the boards come one at a time.

        Raises NotConfirmed when the operator has refused the boards before.
        """
        if self.job.one_at_a_time:
            self.emit(StepChanged(port, "waiting", "for the boards before it"))
            await self.turns.wait(port)
            if self.refused_by_operator:
                raise NotConfirmed(
                    "not confirmed by the operator, for a board before; its script did not run"
                )

    def changed_input(self, kept: Inputs) -> str:
        """The first of these files that is not what it was; empty when all are."""
        return self.script_options.inputs.changed(kept) if self.script_options.inputs else ""

    def extend(self, chip: Chip) -> Chip:
        """The chip with the custom eFuse tables of this run."""
        return self._tables.extend(chip)

    def value_rules(self, chip: Chip) -> ValueRules:
        """How this chip's values are taken, by what was declared for the batch."""
        return rules_of(chip, self.script_options.declared)

    def blocks_in_scripts(self, chip: Chip) -> frozenset[int]:
        """Blocks that the scripts seem to need, by the names they mention; `chip` has its custom fields.

        A wrong guess costs one turn.
        """
        found = self._blocks.get(chip.name)
        if found is None:
            found = self._blocks[chip.name] = blocks_mentioned(chip, self.scripts.mentioned)
        return found

    def rate_for(self, stream: ByteStream) -> RateFor:
        """How fast to go on over this port: as the operator says, or as it pays."""
        fixed = self.job.baud
        if fixed is not None:
            return lambda chip, blocks: fixed
        if stream.usb_vid_pid == USB_SERIAL_JTAG:  # no line, no rate
            return lambda chip, blocks: ROM_BAUD
        burns = not self.scripts.shows_only
        return lambda chip, blocks: rate_that_pays(chip, blocks, burns=burns)

    def tell_slow_adapters(self) -> None:
        """A hint where adapters wait before they hand an answer on, and this could not be changed."""
        if self.slow_adapters:
            port, waits_ms = next(iter(self.slow_adapters.items()))
            others = len(self.slow_adapters) - 1
            more = f" (and {others} more)" if others else ""
            self.note(
                "",
                f"the adapter at {port}{more} holds every answer back for {waits_ms} ms: burns take longer. "
                f"As root, `echo 1 > {latency_timer(port)}` ends that until it is plugged in again",
                "hint",
            )

    def tell_ledger_notes(self) -> None:
        """Pass on what the ledger has to say since the last time."""
        for text in self.ledger.take_notes():
            self.note("", text)

    def note(self, port: str, text: str, level: str = "info") -> None:
        """A sentence for the operator."""
        self.emit(Note(port, text, level))


def facts_of(device: Device, port: str, index: int | None) -> DeviceFacts:
    """What a script may know of a chip before it runs."""
    security = device.security
    return DeviceFacts(
        port=port,
        chip=device.chip,
        index=index,
        mac=device.identity.mac,
        major=device.silicon.major,
        minor=device.silicon.minor,
        crystal_mhz=device.crystal_mhz,
        package=device.silicon.package,
        security_flags=security.flags if security else None,
        secure_download=bool(security and security.secure_download),
        features=device.chip.features,
    )


def defect(error: Exception) -> ParburnError:
    """An error of our own, as an operator sees it; its traceback is shown under `--debug`."""
    ours = ParburnError(
        f"an error inside parburn: {type(error).__name__}: {error}",
        hint="Run again with --debug and report what it shows.",
    )
    ours.__cause__ = error
    return ours


WHOLE_CHIP = ("summary", "dump", "check_error")  # commands that look at every block


def blocks_mentioned(chip: Chip, words: frozenset[str]) -> frozenset[int]:
    """Blocks that hold a field, or are a block, that one of these words names; with their key purposes."""
    found: set[int] = set()
    for word in words:
        block = chip.block_by_name.get(word)
        if block is not None:
            found.add(block.index)
        found.update(one.block for one in chip.field_by_name.get(word, ()))
    if not words.isdisjoint(WHOLE_CHIP):
        found.update(block.index for block in chip.blocks)
    if "burn_custom_mac" in words:
        found.update(one.block for one in chip.field_by_name.get("CUSTOM_MAC", ()))
    return frozenset(found)
