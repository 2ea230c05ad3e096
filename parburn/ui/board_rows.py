"""What is known of each board now, folded from events. Pure state: it draws and prints nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from parburn.events import (
    BlockBurned,
    Claimed,
    DeviceReport,
    Event,
    Finished,
    Identified,
    Planned,
    PlannedBlock,
    Result,
    RunStarted,
    Step,
    StepChanged,
)
from parburn.natural_order import natural_key
from parburn.ui.names import tells
from parburn.ui.short_words import RESULT_WORDS, short_word
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
    short: str = ""  # how it ended, in a few words
    value: tuple[str, str] = ("", "")  # name and text of what tells it from others, once it is known
    began: float | None = None  # clock at the first event
    took: float = 0.0  # seconds, once finished

    @property
    def state(self) -> State:
        """How it ended, or what it is doing."""
        return self.result or self.step

    @property
    def word(self) -> str:
        """The state as a word; empty before it has begun."""
        return RESULT_WORDS[self.result] if self.result is not None else self.step or ""

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
        self._clock = clock
        self._asked_s = 0.0  # while people were asked
        self._asked_at: float | None = None
        self.began = clock()
        self.all: dict[str, BoardRow] = {}
        self.dirty: set[str] = set()
        self.simulated = False
        self.dry_run = False

    def clock(self) -> float:
        """Return the seconds of the run, without the time for which people were asked something."""
        return (self._clock() if self._asked_at is None else self._asked_at) - self._asked_s

    def asked(self) -> None:
        """Stop the clock: people are asked."""
        self._asked_at = self._clock()

    def answered(self) -> None:
        """Let the clock go on."""
        if self._asked_at is not None:
            self._asked_s += self._clock() - self._asked_at
            self._asked_at = None

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
        order = [RESULT_WORDS[result] for result in Result]
        return dict(sorted(counts.items(), key=lambda item: order.index(item[0]) if item[0] in order else -1))

    def _start(self, event: RunStarted) -> None:
        self.began = self.clock()
        self.simulated, self.dry_run = event.simulated, event.dry_run
        slots = event.slots if len(event.slots) == len(event.ports) else ("",) * len(event.ports)
        boards = list(zip(event.ports, slots, strict=True))
        if len(set(slots)) == len(slots) and all(tells(port, slot) for port, slot in boards):
            boards.sort(key=lambda board: natural_key(board[1]))  # as they stand in front of the operator
        for port, slot in boards:
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
            board.value = board.value if board.value[1] else _telling(blocks)
        case BlockBurned(done=done, total=total):
            board.done, board.total = done, total
        case Finished(report=report):
            _finish(board, report)
        case _:
            return False
    return True


def _telling(blocks: Sequence[PlannedBlock]) -> tuple[str, str]:
    """Return the first value that is planned outside BLOCK0, where all boards have the same."""
    for block in blocks:
        for name, text in block.values:
            if text and not text.startswith("(") and not block.block.startswith("BLOCK0"):
                return name, one_line(text)
    return "", ""


def _finish(board: BoardRow, report: DeviceReport) -> None:
    board.slot = report.slot or board.slot
    board.chip = board.chip or report.chip  # in its maker's spelling
    board.mac = report.mac or board.mac
    board.index = report.index  # none in the end, where a script asked for nothing
    board.result, board.error, board.took = report.result, one_line(report.error), report.seconds
    board.short = one_line(short_word(report))
    for name, text in report.unique_values.items():
        board.value = name, one_line(text)
        break
    if report.blocks_total:
        board.done, board.total = report.blocks_done, report.blocks_total
    board.step, board.detail = None, ""
