"""`parburn arm`: what a station may burn is rehearsed, shown, and bound to a ledger by an engineer's word."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

from parburn.cli.check import FAULTS, GOOD, check_text, progress
from parburn.cli.job_folder import go_to_folder_of
from parburn.cli.saying import say, tell
from parburn.errors import NotConfirmed, UsageError
from parburn.job import LONGEST_NAME
from parburn.ledger.file_location import is_missing, ledger_place, no_ledger_yet
from parburn.ledger.without_run import note_armed
from parburn.ledger_place import Place
from parburn.printable import is_printable
from parburn.run.checked_job import station_of
from parburn.station import arming
from parburn.station.armed import Arming, armed_path, read_armed, write_armed
from parburn.station.armed_inputs import LedgerFacts
from parburn.station.arming import Prepared
from parburn.station.job_file import StationJob, load_job_file
from parburn.station.rehearsal import blank_chips
from parburn.station.template import PlanTemplate
from parburn.station.template_making import template_of
from parburn.station.template_words import template_lines
from parburn.transport.tty import discard_typed
from parburn.ui.nonblocking_writer import NonblockingWriter
from parburn.ui.prompt import ask_for, can_ask

NEW_LEDGER = (
    "There is no ledger at {} yet: arming makes it. If this product was burned with another one, stop."
)
QUESTIONS = {
    "NEW": "Type NEW (all capitals) to begin a new ledger: ",
    "BURN": "Type BURN (all capitals) to arm the job: a station then burns this, unasked, for ever: ",
}


def arm(options: argparse.Namespace) -> int:
    """Arm a job; return 0, or 2 where its rehearsal found faults.

    Raises:
        ParburnError: the job file or what it names is wrong, or the operator did not confirm.
    """
    operator = _operator(options)
    ledger = options.ledger.absolute() if isinstance(options.ledger, Path) else options.ledger
    station = _with_ledger(load_job_file(go_to_folder_of(options.job)), ledger)
    if options.extend:
        return _extend(options, station, operator)
    ask = not options.yes_burn
    missing = is_missing(station.ledger)
    if missing and not options.new_ledger and not (ask and can_ask()):
        raise no_ledger_yet(station.ledger)
    if ask and not can_ask():
        raise NotConfirmed(
            "not confirmed: there is no terminal to ask on; nothing was armed",
            hint="An engineer arms at a terminal. Where a program has checked it: --yes-burn.",
        )
    prepared = _rehearsed(options, station)
    if not prepared.found.is_good:
        say(check_text(prepared.found))
        tell("parburn: the job was not armed: its rehearsal found faults\n")
        return FAULTS
    key = b"" if missing else arming.ledger_facts(station.ledger).key
    _show(prepared, template_of(prepared.found.shapes, key))
    if missing and not options.new_ledger:
        tell(NEW_LEDGER.format(ledger_place(station.ledger)) + "\n")
        _confirmed("NEW", "no new ledger was begun, and nothing was armed")
    if ask:
        _confirmed("BURN", "not confirmed: nothing was armed")
    if missing:
        tell(arming.make_ledger(station.ledger, station.name))
    ledger = arming.ledger_facts(station.ledger)
    _keep(station, arming.arm(prepared, ledger, operator=operator), ledger, operator)
    return GOOD


def _extend(options: argparse.Namespace, station: StationJob, operator: str) -> int:
    """Take in records that were added at the end; what may be burned stays the same."""
    before = read_armed(armed_path(station.path))
    ledger = arming.ledger_facts(station.ledger)
    if not arming.has_new_records(before, station, ledger):
        say(f"No record was added since the job was armed {before.when}: it stays as it is.\n")
        return GOOD
    prepared = _rehearsed(options, station, begin_at=before.last + 1)
    if not prepared.found.is_good:
        say(check_text(prepared.found))
        tell("parburn: the job was not extended: the rehearsal of its new records found faults\n")
        return FAULTS
    extended = arming.extended(before, prepared, ledger)
    _keep(station, extended, ledger, operator, why=f"extended to index {extended.last}")
    return GOOD


def _operator(options: argparse.Namespace) -> str:
    name = (options.operator or "").strip()
    if not name:
        raise UsageError("who arms the job is not said", hint="Give --operator NAME: it stays in the record.")
    if len(name) > LONGEST_NAME or not name.isprintable() or not is_printable(name):
        raise UsageError(f"--operator needs a printable name of at most {LONGEST_NAME} characters")
    return name


def _with_ledger(station: StationJob, named: Place | None) -> StationJob:
    """Return the job with the ledger that it works with: the file's own, else that of the command line."""
    if named is None:
        return station
    if station.ledger is not None and ledger_place(named) != ledger_place(station.ledger):
        raise UsageError(
            f"--ledger {named} is not the one that the job file names ({station.ledger})",
            hint="Leave --ledger out, or mend the job file.",
        )
    return station._replace(ledger=named, job=station.job._replace(ledger=named))


def _rehearsed(options: argparse.Namespace, station: StationJob, *, begin_at: int | None = None) -> Prepared:
    with progress() as on_progress:
        return arming.prepare(
            station,
            processes=options.jobs,
            allow_side_effects=options.allow_side_effects,
            begin_at=begin_at,
            on_progress=on_progress,
        )


def _show(prepared: Prepared, template: PlanTemplate) -> None:
    """Show the template, and how far it was looked at."""
    found = prepared.found
    count = found.last - found.first + 1
    lines = [
        f"Job {prepared.station.name}: index {found.first}-{found.last}, {count} records without a fault"
    ]
    for chip in prepared.station.chips:
        lines += template_lines(template, chip, blank_chips(prepared.checked, chip).one.image)
    lines.append("A board that asks for anything else, or lacks any of it, is refused and halts the station.")
    say("\n".join(lines) + "\n")


def _confirmed(word: str, otherwise: str) -> None:
    """Ask for a word.

    Raises:
        NotConfirmed: it did not come.
    """
    out = NonblockingWriter(sys.stderr)
    try:
        typed = asyncio.run(_typed(word, out))
    finally:
        out.close()
    if not typed:
        raise NotConfirmed(otherwise)


async def _typed(word: str, out: NonblockingWriter) -> bool:
    never = asyncio.Event()
    return await ask_for(word, QUESTIONS[word], out, sys.stdin.fileno(), never, discard=discard_typed)


def _keep(station: StationJob, armed: Arming, ledger: LedgerFacts, operator: str, *, why: str = "") -> None:
    """Write the arming, then say so in the ledger: a halt must not end by an arming that was not written."""
    path = armed_path(station.path)
    write_armed(path, armed)
    note_armed(
        station.ledger,
        batch=station.name,
        arming=armed.digest,
        operator=operator,
        station=station_of(station.job),
        why=why,
        last=armed.last,
    )
    say(f"Armed for index {armed.first}-{armed.last} with the ledger {ledger.place}: {path}\n")
