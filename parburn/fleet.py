"""Many boards at once: one task per port, and the decisions that need all of them. Burns nothing itself.

What can be found out without a port was found out before (`run/checked_job.py`); the ledger opens, then every
board starts. The coordinator waits at the two barriers, gives out the indexes, asks for the confirmation.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping

from anyio import CancelScope, create_task_group, to_thread

from parburn import coding
from parburn.device import burn_device
from parburn.errors import IdentityUnclear, InternalError, NotConfirmed, ParburnError, PortGone
from parburn.events import DeviceReport, Emit, LedgerOpened, RunStarted
from parburn.hardware.identify import Device
from parburn.job import Job
from parburn.ledger.base import Claim, UnitIdentity
from parburn.ledger.file_location import is_missing, no_ledger_yet
from parburn.ledger.run_ledger import open_ledger
from parburn.natural_order import natural_key
from parburn.run.barrier import OneByOne
from parburn.run.checked_job import CheckedJob
from parburn.run.shared import PlanOfBoard, SharedRun
from parburn.run.stop import StopRequest
from parburn.run.value_comparison import doubled_values, how_taken
from parburn.transport.slots import slots_of

Confirm = Callable[[tuple[PlanOfBoard, ...]], Awaitable[bool]]
Begin = Callable[[], Awaitable[None]]  # raises unless a new ledger may be made


async def burn_fleet(
    checked: CheckedJob,
    emit: Emit,
    *,
    confirm: Confirm,
    begin: Begin | None = None,
    stop: StopRequest | None = None,
) -> tuple[DeviceReport, ...]:
    """Run a checked job on all its ports.

    Args:
        checked: What to do.
        emit: Gets all events.
        confirm: Asked once, with every plan, unless the job says do_not_confirm or dry_run; it may raise
            NotConfirmed with a sentence of its own.
        begin: Asked where there is no ledger yet, before any port is opened; None: nobody can be asked.
        stop: The operator's wish to end; None makes one that nobody sets.

    Returns:
        One report per port, in the job's order.

    Raises:
        UsageError: something forbids the whole run; no port was opened.
        LedgerError: the ledger forbids the whole run; no port was opened.
        NotConfirmed: what `begin` raised; no port was opened.
    """
    stop = stop or StopRequest()
    job = checked.job
    # Who only looks spends no index and leaves no record: the ledger is not even opened.
    throw_away = checked.scripts.shows_only or (job.simulated and job.ledger is None)
    if not throw_away and await to_thread.run_sync(is_missing, job.ledger):
        throw_away = job.dry_run
        new_ledger = throw_away or await _on_purpose(job, begin)
    else:
        new_ledger = False
    note = checked.note
    ledger = await open_ledger(
        job.ledger,
        checked.batch,
        throw_away=throw_away,
        dry_run=job.dry_run and not throw_away,
        new_ledger=new_ledger,
        overrides=job.overrides,
        note=note,
    )
    try:
        who = (ledger.run, ledger.batch, ledger.place, ledger.uuid, note.station, note.operator)
        emit(LedgerOpened("", *who))
        run = SharedRun(checked, emit=emit, ledger=ledger, stop=stop)
        if await ledger.has_unknown():
            from parburn.run.older_images import (
                take_over_kept,
            )  # here: only a ledger that an older parburn began needs it

            await take_over_kept(run, ledger)
            await ledger.tell_unknown()
        run.tell_ledger_notes()
        if job.new_ledger and not new_ledger:
            run.note(
                "", "--new-ledger was not needed, no ledger was begun: leave it out of this command", "hint"
            )
        return await _run_all(run, confirm)
    finally:
        with CancelScope(shield=True):
            await ledger.aclose()


async def _on_purpose(job: Job, begin: Begin | None) -> bool:
    """Return True where a ledger may be made; simulated boards carry no identity to be known elsewhere.

    Raises:
        LedgerUnusable: nobody said so, and nobody may be asked.
        NotConfirmed: who was asked did not say so.
    """
    if not (job.new_ledger or job.simulated):
        if job.do_not_confirm or begin is None:
            raise await to_thread.run_sync(no_ledger_yet, job.ledger)
        await begin()
    return True


async def _run_all(run: SharedRun, confirm: Confirm) -> tuple[DeviceReport, ...]:
    job = run.job
    slots = await to_thread.run_sync(slots_of, job.ports)  # sysfs is asked
    slots.update((port, name) for port, name in job.slot_names.items() if port in slots)
    run.slots.update(slots)
    coding.implementation()  # loads it now, while nobody waits on a line
    run.emit(RunStarted("", job.ports, tuple(slots.values()), simulated=job.simulated, dry_run=job.dry_run))
    reports: dict[str, DeviceReport] = {}

    async def one(port: str) -> None:
        reports[port] = await burn_device(run, port, slots[port])

    async with create_task_group() as boards:
        for port in job.ports:
            boards.start_soon(one, port)
        boards.start_soon(_coordinate, run, confirm)
    run.tell_ledger_notes()
    return tuple(reports[port] for port in job.ports)


async def _coordinate(run: SharedRun, confirm: Confirm) -> None:
    """Decide at the barriers. Whatever goes wrong here is decided for every board: none waits for ever."""
    try:
        brought = await _met(run)
        devices = {port: device for port, device in brought.items() if port not in run.gone}
        run.identified.update(devices)
        run.tell_slow_adapters()
        run.claims.release(await _admit(run, devices))
        if isinstance(run.plans, OneByOne):
            await _confirmed_one_by_one(run, run.plans, confirm)
        else:
            plans = await run.plans.complete()
            outcomes = await _confirmed(run, plans, confirm)
            in_order = sorted(outcomes, key=lambda port: natural_key(run.slots[port]))
            run.plans.release({port: outcomes[port] for port in in_order})  # turns to burn are taken so
    except Exception as error:
        reason = error if isinstance(error, ParburnError) else InternalError(error)
        run.claims.release(dict.fromkeys(run.job.ports, reason))
        run.plans.release(dict.fromkeys(run.job.ports, reason))


async def _met(run: SharedRun) -> Mapping[str, Device]:
    """Wait at the first barrier; return who came. Boards that are late are out, their ports closed."""
    async with create_task_group() as waiting:
        waiting.start_soon(run.stragglers.leave_out_late, lambda: len(run.claims.waiting()))
        brought = await run.claims.complete()
        waiting.cancel_scope.cancel()
    return brought


async def _admit(run: SharedRun, devices: Mapping[str, Device]) -> Mapping[str, Claim | ParburnError]:
    """Decide who may go on past the first barrier, and with which index."""
    job = run.job
    if (reason := run.too_few()) is not None:
        if not devices:  # else each board that came says so
            run.note("", str(reason), "warning")
        return dict.fromkeys(devices, reason)
    outcomes: dict[str, Claim | ParburnError] = {}
    seen = Counter(_identity(device) for device in devices.values())
    for port, device in devices.items():
        if seen[_identity(device)] > 1:
            others = [p for p, d in devices.items() if p != port and _identity(d) == _identity(device)]
            outcomes[port] = IdentityUnclear(
                f"the chip {device.identity.mac_text} answers here and on {', '.join(others)}",
                hint="One board behind two ports, or two chips with one identity: sort it out first.",
            )
    admitted = [port for port in job.ports if port in devices and port not in outcomes]
    claims = await run.ledger.claim_all(
        [_identity(devices[port]) for port in admitted],
        first=job.index_first,
        last=None if run.scripts.shows_only else job.index_last,
        job_digest=run.digest,
    )
    run.tell_ledger_notes()
    outcomes.update(zip(admitted, claims, strict=True))
    return await _without_lost(run, outcomes)


async def _without_lost(
    run: SharedRun, outcomes: dict[str, Claim | ParburnError]
) -> Mapping[str, Claim | ParburnError]:
    """Give back the indexes of boards that were lost meanwhile; of all boards where too few are left."""
    reason = run.too_few()
    for port, claim in outcomes.items():
        if not isinstance(claim, ParburnError) and (reason is not None or port in run.gone):
            await claim.failed_clean("its port was lost" if reason is None else str(reason), release=True)
            outcomes[port] = reason or PortGone(f"{port} is gone")
    return outcomes


def _identity(device: Device) -> UnitIdentity:
    return UnitIdentity(
        chip=device.chip.name, mac=device.identity.mac_text, unique_id=device.identity.unique_id.hex()
    )


async def _confirmed(
    run: SharedRun, plans: Mapping[str, PlanOfBoard], confirm: Confirm
) -> Mapping[str, ParburnError | None]:
    """Refuse doubled values; then ask once for all boards that have something to burn."""
    outcomes: dict[str, ParburnError | None] = dict.fromkeys(plans)
    outcomes.update(doubled_values(tuple(plans.values())))
    taken = how_taken([plan for port, plan in plans.items() if outcomes[port] is None])
    if taken and (run.job.do_not_confirm or run.job.dry_run):
        run.note("", taken)
    to_burn = tuple(
        plans[port]._replace(taken=taken)
        for port in run.job.ports
        if port in plans and outcomes[port] is None and plans[port].blocks
    )
    if to_burn and not (run.job.do_not_confirm or run.job.dry_run):
        refused = await _refused(run, confirm, to_burn)
        outcomes.update((plan.port, refused) for plan in to_burn)
    too_few = run.too_few()  # counted last: a board may be pulled while the operator reads
    if too_few is not None:
        outcomes.update((plan.port, too_few) for plan in to_burn)
    return outcomes


async def _refused(run: SharedRun, confirm: Confirm, plans: tuple[PlanOfBoard, ...]) -> NotConfirmed | None:
    """Ask, and return why it was not confirmed; None when it was."""
    try:
        with run.people.asking():
            return None if await confirm(plans) else NotConfirmed("not confirmed by the operator")
    except NotConfirmed as error:
        return error


async def _confirmed_one_by_one(run: SharedRun, plans: OneByOne[PlanOfBoard, None], confirm: Confirm) -> None:
    """Decide on each plan as it comes, compared with those before it.

    The operator is asked once, with the first that burns; that answer covers the boards whose scripts have
    not begun.
    """
    asked = run.job.do_not_confirm or run.job.dry_run
    refused: NotConfirmed | None = None
    told = ""
    while (port := await plans.next()) is not None:
        outcome = doubled_values(tuple(plans.brought.values())).get(port)
        taken = how_taken([plans.brought[port]])
        plan = plans.brought[port]._replace(taken=taken)
        if taken != told and asked:
            run.note("", taken)
        told = taken
        if outcome is None and plan.blocks and not asked:
            asked = True
            refused = await _refused(run, confirm, (plan,))
            run.refused_by_operator = refused is not None
        if outcome is None and plan.blocks:
            outcome = refused or run.too_few()
        plans.decide(port, outcome)
