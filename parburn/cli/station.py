"""`parburn station`: from a job file to sockets at work, until it is stopped. Decides nothing of boards."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from parburn.cli import background
from parburn.cli.garbage import collect_now_and_then, collect_only_what_comes
from parburn.cli.job_folder import go_to_folder_of
from parburn.cli.saying import say
from parburn.cli.signals import redrawn_after_a_stop, stop_requested_by_signals
from parburn.cli.station_options import WORDS
from parburn.errors import NoStation, UsageError
from parburn.ledger.file_location import ledger_place
from parburn.nearest import did_you_mean
from parburn.run.stop import StopRequest
from parburn.station.arming import make_ledger
from parburn.station.choose_view import LOOK_S, view_for
from parburn.station.command_client import send_resume, send_unlock
from parburn.station.command_place import user_name
from parburn.station.job_file import load_job_file
from parburn.station.next_start import write_for_next_start
from parburn.station.opening import Opened, open_job, open_simulated
from parburn.station.picture import StationPicture
from parburn.station.running import Beside, Outside, run_station, written_path
from parburn.station.slot_lock import held_slots
from parburn.station.view import shows_tiles
from parburn.transport.descriptors import make_room
from parburn.ui.nonblocking_writer import NonblockingWriter

GOOD: Final = 0
EXAMPLE: Final = "station.toml"
GARBAGE: Final = (5_000, 10, 10)  # new objects before the collector looks: those of some four boards
STOP_NOTES: Final = (
    "stopping: no board begins any more, those that were begun are finished; once more stops between blocks",
    "stopping between two blocks",
)


def station(options: argparse.Namespace) -> int:
    """Do what `parburn station` asks for; return the exit code.

    Raises:
        ParburnError: it cannot start, or the station that is told does not do it.
    """
    words = options.words
    if words[:1] and words[0] in WORDS:
        return _engineer(options, words)
    if len(words) > 1:
        meant = did_you_mean(words[0], WORDS)
        raise UsageError(
            f"a station has one job, and here are {len(words)}",
            hint=meant.capitalize() or "parburn station JOB.toml",
        )
    if options.sim:
        return _simulated(options, Path(words[0]) if words else _example())
    if not words:
        raise UsageError("no job is named", hint="parburn station JOB.toml, or add --sim CHIP:N to try it")
    path = go_to_folder_of(Path(words[0]))
    opened = open_job(path, operator=options.operator, name=options.station)
    assert opened.station.slots is not None, "open_job refuses a job without slots"
    with held_slots(opened.station.slots):
        return _run(options, opened, commands=path)


def _engineer(options: argparse.Namespace, words: list[str]) -> int:
    """Pass an engineer's word on to the station; for one that does not run, keep it for its next start."""
    if words[0] == "unlock":
        if len(words) != 2:
            raise UsageError("which socket is to be unlocked?", hint="parburn station unlock A1")
        say(send_unlock(words[1], job=options.job) + "\n")
        return GOOD
    if len(words) > 2:
        raise UsageError("one socket at a time is resumed", hint="parburn station resume A1 --why REASON")
    slot = words[1] if len(words) == 2 else None
    if not options.why.strip():
        raise UsageError("resume needs a reason, which is kept", hint="--why REASON")
    try:
        say(send_resume(slot, options.why, job=options.job) + "\n")
    except NoStation:
        if options.job is None:
            raise
        ledger = ledger_place(load_job_file(options.job.absolute()).job.ledger)
        place = written_path(ledger, options.job)
        write_for_next_start(place, slot, options.why, user_name(os.getuid()))
        say("no station of this job runs: it is kept for the next start\n")
    return GOOD


def _example() -> Path:
    """Return the job that simulated boards get where none is named.

    Raises:
        UsageError: parburn was installed without its examples.
    """
    root = Path(__file__).resolve().parents[2]
    for path in (root / "examples" / EXAMPLE, Path("examples", EXAMPLE)):
        if path.is_file():
            return path
    raise UsageError(
        "no job is named, and the example is only in parburn's source folder",
        hint="parburn station JOB.toml --sim CHIP:N, or run it in that folder.",
    )


# Simulated boards -----------------------------------------------------------------------------------


def _simulated(options: argparse.Namespace, path: Path) -> int:
    from parburn.cli.options import simulated_groups
    from parburn.sim.control_client import ControlledRig
    from parburn.station.simulated_hand import play_operator

    groups = simulated_groups(options.sim)
    chips = list(dict.fromkeys(group.chip for group in groups))
    text = ",".join(f"{group.chip}:{group.boards}" for group in groups)
    with ControlledRig(text, lines=True) as rig:
        ledger = Path(rig.ports[0]).with_name("ledger.sqlite3")  # goes with the rig
        make_ledger(ledger, "simulated")
        opened = open_simulated(go_to_folder_of(path), chips=chips, ports=rig.ports, ledger=ledger)

        def beside(picture: Callable[[], StationPicture]) -> Awaitable[object]:
            return play_operator(rig, picture, seed=0)

        return _run(options, opened, beside=beside)


# Running --------------------------------------------------------------------------------------------


def _run(
    options: argparse.Namespace,
    opened: Opened,
    *,
    commands: Path | None = None,
    beside: Beside | None = None,
) -> int:
    writer = NonblockingWriter(sys.stdout)
    job = opened.station
    view = view_for(
        sys.stdout, writer, json=options.json, plain=options.plain, words=job.words, bells=job.bells
    )
    is_drawn = shows_tiles(sys.stdout) and not (options.plain or options.json)
    try:
        make_room(len(opened.slots))
        draws_every_s = LOOK_S if is_drawn else 0.0
        stop = StopRequest(begun_ends_whole=True)
        outside = Outside(view, stop, draws_every_s, commands=commands, group=options.group, beside=beside)
        collect_only_what_comes(*GARBAGE)
        asyncio.run(_until_stopped(opened.with_debug(options.debug), outside, debug=options.debug))
    finally:
        view.close()
        writer.close()
    return GOOD


async def _until_stopped(opened: Opened, outside: Outside, *, debug: bool) -> None:
    requests = 0

    def request() -> None:
        nonlocal requests
        outside.view.note("", STOP_NOTES[min(requests, 1)], "warning")
        requests += 1
        outside.stop.request()

    def noted(text: str) -> None:
        outside.view.note("", text, "warning")

    def redraw() -> None:
        outside.view.draw(force=True)

    with (
        stop_requested_by_signals(request),
        redrawn_after_a_stop(redraw),
        background.told(noted, debug=debug),
    ):
        collecting = asyncio.ensure_future(collect_now_and_then())
        try:
            station = await run_station(opened, outside)
        finally:
            collecting.cancel()
        outside.view.ended(station.totals())
