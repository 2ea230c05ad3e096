"""Which batch a run belongs to, and to which chip each record of the config files belongs.

A batch is one index space. What one index's record says is never given to a second chip, whatever the batch
is called and wherever its files lie: records are known by the digest of what they say. Three refusals follow,
each with an override that somebody must name:

- `SHARED_RECORDS`: these records belong to chips of another batch, or to another index;
- `CHANGED_CONFIG`: a record of a chip of this batch says something else now (added records are fine);
- `OTHER_BATCH`: the chip carries an identity of another batch.

Works within the caller's transaction.
"""

from __future__ import annotations

import sqlite3
from enum import Enum
from typing import NamedTuple

from parburn.errors import BatchRefused
from parburn.ledger.base import BatchSpec
from parburn.ledger.writer import Transaction

WITHOUT_CONFIG = "default"  # the batch of runs without name and config files


class Override(Enum):
    """What the operator takes upon himself. The values are the command line's words."""

    SHARED_RECORDS = "allow-shared-records"
    CHANGED_CONFIG = "allow-changed-config"
    OTHER_BATCH = "allow-other-batch"


class Batch(NamedTuple):
    """The batch of this run."""

    id: int
    name: str
    spec: BatchSpec
    overrides: frozenset[Override] = frozenset()
    shares: frozenset[int] = frozenset()  # batches whose chips may have equal records and values

    def records(self, index: int) -> tuple[str, ...]:
        """Digests of what the config files say for `index`; of more than one, the last stands for all."""
        digests = sorted(set(self.spec.entries(index).split()))
        return (*digests, " ".join(digests)) if len(digests) > 1 else tuple(digests)


def find_batch(transaction: Transaction, spec: BatchSpec, overrides: frozenset[Override]) -> Batch:
    """The run's batch, made when it is new.

    Raises:
        BatchRefused: see the module.
    """
    connection = transaction.connection
    name = spec.name or _name_by_content(connection, spec)
    row = connection.execute("SELECT id FROM batches WHERE name = ?", (name,)).fetchone()
    batch = Batch(row[0] if row else -1, name, spec, overrides)
    known = spec.config_digest == "" or (
        connection.execute(
            "SELECT 1 FROM batch_configs WHERE batch = ? AND digest = ?", (batch.id, spec.config_digest)
        ).fetchone()
        is not None
    )
    if not known:
        _refuse_same_content(connection, batch)
        _refuse_changed(connection, batch)
    if row is None:
        made = connection.execute("INSERT INTO batches (name) VALUES (?)", (name,)).lastrowid
        assert made is not None
        batch = Batch(made, name, spec, overrides)
    if not known:
        connection.execute("INSERT INTO batch_configs VALUES (?, ?)", (batch.id, spec.config_digest))
    if row is None or not known:
        transaction.history.append("batch", name=name, config=spec.config_digest)
    return batch


def _name_by_content(connection: sqlite3.Connection, spec: BatchSpec) -> str:
    if not spec.config_digest:
        return WITHOUT_CONFIG
    names = [
        name
        for (name,) in connection.execute(
            "SELECT name FROM batch_configs JOIN batches ON batches.id = batch WHERE digest = ?"
            " ORDER BY name",
            (spec.config_digest,),
        )
    ]
    if len(names) > 1:
        raise BatchRefused(
            f"These config files were used in more than one batch: {', '.join(names)}.",
            hint="Say which one is meant with --batch NAME.",
        )
    if names:
        return str(names[0])
    return f"config-{spec.config_digest[:12]}"


def _refuse_same_content(connection: sqlite3.Connection, batch: Batch) -> None:
    """The very same files under another batch's name, with records that its chips carry."""
    if Override.SHARED_RECORDS in batch.overrides:
        return
    rows = connection.execute(
        "SELECT DISTINCT batches.name, units.idx, records.digest FROM batch_configs"
        " JOIN batches ON batches.id = batch_configs.batch JOIN units ON units.batch = batches.id"
        " JOIN records ON records.unit = units.id"
        " WHERE batch_configs.digest = ? AND batches.id != ? AND units.idx IS NOT NULL",
        (batch.spec.config_digest, batch.id),
    )
    for other, index, digest in rows:
        if digest in batch.records(index):
            raise BatchRefused(
                f"These config files belong to the batch {other}: its chips carry records of them, "
                f"index {index} for one.",
                hint=f"Go on with --batch {other}. If chips are to share records: --allow-shared-records.",
            )


def _refuse_changed(connection: sqlite3.Connection, batch: Batch) -> None:
    """A record that a chip of this batch carries must still be in the files, for the same index."""
    if Override.CHANGED_CONFIG in batch.overrides:
        return
    rows = connection.execute(
        "SELECT units.idx, records.digest FROM units JOIN records ON records.unit = units.id"
        " WHERE units.batch = ? AND units.idx IS NOT NULL",
        (batch.id,),
    )
    for index, digest in rows:
        if " " not in digest and digest not in batch.records(index):
            raise BatchRefused(
                f"The config files say something else for index {index} than what a chip of the batch "
                f"{batch.name} carries.",
                hint="Added records are fine, changed or missing ones are not: use the batch's own files "
                "(all of them), or another --batch. If the change is meant: --allow-changed-config.",
            )


def refuse_foreign_records(connection: sqlite3.Connection, batch: Batch, index: int) -> BatchRefused | None:
    """Why a new chip may not get `index`: its record, or a part of it, is on a chip of another batch, or the
    whole of it on a chip of this batch. None: it may."""
    records = batch.records(index)
    if not records or Override.SHARED_RECORDS in batch.overrides:
        return None
    for digest in records:
        row = connection.execute(
            "SELECT batches.name, units.idx, units.mac, batches.id FROM records JOIN units ON units.id = unit"
            " JOIN batches ON batches.id = units.batch WHERE digest = ? AND (batches.id != ? OR digest = ?)"
            " LIMIT 1",
            (digest, batch.id, records[-1]),
        ).fetchone()
        if row is not None:
            other, at, mac, other_id = row
            whose = f"index {at}" if other_id == batch.id else f"index {at} of the batch {other}"
            way = "Mend the config files" if other_id == batch.id else f"Go on with --batch {other}"
            return BatchRefused(
                f"The config files say for index {index} what the chip {mac} carries as {whose}.",
                hint=f"{way}. If chips are to share records: --allow-shared-records.",
            )
    return None
