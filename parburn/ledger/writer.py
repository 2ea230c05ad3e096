"""The one thread that writes a ledger: callers await, commits are grouped.

Everything asked for in one turn of the event loop travels to the thread together; everything that has arrived
there when a commit starts is in that commit. 128 boards that are about to burn cost one or two syncs of the
disk, not 128. A caller goes on only after the commit that holds its entry. It knows no rule of the ledger.

Work runs in the thread with a `Transaction` and checks before it writes: a LedgerError raised before anything
was written is its answer and harms nobody in the same commit. Anything else undoes the whole group, and each
work is then done again in a transaction of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import queue
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from anyio import CancelScope, to_thread

from parburn.errors import LedgerError, LedgerUnusable, ParburnError
from parburn.ledger.history import History
from parburn.ledger.schema import BUSY_TIMEOUT_S, now
from parburn.ledger.sql import Sql
from parburn.ledger.store import Store

ANSWER_DEADLINE_S = 3 * BUSY_TIMEOUT_S  # a disk that takes longer is given up
_COMMIT_AT_MOST = 1024  # works in one commit
_TRIES = 4  # of what did not come about for a reason that passes

T = TypeVar("T")


class Transaction(NamedTuple):
    """What work may use: it is open, and holds the end of the history.

    `ranges`: numbers of ranges that were asked for (see `values`); their rows are never changed or deleted.
    `row_lock`: what a SELECT of a unit's row ends with, so that it stays as it was read until the end.
    """

    connection: Sql
    history: History
    at: str
    run: int | None
    ranges: dict[tuple[str, str], int]
    row_lock: str = ""


Work = Callable[[Transaction], T]


class _Request:
    """One work and whoever awaits it."""

    __slots__ = ("alone", "answer", "deadline", "error", "future", "work")

    def __init__(self, work: Work[Any], future: asyncio.Future[Any], alone: bool) -> None:
        self.work = work
        self.alone = alone
        self.future = future
        self.answer: Any = None
        self.error: BaseException | None = None
        self.deadline: asyncio.TimerHandle | None = None  # held by the first of what was sent together

    def resolve(self) -> None:
        if self.deadline is not None:
            self.deadline.cancel()
        if self.future.done():  # cancelled, or given up at the deadline: what was written stays written
            return
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self.answer)


class Writer:
    """Owns the connection and its thread. Used from one event loop.

    The store is used in the thread. `run` is written into every history entry; `notes` are what the store
    had to say when it was opened.
    """

    def __init__(self, store: Store) -> None:
        self.run: int | None = None
        self.patience_s: float | None = None  # how long an answer is waited for; None: ANSWER_DEADLINE_S
        self.commits = 0
        self._ranges: dict[tuple[str, str], int] = {}
        self.notes: list[str] = []
        self._store = store
        self._loop = asyncio.get_running_loop()
        self._queue: queue.SimpleQueue[list[_Request] | None] = queue.SimpleQueue()
        self._gathered: list[_Request] = []
        self._closing = False
        self._beat_at: float | None = None  # when the run must be shown to be alive, by the monotonic clock
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._end: tuple[int, str] | None = None  # of the history after the last commit
        # A daemon: a disk that hangs must not keep the process from ending.
        self._thread = threading.Thread(target=self._main, name="parburn-ledger", daemon=True)
        self._thread.start()

    @property
    def _deadline_s(self) -> float:
        return ANSWER_DEADLINE_S if self.patience_s is None else self.patience_s

    def call(self, work: Work[T], *, alone: bool = False) -> asyncio.Future[T]:
        """Have `work` done in the thread; the future ends once its commit is on disk.

        Args:
            work: What is to be done.
            alone: It looks at no unit but one that this run holds, and at what hangs on that.

        Raises:
            LedgerError: through the future: the work's own answer.
            LedgerUnusable: through the future: it could not be written, or took over ANSWER_DEADLINE_S.
        """
        future: asyncio.Future[T] = self._loop.create_future()
        if self._closing:
            future.set_exception(LedgerUnusable("The ledger is closed."))
            return future
        if not self._gathered:
            self._loop.call_soon(self._send)
        self._gathered.append(_Request(work, future, alone))
        return future

    def _send(self) -> None:
        requests, self._gathered = self._gathered, []
        if requests:
            if self._deadline_s < math.inf:
                requests[0].deadline = self._loop.call_later(self._deadline_s, self._give_up, requests)
            self._queue.put(requests)

    def _give_up(self, requests: list[_Request]) -> None:
        said = f"The ledger {self._store.name} gave no answer for {self._deadline_s:.0f} s."
        for request in requests:
            if not request.future.done():
                request.future.set_exception(LedgerUnusable(said))

    async def aclose(self) -> None:
        """Write what is waiting, then end the thread.

        Raises:
            LedgerUnusable: it did not end within its deadline, or its last write failed.
        """
        if not self._closing:
            self._closing = True
            self._send()
            self._queue.put(None)
        try:
            async with asyncio.timeout(ANSWER_DEADLINE_S):
                await asyncio.shield(self._ended)
        except TimeoutError:
            raise LedgerUnusable(
                f"The ledger {self._store.name} did not close within {ANSWER_DEADLINE_S:.0f} s."
            ) from None
        with CancelScope(shield=True):
            await to_thread.run_sync(self._thread.join, 1.0)

    # ---- in the thread

    def _main(self) -> None:
        error: BaseException | None = None
        connection: Sql | None = None
        try:
            try:
                connection, self.notes = self._store.connect()
            except Exception as failed:
                error = self._translated(failed)
            while (requests := self._next(connection)) is not None:
                if connection is None:
                    for request in requests:
                        request.error = error
                else:
                    self._commit(connection, requests)
                self._tell(requests)
                if self._end is not None and connection is not None:
                    self._store.after_commit(*self._end, last=False)
                self._beat(connection)
        except BaseException as failed:  # must reach the caller
            error = failed
        self._finish(connection, error)

    def _next(self, connection: Sql | None) -> list[_Request] | None:
        """Return all that has arrived, waiting for the first; None at the end."""
        requests = self._wait(connection)
        while requests is not None and len(requests) < _COMMIT_AT_MOST:
            try:
                more = self._queue.get_nowait()
            except queue.Empty:
                break
            if more is None:
                self._queue.put(None)  # write these first
                break
            requests = requests + more
        return requests

    def _wait(self, connection: Sql | None) -> list[_Request] | None:
        """Wait for work, and show meanwhile that the run is alive, where the store wants that."""
        while True:
            due_s = None if self._beat_at is None else max(0.0, self._beat_at - time.monotonic())
            try:
                return self._queue.get(timeout=due_s)  # aclose() ends it
            except queue.Empty:
                self._beat(connection)

    def _beat(self, connection: Sql | None) -> None:
        """Show that the run is alive where it is time: also one that is never idle."""
        if self._store.beat_s is None or connection is None:
            return
        now = time.monotonic()
        if self._beat_at is None or now >= self._beat_at:
            self._store.beat(connection, self.run)
            self._beat_at = now + self._store.beat_s

    def _commit(self, connection: Sql, requests: list[_Request]) -> None:
        try:
            for left in reversed(range(_TRIES)):
                try:
                    self._transact(connection, requests)
                    break
                except Exception as failed:
                    if not left or not self._store.passes(failed):
                        raise
        except Exception as failed:
            if len(requests) == 1:
                requests[0].error = self._translated(failed)
                return
            for request in requests:
                self._commit(connection, [request])

    def _transact(self, connection: Sql, requests: list[_Request]) -> None:
        at = now()
        try:
            history = self._store.begin(
                connection, at=at, run=self.run, alone=all(one.alone for one in requests)
            )
            transaction = Transaction(connection, history, at, self.run, self._ranges, self._store.row_lock)
            for request in requests:
                written = connection.total_changes + history.sequence
                request.answer = request.error = None
                try:
                    request.answer = request.work(transaction)
                except LedgerError as refused:
                    if connection.total_changes + history.sequence != written:
                        raise
                    request.error = refused
            history.flush()
            self._store.commit(connection, history)
        except BaseException:
            self._ranges.clear()  # some may have been made in this transaction
            self._store.roll_back(connection)
            raise
        self.commits += 1
        self._end = history.sequence, history.head

    def _translated(self, error: Exception) -> ParburnError:
        """Return any failure in the thread as the ledger's: the board must not burn then."""
        if isinstance(error, ParburnError):  # also what a config file lacks, found when it is compared
            return error
        translated = self._store.translate(error)
        translated.__cause__ = error
        return translated

    def _tell(self, requests: list[_Request]) -> None:
        def resolve() -> None:
            for request in requests:
                request.resolve()

        with contextlib.suppress(RuntimeError):  # the loop is gone, and with it whoever waited
            self._loop.call_soon_threadsafe(resolve)

    def _refuse_the_rest(self, error: BaseException | None) -> None:
        """Refuse who came too late, or after this thread broke: nobody must wait for the deadline."""
        refused = LedgerUnusable(f"The ledger {self._store.name} is closed{f': {error}' if error else ''}.")
        with contextlib.suppress(queue.Empty):
            while True:
                late = self._queue.get_nowait() or []
                for request in late:
                    request.error = refused
                self._tell(late)

    def _finish(self, connection: Sql | None, error: BaseException | None) -> None:
        if connection is not None:
            try:
                with contextlib.closing(connection):
                    if self._end is not None:
                        self._store.after_commit(*self._end, last=True)
            except Exception as failed:
                error = error or self._translated(failed)

        self._refuse_the_rest(error)

        def resolve() -> None:
            self._closing = True
            if self._ended.done():
                return
            if connection is not None and error is not None:
                self._ended.set_exception(error)
            else:
                self._ended.set_result(None)

        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(resolve)
