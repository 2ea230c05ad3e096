"""Makes a ledger of many units quickly: rows and history as runs of 64 boards would have left them.

What a run writes for a board with a custom MAC and one bit: six entries of history. The chain of hashes,
the tables and the witness are right, so `parburn ledger verify` finds nothing. No chip and no event loop is
needed.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from parburn.ledger import schema
from parburn.ledger.base import State
from parburn.ledger.history import History
from parburn.ledger.units import text_digest
from parburn.ledger.witness import Witness, write_witness

RUN = 64  # boards of one run
RUNS_AT_ONCE = 64  # in one transaction
LAYOUT = "1:192,2:256,3:256,4:256,5:256,6:256,7:256,8:256,9:256,10:256;3@200"
STEPS = ("BLOCK_USR_DATA", "BLOCK0")
BEFORE = '{"blocks":{"0":"0","3":"0"}}'
BATCH = "large"
BEGIN = datetime(2026, 1, 1, 6, tzinfo=UTC)


def mac_of(unit: int) -> str:
    """Return the factory MAC of a unit."""
    return _mac(0xA0764E000000 + unit)


def custom_mac_of(unit: int) -> str:
    """Return the custom MAC that a unit was burned with."""
    return _mac(0x020000000000 + unit)


def _mac(number: int) -> str:
    text = f"{number:012x}"
    return ":".join(text[n : n + 2] for n in range(0, 12, 2))


def make_ledger(path: Path, units: int, *, batch: str = BATCH) -> None:
    """Make a ledger at `path` with so many units, each with an index and a pass."""
    schema.make(path, why="a large one")
    with closing(schema.connect(path, durable=False)) as connection:
        connection.execute("INSERT INTO batches (name) VALUES (?)", (batch,))
        for first in range(1, units + 1, RUN * RUNS_AT_ONCE):
            connection.execute("BEGIN IMMEDIATE")
            for begin in range(first, min(first + RUN * RUNS_AT_ONCE, units + 1), RUN):
                _add_run(connection, batch, range(begin, min(begin + RUN, units + 1)))
            connection.execute("COMMIT")
        connection.execute("UPDATE batches SET full_to = ?", (units,))  # as a run remembers it
        (uuid,) = connection.execute("SELECT value FROM meta WHERE name = 'uuid'").fetchone()
        sequence, head = connection.execute(
            "SELECT seq, hash FROM history ORDER BY seq DESC LIMIT 1"
        ).fetchone()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    write_witness(path, Witness(uuid, sequence, head))


class _Unit:
    """One unit, and what is written of it."""

    def __init__(self, number: int, batch: str) -> None:
        self.number = number
        self.who = {
            "batch": batch,
            "chip": "esp32c3",
            "mac": mac_of(number),
            "unique_id": hashlib.md5(str(number).encode(), usedforsecurity=False).hexdigest(),
        }
        self.value = custom_mac_of(number)
        self.bits = f"{number:x}ee0000000200000000000000000000000000000000000000000000"
        self.plan = text_digest(f"plan {number}")
        self.record = f"m1:{text_digest(str(number))[:32]}"
        self.job = text_digest(f"job {number}")
        self.image = f'{{"blocks":{{"0":"8000000000000","3":"{self.bits}"}}}}'

    def entries(self) -> Iterator[tuple[str, State, dict[str, Any]]]:
        """Yield event, state and details of its history."""
        yield "claimed", State.CLAIMED, self.who
        yield "planned", State.PLANNED, {"plan": self.plan, "refused": "",
                                         "values": {"CUSTOM_MAC": self.value}}  # fmt: skip
        yield (
            "burn-attempted",
            State.BURN_ATTEMPTED,
            {
                "attempt": self.number,
                "plan": self.plan,
                "steps": STEPS,
                "image": text_digest(BEFORE),
                "bound_bits": [(3, LAYOUT, self.bits)],
                "bound_records": [self.record],
                "bound_values": [("CUSTOM_MAC", self.value)],
            },
        )
        for label in STEPS:
            yield "step", State.VERIFIED, {"attempt": self.number, "label": label}
        yield "passed", State.PASS, {"job": self.job, "image": text_digest(self.image)}


def _add_run(connection: sqlite3.Connection, batch: str, numbers: range) -> None:
    run = numbers[0] // RUN + 1
    units = [_Unit(number, batch) for number in numbers]
    at = [(BEGIN + timedelta(seconds=30 * run + n)).isoformat(timespec="milliseconds") for n in range(7)]
    history = History(connection, at=at[0], run=None)
    history.append("run", number=run, batch=batch, overrides=[])
    history.flush()
    for moment, steps in zip(at[1:], zip(*(unit.entries() for unit in units), strict=True), strict=True):
        history = History(connection, at=moment, run=run)
        for unit, (event, state, detail) in zip(units, steps, strict=True):
            history.append(event, unit=unit.number, state=state, index=unit.number, **detail)
        history.flush()
    connection.execute("INSERT INTO runs (id, batch, started, process, ended) VALUES (?, 1, ?, '', ?)",
                       (run, at[0], at[-1]))  # fmt: skip
    for statement, rows in _rows(units, at[-1]).items():
        connection.executemany(statement, rows)


def _rows(units: list[_Unit], at: str) -> dict[str, list[tuple[object, ...]]]:
    columns = "id, batch, chip, mac, unique_id, idx, state, spent, reason, changed, image_passed"
    return {
        f"INSERT INTO units ({columns}) VALUES (?, 1, ?, ?, ?, ?, 'pass', 1, '', ?, ?)": [
            (u.number, u.who["chip"], u.who["mac"], u.who["unique_id"], u.number, at, u.image) for u in units
        ],
        "INSERT INTO attempts (id, unit, plan_digest, image_before, steps, closed)"
        " VALUES (?, ?, ?, ?, ?, 1)": [
            (u.number, u.number, u.plan, BEFORE, '["BLOCK_USR_DATA", "BLOCK0"]') for u in units
        ],
        "INSERT INTO attempt_steps VALUES (?, ?, 'verified')": [
            (u.number, label) for u in units for label in STEPS
        ],
        "INSERT INTO unique_values VALUES (?, 'CUSTOM_MAC', ?, 1, 0)": [(u.number, u.value) for u in units],
        "INSERT INTO user_bits VALUES (?, 3, 1, ?, ?)": [(u.number, LAYOUT, u.bits) for u in units],
        "INSERT INTO records VALUES (?, ?)": [(u.record, u.number) for u in units],
        "INSERT INTO passes VALUES (?, ?)": [(u.number, u.job) for u in units],
    }
