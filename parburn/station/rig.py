"""The station: all sockets at once, what halts them, what is counted. Burns nothing itself.

It runs until it is stopped. Sockets are tasks that wait for boards; whatever they tell is taken here, and
given to who shows it. A halt lets no board begin, and is written into the ledger.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from traceback import format_exception
from typing import Final

from anyio import CancelScope, create_task_group

from parburn.errors import InternalError, LedgerError, NotDone
from parburn.events import DeviceReport, Note, Result
from parburn.events import Event as RunEvent
from parburn.ledger.station_entries import HALTED, RESUMED
from parburn.nearest import did_you_mean
from parburn.run.checked_job import station_of
from parburn.station.arrivals import ArrivalSource
from parburn.station.job_file import StopRules
from parburn.station.picture import SocketPicture, StationPicture
from parburn.station.seats import PlugSeat, Seat, Sitting
from parburn.station.shared import StationRun
from parburn.station.socket import Socket
from parburn.station.states import SocketState
from parburn.station.statistics import Statistics
from parburn.station.verdicts import Verdict
from parburn.station.view import StationView, Totals
from parburn.station.words import Word

HALT_WRITTEN_S: Final = 2.0  # a halt, and its board's verdict, are told when it is in the ledger, or then
TICK_S: Final = 1.0  # so often the seconds of boards at work are shown anew
YIELD_OF: Final = 200  # boards, of which the station's yield is told
YIELD_FROM: Final = 50  # with fewer it is no reason for an amber mark
DRAIN_S: Final = 120.0  # burns that have begun come to their end within this time
SCRIPT: Final = "script"  # the kind of failure that halts only when it comes again
CLEAN: Final = (Result.FAILED, Result.REFUSED, Result.STOPPED)  # nothing was burned
IDLE: Final = (SocketState.EMPTY, SocketState.VERDICT, SocketState.LOCKED)


class Station:
    """Sockets and what is common to them. Everything here runs on the event loop."""

    def __init__(
        self,
        around: StationRun,
        *,
        shows: StationView,
        rules: StopRules,
        statistics: Statistics,
        replug_s: float,
        target: int | None,
        indexes_left: int | None,
        draws_every_s: float,
    ) -> None:
        """Make a station without sockets; see `add`."""
        self.failures_that_lock = rules.consecutive_failures
        self.replug_s = replug_s
        self._around = around
        self._shows = shows
        self._rules = rules
        self._statistics = statistics
        self._sockets: dict[str, Socket] = {}
        self._changed = asyncio.Event()
        self._counts: Counter[Result] = Counter()
        self._lately: deque[bool] = deque(maxlen=YIELD_OF)
        self._script_errors: Counter[str] = Counter()
        self._low: set[str] = set()  # sockets whose yield is under the others'
        self._amber: dict[str, str] = {}
        self._target, self._indexes_left = target, indexes_left
        self._draws_every_s = draws_every_s
        self._failures: Counter[str] = Counter()
        self._started = time.monotonic()
        self._halting: set[asyncio.Task[None]] = set()

    def add(self, slot: str, make_seat: Callable[[Callable[[Sitting], object]], Seat]) -> Seat:
        """Add a socket; return its seat. `make_seat` gets what is to be told of a tty that is gone."""

        def lost(sitting: Sitting) -> None:
            self._sockets[slot].lost(sitting)

        seat = make_seat(lost)
        self._sockets[slot] = Socket(slot, seat, self._around, self)
        return seat

    # Its day --------------------------------------------------------------------------------------------

    async def run(self, source: ArrivalSource | None, plugs: Mapping[str, PlugSeat]) -> None:
        """Serve all sockets until the stop is asked for; then let what burns come to its end.

        Args:
            source: Tells of ttys that come and go; None where all seats look for themselves.
            plugs: The seats that it tells, by slot.

        Raises:
            ParburnError: the ttys cannot be watched. And what a defect of ours raises.
        """
        try:
            with CancelScope() as until_stopped:
                self._around.stop.cancels(until_stopped)
                await self._serve(source, plugs)
        except ExceptionGroup as errors:  # of tasks side by side: the first one says why
            raise errors.exceptions[0] from errors
        finally:
            with CancelScope(shield=True):
                await self._let_go()

    async def _serve(self, source: ArrivalSource | None, plugs: Mapping[str, PlugSeat]) -> None:
        async with create_task_group() as tasks:
            tasks.start_soon(self._draw)
            sockets = [asyncio.ensure_future(one.serve()) for one in self._sockets.values()]
            try:
                if source is not None:
                    tasks.start_soon(
                        source.run,
                        lambda slot, node: plugs[slot].came(node),
                        lambda slot, node: plugs[slot].went(node),
                    )
                await _first_failure(sockets)
            finally:
                with CancelScope(shield=True):
                    await self._drain(sockets)

    async def _let_go(self) -> None:
        """Close the ports, within the lines lock, and wait until all is written."""
        await self._around.desk.aclose()
        if self._halting:
            await asyncio.wait(self._halting)
        await self._around.ports.aclose()
        self._shows.update(self.picture())
        self._shows.draw(force=True)

    async def _drain(self, sockets: Sequence[asyncio.Task[None]]) -> None:
        """Let boards at work come to their end; what only waits is ended at once."""
        await self._until_idle(sockets)
        if self._at_work(sockets):
            self._around.stop.request()  # between two blocks, then
            await self._until_idle(sockets)
        for task in sockets:
            task.cancel()
        await asyncio.wait(sockets)

    async def _until_idle(self, sockets: Sequence[asyncio.Task[None]]) -> None:
        deadline = time.monotonic() + DRAIN_S
        while self._at_work(sockets) and time.monotonic() < deadline:
            self._show()
            await self._until_changed(within_s=TICK_S)

    def _at_work(self, sockets: Sequence[asyncio.Task[None]]) -> bool:
        return any(
            one.picture.state not in IDLE and not task.done()
            for one, task in zip(self._sockets.values(), sockets, strict=True)
        )

    def totals(self, *, exit: int = 0) -> Totals:
        """Return what was done so far; `exit` is the command's exit code."""
        counts = self._counts
        passed, before = counts[Result.PASS], counts[Result.ALREADY_PASS]
        seconds = time.monotonic() - self._started
        return Totals(counts.total(), passed, before, dict(self._failures), seconds, exit)

    async def _draw(self) -> None:
        """Give the picture to who shows it: at each change, and each second for boards at work."""
        while True:
            self._show()
            at_work = any(one.picture.state not in IDLE for one in self._sockets.values())
            if await self._until_changed(within_s=TICK_S if at_work else None):
                await asyncio.sleep(self._draws_every_s)

    def _show(self) -> None:
        self._changed.clear()
        self._shows.update(self.picture())
        self._shows.draw()

    async def _until_changed(self, *, within_s: float | None) -> bool:
        """Wait until something changes; return whether it did within this time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                return await self._changed.wait()
        return False

    def picture(self) -> StationPicture:
        """Return how all is now."""
        now, low = time.monotonic(), self._low
        pictures = []
        for slot, one in self._sockets.items():  # what has not changed stays the same value
            picture = one.picture
            if picture.state not in IDLE:
                picture = picture._replace(seconds=now - one.began)
            pictures.append(picture._replace(amber=True) if slot in low else picture)
        lately = self._lately
        return StationPicture(
            station=station_of(self._around.job),
            operator=self._around.job.operator,
            job=self._around.arming.name,
            batch=self._around.ledger.batch,
            sockets=tuple(pictures),
            passed=self._counts[Result.PASS],
            target=self._target,
            yield_percent=100 * sum(lately) / len(lately) if lately else None,
            indexes_left=self._indexes_left,
            halt=self._around.gate.halt,
            amber=tuple(self._amber.values()),
            draining=bool(self._around.stop.level),
        )

    # What sockets tell ----------------------------------------------------------------------------------

    def changed(self, picture: SocketPicture) -> None:
        """See `socket.Rules`."""
        self._changed.set()

    async def ended(self, slot: str, report: DeviceReport, verdict: Verdict, seconds: float) -> Verdict:
        """See `socket.Rules`."""
        self._counts[report.result] += 1
        if report.result is not Result.ALREADY_PASS:
            self._lately.append(report.result is Result.PASS)
        if report.result is Result.PASS and self._indexes_left:
            self._indexes_left -= 1
        again = report.result is Result.ALREADY_PASS  # says nothing of the socket
        passed, retries = report.result.passed, report.retries
        kind = verdict.failure_kind
        self._statistics.count(slot, kind, seconds, passed, retries=retries, of_yield=not again)
        self._low = self._statistics.low_yield(self._sockets)
        self._shows.report(slot, report)
        if verdict.failure_kind:
            self._failures[verdict.failure_kind] += 1
        if verdict.halts and verdict.failure_kind == SCRIPT and not self._is_same_script_error(verdict):
            word = Word.RETRY if report.result in CLEAN else verdict.word
            word = Word.RED_BIN if verdict.begun else word
            verdict = verdict._replace(word=word, halts=False)
        if verdict.halts:
            self.halt(slot, verdict.sentence)
            if self._halting:
                with CancelScope(shield=True):
                    await asyncio.wait(self._halting, timeout=HALT_WRITTEN_S)
        self._look_at_rules()
        return verdict

    def _is_same_script_error(self, verdict: Verdict) -> bool:
        """Tell whether the script has failed so on so many boards that the job is at fault, and no record."""
        sentence = re.sub(r"\d+", "N", verdict.sentence)
        self._script_errors[sentence] += 1
        halts_at = self._rules.same_script_error_on
        return bool(halts_at) and self._script_errors[sentence] >= halts_at

    def _look_at_rules(self) -> None:
        rules, lately = self._rules, self._lately
        if rules.yield_below and len(lately) >= YIELD_FROM:
            percent = 100 * sum(lately) / len(lately)
            self.amber("yield", f"the yield is {percent:.0f} %" if percent < rules.yield_below else "")
        many = rules.insertions
        counted = {slot: self._statistics.picture(slot).insertions for slot in self._sockets if many > 0}
        worn = [slot for slot, insertions in counted.items() if insertions >= many]
        few = ", ".join(worn[:3]) + (f" and {len(worn) - 3} more" if len(worn) > 3 else "")
        self.amber(
            "insertions", f"{few}: {rules.insertions} insertions or more, see to the contacts" if worn else ""
        )
        if self._target is not None and self._counts[Result.PASS] >= self._target:
            self.amber("target", f"the target of {self._target} is reached")

    def dim(self, slot: str, *, silent: bool) -> None:
        """Show that the board in a socket did not answer at the last look, or that it does."""
        self._sockets[slot].dim(silent)

    def amber(self, kind: str, sentence: str) -> None:
        """Show a sentence that somebody should see to; an empty one takes it away."""
        if sentence:
            self._amber[kind] = sentence
        else:
            self._amber.pop(kind, None)
        self._changed.set()

    def defect(self, slot: str, error: Exception) -> None:
        """See `socket.Rules`. Nobody knows what it means for the next board, so none begins."""
        self.halt(slot, str(InternalError(error)))
        traceback = "".join(format_exception(error)) if self._around.job.debug else ""
        self._shows.note(slot, traceback or str(InternalError(error)), "warning")

    # Halts, and an engineer's word ----------------------------------------------------------------------

    def halt(self, slot: str, why: str) -> None:
        """Let no board begin any more: at once, and also where the ledger cannot take it now."""
        if self._around.gate.halt:
            return
        why = f"{slot}: {why}" if slot else why
        self._around.gate.close(why)
        self._write(HALTED, why, then=self._shows.halt)

    def _write(
        self, event: str, why: str, who: str = "", *, then: Callable[[str], None] = lambda why: None
    ) -> None:
        """Have an entry written, and `then` called, at the latest after HALT_WRITTEN_S."""
        told = self._around.ledger.tell_station(event, why=why, **({"operator": who} if who else {}))
        writing = asyncio.ensure_future(told)

        async def write() -> None:
            await asyncio.wait({writing}, timeout=HALT_WRITTEN_S)
            then(why)
            try:
                await writing
            except LedgerError as error:
                self._shows.note("", f"the ledger could not take {event}: {error}", "warning")

        task = asyncio.ensure_future(write())
        self._halting.add(task)
        task.add_done_callback(self._halting.discard)

    def unlock(self, slot: str) -> str:
        """Unlock a socket; return what was done. Raises NotDone: why not."""
        return self._socket(slot).unlock()

    def resume(self, slot: str | None, why: str, who: str) -> str:
        """End a halt, or let the board in a socket go on; return what was done.

        Raises:
            NotDone: why not.
        """
        if slot is not None:
            return self._socket(slot).resume(f"{why} ({who})")
        if not self._around.gate.halt:
            raise NotDone("the station is not halted")
        self._script_errors.clear()
        self._around.gate.open()
        self._shows.resumed(why)
        self._write(RESUMED, why, who)
        return "the station goes on"

    def resume_later(self, slot: str, why: str, who: str) -> str:
        """Let the unit go on that will be found in a socket, as was said before the station began."""
        self._socket(slot)
        self._around.allow_next(slot, f"{why} ({who})")
        return f"the board that is found in {slot} may go on"

    def _socket(self, slot: str) -> Socket:
        one = self._sockets.get(slot)
        if one is None:
            raise NotDone(f"there is no socket {slot}", hint=did_you_mean(slot, self._sockets))
        return one

    # What insertions tell -------------------------------------------------------------------------------

    def take(self, slot: str, event: RunEvent) -> None:
        """Take an event of a run of one board: notes are shown, the rest is known by the socket."""
        if isinstance(event, Note):
            self._shows.note(slot, event.text, event.level)


async def _first_failure(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Wait for ever; raise what a socket's task raised: a defect of ours."""
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    for task in done:
        task.result()
