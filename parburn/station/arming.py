"""Arming: a job that was rehearsed becomes what a station may burn. Asks nobody, prints nothing.

The ledger is made here where none is: the station never makes one, and an arming is bound to it.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, NamedTuple

from parburn.errors import UsageError
from parburn.ledger import maintenance
from parburn.ledger.reading import name_and_key, reading
from parburn.ledger_place import Place
from parburn.run.checked_job import CheckedJob, station_of
from parburn.station.armed import Arming, arming_digest, compare, extends
from parburn.station.armed_inputs import ArmedInputs, LedgerFacts, inputs_of, refuse_unfinished, short_digest
from parburn.station.batch_rehearsal import BatchRehearsal, rehearse_batch
from parburn.station.job_file import StationJob, check_station_job
from parburn.station.template_making import admits, template_of

OnProgress = Callable[[int, int], object]
CHANGED: Final = "Put it back as it was, or an engineer arms the job anew."
OTHER_LEDGER: Final = (
    "Name or move that ledger here. A second PC must not begin this job again: it gets indexes of its own "
    "(index in the job file), or takes over what was burned (parburn ledger import-used), before it is armed."
)
VALUES: Final = b"values of a batch that is to be armed"  # keyed again by the ledger before they are kept


class Prepared(NamedTuple):
    """A job that is ready to be armed, if its rehearsal found no fault."""

    station: StationJob
    checked: CheckedJob
    found: BatchRehearsal


def prepare(
    station: StationJob,
    *,
    processes: int | None = None,
    allow_side_effects: bool = False,
    begin_at: int | None = None,
    on_progress: OnProgress | None = None,
) -> Prepared:
    """Check a job's files and rehearse its records. Call it where no other thread runs and no loop.

    Args:
        station: The job file.
        processes: How many work; None: one for each processor.
        allow_side_effects: Let scripts write files and the like, two or three times a record and chip.
        begin_at: Leave out the records below it.
        on_progress: Gets how many of all rehearsals are done, and how many there are.

    Raises:
        ParburnError: files or scripts are none, or the range of indexes has no end.
    """
    checked = check_station_job(station)
    refuse_unfinished(checked)
    found = rehearse_batch(
        checked,
        station.chips,
        processes=processes,
        allow_side_effects=allow_side_effects,
        shapes=True,
        secret=VALUES,
        begin_at=begin_at,
        on_progress=on_progress,
    )
    return Prepared(station, checked, found)


def ledger_facts(path: Place | None) -> LedgerFacts:
    """Return what an arming is bound to, of the ledger at `path` (None: the user's own).

    Raises:
        LedgerUnusable: there is none, or it cannot be read.
    """
    with reading(path) as (connection, place):
        return LedgerFacts(*name_and_key(connection), str(place))


def make_ledger(path: Place | None, name: str) -> str:
    """Make the ledger for a job, where none is or was; return what to say of it.

    Raises:
        LedgerUnusable: there is one, or it cannot be made.
    """
    return maintenance.init(path, f"the job {name} was armed")


def arm(prepared: Prepared, ledger: LedgerFacts, *, operator: str) -> Arming:
    """Return the arming of a job that was rehearsed without a fault.

    Raises:
        UsageError: the records give too many different plans, or a file is not whole.
    """
    checked = prepared.checked
    template = template_of(prepared.found.shapes, ledger.key)
    return Arming(
        prepared.station.name,
        arming_digest(checked, template),
        now(),
        operator,
        station_of(checked.job),
        inputs_of(prepared.station, checked, ledger),
        template,
        {name: frozenset(some) for name, some in _values(prepared.found, ledger).items()},
    )


def _values(found: BatchRehearsal, ledger: LedgerFacts) -> dict[str, dict[str, int]]:
    """Return digests of what units must not share, by name, with the index that gives each.

    What all units have is none of it.
    """
    return {
        name: {short_digest(digest, ledger.key): index for digest, index in some.items()}
        for name, some in found.values.items()
        if len(some) > 1 or found.first == found.last
    }


def extended(arming: Arming, prepared: Prepared, ledger: LedgerFacts) -> Arming:
    """Return an arming with records that were added at the end; what it may burn stays the same.

    Args:
        arming: The one that holds.
        prepared: The job as it is now; its records behind those of the arming were rehearsed.
        ledger: The ledger that the job works with.

    Raises:
        UsageError: something else was changed, or a new record gives what was not armed.
    """
    inputs = inputs_of(prepared.station, prepared.checked, ledger)
    refuse_changed(arming, inputs)
    for chip, shapes in prepared.found.shapes.items():
        for index, shape in shapes:
            if not admits(arming.template, chip, shape, ledger.key):
                raise UsageError(
                    f"the record of index {index} burns otherwise than what was armed {arming.when}",
                    hint="Arm the job anew: parburn arm without --extend shows what all records burn.",
                )
    values = dict(arming.values)
    for name, some in _values(prepared.found, ledger).items():
        before = values.get(name, frozenset())
        again = [index for digest, index in some.items() if digest in before]
        if again:
            raise UsageError(
                f"the record of index {min(again)} gives a value of {name} that a record before it gives",
                hint="Mend the files: no two units may carry it. Nothing was armed.",
            )
        values[name] = before | frozenset(some)
    return arming._replace(inputs=inputs, values=values)


def refuse_changed(arming: Arming, now_there: ArmedInputs) -> None:
    """Raise UsageError where anything is not as it was armed."""
    differences = compare(arming, now_there)
    if not differences:
        return
    more = f" (and {len(differences) - 1} more differences)" if len(differences) > 1 else ""
    is_ledger = now_there.ledger != arming.inputs.ledger
    raise UsageError(f"{differences[0]}{more}", hint=OTHER_LEDGER if is_ledger else CHANGED)


def has_new_records(arming: Arming, station: StationJob, ledger: LedgerFacts) -> bool:
    """Tell whether records were added at the end since the job was armed.

    Raises:
        UsageError: anything else was changed.
    """
    now_there = inputs_of(station, check_station_job(station), ledger)
    refuse_changed(arming, now_there)
    return extends(arming, now_there)


def armed_records(checked: CheckedJob, arming: Arming) -> CheckedJob:
    """Return the job for the records that were armed, and no other."""
    return checked._replace(job=checked.job._replace(index_first=arming.first, index_last=arming.last))


def now() -> str:
    """Return the time as armings have it: UTC, ISO 8601, seconds."""
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
