"""Where the ledger's tables say something else than its history makes of them. Looks only.

It goes through the units by their numbers, some at a time: a million take no more memory than a thousand.
What the history makes of them and what the tables say are two sets of facts. Where they are equal, as they
nearly always are, nothing else is compared.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import lru_cache

from parburn.ledger.history import Break
from parburn.ledger.replay import BITS, UNIT, Fact, NotUnderstood, UnitRange, name_of, replayed
from parburn.ledger.run_facts import find_changed_runs
from parburn.ledger.sql import Sql
from parburn.ledger.units import inputs_digest, text_digest
from parburn.ledger.values import value_in

UNITS_AT_A_TIME = 500
# Kinds of facts, and what each is called.
_KINDS = {
    "value": "unique values",
    BITS: "what its user blocks hold",
    "digest": "keyed digests of its values",
    "record": "config records",
    "job": "passed jobs",
    "arming": "armings it has passed under",
    "inputs": "what its passed jobs read",
    "attempt": "attempts",
    "step": "steps",
}
# The parts of a fact of the kind `unit`, behind its number and kind.
_PARTS = (
    "identity", "identity", "identity", "identity", "state", "index", "whether its index is spent",
    "whether it is written off", "what it held when it passed", "how its last attempt ended",
    "how often it went on by itself",
)  # fmt: skip


FIRST_UNIT = -(1 << 63)  # of any number that a row can have


def find_differences(connection: Sql, first: int = FIRST_UNIT, end: int | None = None) -> Iterator[Break]:
    """Yield where units, values, records, passed jobs or attempts are not what the history says.

    Args:
        connection: The ledger.
        first: The first unit that is looked at.
        end: The number behind the last one; None for all that follow.
    """
    for share in _shares(connection, first, end):
        yield from _differences(connection, share)


def find_strays(connection: Sql) -> Iterator[Break]:
    """Yield what hangs on no unit, so that no unit's history tells of it: runs, and steps of no attempt."""
    for run in find_changed_runs(connection):
        yield Break(0, f"Run {run} is not what the history says: its station or its operator.")
    (strays,) = connection.execute(
        "SELECT count(*) FROM attempt_steps WHERE attempt NOT IN (SELECT id FROM attempts)"
    ).fetchone()
    if strays:
        yield Break(0, f"{strays} steps are not what the history says: they are of no attempt.")


def _shares(connection: Sql, first: int, end: int | None) -> Iterator[UnitRange]:
    while True:
        row = connection.execute(
            "SELECT id FROM units WHERE id >= ? ORDER BY id LIMIT 1 OFFSET ?", (first, UNITS_AT_A_TIME)
        ).fetchone()
        if row is None or (end is not None and row[0] >= end):
            yield UnitRange(first, end)
            return
        yield UnitRange(first, row[0])
        (first,) = row


def _differences(connection: Sql, share: UnitRange) -> Iterator[Break]:
    expected: set[Fact] = set()
    try:
        yield from replayed(connection, share, expected)
    except NotUnderstood as failed:
        yield Break(failed.sequence, f"Entry {failed.sequence} cannot be understood.")
        return
    stored = _stored(connection, share)
    yield from _not_in_ranges(connection, share, stored)
    if expected != stored:
        yield from _told(expected, stored)


def _told(expected: set[Fact], stored: set[Fact]) -> Iterator[Break]:
    """Yield a sentence for each unit of which the two say different things."""
    rows = {fact[0]: fact for fact in stored if fact[1] == UNIT}
    made = {fact[0]: fact for fact in expected if fact[1] == UNIT}
    kinds: dict[int, set[str]] = {}
    for unit, kind, *_ in expected ^ stored:
        kinds.setdefault(unit, set()).add(kind)
    for unit, different in sorted(kinds.items()):
        row = rows.get(unit)
        if row is None and unit in made:
            yield Break(0, f"Unit {unit} has a history, but its row is missing.")
            continue
        blank = (unit, UNIT, "", "", "", "", "", None, False, False, "", "", 0)
        parts = zip(_PARTS, made.get(unit, blank)[2:], (row or blank)[2:], strict=True)
        words = dict.fromkeys(name for name, should, found in parts if should != found)
        words |= dict.fromkeys(said for kind, said in _KINDS.items() if kind in different)
        who = name_of(*row[3:5]) if row else "A unit without a row"
        yield Break(0, f"{who} is not what its history says: {', '.join(words)}.")


def _not_in_ranges(connection: Sql, share: UnitRange, stored: set[Fact]) -> Iterator[Break]:
    """Yield values that a chip holds and that a search for them would not find."""
    ranges: dict[str, list[tuple[int, str]]] = {}
    for number, layout, parts in connection.execute("SELECT id, layout, parts FROM ranges"):
        ranges.setdefault(layout, []).append((number, parts))
    if not ranges:
        return
    listed: set[tuple[int, str, int]] = set(
        connection.execute(
            f"SELECT range, value, unit FROM range_values WHERE {share.where()} AND value NOT LIKE 'hmac:%'",
            share.values,
        )
    )
    held: dict[tuple[int, str], dict[int, int]] = {}
    for unit, kind, *more in stored:
        if kind == BITS:
            block, layout, bits = more
            held.setdefault((unit, layout), {})[block] = int(bits, 16)
    for (unit, layout), blocks in held.items():
        for number, parts in ranges.get(layout, ()):
            value = value_in(parts, blocks)
            if value and (number, value, unit) not in listed:
                chip, mac = _who(connection, unit)
                yield Break(0, f"{name_of(chip, mac)} holds a value in {parts} that is not listed.")


def _who(connection: Sql, unit: int) -> tuple[str, str]:
    row = connection.execute("SELECT chip, mac FROM units WHERE id = ?", (unit,)).fetchone()
    return row or ("", "")


# What hangs on units, as facts: SQLite makes them.
_FACTS = (
    "SELECT unit, 'value', name, value FROM unique_values WHERE {} AND bound = 1",
    f"SELECT unit, '{BITS}', block, layout, bits FROM user_bits WHERE {{}} AND bound = 1",
    "SELECT unit, 'digest', layout, parts, value FROM range_values JOIN ranges ON ranges.id = range"
    " WHERE {} AND bound = 1 AND value LIKE 'hmac:%'",
    "SELECT unit, 'record', digest FROM records WHERE {}",
    "SELECT unit, 'job', job FROM passes WHERE {}",
    "SELECT unit, 'arming', arming FROM pass_armings WHERE {}",
    "SELECT unit, 'step', attempt, label, attempt_steps.state FROM attempts"
    " JOIN attempt_steps ON attempt = attempts.id WHERE {}",
)


def _stored(connection: Sql, share: UnitRange) -> set[Fact]:
    """Return the facts that the tables tell of these units."""
    where, values = share.where(), share.values
    facts: set[Fact] = set()
    for unit, *who, state, index, spent, scrapped, image, cause, went_on in connection.execute(
        "SELECT units.id, name, chip, mac, unique_id, state, idx, spent, scrapped, image_passed,"
        " cause, went_on FROM units"
        f" LEFT JOIN batches ON batches.id = batch WHERE {share.where('units.id')}",
        values,
    ):
        held = text_digest(image) if image else ""
        row = (*who, state, index, bool(spent), bool(scrapped), held)
        facts.add((unit, UNIT, *row, cause, went_on))
    for statement in _FACTS:
        facts.update(connection.execute(statement.format(where), values))
    for number, unit, plan, image, steps, arming, closed in connection.execute(
        f"SELECT id, unit, plan_digest, image_before, steps, arming, closed FROM attempts WHERE {where}",
        values,
    ):
        facts.add((unit, "attempt", number, plan, _digest_of(image), _steps(steps), arming, bool(closed)))
    read: dict[tuple[int, str], list[tuple[str, str]]] = {}
    for unit, job, path, digest in connection.execute(
        f"SELECT unit, job, path, digest FROM pass_inputs WHERE {where} ORDER BY unit, job, path", values
    ):
        read.setdefault((unit, job), []).append((path, digest))
    for (unit, job), inputs in read.items():
        facts.add((unit, "inputs", job, inputs_digest(tuple(inputs))))
    return facts


@lru_cache(256)
def _digest_of(image: str) -> str:
    return text_digest(image)  # blank chips are alike


@lru_cache(256)
def _steps(text: str) -> tuple[str, ...]:
    return tuple(json.loads(text))
