"""Our own safety with one rule switched off, by name. Applied in a child process; the soak must see it.

One rule is not here: that the ledger's commits are synchronous. A process that is killed loses nothing that
it has handed to the kernel, so only a power cut shows whether that was on the disk.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def _no_read_back() -> None:
    """Programming registers are written and never compared."""
    from parburn.hardware.programming_registers import ProgrammingRegisters

    def accept(self: ProgrammingRegisters, step: Any, reading: Mapping[int, int]) -> bool:
        self._known = dict(self.wanted(step))
        self._timing_read_back, self._timing_left = True, ()
        return True

    ProgrammingRegisters.accept = accept  # type: ignore[method-assign]  # the mutation


def _no_identity() -> None:
    """Whoever answers after the barrier is taken for the one that was planned for."""
    from parburn.hardware import commit
    from parburn.hardware.identify import ChipIdentity

    async def look_again(controller: Any, image: Any) -> None:
        return None

    ChipIdentity.same_board = lambda self, values: None  # type: ignore[method-assign]  # the mutation
    commit._look_again = look_again


def _late_attempt() -> None:
    """BURN_ATTEMPTED reaches the ledger after the first step instead of before it."""
    from parburn.ledger.base import Attempt, State
    from parburn.ledger.run_ledger import UnitClaim

    attempted, step_done, incomplete = (
        UnitClaim.burn_attempted,
        UnitClaim.step_done,
        UnitClaim.incomplete,
    )
    waiting: dict[int, Attempt] = {}

    async def later(self: UnitClaim, attempt: Attempt) -> None:
        waiting[self.index] = attempt

    async def first_attempt_then_step(self: UnitClaim, label: str, state: State) -> None:
        attempt = waiting.pop(self.index, None)
        if attempt is not None:
            await attempted(self, attempt)
        await step_done(self, label, state)

    async def first_attempt_then_incomplete(self: UnitClaim, reason: str, *, cause: str = "") -> None:
        attempt = waiting.pop(self.index, None)
        if attempt is not None:
            await attempted(self, attempt)
        await incomplete(self, reason, cause=cause)

    UnitClaim.burn_attempted = later  # type: ignore[method-assign]  # the mutation
    UnitClaim.step_done = first_attempt_then_step  # type: ignore[method-assign, assignment]  # the mutation
    UnitClaim.incomplete = first_attempt_then_incomplete  # type: ignore[method-assign]  # the mutation


def _no_resume_image() -> None:
    """A resumed script sees the chip as it is, half burned."""
    from parburn.run.burns import BoardCalls

    def image_for_script(self: Any) -> Any:
        self._seen = self._now
        return self._now

    BoardCalls.image_for_script = image_for_script  # type: ignore[method-assign]  # the mutation


def _no_unique_values() -> None:
    """Nobody looks whether two boards get one value: neither the run nor the ledger is told of them."""
    from parburn.run.burns import BoardCalls

    whole = BoardCalls.burn

    async def burn(self: Any, staged: Any, image: Any, written: Any) -> Any:
        return await whole(self, staged, image, ())

    BoardCalls.burn = burn  # type: ignore[method-assign]  # the mutation


def _no_barrier() -> None:
    """Each board is admitted as it comes; nobody looks at the others."""
    from parburn import fleet
    from parburn.run.barrier import Barrier

    whole = fleet._run_all

    async def run_all(run: Any, confirm: Any) -> Any:
        class Alone(Barrier[Any, Any]):
            async def arrive(self, port: str, value: Any) -> Any:
                taken = (await fleet._admit(run, {port: value}))[port]
                self._brought[port] = value
                self._out(port)
                if isinstance(taken, Exception):
                    raise taken
                return taken

            async def complete(self) -> Any:
                await self._complete.wait()
                return {}

        run.claims = Alone(run.job.ports)
        return await whole(run, confirm)

    fleet._run_all = run_all


def _no_verify() -> None:
    """What a burn left in the chip is taken to be what it should have left."""
    _replace("parburn.hardware.commit", "verify", lambda step, before, now, blocks: (0, 0, ""))


def _replace(module: str, name: str, by: Any) -> None:
    """A function where it is called, that its own module has for others."""
    place = import_module(module)
    getattr(place, name)  # one that has moved would be switched off by nobody
    setattr(place, name, by)


# Identity -----------------------------------------------------------------------------------------------


def _no_foreign_records() -> None:
    """Nobody asks whether another chip carries a record: neither at the claim nor at the attempt."""
    from parburn.ledger import batches

    for module in ("allocate", "units"):
        _replace(f"parburn.ledger.{module}", "refuse_foreign_records", lambda *_, **__: None)
    batches._refuse_same_content = lambda connection, batch: None
    batches._refuse_near = lambda connection, view: None


def _no_look_at_what_passed() -> None:
    """A chip that has passed is not looked at again."""
    from parburn.run.burns import BoardCalls

    async def still_what_passed(self: Any) -> None:
        pass

    BoardCalls.still_what_passed = still_what_passed  # type: ignore[method-assign]  # the mutation


def _no_other_chip() -> None:
    """Whatever answers with a begun unit's identity is taken for it."""
    _replace("parburn.run.burns", "refuse_other_chip", lambda *_, **__: None)


def _keys_left() -> None:
    """A commit that breaks off leaves what it had staged."""
    from parburn.hardware.programming_registers import ProgrammingRegisters

    ProgrammingRegisters.clearing_writes = lambda self: ()  # type: ignore[method-assign]  # the mutation


def _locks_before_records() -> None:
    """A lock is burned while the record of what it hides is still on its way."""
    from parburn.hardware import commit

    whole = commit._burn_steps

    class Hasty:
        def __init__(self, journal: Any) -> None:
            self.begin, self.check = journal.begin, journal.check

        async def durable(self) -> None:
            pass

    async def burn_steps(plan: Any, controller: Any, image: Any, hooks: Any, journal: Any) -> Any:
        return await whole(plan, controller, image, hooks, Hasty(journal))  # type: ignore[arg-type]  # it waits not

    commit._burn_steps = burn_steps


def _pass_said() -> None:
    """A board that was burned in part is told as passed."""
    from parburn.events import Result
    from parburn.run.board_progress import BoardProgress

    whole = BoardProgress.result_now

    def result_now(self: BoardProgress) -> Result:
        found = whole(self)
        return Result.PASS if found is Result.INCOMPLETE else found

    BoardProgress.result_now = result_now  # type: ignore[method-assign]  # the mutation


def _chips_of_other_batches() -> None:
    """A chip that carries a record of another batch gets one of this batch, too."""
    from parburn.ledger import allocate

    allocate._carries_other = lambda connection, batch, found: None


def _records_by_place() -> None:
    """Files whose records nobody has declared are read as if they had none."""
    _replace("parburn.run.checked_job", "uses_the_index", lambda scripts: False)


def _values_by_name() -> None:
    """Values are compared by the names of their fields, and not by their bits."""
    from parburn.ledger import values
    from parburn.run import value_comparison

    whole = values.find_taken

    def find_taken(transaction: Any, unit: Any, named: Any, held: Any) -> Any:
        return whole(transaction, unit, named, held._replace(ranges=()))

    values.find_taken = find_taken
    values.refuse_conflicts = lambda transaction, unit: None
    value_comparison._held = lambda plan, where: 0


def _macs_by_kind() -> None:
    """Custom MACs are compared within chips of one kind only."""
    from parburn.ledger import values
    from parburn.run.value_comparison import doubled_values as whole

    values._HOLDERS_BY_NAME += " AND chip = ?5"

    def doubled_values(plans: Any) -> Any:
        refused: dict[str, Any] = {}
        for layout in {plan.layout for plan in plans}:
            refused.update(whole([plan for plan in plans if plan.layout == layout]))
        return refused

    _replace("parburn.fleet", "doubled_values", doubled_values)


def _no_compare_at_attempt() -> None:
    """What was free at the claim is taken to be free when it is burned."""
    from parburn.ledger import units, values

    units._check_records = lambda transaction, unit: None
    values.refuse_conflicts = lambda transaction, unit: None


def _found_values_free() -> None:
    """What stands in a chip already is not this chip's: neither index nor value is bound."""
    from parburn.ledger.base import State
    from parburn.run.burns import BoardCalls

    async def passed_unasked(self: Any, key: bytes) -> None:
        await self._claim.passed(self._then_passed)
        if self._claim.state is State.IDENTIFIED:
            self._board.nothing_asked, self._board.index = True, None

    async def found_there(self: Any, outcome: Any) -> bool:
        return False

    BoardCalls._passed_unasked = passed_unasked  # type: ignore[method-assign]  # the mutation
    BoardCalls._found_there = found_there  # type: ignore[method-assign]  # the mutation


def _subset_is_there() -> None:
    """A value is there already where the chip holds its bits, whatever else it holds."""
    from parburn.efuse import rules, staging

    staging._refuse_clearing = lambda *_: None
    rules.unlike = lambda image, staged: ()  # type: ignore[assignment, return-value]  # the mutation


def _lock_over_content() -> None:
    """A key's bits are added to what its block holds, and locked."""
    from parburn.efuse import staging

    staging._stage_key_bytes = lambda image, staged, f, bits: staged.add(f.block, bits << (f.start or 0))


def _nested_index() -> None:
    """A nested script takes the index that is written there."""
    from parburn.run import shared

    whole = shared.script_options
    shared.script_options = lambda *given: whole(*given)._replace(allow_fixed_index=True)


def _assigned_index() -> None:
    """`args.index` may be set."""
    from argparse import Namespace

    _replace(
        "parburn.script.objects.namespace", "ScriptArgs", lambda index, **more: Namespace(index=index, **more)
    )


def _shared_modules() -> None:
    """One board's script has the same modules as another's."""
    from parburn.script.objects import modules as standins

    made: dict[str, Any] = {}

    def shared(name: str, maker: Callable[[], Any]) -> Callable[[], Any]:
        return lambda: made.setdefault(name, maker())

    standins._OWN = {name: shared(name, maker) for name, maker in standins._OWN.items()}


def _pass_for_other_inputs() -> None:
    """A unit that has passed is not asked whether the files that its script read are still the same."""
    from parburn.run.shared import SharedRun

    SharedRun.changed_input = lambda self, kept: ""  # type: ignore[method-assign]  # the mutation


# Commands that are cut -----------------------------------------------------------------------------------


def _no_block_number() -> None:
    """The program command's value has no block number: the one that stands in CMD is trusted."""
    from parburn.hardware.controller import PgmController
    from parburn.hardware.programming_registers import CMD_PROGRAM

    PgmController._program_value = lambda self, step: CMD_PROGRAM  # type: ignore[method-assign]  # the mutation


def _no_write_guard() -> None:
    """No harmless read stands between a poll of CMD and the next write."""
    from parburn.hardware.rom_loader import RomLoader

    RomLoader.guard_writes = lambda self, guard: None  # type: ignore[method-assign]  # the mutation


def _op_code_stays() -> None:
    """The op code of the program command is still in CONF when the read command comes."""
    from parburn.hardware.controller import CMD_READ, CONF_READ, Controller

    def read_command(self: Controller) -> Any:
        return (self._command(CONF_READ, CMD_READ, self.chip.read_ms),)

    Controller._read_command = read_command  # type: ignore[method-assign]  # the mutation


MUTATIONS: Mapping[str, Callable[[], None]] = {
    "no read-back of the programming registers": _no_read_back,
    "no re-identification": _no_identity,
    "BURN_ATTEMPTED after PGM": _late_attempt,
    "no resume image": _no_resume_image,
    "no unique values": _no_unique_values,
    "no barrier": _no_barrier,
    "no exact verify": _no_verify,
    "foreign records not compared": _no_foreign_records,
    "no look at what passed": _no_look_at_what_passed,
    "no refusal of another chip": _no_other_chip,
    "keys left in registers": _keys_left,
    "locks before their record": _locks_before_records,
    "PASS for boards that are not whole": _pass_said,
    "chips of other batches taken": _chips_of_other_batches,
    "records guessed by place": _records_by_place,
    "values compared by name only": _values_by_name,
    "MACs compared within one kind": _macs_by_kind,
    "no compare at the attempt": _no_compare_at_attempt,
    "found values do not bind": _found_values_free,
    "subset instead of equal": _subset_is_there,
    "locks over other content": _lock_over_content,
    "a nested index": _nested_index,
    "an assigned index": _assigned_index,
    "modules shared by boards": _shared_modules,
    "PASS for changed inputs": _pass_for_other_inputs,
    "no block number in the program command": _no_block_number,
    "no harmless read behind a poll": _no_write_guard,
    "the op code stays in CONF": _op_code_stays,
}


def apply(name: str) -> None:
    """Switch the rule off in this process."""
    MUTATIONS[name]()
