"""The lines lock of the machine: no reset line moves while any chip burns. Moves no line, burns nothing.

Two kinds of work exclude each other, and many of one kind may be inside at once. LINES is what may move DTR
or RTS of a port: opening it, a reset, closing it while it is there. BURN is from the first write of the
programming registers to the last step read back. Station, run, `ports --probe` and all others take part, for
one board may be behind two nodes, and a hub that is pulled down by one board's reset feeds others.

* **Inside this process** a count of each kind; who has to wait is woken, and looks again.
* **Between processes** the locks of a `LockFile`. Another process can wake nobody here, so one waiter of each
  kind looks every POLL_S, and only while it is another process that is in the way.
* **Neither kind starves.** Once somebody has waited for its OVERDUE_S, nobody new of the other kind is let
  in: 0.3 s for LINES, no time for BURN. What moves lines is short, and boards that come one after another
  would keep it going; burns are long, and most go on together. Who will go out before one that is inside
  does comes in all the same: nobody waits longer for it.
  A reset that lasts long (the second way to reset a board that did not answer) gives way to all others for
  LONG_OVERDUE_S, so those of several boards come together: dead boards shall not hold up the good ones.
  Where both have waited, the kind has its turn that was not inside last, and who waits for that kind
  elsewhere has JOIN_S to come in with it.
* **Nobody waits for ever**: after its deadline, which is longer than any reset or burn takes, a waiter gets
  an error that names the process in the way. A patient waiter is never the reason that others wait.
* **No deadlock**: whoever is inside with LINES waits for no chip's answer, and who is inside with BURN never
  asks for LINES. That would be a defect, and raises at once.

What a process holds ends with it, by the kernel. A child that is forked holds nothing of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import threading
import time
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, Literal

from parburn.errors import LinesBusy
from parburn.transport.lock_file import LOCK_ENV, Kind, Last, LockFile, NoLockFile, lock_path

OVERDUE_S: Final = (0.3, 0.0)  # by kind: of waiting, until the other kind lets nobody new in
LONG_S: Final = 0.5  # who will stay longer than this inside with LINES ...
LONG_OVERDUE_S: Final = 3.0  # ... has waited long only after this time, and keeps out of the way until then
JOIN_S: Final = 0.05  # after a change of kinds, in which other processes' waiters come in with it
POLL_S: Final = 0.005  # while another process is in the way
LINES_WAIT_S: Final = 40.0  # less than a board has to be identified
BURN_WAIT_S: Final = 120.0

_ABOUT_S: Final = 0.01  # two stays that end within this time end together
_SPARE_POLL_S: Final = 1.0  # of those who rely on another waiter to look
_STALE_S: Final = 1.0  # nobody inside, and who has waited long does not come: its process is stopped

_Answer = Literal["in", "busy", "busy elsewhere", "not its turn"]
_FIRST: Final = Last(Kind.LINES, 0)


class _Waiter:
    """One who waits. `woken` ends its sleep; it then looks again."""

    def __init__(self, kind: Kind, *, patient: bool, lasts_s: float) -> None:
        self.kind, self.patient, self.lasts_s = kind, patient, lasts_s
        self.overdue_s = LONG_OVERDUE_S if _is_long(kind, lasts_s) else OVERDUE_S[kind]
        self.loop = asyncio.get_running_loop()
        self.since = self.loop.time()
        self.overdue = False
        self.free_since: float | None = None  # nobody is inside, and still it is another kind's turn
        self.woken: asyncio.Future[None] = self.loop.create_future()

    async def sleep(self, seconds: float) -> None:
        """Sleep so long, or until it is woken; it is then as soon at work as one whose future that was."""
        timer = self.loop.call_later(seconds, self._wake)
        try:
            await self.woken
        finally:
            timer.cancel()

    def wake(self) -> None:
        """End its sleep, from whatever thread."""
        if asyncio._get_running_loop() is self.loop:
            self._wake()
        else:
            with contextlib.suppress(RuntimeError):  # its loop has ended
                self.loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        if not self.woken.done():
            self.woken.set_result(None)


class Stay:
    """One stay inside. It ends once, from whatever thread, and whoever asks."""

    def __init__(self, lock: LinesLock, kind: Kind, task: asyncio.Task[Any] | None, until: float) -> None:
        self.kind = kind
        self.task = task
        self.until = until  # about, by time.monotonic(); infinity: nobody knows
        self._lock: LinesLock | None = lock
        self._life = lock._life

    def leave(self) -> None:
        """Go out. Does nothing the second time, or in a child that was forked meanwhile."""
        lock, self._lock = self._lock, None
        if lock is not None:
            lock._leave(self, self._life)

    def outlives_task(self) -> None:
        """Forget who came in: a driver is still at it when its task does not wait any more."""
        self.task = None


class LinesLock:
    """The lock, as one process takes part in it; for all threads and loops of the process."""

    def __init__(self, path: str = "") -> None:
        """Take part. `path` names another file than the machine's; nothing is opened before it is needed."""
        self._named = path
        _EVERY.add(self)
        self._begin()

    def _begin(self) -> None:
        self._life = object()  # another one after a fork
        self._guard = threading.Lock()
        self._file: LockFile | None = None
        self._why_only_here: str | None = None  # None: not known yet
        self._stays: tuple[set[Stay], set[Stay]] = (set(), set())
        self._waiting: tuple[list[_Waiter], list[_Waiter]] = ([], [])
        self._overdue = [0, 0]
        self._last = _FIRST  # where there is no file

    # --- what others call

    @asynccontextmanager
    async def moving(self, *, patient: bool = False, within_s: float = LINES_WAIT_S) -> AsyncIterator[None]:
        """Be inside with LINES for a block.

        Args:
            patient: Never make those wait who want to burn.
            within_s: Seconds until it is not waited any more.

        Raises:
            LinesBusy: chips burned all that time.
        """
        stay = await self.enter(Kind.LINES, patient=patient, within_s=within_s)
        try:
            yield
        finally:
            stay.leave()

    @asynccontextmanager
    async def burning(self, *, within_s: float = BURN_WAIT_S) -> AsyncIterator[None]:
        """Be inside with BURN for a block, which must not move a line, open or close a port.

        Raises:
            LinesBusy: lines moved all that time.
        """
        stay = await self.enter(Kind.BURN, within_s=within_s)
        try:
            yield
        finally:
            stay.leave()

    async def enter(
        self, kind: Kind, *, patient: bool = False, within_s: float, lasts_s: float = math.inf
    ) -> Stay:
        """Come in and return the stay, which whoever gets it must end.

        A task that is inside with this kind comes in again at once. `lasts_s` is about how long it will stay:
        it decides who waits for whom, and nothing else.

        Raises:
            LinesBusy: the other kind was inside, or had its turn, for `within_s` seconds.
            RuntimeError: this task is inside with the other kind, and would wait for itself.
        """
        stay = await self.find_stay(kind, patient=patient, within_s=within_s, lasts_s=lasts_s)
        if stay is None:
            raise self._busy(kind, within_s)
        return stay

    async def find_stay(
        self, kind: Kind, *, patient: bool = False, within_s: float, lasts_s: float = math.inf
    ) -> Stay | None:
        """Come in as `enter` does; None where that was not possible in time."""
        task = asyncio.current_task()
        with self._guard:
            if self._holds(task, kind.other):
                raise RuntimeError(f"a task with {kind.other.name} asks for {kind.name}: it waits for itself")
            stay = self._join(kind, task, lasts_s)
            if stay is None and (self._holds(task, kind) or self._look(kind, lasts_s) == "in"):
                stay = self._come_in(kind, task, time.monotonic() + lasts_s)
        if stay is not None:
            return stay
        return await self._wait(_Waiter(kind, patient=patient, lasts_s=lasts_s), task, within_s)

    def is_inside(self, kind: Kind) -> bool:
        """Tell whether somebody of this process is inside with this kind."""
        return bool(self._stays[kind])

    @property
    def only_here(self) -> str:
        """A sentence to tell where the lock holds in this process only; empty where it holds for all."""
        with self._guard:
            self._file_now()
            return self._why_only_here or ""

    @property
    def path(self) -> Path | None:
        """The file; None where there is none."""
        with self._guard:
            file = self._file_now()
            return file.path if file is not None else None

    def close(self) -> None:
        """Close the file. Nobody may be inside or wait."""
        with self._guard:
            if self._file is not None:
                self._file.close()
            self._file, self._why_only_here = None, None

    # --- waiting

    async def _wait(self, waiter: _Waiter, task: asyncio.Task[Any] | None, within_s: float) -> Stay | None:
        kind = waiter.kind
        deadline = waiter.since + within_s
        with self._guard:
            self._waiting[kind].append(waiter)
        try:
            while True:
                with self._guard:
                    now = waiter.loop.time()
                    waiter.woken = waiter.loop.create_future()
                    self._note_overdue(waiter, now)
                    if stay := self._join(kind, task, waiter.lasts_s):
                        return stay
                    stale = _is_stale(waiter, now)
                    answer = self._look(kind, waiter.lasts_s, overdue=waiter.overdue, all_the_same=stale)
                    if answer == "in":
                        return self._come_in(kind, task, time.monotonic() + waiter.lasts_s)
                    pause_s = self._pause_s(waiter, answer, now)
                if now >= deadline:
                    return None
                await waiter.sleep(min(pause_s, deadline - now))
        finally:
            with self._guard:
                self._forget(waiter)

    def _note_overdue(self, waiter: _Waiter, now: float) -> None:
        if waiter.patient or waiter.overdue or now - waiter.since < waiter.overdue_s:
            return
        waiter.overdue = True
        self._overdue[waiter.kind] += 1
        if self._overdue[waiter.kind] == 1:
            self._tell(LockFile.wait, waiter.kind)

    def _forget(self, waiter: _Waiter) -> None:
        """Leave no trace of one who waits no more, whether it came in or not."""
        kind = waiter.kind
        self._waiting[kind].remove(waiter)
        if waiter.overdue:
            self._overdue[kind] -= 1
            if not self._overdue[kind]:
                self._tell(LockFile.wait_no_more, kind)
                self._wake(kind.other)
        if self._waiting[kind]:
            self._waiting[kind][0].wake()  # it looks for the others from now on

    def _pause_s(self, waiter: _Waiter, answer: _Answer, now: float) -> float:
        """Return how long to sleep at most, if nobody wakes the waiter."""
        pause_s = BURN_WAIT_S
        if answer != "busy":
            leads = self._waiting[waiter.kind][0] is waiter
            pause_s = POLL_S if leads else _SPARE_POLL_S
        waiter.free_since = (waiter.free_since or now) if answer == "not its turn" else None
        if not waiter.patient and not waiter.overdue:
            pause_s = min(pause_s, waiter.since + waiter.overdue_s - now)
        return pause_s

    def _wake(self, kind: Kind) -> None:
        for waiter in self._waiting[kind]:
            waiter.wake()

    # --- going in and out; the guard is held

    def _holds(self, task: asyncio.Task[Any] | None, kind: Kind) -> bool:
        return task is not None and any(stay.task is task for stay in self._stays[kind])

    def _look(
        self, kind: Kind, lasts_s: float, *, overdue: bool = False, all_the_same: bool = False
    ) -> _Answer:
        """Look as `_attempt` does; a long reset that has not waited for long keeps out of the way."""
        if _is_long(kind, lasts_s) and not overdue and self._is_in_use():
            return "busy"
        return self._attempt(kind, all_the_same=all_the_same)

    def _is_in_use(self) -> bool:
        """Tell whether boards of this process burn, are reset, or wait for it; not long resets."""
        waiting = (*self._waiting[Kind.BURN], *self._waiting[Kind.LINES])
        return any(self._stays) or any(not _is_long(one.kind, one.lasts_s) for one in waiting)

    def _attempt(self, kind: Kind, *, all_the_same: bool = False) -> _Answer:
        """Look whether this kind may come in, and have the file show it.

        Args:
            all_the_same: Also where the other kind has waited for long.
        """
        if self._stays[kind.other]:
            return "busy"
        try:
            return self._attempt_by_file(kind, all_the_same)
        except OSError as error:
            self._give_up_file(f"{self._file.path if self._file else ''} cannot be locked ({error.strerror})")
            return self._attempt_here(kind, all_the_same)

    def _attempt_by_file(self, kind: Kind, all_the_same: bool) -> _Answer:
        if self._stays[kind]:  # other processes see that already
            file = self._file
            waited = file is not None and file.has_waited(kind.other)
            if not (waited or self._overdue[kind.other]) or self._has_turn(kind, file):
                return "in"
            return "busy elsewhere" if waited else "busy"
        file = self._file_now()
        if file is None:
            return self._attempt_here(kind, all_the_same)
        if not file.shut_gate():
            return "busy elsewhere"
        try:
            waited = bool(self._overdue[kind.other])
            if not file.is_quiet(kind.other):
                if file.who_is_inside(kind.other) is not None:
                    return "busy elsewhere"
                waited = True
            if waited and not all_the_same and not self._has_turn(kind, file):
                return "not its turn"
            file.go_in(kind)
            if file.last().kind is not kind:
                file.note_last(kind)
            return "in"
        finally:
            file.open_gate()

    def _attempt_here(self, kind: Kind, all_the_same: bool) -> _Answer:
        """Do the same without a file."""
        if self._overdue[kind.other] and not all_the_same and not self._has_turn(kind, None):
            return "busy" if self._stays[kind] else "not its turn"
        if self._last.kind is not kind:
            self._last = Last(kind, time.monotonic_ns())
        return "in"

    def _has_turn(self, kind: Kind, file: LockFile | None) -> bool:
        """Whether it is this kind's turn although the other has waited for long."""
        if not self._overdue[kind]:
            return False
        last = file.last() if file is not None else self._last
        ago_ns = time.monotonic_ns() - last.monotonic_ns
        return last.kind is not kind or 0 <= ago_ns < JOIN_S * 1e9

    def _join(self, kind: Kind, task: asyncio.Task[Any] | None, lasts_s: float) -> Stay | None:
        """Come in where one of this process will be inside for longer, so that nobody waits for this one."""
        until = time.monotonic() + lasts_s
        latest = max((stay.until for stay in self._stays[kind] if stay.until < math.inf), default=0.0)
        if until > latest + _ABOUT_S:
            return None
        return self._come_in(kind, task, min(until, latest))  # or one after another it would go on for ever

    def _come_in(self, kind: Kind, task: asyncio.Task[Any] | None, until: float) -> Stay:
        stay = Stay(self, kind, task, until)
        first = not self._stays[kind]
        self._stays[kind].add(stay)
        if first:
            self._wake(kind)
        return stay

    def _leave(self, stay: Stay, life: object) -> None:
        if life is not self._life:
            return
        with self._guard:
            inside = self._stays[stay.kind]
            if stay not in inside:  # two threads have ended it
                return
            inside.discard(stay)
            if not inside:
                self._tell(LockFile.go_out, stay.kind)
                self._wake(stay.kind.other)
                self._wake(stay.kind)

    # --- the file; the guard is held

    def _file_now(self) -> LockFile | None:
        """Return the file, opened where it is not; anew where somebody has taken it from its place."""
        file = self._file
        if file is not None and (any(self._stays) or file.is_in_place()):
            return file
        if self._why_only_here:
            return None
        if file is not None:
            file.close()
        self._file = None
        try:
            self._file = LockFile(lock_path(self._named))
            self._why_only_here = ""
            for kind in Kind:
                if self._overdue[kind]:
                    self._file.wait(kind)
        except NoLockFile as error:
            self._give_up_file(str(error))
        return self._file

    def _give_up_file(self, why: str) -> None:
        self._why_only_here = (
            f"{why}: reset lines and burns exclude each other in this process only; let no second parburn "
            "run on this machine"
        )
        if self._file is not None:
            self._file.close()
            self._file = None

    def _tell(self, what: Any, kind: Kind) -> None:
        """Have other processes see something, where there is a file."""
        if self._file is not None:
            try:
                what(self._file, kind)
            except OSError as error:
                self._give_up_file(f"{self._file.path} cannot be locked ({error.strerror})")

    def _busy(self, kind: Kind, within_s: float) -> LinesBusy:
        """Return the error for one whose time is over."""
        with self._guard:
            here = bool(self._stays[kind.other])
            pid = None
            with contextlib.suppress(OSError):
                pid = self._file.who_is_inside(kind.other) if self._file is not None and not here else None
        return _error(kind, within_s, os.getpid() if here else pid)

    def _in_child(self) -> None:
        """Hold nothing in a child that was forked: closing its copy frees nothing of its parent's."""
        if self._file is not None:
            self._file.close()
        self._begin()


def _is_long(kind: Kind, lasts_s: float) -> bool:
    return kind is Kind.LINES and LONG_S < lasts_s < math.inf


def _is_stale(waiter: _Waiter, now: float) -> bool:
    return waiter.free_since is not None and now - waiter.free_since > _STALE_S


def _error(kind: Kind, within_s: float, pid: int | None) -> LinesBusy:
    """Return the error of a waiter that was kept out by a process; None: it cannot be told by which."""
    if pid is None:
        who, hint = "another program", "Wait until it has ended, then run again."
    elif pid == os.getpid():
        who, hint = "this very command", "End it and run again; boards that it has begun go on by themselves."
    else:
        who = f"{_name_of(pid)} (process {pid})"
        hint = (
            f"Wait until it has ended, then run again. If it hangs or was stopped, end it: kill {pid}. What "
            "it has begun goes on with its next run."
        )
    doing = "burned chips" if kind is Kind.LINES else "opened or reset ports"
    lacking = "no reset line was moved" if kind is Kind.LINES else "nothing was burned"
    return LinesBusy(f"{lacking}: for {within_s:g} s {who} {doing}", hint=hint)


def _name_of(pid: int) -> str:
    with contextlib.suppress(OSError):
        name = Path(f"/proc/{pid}/comm").read_text(errors="replace").strip()
        return "".join(letter for letter in name if letter.isprintable()) or "a program"
    return "a program"


_LOCKS: Final[dict[str, LinesLock]] = {}
_EVERY: Final[weakref.WeakSet[LinesLock]] = weakref.WeakSet()


def machine_lines() -> LinesLock:
    """Return the lock of this machine, the same for the whole process."""
    named = os.environ.get(LOCK_ENV, "")
    lock = _LOCKS.get(named)
    if lock is None:
        lock = _LOCKS.setdefault(named, LinesLock(named))
    return lock


def _in_child() -> None:
    for lock in tuple(_EVERY):
        lock._in_child()


os.register_at_fork(after_in_child=_in_child)
