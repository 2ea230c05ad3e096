"""What the boards of one run share: the two barriers, the confirmation, the turns to burn, the stop request.

Holds no chip and opens nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Final, NamedTuple

from anyio import CapacityLimiter

from parburn.chips.model import Chip
from parburn.config.records import ConfigFiles
from parburn.efuse.user_values import Declared, UserValue, ValueRules, rules_of
from parburn.errors import NotConfirmed, ParburnError, TooFewBoards
from parburn.events import NO_VALUES, Emit, Note, NoteLevel, PlannedBlock, StepChanged
from parburn.hardware.identify import Device
from parburn.job import Job
from parburn.ledger.base import Claim, Inputs, Ledger
from parburn.natural_order import natural_key
from parburn.run.around import Around, Ports, PortsOfRun
from parburn.run.barrier import Barrier, OneByOne, Turns
from parburn.run.baud import ROM_BAUD, RateFor, rate_that_pays
from parburn.run.board_progress import BoardProgress
from parburn.run.checked_job import CheckedJob
from parburn.run.masked_events import masked_emit
from parburn.run.needed_blocks import blocks_mentioned
from parburn.run.overwriting import kept_files, outputs_of
from parburn.run.people_time import PeopleTime
from parburn.run.stop import StopRequest
from parburn.run.stragglers import Stragglers
from parburn.run.traces import TraceBook
from parburn.script.commands.command_line import TypedCommand
from parburn.script.inputs import RunInputs
from parburn.script.runner import ScriptWatch
from parburn.script.session import DeviceFacts, ScriptOptions
from parburn.transport.stream import USB_SERIAL_JTAG, ByteStream
from parburn.transport.tty import latency_timer

NO_BITS: Final[Mapping[int, int]] = MappingProxyType({})


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
        checked: CheckedJob,
        *,
        emit: Emit,
        ledger: Ledger,
        stop: StopRequest,
        around: Around | None = None,
    ) -> None:
        """Read the config files in the forms that the ledger knows of.

        Args:
            checked: What to do, and at which ports.
            emit: Gets all events.
            ledger: The open ledger.
            stop: The operator's wish to end.
            around: What the station gives that this run is an insertion of; None: it is no station's.

        Raises:
            UsageError: a file has no records of that form.
            UsageError: the trace's file cannot be written.
        """
        self.job = job = checked.job
        self.keys = checked.keys
        self.emit = masked_emit(emit, self.keys)
        self.ledger = ledger
        self.scripts = checked.scripts
        self.config = checked.config.read_as(ledger.forms)
        self.around = around
        options = around.options if around is not None else options_for(checked, self.config, ledger)
        self.script_options = options._replace(keys=self.keys)
        self.ports: Ports = PortsOfRun() if around is None else around.ports
        self.boards: dict[str, BoardProgress] = {}  # by port, those that have begun
        self.stop = stop
        self.people = PeopleTime()
        # A ledger that is thrown away knows nothing of real boards, and a run that only looks asks none.
        self.knows_boards = not self.scripts.shows_only and (ledger.place != "" or job.simulated)
        ports = job.ports
        self.claims: Barrier[Device, Claim] = Barrier(ports)
        self.stragglers = Stragglers(wait_s=job.wait_s, expect=job.expect)
        self.plans: Barrier[PlanOfBoard, None] = (OneByOne if job.one_at_a_time else Barrier)(ports)
        self.turns = Turns(ports)
        self.slots: dict[str, str] = dict(zip(ports, ports, strict=True))  # where each board sits
        self.refused_by_operator = False  # asked once under --one-at-a-time: no other script begins
        self.identified: set[str] = set()  # ports past the first barrier, and still there
        self.gone: set[str] = set()  # ports that were lost before anything was burned at them
        self.slow_adapters: dict[str, int] = {}  # port: ms that it holds answers back
        self.traces = TraceBook(job.trace, show_keys=job.show_sensitive_info)
        self._tables = checked.tables
        own_turns = CapacityLimiter(job.max_burning or max(1, len(ports)))
        self._burning = own_turns if around is None else around.burning
        self.digest = checked.digest
        self._blocks: dict[str, frozenset[int]] = {}
        self._said_once: set[str] = set()
        self._watches: dict[str, ScriptWatch] = {}

    def turn_to_burn(self) -> CapacityLimiter:
        """Return the limiter of boards that may be in the commit phase at once (`--max-burning`)."""
        return self._burning

    @property
    def waits_for(self) -> str:
        """What an identified board waits for."""
        return "for the other boards" if self.around is None else "for its index"

    def lost(self, board: BoardProgress, error: ParburnError) -> None:
        """Take out a board whose port is gone; unless burned it counts no more for --expect."""
        if not board.attempted:
            self.gone.add(board.port)
            self.identified.discard(board.port)
        self.claims.lose(board.port, error)
        self.plans.lose(board.port, error)

    def too_few(self) -> TooFewBoards | None:
        """Return why no board may be burned: fewer are there than --expect asks for. None where all are."""
        expect, there = self.job.expect, len(self.identified)
        if expect is None or there >= expect:
            return None
        lost = ", ".join(sorted(self.gone, key=natural_key))
        return TooFewBoards(
            f"{there} of {expect} expected boards "
            + (f"are there, {lost} was lost: " if lost else "were identified: ")
            + ("no other board is burned" if lost and self.job.one_at_a_time else "no board is burned"),
            hint="Mend the boards that did not answer, or run with a lower --expect.",
        )

    def watch(self, port: str) -> ScriptWatch:
        """Return what looks at this board's script from outside."""
        watch = self._watches[port] = ScriptWatch(lambda: self._waiting_for(port))
        return watch

    def _waiting_for(self, port: str) -> tuple[str, ...]:
        """Return the boards whose burns wait for this one, and where their scripts stand."""
        waiting = self.plans.waiting()
        if port in waiting:
            return ()
        places = (
            (other, self._watches[other].place() if other in self._watches else "") for other in waiting
        )
        return tuple(
            f"{other} ({place.removesuffix(': ') or 'its script has ended'})" for other, place in places
        )

    def withdraw(self, port: str) -> None:
        """Withdraw this board from both barriers."""
        self.claims.withdraw(port)
        self.plans.withdraw(port)

    def job_digest(self, index: int) -> str:
        """Return the SHA-256 in hex that makes two jobs the same for a unit.

        It is over scripts, tables, the unit's own records of the config files, and what these say for all.
        """
        return self._job_digest(self.config.of_job(index))

    def passed_as(self, index: int, passed: Collection[str]) -> str:
        """Return which of these digests says that a unit has passed this job; empty when none does.

        Ledgers may hold it as older versions computed it.
        """
        digest = self.job_digest(index)
        if digest in passed or not passed:
            return digest if passed else ""
        before = map(self._job_digest, self.config.as_passed_before(index))
        return next((old for old in before if old in passed), "")

    def _job_digest(self, of_config: str) -> str:
        return hashlib.sha256(f"{self.digest}\n{of_config}".encode()).hexdigest()

    async def turn(self, board: BoardProgress) -> None:
        """Wait until this board's script may begin: at once, unless the boards come one at a time.

        Raises:
            NotConfirmed: the operator has refused a board before this one.
            PortGone: this board's port is lost.
        """
        if self.job.one_at_a_time:
            self.emit(StepChanged(board.port, "waiting", "for the boards before it"))
            with board.watch.there():
                await self.turns.wait(board.port)
            if self.refused_by_operator:
                raise NotConfirmed(
                    "not confirmed by the operator, for a board before; its script did not run"
                )

    def changed_input(self, kept: Inputs) -> str:
        """Return the first of these files that is not what it was; empty when all are. Reads them."""
        return self.script_options.inputs.changed(kept) if self.script_options.inputs else ""

    def extend(self, chip: Chip) -> Chip:
        """Return the chip with the custom eFuse tables of this run.

        Raises:
            ChipDataError: a table does not fit this chip.
        """
        return self._tables.extend(chip)

    def value_rules(self, chip: Chip) -> ValueRules:
        """Return how this chip's values are taken, by what was declared for the batch."""
        return rules_of(chip, self.script_options.declared)

    def blocks_in_scripts(self, chip: Chip) -> frozenset[int]:
        """Return indexes of blocks that the scripts seem to need, by the names they mention.

        A wrong guess costs one turn. `chip` has its custom fields.
        """
        found = self._blocks.get(chip.name)
        if found is None:
            found = blocks_mentioned(chip, self.scripts.mentioned)
            if self.around is not None:  # a plan is judged by what stands in the chip, too
                found |= self.around.approval.blocks(chip)
            self._blocks[chip.name] = found
        return found

    def rate_for(self, stream: ByteStream) -> RateFor:
        """Return how to choose the baud rate for this port: the operator's, or the one that pays."""
        fixed = self.job.baud
        if fixed is not None:
            return lambda chip, blocks: fixed
        if stream.usb_vid_pid == USB_SERIAL_JTAG:  # no line, no rate
            return lambda chip, blocks: ROM_BAUD
        burns = not self.scripts.shows_only
        return lambda chip, blocks: rate_that_pays(chip, blocks, burns=burns)

    def tell_slow_adapters(self) -> None:
        """Give a hint where an adapter's latency timer holds answers back and could not be changed."""
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
        """Pass on the ledger's notes since the last time."""
        for text in self.ledger.take_notes():
            self.note("", text)

    def note_once(self, text: str) -> None:
        """Emit a sentence that several boards have to say: it is said once a run."""
        if text not in self._said_once:
            self._said_once.add(text)
            self.note("", text)

    def note(self, port: str, text: str, level: NoteLevel = "info") -> None:
        """Emit a sentence for the operator; `port` is empty where it is of the whole run."""
        self.emit(Note(port, text, level))


def options_for(checked: CheckedJob, config: ConfigFiles, ledger: Ledger) -> ScriptOptions:
    """Return what the scripts of a job see and feel, with `config` as the ledger knows its forms."""
    declared = Declared(*ledger.declared)
    return script_options(checked.job, config, declared, ledger.keyed_digest_key(), checked.commands)


def script_options(
    job: Job, config: ConfigFiles, declared: Declared, key: bytes, commands: tuple[TypedCommand, ...] = ()
) -> ScriptOptions:
    """Return the part of the job that a script sees or feels. `key` is the ledger's, for digests of files."""
    return ScriptOptions(
        config_files=config,
        timeout_s=job.script_timeout_s,
        allow_fixed_index=job.allow_fixed_index,
        show_sensitive_info=job.show_sensitive_info,
        debug=job.debug,
        do_not_confirm=job.do_not_confirm,
        baud=job.baud or ROM_BAUD,
        before=job.before,
        declared=declared,
        inputs=RunInputs(key, job.config_files, one_at_a_time=job.one_at_a_time),
        refuse_output=_refusing(job, commands),
    )


def _refusing(job: Job, commands: tuple[TypedCommand, ...]) -> Callable[[Path, str, Collection[str]], None]:
    """Return what commands ask before they write a file; see `overwriting`."""
    kept = cache(lambda: kept_files(job, commands).and_also(outputs_of(job)))  # most runs write no such file

    def refuse(path: Path, option: str, read: Collection[str]) -> None:
        kept().and_also((Path(one), "a script of this run") for one in read).refuse(path, option)

    return refuse


def facts_of(device: Device, port: str, index: int | None, slot: str = "") -> DeviceFacts:
    """Return what a script may know of a chip before it runs."""
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
        slot=slot,
    )
