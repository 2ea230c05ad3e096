"""Rehearsal of a whole batch: every record on every kind of chip, on all processors; what is wrong, by kind.

Nothing is opened, burned or written into a ledger. Processes share the job as it was read once (they are
forked), take some hundred records at a time, and give back what they found without any key.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import secrets
import signal
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from types import MappingProxyType
from typing import Final, NamedTuple

from parburn.efuse.user_values import NOT_SHOWN, Take
from parburn.errors import UsageError
from parburn.run.checked_job import CheckedJob
from parburn.station.rehearsal import RecordFault, Rehearsed, Step, blank_chips, rehearse
from parburn.station.shapes import Shape

RECORDS_AT_ONCE: Final = 200
SHOWN_INDEXES: Final = 5
LOOK_S: Final = 1.0  # how often a process looks whether its parent is there
ALONE_BELOW: Final = 2 * RECORDS_AT_ONCE  # so few are rehearsed in this process


Steps = tuple[Step, ...]


class Finding(NamedTuple):
    """One kind of fault: how many records have it, and the first of them. `said` is what the first says."""

    kind: str
    chip: str
    said: str
    hint: str
    records: int
    indexes: tuple[int, ...]  # the first


class ChipRehearsal(NamedTuple):
    """What the batch does to one kind of chip.

    `plans` are the different plans with the number of records and the first index of each, most frequent
    first. `derived` are fields whose value is another chip's own, with the number of records.
    """

    chip: str
    whole: int  # records without a fault
    findings: tuple[Finding, ...]
    plans: tuple[tuple[Steps, int, int], ...]
    derived: tuple[tuple[str, int, int], ...]  # field, records, first index


class BatchRehearsal(NamedTuple):
    """What was found in all of it."""

    first: int
    last: int
    chips: tuple[ChipRehearsal, ...]
    shapes: Mapping[str, list[tuple[int, Shape]]] = MappingProxyType({})  # by chip, where they were asked for
    values: Mapping[str, Mapping[bytes, int]] = MappingProxyType({})  # digests by name, with an index

    @property
    def is_good(self) -> bool:
        """Tell whether no record has a fault on any kind of chip."""
        return not any(chip.findings for chip in self.chips)


def index_range_of(checked: CheckedJob) -> tuple[int, int]:
    """Return first and last index: those of --index, whose end may be that of the files' records.

    Raises:
        RecordsUndeclared: a file may have records, and nobody said in which form.
        UsageError: the range has no end.
    """
    if checked.config.undeclared:
        raise checked.config.undeclared_error()
    first, last = checked.job.index_first, checked.job.index_last
    if last is None and checked.config.has_records:
        last = checked.config.last
    if last is None:
        raise UsageError(
            "a rehearsal needs the last index: no config file has records", hint="--index 1-1000"
        )
    if last < first:
        raise UsageError(f"no record is left: {checked.config.counts()}, and --index begins at {first}")
    return first, last


def rehearse_batch(
    checked: CheckedJob,
    chip_names: Sequence[str],
    *,
    processes: int | None = None,
    allow_side_effects: bool = False,
    shapes: bool = False,
    secret: bytes | None = None,
    begin_at: int | None = None,
    on_progress: Callable[[int, int], object] | None = None,
) -> BatchRehearsal:
    """Rehearse all records on each of these chips. Call it where no other thread runs and no loop.

    Args:
        checked: The job; its ports count for nothing.
        chip_names: Kinds of chips, each of which may get any of the records.
        processes: How many work; None: one for each processor that this process may use.
        allow_side_effects: Let scripts write files and the like, two or three times a record and chip.
        shapes: Tell also what a plan template is made of.
        secret: The key of the values' digests; None: one that nobody knows.
        begin_at: Leave out the records below it; None: all of them.
        on_progress: Gets how many of all rehearsals are done, and how many there are.

    Raises:
        UsageError: the range of indexes has no end, there is no such chip, or a script does not end.
        ChipDataError: a custom table does not fit a chip.
    """
    first, last = index_range_of(checked)
    first = max(first, begin_at or first)
    for name in chip_names:
        blank_chips(checked, name)  # mistakes are told before a process starts
    secret = secret or secrets.token_bytes(32)
    parts = [
        _Part(name, range(start, min(start + RECORDS_AT_ONCE, last + 1)), secret, allow_side_effects, shapes)
        for name in chip_names
        for start in range(first, last + 1, RECORDS_AT_ONCE)
    ]
    processes = processes or len(os.sched_getaffinity(0))
    alone = processes == 1 or (last - first) * len(chip_names) < ALONE_BELOW
    answers = _one_by_one(checked, parts) if alone else _side_by_side(checked, parts, processes)
    found: dict[str, list[Rehearsed]] = {name: [] for name in chip_names}
    done, total = 0, (last - first + 1) * len(chip_names)
    for part, rehearsed in answers:
        found[part.chip] += rehearsed
        done += len(part.indexes)
        if on_progress is not None:
            on_progress(done, total)
    return BatchRehearsal(
        first,
        last,
        tuple(judged(name, found[name]) for name in chip_names),
        {name: [(one.number, shape) for one in found[name] for shape in one.shapes] for name in chip_names},
        _given(one for name in chip_names for one in found[name]),
    )


class _Part(NamedTuple):
    """What one process takes at a time."""

    chip: str
    indexes: range
    secret: bytes
    allow_side_effects: bool
    shapes: bool


Answers = Iterator[tuple[_Part, list[Rehearsed]]]
_checked_of_workers: CheckedJob | None = None  # set in each process as it starts


def _start_worker(checked: CheckedJob, parent: int) -> None:
    """Be a process that ends by any signal, and with the one that made it."""
    global _checked_of_workers
    _checked_of_workers = checked
    for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(one, signal.SIG_DFL)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(LOOK_S)
    os._exit(1)


def _in_worker(part: _Part) -> list[Rehearsed]:
    assert _checked_of_workers is not None
    return _rehearsed(_checked_of_workers, part)


def _rehearsed(checked: CheckedJob, part: _Part) -> list[Rehearsed]:
    chips = blank_chips(checked, part.chip)
    return asyncio.run(
        rehearse(
            checked,
            chips,
            part.indexes,
            secret=part.secret,
            allow_side_effects=part.allow_side_effects,
            shapes=part.shapes,
        )
    )


def _one_by_one(checked: CheckedJob, parts: Iterable[_Part]) -> Answers:
    for part in parts:
        yield part, _rehearsed(checked, part)


def _side_by_side(checked: CheckedJob, parts: Sequence[_Part], processes: int) -> Answers:
    """Fork: what the job holds (compiled scripts, files of any size) is there without being read again."""
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(
        min(processes, len(parts)),
        mp_context=context,
        initializer=_start_worker,
        initargs=(checked, os.getpid()),
    ) as pool:
        waiting: dict[Future[list[Rehearsed]], _Part] = {}
        try:
            for part in parts:
                waiting[pool.submit(_in_worker, part)] = part
            while waiting:
                done, _ = wait(waiting, timeout=1.0, return_when=FIRST_COMPLETED)
                for one in done:
                    yield waiting.pop(one), one.result()
        except BrokenProcessPool as error:
            raise UsageError("a script has ended the process that ran it", hint="Mend the script.") from error
        except BaseException:  # also where nobody wants the rest
            for process in multiprocessing.active_children():  # else they do all that was handed to them
                process.kill()
            raise
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _given(found: Iterable[Rehearsed]) -> dict[str, dict[bytes, int]]:
    """Return the digests of all values that units must not share, by name, with the index that gives each."""
    given: dict[str, dict[bytes, int]] = defaultdict(dict)
    for one in found:
        for value in one.values:
            given[value.name].setdefault(value.digest, one.number)
    return dict(given)


# What it means --------------------------------------------------------------------------------------


def judged(chip: str, found: Sequence[Rehearsed]) -> ChipRehearsal:
    """Return what was found on one kind of chip, from its records in any order."""
    found = sorted(found, key=lambda one: one.number)
    plans: dict[Steps, list[int]] = defaultdict(list)
    derived: dict[str, list[int]] = defaultdict(list)
    for one in found:
        if one.fault is None:
            plans[one.steps].append(one.number)
            for name in one.derived:
                derived[name].append(one.number)
    findings = [*_faults(chip, found), *_doubles(chip, found)]
    return ChipRehearsal(
        chip,
        sum(len(indexes) for indexes in plans.values()),
        tuple(findings),
        tuple(
            (steps, len(indexes), indexes[0])
            for steps, indexes in sorted(plans.items(), key=lambda item: -len(item[1]))
        ),
        tuple((name, len(indexes), indexes[0]) for name, indexes in derived.items()),
    )


def _faults(chip: str, found: Sequence[Rehearsed]) -> Iterator[Finding]:
    """Yield what records say, each sentence once."""
    groups: dict[tuple[str, str], list[tuple[int, RecordFault]]] = defaultdict(list)
    for one in found:
        if one.fault is not None:
            groups[one.fault.kind, one.fault.sentence].append((one.number, one.fault))
    for (kind, _), members in groups.items():
        _, fault = members[0]
        indexes = tuple(index for index, _ in members[:SHOWN_INDEXES])
        yield Finding(kind, chip, fault.said, fault.hint, len(members), indexes)


def _doubles(chip: str, found: Sequence[Rehearsed]) -> Iterator[Finding]:
    """Yield values that more than one record gives, and that no two units may carry."""
    holders: dict[str, dict[bytes, list[int]]] = defaultdict(lambda: defaultdict(list))
    takes: dict[str, Take] = {}
    shown: dict[tuple[str, bytes], str] = {}
    for one in found:
        for value in one.values:
            holders[value.name][value.digest].append(one.number)
            takes[value.name] = value.take
            shown[value.name, value.digest] = value.shown
    for name, by_digest in holders.items():
        doubled = {digest: indexes for digest, indexes in by_digest.items() if len(indexes) > 1}
        take = takes[name]
        if not doubled or (take is Take.KEY and len(by_digest) == 1):
            continue
        digest, indexes = min(doubled.items(), key=lambda item: item[1][0])
        text = shown[name, digest]
        what = "one value" if text in ("", NOT_SHOWN) else text
        count = sum(len(some) for some in doubled.values())
        few = tuple(indexes[:SHOWN_INDEXES])
        yield Finding(
            "double", chip, f"{name}: {what} is given to more than one unit", _hint(name, take), count, few
        )


def _hint(name: str, take: Take) -> str:
    if take is Take.KEY:
        return "Keys are equal on all units or different on all: mend the files."
    if take is Take.OWN:
        return "Mend the files: no two units may carry it."
    return f"If it is meant to be equal on all units say so: --same {name}. If not, mend the files."


def kinds(rehearsal: BatchRehearsal) -> Counter[str]:
    """Return how many records have a fault of each kind, over all chips."""
    found: Counter[str] = Counter()
    for chip in rehearsal.chips:
        for finding in chip.findings:
            found[finding.kind] += finding.records
    return found
