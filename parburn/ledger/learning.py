"""Units of which an older ledger did not keep what their user blocks hold, until that is learned.

It is learned from what the ledger kept all the same, from the chip when it comes again, or from the records
(`ledger learn`). Two chips that turn out to have one value are not refused here, since both exist: they are
listed. While any unit is unknown nobody may say that there are none. Works within the caller's transaction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from parburn.ledger import values
from parburn.ledger.base import CUSTOM_MAC, NO_USER_BITS, State, UnitIdentity, UserBits
from parburn.ledger.sql import Sql
from parburn.ledger.writer import Transaction

_NAMED = 5  # units that a sentence names


class UnknownUnit(NamedTuple):
    """A unit whose values are not known, and what was kept of it."""

    id: int
    batch: int
    identity: UnitIdentity
    index: int | None  # type: ignore[assignment]  # not tuple.index
    image_passed: str
    images_before: tuple[str, ...]  # what it held before each attempt
    steps: tuple[str, ...]  # JSON lists of the labels of what was attempted
    open: bool  # an attempt is not whole
    named: Mapping[str, str]
    records: tuple[str, ...]


class Learned(NamedTuple):
    """What was learned of a unit.

    `records` are its records' digests in the form of today; None: they were not looked at.
    """

    unit: UnknownUnit
    named: Mapping[str, str]
    held: UserBits
    records: tuple[str, ...] | None = None


def find_unknown(connection: Sql, *, batch: int | None = None) -> list[UnknownUnit]:
    """Return all units whose values are not known; of one batch also those whose records are not."""
    found = []
    also = "" if batch is None else " UNION SELECT unit FROM unlearned_records"
    for number, of, chip, mac, unique_id, index, image in connection.execute(
        "SELECT units.id, batch, chip, mac, unique_id, idx, image_passed FROM"
        f" (SELECT unit FROM unknown_values{also}) JOIN units ON units.id = unit"
        " WHERE CAST(?1 AS BIGINT) IS NULL OR batch = ?1 ORDER BY batch, idx, units.id",
        (batch,),
    ).fetchall():
        attempts = connection.execute(
            "SELECT steps, closed, image_before FROM attempts WHERE unit = ? ORDER BY id", (number,)
        ).fetchall()
        named = connection.execute(
            "SELECT name, value FROM unique_values WHERE unit = ? AND bound = 1", (number,)
        )
        records = connection.execute("SELECT digest FROM records WHERE unit = ?", (number,))
        found.append(
            UnknownUnit(
                id=number,
                batch=of,
                identity=UnitIdentity(chip, mac, unique_id),
                index=index,
                image_passed=image,
                images_before=tuple(before for _, _, before in attempts),
                steps=tuple(steps for steps, _, _ in attempts),
                open=any(not closed for _, closed, _ in attempts),
                named=dict(named.fetchall()),
                records=tuple(digest for (digest,) in records),
            )
        )
    return found


def learn(
    transaction: Transaction,
    holder: values.Holder,
    named: Mapping[str, str],
    held: UserBits,
    *,
    records: Sequence[str] | None = None,
    how: str,
) -> None:
    """Bind to a unit what it holds, and note which other chips have an equal value.

    Args:
        transaction: Where it is done.
        holder: The unit.
        named: Values that have a name on chips of any kind.
        held: What its user blocks hold.
        records: Digests of its records; None where they were not looked at.
        how: How it was learned, for the history.
    """
    connection = transaction.connection
    if not values.is_unknown(connection, holder.id):
        named, held = {}, NO_USER_BITS  # what was read in the chip says more than its record
    doubles = _doubles(transaction, holder, named, held)
    connection.executemany(
        "INSERT INTO seen_doubles VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
        [(holder.id, one.unit, one.name, one.shown) for one in doubles],
    )
    macs = {one.shown for one in doubles if one.name == CUSTOM_MAC}
    kept = {name: value for name, value in named.items() if name != CUSTOM_MAC or value not in macs}
    values.write_planned(transaction, holder, kept, held)
    bound = values.bind(transaction, holder)
    connection.executemany(
        "INSERT INTO records VALUES (?, ?) ON CONFLICT DO NOTHING",
        [(digest, holder.id) for digest in records or ()],
    )
    connection.execute("DELETE FROM unknown_values WHERE unit = ?", (holder.id,))
    if records is not None:
        connection.execute("DELETE FROM unlearned_records WHERE unit = ?", (holder.id,))
    state, index = connection.execute("SELECT state, idx FROM units WHERE id = ?", (holder.id,)).fetchone()
    transaction.history.append(
        "values-learned",
        unit=holder.id,
        state=State(state),
        index=index,
        how=how,
        equal=[[one.name, one.shown, one.mac] for one in doubles],
        **({"bound_records": list(records)} if records else {}),
        **bound,
    )


def _doubles(
    transaction: Transaction, holder: values.Holder, named: Mapping[str, str], held: UserBits
) -> list[values.Taken]:
    """Return every value that another chip has too: not only the first one."""
    found: list[values.Taken] = []
    for one in held.ranges:
        found += values.find_taken(transaction, holder, {}, held._replace(ranges=(one,)))
    for name, value in named.items():
        found += values.find_taken(transaction, holder, {name: value}, held._replace(ranges=()))
    own = {(one.name, one.unit): one for one in found if one.bound}
    return list(own.values())


def learn_all(transaction: Transaction, learned: Sequence[Learned], how: str) -> int:
    """Bind to these units what was learned of them; return their number."""
    for one in learned:
        unit = one.unit
        holder = values.Holder(unit.id, unit.batch, unit.identity, unit.index or 0, frozenset())
        learn(transaction, holder, one.named, one.held, records=one.records, how=how)
    return len(learned)


def unknown_note(connection: Sql) -> str:
    """Return a sentence that names the units whose values are not known; empty when there are none."""
    (count,) = connection.execute("SELECT count(*) FROM unknown_values").fetchone()
    if not count:
        return ""
    rows = connection.execute(
        "SELECT mac, idx, name FROM unknown_values JOIN units ON units.id = unit"
        " JOIN batches ON batches.id = batch ORDER BY batch, idx LIMIT ?",
        (_NAMED,),
    )
    some = ", ".join(f"{mac} (index {index} of {name})" for mac, index, name in rows)
    more = f" and {count - _NAMED} more" if count > _NAMED else ""
    return (
        f"Values unknown of {count} units of an older ledger: {some}{more}. A value that is theirs would not "
        "be seen on another chip. Put the boards in again, or: parburn ledger learn."
    )


def doubles_lines(connection: Sql) -> list[str]:
    """Return a sentence for each pair of chips that were seen to have one value."""
    return [
        f"{mac} has the same {name} {value} as {other}."
        for mac, name, value, other in connection.execute(
            "SELECT one.mac, name, value, two.mac FROM seen_doubles JOIN units AS one ON one.id = unit"
            " JOIN units AS two ON two.id = other ORDER BY name, value, one.mac"
        )
    ]
