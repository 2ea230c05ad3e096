"""The lines lock: two kinds never inside at once, neither starves, nobody is forgotten, a kill frees."""

from __future__ import annotations

import asyncio
import errno
import json
import math
import os
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from parburn.errors import LinesBusy
from parburn.transport import lines_lock, lock_file
from parburn.transport.lines_lock import OVERDUE_S, LinesLock, Stay, machine_lines
from parburn.transport.lock_file import LOCK_ENV, Kind, LockFile, NoLockFile
from tests.transport.lines_storm import LONGEST_S, Visit, door, storm

SLACK_S = 2.0  # of a loaded machine
KINDS = ("LINES", "BURN")


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A lock file of the test's own, which its processes take part in."""
    found = tmp_path / "lines.lock"
    monkeypatch.setenv(LOCK_ENV, str(found))
    return found


@pytest.fixture
def lock(path: Path) -> Iterator[LinesLock]:
    found = LinesLock(str(path))
    yield found
    found.close()


def other(kind: str) -> str:
    return "LINES" if kind == "BURN" else "BURN"


def started(*words: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.transport.lines_storm", *map(str, words)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        cwd=Path(__file__).resolve().parents[2],
    )  # fmt: skip


@contextmanager
def held_elsewhere(kind: str) -> Iterator[subprocess.Popen[str]]:
    """Another process is inside."""
    process = started("hold", kind)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "inside\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def overlaps(visits: list[Visit]) -> list[tuple[Visit, Visit]]:
    """The pairs of both kinds that were inside at one moment."""
    found, latest = list[tuple[Visit, Visit]](), dict[str, Visit]()
    for visit in sorted(visits, key=lambda one: one.came):
        before = latest.get(other(visit.kind))
        if before is not None and before.went > visit.came:
            found.append((before, visit))
        if visit.kind not in latest or visit.went > latest[visit.kind].went:
            latest[visit.kind] = visit
    return found


def test_the_witness_sees_what_overlaps() -> None:
    assert overlaps([Visit("LINES", 0, 10, 0), Visit("LINES", 5, 6, 0), Visit("BURN", 9, 12, 0)])
    assert not overlaps([Visit("LINES", 0, 10, 0), Visit("LINES", 5, 6, 0), Visit("BURN", 10, 12, 0)])


# --- one process


@pytest.mark.parametrize("kind", KINDS)
def test_many_of_one_kind_are_inside_at_once(lock: LinesLock, kind: str) -> None:
    together = 0

    async def one(all_in: asyncio.Barrier) -> None:
        nonlocal together
        async with door(lock, kind):
            await all_in.wait()
            together += 1

    async def run() -> None:
        all_in = asyncio.Barrier(20)
        async with asyncio.timeout(5):
            await asyncio.gather(*(one(all_in) for _ in range(20)))

    asyncio.run(run())
    assert together == 20


@pytest.mark.parametrize("with_file", [True, False])
def test_a_storm_of_tasks(tmp_path: Path, with_file: bool) -> None:
    lock = LinesLock(str(tmp_path / "lines.lock" if with_file else tmp_path / "no" / "folder"))
    visits = asyncio.run(storm(lock, 1, 24, 12))
    assert bool(lock.only_here) is not with_file
    assert not overlaps(visits)
    assert {visit.kind for visit in visits} == {*KINDS}
    assert max(visit.waited_s for visit in visits) < max(OVERDUE_S) + 2 * LONGEST_S + SLACK_S
    lock.close()


@pytest.mark.parametrize("kind", KINDS)
def test_who_waits_is_woken_and_looks_at_no_clock(
    lock: LinesLock, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No polling where only this process takes part: the waits that are counted are few."""
    looks = 0
    attempt = lock._attempt

    def counted(kind: Kind, *, all_the_same: bool = False) -> object:
        nonlocal looks
        looks += 1
        return attempt(kind, all_the_same=all_the_same)

    async def run() -> float:
        async with door(lock, other(kind)):
            waiting = [asyncio.create_task(come_and_go(lock, kind)) for _ in range(10)]
            await asyncio.sleep(0.7)
            left = time.monotonic()
        await asyncio.gather(*waiting)
        return time.monotonic() - left

    monkeypatch.setattr(lock, "_attempt", counted)
    took = asyncio.run(run())
    assert took < 0.2
    assert looks < 1 + 10 * 6  # asked, waited, overdue, woken


@pytest.mark.parametrize("kind", KINDS)
def test_nobody_new_is_let_in_once_the_other_kind_has_waited(lock: LinesLock, kind: str) -> None:
    """Stays that overlap without end: the other kind gets in all the same."""

    async def run() -> float:
        ended = asyncio.Event()

        async def relay(n: int) -> None:
            await asyncio.sleep(n * 0.02)
            while not ended.is_set():
                async with door(lock, kind):
                    await asyncio.sleep(0.1)

        relays = [asyncio.create_task(relay(n)) for n in range(5)]
        await asyncio.sleep(0.15)
        asked = time.monotonic()
        async with asyncio.timeout(10), door(lock, other(kind)):
            waited = time.monotonic() - asked
        ended.set()
        await asyncio.gather(*relays)
        return waited

    waited = asyncio.run(run())
    overdue_s = OVERDUE_S[Kind[other(kind)]]
    assert overdue_s * 0.9 < waited < overdue_s + 0.1 + SLACK_S


@pytest.mark.parametrize(
    ("lasts_s", "comes_in"), [(0.1, True), (0.25, True), (0.6, False), (math.inf, False)]
)
def test_who_goes_out_before_one_that_is_inside_makes_nobody_wait(
    lock: LinesLock, lasts_s: float, comes_in: bool
) -> None:
    async def run() -> None:
        stay = await lock.enter(Kind.LINES, within_s=1, lasts_s=0.3)
        stay.outlives_task()
        waiting = asyncio.create_task(come_and_go(lock, "BURN"))
        await asyncio.sleep(0)
        late = await lock.find_stay(Kind.LINES, within_s=0.05, lasts_s=lasts_s)
        assert (late is not None) is comes_in
        assert not waiting.done()
        for one in (stay, late):
            if one is not None:
                one.leave()
        async with asyncio.timeout(0.2):
            await waiting

    asyncio.run(run())


@pytest.mark.parametrize("in_the_way", ["BURN inside", "LINES inside", "both"])
def test_a_long_reset_gives_way_to_all_others_for_a_time(
    lock: LinesLock, monkeypatch: pytest.MonkeyPatch, in_the_way: str
) -> None:
    """Else each dead board, which is reset for longer the second time, would hold up the good ones."""
    monkeypatch.setattr(lines_lock, "LONG_OVERDUE_S", 0.6)

    async def long_one() -> tuple[float, float]:
        asked = time.monotonic()
        stay = await lock.enter(Kind.LINES, within_s=30, lasts_s=0.65)
        came_in = time.monotonic()
        await asyncio.sleep(0.1)
        stay.leave()
        return asked, came_in

    async def relay(kind: str, ended: asyncio.Event) -> None:
        while not ended.is_set():
            async with door(lock, kind):
                await asyncio.sleep(0.05)

    async def run() -> None:
        asked, came_in = await long_one()
        assert came_in - asked < 0.6  # nobody is there
        ended = asyncio.Event()
        kinds = ["BURN", "LINES"] if in_the_way == "both" else [in_the_way.split()[0]]
        relays = [asyncio.create_task(relay(kind, ended)) for kind in kinds for _ in range(3)]
        await asyncio.sleep(0.1)
        first = asyncio.create_task(long_one())
        await asyncio.sleep(0.3)
        second = asyncio.create_task(long_one())
        async with asyncio.timeout(5):
            (asked, came_in), (_, with_it) = await asyncio.gather(first, second)
        assert 0.6 <= came_in - asked < 0.6 + OVERDUE_S[Kind.LINES] + 0.2 + SLACK_S
        assert 0 <= with_it - came_in < 0.1  # with the first: it has not waited for long itself
        ended.set()
        await asyncio.gather(*relays)

    asyncio.run(run())


def test_long_resets_alone_do_not_wait_for_each_other(lock: LinesLock) -> None:
    async def run() -> None:
        async with asyncio.timeout(1):
            burning = await lock.enter(Kind.BURN, within_s=1)
            burning.outlives_task()
            waiting = [
                asyncio.create_task(lock.enter(Kind.LINES, within_s=30, lasts_s=0.65)) for _ in range(3)
            ]
            await asyncio.sleep(0.1)
            assert not any(one.done() for one in waiting)
            burning.leave()
            for stay in await asyncio.gather(*waiting):
                stay.leave()

    asyncio.run(run())


def test_short_stays_one_after_another_do_not_go_on_for_ever(lock: LinesLock) -> None:
    """Each ends a moment after the one before: by each other alone none of them may come in."""

    async def run() -> None:
        ended = asyncio.Event()

        async def relay() -> None:
            while not ended.is_set():
                stay = await lock.enter(Kind.LINES, within_s=30, lasts_s=0.012)
                await asyncio.sleep(0.012)
                stay.leave()

        relays = [asyncio.create_task(relay()) for _ in range(5)]
        await asyncio.sleep(0.1)
        asked = time.monotonic()
        async with asyncio.timeout(5), lock.burning():
            assert time.monotonic() - asked < SLACK_S
        ended.set()
        await asyncio.gather(*relays)

    asyncio.run(run())


def test_a_patient_one_never_makes_others_wait(lock: LinesLock) -> None:
    async def run() -> None:
        async def patient() -> float:
            asked = time.monotonic()
            async with lock.moving(patient=True):
                return time.monotonic() - asked

        async with lock.burning():
            waiting = asyncio.create_task(patient())
            await asyncio.sleep(OVERDUE_S[Kind.LINES] + 0.2)
            lock._wake(Kind.LINES)  # whatever it is woken by
            await asyncio.sleep(0.02)
            asked = time.monotonic()
            async with asyncio.timeout(1), asyncio.TaskGroup() as group:
                group.create_task(burn())
            assert time.monotonic() - asked < 0.2
            assert not waiting.done()
        assert await waiting > OVERDUE_S[Kind.LINES]

    async def burn() -> None:
        async with lock.burning():
            pass

    asyncio.run(run())


def test_a_patient_one_comes_in_between_two_burns_in_a_row(lock: LinesLock) -> None:
    """The next burn is woken by what ends the first, and asks a turn of the loop later."""

    async def run() -> None:
        turn = asyncio.Lock()
        moved = asyncio.Event()

        async def burn() -> None:
            async with turn:
                if not moved.is_set():
                    async with lock.burning():
                        await asyncio.sleep(0.05)

        async def close() -> None:
            async with lock.moving(patient=True):
                moved.set()

        burns = [asyncio.create_task(burn()) for _ in range(20)]
        await asyncio.sleep(0.01)
        asked = time.monotonic()
        await close()
        assert time.monotonic() - asked < 0.5
        await asyncio.gather(*burns)

    asyncio.run(run())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("after_s", [0.05, max(OVERDUE_S) + 0.15])
def test_a_cancelled_one_leaves_no_trace(lock: LinesLock, path: Path, kind: str, after_s: float) -> None:
    """Neither the others of this process nor those of another are held up by one who waits no more."""

    async def run() -> None:
        async with door(lock, other(kind)):
            waiting = asyncio.create_task(come_and_go(lock, kind))
            await asyncio.sleep(after_s)
            assert elsewhere.has_waited(Kind[kind]) is (after_s > OVERDUE_S[Kind[kind]])
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            assert not elsewhere.has_waited(Kind[kind])
            async with asyncio.timeout(0.2):
                await asyncio.create_task(come_and_go(lock, other(kind)))
        assert elsewhere.is_quiet(Kind.LINES)
        assert elsewhere.is_quiet(Kind.BURN)
        assert lock._overdue == [0, 0]
        assert lock._waiting == ([], [])

    assert not lock.only_here
    elsewhere = LockFile(path)
    asyncio.run(run())
    elsewhere.close()


async def come_and_go(lock: LinesLock, kind: str) -> None:
    async with door(lock, kind):
        pass


def test_who_is_cancelled_inside_goes_out(lock: LinesLock) -> None:
    async def run() -> None:
        async def stay() -> None:
            async with lock.burning():
                await asyncio.sleep(60)

        staying = asyncio.create_task(stay())
        await asyncio.sleep(0.01)
        staying.cancel()
        with pytest.raises(asyncio.CancelledError):
            await staying
        async with asyncio.timeout(0.2), lock.moving():
            pass

    asyncio.run(run())


def test_a_task_comes_in_again_and_never_waits_for_itself(lock: LinesLock) -> None:
    async def run() -> None:
        async with lock.moving():
            waiting = asyncio.create_task(come_and_go(lock, "BURN"))
            await asyncio.sleep(max(OVERDUE_S) + 0.1)
            async with asyncio.timeout(0.2), lock.moving():  # nobody new, but this one is not new
                pass
        await waiting
        async with lock.burning():
            with pytest.raises(RuntimeError, match="waits for itself"):
                await lock.enter(Kind.LINES, within_s=5)

    asyncio.run(run())


def test_two_loops_of_one_process_exclude_each_other(lock: LinesLock) -> None:
    seen = list[Visit]()

    def one(seed: int) -> None:
        seen.extend(asyncio.run(storm(lock, seed, 6, 8)))

    threads = [threading.Thread(target=one, args=(seed,)) for seed in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(seen) > 50
    assert not overlaps(seen)


def test_a_stay_ends_once(lock: LinesLock) -> None:
    async def run() -> None:
        first = await lock.enter(Kind.LINES, within_s=1)
        second = await lock.find_stay(Kind.LINES, within_s=1)
        assert second is not None
        second.leave()
        second.leave()
        assert await lock.find_stay(Kind.LINES, within_s=0.01)
        first.outlives_task()
        with pytest.raises(LinesBusy):
            await lock.enter(Kind.BURN, within_s=0.05)

    with pytest.raises(RuntimeError, match="waits for itself"):
        asyncio.run(run())  # the third stay is still this task's


# --- several processes


def test_a_storm_of_processes(path: Path) -> None:
    """Each writes down when it was inside; neither kind starves."""
    processes = [started(seed, 6, 10) for seed in range(1, 5)]
    visits = list[Visit]()
    for process in processes:
        out, _ = process.communicate(timeout=90)
        assert process.returncode == 0
        visits += [Visit(*json.loads(line)) for line in out.splitlines()]
    assert not overlaps(visits)
    assert {visit.kind for visit in visits} == {*KINDS}
    assert len(visits) > 4 * 6 * 10 * 0.6
    assert max(visit.waited_s for visit in visits) < max(OVERDUE_S) + 2 * LONGEST_S + SLACK_S


@pytest.mark.parametrize("kind", KINDS)
def test_sigkill_inside_frees(lock: LinesLock, kind: str) -> None:
    async def run(process: subprocess.Popen[str]) -> None:
        waiting = asyncio.create_task(come_and_go(lock, other(kind)))
        await asyncio.sleep(0.2)
        assert not waiting.done()
        process.send_signal(signal.SIGKILL)
        async with asyncio.timeout(2):
            await waiting

    with held_elsewhere(kind) as process:
        asyncio.run(run(process))


def test_another_looks_where_the_first_that_waited_is_cancelled(
    lock: LinesLock, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of them looks for all, every few ms, while another process is in the way."""
    looks = 0
    attempt = lock._attempt_by_file

    def counted(kind: Kind, all_the_same: bool) -> object:
        nonlocal looks
        looks += 1
        return attempt(kind, all_the_same)

    async def run() -> None:
        nonlocal looks
        waiting = [asyncio.create_task(come_and_go(lock, "LINES")) for _ in range(10)]
        await asyncio.sleep(max(OVERDUE_S) + 0.1)
        waiting[0].cancel()
        await asyncio.sleep(0.05)
        looks = 0
        await asyncio.sleep(0.5)
        assert 15 < looks < 150
        elsewhere.go_out(Kind.BURN)
        async with asyncio.timeout(0.5):
            await asyncio.gather(*waiting[1:])

    assert not lock.only_here
    elsewhere = LockFile(path)
    elsewhere.go_in(Kind.BURN)
    monkeypatch.setattr(lock, "_attempt_by_file", counted)
    asyncio.run(run())
    elsewhere.close()


@pytest.mark.parametrize("kind", KINDS)
def test_nobody_new_is_let_in_where_another_process_has_waited(
    lock: LinesLock, path: Path, kind: str
) -> None:
    """The waiter there is heard of here: a relay of two processes ends for it."""

    async def run() -> None:
        async with door(lock, kind):
            process = started("hold", other(kind))
            while not elsewhere.has_waited(Kind[other(kind)]):  # noqa: ASYNC110  # another process
                await asyncio.sleep(0.02)
            late = asyncio.create_task(come_and_go(lock, kind))
            await asyncio.sleep(0.2)
            assert not late.done()  # this kind is inside, and still nobody new comes in
        assert process.stdout is not None
        line = await asyncio.to_thread(process.stdout.readline)
        assert line == "inside\n"
        assert not late.done()
        process.kill()
        process.communicate()
        await asyncio.wait_for(late, 3)

    assert not lock.only_here
    elsewhere = LockFile(path)
    asyncio.run(run())
    elsewhere.close()


def test_a_stopped_process_that_waits_takes_no_turn(lock: LinesLock, path: Path) -> None:
    """It was stopped (Ctrl-Z) while it waited, and it was its turn: the other kind goes on."""

    async def run() -> None:
        async with lock.moving():
            elsewhere.wait(Kind.BURN)
        asked = time.monotonic()
        async with asyncio.timeout(10), lock.moving():
            assert time.monotonic() - asked > 0.9

    assert not lock.only_here
    elsewhere = LockFile(path)
    asyncio.run(run())
    elsewhere.close()


def test_the_turns_where_both_have_waited(
    lock: LinesLock, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kind that was not inside last; the other within the moment of the change only."""
    monkeypatch.setattr(lines_lock, "_STALE_S", 60.0)
    assert not lock.only_here
    elsewhere = LockFile(path)
    elsewhere.wait(Kind.BURN)

    async def comes_in(last: Kind, within_s: float) -> bool:
        elsewhere.note_last(last)
        stay = await lock.find_stay(Kind.LINES, within_s=within_s)
        if stay is not None:
            stay.leave()
        return stay is not None

    async def run() -> None:
        assert not await comes_in(Kind.BURN, OVERDUE_S[Kind.LINES] / 2)  # not overdue yet
        assert await comes_in(Kind.BURN, OVERDUE_S[Kind.LINES] + 0.2)
        assert not await comes_in(Kind.LINES, OVERDUE_S[Kind.LINES] + 0.2)
        waiting = asyncio.create_task(come_and_go(lock, "LINES"))
        await asyncio.sleep(max(OVERDUE_S) + 0.1)
        assert not waiting.done()
        elsewhere.note_last(Kind.LINES)  # others of its kind come in just now
        async with asyncio.timeout(0.5):
            await waiting

    asyncio.run(run())
    elsewhere.close()


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("BURN", "no reset line was moved: for 0.4 s {who} burned chips"),
        ("LINES", "nothing was burned: for 0.4 s {who} opened or reset ports"),
    ],
)
def test_a_deadline_names_the_process_in_the_way(lock: LinesLock, kind: str, said: str) -> None:
    with held_elsewhere(kind) as process:
        with pytest.raises(LinesBusy) as caught:
            asyncio.run(in_time(lock, other(kind), 0.4))
        name = Path(f"/proc/{process.pid}/comm").read_text().strip()
        assert str(caught.value) == said.format(who=f"{name} (process {process.pid})")
        assert f"kill {process.pid}" in caught.value.hint


async def in_time(lock: LinesLock, kind: str, within_s: float) -> None:
    async with lock.burning(within_s=within_s) if kind == "BURN" else lock.moving(within_s=within_s):
        pass


def test_a_deadline_where_this_process_is_in_the_way(lock: LinesLock) -> None:
    async def run() -> None:
        async with lock.burning():
            with pytest.raises(LinesBusy, match="this very command burned chips"):
                await asyncio.create_task(in_time(lock, "LINES", 0.05))

    asyncio.run(run())


def test_a_forked_child_neither_holds_nor_frees(lock: LinesLock, path: Path) -> None:
    """A child that lives on keeps nothing locked, and going out in it changes nothing for its parent."""

    lives, ends = os.pipe()
    said, says = os.pipe()
    assert not lock.only_here
    elsewhere = LockFile(path)

    def forked(stay: Stay) -> int:
        """A child that goes out, says so, and lives until the test ends."""
        child = os.fork()
        if not child:
            stay.leave()
            os.close(ends)
            os.write(says, b"x")
            os.read(lives, 1)
            os._exit(0)
        os.read(said, 1)
        return child

    stay = asyncio.run(lock.enter(Kind.BURN, within_s=1))
    children = [forked(stay)]
    assert elsewhere.who_is_inside(Kind.BURN) == os.getpid()
    stay.leave()
    assert elsewhere.who_is_inside(Kind.BURN) is None
    children.append(forked(asyncio.run(lock.enter(Kind.BURN, within_s=1))))
    lock.close()  # as at the parent's end, while its child lives
    assert elsewhere.who_is_inside(Kind.BURN) is None
    for end in (ends, lives, said, says):
        os.close(end)
    for child in children:
        os.waitpid(child, 0)
    elsewhere.close()


# --- the file


def test_every_user_may_take_part(lock: LinesLock, path: Path) -> None:
    assert lock.path == path
    assert stat.S_IMODE(path.stat().st_mode) == 0o666
    assert [one.name for one in path.parent.iterdir()] == [path.name]


def test_another_user_is_kept_out_by_us() -> None:
    """In a folder for all, as /run/lock is. Who is not root is another user only to the kernel's eyes."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o1777)
        path = Path(folder) / "lines.lock"
        lock = LinesLock(str(path))
        stay = asyncio.run(lock.enter(Kind.BURN, within_s=1))
        child = os.fork()
        if not child:
            code = 2
            try:
                if os.getuid() == 0:
                    os.setuid(65534)
                code = 0 if LockFile(path).who_is_inside(Kind.BURN) == os.getppid() else 1
            finally:
                os._exit(code)
        assert os.waitpid(child, 0)[1] == 0
        stay.leave()
        lock.close()


def a_link(path: Path) -> None:
    target = path.with_name("target")
    a_file(target, lock_file._MAGIC)
    path.symlink_to(target)


def a_pipe(path: Path) -> None:
    os.mkfifo(path)


def a_file(path: Path, content: bytes, mode: int = 0o666) -> None:
    path.write_bytes(content)
    path.chmod(mode)


SHAPES: dict[str, Callable[[Path], object]] = {
    "a link": a_link,
    "a pipe": a_pipe,
    "a folder": Path.mkdir,
    "another file": lambda path: a_file(path, b"do not touch\n"),
    "a longer one": lambda path: a_file(path, lock_file._MAGIC + bytes(1000)),
    "one that not all may write": lambda path: a_file(path, lock_file._MAGIC, 0o644),
    "an empty one of somebody": lambda path: a_file(path, b"", 0o644),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_file_of_another_shape_is_refused(path: Path, shape: str) -> None:
    """It is left as it is, the lock holds in this process, and there is a sentence to tell."""
    SHAPES[shape](path)
    before = path.read_bytes() if path.is_file() else b""
    lock = LinesLock(str(path))

    async def run() -> None:
        async with lock.burning():
            assert await asyncio.create_task(lock.find_stay(Kind.LINES, within_s=0.02)) is None
        async with lock.moving():
            pass

    asyncio.run(run())
    assert str(path) in lock.only_here
    assert "this process only" in lock.only_here
    assert lock.path is None
    assert (path.read_bytes() if path.is_file() else b"") == before
    lock.close()


def test_an_empty_file_is_taken(path: Path) -> None:
    """As who administers the machine makes it, or a full disk."""
    path.touch()
    path.chmod(0o666)
    lock = LinesLock(str(path))
    for kind in ("LINES", "BURN"):
        asyncio.run(in_time(lock, kind, 1))
    assert lock.path == path
    assert path.read_bytes().startswith(lock_file._MAGIC)
    assert LinesLock(str(path)).path == path
    lock.close()


def test_a_full_disk_costs_only_the_order(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "write", full)
    monkeypatch.setattr(os, "pwrite", full)
    lock = LinesLock(str(path))
    for kind in ("LINES", "BURN", "LINES"):
        asyncio.run(in_time(lock, kind, 1))
    assert lock.path == path
    assert not path.stat().st_size
    lock.close()


def test_the_folders_in_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is there counts first: else root would make a second one where others may not write."""
    first, second = tmp_path / "run", tmp_path / "tmp"
    monkeypatch.setattr(lock_file, "_FOLDERS", (str(first), str(second)))
    second.mkdir()
    assert lock_file.lock_path() == second / "parburn-lines.lock"
    first.mkdir()
    assert lock_file.lock_path() == first / "parburn-lines.lock"
    (second / "parburn-lines.lock").touch()
    assert lock_file.lock_path() == second / "parburn-lines.lock"
    (first / "parburn-lines.lock").touch()
    assert lock_file.lock_path() == first / "parburn-lines.lock"


def test_it_is_opened_without_making_it_where_it_is_there(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With O_CREAT Linux refuses another user's file in a folder for all."""
    LockFile(path).close()
    asked = list[int]()
    real = os.open

    def opened(name: str, flags: int, *rest: int) -> int:
        asked.append(flags)
        return real(name, flags, *rest)

    monkeypatch.setattr(os, "open", opened)
    LockFile(path).close()
    assert [flags & os.O_CREAT for flags in asked] == [0]
    assert asked[0] & os.O_CLOEXEC


def test_many_processes_make_one_file(path: Path) -> None:
    processes = [started("hold", "LINES") for _ in range(6)]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "inside\n"
    ours = LockFile(path)
    assert ours.who_is_inside(Kind.LINES) in {process.pid for process in processes}
    for process in processes:
        process.communicate("\n")
    assert ours.who_is_inside(Kind.LINES) is None
    ours.close()
    assert [one.name for one in path.parent.iterdir()] == [path.name]


def test_a_file_that_was_taken_away_is_made_anew(lock: LinesLock, path: Path) -> None:
    """What cleans /tmp takes old files: two processes must not lock two of them for long."""

    asyncio.run(in_time(lock, "LINES", 1))
    path.unlink()
    stay = asyncio.run(lock.enter(Kind.LINES, within_s=1))
    theirs = LockFile(path)
    assert theirs.who_is_inside(Kind.LINES) == os.getpid()
    theirs.close()
    stay.leave()


def test_garbage_in_the_file_lets_nobody_in(lock: LinesLock, path: Path) -> None:
    assert not lock.only_here
    path.write_bytes(lock_file._MAGIC + b"\xff" * 9)
    with held_elsewhere("BURN"), pytest.raises(LinesBusy):
        asyncio.run(in_time(lock, "LINES", 0.2))
    path.write_bytes(b"")
    asyncio.run(in_time(lock, "LINES", 2))


def test_a_file_that_cannot_be_locked_is_told(lock: LinesLock, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: LockFile) -> bool:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(LockFile, "shut_gate", refuse)
    asyncio.run(in_time(lock, "LINES", 1))
    assert "No locks available" in lock.only_here


def test_there_is_one_lock_a_process(path: Path) -> None:
    assert machine_lines() is machine_lines()
    assert machine_lines().path == path
    machine_lines().close()


def test_no_file_where_there_is_no_folder(tmp_path: Path) -> None:
    with pytest.raises(NoLockFile, match="cannot be opened"):
        LockFile(tmp_path / "no" / "lines.lock")
