"""`ledger verify --ports`: boards are read and compared with their records. Burns nothing, writes nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from enum import Enum
from typing import NamedTuple

from anyio import create_task_group, to_thread

from parburn.efuse.image import EfuseImage
from parburn.errors import InternalError, ParburnError
from parburn.hardware.identify import Device
from parburn.job import Job
from parburn.ledger.base import UNTOUCHED, State, UnitIdentity
from parburn.ledger.reading import name_and_key, reading_trusted
from parburn.ledger.unit_life import total_state
from parburn.ledger.unit_records import UnitRecord, chip_records
from parburn.recovery.board_reading import read_board
from parburn.recovery.comparison import Comparison, compare
from parburn.recovery.rebuilt_unit import identity_of
from parburn.recovery.recorded_chip import RecordedChip, recorded_chip
from parburn.run.tables import TableSet
from parburn.transport.descriptors import make_room


class Verdict(Enum):
    """How a board compares with its record. The words are those that are told."""

    SAME = "as-recorded"
    DIFFERS = "differs"
    PARTLY = "partly-recorded"  # something may be missing of which no record speaks
    UNRECORDED = "more-than-recorded"  # in places of which no record speaks
    NOT_WHOLE = "not-whole"
    SCRAPPED = "scrapped"  # whatever it holds
    NO_RECORD = "no-record"
    NO_ANSWER = "no-answer"


class BoardVerdict(NamedTuple):
    """What is told of a board. `state` is what the ledger says of it, `error` why it was not compared."""

    port: str
    verdict: Verdict
    chip: str = ""
    mac: str = ""
    batch: str = ""
    index: int | None = None  # type: ignore[assignment]  # not tuple.index
    state: str = ""
    comparison: Comparison = Comparison()
    error: str = ""
    hint: str = ""


class _Board(NamedTuple):
    port: str
    device: Device
    image: EfuseImage


class _Records(NamedTuple):
    key: bytes
    of: dict[UnitIdentity, list[UnitRecord]]


async def verify_boards(job: Job) -> list[BoardVerdict]:
    """Read the boards at the job's ports, and compare each with what the ledger has of it.

    Raises:
        LedgerUnusable: it is not there, cannot be read, or its witness does not know it; no port was opened.
        UsageError, ChipDataError: a custom table is wrong; no port was opened.
    """
    tables = await to_thread.run_sync(TableSet, job.tables)
    await to_thread.run_sync(_records, job, ())  # what is wrong with it is told before a port is opened
    make_room(len(job.ports))
    boards: dict[str, _Board | BoardVerdict] = {}

    async def look(port: str) -> None:
        try:
            boards[port] = _Board(port, *await read_board(job, tables.extend, port))
        except Exception as error:  # a defect of ours must not take the other boards down
            boards[port] = _without(BoardVerdict(port, Verdict.NO_ANSWER), error, debug=job.debug)

    async with create_task_group() as looking:
        for port in job.ports:
            looking.start_soon(look, port)
    seen = [board for board in boards.values() if isinstance(board, _Board)]
    identities = [identity_of(board.device) for board in seen]
    records = await to_thread.run_sync(_records, job, identities)
    times = Counter(identities)
    verdicts = {
        board.port: _told_of(board, who, records, doubled=times[who] > 1, debug=job.debug)
        for board, who in zip(seen, identities, strict=True)
    }
    silent = {port: one for port, one in boards.items() if isinstance(one, BoardVerdict)}
    return [(silent | verdicts)[port] for port in job.ports]


def _records(job: Job, identities: Sequence[UnitIdentity]) -> _Records:
    with reading_trusted(job.ledger) as (connection, _):
        found = {who: chip_records(connection, who) for who in identities}
        return _Records(name_and_key(connection)[1], found)


def _without(said: BoardVerdict, error: Exception, *, debug: bool = False) -> BoardVerdict:
    """Return the verdict with why there is no other one. With `debug` a defect of ours is raised."""
    if debug and not isinstance(error, ParburnError):
        raise error
    reason = error if isinstance(error, ParburnError) else InternalError(error)
    return said._replace(error=str(reason), hint=reason.hint)


def _told_of(
    board: _Board, who: UnitIdentity, records: _Records, *, doubled: bool, debug: bool
) -> BoardVerdict:
    try:
        return _verdict(board, who, records, doubled=doubled)
    except Exception as error:  # as above
        return _without(BoardVerdict(board.port, Verdict.NO_ANSWER, who.chip, who.mac), error, debug=debug)


def _verdict(board: _Board, who: UnitIdentity, records: _Records, *, doubled: bool) -> BoardVerdict:
    units = records.of[who]
    said = BoardVerdict(board.port, Verdict.NO_RECORD, who.chip, who.mac)
    if not units:
        return said._replace(
            error="the ledger knows no such chip",
            hint="Was it burned with another ledger? parburn ledger import-used takes that over.",
        )
    last = units[-1]
    state = total_state(last.state, last.life.since)
    state = f"{state}, scrapped" if last.scrapped else state
    said = said._replace(batch=last.batch, index=last.index, state=state)
    try:
        recorded = recorded_chip(board.device.chip, units)
    except ParburnError as error:
        return _without(said, error)
    comparison = compare(recorded, board.image, records.key)
    if doubled:
        return said._replace(
            verdict=Verdict.DIFFERS,
            comparison=comparison,
            error="its chip answers at another port, too",
            hint="One board behind two ports, or two chips with one identity: sort it out first.",
        )
    return said._replace(
        verdict=_word(units, recorded, comparison), comparison=comparison, error="; ".join(_scrapped(units))
    )


def _scrapped(units: Sequence[UnitRecord]) -> Iterator[str]:
    """Yield where, and why, a chip was scrapped: one batch is enough."""
    return (f"scrapped in the batch {unit.batch}: {unit.scrapped}" for unit in units if unit.scrapped)


def _word(units: Sequence[UnitRecord], recorded: RecordedChip, comparison: Comparison) -> Verdict:
    states = [unit.state for unit in units]
    if any(unit.scrapped for unit in units):
        return Verdict.SCRAPPED
    if comparison.differs or State.QUARANTINED in states:
        return Verdict.DIFFERS
    if all(state in UNTOUCHED for state in states):
        return Verdict.NO_RECORD
    if any(unit.attempts for unit in units) or State.INCOMPLETE in states:
        return Verdict.NOT_WHOLE
    if recorded.not_told:
        return Verdict.PARTLY
    return Verdict.UNRECORDED if comparison.unrecorded else Verdict.SAME
