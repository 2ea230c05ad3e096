"""parburn for programs: burn a job from one's own code. Prints nothing, ends no process; see docs/api.md.

What belongs to a process of our own is not done here, but in `cli`: the collector, the limit of descriptors,
SIGTERM and SIGHUP. asyncio only.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from anyio import CancelScope, to_thread

from parburn.chips.registry import chip_named
from parburn.errors import InternalError, NotConfirmed, ParburnError, UsageError
from parburn.events import DeviceReport, Event
from parburn.fleet import burn_fleet
from parburn.job import MAX_SIMULATED, Job, Script, TableOption, check_values
from parburn.ledger.batches import Override
from parburn.ledger_place import parse_place
from parburn.run.checked_job import CheckedJob, check_job
from parburn.run.shared import PlanOfBoard
from parburn.run.stop import StopRequest
from parburn.transport.ports import expand_ports

if TYPE_CHECKING:
    from parburn.sim.processes import SimulatedBoards

__all__ = ["Confirm", "Job", "OnEvent", "PlanOfBoard", "Script", "burn", "burn_async", "simulated_boards"]

OnEvent = Callable[[Event], object]
Confirm = Callable[[tuple[PlanOfBoard, ...]], bool | Awaitable[bool]]
Answer = TypeVar("Answer")

NOBODY_ASKED = "not confirmed: no `confirm` was given, and the job does not say do_not_confirm"


def burn(
    job: Job, *, on_event: OnEvent | None = None, confirm: Confirm | None = None
) -> tuple[DeviceReport, ...]:
    """Run the job on all its ports in an event loop of its own.

    Args:
        job: What is to be done. Nothing of it has been checked yet.
        on_event: Gets each event, in the thread that called; it must not block. One that raises is logged and
            gets no more.
        confirm: Gets the plans of all boards that have something to burn, once; True burns them. A plain
            function is called in a thread of its own and may ask a person; a coroutine is awaited. What it
            raises comes out of here when all boards have ended; nothing is burned then. Without it, and
            without `do_not_confirm` in the job, these boards are refused and burn nothing (NotConfirmed).

    Returns:
        One report for each port, naturally sorted. What went wrong with a board is told there, not raised.

    Raises:
        UsageError: something in the job or its files is wrong, or an event loop runs in this thread.
        LedgerError: the ledger cannot be used, or there is none yet and the job does not say `new_ledger`.
        KeyboardInterrupt: Ctrl-C, in the main thread: when all that had begun was burned and recorded.
    """
    if _loop_runs():
        raise UsageError(
            "burn() was called where an event loop runs already",
            hint="Nothing was burned. Write `await parburn.burn_async(job)`, or call it in another thread.",
        )
    is_main = threading.current_thread() is threading.main_thread()
    takes_ctrl_c = is_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    return asyncio.run(_burn_unless_interrupted(job, on_event, confirm, takes_ctrl_c=takes_ctrl_c))


async def burn_async(
    job: Job, *, on_event: OnEvent | None = None, confirm: Confirm | None = None
) -> tuple[DeviceReport, ...]:
    """Run the job as `burn` does, in the asyncio loop that runs; signals are the caller's.

    When it is cancelled no new burn starts, those that have begun are finished, all is recorded, and then it
    raises CancelledError. Cancelled once more, it stops between two blocks.

    Raises:
        UsageError: something in the job or its files is wrong, or the loop that runs is not asyncio's.
        LedgerError: as `burn`.
    """
    if not _loop_runs():
        raise UsageError(
            "burn_async() needs asyncio's event loop, and another one runs",
            hint="Nothing was burned. Under trio, call parburn.burn() in a thread: trio.to_thread.run_sync.",
        )
    return await _until_recorded(job, on_event, confirm, StopRequest())


def simulated_boards(boards: Mapping[str, int], *, state: Path | None = None) -> SimulatedBoards:
    """Make a context of simulated boards; `.ports` are for a Job, and are gone after it.

    Starting them blocks for a moment.

    Args:
        boards: How many of each chip, by the chip's name.
        state: Folder in which their eFuses are kept; None throws them away.

    Raises:
        UsageError: an unknown chip or number.
        NoAnswer: they did not start; raised when the context is entered.
    """
    from parburn.sim.processes import SimulatedBoards  # here: who burns real boards does not wait for it

    groups = [(chip_named(chip).name, count) for chip, count in boards.items()]
    if not (all(count >= 1 for _, count in groups) and 1 <= sum(n for _, n in groups) <= MAX_SIMULATED):
        raise UsageError(f"simulated boards are 1 to {MAX_SIMULATED}, and at least 1 of each chip")
    return SimulatedBoards(groups, state=state)


# The run ----------------------------------------------------------------------------------------------


async def _burn_unless_interrupted(
    job: Job, on_event: OnEvent | None, confirm: Confirm | None, *, takes_ctrl_c: bool
) -> tuple[DeviceReport, ...]:
    stop = StopRequest()
    with _ctrl_c(stop) if takes_ctrl_c else nullcontext():
        reports = await _until_recorded(job, on_event, confirm, stop)
    if stop.level:
        raise KeyboardInterrupt
    return reports


@contextmanager
def _ctrl_c(stop: StopRequest) -> Iterator[None]:
    """Let Ctrl-C finish the burns that have begun, instead of breaking the loop in the middle of one."""
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, stop.request)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGINT)


async def _until_recorded(
    job: Job, on_event: OnEvent | None, confirm: Confirm | None, stop: StopRequest
) -> tuple[DeviceReport, ...]:
    """Run it in a task of its own, which nobody can cancel from outside: a cancellation is a stop request."""
    work = asyncio.ensure_future(_run(job, on_event, confirm, stop))
    cancelled: asyncio.CancelledError | None = None
    while not work.done():
        try:
            # anyio's own cancellation comes again in each turn of the loop until it is shielded from
            with CancelScope(shield=cancelled is not None):
                await asyncio.wait({work})
        except asyncio.CancelledError as error:
            cancelled = error
            stop.request()
    if cancelled is not None:
        work.exception()  # looked at: it is no exception that nobody retrieved
        raise cancelled
    return work.result()


async def _run(
    job: Job, on_event: OnEvent | None, confirm: Confirm | None, stop: StopRequest
) -> tuple[DeviceReport, ...]:
    asked = _Asked(confirm, stop)
    read = None
    try:
        read = await to_thread.run_sync(_read, job)
        reports = await burn_fleet(read, _Emit(on_event), confirm=asked, stop=stop)
    except Exception as error:
        ours = as_ours(error)
        raise (ours if read is None else read.keys.mask_error(ours)) from error
    if asked.error is not None:
        raise asked.error
    return reports


def as_ours(error: Exception) -> ParburnError:
    """Return the error itself, or the only one in a group of errors; anything else as InternalError."""
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error if isinstance(error, ParburnError) else InternalError(error)


class _Emit:
    """Hands events to the caller; one that raises is logged and left out, as every observer."""

    def __init__(self, on_event: OnEvent | None) -> None:
        self._on_event = on_event

    def __call__(self, event: Event) -> None:
        if self._on_event is not None:
            try:
                self._on_event(event)
            except Exception:
                self._on_event = None
                logging.getLogger("parburn").exception("on_event raised: it gets no more events of this run")


class _Asked:
    """Asks the caller to confirm, without ever holding up the loop; a stop ends the waiting."""

    def __init__(self, confirm: Confirm | None, stop: StopRequest) -> None:
        self._confirm = confirm
        self._stop = stop
        self.error: BaseException | None = None  # what `confirm` raised

    async def __call__(self, plans: tuple[PlanOfBoard, ...]) -> bool:
        if self._confirm is None:
            raise NotConfirmed(NOBODY_ASKED)
        with CancelScope() as scope:
            self._stop.cancels(scope)
            try:
                answer = await self._answer(self._confirm, plans)
            except Exception as error:
                self.error = error
                raise NotConfirmed(f"not confirmed: `confirm` raised {type(error).__name__}") from error
            if answer is not True and answer is not False:
                self.error = TypeError(f"confirm must answer True or False, not {type(answer).__name__}")
            return answer is True
        return False

    async def _answer(self, confirm: Confirm, plans: tuple[PlanOfBoard, ...]) -> object:
        if asyncio.iscoroutinefunction(confirm):
            return await confirm(plans)
        answer: Any = await _in_daemon_thread(lambda: confirm(plans))
        return await answer if isinstance(answer, Awaitable) else answer


async def _in_daemon_thread(function: Callable[[], Answer]) -> Answer:
    """Call it in a thread that may wait for a person for ever: it keeps neither the run nor the process."""
    loop = asyncio.get_running_loop()
    done = asyncio.Event()
    answers: list[Answer] = []
    errors: list[BaseException] = []

    def work() -> None:
        try:
            answers.append(function())
        except BaseException as error:
            errors.append(error)
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(done.set)

    threading.Thread(target=work, name="parburn-confirm", daemon=True).start()
    await done.wait()
    if errors:
        raise errors[0]
    return answers[0]


def _loop_runs() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


# The job ----------------------------------------------------------------------------------------------


def _read(job: Job) -> CheckedJob:
    """Check the job's values, then read its files. May take seconds: a million records."""
    return check_job(checked(job))


def checked(job: Job) -> Job:
    """Return the job with all values checked, ports expanded and paths made.

    Raises:
        UsageError: a value is wrong.
    """
    job = job._replace(
        ports=expand_ports(_several(job.ports, "ports")),
        scripts=tuple(
            one if isinstance(one, Script) else Path(one) for one in _several(job.scripts, "scripts")
        ),
        config_files=tuple(map(Path, _several(job.config_files, "config_files"))),
        tables=tuple(TableOption(chip, Path(path)) for chip, path in _several(job.tables, "tables")),
        ledger=None if job.ledger is None else parse_place(str(job.ledger)),
        trace=None if job.trace is None else Path(job.trace),
        records=_several(job.records, "records"),
        same=_several(job.same, "same"),
        unique=_several(job.unique, "unique"),
    )
    for holds, must in _rules(job):
        if not holds:
            raise UsageError(f"a job's {must}", hint="Nothing was opened. Mend the Job.")
    check_values(job, named=lambda field: f"Job.{field}")
    if job.chip != "auto":
        job = job._replace(chip=",".join(chip_named(one.strip()).name for one in job.chip.split(",")))
    return job._replace(simulated=_is_simulated(job))


def _several(values: Sequence[Answer], name: str) -> tuple[Answer, ...]:
    if isinstance(values, str | bytes | Path):
        raise UsageError(f"a job's {name} are several: ({values!r},)", hint="Nothing was opened.")
    return tuple(values)


def _rules(job: Job) -> Iterator[tuple[bool, str]]:
    """Yield what must hold beside what `check_values` asks, and how to say it."""
    yield bool(job.ports), "ports must name at least one"
    yield bool(job.scripts or job.commands), "scripts or commands must name what to do"
    known = {one.value for one in Override}
    yield set(job.overrides) <= known, f"overrides must be of {', '.join(sorted(known))}"
    yield job.report is None, "report is written by the command: write your own from what burn() returns"


def _is_simulated(job: Job) -> bool:
    """Return whether all boards are simulated: then a ledger may be thrown away. Never on somebody's word."""
    from parburn.sim.processes import is_simulated

    found = all(map(is_simulated, job.ports))
    if job.simulated and not found:
        raise UsageError(
            "a job says simulated, and its ports are not those of simulated_boards()",
            hint="Nothing was opened. Leave `simulated` out: it is found out.",
        )
    return found
