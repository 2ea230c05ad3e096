"""One socket: what moves its states, from an empty seat to a verdict that stays until the board is out.

Nothing that goes wrong with one board ends it: a word comes out of each, and the next board is waited for.
"""

from __future__ import annotations

import time
from functools import partial
from typing import Final, Protocol

from anyio import Event, create_task_group, current_time, move_on_after

from parburn.errors import InternalError, NeedsResume, NotDone, PortGone
from parburn.events import DeviceReport, Identified, Result
from parburn.ledger.base import UnitIdentity
from parburn.station.insertion import Ended, Insertion, Watcher
from parburn.station.picture import SocketPicture
from parburn.station.presence import Seated
from parburn.station.seats import Look, Seat, Sitting
from parburn.station.shared import StationRun
from parburn.station.states import SocketState, check_transition
from parburn.station.verdicts import Verdict, verdict_of
from parburn.station.words import Word

AGAIN: Final = "it goes on once more by itself"
SEEN_S: Final = 0.8  # by then a seat has seen that a tty is gone, whoever has seen it first
AT_WORK: Final = (SocketState.READY, SocketState.HOLD, SocketState.BURNING)


class Rules(Protocol):
    """What a socket asks of its station, and tells it."""

    failures_that_lock: int  # so many failures of its own kind in a row lock a socket; 0: none do
    replug_s: float  # a board that we reset is back within so many seconds

    def changed(self, picture: SocketPicture) -> None:
        """Take a socket's new picture."""

    def defect(self, slot: str, error: Exception) -> None:
        """Take an error of ours."""

    async def ended(self, slot: str, report: DeviceReport, verdict: Verdict, seconds: float) -> Verdict:
        """Take how a board ended, for counts, rules and reports; return the verdict that is shown."""


class Socket(Watcher):
    """One socket of a station. Everything here runs on the event loop."""

    def __init__(
        self,
        slot: str,
        seat: Seat,
        around: StationRun,
        rules: Rules,
    ) -> None:
        """Make an empty socket; `serve` lets it work."""
        self.slot = slot
        self.picture = SocketPicture(slot, SocketState.EMPTY)
        self.began = 0.0  # when its board came, in monotonic seconds
        self._seat = seat
        self._around = around
        self._rules = rules
        self._insertion: Insertion | None = None
        self._sitting: Sitting | None = None
        self._missing: UnitIdentity | None = None  # left this socket in mid burn
        self._needs: UnitIdentity | None = None  # sits in it, and waits for an engineer's word
        self._seated: Seated | None = None  # the chip that was found in it last
        self._failures = 0  # of its own kind, in a row
        self._unlocked = Event()

    # Its life -------------------------------------------------------------------------------------------

    async def serve(self) -> None:
        """Take boards, one after the other, until cancelled."""
        while True:
            if self.picture.state is SocketState.LOCKED:
                await self._unlocked.wait()
                await self._let_go()
                self._to(SocketState.EMPTY)
            try:
                sitting = await self._arrival()
                self.began = sitting.since
                self._to(SocketState.DETECTING)
                await self._one_board(sitting)
            except Exception as error:  # a defect of ours must not take the other sockets down
                self._rules.defect(self.slot, error)
                self._lock(str(InternalError(error)))
            finally:
                self._leave_presence()

    async def _let_go(self) -> None:
        """Close the port of a board that was taken out while its socket was locked."""
        sitting = self._sitting
        if sitting is not None and not self._seat.is_there(sitting):
            await self._around.ports.close(sitting.port)

    async def _arrival(self) -> Sitting:
        """Wait for a board; meanwhile one that left in mid burn may come back in another socket."""
        found: list[Sitting] = []

        async def back_elsewhere(missing: UnitIdentity) -> None:
            await self._around.until_back(missing)
            if not found:
                self._missing = None
                self._to(SocketState.EMPTY)

        async with create_task_group() as tasks:
            if self._missing is not None:
                tasks.start_soon(back_elsewhere, self._missing)
            found.append(await self._seat.arrival())
            tasks.cancel_scope.cancel()
        return found[0]

    async def _one_board(self, sitting: Sitting) -> None:
        """Bring a board to its verdict, and wait until it is out."""
        ended = await self._until_ended(sitting)
        shown: SocketPicture | None = None  # the verdict of a board that is back from our reset
        while True:
            if shown is None and self._pulled_before_anything(sitting, ended):
                self._misses(ended.identity if ended.begun else None)
                break
            if shown is not None:
                check_transition(self.picture.state, shown.state)
                self._show(shown)
            elif await self._judge(sitting, ended):
                break
            await self._seat.removal(sitting, self._look(ended))
            again = await self._back_from_reset(ended)
            if again is None:
                break
            before, shown = ended, self.picture
            await self._leave(sitting)
            self._to(SocketState.DETECTING)
            sitting, ended = again, await self._until_ended(again, reset_of=before.identity)
            if ended.identity == before.identity and ended.report.result.passed:
                ended = ended._replace(report=before.report)
            else:
                self.began, shown = again.since, None
        await self._leave(sitting)
        if self.picture.state is not SocketState.LOCKED:
            self._be_empty()

    async def _until_ended(self, sitting: Sitting, *, reset_of: UnitIdentity | None = None) -> Ended:
        """Let the board be burned; once more where it was begun here, is there, and may go on by itself.

        Args:
            sitting: Its stay.
            reset_of: The chip that we reset here a moment ago: if it is that one, it is not reset again.
        """
        ended = await self._insert(sitting, reset_of=reset_of)
        await self._seen_to_leave(sitting, ended)
        if not ended.goes_on or not self._seat.is_there(sitting) or self._around.stop.level:
            return ended
        self._to(SocketState.VERDICT, word=Word.LEAVE_IN, detail=AGAIN)
        self._leave_presence()
        self._to(SocketState.DETECTING, word=Word.LEAVE_IN, detail=AGAIN)
        self._misses(ended.identity)  # until it answers again; another one waits
        again = await self._insert(sitting)
        await self._seen_to_leave(sitting, again)
        if again.seated is None:  # nobody was found any more: the unit is as the first burn left it
            self._seat.left(sitting)
            return ended._replace(seated=None, away=ended.identity)
        if ended.identity is not None and self._around.is_missing(ended.identity):
            again = again._replace(away=ended.identity)
        return again

    async def _seen_to_leave(self, sitting: Sitting, ended: Ended) -> None:
        """Wait a moment for the seat to see what the port has told already: that the tty is gone."""
        if ended.left:
            self._seat.left(sitting)
        if ended.tty_lost:
            with move_on_after(SEEN_S):
                await self._seat.removal(sitting, self._look(ended))

    async def _insert(self, sitting: Sitting, *, reset_of: UnitIdentity | None = None) -> Ended:
        self._sitting, self._needs = sitting, None
        insertion = self._insertion = Insertion(
            self._around,
            self.slot,
            sitting.port,
            self,
            expected=self._missing,
            reset_of=reset_of,
            before=self._seat.before,
            tty_stays=self._seat.tty_stays,
            sits_there=partial(self._seat.sits_for_sure, sitting),
        )
        try:
            return await insertion.live()
        finally:
            self._insertion, self._seated = None, insertion.seated

    # What comes of it -----------------------------------------------------------------------------------

    def _pulled_before_anything(self, sitting: Sitting, ended: Ended) -> bool:
        """Tell whether it was taken out before anything was done: that is no verdict, and no fault."""
        if self._seat.is_there(sitting) or self.picture.state is SocketState.BURNING:
            return False
        return ended.report.result in (Result.NO_ANSWER, Result.FAILED, Result.STOPPED)

    async def _judge(self, sitting: Sitting, ended: Ended) -> bool:
        """Show the verdict, and tell the station; return whether the socket is locked by it."""
        report, seconds = ended.report, time.monotonic() - self.began
        judged = verdict_of(report, ended.error, may_go_on=ended.goes_on, begun=ended.begun)
        verdict = await self._rules.ended(self.slot, report, judged, seconds)
        identity = ended.identity
        self._needs = identity if isinstance(ended.error, NeedsResume) else None
        if self._missing is not None and not self._around.is_missing(self._missing):
            self._missing = None  # it is back, here or in another socket
        self._misses(identity if ended.goes_on and not self._seat.is_there(sitting) else ended.away)
        shown = next(iter(report.unique_values.values()), "")
        self._to(
            SocketState.VERDICT,
            word=verdict.word,
            value=shown,
            seconds=seconds,
            detail=self._around.put_back(self.slot) if self._missing is not None else verdict.sentence,
            index=report.index,
            mac=report.mac,
            hollow=verdict.hollow,
        )
        self._failures = self._failures + 1 if verdict.of_socket else 0
        locks_at = self._rules.failures_that_lock
        if not locks_at or self._failures < locks_at:
            return False
        self._lock(f"{self._failures} failures in a row ({verdict.sentence})")
        return True

    def _misses(self, identity: UnitIdentity | None) -> None:
        """Wait for a board that was begun and left: others wait until it is back."""
        if identity is not None:
            self._missing = identity
            self._around.left(identity)

    def _lock(self, why: str) -> None:
        """Be locked until an engineer unlocks it: at once, whatever is still to be let go of."""
        self._unlocked = Event()
        self._to(SocketState.LOCKED, word=Word.SOCKET_OFF, detail=why)

    def _look(self, ended: Ended) -> Look:
        passed_untouched = ended.report.result.passed and self._around.job.after == "no-reset"
        retry = self.picture.word in (Word.RETRY, Word.LEAVE_IN)
        hears = passed_untouched and not ended.unread
        return Look(ended.device, hears, retry, self._heard)

    def _heard(self) -> None:
        if self._seated is not None:
            self._seated.heard_at = current_time()

    async def _back_from_reset(self, ended: Ended) -> Sitting | None:
        """Return the stay of a board that left as we reset it, once it is back; None: it was taken out."""
        if not ended.report.result.passed or self._around.job.after == "no-reset":
            return None
        return await self._seat.arrival_within(self._rules.replug_s)

    async def _leave(self, sitting: Sitting) -> None:
        self._leave_presence()
        self._needs = None
        if not (self._seat.tty_stays or self._seat.is_there(sitting)):
            await self._around.ports.close(sitting.port)

    def _leave_presence(self) -> None:
        seated, self._seated = self._seated, None
        if seated is not None:
            self._around.presence.leave(seated)

    def _be_empty(self) -> None:
        """Be empty; or show that a board which left in mid burn is still waited for."""
        if self._missing is None:
            self._to(SocketState.EMPTY)
        elif self.picture.state is not SocketState.VERDICT:
            self._to(SocketState.VERDICT, word=Word.LEAVE_IN, detail=self._around.put_back(self.slot))

    # An engineer's word ---------------------------------------------------------------------------------

    def unlock(self) -> str:
        """Unlock it, or give up a board that is waited for; return what was done. Raises NotDone: why not."""
        if self.picture.state is SocketState.LOCKED:
            self._failures = 0
            self._unlocked.set()
            return f"{self.slot} is unlocked"
        if self._missing is not None:
            self._around.came(self._missing)
            self._missing = None
            if self.picture.state is SocketState.VERDICT:
                self._look_again()
            return f"{self.slot} does not wait for the board that left it any more; its unit stays incomplete"
        if self.picture.state is SocketState.VERDICT and self._sitting is not None:
            self._seat.end(self._sitting)
            return f"{self.slot} looks again what is in it"
        raise NotDone(f"{self.slot} is not locked: it is {self.picture.state.value}")

    def _look_again(self) -> None:
        """Have looked again what is in it; be empty where nothing is."""
        if self._sitting is not None and self._seat.is_there(self._sitting):
            self._seat.end(self._sitting)
        else:
            self._be_empty()

    def resume(self, why: str) -> str:
        """Let the unit in it go on once more; return what was done. Raises NotDone: why not."""
        if self._needs is None or self._sitting is None:
            state = self.picture.state.value
            raise NotDone(f"nothing in {self.slot} waits to be resumed: it is {state}")
        self._around.allow(self._needs, why)
        self._seat.end(self._sitting)
        return f"the board in {self.slot} goes on"

    def lost(self, sitting: Sitting) -> None:
        """Learn that a board's tty is gone, in whatever state."""
        if self._insertion is not None and sitting == self._sitting:
            self._insertion.gone(PortGone(f"{self.slot}: {sitting.port} is gone: unplugged"))

    # What its insertion tells ---------------------------------------------------------------------------

    def identified(self, found: Identified) -> None:
        """See `Watcher`."""
        self._to(SocketState.READY, word=Word.LEAVE_IN, mac=found.mac)

    def holds(self, why: str) -> None:
        """See `Watcher`."""
        if self.picture.state is SocketState.HOLD:
            self._show(self.picture._replace(detail=why))
        else:
            self._to(SocketState.HOLD, word=Word.LEAVE_IN, detail=why, mac=self.picture.mac)

    def begins(self, index: int | None) -> None:
        """See `Watcher`."""
        mac = self.picture.mac
        if self.picture.state is SocketState.HOLD:
            self._to(SocketState.READY, word=Word.LEAVE_IN, mac=mac)
        self._to(SocketState.BURNING, word=Word.LEAVE_IN, index=index, mac=mac)

    def step(self, text: str) -> None:
        """See `Watcher`."""
        if self.picture.state in AT_WORK or self.picture.state is SocketState.DETECTING:
            self._show(self.picture._replace(detail=text))

    def dim(self, silent: bool) -> None:
        """Show whether the board was silent at the last look."""
        if self.picture.dimmed is not silent:
            self._show(self.picture._replace(dimmed=silent))

    def _to(self, state: SocketState, **shown: object) -> None:
        if state is not self.picture.state:
            check_transition(self.picture.state, state)
        self._show(SocketPicture(self.slot, state, **shown))  # type: ignore[arg-type]  # names are its fields

    def _show(self, picture: SocketPicture) -> None:
        if picture != self.picture:
            self.picture = picture
            self._rules.changed(picture)
