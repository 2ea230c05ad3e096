"""What is known of each board now, folded from events. Pure state: it draws and prints nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from parburn.events import (
    BlockBurned,
    Claimed,
    DeviceReport,
    Event,
    Finished,
    Identified,
    Planned,
    Result,
    RunStarted,
    Step,
    StepChanged,
)
from parburn.ui.state_marks import State
from parburn.ui.words import one_line


@dataclass(slots=True)
class BoardRow:
    """One board as its row shows it."""

    port: str
    slot: str
    chip: str = ""
    mac: str = ""
    index: int | None = None
    step: Step | None = None
    detail: str = ""
    done: int = 0
    total: int = 0
    result: Result | None = None
    error: str = ""
    began: float | None = None  # clock at the first event
    took: float = 0.0  # seconds, once finished

    @property
    def state(self) -> State:
        """How it ended, or what it is doing."""
        return self.result or self.step

    @property
    def word(self) -> str:
        """The state as a word; empty before it has begun."""
        return self.result.value if self.result is not None else self.step or ""

    @property
    def blocks(self) -> str:
        """Steps done and planned, as `3/5`; empty before there is a plan."""
        return f"{self.done}/{self.total}" if self.total else ""

    @property
    def index_text(self) -> str:
        """The index; empty before the board has one."""
        return "" if self.index is None else str(self.index)

    def age(self, now: float) -> float:
        """Return the seconds that it took, or takes so far."""
        if self.result is not None or self.began is None:
            return self.took
        return now - self.began


class BoardRows:
    """All boards of a run, in run order."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.began = clock()
        self.all: dict[str, BoardRow] = {}
        self.dirty: set[str] = set()
        self.simulated = False
        self.dry_run = False

    def apply(self, event: Event) -> BoardRow | None:
        """Take one event into the rows; return the board that it changed, if any."""
        if isinstance(event, RunStarted):
            self._start(event)
            return None
        if not event.port:
            return None
        board = self.all.get(event.port)
        if board is None:
            board = self.all[event.port] = BoardRow(event.port, "")
        if not _fold(board, event):
            return None
        if board.began is None:
            board.began = self.clock()
        self.dirty.add(board.port)
        return board

    def counts(self) -> dict[str, int]:
        """Return how many boards are in each state, worst words last; states without boards are left out."""
        counts: dict[str, int] = {}
        for board in self.all.values():
            word = board.word or "waiting"
            counts[word] = counts.get(word, 0) + 1
        order = [result.value for result in Result]
        return dict(sorted(counts.items(), key=lambda item: order.index(item[0]) if item[0] in order else -1))

    def _start(self, event: RunStarted) -> None:
        self.began = self.clock()
        self.simulated, self.dry_run = event.simulated, event.dry_run
        slots = event.slots if len(event.slots) == len(event.ports) else ("",) * len(event.ports)
        for port, slot in zip(event.ports, slots, strict=True):
            self.all[port] = BoardRow(port, slot)
        self.dirty.update(self.all)


def _fold(board: BoardRow, event: Event) -> bool:
    match event:
        case StepChanged(step=step, detail=detail):
            board.step, board.detail = step, one_line(detail)
        case Identified(chip=chip, mac=mac):
            board.chip, board.mac = chip, mac
        case Claimed(index=index):
            board.index = index
        case Planned(blocks=blocks):
            board.total = board.done + len(blocks)
        case BlockBurned(done=done, total=total):
            board.done, board.total = done, total
        case Finished(report=report):
            _finish(board, report)
        case _:
            return False
    return True


def _finish(board: BoardRow, report: DeviceReport) -> None:
    board.slot = report.slot or board.slot
    board.chip = report.chip or board.chip
    board.mac = report.mac or board.mac
    board.index = report.index  # none in the end, where a script asked for nothing
    board.result, board.error, board.took = report.result, one_line(report.error), report.seconds
    if report.blocks_total:
        board.done, board.total = report.blocks_done, report.blocks_total
    board.step, board.detail = None, ""
