"""What `parburn ledger init`, `adopt`, `release`, `scrap` and `import-used` do, each with a reason.

None of them frees an index, or takes anything from the history.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from parburn.errors import LedgerUnusable, UnitRefused, UsageError
from parburn.ledger import schema
from parburn.ledger.backup_mark import read_mark, remove_mark
from parburn.ledger.base import State, check_transition
from parburn.ledger.batches import USED_BEFORE, WITHOUT_CONFIG
from parburn.ledger.changing import changing
from parburn.ledger.differences import find_differences, find_strays
from parburn.ledger.file_location import check_place, leftovers, place_of
from parburn.ledger.foreign_ledger import read_import, read_other
from parburn.ledger.history import find_breaks
from parburn.ledger.rebuilding import refuse_to_trust, trust_hidden
from parburn.ledger.sql import Sql
from parburn.ledger.takeover import take_over
from parburn.ledger.witness import read_witness
from parburn.ledger.writer import Transaction
from parburn.ledger_place import Place, PoolAddress

MOST_USED = 1_000_000  # indexes of one import: each is a row; a million takes about half a minute
_MAC = re.compile(r"(?:[0-9a-f]{2}:){5,7}[0-9a-f]{2}")


def init(path: Place | None, why: str) -> str:
    """Begin a new ledger where none is, also where one was lost.

    Args:
        path: Where it will be; None for the user's own place.
        why: The reason; it stays in the history.

    Returns:
        What was done, for the operator; so do all functions here.

    Raises:
        UsageError: no reason is given.
        LedgerUnusable: there is one, or the place is not safe.
    """
    if isinstance(path, PoolAddress) and why.strip():
        from parburn.ledger.pool.commands import init_pool  # here: psycopg is an extra

        return init_pool(path, why)
    place = _file_place(path, why)
    check_place(place)
    if place.exists():
        raise LedgerUnusable(
            f"There is a ledger at {place}.",
            hint="It is never overwritten. Move it away, or choose another place.",
        )
    try:
        lost = read_witness(place)
        replaces = f"{lost.uuid}, {lost.sequence} entries" if lost else ""
    except LedgerUnusable:
        replaces = "a ledger whose witness is damaged"
    lost_files = leftovers(place)
    if lost_files and not replaces:
        replaces = f"a ledger of which {lost_files[0].name} was left"
    for stale in lost_files:
        stale.rename(stale.with_name(stale.name + ".lost"))
    if not schema.make(place, why=why, replaces=replaces):
        raise LedgerUnusable(f"Another parburn has just made a ledger at {place}.", hint="Use that one.")
    with changing(place, trusted=False):  # writes the witness
        pass
    after = (
        " It knows nothing of the indexes that the lost one gave out: see ledger import-used."
        if replaces
        else ""
    )
    return f"A new ledger was made: {place}.{after}\n"


def adopt(path: Place | None, why: str, *, first_free: int | None = None) -> str:
    """Accept a ledger that its witness does not know: older, foreign, a backup, or without a witness.

    Args:
        path: The ledger; None for the user's own.
        why: The reason; it stays in the history.
        first_free: Of a pool: the lowest index that was surely given to no chip.

    Raises:
        UsageError: no reason is given, or for a pool no index.
        LedgerUnusable: none is there, or its own history is broken.
    """
    if isinstance(path, PoolAddress) and why.strip():
        from parburn.ledger.pool.commands import adopt_pool  # here: psycopg is an extra

        return adopt_pool(path, why, first_free=first_free)
    place = _file_place(path, why)
    with changing(place, trusted=False) as transaction:
        connection = transaction.connection
        for found in chain(find_breaks(connection), find_differences(connection), find_strays(connection)):
            raise LedgerUnusable(
                f"The ledger {place} cannot be adopted: {found.what}", hint="Put a good copy back."
            )
        try:
            before = read_witness(place)
            witness = f"{before.uuid}, {before.sequence} entries" if before else "none"
        except LedgerUnusable:
            witness = "damaged"
        mark = read_mark(connection)
        backup = f"{mark.uuid}, {mark.sequence} entries, {mark.at}" if mark else ""
        renamed: dict[str, Any] = {}
        if (
            mark is not None
        ):  # the ledger that it was made of may be at work elsewhere: this is another one now
            renamed = {"uuid": secrets.token_hex(16)}
            connection.execute("UPDATE meta SET value = ? WHERE name = 'uuid'", (renamed["uuid"],))
        remove_mark(connection)
        transaction.history.append("adopted", why=why, witness=witness, backup=backup, **renamed)
    anew = " Stations that were armed with it must be armed anew." if mark is not None else ""
    return (
        f"The ledger {place} was adopted; its witness was: {witness}. Indexes that were given out after this "
        f"copy was made are not known to it: see ledger import-used.{anew}\n"
    )


class _Known(NamedTuple):
    unit: int
    mac: str
    batch: str
    index: int | None  # type: ignore[assignment]  # not tuple.index
    state: State
    scrapped: bool

    @property
    def place(self) -> str:
        return (
            f"index {self.index} of {self.batch}" if self.index is not None else f"no index of {self.batch}"
        )


def release(
    path: Place | None,
    macs: Sequence[str],
    why: str,
    *,
    all_of: str | None = None,
    trust_hidden_keys: bool = False,
) -> str:
    """Let units that are quarantined or written off be tried again with their own indexes.

    One wrong MAC, and nothing is done.

    Args:
        path: The ledger's file; None for the user's own.
        macs: Factory MACs of the chips, as aa:bb:cc:dd:ee:ff.
        why: The reason; it stays in the history.
        all_of: A batch of which every quarantined unit is meant, instead of `macs`.
        trust_hidden_keys: Somebody vouches for the keys of a unit that `rebuild` could not read; the next run
            then looks at all else, and passes it.

    Raises:
        UsageError: no unit has one of the MACs, no reason is given, or a unit has no hidden key to trust.
        UnitRefused: a unit needs no release, or is held by a run.
        LedgerUnusable: there is no ledger, or its witness does not know it.
    """
    place = _place(path, why)
    with changing(place) as transaction:
        if all_of is not None:
            everyone = _known(transaction, None)
            found = [one for one in everyone if one.batch == all_of and _is_quarantined(one)]
            if not found:
                raise UnitRefused(f"No chip of the batch {all_of} is quarantined.")
        else:
            found = _named(transaction, macs)
            out = {one.mac for one in found if _is_out(one)}
            wrong = [one for one in found if one.mac not in out]
            if wrong:
                raise UnitRefused(
                    " ".join(
                        f"The chip {one.mac} is {one.state.value}, not quarantined: "
                        "it can be tried again as it is."
                        for one in wrong
                    ),
                    hint="Nothing was released. Leave it out of the list.",
                )
            found = [one for one in found if _is_out(one)]
        _refuse_held(transaction, found)
        for unit, mac, _batch, index, state, _scrapped in found:
            if trust_hidden_keys:
                if index is None or not trust_hidden(transaction, unit, index, why):
                    raise refuse_to_trust(mac)
                continue
            after = State.INCOMPLETE if state is State.QUARANTINED else state
            if after is not state:
                check_transition(state, after)
            transaction.connection.execute(
                "UPDATE units SET state = ?, reason = ?, changed = ?, scrapped = '' WHERE id = ?",
                (after.value, f"released: {why}", transaction.at, unit),
            )
            transaction.history.append("released", unit=unit, state=after, index=index, why=why)
    return "".join(
        f"The chip {one.mac} may be tried again with its own identity: {one.place}.\n" for one in found
    )


def scrap(path: Place | None, macs: Sequence[str], why: str) -> str:
    """Write chips off: they are refused from now on; their indexes, records and values stay spent.

    Raises:
        UsageError: no unit has one of the MACs, or no reason is given.
        UnitRefused: one is held by a run.
        LedgerUnusable: there is no ledger, or its witness does not know it.
    """
    place = _place(path, why)
    with changing(place) as transaction:
        found = _named(transaction, macs)
        _refuse_held(transaction, found)
        for one in found:
            transaction.connection.execute(
                "UPDATE units SET scrapped = ?, changed = ? WHERE id = ?", (why, transaction.at, one.unit)
            )
            transaction.history.append("scrapped", unit=one.unit, state=one.state, index=one.index, why=why)
    return "".join(
        f"The chip {one.mac} is written off: {one.place}, with its record and values, stays spent.\n"
        for one in found
    )


def _is_out(one: _Known) -> bool:
    return one.state is State.QUARANTINED or one.scrapped


def _is_quarantined(one: _Known) -> bool:
    return one.state is State.QUARANTINED and not one.scrapped  # dead ones are released by name only


def _known(transaction: Transaction, mac: str | None) -> list[_Known]:
    rows = transaction.connection.execute(
        "SELECT units.id, mac, name, idx, state, scrapped != '' FROM units"
        " JOIN batches ON batches.id = batch"
        " WHERE mac = ?1 OR CAST(?1 AS TEXT) IS NULL ORDER BY name, idx",
        (mac,),
    )
    return [
        _Known(unit, of, batch, index, State(state), bool(scrapped))
        for unit, of, batch, index, state, scrapped in rows
    ]


def _named(transaction: Transaction, macs: Sequence[str]) -> list[_Known]:
    """Return the units of these MACs, or raise UsageError that names every one that is unknown."""
    found: list[_Known] = []
    unknown = []
    for mac in dict.fromkeys(one.lower().replace("-", ":") for one in macs):
        of_it = _known(transaction, mac)
        found += of_it
        if not of_it:
            unknown.append(mac)
    if unknown or not found:
        raise UsageError(
            f"The ledger knows no chip {', '.join(unknown)}." if unknown else "No chip is named.",
            hint="Nothing was changed. See parburn ledger show.",
        )
    return found


def _refuse_held(transaction: Transaction, found: Sequence[_Known]) -> None:
    for one in found:
        (run,) = transaction.connection.execute("SELECT run FROM units WHERE id = ?", (one.unit,)).fetchone()
        if run is not None:
            raise UnitRefused(f"The chip {one.mac} is held by a run.", hint="Wait until that has ended.")


class _Used(NamedTuple):
    line: int
    first: int
    last: int
    chip: str = ""
    mac: str = ""


def import_used(path: Place | None, file: Path, why: str, *, batch: str | None = None) -> str:
    """Mark indexes as used that were given out before this ledger.

    Another ledger's file or export comes with its chips, records and values, under its own batches unless
    `batch` names another. Any other file has a line for each: `N`, `A-B`, or `N,CHIP,MAC` (that chip then
    keeps the index), with `#` comments; its batch must be named.

    Raises:
        UsageError: no batch or no reason is given, a line cannot be understood, or it has too many indexes.
        UnitRefused: an index is another chip's already; nothing was imported.
        LedgerUnusable: there is no ledger, or one of the two is damaged.
    """
    place = _place(path, why)
    other = read_other(file)
    if other is not None:
        with changing(place) as transaction:
            return take_over(transaction, other, file, why, batch=batch)
    used = _read_used(file)
    with changing(place) as transaction:
        connection = transaction.connection
        name = batch or _ask_for_batch(connection, file)
        connection.execute("INSERT INTO batches (name) VALUES (?) ON CONFLICT DO NOTHING", (name,))
        (number,) = connection.execute("SELECT id FROM batches WHERE name = ?", (name,)).fetchone()
        count = 0
        for entry in used:
            for index in range(entry.first, entry.last + 1):
                count += _mark_used(transaction, number, name, index, entry, file)
        transaction.history.append("imported", why=why, batch=name, indexes=count)
    return f"{count} indexes of the batch {name} are marked as used.\n"


def _ask_for_batch(connection: Sql, file: Path) -> NoReturn:
    names = ", ".join(name for (name,) in connection.execute("SELECT name FROM batches ORDER BY name"))
    known = f" This ledger has {names}." if names else ""
    raise UsageError(
        f"Of which batch are the indexes of {file}? It does not say.",
        hint=f"Give --batch NAME, and burn with the same --batch.{known} Runs without config files and "
        f"without --batch are of the batch {WITHOUT_CONFIG}.",
    )


def _mark_used(
    transaction: Transaction, batch: int, batch_name: str, index: int, entry: _Used, file: Path
) -> int:
    connection = transaction.connection
    unique_id = "" if entry.mac else f"imported-{index}"
    taken = connection.execute(
        "SELECT chip, mac, spent FROM units WHERE batch = ? AND idx = ?", (batch, index)
    ).fetchone()
    if taken is not None:
        if taken[2] and (not entry.mac or taken[:2] == (entry.chip, entry.mac)):
            return 0  # known as used
        raise UnitRefused(
            f"{file}:{entry.line}: index {index} is held by the chip {taken[1] or 'of an import'}."
        )
    known = (
        connection.execute(  # those without a MAC are told apart by their index
            "SELECT idx FROM units WHERE mac = ? AND chip = ? AND batch = ?", (entry.mac, entry.chip, batch)
        ).fetchone()
        if entry.mac
        else None
    )
    if known is not None:
        raise UnitRefused(
            f"{file}:{entry.line}: the chip {entry.mac} is in the ledger already (index {known[0]})."
        )
    (unit,) = connection.execute(
        "INSERT INTO units (batch, chip, mac, unique_id, idx, state, spent, reason, changed)"
        " VALUES (?, ?, ?, ?, ?, ?, 1, ?, ?) RETURNING id",
        (batch, entry.chip, entry.mac, unique_id, index, State.PASS.value, USED_BEFORE, transaction.at),
    ).fetchone()
    transaction.history.append(
        "imported",
        unit=unit,
        state=State.PASS,
        index=index,
        batch=batch_name,
        chip=entry.chip,
        mac=entry.mac,
        unique_id=unique_id,
    )
    return 1


def _read_used(file: Path) -> list[_Used]:
    try:
        text = read_import(file).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{file} is no UTF-8 text (byte {error.start}).", hint="Nothing was imported. Save it as UTF-8."
        ) from error
    used = []
    for line, row in enumerate(text.splitlines(), 1):
        cells = [re.sub(r'\A"(.*)"\Z', r"\1", cell.strip()).strip() for cell in row.split(",")]
        if not any(cells) or cells[0].startswith("#"):
            continue
        first, dash, last = cells[0].partition("-")
        numbers = [first, last] if dash else [first, first]
        if not all(re.fullmatch(r"[0-9]{1,9}", number) for number in numbers) or len(cells) not in (1, 3):
            raise UsageError(f"{file}:{line}: expected N, A-B, or N,CHIP,MAC.")
        chip, mac = (cells[1].lower().replace("-", ""), cells[2].lower()) if len(cells) == 3 else ("", "")
        if int(numbers[1]) < int(numbers[0]) or (mac and (dash or not _MAC.fullmatch(mac))):
            raise UsageError(
                f"{file}:{line}: expected N, A-B, or N,CHIP,MAC with the MAC as aa:bb:cc:dd:ee:ff."
            )
        used.append(_Used(line, int(numbers[0]), int(numbers[1]), chip, mac))
    _refuse_too_many(file, used)
    return used


def _refuse_too_many(file: Path, used: Sequence[_Used]) -> None:
    """Refuse a slip of the finger: it would fill the disk, and no later run could take it back."""
    count = 0
    for entry in used:
        count += entry.last - entry.first + 1
        if count > MOST_USED:
            raise UsageError(
                f"{file}:{entry.line}: that makes {count} indexes; at most {MOST_USED} are taken at once.",
                hint="Nothing was imported. Are the numbers right? What is marked as used never comes back. "
                f"If they are, import them in parts: in several files of {MOST_USED} each.",
            )


def _place(path: Place | None, why: str) -> Place:
    if isinstance(path, PoolAddress) and why.strip():
        return path
    return _file_place(path, why)


def _file_place(path: Place | None, why: str) -> Path:
    if not why.strip():
        raise UsageError("A reason is needed.", hint="--why REASON; it stays in the history.")
    return place_of(path)
