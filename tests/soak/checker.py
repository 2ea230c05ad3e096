"""Proves what must hold after a run: from the boards' own files, against the ledger's tables, never by what
the driver says of itself.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from parburn.chips.model import Block
from parburn.sim.efuse_memory import COPIES, EfuseMemory
from tests.soak.bench import Bench
from tests.soak.jobs import Expectation, Work

# Faults that may leave cells as nobody asked for, or keep some from ever burning: they excuse a quarantine.
# A bit that gives in at the second pulse excuses nothing; one that needs the third does, for any other fault
# that takes a pulse away leaves it too few.
DAMAGE = re.compile(
    r"bit \d+ of (\w+) (?:refuses to burn(?! the first time$)|burns its)|\d+ bytes of (\w+) burn"
)
# Of these, the ones that burn cells which nobody asked for.
_LEAK = re.compile(r"bit (\d+) of (\w+) burns its neighbour too")
_WRONG = re.compile(r"(\d+) bytes of (\w+) burn wrong")


@dataclass(frozen=True)
class Unit:
    """A row of the ledger."""

    chip: str
    mac: str
    index: int | None
    state: str
    spent: bool
    reason: str


def units_of(ledger: Path) -> dict[tuple[str, str], Unit]:
    """All units by chip and factory MAC. No ledger: none."""
    if not ledger.exists():
        return {}
    connection = sqlite3.connect(ledger)
    try:
        rows = connection.execute("SELECT chip, mac, idx, state, spent, reason FROM units").fetchall()
    except sqlite3.OperationalError:  # killed while it was being made
        return {}
    finally:
        connection.close()
    return {(row[0], row[1]): Unit(row[0], row[1], row[2], row[3], bool(row[4]), row[5]) for row in rows}


def same(memory: EfuseMemory, wanted: Mapping[int, int]) -> bool:
    """Whether a chip holds exactly these cells. The controller tells nothing of torn copies of WR_DIS."""
    if not memory.pgm:
        return memory.cells == wanted
    first = sum(0xFFFFFFFF << 32 * memory.chip.blocks[0].words * n for n in range(COPIES))
    decoded = EfuseMemory(memory.chip, wanted).field_bits("WR_DIS")
    rest = {index: cells & ~first if index == 0 else cells for index, cells in memory.cells.items()}
    return memory.field_bits("WR_DIS") == decoded and rest == {
        index: cells & ~first if index == 0 else cells for index, cells in wanted.items()
    }


@dataclass
class Struck:
    """Which faults have struck which board, and what of a chip they explain: a block, never a board."""

    bench: Bench
    struck: dict[int, set[str]] = field(default_factory=dict, kw_only=True)

    def key(self, board: int) -> tuple[str, str]:
        """Under what the ledger knows a board."""
        made = self.bench.product(board).product
        mac = made.memory.field_bits(made.chip.mac_field).to_bytes(6, "big").hex(":")
        return made.chip.name, mac

    def note(self, fired: Mapping[int, list[str]]) -> None:
        """These faults have struck."""
        for board, sentences in fired.items():
            self.struck.setdefault(board, set()).update(sentences)

    def damaged(self, board: int) -> set[str]:
        """Names of the blocks in which a fault of the chip may have spoiled cells."""
        found = set()
        for sentence in self.struck.get(board, ()):
            match = DAMAGE.match(sentence)
            if match:
                found.add(str(match[1] or match[2]))
            fixed = self.bench.memory(board).chip.crystal.fixed_mhz
            if sentence.startswith("the crystal") and fixed is not None:
                found.add("timing")  # nobody can measure it: a bad burn that reading back finds
        return found

    def explained(self, board: int, reason: str, wanted: Mapping[int, int]) -> bool:
        """Whether a block that a fault struck, or that came burned, is what a quarantine speaks of, or is not
        as it is wanted."""
        memory, names = self.bench.memory(board), self.damaged(board)
        if "timing" in names:
            return True
        came_burned = {
            n for n, cells in self.bench.factory(board).items() if cells != self.bench.blank(board)[n]
        }
        struck = [b for b in memory.chip.blocks if names & set(b.names) or b.index in came_burned]
        return any(
            memory.cells[block.index] != wanted[block.index] or any(name in reason for name in block.names)
            for block in struck
        )

    def excused(self, board: int, block: Block, extra: int) -> bool:
        """Whether the faults that struck a board explain these cells: a bit's neighbour, some wrong bytes."""
        memory = self.bench.memory(board)
        bytes_wrong = 0
        for sentence in self.struck.get(board, ()):
            leak, wrong = _LEAK.fullmatch(sentence), _WRONG.fullmatch(sentence)
            if leak and leak[2] in block.names:
                stride = 32 * block.words if block.index == 0 and memory.pgm else 0
                for copy in range(COPIES if stride else 1):
                    extra &= ~(1 << int(leak[1]) + 1 + stride * copy)
            if wrong and wrong[2] in block.names:
                bytes_wrong += int(wrong[1])
        return extra.bit_count() <= bytes_wrong


@dataclass
class Checker(Struck):
    """Remembers how the boards came from the factory, and which faults have struck them."""

    ledger: Path
    work: Work
    twins: frozenset[int] = frozenset()
    doubled: tuple[int, int] | None = None
    factory: dict[int, dict[int, int]] = field(default_factory=dict)
    frozen: dict[int, dict[int, int]] = field(default_factory=dict)  # cells when it was quarantined
    whole: dict[int, Expectation] = field(default_factory=dict)

    def meet(self) -> None:
        """Note the boards that are new."""
        for board in range(self.bench.boards):
            if board not in self.factory:
                memory = self.bench.memory(board)
                cells = self.bench.factory(board)
                self.factory[board] = cells
                self.whole[board] = Expectation(memory.chip, cells, self.work, self.doubled)

    def violations(self) -> Iterator[str]:
        """Everything that is not as it must be, as sentences."""
        self.meet()
        units = units_of(self.ledger)
        owner: dict[int, int] = {}
        for board in range(self.bench.boards):
            memory = self.bench.memory(board)
            unit = units.get(self.key(board))
            if self._before_its_first_record(board):  # whatever else it is: it holds nothing but its own
                if unit is None or unit.index is None or not unit.spent:
                    yield f"board {board} holds bits and the ledger does not know: {unit}"
                else:
                    begun = replace(unit, state="begun")
                    yield from self._cells(board, f"board {board} ({memory.chip.name})", begun, memory)
                continue
            name = f"board {board} ({memory.chip.name})"
            touched = memory.cells != self.factory[board]
            yield from self._repeated(board, name)
            yield from self._quarantine(board, name, unit, memory)
            if not touched:
                if unit and unit.state == "pass" and board not in self.twins:
                    yield f"{name} passed as index {unit.index} and is blank"
                continue
            if unit is None or unit.index is None or not unit.spent:
                yield f"{name} holds bits and the ledger does not know: {unit}"
                continue
            if unit.index in owner:
                yield f"{name} and board {owner[unit.index]} are both index {unit.index}"
            owner[unit.index] = board
            yield from self._cells(board, name, unit, memory)

    def _repeated(self, board: int, name: str) -> Iterator[str]:
        """No pulse burns what is burned: where nothing but tails of frames was lost, nobody had a reason."""
        if all(sentence.startswith("the tail of ") for sentence in self.struck.get(board, ())):
            again = [burn["program"] for burn in self.bench.product(board).burns if not burn["new_bits"]]
            if again:
                yield f"{name}: pulses {again} burned nothing new: planned ones were repeated"

    def _before_its_first_record(self, board: int) -> bool:
        """Of two chips with one identity, the one whose first block was begun and never recorded as verified.

        Nothing tells it from the other chip, which may then be burned as that unit. From the second block on
        the record does.
        """
        if board not in self.twins:
            return False
        memory = self.bench.memory(board)
        begun = {n for n, cells in memory.cells.items() if cells != self.factory[board][n]}
        return (
            bool(begun) and 0 not in begun and (len(begun) == 1 or not memory.pgm)
        )  # classic: three at once

    def _cells(self, board: int, name: str, unit: Unit, memory: EfuseMemory) -> Iterator[str]:
        assert unit.index is not None
        one = self.whole[board].cells(unit.index)
        two = self.whole[board].cells(unit.index, station_two=True)
        for block in memory.chip.blocks:
            factory = self.factory[board][block.index]
            if two[block.index] == factory:  # not a bit of it may change, whatever fault has struck
                if memory.cells[block.index] != factory:
                    count = (memory.cells[block.index] ^ factory).bit_count()
                    yield f"{name}: {count} cells changed in {block.name}, a block that no plan named"
                continue
            extra = memory.cells[block.index] & ~two[block.index]
            if extra and not self.excused(board, block, extra):
                count = extra.bit_count()
                yield f"{name} holds {count} cells in {block.name} that index {unit.index} has not"
        if unit.state == "pass" and not any(same(memory, wanted) for wanted in (one, two)):
            wrong = [b.name for b in memory.chip.blocks if memory.cells[b.index] != one[b.index]]
            yield f"{name} passed as index {unit.index} and is not exact in {', '.join(wrong)}"

    def _quarantine(self, board: int, name: str, unit: Unit | None, memory: EfuseMemory) -> Iterator[str]:
        if unit is None or unit.state != "quarantined":
            return
        own = self.factory[board] if unit.index is None else self.whole[board].cells(unit.index)
        if board not in self.twins and not self.explained(board, unit.reason, own):
            struck = "; ".join(sorted(self.struck.get(board, ())))
            yield f"{name} is quarantined ({unit.reason}), and no chip fault explains it (struck: {struck})"
        before = self.frozen.setdefault(board, dict(memory.cells))
        if before != memory.cells:
            yield f"{name} was burned after its quarantine"
