"""Which batch a run belongs to, and to which chip each record of the config files belongs.

A batch is one index space. What one index's record says is never given to a second chip, whatever the batch
is called and wherever its files lie: records are known by the digest of what they say. Refusals follow, each
with an override that somebody must name:

- `SHARED_RECORDS`: these records belong to chips of another batch, or to another index;
- `CHANGED_CONFIG`: a record of a chip of this batch says something else now, or what is shared does (added
  records are fine);
- `OTHER_BATCH`: the chip carries an identity of another batch.

`shares_with` is the narrow way: equal records are taken with the chips of one other batch.

Without a name the batch is found by content: the very same files, or files that hold every record which its
chips carry, at its index. Beside a batch of which only used indexes are known another one must be named. How
records lie in a file is remembered by the batch. Works within the caller's transaction.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from functools import lru_cache
from typing import NamedTuple

from parburn.errors import BatchRefused, RecordsUndeclared, UsageError
from parburn.ledger.base import BatchSpec, ConfigView
from parburn.ledger.sql import Sql
from parburn.ledger.writer import Transaction

WITHOUT_CONFIG = "default"  # the batch of runs without name and config files
USED_BEFORE = "used before this ledger"  # the reason of a unit of which nothing but its index was imported
_LOOKED_AT = 100  # records of another batch, to see whether changed files are its own
_BLANK_IT = "A record that is not to be used is blanked, not deleted: all that follow would move up."


class Override(Enum):
    """What the operator takes upon himself. The values are the command line's words."""

    SHARED_RECORDS = "allow-shared-records"
    CHANGED_CONFIG = "allow-changed-config"
    OTHER_BATCH = "allow-other-batch"


class Batch(NamedTuple):
    """The batch of this run. `shares`: batches whose chips may carry equal records and values."""

    id: int
    name: str
    spec: BatchSpec
    overrides: frozenset[Override] = frozenset()
    shares: frozenset[int] = frozenset()  # batches whose chips may have equal records and values

    @property
    def config(self) -> ConfigView:
        """The run's files, in the forms of this batch."""
        return self.spec.view

    def records(self, index: int) -> tuple[str, ...]:
        """Return digests of what the files say for `index`; of more than one, the last stands for all."""
        return _with_whole(self.config.entries(index))

    def known_as(self, index: int) -> tuple[str, ...]:
        """Return what `records` returns, then the same in the form of older ledgers."""
        return (*self.records(index), *_with_whole(self.config.old_entries(index)))

    def has_record(self, index: int) -> bool:
        """Return whether a chip may get this index: some file holds a record for it, or none holds any."""
        return not self.config.has_records or self.config.entries(index) != ""


@lru_cache(4096)
def _with_whole(entries: str) -> tuple[str, ...]:
    digests = sorted(set(entries.split()))
    return (*digests, " ".join(digests)) if len(digests) > 1 else tuple(digests)


def find_batch(transaction: Transaction, spec: BatchSpec, overrides: frozenset[Override]) -> Batch:
    """Return the run's batch with what it remembers of its files. A new one is made.

    Raises:
        BatchRefused: the files do not fit the batch, or belong to another one; see the module.
        RecordsUndeclared: the scripts use the index, and nobody has said how records lie in a file.
        UsageError: a file cannot be read in the form that the batch remembers.
    """
    connection = transaction.connection
    shares = _named_to_share(connection, spec)
    if spec.name:
        name, view, holds = *_named(connection, spec, shares), False
    else:
        name, view, holds = _by_content(connection, spec)
    if spec.uses_index and view.undeclared:
        raise _undeclared(connection, view)
    row = connection.execute("SELECT id FROM batches WHERE name = ?", (name,)).fetchone()
    batch = Batch(row[0] if row else -1, name, spec._replace(config=view), overrides)
    batch = batch._replace(shares=shares | _remembered_shares(connection, batch.id))
    if not spec.name:
        _refuse_beside_used(connection, batch)
    known = _is_known(connection, batch)
    _refuse_unlearned(connection, batch)
    if not known:
        _refuse_same_content(connection, batch)
        if Override.CHANGED_CONFIG not in overrides:
            if not holds:
                _refuse_changed(connection, batch)
            _refuse_changed_shared(connection, batch)
    if row is None:
        (made,) = connection.execute("INSERT INTO batches (name) VALUES (?) RETURNING id", (name,)).fetchone()
        batch = batch._replace(id=made)
    new_shares = shares - _remembered_shares(connection, batch.id)
    if row is None or not known or new_shares:
        _remember(transaction, batch, new_shares)
    return batch


# Which one ------------------------------------------------------------------------------------------


def _named(connection: Sql, spec: BatchSpec, shares: Iterable[int]) -> tuple[str, ConfigView]:
    """Return a batch that was named, and its files in the forms that it or those it shares with remember."""
    assert spec.name is not None
    forms: dict[str, str] = {}
    for other in shares:
        forms.update(_forms(connection, other))
    row = connection.execute("SELECT id FROM batches WHERE name = ?", (spec.name,)).fetchone()
    if row is not None:
        forms.update(_forms(connection, row[0]))
    return spec.name, spec.view.read_as(forms)


def _by_content(connection: Sql, spec: BatchSpec) -> tuple[str, ConfigView, bool]:
    """Return the batch, the files as it reads them, and whether they hold all that its chips carry."""
    view, holds = spec.view, False
    if not view.digest:
        return WITHOUT_CONFIG, view, holds
    found = connection.execute(
        "SELECT DISTINCT batches.id, name FROM batch_configs JOIN batches ON batches.id = batch"
        " WHERE digest IN (?, ?) ORDER BY name",
        (view.digest, view.old_digest),
    ).fetchall()
    if not found:
        found = list(_holding(connection, view))
        holds = bool(found)
    found = found or _with_these_shared(connection, spec)
    # A name that was mistyped once, and under which nothing was burned, is no batch that could be meant.
    carrying = [row for row in found if next(_carried(connection, row[0]), None) is not None]
    if len(carrying) == 1:
        found = carrying
    if len(found) > 1:
        raise BatchRefused(
            f"These config files were used in more than one batch: {', '.join(row[1] for row in found)}.",
            hint="Say which one is meant with --batch NAME.",
        )
    if found:
        return found[0][1], view.read_as(_forms(connection, found[0][0])), holds
    _refuse_near(connection, view)
    return f"config-{view.digest[:12]}", view, holds


def _candidates(connection: Sql, view: ConfigView) -> Iterator[tuple[tuple[int, str], ConfigView]]:
    """Yield each batch with the files read as it remembers them; skip those that cannot be."""
    for number, name in connection.execute("SELECT id, name FROM batches ORDER BY name").fetchall():
        try:
            read = view.read_as(_forms(connection, number))
            if read.has_records:
                yield (number, name), read
        except UsageError:  # these are no files of that batch
            continue


def _holding(connection: Sql, view: ConfigView) -> Iterator[tuple[int, str]]:
    """Yield the batches of which these files hold every record that a chip carries, at its index."""
    for row, read in _candidates(connection, view):
        if next(_carried(connection, row[0]), None) and not read.first_missing(_carried(connection, row[0])):
            yield row


def _with_these_shared(connection: Sql, spec: BatchSpec) -> list[tuple[int, str]]:
    """Return batches whose files hold no records and say the same: such files have no other mark."""
    view = spec.view
    if view.has_records:
        return []
    files: dict[tuple[int, str], dict[str, tuple[str, str]]] = {}
    for number, batch, name, form, shared in connection.execute(
        "SELECT batches.id, batches.name, batch_files.name, form, shared FROM batch_files"
        " JOIN batches ON batches.id = batch ORDER BY batches.name"
    ):
        files.setdefault((number, batch), {})[name] = form, shared
    free = {row: known for row, known in files.items() if next(_carried(connection, row[0]), None) is None}
    wanted = sorted(view.shared.values())
    same = [
        row for row, known in free.items() if sorted(shared for _form, shared in known.values()) == wanted
    ]
    for (_number, name), known in free.items():
        if not same and spec.uses_index and sorted(known) == sorted(view.names):
            raise _changed_shared(name, ", ".join(view.names))
    return same


def _refuse_near(connection: Sql, view: ConfigView) -> None:
    """Refuse files that hold some records of a batch and not all: they are its own, changed or cut."""
    for (number, name), read in _candidates(connection, view):
        carried = _carried(connection, number)
        for (index, digest), _ in zip(carried, range(_LOOKED_AT), strict=False):
            places = range(max(1, index - 1), index + 2)
            if any(digest in read.entries(place).split() for place in places) or (
                digest in read.old_entries(index).split()
            ):
                raise _changed(connection, read, number, name)


def _undeclared(connection: Sql, view: ConfigView) -> RecordsUndeclared:
    """Return the refusal of files whose form nobody has said; it names a batch with files of these names."""
    error = view.undeclared_error()
    for name in view.undeclared:
        for batch, form in connection.execute(
            "SELECT batches.name, form FROM batch_files JOIN batches ON batches.id = batch"
            " WHERE batch_files.name = ? AND form != '' ORDER BY batches.name LIMIT 1",
            (name,),
        ):
            error.hint += (
                f" The batch {batch} has a {name}, read as {form}, of which this is no continuation: if it "
                f"is meant to be, --batch {shlex.quote(batch)} tells what differs."
            )
    return error


# Whether its files are what they were -----------------------------------------------------------------


def _is_known(connection: Sql, batch: Batch) -> bool:
    """Return whether these very files were accepted before, in these forms."""
    view = batch.config
    if not view.digest:
        return True
    row = connection.execute(
        "SELECT 1 FROM batch_configs WHERE batch = ? AND digest IN (?, ?)",
        (batch.id, view.digest, view.old_digest),
    ).fetchone()
    if row is None or not batch.spec.uses_index:
        return row is not None
    return _forms(connection, batch.id).items() >= dict(view.forms).items()


def _refuse_unlearned(connection: Sql, batch: Batch) -> None:
    """Raise BatchRefused for files that were never used, where a batch of an older ledger kept no records.

    They may be its own with a line more, and each of its records would be given out again.
    """
    view = batch.config
    if not batch.spec.uses_index or not view.digest or Override.SHARED_RECORDS in batch.overrides:
        return
    row = connection.execute(
        "SELECT 1 FROM batch_configs WHERE batch = ? AND digest IN (?, ?)",
        (batch.id, view.digest, view.old_digest),
    ).fetchone()
    own = _unlearned(connection, batch.id)
    if row or (not own and next(_carried(connection, batch.id), None)):
        return  # these very files; or a batch whose chips' records are known, and looked for in them
    name = own or _unlearned(connection)
    if name:
        quoted = shlex.quote(name)
        raise BatchRefused(
            f"The ledger was begun by an older parburn, which kept no records of the batch {name}: whether "
            "these files are its own, changed, cannot be known.",
            hint=f"Nothing was burned. Learn them once: parburn ledger learn --batch {quoted} --scripts .. "
            "--configfiles .. --records .. --why REASON. If these files have nothing to do with it: "
            "--allow-shared-records.",
        )


def _unlearned(connection: Sql, batch: int | None = None) -> str:
    """Return a batch (this one, or any) that has files, and chips of unknown records; else an empty text."""
    row = connection.execute(
        "SELECT batches.name FROM unlearned_records JOIN units ON units.id = unit"
        " JOIN batches ON batches.id = units.batch"
        " WHERE CAST(?1 AS BIGINT) IS NULL OR batches.id = ?1 LIMIT 1",
        (batch,),
    ).fetchone()
    return "" if row is None else str(row[0])


def _refuse_beside_used(connection: Sql, batch: Batch) -> None:
    """Raise BatchRefused for a batch that nobody named, without chips, beside one of imported indexes only.

    No file tells whether it is that batch, and each of its records would be given out again.
    """
    if not batch.spec.uses_index or Override.SHARED_RECORDS in batch.overrides:
        return
    if _any_unit(connection, "batch = ? AND spent = 1", batch.id):
        return
    for number, name in connection.execute("SELECT id, name FROM batches ORDER BY name").fetchall():
        imported = _any_unit(connection, "batch = ? AND spent = 1 AND reason = ?", number, USED_BEFORE)
        if imported and next(_carried(connection, number), None) is None:
            raise BatchRefused(
                f"Of the batch {name} it is known which indexes are used, and not what their records say: "
                "whether this run is of that batch cannot be known.",
                hint=f"Nothing was burned. If it is: --batch {shlex.quote(name)}. If it has nothing to do "
                "with it: --batch and another name.",
            )


def _any_unit(connection: Sql, condition: str, *values: object) -> bool:
    return connection.execute(f"SELECT 1 FROM units WHERE {condition} LIMIT 1", values).fetchone() is not None


def _refuse_same_content(connection: Sql, batch: Batch) -> None:
    """Refuse the very same files under another batch's name, where its chips carry their records."""
    if Override.SHARED_RECORDS in batch.overrides:
        return
    rows = connection.execute(
        "SELECT DISTINCT batches.name, units.idx, records.digest, batches.id FROM batch_configs"
        " JOIN batches ON batches.id = batch_configs.batch JOIN units ON units.batch = batches.id"
        " JOIN records ON records.unit = units.id"
        " WHERE batch_configs.digest IN (?, ?) AND batches.id != ? AND units.idx IS NOT NULL",
        (batch.config.digest, batch.config.old_digest, batch.id),
    )
    for other, index, digest, number in rows:
        if number not in batch.shares and digest in batch.known_as(index):
            raise BatchRefused(
                f"These config files belong to the batch {other}: its chips carry records of them, "
                f"index {index} for one.",
                hint=f"Go on with --batch {other}. If chips are to carry equal records: "
                f"--batch {shlex.quote(batch.name)} --shares-with {shlex.quote(other)}, or "
                "--allow-shared-records.",
            )


def _refuse_changed(connection: Sql, batch: Batch) -> None:
    """Refuse files that lack a record which a chip of this batch carries, at its index."""
    if not (batch.config.has_records or batch.spec.uses_index or not batch.config.names):
        return  # no script looks at the index
    if batch.config.first_missing(_carried(connection, batch.id)) is not None:
        raise _changed(connection, batch.config, batch.id, batch.name)


def _changed(connection: Sql, view: ConfigView, number: int, name: str) -> BatchRefused:
    missing = view.first_missing(_carried(connection, number))
    assert missing is not None
    index, _digest = missing
    lacking = [one for one in _names(connection, number) if one not in view.names]
    own = f"all of its files, in any order: {command_of(connection, number, name, view)}"
    meant = f"or begin another --batch. If this is meant: --batch {shlex.quote(name)} --allow-changed-config."
    if lacking:
        return BatchRefused(
            f"{', '.join(lacking)} belongs to the batch {name} and is not among the config files: what its "
            f"chips carry is not in them, index {index} for one.",
            hint=f"Go on with {own}; {meant}",
        )
    read = [
        f"{one} is read as {form} by the batch {name}, and as {view.forms[one]} by this run"
        for one, form in _forms(connection, number).items()
        if view.forms.get(one, "") not in ("", form)
    ]
    if read:
        return BatchRefused(
            f"{'; '.join(read)}: what its chips carry is not found there, index {index} for one.",
            hint=f"Leave --records away: the batch remembers how its files lie; {meant}",
        )
    moved = _moved(connection, view, number, index)
    where = f" What index {moved[0]} had is under index {moved[1]} now." if moved else ""
    return BatchRefused(
        f"The config files say something else for index {index} than what a chip of the batch "
        f"{name} carries.{where}",
        hint="Put the record back as it was. Added records are fine, changed or missing ones are not. "
        f"{_BLANK_IT} If these files are not those of the batch: go on with {own}; {meant}",
    )


def _moved(connection: Sql, view: ConfigView, number: int, start: int) -> tuple[int, int] | None:
    """Return an index, from the first that differs on, whose record moved by one row: a row is gone."""
    behind = (row for row in _carried(connection, number) if row[0] >= start)
    for (index, digest), _ in zip(behind, range(_LOOKED_AT), strict=False):
        if digest in view.entries(index).split():
            return None
        for at in (index - 1, index + 1):
            if at > 0 and digest in view.entries(at).split():
                return index, at
    return None


def _refuse_changed_shared(connection: Sql, batch: Batch) -> None:
    """Refuse files that say something else for all indexes than they said before."""
    view = batch.config
    for name, form, shared in connection.execute(
        "SELECT name, form, shared FROM batch_files WHERE batch = ?", (batch.id,)
    ):
        if name in view.shared and form == _form(batch, name) and shared != view.shared[name]:
            raise _changed_shared(batch.name, name)


def _changed_shared(batch: str, names: str) -> BatchRefused:
    return BatchRefused(
        f"{names} says something else for all boards than when the batch {batch} was begun.",
        hint="Use the file as it was, or begin another --batch. If the change is meant: "
        f"--batch {shlex.quote(batch)} --allow-changed-config.",
    )


def command_of(connection: Sql, number: int, name: str, view: ConfigView) -> str:
    """Return the options that name a batch and all of its files, and those of this run with them."""
    files = dict.fromkeys([*_names(connection, number), *view.names])
    return shlex.join(["--batch", name, *(["--configfiles", *files] if files else ())])


def refuse_foreign_records(
    connection: Sql, batch: Batch, index: int, *, unit: int = -1
) -> BatchRefused | None:
    """Return why no chip (but `unit`) may have what the files say for `index`; None where it may.

    A record of any file is on a chip of another batch, or was at another index of this one; or all files
    together say what a chip of this batch carries. Part of a record may be equal within a batch, if the files
    say so.
    """
    if Override.SHARED_RECORDS in batch.overrides or not batch.records(index):
        return None
    if not _is_carried(connection, batch.known_as(index), unit):
        return None
    whole = {_with_whole(batch.config.entries(index))[-1:], _with_whole(batch.config.old_entries(index))[-1:]}
    for digest in batch.known_as(index):
        for other, at, mac, number in _others(connection, batch, digest, unit):
            own = number == batch.id
            if own and (digest,) not in whole and at is not None and digest in batch.known_as(at):
                continue
            whose = f"index {at}" if own else f"index {at} of the batch {other}"
            if own:
                way, shared = "Mend the config files", "--allow-shared-records"
            else:
                way = f"Go on with {command_of(connection, number, other, batch.config)}"
                shared = f"--batch NAME --shares-with {shlex.quote(other)}, or --allow-shared-records"
            return BatchRefused(
                f"The config files say for index {index} what the chip {mac} carries as {whose}.",
                hint=f"{way}. {_BLANK_IT} If chips are to share records: {shared}. A file that is not of "
                "records but the same for all boards: --records FILE=none.",
            )
    return None


def _is_carried(connection: Sql, digests: tuple[str, ...], unit: int) -> bool:
    """Return whether any unit but this one has one of these records: nearly always none has."""
    row = connection.execute(_carriers(len(digests)), (unit, *digests)).fetchone()
    return row is not None


@lru_cache(64)
def _carriers(digests: int) -> str:
    """Return SQL with one search a digest: for a list SQLite makes a table, which takes longer."""
    searches = (f"SELECT 1 FROM records WHERE digest = ?{n + 2} AND unit != ?1" for n in range(digests))
    return " UNION ALL ".join(searches) + " LIMIT 1"


def _others(
    connection: Sql, batch: Batch, digest: str, unit: int
) -> Iterator[tuple[str, int | None, str, int]]:
    """Yield units with this record: one of a batch that does not share, some of this one."""
    sharing = ",".join(map(str, sorted(batch.shares | {batch.id})))
    for condition, most in ((f"units.batch NOT IN ({sharing})", 1), (f"units.batch = {batch.id}", 20)):
        yield from connection.execute(
            "SELECT batches.name, units.idx, units.mac, batches.id FROM records JOIN units ON units.id = unit"
            f" JOIN batches ON batches.id = units.batch WHERE digest = ? AND units.id != ? AND {condition}"
            f" LIMIT {most}",
            (digest, unit),
        ).fetchall()


# What a batch remembers -------------------------------------------------------------------------------


def _carried(connection: Sql, batch: int) -> Iterator[tuple[int, str]]:
    """Return the records that a batch's chips carry, in order of their index."""
    return connection.execute(
        "SELECT units.idx, records.digest FROM units JOIN records ON records.unit = units.id"
        " WHERE units.batch = ? AND units.idx IS NOT NULL ORDER BY units.idx",
        (batch,),
    )


def _forms(connection: Sql, batch: int) -> Mapping[str, str]:
    """Return how the records of a batch's files lie, by their names."""
    return dict(
        connection.execute("SELECT name, form FROM batch_files WHERE batch = ? AND form != ''", (batch,))
    )


def _names(connection: Sql, batch: int) -> list[str]:
    """Return the names of a batch's files."""
    return [
        name
        for (name,) in connection.execute(
            "SELECT name FROM batch_files WHERE batch = ? ORDER BY name", (batch,)
        )
    ]


def _form(batch: Batch, name: str) -> str:
    """Return the form to remember: a run whose scripts use no index says nothing of it."""
    return batch.config.forms[name] if batch.spec.uses_index else ""


def _named_to_share(connection: Sql, spec: BatchSpec) -> frozenset[int]:
    if spec.shares_with is None:
        return frozenset()
    row = connection.execute("SELECT id FROM batches WHERE name = ?", (spec.shares_with,)).fetchone()
    if row is None:
        known = ", ".join(name for (name,) in connection.execute("SELECT name FROM batches ORDER BY name"))
        raise BatchRefused(
            f"--shares-with {spec.shares_with}: the ledger knows no such batch.",
            hint=f"Batches are {known}." if known else "It knows none yet.",
        )
    return frozenset(row)


def _remembered_shares(connection: Sql, batch: int) -> frozenset[int]:
    """Return batches declared by either of the two: their chips may be equal, whichever is burned next."""
    rows = connection.execute(
        "SELECT other FROM batch_shares WHERE batch = ?1"
        " UNION SELECT batch FROM batch_shares WHERE other = ?1",
        (batch,),
    )
    return frozenset(number for (number,) in rows)


def _remember(transaction: Transaction, batch: Batch, shares: Iterable[int]) -> None:
    """Write down the files' content, forms and shared data, and what the batch shares with others."""
    connection, view = transaction.connection, batch.config
    if view.digest and not _unlearned(connection, batch.id):  # else they are not known to be its own
        connection.execute(
            "INSERT INTO batch_configs VALUES (?, ?) ON CONFLICT DO NOTHING", (batch.id, view.digest)
        )
    rows = [(batch.id, name, _form(batch, name), view.shared[name]) for name in view.names]
    kept = "UPDATE SET form = excluded.form, shared = excluded.shared" if batch.spec.uses_index else "NOTHING"
    connection.executemany(
        f"INSERT INTO batch_files VALUES (?, ?, ?, ?) ON CONFLICT (batch, name) DO {kept}", rows
    )
    connection.executemany(
        "INSERT INTO batch_shares VALUES (?, ?) ON CONFLICT DO NOTHING",
        [(batch.id, other) for other in shares],
    )
    transaction.history.append(
        "batch",
        name=batch.name,
        config=view.digest,
        files=[list(row[1:]) for row in rows],
        shares_with=batch.spec.shares_with or "",
    )
