"""What a ledger's batches remember of what was declared, as one ledger hands it to another.

These are the content and the forms of config files (`--records`), how values are taken (`--same`,
`--unique`), batches that share (`--shares-with`) and the digests of the scripts. An export carries them as
`declarations`; exports of older versions tell all but the scripts in their history. A file's shared content
is no declaration: where both ledgers know a file, this one keeps what was last accepted here. Works within
the caller's transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from parburn.ledger.sql import Sql
from parburn.ledger.writer import Transaction


@dataclass(slots=True)
class Declarations:
    """What one batch remembers. `files`: name -> form, digest of what it says for all indexes."""

    batch: str
    configs: list[str] = field(default_factory=list)
    files: dict[str, tuple[str, str]] = field(default_factory=dict)
    values: dict[str, str] = field(default_factory=dict)  # what -> same or unique
    shares_with: list[str] = field(default_factory=list)
    scripts: list[str] = field(default_factory=list)

    def words(self) -> str:
        """Return the options of the command line that would say the same; empty where there are none."""
        records = [f"--records {name}={form}" for name, (form, _) in sorted(self.files.items()) if form]
        values = [f"--{kind} {what}" for kind, what in sorted((k, w) for w, k in self.values.items())]
        return " ".join([*records, *values, *(f"--shares-with {other}" for other in self.shares_with)])


def read_declarations(connection: Sql) -> list[Declarations]:
    """Return the declarations of all batches that remember anything."""
    found: dict[str, Declarations] = {}
    for name, digest in _of_batches(connection, "batch_configs", "digest"):
        _in(found, name).configs.append(digest)
    for batch, name, form, shared in _of_batches(connection, "batch_files", "batch_files.name, form, shared"):
        _in(found, batch).files[name] = form, shared
    for name, what, kind in _of_batches(connection, "declared", "what, kind"):
        _in(found, name).values[what] = kind
    for name, other in _of_batches(
        connection, "batch_shares", "(SELECT others.name FROM batches AS others WHERE others.id = other)"
    ):
        _in(found, name).shares_with.append(other)
    for name, digest in _of_batches(connection, "batch_scripts", "digest"):
        _in(found, name).scripts.append(digest)
    return list(found.values())


def _of_batches(connection: Sql, table: str, columns: str) -> Iterator[tuple[str, ...]]:
    yield from connection.execute(
        f"SELECT batches.name, {columns} FROM {table} JOIN batches ON batches.id = batch ORDER BY 1, 2"
    )


def _in(found: dict[str, Declarations], batch: str) -> Declarations:
    return found.setdefault(batch, Declarations(batch))


def exported_declarations(record: Mapping[str, Any]) -> list[Declarations]:
    """Return the declarations of a JSON export.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: it is JSON of another shape.
    """
    if "declarations" not in record:
        return list(_told(one for one in record["history"] if one["event"] in ("batch", "declared")))
    return [
        Declarations(
            batch=str(one["batch"]),
            configs=[str(digest) for digest in one["configs"]],
            files={str(name): (str(form), str(shared)) for name, (form, shared) in one["files"].items()},
            values={str(what): _kind(kind) for what, kind in one["values"].items()},
            shares_with=[str(other) for other in one["shares_with"]],
            scripts=[str(digest) for digest in one["scripts"]],
        )
        for one in record["declarations"]
    ]


def _kind(text: str) -> str:
    if text not in ("same", "unique"):
        raise ValueError(f"{text} is no way in which values are taken")
    return text


def _told(history: Iterable[Mapping[str, Any]]) -> Iterable[Declarations]:
    found: dict[str, Declarations] = {}
    for entry in history:
        detail = entry["detail"]
        if entry["event"] == "declared":
            _in(found, detail["batch"]).values.update(
                {what: _kind(kind) for what, kind in detail["declared"].items()}
            )
            continue
        one = _in(found, detail["name"])
        one.configs += [digest for digest in [detail["config"]] if digest and digest not in one.configs]
        for name, form, shared in detail.get("files", ()):
            if form or name not in one.files:  # a run whose scripts used no index said nothing of it
                one.files[name] = form, shared
        other = detail.get("shares_with", "")
        one.shares_with += [other] if other and other not in one.shares_with else []
    return found.values()


# Taken over ---------------------------------------------------------------------------------------


def contradictions(connection: Sql, there: Declarations) -> Iterator[str]:
    """Yield a sentence for each thing that this ledger's batch of that name has declared otherwise."""
    here = {one.batch: one for one in read_declarations(connection)}.get(there.batch)
    if here is None:
        return
    for name, (form, _) in sorted(there.files.items()):
        own = here.files.get(name, ("", ""))[0]
        if form and own and form != own:
            yield (
                f"The batch {there.batch} has --records {name}={own} here and --records {name}={form} there."
            )
    for what, kind in sorted(there.values.items()):
        own = here.values.get(what, kind)
        if own != kind:
            yield f"The batch {there.batch} has --{own} {what} here and --{kind} {what} there."


def take_declarations(transaction: Transaction, one: Declarations) -> str:
    """Add declarations to this ledger's batch of that name; return the new ones as options, or nothing."""
    connection = transaction.connection
    batch = batch_id(connection, one.batch)
    here = {known.batch: known for known in read_declarations(connection)}.get(
        one.batch, Declarations(one.batch)
    )
    new = Declarations(
        one.batch,
        [digest for digest in one.configs if digest not in here.configs],
        {
            name: (form, shared)
            for name, (form, shared) in one.files.items()
            if name not in here.files or (form and not here.files[name][0])
        },
        {what: kind for what, kind in one.values.items() if what not in here.values},
        [other for other in one.shares_with if other not in here.shares_with],
        [digest for digest in one.scripts if digest not in here.scripts],
    )
    if new == Declarations(one.batch):
        return ""
    _insert(connection, "batch_configs", [(batch, digest) for digest in new.configs])
    connection.executemany(
        "INSERT INTO batch_files VALUES (?, ?, ?, ?)"
        " ON CONFLICT (batch, name) DO UPDATE SET form = excluded.form, shared = excluded.shared",
        [(batch, name, *said) for name, said in new.files.items()],
    )
    _insert(connection, "declared", [(batch, what, kind) for what, kind in new.values.items()])
    _insert(connection, "batch_shares", [(batch, batch_id(connection, other)) for other in new.shares_with])
    _insert(connection, "batch_scripts", [(digest, batch) for digest in new.scripts])
    if new.values:  # what was set aside for a value that may be equal now is tried again
        connection.execute("DELETE FROM taken_values WHERE batch = ?", (batch,))
    transaction.history.append(
        "declarations-taken-over",
        batch=one.batch,
        configs=new.configs,
        files=[[name, *said] for name, said in new.files.items()],
        declared=new.values,
        shares_with=new.shares_with,
    )
    return new.words()


def batch_id(connection: Sql, name: str) -> int:
    """Return the number of a batch, which is made when it is new."""
    connection.execute("INSERT INTO batches (name) VALUES (?) ON CONFLICT DO NOTHING", (name,))
    (number,) = connection.execute("SELECT id FROM batches WHERE name = ?", (name,)).fetchone()
    return int(number)


def _insert(connection: Sql, table: str, rows: list[tuple[Any, ...]]) -> None:
    if rows:
        marks = ", ".join("?" * len(rows[0]))
        connection.executemany(f"INSERT INTO {table} VALUES ({marks}) ON CONFLICT DO NOTHING", rows)
