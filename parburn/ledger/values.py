"""Which chip holds which value, by its bits: a value that must be one chip's is looked for in one seek.

What a unit's user blocks hold is kept whole (`user_bits`). A *range* is a place in which somebody's value
must be its own; for each there is an index of what every unit of that layout holds there (`range_values`). A
range that is asked for the first time is filled from what is kept. Where a key may stand nothing is kept but
keyed digests of each range. All of it is `bound` by the attempt, and only planned before.

Keys may be equal on all boards of a batch, or different on all: an equal one is refused after two different
ones (or where the chip that has it is of a batch with different ones).

`unique_values` are the values that have a name on chips of any kind; they are compared as they are shown.
Works within the caller's transaction.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from parburn.errors import UniqueValueTaken
from parburn.ledger.base import CUSTOM_MAC, BatchSpec, RangeValue, UnitIdentity, UserBits
from parburn.ledger.sql import Rows, Sql
from parburn.ledger.writer import Transaction

DIGEST_MARK = "hmac:"
KEYS = "keys"  # the range of all keys, whatever block they stand in
_PART = re.compile(r"(\d+)\[(\d+):(\d+)\]")


class Holder(NamedTuple):
    """The unit that plans a value, as far as values matter."""

    id: int
    batch: int
    identity: UnitIdentity
    index: int  # type: ignore[assignment]  # not tuple.index
    shares: frozenset[int]

    @property
    def chip(self) -> tuple[str, str, str]:
        """What tells the chip from others: MAC, kind, unique id."""
        return self.identity.mac, self.identity.chip, self.identity.unique_id


class Taken(NamedTuple):
    """A value that another chip has (`bound`), or plans in this moment."""

    name: str
    shown: str
    option: str
    range: int | None  # None: by name
    value: str
    unit: int
    mac: str
    where: str
    bound: bool

    def refusal(self, own: UnitIdentity) -> UniqueValueTaken:
        """Return the refusal: this chip is not burned, or neither is where both only plan the value."""
        allow = f" If boards may have it in common: {self.option}." if self.option else ""
        if self.bound:
            return UniqueValueTaken(
                f"{self.name} {self.shown} belongs to the chip {self.mac} already ({self.where}): "
                f"{own.mac} must not get it too.",
                hint=f"Nothing was burned. Give each index its own value.{allow}",
            )
        return UniqueValueTaken(
            f"{self.name} {self.shown} is planned for the chip {self.mac} too ({self.where}), "
            f"as well as for {own.mac}: neither is burned.",
            hint=f"See why the script gives two boards one value.{allow}",
        )


# Who has it -----------------------------------------------------------------------------------------


def find_taken(
    transaction: Transaction, unit: Holder, named: Mapping[str, str], held: UserBits
) -> list[Taken]:
    """Return who else has or plans one of these values: the first that has one, or all that plan one."""
    connection = transaction.connection
    options = dict(held.options)
    planned: list[Taken] = []
    for one in held.ranges:
        if one.key:
            rows = _equal_keys(transaction, unit, one)
        else:
            rows = _equal(connection, unit, range_of(transaction, held.layout, one.parts), one.value)
        for taken in _not_shared(rows, unit, one.name, one.shown, one.option):
            if taken.bound:
                return [taken]
            planned.append(taken)
    for name, value in named.items():
        by_name = connection.execute(_HOLDERS_BY_NAME, (name, value, unit.id, *unit.chip))
        for taken in _not_shared(by_name, unit, name, value, options.get(name, "")):
            if taken.bound:
                return [taken]
            planned.append(taken)
    return planned


def _not_shared(
    rows: Iterable[tuple[Any, ...]], unit: Holder, name: str, shown: str, option: str
) -> Iterator[Taken]:
    for number, value, other, mac, index, batch, batch_id, bound in rows:
        if batch_id in unit.shares and name != CUSTOM_MAC:
            continue
        where = f"index {index} of the batch {batch}" if index is not None else f"batch {batch}, no index"
        yield Taken(name, shown, option, number, value, other, mac, where, bool(bound))


_HOLDERS = (  # a chip that other batches know, too, has a unit in each
    "SELECT range, value, unit, mac, idx, batches.name, batch, bound FROM range_values"
    " JOIN units ON units.id = unit JOIN batches ON batches.id = batch"
    " WHERE range = ?1 AND value = ?2 AND unit != ?3 AND (mac, chip, unique_id) != (?4, ?5, ?6)"
)
_HOLDERS_BY_NAME = (
    "SELECT NULL, v.value, unit, mac, idx, batches.name, batch, bound FROM unique_values AS v"
    " JOIN units ON units.id = unit JOIN batches ON batches.id = batch"
    " WHERE v.name = ?1 AND v.value = ?2 AND unit != ?3 AND (mac, chip, unique_id) != (?4, ?5, ?6)"
    " AND NOT EXISTS"
    " (SELECT 1 FROM unique_values WHERE unit = ?3 AND name = ?1 AND value = ?2 AND bound = 1)"
)
_NOT_MINE = (
    " AND NOT EXISTS (SELECT 1 FROM range_values WHERE range = ?1 AND value = ?2 AND unit = ?3 AND bound = 1)"
)


def _equal(connection: Sql, unit: Holder, number: int, value: str) -> Rows:
    return connection.execute(_HOLDERS + _NOT_MINE, (number, value, unit.id, *unit.chip))


def _equal_keys(transaction: Transaction, unit: Holder, one: RangeValue) -> Iterable[tuple[Any, ...]]:
    """Return chips with an equal key, where keys are each chip's own; none where all have the same."""
    found = _equal(transaction.connection, unit, range_of(transaction, "", KEYS), one.value)
    if one.option == "":  # declared unique
        return found
    rows = found.fetchmany(1)
    if not rows or _has_other_keys(transaction, unit.batch, one.parts, one.value):
        return rows
    batch = _keys_of_batch(transaction, rows[0][6], one.parts)
    low, high = _extremes(transaction.connection, batch)
    return rows if low != high else []


def _has_other_keys(transaction: Transaction, batch: int, parts: str, key: str) -> bool:
    """Return whether any chip of a batch has another key than this one there."""
    here = _extremes(transaction.connection, _keys_of_batch(transaction, batch, parts))
    return bool({*here} - {None, key})


def _keys_of_batch(transaction: Transaction, batch: int, parts: str) -> int:
    return range_of(transaction, f"batch {batch}", parts)


def _extremes(connection: Sql, number: int) -> tuple[str | None, str | None]:
    """Return the lowest and highest digest in a range: equal where there is only one."""
    low, high = connection.execute(
        "SELECT (SELECT min(value) FROM range_values WHERE range = ?1),"
        " (SELECT max(value) FROM range_values WHERE range = ?1)",
        (number,),
    ).fetchone()
    return low, high


# Ranges ---------------------------------------------------------------------------------------------


def range_of(transaction: Transaction, layout: str, parts: str) -> int:
    """Return the number of a range, which is asked for once.

    A new range is filled with what the chips of its layout hold there. `parts` are as in RangeValue.
    """
    number = transaction.ranges.get((layout, parts))
    if number is None:
        number = transaction.ranges[layout, parts] = _range_of(transaction.connection, layout, parts)
    return number


def _range_of(connection: Sql, layout: str, parts: str) -> int:
    row = connection.execute(
        "SELECT id FROM ranges WHERE layout = ? AND parts = ?", (layout, parts)
    ).fetchone()
    if row is not None:
        return int(row[0])
    (number,) = connection.execute(
        "INSERT INTO ranges (layout, parts) VALUES (?, ?) RETURNING id", (layout, parts)
    ).fetchone()
    if _PART.match(parts):
        rows = connection.execute(
            "SELECT unit, bound, block, bits FROM user_bits WHERE layout = ? ORDER BY unit, bound", (layout,)
        )
        connection.executemany(
            "INSERT INTO range_values (range, value, unit, bound) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
            _filled(number, parts, rows),
        )
    return int(number)


def _filled(
    number: int, parts: str, rows: Iterable[tuple[int, int, int, str]]
) -> list[tuple[int, str, int, int]]:
    held: dict[tuple[int, int], dict[int, int]] = {}
    for unit, bound, block, bits in rows:
        held.setdefault((unit, -bound), {})[block] = int(bits, 16)
    found = []
    for (unit, bound), blocks in sorted(held.items()):  # what is bound goes first
        value = value_in(parts, blocks)
        if value:
            found.append((number, value, unit, -bound))
    return found


@lru_cache(maxsize=1024)
def _places(parts: str) -> tuple[tuple[int, int, int], ...]:
    """Return block, first bit and number of bits of each part."""
    return tuple((int(b), int(s), int(e) - int(s)) for b, s, e in _PART.findall(parts))


def value_in(parts: str, blocks: Mapping[int, int]) -> str:
    """Return in hex what these blocks hold in a range; empty for 0, or where a block is not known.

    Args:
        parts: Where, as in RangeValue.
        blocks: What each block holds, word 0 in the low bits.
    """
    value = at = 0
    for block, start, bits in _places(parts):
        if block not in blocks:
            return ""
        value |= (blocks[block] >> start & ((1 << bits) - 1)) << at
        at += bits
    return f"{value:x}" if value else ""


# Writing it down ------------------------------------------------------------------------------------


def write_planned(transaction: Transaction, unit: Holder, named: Mapping[str, str], held: UserBits) -> None:
    """Keep what the unit is about to hold, until it is bound or forgotten."""
    connection = transaction.connection
    for name, value in named.items():
        if name == CUSTOM_MAC and _is_bound_mac(connection, value, unit.id):
            continue  # to this chip, as a unit of another batch
        connection.execute(
            "INSERT INTO unique_values VALUES (?, ?, ?, 0, 0) ON CONFLICT DO NOTHING", (unit.id, name, value)
        )
    rows: list[tuple[int, str, int, str]] = []
    for one in held.ranges:
        if one.key:
            rows.append((range_of(transaction, "", KEYS), one.value, unit.id, ""))
            rows.append((_keys_of_batch(transaction, unit.batch, one.parts), one.value, unit.id, ""))
        else:
            number = range_of(transaction, held.layout, one.parts)
            rows.append((number, one.value, unit.id, f"{one.name} {one.shown}"))
    if held.bits:
        connection.executemany(
            "INSERT INTO user_bits VALUES (?, ?, 0, ?, ?)"
            " ON CONFLICT (unit, block, bound) DO UPDATE SET layout = excluded.layout, bits = excluded.bits",
            [(unit.id, block, held.layout, bits) for block, bits in held.bits],
        )
        blocks = {block: int(bits, 16) for block, bits in held.bits}
        for number, parts in connection.execute(
            "SELECT id, parts FROM ranges WHERE layout = ?", (held.layout,)
        ).fetchall():
            value = value_in(parts, blocks)
            if value:
                rows.append((number, value, unit.id, ""))
    if rows:
        connection.executemany(
            "INSERT INTO range_values (range, value, unit, bound, own) VALUES (?, ?, ?, 0, ?)"
            " ON CONFLICT DO NOTHING",
            rows,
        )


# The name is in the text: where a parameter decides whether the index of bound MACs fits, SQLite prepares
# the statement anew each time.
_BOUND_MAC = (
    f"SELECT 1 FROM unique_values WHERE name = '{CUSTOM_MAC}' AND bound = 1 AND value = ? AND unit != ?"
)


def _is_bound_mac(connection: Sql, mac: str, unit: int) -> bool:
    return connection.execute(_BOUND_MAC, (mac, unit)).fetchone() is not None


def write_found(transaction: Transaction, unit: Holder, named: Mapping[str, str], held: UserBits) -> None:
    """Keep what a chip holds, whoever burned it. Others that plan the same in this moment may not burn it.

    Raises:
        UniqueValueTaken: another chip has one of the values that nothing allows to be equal.
    """
    options = dict(held.options)
    own = {name: value for name, value in named.items() if name not in options}
    fixed = held._replace(ranges=tuple(one for one in held.ranges if not one.option), options=())
    doubles = find_taken(transaction, unit, own, fixed)
    for taken in doubles:
        if taken.bound:
            raise taken.refusal(unit.identity)
    write_planned(transaction, unit, named, held)
    mark_conflicts(transaction, unit, doubles, both=False)


def mark_conflicts(
    transaction: Transaction, unit: Holder, doubles: Iterable[Taken], *, both: bool = True
) -> None:
    """Forbid this unit and the other to burn what both plan; not `both`: forbid it the other only."""
    for taken in doubles:
        units = (taken.value, unit.id if both else taken.unit, taken.unit)
        if taken.range is None:
            transaction.connection.execute(
                "UPDATE unique_values SET conflict = 1 WHERE name = ? AND value = ? AND unit IN (?, ?)",
                (taken.name, *units),
            )
        else:
            transaction.connection.execute(
                "UPDATE range_values SET conflict = 1 WHERE range = ? AND value = ? AND unit IN (?, ?)",
                (taken.range, *units),
            )


_CONFLICT, _GIVEN_MEANWHILE = 0, 1
_IN_THE_WAY = (  # of a unit: what another one plans as well; what another one got since it was planned
    f"SELECT {_CONFLICT}, name, value, 0 FROM unique_values WHERE unit = ?1 AND conflict = 1"
    f" UNION ALL SELECT {_CONFLICT}, own, '', 0 FROM range_values WHERE unit = ?1 AND conflict = 1"
    f" UNION ALL SELECT {_GIVEN_MEANWHILE}, mine.own, units.mac, batch FROM range_values AS mine"
    " JOIN range_values AS theirs"
    " ON theirs.range = mine.range AND theirs.value = mine.value AND theirs.unit != mine.unit"
    " JOIN units ON units.id = theirs.unit WHERE mine.unit = ?1 AND mine.bound = 0 AND mine.own != ''"
    " AND (mac, chip, unique_id) != (?2, ?3, ?4)"
)


def refuse_conflicts(transaction: Transaction, unit: Holder) -> None:
    """Raise UniqueValueTaken where another chip plans, or got meanwhile, what this unit is about to hold."""
    for what, name, more, batch in transaction.connection.execute(_IN_THE_WAY, (unit.id, *unit.chip)):
        if what == _CONFLICT:
            raise UniqueValueTaken(
                f"{' '.join(filter(None, (name, more))) or 'A key'} is planned for another chip too: neither "
                "is burned.",
                hint="See why the script gives two boards one value.",
            )
        if batch not in unit.shares:
            raise UniqueValueTaken(
                f"{name} was given to the chip {more} meanwhile: {unit.identity.mac} must not get it too.",
                hint="Nothing was burned by this. Give each index its own value, then run again.",
            )


_VALUE, _BITS, _RANGE = "value", "bits", "range"
_PLANNED = (
    f"SELECT '{_VALUE}', name, value, '' FROM unique_values WHERE unit = ?1 AND bound = 0"
    f" UNION ALL SELECT '{_BITS}', CAST(block AS TEXT), layout, bits FROM user_bits"
    " WHERE unit = ?1 AND bound = 0"
    f" UNION ALL SELECT '{_RANGE}', layout, parts, value FROM range_values JOIN ranges ON ranges.id = range"
    " WHERE unit = ?1 AND bound = 0"
)
_MAKE_ROOM = (  # for what takes the place of what was bound
    "DELETE FROM user_bits WHERE unit = ?1 AND bound = 1"
    " AND block IN (SELECT block FROM user_bits WHERE unit = ?1 AND bound = 0)"
)


def bind(transaction: Transaction, unit: Holder) -> dict[str, Any]:
    """Bind what was planned to the unit for ever; return the new part of it for the history."""
    connection = transaction.connection
    bound: dict[str, Any] = {}
    planned: dict[str, list[tuple[Any, ...]]] = {}
    for kind, *row in connection.execute(_PLANNED, (unit.id,)).fetchall():
        planned.setdefault(kind, []).append(tuple(row))
    if _VALUE in planned:
        connection.execute("UPDATE unique_values SET bound = 1 WHERE unit = ? AND bound = 0", (unit.id,))
        bound["bound_values"] = [(name, value) for name, value, _ in planned[_VALUE]]
    if _BITS in planned:
        connection.execute(_MAKE_ROOM, (unit.id,))
        connection.execute("UPDATE user_bits SET bound = 1 WHERE unit = ? AND bound = 0", (unit.id,))
        bound["bound_bits"] = [(int(block), layout, bits) for block, layout, bits in planned[_BITS]]
    if _RANGE in planned:
        connection.execute("UPDATE range_values SET bound = 1 WHERE unit = ? AND bound = 0", (unit.id,))
        digests = [row for row in planned[_RANGE] if row[2].startswith(DIGEST_MARK)]
        if digests:
            bound["bound_digests"] = digests
    return bound


def list_in_ranges(connection: Sql, unit: int) -> None:
    """List what the user blocks of a unit of another ledger hold, so that a search finds it."""
    blocks: dict[str, dict[int, int]] = {}
    for block, layout, bits in connection.execute(
        "SELECT block, layout, bits FROM user_bits WHERE unit = ? AND bound = 1", (unit,)
    ):
        blocks.setdefault(layout, {})[block] = int(bits, 16)
    for layout, held in blocks.items():
        for number, parts in connection.execute(
            "SELECT id, parts FROM ranges WHERE layout = ?", (layout,)
        ).fetchall():
            value = value_in(parts, held)
            if value:
                connection.execute(
                    "INSERT INTO range_values (range, value, unit, bound) VALUES (?, ?, ?, 1)"
                    " ON CONFLICT DO NOTHING",
                    (number, value, unit),
                )


def forget_planned(connection: Sql, units: str, number: int) -> None:
    """Free what was only planned, since nothing was attempted. `units` is SQL: which, with one `?`."""
    for table in ("unique_values", "user_bits", "range_values"):
        connection.execute(f"DELETE FROM {table} WHERE bound = 0 AND unit {units}", (number,))


# What is not known ----------------------------------------------------------------------------------


def is_unknown(connection: Sql, unit: int) -> bool:
    """Return whether an older ledger did not keep a unit's values, and nobody has learned them since."""
    row = connection.execute("SELECT 1 FROM unknown_values WHERE unit = ?", (unit,)).fetchone()
    return row is not None


def any_unknown(connection: Sql) -> bool:
    """Return whether there is any unit whose values are unknown."""
    return connection.execute("SELECT 1 FROM unknown_values LIMIT 1").fetchone() is not None


# What was declared ----------------------------------------------------------------------------------


class Remembered(NamedTuple):
    """What was declared for a batch, and sentences for the operator."""

    same: tuple[str, ...]
    unique: tuple[str, ...]
    notes: list[str]


def declare(transaction: Transaction, batch: int, name: str, spec: BatchSpec) -> Remembered:
    """Remember for this batch what is declared now; it replaces what was declared before.

    A new batch takes over what was declared for one with the same scripts or records.
    """
    connection = transaction.connection
    notes: list[str] = []
    used = connection.execute("SELECT 1 FROM batch_scripts WHERE batch = ? LIMIT 1", (batch,)).fetchone()
    before = dict(connection.execute("SELECT what, kind FROM declared WHERE batch = ?", (batch,)))
    declared = dict(before)
    if used is None and not before:
        other, taken_over = _declared_elsewhere(connection, batch, spec)
        declared.update(taken_over)
        if taken_over:
            words = ", ".join(f"--{kind} {what}" for what, kind in sorted(taken_over.items()))
            notes.append(
                f"The new batch {name} takes over what was declared for the batch {other}, "
                f"which has the same scripts or files: {words}."
            )
    for kind, names in (("same", spec.same), ("unique", spec.unique)):
        for what in names:
            if declared.get(what, kind) != kind:
                notes.append(
                    f"{what} was declared {declared[what]} for the batch {name}; from now on {kind}."
                )
            declared[what] = kind
    if declared != before:
        connection.executemany(
            "INSERT INTO declared VALUES (?, ?, ?)"
            " ON CONFLICT (batch, what) DO UPDATE SET kind = excluded.kind",
            [(batch, what, kind) for what, kind in declared.items()],
        )
        # What was set aside for a value that may be equal now is tried again.
        connection.execute("DELETE FROM taken_values WHERE batch = ?", (batch,))
        transaction.history.append("declared", batch=name, declared=declared)
    if spec.scripts:
        connection.execute(
            "INSERT INTO batch_scripts VALUES (?, ?) ON CONFLICT DO NOTHING", (spec.scripts, batch)
        )
    return Remembered(
        tuple(what for what, kind in sorted(declared.items()) if kind == "same"),
        tuple(what for what, kind in sorted(declared.items()) if kind == "unique"),
        notes,
    )


def _declared_elsewhere(connection: Sql, batch: int, spec: BatchSpec) -> tuple[str, dict[str, str]]:
    """Return the name of the latest other batch that a new one is like, and what it declared.

    It is like one that has these scripts, this very content, or a first record of it.
    """
    records = spec.entries(1).split()
    marks = ", ".join("?" * len(records)) or "NULL"
    row = connection.execute(
        "SELECT id, name FROM batches WHERE id != ? AND id IN (SELECT batch FROM declared) AND ("
        " id IN (SELECT batch FROM batch_scripts WHERE digest = ?)"
        " OR id IN (SELECT batch FROM batch_configs WHERE digest = ? AND digest != '')"
        f" OR id IN (SELECT batch FROM records JOIN units ON units.id = unit WHERE digest IN ({marks})))"
        " ORDER BY id DESC LIMIT 1",
        (batch, spec.scripts, spec.config_digest, *records),
    ).fetchone()
    if row is None:
        return "", {}
    return row[1], dict(connection.execute("SELECT what, kind FROM declared WHERE batch = ?", (row[0],)))
