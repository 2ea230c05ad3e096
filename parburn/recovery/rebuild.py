"""`ledger rebuild`: after a lost ledger, which board carries which record. Reads boards, burns nothing.

Every board is identified and read whole, twice. The scripts run once a record, on a virtual chip of each kind
that was seen; a board is bound to the one record whose values it holds. For a board that is bound they run
once more, on that chip as it was before: so the ledger learns what is left to burn, and a later run goes on
with the very same plan.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from anyio import CancelScope, create_task_group, to_thread

from parburn.chips.model import Chip
from parburn.config.records import ConfigFiles
from parburn.efuse.image import EfuseImage
from parburn.efuse.user_values import values_of
from parburn.errors import LedgerUnusable, ParburnError, UsageError
from parburn.events import Emit
from parburn.hardware.identify import Device
from parburn.job import Job
from parburn.ledger.file_location import ledger_place
from parburn.ledger.rebuilding import FoundUnit, Known
from parburn.ledger.run_ledger import RunLedger, open_ledger
from parburn.recovery.board_reading import read_board
from parburn.recovery.rebuilt_unit import blank_of, found_unit, identity_of
from parburn.recovery.record_search import RecordValues
from parburn.run.checked_job import CheckedJob
from parburn.run.older_images import take_over_kept
from parburn.run.shared import SharedRun, facts_of
from parburn.run.stop import StopRequest
from parburn.script.computed_burns import Computed, Order, compute_all
from parburn.transport.descriptors import make_room


class BoardFound(NamedTuple):
    """What `ledger rebuild` tells of a board. `bound`: it is in the ledger, now or before."""

    port: str
    chip: str
    mac: str
    index: int | None  # type: ignore[assignment]  # not tuple.index
    bound: bool
    what: str


class RebuildReport(NamedTuple):
    """What `rebuild` did. `uncomputed` counts the records for which the scripts ended in an error."""

    boards: tuple[BoardFound, ...]
    batch: str
    computed: int
    uncomputed: int
    first_error: str
    gaps: int
    highest: int
    notes: tuple[str, ...]


@dataclass(slots=True)
class _Board:
    """A board that is looked at."""

    port: str
    device: Device | None = None
    seen: EfuseImage | None = None  # what it holds
    found: FoundUnit | None = None
    index: int | None = None
    bound: bool = False
    what: str = ""

    def told(self) -> BoardFound:
        device = self.device
        chip, mac = (device.chip.title, device.identity.mac_text) if device else ("", "")
        return BoardFound(self.port, chip, mac, self.index, self.bound, self.what)


class _Kind(NamedTuple):
    """Chips on which a script does the same: one row, one coding scheme."""

    chip: Chip
    scheme: str


@dataclass(slots=True)
class _BurnedByRecord:
    """What the scripts leave in a chip of each kind, by record."""

    by_kind: dict[_Kind, RecordValues] = field(default_factory=dict)
    want: dict[tuple[_Kind, int], dict[int, int]] = field(default_factory=dict)
    failed: dict[int, str] = field(default_factory=dict)


class _Work(NamedTuple):
    """What a rebuild works with."""

    run: SharedRun
    allow_side_effects: bool


async def rebuild(
    checked: CheckedJob, emit: Emit, *, why: str, allow_side_effects: bool = False
) -> RebuildReport:
    """Bind the boards at the job's ports to the records that they carry. Burns nothing.

    Args:
        checked: The job: its ports, scripts and config files.
        emit: Gets the ledger's notes as events.
        why: The reason; it stays in the history.
        allow_side_effects: Let scripts write files and the like while they are only computed.

    Raises:
        UsageError: no reason is given, the scripts use no index, or it is not known which indexes were
            given out: before any port is opened. Later: a script did not end within its time.
        LedgerError: the ledger cannot be used; before any port is opened.
    """
    job = checked.job
    if not why.strip():
        raise UsageError("A reason is needed.", hint="--why REASON; it stays in the history.")
    place = await to_thread.run_sync(ledger_place, job.ledger)
    if isinstance(place, Path) and not await to_thread.run_sync(place.exists):
        raise LedgerUnusable(
            f"There is no ledger at {place} to be rebuilt into.",
            hint="Make one on purpose: parburn ledger init --why REASON. Then rebuild again.",
        )
    make_room(len(job.ports))
    if not checked.uses_index:
        raise UsageError(
            "These scripts use no index, so no board carries a record: there is nothing to bind.",
            hint="Run parburn itself: what a board holds already is bound to it in the ledger.",
        )
    ledger = await open_ledger(job.ledger, checked.batch, overrides=job.overrides, note=checked.note)
    try:
        run = SharedRun(checked, emit=emit, ledger=ledger, stop=StopRequest())
        await take_over_kept(run, ledger)
        await ledger.tell_unknown()
        work = _Work(run, allow_side_effects)
        return await _rebuilt(work, ledger, indexes_of(job, run.config), why)
    finally:
        with CancelScope(shield=True):
            await ledger.aclose()


def indexes_of(job: Job, config: ConfigFiles) -> list[int]:
    """Return the indexes to compute: those with a record; without records those of `--index A-B`.

    Raises:
        UsageError: there are no records, and no `--index` with an end.
    """
    first, last = job.index_first, job.index_last
    if config.has_records:
        last = config.last if last is None else min(last, config.last)
        return [index for index in range(first, last + 1) if config.entries(index)]
    if last is None:
        raise UsageError(
            "The config files hold no records, so it is not known which indexes were given out.",
            hint="Name them: --index 1-500. Nothing was opened.",
        )
    return list(range(first, last + 1))


async def _rebuilt(work: _Work, ledger: RunLedger, indexes: Sequence[int], why: str) -> RebuildReport:
    boards = [_Board(port) for port in work.run.job.ports]
    async with create_task_group() as reading:
        for board in boards:
            reading.start_soon(_look, work.run, board)
    _refuse_doubled(boards)
    await _known_before(ledger, boards)
    records = await _compute_records(work, boards, indexes)
    _choose(boards, records)
    await _compute_boards(work, boards, records, ledger.keyed_digest_key())
    found = [board for board in boards if board.found is not None]
    rebuilt = await ledger.bind_found(
        [board.found for board in found if board.found is not None], first=work.run.job.index_first, why=why
    )
    for board, outcome in zip(found, rebuilt.outcomes, strict=True):
        if isinstance(outcome, Known):
            _tell_known(board, outcome)
        elif outcome is not None:
            board.what = f"not bound: {outcome} {outcome.hint}".strip()
        else:
            board.bound = True
    return RebuildReport(
        boards=tuple(board.told() for board in boards),
        batch=ledger.batch,
        computed=len(indexes) - len(records.failed),
        uncomputed=len(records.failed),
        first_error=next(iter(records.failed.values()), ""),
        gaps=rebuilt.gaps,
        highest=rebuilt.highest,
        notes=ledger.notes,
    )


# The boards -----------------------------------------------------------------------------------------


async def _look(run: SharedRun, board: _Board) -> None:
    """Identify a board and read all of it. What goes wrong is told of the board."""
    try:
        board.device, board.seen = await read_board(run.job, run.extend, board.port)
    except ParburnError as error:
        board.what = f"{error} {error.hint}".strip()


def _refuse_doubled(boards: Sequence[_Board]) -> None:
    times = Counter(identity_of(board.device) for board in boards if board.device is not None)
    for board in boards:
        if board.device is not None and times[identity_of(board.device)] > 1:
            board.seen = None
            board.what = (
                "not bound: its chip answers at another port, too. One board behind two ports, or two chips "
                "with one identity: sort it out first."
            )


async def _known_before(ledger: RunLedger, boards: Sequence[_Board]) -> None:
    """Leave chips that the ledger knows already as they are."""
    seen = [board for board in boards if board.seen is not None]
    identities = [identity_of(board.device) for board in seen if board.device is not None]
    for board, known in zip(seen, await ledger.find_known(identities), strict=True):
        if known is not None:
            board.seen = None
            _tell_known(board, known)


def _tell_known(board: _Board, known: Known) -> None:
    board.bound, board.index = True, known.index
    board.what = f"known before as index {known.index} of {known.batch} ({known.state}): left as it is"


# The records ----------------------------------------------------------------------------------------


def _kind(image: EfuseImage) -> _Kind:
    return _Kind(image.chip, image.scheme(image.chip.blocks[-1].index).name)


def _seen(boards: Sequence[_Board]) -> Iterator[tuple[_Board, Device, EfuseImage]]:
    for board in boards:
        if board.device is not None and board.seen is not None:
            yield board, board.device, board.seen


async def _compute_records(work: _Work, boards: Sequence[_Board], indexes: Sequence[int]) -> _BurnedByRecord:
    """Run the scripts once a record for each kind of chip that was seen."""
    records = _BurnedByRecord()
    kinds: dict[_Kind, tuple[Device, EfuseImage]] = {}
    for board, device, image in _seen(boards):
        try:
            kinds.setdefault(_kind(image), (device, blank_of(image)))
        except ParburnError as error:  # a coding scheme that nothing supports
            board.seen, board.what = None, f"not bound: {error}"
    records.by_kind.update((kind, RecordValues()) for kind in kinds)

    def orders() -> Iterator[Order]:
        for device, blank in kinds.values():
            for index in indexes:
                yield Order(facts_of(device, "no port", index), blank)

    def take(order: Order, computed: Computed) -> None:
        index, kind = order.facts.index, _kind(order.image)
        assert index is not None
        if computed.error is not None:
            records.failed.setdefault(index, f"index {index}: {computed.error}")
            return
        rules = work.run.value_rules(kind.chip)
        records.by_kind[kind].add(index, values_of(computed.held, computed.written, rules))
        records.want[kind, index] = dict(computed.want)

    await _compute(work, orders(), take)
    return records


async def _compute(work: _Work, orders: Iterator[Order], take: Callable[[Order, Computed], object]) -> None:
    await compute_all(
        work.run.scripts,
        orders,
        work.run.script_options,
        take=take,
        allow_side_effects=work.allow_side_effects,
    )


def _choose(boards: Sequence[_Board], records: _BurnedByRecord) -> None:
    """Choose the one record that each board carries; tell what fits none or several, or is on two."""
    carriers: dict[int, list[_Board]] = {}
    for board, _device, image in _seen(boards):
        fit = records.by_kind[_kind(image)].fit(image)
        if len(fit.indexes) == 1:
            board.index = fit.indexes[0]
            carriers.setdefault(board.index, []).append(board)
        elif fit.indexes:
            some = ", ".join(map(str, fit.indexes[:3])) + (", ..." if len(fit.indexes) > 3 else "")
            board.what = f"not bound: it fits {len(fit.indexes)} records ({some})"
        else:
            board.what = "not bound: it carries the values of no record"
    for index, several in carriers.items():
        if len(several) > 1:
            macs = [board.device.identity.mac_text for board in several if board.device is not None]
            for board in several:
                board.index = None
                board.what = (
                    f"not bound: index {index} is carried by {' and '.join(macs)}. Take them out of the line."
                )


# What is left to burn ---------------------------------------------------------------------------------


async def _compute_boards(
    work: _Work, boards: Sequence[_Board], records: _BurnedByRecord, key: bytes
) -> None:
    """Run the scripts once more for each board that is bound, on its own chip as it was before."""
    chosen = {
        board.index: (board, device, image)
        for board, device, image in _seen(boards)
        if board.index is not None
    }

    def orders() -> Iterator[Order]:
        for index, (board, device, image) in chosen.items():
            want = records.want[_kind(image), index]
            before = {n: image.block(n) & ~bits for n, bits in want.items()}
            yield Order(facts_of(device, board.port, index), image.with_blocks(before))

    def take(order: Order, computed: Computed) -> None:
        assert order.facts.index is not None
        board, device, image = chosen[order.facts.index]
        board.found = found_unit(work.run, device, image, order.facts.index, computed, key)
        board.what = board.found.reason or "bound; it holds all of its record"

    await _compute(work, orders(), take)
