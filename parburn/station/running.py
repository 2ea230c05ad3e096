"""One station from its open ledger to its end: seats, sources, words of engineers, what is written down."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from anyio import CancelScope, sleep, to_thread

from parburn import coding
from parburn.errors import LedgerError, NotDone
from parburn.ledger.file_location import beside
from parburn.ledger.run_ledger import RunLedger, open_ledger
from parburn.ledger.station_entries import ENDED, STARTED
from parburn.ledger_place import Place, parse_place
from parburn.run.checked_job import station_of
from parburn.run.stop import StopRequest
from parburn.station.arrival_sources import arrival_source
from parburn.station.bridge_seat import BridgeSeat
from parburn.station.changed_files import watch_files
from parburn.station.choose_view import keep_drawing
from parburn.station.command_place import socket_name
from parburn.station.command_socket import CommandSocket
from parburn.station.gate import Gate
from parburn.station.machine import boards_of_a_shift, clock_is_synchronised, watch_machine
from parburn.station.next_start import take_for_next_start
from parburn.station.opening import Opened
from parburn.station.picture import StationPicture
from parburn.station.rig import Station
from parburn.station.seats import PlugSeat, Seat, Sitting
from parburn.station.service import Service
from parburn.station.shared import StationRun
from parburn.station.slots_file import Slot, port_now
from parburn.station.statistics import Statistics, place_beside
from parburn.station.view import StationFacts, StationView
from parburn.transport.lines_lock import machine_lines

NOTES_S: Final = 5.0  # between two looks whether the sockets' statistics have something to tell

POOL_AWAY: Final = "no connection to the pool: boards wait, and may stay in"

Beside = Callable[[Callable[[], StationPicture]], Awaitable[object]]


class Outside(NamedTuple):
    """What a station has beside its job: who shows it, who stops it, by what engineers' commands find it."""

    view: StationView
    stop: StopRequest
    draws_every_s: float = 0.0  # at most; 0: the view draws nothing by itself
    commands: Path | None = None  # the job file by which engineers' commands find it; None: none come
    group: str = ""  # that of the engineers
    beside: Beside | None = None  # who plays with simulated boards, and sees the picture


async def run_station(opened: Opened, outside: Outside) -> Station:
    """Run a station until its stop is asked for; return it, for what it has done.

    Raises:
        LedgerError: the ledger cannot be used; no port was opened.
        UsageError: its ttys cannot be watched, or another station of this job runs.
    """
    job = opened.checked.job
    coding.implementation()  # loads it now, while nobody waits on a line
    ledger = await open_ledger(job.ledger, opened.checked.batch, overrides=job.overrides, note=opened.note)
    statistics = await Statistics.open(place_beside(parse_place(ledger.place)))
    try:
        return await _Running(opened, outside, ledger, statistics).run()
    finally:
        with CancelScope(shield=True):
            await statistics.aclose()
            await ledger.aclose()


class _Running:
    """The parts of a station, put together."""

    def __init__(self, opened: Opened, outside: Outside, ledger: RunLedger, statistics: Statistics) -> None:
        self._opened, self._outside = opened, outside
        self._ledger, self._statistics = ledger, statistics

    async def run(self) -> Station:
        """Put it together, and let it run."""
        ledger, job = self._ledger, self._opened.checked.job
        station, around = await self._station()
        ledger.wait_without_end(partial(self._pool_away, station, around))
        plugs = self._seats(station, around)
        self._tell_start(station)
        clock = "" if clock_is_synchronised() is not False else "not synchronised"
        await ledger.tell_station(STARTED, operator=job.operator, station=station_of(job), clock=clock)
        await self._take_written(station)
        watched = [slot for slot in self._opened.slots if slot.name in plugs]
        find_source = partial(arrival_source, watched, period_s=self._opened.station.bounds.look_s)
        source = await to_thread.run_sync(find_source) if watched else None
        commands = await self._commands(station)
        beside = {asyncio.ensure_future(one) for one in self._beside(station)}
        for task in beside:
            task.add_done_callback(self._tell_failure)
        try:
            await station.run(source, plugs)
        finally:
            with CancelScope(shield=True):
                for task in beside:
                    task.cancel()
                await asyncio.wait(beside)
                if commands is not None:
                    await commands.close()
                with suppress(LedgerError):
                    await ledger.tell_station(ENDED, operator=job.operator, station=station_of(job))
        return station

    async def _station(self) -> tuple[Station, StationRun]:
        """Make a station without sockets, as the ledger says that its batch is now."""
        opened, outside, ledger = self._opened, self._outside, self._ledger
        arming, rules = opened.arming, opened.station
        counts = await ledger.station_counts(arming.first, arming.last)
        halt = await ledger.find_halt()
        first_articles = max(0, rules.first_article - counts.passed_under)
        tells: list[Station] = []
        around = StationRun(
            opened.checked,
            ledger,
            arming,
            stop=outside.stop,
            emit=lambda slot, event: tells[0].take(slot, event),
            gate=Gate(first_articles=first_articles, halt="" if halt is None else halt.why),
            rework=rules.rework,
            open_s=rules.bounds.open_s,
            put_it_back=rules.words.put_it_back,
        )
        station = Station(
            around,
            shows=outside.view,
            rules=rules.stop,
            statistics=self._statistics,
            replug_s=rules.bounds.replug_s,
            target=rules.target,
            indexes_left=arming.last - arming.first + 1 - counts.used,
            draws_every_s=outside.draws_every_s,
        )
        tells.append(station)
        return station, around

    def _tell_start(self, station: Station) -> None:
        """Show what it is, and what somebody should know or see to from the first board on."""
        for sentence in self._opened.amber:
            station.amber(sentence, sentence)
        if alone := machine_lines().only_here:
            station.amber("lines", alone)
        self._outside.view.started(self._facts())
        for note in self._ledger.take_notes():
            self._outside.view.note("", note)

    def _tell_failure(self, task: asyncio.Future[object]) -> None:
        """Tell that something beside the sockets has failed; they go on."""
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._outside.view.note("", f"{type(error).__name__}: {error}; the station goes on", "warning")

    def _beside(self, station: Station) -> Iterator[Awaitable[object]]:
        """Yield what goes on beside the sockets for as long as they are served."""

        def to_come() -> int:
            done = station.totals()
            return boards_of_a_shift(done.boards, done.seconds, station.picture().indexes_left)

        yield Service().keep_telling(station.picture)
        yield self._tell_statistics()
        if self._outside.draws_every_s:  # notes go, and terminals grow, while no board comes
            yield keep_drawing(self._outside.view)
        if not self._opened.checked.job.simulated:  # its ledger is thrown away
            yield watch_machine(station.amber, ledger=parse_place(self._ledger.place), to_come=to_come)
            yield watch_files(station.amber, self._opened.files)
        if self._outside.beside is not None:
            yield self._outside.beside(station.picture)

    async def _tell_statistics(self) -> None:
        """Show what goes wrong with the sockets' statistics, until cancelled: no board waits for them."""
        while True:
            for note in self._statistics.take_notes():
                self._outside.view.note("", note, "warning")
            await sleep(NOTES_S)

    def _seats(self, station: Station, around: StationRun) -> dict[str, PlugSeat]:
        """Add a socket for each slot; return the seats that an arrival source tells of."""
        bounds, plugs = self._opened.station.bounds, {}
        for slot in self._opened.slots:
            if slot.kind == "plug":

                def plug(lost: Callable[[Sitting], object]) -> PlugSeat:
                    return PlugSeat(debounce_s=bounds.debounce_s, on_loss=lost)

                seat = station.add(slot.name, plug)
                assert isinstance(seat, PlugSeat)
                plugs[slot.name] = seat
            else:
                station.add(slot.name, partial(self._bridge, station, around, slot))
        return plugs

    def _bridge(
        self, station: Station, around: StationRun, slot: Slot, _lost: Callable[[Sitting], object]
    ) -> Seat:
        bounds = self._opened.station.bounds
        return BridgeSeat(
            partial(to_thread.run_sync, port_now, slot),
            around.ports,
            by=slot.presence or "sync",
            look_s=bounds.look_s,
            debounce_s=bounds.debounce_s,
            on_silence=lambda silent: station.dim(slot.name, silent=silent),
        )

    def _facts(self) -> StationFacts:
        ledger, job = self._ledger, self._opened.checked.job
        return StationFacts(
            station=station_of(job),
            operator=job.operator,
            job=self._opened.arming.name,
            batch=ledger.batch,
            ledger=ledger.place,
            ledger_uuid=ledger.uuid,
            run=ledger.run,
            sockets=tuple(slot.name for slot in self._opened.slots),
            simulated=job.simulated,
        )

    async def _take_written(self, station: Station) -> None:
        """Do what engineers have said while no station ran."""
        job = self._outside.commands
        if job is None:
            return
        try:
            place = await to_thread.run_sync(written_path, parse_place(self._ledger.place), job)
            written = await to_thread.run_sync(take_for_next_start, place)
        except NotDone as error:
            self._outside.view.note("", f"{error}: {error.hint}", "warning")
            return
        for one in written:
            try:
                if one.slot is None:
                    said = station.resume(None, one.why, one.who)
                else:
                    said = station.resume_later(one.slot, one.why, one.who)
            except NotDone as error:
                said = str(error)
            self._outside.view.note("", f"{one.who} said at {one.at[:16]}: resume ({one.why}): {said}")

    def _pool_away(self, station: Station, around: StationRun, away: bool) -> None:
        """Let no board begin while the pool is away; those at work wait where they are, and go on."""
        around.gate.hold(POOL_AWAY if away else "")
        station.amber("pool", POOL_AWAY if away else "")

    async def _commands(self, station: Station) -> CommandSocket | None:
        job = self._outside.commands
        if job is None:
            return None
        commands = CommandSocket(job, unlock=station.unlock, resume=station.resume, group=self._outside.group)
        await commands.open()
        return commands


def written_path(ledger: Place, job: Path) -> Path:
    """Return where an engineer's word for the next start of a job's station is kept.

    It is beside the ledger, in a folder that is the station's own: it must be able to take the word away. Two
    jobs that are called alike are told apart, as by their sockets.
    """
    return beside(ledger, f".{Path(socket_name(job)).stem}.resume")
