"""What each socket of a rig has done: counted in memory, kept in a small SQLite file by a thread of its own.

No board waits for it and none fails by it: whatever goes wrong here becomes one note. It knows no chip and no
ledger; its file lies beside the ledger and may be deleted at any time.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
import statistics
import threading
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Final, NamedTuple

from anyio import to_thread

from parburn.errors import UsageError
from parburn.ledger.file_location import beside
from parburn.ledger.schema import connect_to_read
from parburn.ledger_place import Place

LAST: Final = 50  # outcomes that a socket's yield is of
LEAST: Final = 20  # outcomes without which nothing is said of a yield
LEAST_SOCKETS: Final = 3  # without which there is no median to speak of
POINTS_UNDER: Final = 10  # percent under the median
MOST_SLOTS: Final = 1024
MOST_KINDS: Final = 32  # of failures, of one socket
TEXT_AT_MOST: Final = 64  # characters of a slot's name and of a kind
OTHER: Final = "other"  # a kind beyond that
WRITE_EVERY_S: Final = 1.0
BUSY_S: Final = 1.0
CLOSE_S: Final = 3.0
_VERSION: Final = 1
_TABLE: Final = (
    "CREATE TABLE IF NOT EXISTS sockets (slot TEXT PRIMARY KEY, insertions INTEGER NOT NULL,"
    " passes INTEGER NOT NULL, retries INTEGER NOT NULL, failures TEXT NOT NULL, last TEXT NOT NULL)"
    " WITHOUT ROWID"
)
_PUT: Final = "INSERT OR REPLACE INTO sockets VALUES (?, ?, ?, ?, ?, ?)"
_DAMAGED: Final = (ValueError, TypeError, AttributeError, RecursionError)  # what nobody of us wrote
NO_FAILURES: Final[Mapping[str, int]] = MappingProxyType({})


class SlotCounts(NamedTuple):
    """What a socket has done. `last`: of its last outcomes whether each passed, and its seconds."""

    slot: str
    insertions: int = 0
    passes: int = 0
    retries: int = 0
    failures: Mapping[str, int] = NO_FAILURES
    last: tuple[tuple[bool, float], ...] = ()

    @property
    def passed_of_last(self) -> float | None:
        """Per cent of the last outcomes that passed; None where there are too few of them."""
        if len(self.last) < LEAST:
            return None
        return 100 * sum(passed for passed, _ in self.last) / len(self.last)

    @property
    def p50_s(self) -> float | None:
        """Half of the last passes took so many seconds or less; None where none passed."""
        seconds = [seconds for passed, seconds in self.last if passed]
        return statistics.median(seconds) if seconds else None

    def counted(self, kind: str, seconds: float, *, passed: bool, retries: int, of_yield: bool) -> SlotCounts:
        """Return the counts with one more insertion."""
        failures = dict(self.failures)
        if not passed:
            known = kind in failures or len(failures) < MOST_KINDS - 1
            name = kind if known else OTHER
            failures[name] = failures.get(name, 0) + 1
        return SlotCounts(
            self.slot,
            self.insertions + 1,
            self.passes + passed,
            self.retries + retries,
            failures,
            (*self.last, (passed, round(seconds, 3)))[-LAST:] if of_yield else self.last,
        )


def place_beside(ledger: Place) -> Path:
    """Return where the statistics of the sockets lie that work with this ledger."""
    return beside(ledger, ".sockets.sqlite3")


def read_counts(ledger: Place) -> Mapping[str, SlotCounts]:
    """Return by slot what the sockets have done that work with this ledger. It changes nothing.

    Raises:
        UsageError: nothing is counted beside it, or it cannot be read.
    """
    path = place_beside(ledger)
    if not path.exists():
        raise UsageError(
            f"no socket has done anything with the ledger {ledger}: there is no {path.name}",
            hint="Name the ledger of the station's job.",
        )
    try:
        with contextlib.closing(connect_to_read(path)) as connection:
            return _rows_of(connection)
    except (sqlite3.Error, OSError, *_DAMAGED) as error:
        raise UsageError(
            f"what the sockets did cannot be read from {path}: {error}",
            hint="The next start of the station sets a damaged file aside. No board depends on it.",
        ) from error


class Statistics:
    """The counts of all sockets. Used from one event loop; its thread writes at most once a second."""

    def __init__(
        self, path: Path, counts: dict[str, SlotCounts], notes: Iterable[str], *, writes: bool
    ) -> None:
        self.path = path
        self._counts = counts
        self._writes = writes  # not where the file could not be read: its counts would be lost
        self._notes = list(notes)
        self._told: set[str] = set()  # what goes wrong again and again is one note
        self._changed: set[str] = set()
        self._lock = threading.Condition()
        self._ending = False
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[None] = self._loop.create_future()
        # A daemon: a disk that hangs must not keep the process from ending.
        self._thread = threading.Thread(target=self._main, name="parburn-sockets", daemon=True)
        self._thread.start()

    @classmethod
    async def open(cls, path: Path) -> Statistics:
        """Read what was counted before. A damaged file is set aside; nothing is raised, see `take_notes`."""
        found = await to_thread.run_sync(_load, path)
        return cls(path, found.counts, found.notes, writes=found.may_be_written)

    def count(
        self,
        slot: str,
        kind: str,
        seconds: float,
        passed: bool,
        *,
        retries: int = 0,
        of_yield: bool = True,
    ) -> None:
        """Count one insertion; returns at once.

        Args:
            slot: The socket's name.
            kind: What kind of failure it was; of a pass it is not kept.
            seconds: From plug to verdict.
            passed: Whether it was a pass.
            retries: How many connects it took more than one.
            of_yield: Not so for a board that had passed before: it says nothing of the socket.
        """
        slot = _short(slot)
        before = self._counts.get(slot)
        if before is None:
            if len(self._counts) >= MOST_SLOTS:
                self._note("many", f"More than {MOST_SLOTS} sockets are not counted.")
                return
            before = SlotCounts(slot)
        after = before.counted(_short(kind), seconds, passed=passed, retries=retries, of_yield=of_yield)
        with self._lock:
            self._counts[slot] = after
            self._changed.add(slot)
            self._lock.notify()

    def picture(self, slot: str) -> SlotCounts:
        """Return what a socket has done; one that has done nothing has zeros."""
        return self._counts.get(_short(slot)) or SlotCounts(_short(slot))

    def low_yield(self, slots: Iterable[str]) -> set[str]:
        """Return which of a rig's sockets pass ten points less of their last outcomes than the median socket.

        Sockets with fewer than LEAST outcomes are not judged, and none is where fewer than LEAST_SOCKETS are.
        """
        yields = {slot: self.picture(slot).passed_of_last for slot in slots}
        judged = {slot: per_cent for slot, per_cent in yields.items() if per_cent is not None}
        if len(judged) < LEAST_SOCKETS:
            return set()
        limit = statistics.median(judged.values()) - POINTS_UNDER
        return {slot for slot, per_cent in judged.items() if per_cent <= limit + 1e-9}

    def take_notes(self) -> tuple[str, ...]:
        """Return sentences for the operator and forget them: each is told once."""
        with self._lock:
            taken, self._notes = tuple(self._notes), []
            return taken

    async def aclose(self) -> None:
        """Write what is counted, and end the thread; a disk that hangs is given up after CLOSE_S."""
        with self._lock:
            self._ending = True
            self._lock.notify()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                await asyncio.shield(self._ended)
            await to_thread.run_sync(self._thread.join, 1.0)

    def _note(self, about: str, text: str) -> None:
        with self._lock:
            if about not in self._told:
                self._told.add(about)
                self._notes.append(text)

    # ---- in the thread

    def _main(self) -> None:
        connection: sqlite3.Connection | None = None
        while changed := self._next():
            try:
                if connection is None:
                    connection = _connect(self.path)
                _write(connection, changed)
                self._told.discard("written")
            except (sqlite3.Error, OSError, ValueError) as error:
                _close(connection)
                connection = None
                self._failed(error)
                if self._ending:
                    break
        _close(connection)
        with contextlib.suppress(RuntimeError):  # the loop is gone, and with it whoever waited
            self._loop.call_soon_threadsafe(self._tell_end)

    def _failed(self, error: Exception) -> None:
        """Tell once why nothing is written; all of it is written again with what comes next."""
        damaged = isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError)
        why = f"What the sockets do cannot be written to {self.path}: {error}."
        self._note("written", _set_aside(self.path) if damaged else why)
        with self._lock:
            self._changed = set(self._counts)

    def _tell_end(self) -> None:
        if not self._ended.done():
            self._ended.set_result(None)

    def _next(self) -> list[SlotCounts]:
        """Wait for counts, then a second for more; return those that changed, none at the end."""
        with self._lock:
            self._lock.wait_for(lambda: self._changed or self._ending)  # aclose() ends it
            self._lock.wait_for(lambda: self._ending, WRITE_EVERY_S)
            while not self._ending and not self._writes:
                self._lock.wait()
            changed = [self._counts[slot] for slot in sorted(self._changed)] if self._writes else []
            self._changed.clear()
            return changed


@lru_cache(4096)  # asked for each socket at each verdict
def _short(text: str) -> str:
    return text[:TEXT_AT_MOST].encode("utf-8", "backslashreplace").decode("utf-8")


def _close(connection: sqlite3.Connection | None) -> None:
    if connection is not None:
        with contextlib.suppress(sqlite3.Error):
            connection.close()


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")  # a kill loses nothing, a power cut perhaps a second
        connection.execute(_TABLE)
        connection.execute(f"PRAGMA user_version={_VERSION}")
    except BaseException:
        connection.close()
        raise
    return connection


def _write(connection: sqlite3.Connection, changed: Iterable[SlotCounts]) -> None:
    rows = [
        (
            one.slot,
            one.insertions,
            one.passes,
            one.retries,
            json.dumps(dict(one.failures)),
            json.dumps(one.last),
        )
        for one in changed
    ]
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.executemany(_PUT, rows)
        connection.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise


class _Loaded(NamedTuple):
    counts: dict[str, SlotCounts]
    notes: tuple[str, ...] = ()
    may_be_written: bool = True


def _load(path: Path) -> _Loaded:
    """Return what a file holds, and notes; a damaged one is set aside under another name."""
    try:
        if not path.exists():
            return _Loaded({})
        with contextlib.closing(_connect(path)) as connection:
            return _Loaded(_rows_of(connection))
    except (sqlite3.OperationalError, OSError) as error:  # busy, no rights, a full disk: it may be whole
        why = f"What the sockets did cannot be read from {path}, and nothing is kept there now: {error}."
        return _Loaded({}, (why,), may_be_written=False)
    except (sqlite3.DatabaseError, *_DAMAGED):
        return _Loaded({}, (_set_aside(path),))


def _rows_of(connection: sqlite3.Connection) -> dict[str, SlotCounts]:
    rows = connection.execute("SELECT * FROM sockets LIMIT ?", (MOST_SLOTS,)).fetchall()
    return {row[0]: _parsed(*row) for row in rows}


def _parsed(slot: str, insertions: int, passes: int, retries: int, failures: str, last: str) -> SlotCounts:
    """Return a row as counts. Raises ValueError, TypeError or AttributeError for what nobody wrote."""
    if not isinstance(slot, str) or any(
        type(one) is not int or one < 0 for one in (insertions, passes, retries)
    ):
        raise ValueError(slot)
    kinds = {str(kind): int(count) for kind, count in json.loads(failures).items()}
    outcomes = tuple((bool(passed), float(seconds)) for passed, seconds in json.loads(last))
    return SlotCounts(slot, insertions, passes, retries, kinds, outcomes[-LAST:])


def _set_aside(path: Path) -> str:
    aside = path.with_name(f"{path.name}.damaged")
    try:
        for end in ("-wal", "-shm"):
            path.with_name(path.name + end).unlink(missing_ok=True)
        path.replace(aside)
    except OSError as error:
        return (
            f"The file {path} is damaged and cannot be set aside ({error.strerror}): sockets begin at zero."
        )
    return f"The file {path} is damaged: it was set aside as {aside.name}, and the sockets begin at zero."
