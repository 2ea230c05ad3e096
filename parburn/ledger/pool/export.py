"""A pool as JSON, unit by unit and entry by entry, in the words of `export`. Some hundred rows at a time."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from typing import Any, Final

from parburn.ledger.base import State
from parburn.ledger.sql import Sql

ROWS_AT_A_TIME: Final = 500
_DONE: Final = (State.VERIFIED.value, State.LOCKED.value)
_UNIT: Final = (
    "SELECT units.id, batches.name, idx, chip, mac, unique_id, state, spent, changed, reason, scrapped,"
    " EXISTS (SELECT 1 FROM unknown_values WHERE unit = units.id)"
    " FROM units JOIN batches ON batches.id = batch WHERE batch = ? AND {} LIMIT ? OFFSET ?"
)
_ORDERS: Final = ("idx IS NOT NULL ORDER BY idx", "idx IS NULL ORDER BY mac, units.id")
_HANGS: Final = {
    "unique_values": "SELECT unit, name, value FROM unique_values WHERE bound = 1 AND unit IN ({})"
    " ORDER BY name",
    "passed_jobs": "SELECT unit, job FROM passes WHERE unit IN ({}) ORDER BY job",
    "user_bits": "SELECT unit, block, bits, layout FROM user_bits WHERE bound = 1 AND unit IN ({})"
    " ORDER BY block",
    "records": "SELECT unit, digest FROM records WHERE unit IN ({}) ORDER BY digest",
    "attempts": "SELECT unit, id, steps FROM attempts WHERE closed = 0 AND unit IN ({}) ORDER BY id",
    "steps": "SELECT unit, attempt, label, attempt_steps.state FROM attempts JOIN attempt_steps"
    " ON attempt = attempts.id WHERE closed = 0 AND unit IN ({})",
}
_ENTRIES: Final = (
    "SELECT seq, at, run, unit, event, state, idx, detail, hash FROM history"
    " WHERE seq > ? ORDER BY seq LIMIT ?"
)
_encode = json.JSONEncoder(separators=(",", ":")).encode


def units_as_json(sql: Sql) -> Iterator[str]:
    """Yield each unit as a JSON object in ASCII: batch by batch, by index, those without an index last."""
    for (batch,) in sql.execute("SELECT id FROM batches ORDER BY name").fetchall():
        for order in _ORDERS:
            offset = 0
            while rows := sql.execute(_UNIT.format(order), (batch, ROWS_AT_A_TIME, offset)).fetchall():
                yield from _units(sql, rows)
                offset += len(rows)


def _units(sql: Sql, rows: list[Any]) -> Iterator[str]:
    numbers = [row[0] for row in rows]
    marks = ", ".join("?" * len(numbers))
    hangs: dict[str, defaultdict[int, list[Any]]] = {name: defaultdict(list) for name in _HANGS}
    for name, text in _HANGS.items():
        for unit, *more in sql.execute(text.format(marks), numbers):
            hangs[name][unit].append(more)
    for unit, batch, index, chip, mac, unique_id, state, spent, changed, reason, scrapped, unknown in rows:
        bits = hangs["user_bits"][unit]
        done = {(attempt, label) for attempt, label, how in hangs["steps"][unit] if how in _DONE}
        yield _encode(
            {
                "batch": batch,
                "index": index,
                "chip": chip,
                "mac": mac,
                "unique_id": unique_id,
                "state": state,
                "spent": bool(spent),
                "unique_values": dict(hangs["unique_values"][unit]),
                "passed_jobs": [job for (job,) in hangs["passed_jobs"][unit]],
                "remaining_steps": [
                    label
                    for attempt, steps in hangs["attempts"][unit]
                    for label in json.loads(steps)
                    if (attempt, label) not in done
                ],
                "changed": changed,
                "reason": reason,
                "user_bits": {str(block): held for block, held, _ in bits},
                "user_layout": max((layout for _, _, layout in bits), default=""),
                "records": [digest for (digest,) in hangs["records"][unit]],
                "scrapped": scrapped,
                "values_unknown": bool(unknown),
            }
        )


def history_as_json(sql: Sql) -> Iterator[str]:
    """Yield each entry of all chains as a JSON object in ASCII, in the order in which they were written."""
    last = 0
    while rows := sql.execute(_ENTRIES, (last, ROWS_AT_A_TIME)).fetchall():
        for sequence, at, run, unit, event, state, index, detail, digest in rows:
            yield _encode(
                {
                    "sequence": sequence,
                    "at": at,
                    "run": run,
                    "unit": unit,
                    "event": event,
                    "state": state,
                    "index": index,
                    "detail": json.loads(detail or "{}"),
                    "hash": digest,
                }
            )
        last = rows[-1][0]
