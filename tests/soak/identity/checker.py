"""Proves what must hold of identities after a run: every bit of every chip against the one identity that it
may carry, values between chips, and each word that was said against the chips' memory.

It asks the boards' own files and the ledger's tables. Whose a board is it learns when the board is first
touched, from the index under which that was recorded and the record which the files then had there.
"""

from __future__ import annotations

import csv
import json
import re
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from parburn.sim.efuse_memory import EfuseMemory
from tests.soak.checker import DAMAGE, Struck, same
from tests.soak.child import KILLED, Ended
from tests.soak.identity.product import FIRST_FLAG, FIRST_OF_OTHERS, MAC_AT, SERIAL_AT, UID_AT, USER, People

NOBODY = FIRST_OF_OTHERS + 63  # an identity that no record has
UNCHANGED = ("already-pass", "failed", "refused", "no-answer", "stopped")
USED_BEFORE = "used before this ledger"  # why a unit is spent of which nothing but its index is known
PASSED = ("pass", "already-pass")
UNDER_WAY = ("burn-attempted", "burned", "verified", "locked", "incomplete")
_STEPS = re.compile(r"(?:all (\d+)|(\d+) of \d+) steps")


@dataclass(frozen=True)
class Unit:
    """A row of the ledger."""

    batch: str
    chip: str
    mac: str
    index: int | None
    state: str
    spent: bool
    reason: str


def units_of(ledger: Path) -> list[Unit]:
    """All units. No ledger: none."""
    if not ledger.exists():
        return []
    connection = sqlite3.connect(ledger)
    try:
        rows = connection.execute(
            "SELECT name, chip, mac, idx, state, spent, reason FROM units JOIN batches ON batches.id = batch"
        ).fetchall()
    except sqlite3.OperationalError:  # killed while it was being made
        return []
    finally:
        connection.close()
    return [Unit(*row) for row in rows]


def recorded_in(ledger: Path) -> frozenset[tuple[str, str]]:
    """Chips of which the ledger has at least one block as verified."""
    if not ledger.exists():
        return frozenset()
    connection = sqlite3.connect(ledger)
    try:
        rows = connection.execute(
            "SELECT DISTINCT chip, mac FROM attempt_steps JOIN attempts ON attempts.id = attempt"
            " JOIN units ON units.id = unit"
        ).fetchall()
    except sqlite3.OperationalError:  # killed while it was being made
        return frozenset()
    finally:
        connection.close()
    return frozenset((chip, mac) for chip, mac in rows)


class Owner(NamedTuple):
    """Whose a board is: the identity, and the week with which it was burned."""

    who: int
    week: int = 0


@dataclass
class Played:
    """A run of the command that has ended. `forbidden`: why it may not have burned anything."""

    batch: str  # its name where it has one
    who: tuple[int | None, ...]  # by index - 1, as the files were
    ports: Mapping[str, int]  # board by port
    ended: Ended
    report: Path | None
    forbidden: str = ""
    open_to_all: bool = False  # nothing in its files or ledger is wrong: it is not refused as a whole
    first_part: bool = False  # the script is that of the first station


@dataclass
class IdentityChecker(Struck):
    """Remembers how the boards came, and whose they are.

    `known`: boards of which the ledger in use knows. `spent_elsewhere`: by batch and identity, the boards of
    which it knows nothing but that their indexes are spent.
    """

    ledger: Path
    people: People
    one_layout: bool
    factory: dict[int, dict[int, int]] = field(default_factory=dict)
    blank: dict[int, dict[int, int]] = field(default_factory=dict)
    owners: dict[int, Owner] = field(default_factory=dict)
    known: set[int] = field(default_factory=set)
    passed: set[int] = field(default_factory=set)
    spent_elsewhere: dict[tuple[str, int], int] = field(default_factory=dict)
    frozen: dict[int, dict[int, int]] = field(default_factory=dict)
    unbound: set[int] = field(default_factory=set)  # under this ledger they may become another identity
    begun: dict[int, int] = field(default_factory=dict)  # attempted, by the week; no bit may have come of it
    never: set[int] = field(default_factory=set)  # boards that must not be burned at all
    scrapped: dict[int, dict[int, int]] = field(default_factory=dict)  # cells when it was written off
    twins: frozenset[int] = frozenset()
    _before: dict[int, dict[int, int]] = field(default_factory=dict)
    _passed_before: frozenset[tuple[str, str, str]] = frozenset()
    _recorded: frozenset[tuple[str, str]] = frozenset()  # chips of which a block was recorded as verified
    _told_apart: bool = False  # a twin was burned although the record tells it from the other

    def meet(self) -> None:
        """Note the boards as they came."""
        for board in range(self.bench.boards):
            self.factory[board], self.blank[board] = self.bench.factory(board), self.bench.blank(board)
        self._before = dict(self.factory)

    # After a run ----------------------------------------------------------------------------------------

    def violations(self, runs: list[Played], fired: Mapping[int, list[str]]) -> Iterator[str]:
        """Everything that is not as it must be, as sentences. `fired`: the faults that struck just now."""
        self.note(fired)
        units = units_of(self.ledger)
        memories = {board: self.bench.memory(board) for board in range(self.bench.boards)}
        at_work = {board: run for run in runs for board in run.ports.values()}
        for run in runs:
            yield from self._whole_run(run, memories)
        for board, memory in memories.items():
            changed = memory.cells != self._before[board]
            if changed and board not in at_work:
                yield f"{self._name(board)} changed and was in no run"
            elif changed and not self._has_owner(board):
                yield from self._find_owner(board, at_work[board], units)
        for run in runs:
            yield from self._results(run, memories)
            yield from self._report(run, memories)
        yield from self._units(units, memories)
        for board, memory in memories.items():
            yield from self._bits(board, memory)
            if board in self.never and memory.cells != self.factory[board]:
                yield f"{self._name(board)} was burned, and its factory identity is unclear"
            if self.scrapped.get(board, memory.cells) != memory.cells:
                yield f"{self._name(board)} was written off, and burned after that"
        yield from self._doubles(memories)
        if not any(run.ended.exit == KILLED for run in runs):
            reached = [n for n in at_work if all(DAMAGE.match(one) for one in fired.get(n, ()))]
            yield from self._registers(reached)
        self._before = {board: dict(memory.cells) for board, memory in memories.items()}
        self._recorded = recorded_in(self.ledger)
        self.begun = {n: self.begun.get(n, self.people.week) for n in self._begun_in(units)}
        self._passed_before = frozenset((u.batch, u.chip, u.mac) for u in units if u.state == "pass")

    def forget(self) -> None:
        """The ledger is another one now."""
        self._passed_before = frozenset()
        there = self._begun_in(units_of(self.ledger))
        self.begun = {board: week for board, week in self.begun.items() if board in there}

    def unbind(self) -> None:
        """The ledger is another one, and has been told all that it will be: boards of which it knows nothing,
        and in which no block tells whose they are, may become another identity."""
        bound = {(unit.chip, unit.mac) for unit in units_of(self.ledger) if unit.spent}
        self.unbound = {n for n in self.owners if self.key(n) not in bound and not self._tells_whose(n)}

    def _tells_whose(self, board: int) -> bool:
        """Whether anything was burned into a block that would hold something else of another identity."""
        cells, own, others = self.bench.memory(board).cells, self.cells(board), self.cells(board, who=NOBODY)
        return any(cells[n] != self.factory[board][n] and own[n] != others[n] for n in cells)

    def week_of(self, board: int) -> int:
        """The week with which a board was begun, else this one: no other plan goes on with what is begun."""
        if self._has_owner(board):
            return self.owners[board].week
        return self.begun.get(board, self.people.week)

    def _has_owner(self, board: int) -> bool:
        return board in self.owners and board not in self.unbound

    def _begun_in(self, units: list[Unit]) -> list[int]:
        begun = {(u.chip, u.mac) for u in units if u.state in (*UNDER_WAY, "quarantined")}
        return [n for n in range(self.bench.boards) if n not in self.twins and self.key(n) in begun]

    def _name(self, board: int) -> str:
        return f"board {board} ({self.bench.memory(board).chip.name})"

    def _find_owner(self, board: int, run: Played, units: list[Unit]) -> Iterator[str]:
        """The board is burned for the first time: it is the identity that the ledger has written down."""
        own = [u for u in units if (u.chip, u.mac) == self.key(board) and u.spent and u.index is not None]
        named = [u for u in own if not run.batch or u.batch == run.batch]
        if not named:
            yield f"{self._name(board)} holds bits and the ledger does not know: {own}"
            return
        index = named[-1].index
        assert index is not None
        who = run.who[index - 1] if index <= len(run.who) else None
        if who is None:
            yield f"{self._name(board)} was burned as index {index}, and the files have no record there"
            return
        if self.spent_elsewhere.get((run.batch, who), board) != board:
            yield f"{self._name(board)} got identity {who}, whose index was imported as used"
        if who in self.people.spoiled and not run.first_part:
            yield f"{self._name(board)} got identity {who}, whose key file holds nothing but zeros"
        self._take(board, who)

    def _saved(self, board: int) -> bytes:
        """The key that the board's script made and kept, once it has."""
        if self.people.product.key != "saved":
            return b""
        memory = self.bench.memory(board)
        short = not memory.pgm and memory.field_bits(memory.chip.coding_field or "")
        name = self.key(board)[1].replace(":", "") + (".24" if short else ".bin")
        path = self.people.folder / "saved" / name
        return path.read_bytes() if path.exists() else b""

    def _take(self, board: int, who: int) -> None:
        if board in self.twins and self.key(board) in self._recorded:
            self._told_apart = True
        self.owners[board] = Owner(who, self.week_of(board))
        self.unbound.discard(board)
        self.known.add(board)

    def rebuilt(self, who: tuple[int | None, ...]) -> Iterator[str]:
        """What must hold when the ledger was made anew from the boards."""
        bound = {(u.chip, u.mac): u.index for u in units_of(self.ledger) if u.spent and u.index is not None}
        for board in range(self.bench.boards):
            if self.bench.memory(board).cells != self._before[board]:
                yield f"{self._name(board)}: its bits changed while the ledger was rebuilt"
            index = bound.get(self.key(board))
            if index is None:
                continue
            named = who[index - 1] if index <= len(who) else None
            if board in self.owners and self.owners[board].who != named:
                yield f"{self._name(board)} is identity {self.owners[board].who}, and was bound to {named}"
            self.known.add(board)

    # What was said --------------------------------------------------------------------------------------

    def _whole_run(self, run: Played, memories: Mapping[int, EfuseMemory]) -> Iterator[str]:
        events = list(_events(run.ended))
        touched = [n for n in run.ports.values() if memories[n].cells != self._before[n]]
        if run.forbidden and touched:
            yield f"{run.forbidden}: it may burn nothing, and burned boards {touched}"
        refused = [event["error"] for event in events if event["event"] == "error"]
        if run.open_to_all and refused:
            yield f"the run was refused as a whole, and nothing is wrong with it: {refused[0]}"
        if run.ended.exit in (KILLED, 70):
            return
        words = [event for event in events if event["event"] == "result"]
        wanted = _exit_of(words, bool(refused))
        if wanted is not None and run.ended.exit not in wanted:
            said = [event["result"] for event in words]
            yield f"exit {run.ended.exit}, and the boards' ends {said} make {sorted(wanted)}"
        for event in (one for one in events if one["event"] == "summary"):
            passed = sum(one["result"] in PASSED for one in words)
            if words and (event["boards"], event["passed"]) != (len(words), passed):
                yield f"the summary says {event}, and {passed} of {len(words)} passed"

    def _results(self, run: Played, memories: Mapping[int, EfuseMemory]) -> Iterator[str]:
        for event in _events(run.ended):
            board = run.ports.get(event.get("port", ""))
            if board is None:
                continue
            if event["event"] == "result":
                yield from self._result(run, board, event, memories[board])
            elif event["event"] == "burned" and board in self.owners:
                yield from self._burned_blocks(board, event, memories[board])

    def _result(
        self, run: Played, board: int, event: Mapping[str, Any], memory: EfuseMemory
    ) -> Iterator[str]:
        said, index, name = event["result"], event["index"], self._name(board)
        if said in UNCHANGED and memory.cells != self._before[board]:
            yield f"{name}: {said}, and its bits changed"
        if said not in PASSED:
            return
        if not run.first_part:
            self.passed.add(board)
        self.known.add(board)
        if index is None:
            if memory.cells != self._before[board]:
                yield f"{name}: nothing asked, and its bits changed"
            if board not in self.owners and self.factory[board] == self.blank[board]:
                yield f"{name}: nothing asked, and it is blank"
            return
        who = run.who[index - 1] if index <= len(run.who) else None
        if who is None:
            yield f"{name}: {said} as index {index}, and the files have no record there"
        else:
            if not self._has_owner(board):
                self._take(board, who)
            if who != self.owners[board].who:
                yield f"{name}: {said} as identity {who}, and it is {self.owners[board].who}"
            elif self.people.product.week and self.owners[board].week != self.people.week:
                yield f"{name}: {said}, and it holds the week {self.owners[board].week} of an earlier load"
            elif run.first_part and same(memory, self.cells(board, first_part=True)):
                pass
            elif not same(memory, self.cells(board)):
                wrong = [
                    b.name for b in memory.chip.blocks if memory.cells[b.index] != self.cells(board)[b.index]
                ]
                yield f"{name}: {said} as index {index}, {who}, and is not exact in {', '.join(wrong)}"

    def _burned_blocks(self, board: int, event: Mapping[str, Any], memory: EfuseMemory) -> Iterator[str]:
        """Each block that was told as burned and verified holds all that it is to hold."""
        want = self.cells(board)
        for label in event["block"].split("+"):
            block = memory.chip.block_by_name.get(label.split()[0])
            if block is None or block.index == 0:
                continue
            if want[block.index] & ~memory.cells[block.index]:
                yield f"{self._name(board)}: {label} was told as burned and verified, and lacks bits"

    def _report(self, run: Played, memories: Mapping[int, EfuseMemory]) -> Iterator[str]:
        results = {event["port"]: event for event in _events(run.ended) if event["event"] == "result"}
        if run.report is None or not run.report.exists() or not results or run.ended.exit == KILLED:
            return
        for row in _rows(run.report):
            port = row["port"]
            event, board = results.get(port), run.ports.get(port)
            if event is None or board is None:
                yield f"the report has a row for {port}, and no result was told"
                continue
            told = {key: event[key] for key in ("mac", "index", "result")}
            if told != {"mac": row["mac"], "index": row["index"], "result": row["result"]}:
                yield f"the report says {row}, and the result was {told}"
            changed = memories[board].cells != self._before[board]
            name = self._name(board)
            if row["burned"].startswith("nothing was burned") and changed:
                yield f"{name}: {row['burned']!r}, and its bits changed"
            if row["burned"].startswith("all ") and row["result"] != "quarantined":
                yield from self._all_steps(run, board, name, row, memories[board])
            steps = _STEPS.match(row["burned"])
            events = [one for one in _events(run.ended) if one["event"] == "burned" and one["port"] == port]
            if steps and len(events) != int(steps[1] or steps[2]):
                yield f"{name}: {row['burned']!r}, and {len(events)} were told one by one"
            if row["result"] == "pass" and row["blocks_total"] and row["blocks_done"] != row["blocks_total"]:
                yield f"{name}: pass with {row['blocks_done']} of {row['blocks_total']} steps"
            shown = row["unique_values"].get("CUSTOM_MAC")
            if row["result"] in PASSED and shown:
                memory = memories[board]
                bits = memory.reading(USER).bits >> MAC_AT[memory.chip.controller] & (1 << 48) - 1
                if bits.to_bytes(6, "little").hex(":") != shown:
                    yield f"{name}: the report shows CUSTOM_MAC {shown}, and the chip holds another"

    def _all_steps(
        self, run: Played, board: int, name: str, row: Mapping[str, Any], memory: EfuseMemory
    ) -> Iterator[str]:
        if row["result"] != "pass" or board not in self.owners:
            return
        if not same(memory, self.cells(board, first_part=run.first_part)):
            yield f"{name}: {row['burned']!r}, and it is not whole"

    # What the ledger says -------------------------------------------------------------------------------

    def _units(self, units: list[Unit], memories: Mapping[int, EfuseMemory]) -> Iterator[str]:
        by_key: dict[tuple[str, str], list[Unit]] = {}
        for unit in units:
            by_key.setdefault((unit.chip, unit.mac), []).append(unit)
        for board, memory in memories.items():
            for unit in by_key.get(self.key(board), ()):
                yield from self._unit(board, unit, memory)

    def _unit(self, board: int, unit: Unit, memory: EfuseMemory) -> Iterator[str]:
        name = self._name(board)
        if unit.state == "pass" and unit.index is not None and unit.reason != USED_BEFORE:
            if board not in self.owners:
                if board not in self.twins:
                    yield f"{name} passed in the ledger as index {unit.index}, and was never burned"
            elif board not in self.twins and not any(
                same(memory, self.cells(board, first_part=part)) for part in (False, True)
            ):
                yield f"{name} passed in the ledger as index {unit.index}, and is not whole"
        was = (unit.batch, unit.chip, unit.mac) in self._passed_before
        next_station = board not in self.passed and unit.state in UNDER_WAY
        if was and unit.state not in ("pass", "quarantined") and not next_station:
            yield f"{name} had passed in the ledger, and is {unit.state}: {unit.reason}"
        if unit.state != "quarantined":
            self.frozen.pop(board, None)
        elif board not in self.twins:
            own = self.cells(board) if board in self.owners else self.factory[board]
            unread = unit.reason.startswith("bound, key cannot be read") and self._key_hidden(board)
            if not unread and not self.explained(board, unit.reason, own):
                struck = "; ".join(sorted(self.struck.get(board, ())))
                yield f"{name} is quarantined ({unit.reason}), and no chip fault explains it: {struck}"
            if self.frozen.setdefault(board, dict(memory.cells)) != memory.cells:
                yield f"{name} was burned after its quarantine"

    # What the chips hold --------------------------------------------------------------------------------

    def cells(self, board: int, *, first_part: bool = False, who: int | None = None) -> dict[int, int]:
        """What a board holds when it is whole, or when it comes from the first station; `who`: as that
        identity and not as its own."""
        owner, chip = self.owners[board], self.bench.memory(board).chip
        before = self.blank[board]
        if first_part:  # it looks at no block but the user's
            before = {**self.factory[board], USER: before[USER]}
        return self.people.cells(
            chip,
            before,
            owner.who if who is None else who,
            saved=self._saved(board),
            week=owner.week,
            first_part=first_part,
        )

    def _key_hidden(self, board: int) -> bool:
        memory = self.bench.memory(board)
        block = memory.chip.block_by_name["BLOCK_KEY0" if memory.pgm else "BLOCK1"]
        return bool(memory.field_bits("RD_DIS") >> block.rd_dis[0] & 1)

    def _bits(self, board: int, memory: EfuseMemory) -> Iterator[str]:
        """Not one bit but those that it came with and those of its own identity, whatever state it is in."""
        factory = self.factory[board]
        want = self.cells(board) if board in self.owners else factory
        for block in memory.chip.blocks:
            extra = memory.cells[block.index] & ~(want[block.index] | factory[block.index])
            may = want[block.index] != factory[block.index] and self.excused(board, block, extra)
            if extra and not may:
                who = self.owners[board].who if board in self.owners else "nobody"
                count = extra.bit_count()
                yield f"{self._name(board)} holds {count} cells in {block.name} that identity {who} has not"

    def _doubles(self, memories: Mapping[int, EfuseMemory]) -> Iterator[str]:
        """No value that is each chip's own stands in two of those that the ledger knows."""
        seen: dict[tuple[object, ...], int] = {}
        for board in sorted(self.known):
            memory = memories[board]
            for value in self._own_values(board, memory):
                other = seen.setdefault(value, board)
                if other != board and not self._may_both(value, board, other):
                    yield f"{self._name(board)} and {self._name(other)} both carry {value[0]} {value[-1]}"

    def _may_both(self, value: tuple[object, ...], board: int, other: int) -> bool:
        """What a chip came with may be equal where nobody has declared it. Of two chips with one factory
        identity, one may have begun its first block, and no record tells."""
        if not {board, other} <= self.owners.keys() and value[0] == "UID":
            return True
        begun = {board, other} <= self.twins and any(map(self._only_begun, (board, other)))
        return begun and not self._told_apart

    def _only_begun(self, board: int) -> bool:
        memory = self.bench.memory(board)
        begun = {n for n, cells in memory.cells.items() if cells != self.factory[board][n]}
        return 0 not in begun and (len(begun) == 1 or not memory.pgm)

    def _own_values(self, board: int, memory: EfuseMemory) -> Iterator[tuple[object, ...]]:
        product, user = self.people.product, memory.reading(USER).bits
        named = product.tabled and product.serial != "flag"
        family = "" if self.one_layout or named else memory.chip.controller
        torn = board in self.owners and memory.cells[USER] != self.cells(board)[USER]
        if torn and board not in self.passed:
            return  # a part of a value is none; that it is of its own identity is seen bit by bit
        mac = user >> MAC_AT[memory.chip.controller] & (1 << 48) - 1
        if product.mac and mac:
            yield "MAC", mac.to_bytes(6, "little").hex(":")
        flags = user >> FIRST_FLAG & (1 << 128) - 1
        if product.serial == "flag" and flags:
            yield "flag", family, f"{flags:x}"
        serial = user >> SERIAL_AT & 0xFFFFFFFF
        if product.serial not in ("", "flag") and serial:
            yield "SERIAL", family, serial
        uid = user >> UID_AT & (1 << 64) - 1
        if product.uid and uid:
            yield "UID", family, uid
        if product.key in ("own", "saved"):
            block = memory.chip.block_by_name["BLOCK_KEY0" if memory.pgm else "BLOCK1"]
            key = memory.reading(block.index).bits
            whole = board in self.owners and memory.cells[block.index] == self.cells(board)[block.index]
            if key and whole:
                size = 24 if not memory.pgm and memory.field_bits(memory.chip.coding_field or "") else 32
                data = key.to_bytes(size, "little")
                turned = product.hidden or not memory.pgm
                yield "key", (data[::-1] if turned else data)[:24].hex()[:8]

    def _registers(self, boards: Iterable[int]) -> Iterator[str]:
        """After a run nobody finds a part of a key in the programming registers, burned or not."""
        if not self.people.product.key:
            return
        staged = self.bench.staging()
        for board in boards:
            if len(self.people.key_words & set(staged.get(board, ()))) > 1:
                yield f"{self._name(board)}: words of a key are left in the programming registers"


def _events(ended: Ended) -> Iterator[dict[str, Any]]:
    for line in ended.stdout.splitlines():
        try:
            yield json.loads(line)
        except ValueError:
            continue  # the line at which it was killed


def _rows(report: Path) -> Iterator[dict[str, Any]]:
    if report.suffix == ".jsonl":
        yield from map(json.loads, report.read_text().splitlines())
        return
    for row in csv.DictReader(report.read_text().splitlines()):
        values = dict(pair.split("=", 1) for pair in row["unique_values"].split("; ") if pair)
        yield {
            **row,
            "index": int(row["index"]) if row["index"] else None,
            "blocks_done": int(row["blocks_done"]),
            "blocks_total": int(row["blocks_total"]),
            "unique_values": values,
        }


def _exit_of(results: list[dict[str, Any]], refused: bool) -> set[int] | None:
    """Which exit codes these ends allow, by the manual; None: it says nothing of them."""
    if refused or not results:
        return None
    words = {event["result"] for event in results}
    left = any(
        "No record is left" in event["error"] or "No index is left" in event["error"] for event in results
    )
    if "quarantined" in words:
        return {5}
    if left:
        return {4}
    if words <= set(PASSED):
        return {0}
    if words <= {"refused", "already-pass"}:
        return {3}
    return {1}
