"""A board whose port is lost while it waits: wherever it waits, its wait ends at once, and it counts no more.

The far side of its pty is closed (its rig is killed) at each place of waiting; another board stays.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

import parburn
from parburn import DeviceReport, Finished, Job, Result, Script, StepChanged
from parburn.errors import PortGone
from parburn.events import Claimed, Event, Planned
from parburn.hardware import commit as hardware_commit
from parburn.ledger import export
from parburn.ledger.run_ledger import RunLedger
from parburn.run import burns as burns_module
from parburn.run.barrier import Barrier, OneByOne
from parburn.run.burns import BoardCalls
from parburn.run.port_watch import PortWatch
from parburn.run.shared import PlanOfBoard
from tests.rig import Rig, start_rig

CHIP = "esp32c3"
SOON_S = 5.0  # a wait that does not end by itself lasts until the test lets it go on


@contextmanager
def two_boards(folder: Path, *, places: tuple[str, str] = ("0", "1")) -> Iterator[tuple[Rig, Rig]]:
    """One that stays and one that is pulled, in folders that say whose turn is first."""
    for name in places:
        (folder / name).mkdir(parents=True)
    with (
        start_rig(CHIP, 1, folder / places[0], seed=1) as stays,
        start_rig(CHIP, 1, folder / places[1], seed=2) as pulled,
    ):
        yield stays, pulled


def pull(rig: Rig) -> None:
    """The far side of the board's port is closed when this returns."""
    rig.process.kill()
    rig.process.wait(10)


@contextmanager
def silent_port() -> Iterator[tuple[str, Callable[[], None]]]:
    """A port that never answers, so that a barrier stays open; and what closes it, which ends that."""
    master, slave = os.openpty()
    name = os.ttyname(slave)
    os.close(slave)
    closed = False

    def close() -> None:
        nonlocal closed
        if not closed:
            closed = True
            os.close(master)

    try:
        yield name, close
    finally:
        close()


def burn_mac(wait_for: threading.Event | None = None, port: str = "") -> Script:
    """Stage a MAC by the index; the board at `port` then waits, in its own thread."""

    def burns(esp: object, efuses: object, args: object, espefuse: Callable[[str], object]) -> None:
        espefuse(f"burn_custom_mac 02:00:00:00:00:{args.index:02x}")  # type: ignore[attr-defined]
        while wait_for is not None and esp.serial_port == port and not wait_for.wait(0.01):  # type: ignore[attr-defined]
            pass

    return Script("mac", "1", burns)


class Seen:
    """The events of a run; `when` does something at the first that fits, in the loop's thread."""

    def __init__(self, when: Callable[[Event], bool], do: Callable[[], object]) -> None:
        self.events: list[Event] = []
        self.done_at = 0.0
        self.ended_at: dict[str, float] = {}
        self._ended: dict[str, asyncio.Event] = {}
        self._when, self._do = when, do

    def __call__(self, event: Event) -> None:
        self.events.append(event)
        if isinstance(event, Finished):
            self.ended_at[event.port] = time.monotonic()
            self._ended.setdefault(event.port, asyncio.Event()).set()
        if not self.done_at and self._when(event):
            self._do()
            self.done_at = time.monotonic()

    async def ended(self, port: str) -> None:
        with anyio.fail_after(2 * SOON_S):
            await self._ended.setdefault(port, asyncio.Event()).wait()

    def of(self, kind: type[Event], port: str) -> list[Event]:
        return [event for event in self.events if isinstance(event, kind) and event.port == port]

    def told_at_once(self, port: str) -> bool:
        return 0 <= self.ended_at[port] - self.done_at < SOON_S


def waits(port: str, step: str, detail: str = "") -> Callable[[Event], bool]:
    return lambda e: isinstance(e, StepChanged) and (e.port, e.step) == (port, step) and detail in e.detail


def job(folder: Path, ports: Sequence[str], script: Script | None = None, **more: object) -> Job:
    fields = {"do_not_confirm": True, "new_ledger": True, "batch": "b", **more}
    return Job(tuple(ports), (script or burn_mac(),), ledger=folder / "ledger.sqlite", **fields)  # type: ignore[arg-type]


def by_port(reports: Sequence[DeviceReport]) -> dict[str, DeviceReport]:
    return {report.port: report for report in reports}


def is_lost(report: DeviceReport) -> bool:
    return report.error_kind == "PortGone" and report.burned == "nothing was burned"


@pytest.mark.parametrize("expect", [None, 2])
def test_at_the_first_barrier(tmp_path: Path, expect: int | None) -> None:
    with two_boards(tmp_path) as (stays, pulled), silent_port() as (silent, close):
        stay, lost = stays.ports[0], pulled.ports[0]
        seen = Seen(waits(lost, "waiting", "for the other boards"), lambda: pull(pulled))

        def on_event(event: Event) -> None:
            seen(event)
            if isinstance(event, Finished) and event.port == lost:
                close()  # only now the barrier is complete

        asked = job(tmp_path, [stay, lost, silent], expect=expect, connect_attempts=100)
        reports = by_port(parburn.burn(asked, on_event=on_event))
        assert is_lost(reports[lost])
        assert seen.told_at_once(lost)
        assert reports[lost].result is Result.NO_ANSWER
        assert reports[lost].index is None
        assert not seen.of(Claimed, lost)
        assert not seen.of(Planned, lost)
        if expect is None:
            assert reports[stay].result is Result.PASS
            assert reports[stay].index == 1
        else:
            assert reports[stay].result is Result.REFUSED
            assert "1 of 2 expected boards" in reports[stay].error
            assert lost in reports[stay].error
            assert stays.programs(0) == 0


@pytest.mark.parametrize("expect", [None, 2])
def test_while_the_indexes_are_given_out(
    tmp_path: Path, expect: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was given to the board in this moment goes back, and the next new chip gets it."""
    with (
        two_boards(tmp_path, places=("1", "0")) as (stays, pulled),
        start_rig(CHIP, 1, tmp_path, seed=3) as other,
    ):
        stay, lost = stays.ports[0], pulled.ports[0]
        seen = Seen(lambda event: False, int)
        real = RunLedger.claim_all

        async def claim_all(self: RunLedger, *given: Any, **more: Any) -> Any:
            claims = await real(self, *given, **more)
            if pulled.process.poll() is None:
                pull(pulled)
                await seen.ended(lost)
            return claims

        monkeypatch.setattr(RunLedger, "claim_all", claim_all)
        reports = by_port(parburn.burn(job(tmp_path, [lost, stay], expect=expect), on_event=seen))
        assert is_lost(reports[lost])
        assert reports[lost].index is None
        if expect is None:
            assert (reports[stay].result, reports[stay].index) == (Result.PASS, 2)
        else:
            assert reports[stay].result is Result.REFUSED
            assert stays.programs(0) == 0
        (report,) = parburn.burn(job(tmp_path, other.ports))
        assert (report.result, report.index) == (Result.PASS, 1)


def test_under_a_prompt_the_board_counts_no_more(tmp_path: Path) -> None:
    with two_boards(tmp_path) as (stays, pulled):
        stay, lost = stays.ports[0], pulled.ports[0]
        seen = Seen(lambda event: False, int)

        async def confirm(plans: tuple[PlanOfBoard, ...]) -> bool:
            assert len(plans) == 2
            pull(pulled)
            seen.done_at = time.monotonic()
            await seen.ended(lost)
            return True

        asked = job(tmp_path, [stay, lost], expect=2, do_not_confirm=False)
        reports = by_port(parburn.burn(asked, on_event=seen, confirm=confirm))
        assert is_lost(reports[lost])
        assert reports[stay].result is Result.REFUSED
        assert "1 of 2 expected boards are there" in reports[stay].error
        assert stays.programs(0) == 0


@pytest.mark.parametrize("expect", [None, 2])
def test_at_the_second_barrier_before_the_prompt(tmp_path: Path, expect: int | None) -> None:
    goes_on = threading.Event()
    with two_boards(tmp_path) as (stays, pulled):
        stay, lost = stays.ports[0], pulled.ports[0]
        seen = Seen(waits(lost, "confirming"), lambda: pull(pulled))
        asked_for: list[str] = []

        def on_event(event: Event) -> None:
            seen(event)
            if isinstance(event, Finished) and event.port == lost:
                goes_on.set()

        async def confirm(plans: tuple[PlanOfBoard, ...]) -> bool:
            asked_for.extend(plan.port for plan in plans)
            return True

        script = burn_mac(goes_on, stay)
        asked = job(tmp_path, [stay, lost], script, expect=expect, do_not_confirm=False)
        reports = by_port(parburn.burn(asked, on_event=on_event, confirm=confirm))
        assert is_lost(reports[lost])
        assert seen.told_at_once(lost)
        assert asked_for == [stay]
        assert reports[stay].result is (Result.PASS if expect is None else Result.REFUSED)
        assert stays.programs(0) == (0 if expect else 1)


def test_while_its_script_runs(tmp_path: Path) -> None:
    """The script is stopped although nothing of it asks the chip for anything."""
    never = threading.Event()
    with two_boards(tmp_path) as (stays, pulled):
        stay, lost = stays.ports[0], pulled.ports[0]
        seen = Seen(waits(lost, "scripting"), lambda: threading.Timer(0.3, pull, [pulled]).start())
        asked = job(tmp_path, [stay, lost], burn_mac(never, lost), script_timeout_s=600)
        reports = by_port(parburn.burn(asked, on_event=seen))
        assert is_lost(reports[lost])
        assert seen.told_at_once(lost)
        assert reports[lost].result is Result.FAILED
        assert not seen.of(Planned, lost)
        assert reports[stay].result is Result.PASS


def test_a_script_that_keeps_the_loss_to_itself_is_stopped(tmp_path: Path) -> None:
    def holds_on(esp: object, efuses: object, args: object, espefuse: Callable[[str], object]) -> None:
        while True:
            try:
                esp.read_reg(0x6000_7000)  # type: ignore[attr-defined]
            except Exception:
                time.sleep(0.01)

    with two_boards(tmp_path) as (_, pulled):
        lost = pulled.ports[0]
        seen = Seen(waits(lost, "scripting"), lambda: threading.Timer(0.3, pull, [pulled]).start())
        asked = job(tmp_path, [lost], Script("holds", "1", holds_on), script_timeout_s=600)
        (report,) = parburn.burn(asked, on_event=seen)
        assert is_lost(report)
        assert seen.told_at_once(lost)


def test_while_it_waits_for_its_turn_to_burn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One board holds the only turn until the other, which waits for it, has ended."""
    with two_boards(tmp_path) as (stays, pulled):
        stay, lost = stays.ports[0], pulled.ports[0]
        seen = Seen(waits(lost, "waiting", "for its turn to burn"), lambda: pull(pulled))
        real = hardware_commit.commit

        async def commit_late(*given: object) -> object:
            await seen.ended(lost)
            return await real(*given)  # type: ignore[arg-type]

        monkeypatch.setattr(burns_module, "commit", commit_late)
        # The board that stays comes first to its turn: the other one waits for that.
        first = asyncio.Event()

        def on_event(event: Event) -> None:
            seen(event)
            if waits(stay, "burning")(event):
                first.set()

        monkeypatch.setattr(BoardCalls, "_committed", _after(first, lost, BoardCalls._committed))
        asked = job(tmp_path, [stay, lost], max_burning=1)
        reports = by_port(parburn.burn(asked, on_event=on_event))
        assert is_lost(reports[lost])
        assert seen.told_at_once(lost)
        assert reports[stay].result is Result.PASS
        assert not _attempted(tmp_path, lost_mac=pulled.mac(0))


def _after(first: asyncio.Event, port: str, committed: Callable[..., object]) -> Callable[..., object]:
    async def later(self: object, *given: object) -> None:
        if self._board.port == port:  # type: ignore[attr-defined]
            await first.wait()
        await committed(self, *given)  # type: ignore[misc]

    return later


def _attempted(folder: Path, lost_mac: str) -> bool:
    rows = [line for line in export.show(folder / "ledger.sqlite").splitlines() if lost_mac in line]
    assert len(rows) == 1
    return "BURN_ATTEMPTED" in rows[0]


def test_while_it_waits_for_the_boards_before_it(tmp_path: Path) -> None:
    goes_on = threading.Event()
    with two_boards(tmp_path) as (stays, pulled):
        stay, lost = stays.ports[0], pulled.ports[0]
        seen = Seen(waits(lost, "waiting", "for the boards before it"), lambda: pull(pulled))

        def on_event(event: Event) -> None:
            seen(event)
            if isinstance(event, Finished) and event.port == lost:
                goes_on.set()

        asked = job(tmp_path, [stay, lost], burn_mac(goes_on, stay), one_at_a_time=True)
        reports = by_port(parburn.burn(asked, on_event=on_event))
        assert is_lost(reports[lost])
        assert seen.told_at_once(lost)
        assert not seen.of(Planned, lost)
        assert reports[stay].result is Result.PASS


def test_one_at_a_time_at_the_prompt(tmp_path: Path) -> None:
    with two_boards(tmp_path, places=("1", "0")) as (stays, pulled):
        lost, stay = pulled.ports[0], stays.ports[0]
        seen = Seen(lambda event: False, int)

        async def confirm(plans: tuple[PlanOfBoard, ...]) -> bool:
            assert [plan.port for plan in plans] == [lost]
            pull(pulled)
            seen.done_at = time.monotonic()
            await seen.ended(lost)
            return True

        asked = job(tmp_path, [lost, stay], expect=2, one_at_a_time=True, do_not_confirm=False)
        reports = by_port(parburn.burn(asked, on_event=seen, confirm=confirm))
        assert is_lost(reports[lost])
        assert reports[stay].result is Result.REFUSED
        assert "no other board is burned" in reports[stay].error
        assert stays.programs(0) == 0


# --- the parts


def gone() -> PortGone:
    return PortGone("/dev/ttyUSB0 is gone")


def test_a_watch_ends_a_wait_and_every_later_one() -> None:
    async def run() -> None:
        watch = PortWatch()
        told: list[object] = []
        watch.tell(told.append)
        with watch.there():
            pass
        asyncio.get_running_loop().call_later(0.01, watch.lose, gone())
        with pytest.raises(PortGone), watch.there():
            await anyio.sleep(60)
        watch.lose(PortGone("a second loss"))
        assert [str(error) for error in told] == ["/dev/ttyUSB0 is gone"]
        with pytest.raises(PortGone), watch.there():
            pytest.fail("not entered any more")
        watch.tell(told.append)
        assert len(told) == 2

    asyncio.run(run())


def test_what_came_in_the_same_moment_is_kept() -> None:
    async def run() -> None:
        watch, limiter = PortWatch(), anyio.CapacityLimiter(1)
        with watch.there():
            await limiter.acquire()
            watch.lose(gone())
        assert limiter.borrowed_tokens == 1  # the caller has it, and gives it back
        limiter.release()

    asyncio.run(run())


@pytest.mark.parametrize("kind", [Barrier, OneByOne])
@pytest.mark.parametrize("how", ["lost", "cancelled"])
def test_who_leaves_a_barrier_has_brought_nothing(kind: type[Barrier[int, int]], how: str) -> None:
    async def run() -> None:
        barrier = kind(["a", "b"])

        async def comes() -> None:
            with pytest.raises(PortGone):
                await barrier.arrive("a", 1)

        async with anyio.create_task_group() as group:
            group.start_soon(comes)
            await anyio.sleep(0.01)
            if how == "lost":
                barrier.lose("a", gone())
            else:
                group.cancel_scope.cancel()
        barrier.withdraw("b")
        assert await barrier.complete() == {}
        if isinstance(barrier, OneByOne):
            assert await barrier.next() is None

    asyncio.run(run())


@pytest.mark.parametrize("kind", [Barrier, OneByOne])
def test_who_is_lost_before_does_not_arrive(kind: type[Barrier[int, int]]) -> None:
    async def run() -> None:
        barrier = kind(["a"])
        barrier.lose("a", gone())
        with pytest.raises(PortGone):
            await barrier.arrive("a", 1)
        barrier.withdraw("a")
        assert await barrier.complete() == {}

    asyncio.run(run())
