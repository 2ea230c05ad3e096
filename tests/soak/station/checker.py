"""Proves what must hold: from the boards' own files, against the ledger's tables and what the station said.

What cannot be told from a chip's memory (two sockets at work on one identity, a verdict over a board that was
never looked at) is told from the station's JSON and from what the hand knows of who sits where.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from parburn.sim.efuse_memory import EfuseMemory
from parburn.sim.state_file import read_board
from tests.soak.checker import same
from tests.soak.station.job import CHIP, Job

DAMAGE = re.compile(
    r"bit \d+ of (\w+) (?:refuses to burn(?! the first time$)|burns its)|\d+ bytes of (\w+) burn"
)
_LEAK = re.compile(r"bit (\d+) of (\w+) burns its neighbour too")
_WRONG = re.compile(r"(\d+) bytes of (\w+) burn wrong")


@dataclass
class Board:
    """One simulated board: `clone` has the identity of another one; `faults` may have struck it."""

    name: str
    mac: str
    chip: str
    odd: bool = False
    dead: bool = False
    clone: bool = False
    faults: set[str] = field(default_factory=set)
    stays: int = 0  # in sockets, so far


@dataclass(frozen=True)
class Unit:
    """A row of the ledger."""

    id: int
    index: int | None
    state: str
    spent: bool
    reason: str


class LedgerView:
    """The ledger's tables, read while the station writes them."""

    def __init__(self, path: Path) -> None:
        self._open = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=20)
        self._seen = 0  # of the history
        self._went_on: Counter[int] = Counter()

    def unit(self, chip: str, mac: str) -> Unit | None:
        """The unit of a chip."""
        row = self._open.execute(
            "SELECT id, idx, state, spent, reason FROM units WHERE mac = ? AND chip = ?", (mac, chip)
        ).fetchone()
        return Unit(row[0], row[1], row[2], bool(row[3]), row[4]) if row else None

    def went_on(self) -> Iterator[str]:
        """Units that went on by themselves more often than they may, since the last time that was asked."""
        rows = self._open.execute(
            "SELECT seq, unit, event, detail FROM history WHERE seq > ? AND unit IS NOT NULL ORDER BY seq",
            (self._seen,),
        )
        for self._seen, unit, event, detail in rows:
            if event == "goes-on":
                self._went_on[unit] += 1
                if self._went_on[unit] > 1:
                    yield f"unit {unit} went on by itself {self._went_on[unit]} times: {detail}"
            elif event == "allowed-to-go-on":
                self._went_on[unit] = 0

    def counts(self) -> dict[str, int]:
        """How many units are in which state."""
        return dict(self._open.execute("SELECT state, count(*) FROM units GROUP BY state").fetchall())

    def begun(self) -> list[tuple[str, str]]:
        """Chip and MAC of the units that are not whole."""
        return self._open.execute("SELECT chip, mac FROM units WHERE state = 'incomplete'").fetchall()

    def close(self) -> None:
        """Close it."""
        self._open.close()


class Checker:
    """What must hold of boards that lie outside, and of what the station says."""

    def __init__(self, job: Job, files: Path) -> None:
        self.job, self.files = job, files
        self.ledger = LedgerView(job.ledger)
        self.boards: dict[str, Board] = {}
        self.by_mac: dict[tuple[str, str], list[Board]] = defaultdict(list)
        self._mac_owner: dict[int, str] = {}  # custom MAC: the board that has it
        self._index_owner: dict[int, str] = {}
        self._work_at: dict[str, dict[str, float]] = defaultdict(dict)  # mac: slot: since
        self._said: set[str] = set()

    def meet(self, board: Board) -> Board:
        """Learn of a board."""
        self.boards[board.name] = board
        self.by_mac[board.chip, board.mac].append(board)
        return board

    def memory(self, board: Board) -> EfuseMemory:
        """What a board holds."""
        return read_board(self.files / f"{board.name}.json").product.memory

    def once(self, found: Iterable[str]) -> list[str]:
        """Those that were not said before."""
        new = [one for one in found if one not in self._said]
        self._said.update(new)
        return new

    # One board ------------------------------------------------------------------------------------------

    def board(self, board: Board) -> Iterator[str]:
        """Everything that is not as it must be with a board that lies outside."""
        made = read_board(self.files / f"{board.name}.json").product
        memory, factory = made.memory, self.job.factory(made, odd=board.odd)
        unit = self.ledger.unit(board.chip, board.mac)
        name = f"{board.name} ({board.chip} {board.mac})"
        if memory.cells == factory:
            if unit and unit.state == "pass" and not self._has_another(board):
                yield f"{name} passed as index {unit.index} and is blank"
            return
        if board.chip != CHIP:
            yield f"{name} is of another chip, and was burned"
            return
        if unit is None or unit.index is None or not unit.spent:
            yield f"{name} holds bits and the ledger does not know: {unit}"
            return
        wanted = self.job.wanted(memory.chip, factory).cells(unit.index)
        yield from self._cells(board, name, unit, memory, factory, wanted)
        if self._is_first_record(board, memory, factory):
            return
        yield from self._owners(board, name, unit, memory)
        if unit.state == "quarantined" and not board.clone and not self._is_explained(board, memory, wanted):
            faults = "; ".join(sorted(board.faults))
            yield f"{name} is quarantined ({unit.reason}), and no chip fault explains it ({faults})"

    def _has_another(self, board: Board) -> bool:
        return len(self.by_mac[board.chip, board.mac]) > 1

    def _is_first_record(self, board: Board, memory: EfuseMemory, factory: dict[int, int]) -> bool:
        """Of chips with one identity, one whose first block was begun and never recorded as verified.

        Nothing tells it from the other chip, which may then be burned as that unit.
        """
        begun = {n for n, cells in memory.cells.items() if cells != factory[n]}
        return self._has_another(board) and 0 not in begun and len(begun) == 1

    def _cells(
        self,
        board: Board,
        name: str,
        unit: Unit,
        memory: EfuseMemory,
        factory: dict[int, int],
        wanted: dict[int, int],
    ) -> Iterator[str]:
        for block in memory.chip.blocks:
            extra = memory.cells[block.index] & ~wanted[block.index]
            if extra and not self._is_excused(board, memory, block.names, extra):
                kind = "that no plan named" if wanted[block.index] == factory[block.index] else ""
                yield (
                    f"{name} holds {extra.bit_count()} cells in {block.name} {kind}"
                    f" that index {unit.index} has not"
                )
        if unit.state == "pass" and not same(memory, wanted) and not self._has_another(board):
            wrong = [b.name for b in memory.chip.blocks if memory.cells[b.index] != wanted[b.index]]
            yield f"{name} passed as index {unit.index} and is not exact in {', '.join(wrong)}"

    def _owners(self, board: Board, name: str, unit: Unit, memory: EfuseMemory) -> Iterator[str]:
        custom = memory.field_bits("CUSTOM_MAC")
        assert unit.index is not None
        if custom and not board.faults and (owner := self._other_owner(self._mac_owner, custom, board)):
            yield f"{name} and {owner} both hold the custom MAC {custom:012x}"
        if owner := self._other_owner(self._index_owner, unit.index, board):
            yield f"{name} and {owner} are both index {unit.index}"

    def _other_owner(self, owners: dict[int, str], value: int, board: Board) -> str:
        """Return who else has a value; empty where it is this board's now.

        A board that broke off in its first block may get a clone long after it was looked at: see
        `_is_first_record`.
        """
        owner = self.boards[owners.setdefault(value, board.name)]
        if owner is board:
            return ""
        if owner.mac == board.mac:
            made = read_board(self.files / f"{owner.name}.json").product
            if self._is_first_record(owner, made.memory, self.job.factory(made, odd=owner.odd)):
                owners[value] = board.name
                return ""
        return f"{owner.name} ({owner.mac}{' a clone' * owner.clone})"

    def _is_excused(self, board: Board, memory: EfuseMemory, names: Iterable[str], extra: int) -> bool:
        """Whether the faults of a board explain these cells: a bit's neighbour, some wrong bytes."""
        wrong_bytes, names = 0, set(names)
        for sentence in board.faults:
            leak, wrong = _LEAK.fullmatch(sentence), _WRONG.fullmatch(sentence)
            if leak and leak[2] in names:
                extra &= ~(1 << int(leak[1]) + 1)
            if wrong and wrong[2] in names:
                wrong_bytes += int(wrong[1])
        return extra.bit_count() <= wrong_bytes

    def _is_explained(self, board: Board, memory: EfuseMemory, wanted: dict[int, int]) -> bool:
        """Whether a quarantine speaks of a block that a fault of the chip struck, or one is wrong."""
        struck = {str(m[1] or m[2]) for s in board.faults if (m := DAMAGE.match(s))}
        unit = self.ledger.unit(board.chip, board.mac)
        reason = unit.reason if unit else ""
        return any(
            memory.cells[block.index] != wanted[block.index] or any(one in reason for one in block.names)
            for block in memory.chip.blocks
            if struck & set(block.names)
        )

    # What the station says ------------------------------------------------------------------------------

    def report(self, event: dict[str, object]) -> Iterator[str]:
        """A board has ended: a PASS must be one, now and in its memory."""
        mac, index = str(event.get("mac")), event.get("index")
        others = [slot for slot in self._work_at.get(mac, ()) if slot != event["slot"]]
        if event.get("result") == "quarantined" and others:
            yield f"{event['slot']} put {mac} into quarantine, which is at work or PASS in {others[0]}"
        if event.get("result") not in ("pass", "already-pass"):
            return
        boards = self.by_mac.get((CHIP, mac), [])
        for board in boards:
            made = read_board(self.files / f"{board.name}.json").product
            factory = self.job.factory(made, odd=board.odd)
            assert isinstance(index, int)
            if same(made.memory, self.job.wanted(made.chip, factory).cells(index)):
                return
        yield f"{event['slot']} called {mac} {event['result']} as index {index}, and no chip is ({boards})"

    def shown(self, event: dict[str, object], now: float) -> None:
        """A socket has changed; see `two_at_work`."""
        slot, mac = str(event["slot"]), str(event.get("mac") or "")
        for slots in self._work_at.values():
            slots.pop(slot, None)
        if mac and (event["state"] == "burning" or (event["state"] == "verdict" and event["word"] == "PASS")):
            self._work_at[mac][slot] = now

    def two_at_work(self, now: float, *, margin_s: float = 2.0) -> Iterator[str]:
        """Identities that are at work, or PASS, in two sockets for longer than a move takes to be seen."""
        for mac, slots in list(self._work_at.items()):
            if not slots:
                del self._work_at[mac]
            elif len(slots) > 1 and now - max(slots.values()) > margin_s:
                yield f"{mac} is at work or PASS in {' and '.join(sorted(slots))} at once"

    def station_began(self) -> None:
        """Another station: it shows nothing of what the one before has shown."""
        self._work_at.clear()

    # All of it ------------------------------------------------------------------------------------------

    def all_boards(self) -> Iterator[str]:
        """Every board there ever was."""
        for board in self.boards.values():
            yield from self.board(board)
        for (chip, mac), boards in self.by_mac.items():
            unit = self.ledger.unit(chip, mac)
            if len(boards) > 1 and unit and unit.state == "pass" and unit.index is not None:
                yield from self._one_of(boards, mac, unit.index)
        yield from self.ledger.went_on()

    def _one_of(self, boards: list[Board], mac: str, index: int) -> Iterator[str]:
        """Of chips with one identity of which one passed, one must be exact."""
        exact = 0
        for board in boards:
            made = read_board(self.files / f"{board.name}.json").product
            factory = self.job.factory(made, odd=board.odd)
            exact += same(made.memory, self.job.wanted(made.chip, factory).cells(index))
        if exact != 1:
            yield f"{mac} passed as index {index}, and {exact} of its {len(boards)} chips are that"


def dumped(event: dict[str, object]) -> str:
    """An event as a short text."""
    return json.dumps(event)[:300]
