"""From a job file to what a station runs: read, compared with its arming, its slots held. Opens no port.

Everything that would keep a station from starting is found here, before any tty is touched. Records that were
added at the end are rehearsed before they can be used.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from parburn.errors import LedgerUnusable, UsageError
from parburn.job import Job
from parburn.ledger.base import RunNote
from parburn.ledger.file_location import is_missing, ledger_place
from parburn.ledger_place import Place
from parburn.printable import printable
from parburn.run.checked_job import CheckedJob
from parburn.script.shared_output import refuse_one_file_for_all
from parburn.station.armed import Arming, armed_path, extends, read_armed, warnings
from parburn.station.armed_inputs import inputs_of
from parburn.station.arming import (
    OTHER_LEDGER,
    arm,
    armed_records,
    extended,
    ledger_facts,
    prepare,
    refuse_changed,
)
from parburn.station.batch_rehearsal import BatchRehearsal
from parburn.station.job_file import StationJob, check_station_job, load_job_file
from parburn.station.slots_file import Slot, read_slots

SIMULATED_REHEARSAL = 200  # records, of a job that only simulated boards get


class Opened(NamedTuple):
    """What a station needs to begin. `amber` are sentences that somebody should see to."""

    station: StationJob
    arming: Arming
    checked: CheckedJob
    slots: tuple[Slot, ...]
    amber: tuple[str, ...] = ()

    def with_debug(self, debug: bool) -> Opened:
        """Return it with a job that shows tracebacks of our errors, or does not."""
        return self._replace(checked=self.checked._replace(job=self.checked.job._replace(debug=debug)))

    @property
    def files(self) -> tuple[Path, ...]:
        """All files that an arming is made from, and its own."""
        station, checked = self.station, self.checked
        read = (*checked.scripts.digests, *checked.tables.digests)
        config = (one.path for one in checked.config.files)
        own = (station.path, armed_path(station.path), *([station.slots] if station.slots else ()))
        return (*own, *map(Path, read), *config)

    @property
    def note(self) -> RunNote:
        """What the ledger's history says of this station's run."""
        return self.checked.note._replace(arming=self.arming.digest)


def open_job(path: Path, *, operator: str, name: str, ledger: Place | None = None) -> Opened:
    """Read a job and its arming, and compare them. Call it where no other thread runs and no loop.

    Args:
        path: The job file.
        operator: Who works at the station.
        name: Where it is, for the record; empty: as the job or the machine says.
        ledger: The ledger; None: as the job says, or the user's own.

    Raises:
        UsageError: a file is wrong, the job is not armed, or something has changed since.
        LedgerUnusable: there is no ledger, or it cannot be read.
    """
    station = _named(load_job_file(path), operator, name, ledger)
    arming = read_armed(armed_path(path))
    if station.slots is None:
        raise UsageError(
            f"{printable(str(path))} names no slots: a station must know its sockets",
            hint='Make a slots file with `parburn slots learn FILE`, and name it: slots = "FILE".',
        )
    slots = read_slots(station.slots).slots
    checked = check_station_job(station)
    refuse_one_file_for_all(checked.scripts)
    if is_missing(station.job.ledger):
        place = ledger_place(station.job.ledger)
        raise LedgerUnusable(f"There is no ledger at {place}, and a station makes none.", hint=OTHER_LEDGER)
    facts = ledger_facts(station.job.ledger)
    now = inputs_of(station, checked, facts)
    refuse_changed(arming, now)
    amber = tuple(warnings(arming, now))
    if extends(arming, now):
        prepared = prepare(station, begin_at=arming.last + 1)
        _refuse_faults(prepared.found)
        arming = extended(arming, prepared, facts)
    return Opened(station, arming, armed_records(checked, arming), slots, amber)


def open_simulated(path: Path, *, chips: Sequence[str], ports: Sequence[str], ledger: Place) -> Opened:
    """Read a job for simulated boards, and arm it in passing: nothing of it is for real ports.

    Args:
        path: The job file.
        chips: The kinds of the boards, in place of the job's.
        ports: Where they are: a socket each, A1 and so on.
        ledger: A ledger that was made for it, and is thrown away.

    Raises:
        UsageError: a file is wrong, or a record cannot be burned.
    """
    station = _named(load_job_file(path), "", "", ledger)
    job = station.job._replace(simulated=True, chip=",".join(chips))
    station = station._replace(job=job, chips=tuple(chips), slots=None)
    checked = check_station_job(station)
    refuse_one_file_for_all(checked.scripts)
    last = checked.job.index_last
    assert last is not None, "check_station_job has given the range an end"
    few = job._replace(index_last=min(last, job.index_first + SIMULATED_REHEARSAL - 1))
    prepared = prepare(station._replace(job=few))
    _refuse_faults(prepared.found)
    arming = arm(prepared, ledger_facts(ledger), operator="simulated")
    slots = tuple(Slot(f"A{number}", port) for number, port in enumerate(ports, start=1))
    return Opened(station, arming, checked, slots)


def _named(station: StationJob, operator: str, name: str, ledger: Place | None) -> StationJob:
    job: Job = station.job
    job = job._replace(
        operator=operator or job.operator,
        station=name or job.station,
        ledger=ledger or station.ledger or job.ledger,
    )
    return station._replace(job=job)


def _refuse_faults(found: BatchRehearsal) -> None:
    """Raise UsageError where a record cannot be burned."""
    for chip in found.chips:
        for fault in chip.findings:
            raise UsageError(
                f"index {fault.indexes[0]}: {fault.said}",
                hint=f"{fault.hint} `parburn check` tells all that is wrong.".strip(),
            )
