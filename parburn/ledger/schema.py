"""The ledger's tables, their versions, and how a ledger file is made and opened. No rules of indexes here."""

from __future__ import annotations

import contextlib
import os
import secrets
import sqlite3
from datetime import UTC, datetime
from pathlib import Path

from parburn.errors import LedgerUnusable
from parburn.ledger.backup_mark import refuse_backup
from parburn.ledger.file_location import sync_folder
from parburn.ledger.history import History
from parburn.ledger.moved_mark import refuse_moved
from parburn.ledger.witness import Witness, check_witness, read_witness

APPLICATION_ID = 0x50425552  # "PBUR": tells a ledger from any other SQLite file
BUSY_TIMEOUT_S = 10.0  # how long another parburn may hold the ledger before we give up

# One text per version; a ledger of version n has had the first n applied.
MIGRATIONS = (
    """
    CREATE TABLE meta (name TEXT PRIMARY KEY, value NOT NULL) WITHOUT ROWID;
    CREATE TABLE runs (
        id INTEGER PRIMARY KEY, batch INTEGER NOT NULL, started TEXT NOT NULL, process TEXT NOT NULL,
        ended TEXT
    );
    CREATE INDEX runs_open ON runs (id) WHERE ended IS NULL;
    -- Every index from full_from to full_to is held: the search for a free one starts behind.
    CREATE TABLE batches (
        id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, full_from INTEGER NOT NULL DEFAULT 1,
        full_to INTEGER NOT NULL DEFAULT 0
    );
    CREATE TABLE batch_configs (
        batch INTEGER NOT NULL, digest TEXT NOT NULL, PRIMARY KEY (batch, digest)
    ) WITHOUT ROWID;
    CREATE INDEX batch_configs_digest ON batch_configs (digest);
    -- run: the run that holds the unit now. spent: its index was burned or attempted, or is bound to it.
    -- going_back: the index is free again when that run ends.
    CREATE TABLE units (
        id INTEGER PRIMARY KEY, batch INTEGER NOT NULL, chip TEXT NOT NULL, mac TEXT NOT NULL,
        unique_id TEXT NOT NULL, idx INTEGER, state TEXT NOT NULL, run INTEGER,
        spent INTEGER NOT NULL DEFAULT 0, going_back INTEGER NOT NULL DEFAULT 0,
        reason TEXT NOT NULL DEFAULT '', changed TEXT NOT NULL,
        UNIQUE (mac, chip, unique_id, batch)
    );
    -- The promise, held by the database itself: an index is never on two chips of a batch.
    CREATE UNIQUE INDEX units_idx ON units (batch, idx) WHERE idx IS NOT NULL;
    CREATE INDEX units_run ON units (run) WHERE run IS NOT NULL;
    -- What a config record says (its digest) belongs to the chip that it was spent on.
    CREATE TABLE records (
        digest TEXT NOT NULL, unit INTEGER NOT NULL, PRIMARY KEY (digest, unit)
    ) WITHOUT ROWID;
    CREATE INDEX records_unit ON records (unit);
    -- bound 0: planned, 1: attempted. conflict: planned by two chips at once, neither may burn.
    CREATE TABLE unique_values (
        unit INTEGER NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL, bound INTEGER NOT NULL,
        conflict INTEGER NOT NULL, PRIMARY KEY (unit, name, value)
    ) WITHOUT ROWID;
    CREATE INDEX unique_values_value ON unique_values (name, value);
    CREATE UNIQUE INDEX unique_values_bound ON unique_values (name, value) WHERE bound = 1;
    CREATE TABLE attempts (
        id INTEGER PRIMARY KEY, unit INTEGER NOT NULL, plan_digest TEXT NOT NULL, image_before TEXT NOT NULL,
        steps TEXT NOT NULL, closed INTEGER NOT NULL DEFAULT 0
    );
    CREATE INDEX attempts_unit ON attempts (unit);
    CREATE TABLE attempt_steps (
        attempt INTEGER NOT NULL, label TEXT NOT NULL, state TEXT NOT NULL, PRIMARY KEY (attempt, label)
    ) WITHOUT ROWID;
    CREATE TABLE passes (unit INTEGER NOT NULL, job TEXT NOT NULL, PRIMARY KEY (unit, job)) WITHOUT ROWID;
    CREATE TABLE clean_failures (
        batch INTEGER NOT NULL, idx INTEGER NOT NULL, job TEXT NOT NULL, unit INTEGER NOT NULL,
        PRIMARY KEY (batch, idx, job, unit)
    ) WITHOUT ROWID;
    CREATE TABLE history (
        seq INTEGER PRIMARY KEY, at TEXT NOT NULL, run INTEGER, unit INTEGER, event TEXT NOT NULL,
        state TEXT NOT NULL, idx INTEGER, detail TEXT NOT NULL, hash TEXT NOT NULL
    );
    CREATE TRIGGER history_stays BEFORE UPDATE ON history
        BEGIN SELECT RAISE(ABORT, 'the history is append-only'); END;
    CREATE TRIGGER history_is_kept BEFORE DELETE ON history
        BEGIN SELECT RAISE(ABORT, 'the history is append-only'); END;
    """,
    """
    -- What the chip held when it last passed, in the form of attempts.image_before; empty: not known.
    ALTER TABLE units ADD COLUMN image_passed TEXT NOT NULL DEFAULT '';
    """,
    """
    -- How the records of a batch's config files lie (form; empty: no script has used the index yet), and the
    -- digest of what each file says for all indexes, as last accepted.
    CREATE TABLE batch_files (
        batch INTEGER NOT NULL, name TEXT NOT NULL, form TEXT NOT NULL, shared TEXT NOT NULL,
        PRIMARY KEY (batch, name)
    ) WITHOUT ROWID;
    -- Batches whose chips may carry equal records and values, declared by the first of the two.
    CREATE TABLE batch_shares (
        batch INTEGER NOT NULL, other INTEGER NOT NULL, PRIMARY KEY (batch, other)
    ) WITHOUT ROWID;
    """,
    """
    -- What the user blocks of a unit hold (bound 1), or are about to hold (bound 0), in hex. Blocks that take
    -- keys are not here: of them range_values has keyed digests.
    CREATE TABLE user_bits (
        unit INTEGER NOT NULL, block INTEGER NOT NULL, bound INTEGER NOT NULL, layout TEXT NOT NULL,
        bits TEXT NOT NULL, PRIMARY KEY (unit, block, bound)
    ) WITHOUT ROWID;
    CREATE INDEX user_bits_layout ON user_bits (layout);
    -- The places in which somebody's value must be its own; parts as in ledger.base.RangeValue.
    CREATE TABLE ranges (
        id INTEGER PRIMARY KEY, layout TEXT NOT NULL, parts TEXT NOT NULL, UNIQUE (layout, parts)
    );
    -- What each unit of that layout holds there. own: it must be this unit's only. conflict: planned by two
    -- chips at once, neither may burn.
    CREATE TABLE range_values (
        range INTEGER NOT NULL, value TEXT NOT NULL, unit INTEGER NOT NULL, bound INTEGER NOT NULL,
        own TEXT NOT NULL DEFAULT '', conflict INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (range, value, unit)
    ) WITHOUT ROWID;
    CREATE INDEX range_values_unit ON range_values (unit);
    CREATE TABLE declared (
        batch INTEGER NOT NULL, what TEXT NOT NULL, kind TEXT NOT NULL, PRIMARY KEY (batch, what)
    ) WITHOUT ROWID;
    CREATE TABLE batch_scripts (
        digest TEXT NOT NULL, batch INTEGER NOT NULL, PRIMARY KEY (digest, batch)
    ) WITHOUT ROWID;
    -- An index whose record has a value that another chip carries.
    CREATE TABLE taken_values (
        batch INTEGER NOT NULL, idx INTEGER NOT NULL, job TEXT NOT NULL, why TEXT NOT NULL,
        PRIMARY KEY (batch, idx, job)
    ) WITHOUT ROWID;
    -- Values may be equal where somebody says so; custom MACs never.
    DROP INDEX unique_values_bound;
    CREATE UNIQUE INDEX unique_values_mac ON unique_values (value) WHERE bound = 1 AND name = 'CUSTOM_MAC';
    """,
    """
    -- What the scripts of a passed job read: keyed digests of files, empty for one that was not there.
    CREATE TABLE pass_inputs (
        unit INTEGER NOT NULL, job TEXT NOT NULL, path TEXT NOT NULL, digest TEXT NOT NULL,
        PRIMARY KEY (unit, job, path)
    ) WITHOUT ROWID;
    """,
    """
    -- Units that are written off. Why, beside the state, which stays what the chip went through.
    ALTER TABLE units ADD COLUMN scrapped TEXT NOT NULL DEFAULT '';
    """,
    """
    -- Steps of attempts that `ledger rebuild` made up: what they wrote is hidden. state: what each is taken
    -- for once somebody vouches for the keys.
    CREATE TABLE hidden_steps (
        attempt INTEGER NOT NULL, label TEXT NOT NULL, state TEXT NOT NULL, PRIMARY KEY (attempt, label)
    ) WITHOUT ROWID;
    -- Units of older ledgers, of which it is not known what their user blocks hold.
    CREATE TABLE unknown_values (unit INTEGER PRIMARY KEY);
    INSERT INTO unknown_values SELECT id FROM units WHERE spent = 1 AND mac != ''
        AND id NOT IN (SELECT unit FROM user_bits WHERE bound = 1);
    -- Of these and others it is not known which records they carry: their files named no indexes.
    CREATE TABLE unlearned_records (unit INTEGER PRIMARY KEY);
    INSERT INTO unlearned_records SELECT id FROM units WHERE spent = 1 AND mac != '' AND idx IS NOT NULL
        AND id NOT IN (SELECT unit FROM records) AND batch IN (SELECT batch FROM batch_configs);
    -- Values that turned out to stand in two chips, when they were learned.
    CREATE TABLE seen_doubles (
        unit INTEGER NOT NULL, other INTEGER NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL,
        PRIMARY KEY (unit, other, name)
    ) WITHOUT ROWID;
    """,
    """
    -- Where a run was made, and by whom.
    ALTER TABLE runs ADD COLUMN station TEXT NOT NULL DEFAULT '';
    ALTER TABLE runs ADD COLUMN operator TEXT NOT NULL DEFAULT '';
    -- One unit's life is told from the history in a few seeks.
    CREATE INDEX history_unit ON history (unit) WHERE unit IS NOT NULL;
    """,
    """
    -- Under which arming of a station's job an attempt was begun, and a unit passed; empty or none: by a run.
    ALTER TABLE attempts ADD COLUMN arming TEXT NOT NULL DEFAULT '';
    CREATE TABLE pass_armings (
        unit INTEGER NOT NULL, arming TEXT NOT NULL, PRIMARY KEY (unit, arming)
    ) WITHOUT ROWID;
    -- claim: of the claims that a run had on this unit, the one that counts: the number of its entry.
    -- cause: how the last attempt ended that left it INCOMPLETE. went_on: how often it went on by itself.
    ALTER TABLE units ADD COLUMN claim INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE units ADD COLUMN cause TEXT NOT NULL DEFAULT '';
    ALTER TABLE units ADD COLUMN went_on INTEGER NOT NULL DEFAULT 0;
    -- What is of no unit, such as a station's entries, is found in a few seeks.
    CREATE INDEX history_of_none ON history (event) WHERE unit IS NULL;
    """,
)
VERSION = len(MIGRATIONS)


def now() -> str:
    """Return the time as the ledger writes it: UTC, ISO 8601 with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def translate(error: Exception, path: Path) -> LedgerUnusable:
    """Return what a failure of the database means to an operator."""
    text = str(error)
    hint = "Nothing is burned without an entry in the ledger."
    if "full" in text or "No space" in text:
        return LedgerUnusable(
            f"The disk of the ledger {path} is full.", hint=f"{hint} Make room, start again."
        )
    if "locked" in text or "busy" in text:
        return LedgerUnusable(
            f"Another program held the ledger {path} for more than {BUSY_TIMEOUT_S:.0f} s.",
            hint="End it, then start again.",
        )
    if "readonly" in text or "unable to open" in text or "Permission" in text or "Read-only" in text:
        return LedgerUnusable(
            f"The ledger {path} cannot be written: {text}.", hint=f"{hint} Mend its rights."
        )
    # What a row holds is of another type or encoding than this program ever writes: ValueError and its kin.
    damaged = not isinstance(error, (sqlite3.Error, OSError))
    if damaged or "malformed" in text or "not a database" in text:
        return LedgerUnusable(
            f"The ledger {path} is damaged or not a ledger: {text}.",
            hint="Put a good copy back from a backup.",
        )
    return LedgerUnusable(f"The ledger {path} failed: {text}.", hint=hint)


def connect(path: Path, *, durable: bool = True) -> sqlite3.Connection:
    """Open an existing ledger file for one thread.

    Args:
        path: The ledger's file.
        durable: Wait for the disk at each commit (PRAGMA synchronous=FULL, with journal_mode=WAL); else OFF,
            for ledgers that are thrown away.

    Raises:
        sqlite3.Error: it cannot be opened.
        LedgerUnusable: not a ledger, or made by a newer parburn.
    """
    connection = sqlite3.connect(
        f"file:{_quoted(path)}?mode=rw", uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None
    )
    try:
        check_version(connection, path)  # before the first pragma that writes
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute(f"PRAGMA synchronous={'FULL' if durable else 'OFF'}")
        connection.execute("PRAGMA foreign_keys=OFF")
    except BaseException:
        connection.close()
        raise
    return connection


def connect_to_read(path: Path) -> sqlite3.Connection:
    """Open a ledger for looking only (PRAGMA query_only), at one moment of its life.

    Raises:
        sqlite3.Error: it cannot be opened.
    """
    connection = sqlite3.connect(f"file:{_quoted(path)}?mode=rw", uri=True, timeout=BUSY_TIMEOUT_S)
    try:
        connection.execute("PRAGMA query_only=ON")  # where the file is damaged, it is found out here
        connection.execute("BEGIN")  # all that is read is of one moment
    except BaseException:
        connection.close()
        raise
    return connection


def find_damage(connection: sqlite3.Connection, path: Path) -> list[str]:
    """Return what is wrong with the file itself, such as a cut end that nothing happens to read.

    Found by its size and by PRAGMA integrity_check.
    """
    (page,) = connection.execute("PRAGMA page_size").fetchone()
    cut = ["its last page is cut"] if path.stat().st_size % page else []
    return cut + [text for (text,) in connection.execute("PRAGMA integrity_check(3)") if text != "ok"]


def _quoted(path: Path) -> str:
    from urllib.parse import quote

    return quote(str(path.absolute()))


def check_version(connection: sqlite3.Connection, path: Path) -> int:
    """Return the ledger's version (PRAGMA user_version), after a look at PRAGMA application_id.

    Raises:
        LedgerUnusable: not a ledger, or made by a newer parburn.
    """
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application != APPLICATION_ID or version < 1:
        raise LedgerUnusable(
            f"{path} is not a ledger of parburn.", hint="Choose the right file with --ledger."
        )
    if version > VERSION:
        raise LedgerUnusable(
            f"The ledger {path} is of a newer parburn (version {version}, this one knows {VERSION}).",
            hint="Use the newer parburn.",
        )
    return int(version)


def is_older(path: Path) -> bool:
    """Return whether a ledger is of an older version; False where that cannot be seen."""
    try:
        if not path.is_file():
            return False
        with contextlib.closing(connect_to_read(path)) as connection:
            return check_version(connection, path) < VERSION
    except (sqlite3.Error, LedgerUnusable, OSError, ValueError):  # whoever opens it will say why it cannot
        return False


def migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Bring a ledger to this version, in one transaction.

    Raises:
        LedgerUnusable: not a ledger, or made by a newer parburn.
        sqlite3.Error: it cannot be written.
    """
    if check_version(connection, path) == VERSION:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = check_version(connection, path)  # another process may have been faster
        apply_migrations(connection, version)
        history = History(connection, at=now(), run=None)
        history.append("migrated", before=version, after=VERSION)
        history.flush()
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


def apply_migrations(connection: sqlite3.Connection, version: int) -> None:
    """Run the statements from `version` on, within the caller's transaction."""
    for script in MIGRATIONS[version:]:
        statement = ""
        for line in script.splitlines(keepends=True):  # executescript() would commit in between
            statement += line
            if sqlite3.complete_statement(statement):
                connection.execute(statement)
                statement = ""
    connection.execute(f"PRAGMA user_version={VERSION}")


def migrated_copy(connection: sqlite3.Connection) -> sqlite3.Connection:
    """Return a copy of an older ledger, in the form of this version: a file of SQLite's that goes with it."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    copy = sqlite3.connect("", isolation_level=None)
    try:
        connection.backup(copy)
        apply_migrations(copy, version)
    except BaseException:
        copy.close()
        raise
    return copy


def make(path: Path, *, why: str, replaces: str = "") -> bool:
    """Make a new ledger file whole or not at all.

    Returns:
        False when another process has just made one.

    Raises:
        LedgerUnusable: it cannot be written.
    """
    scratch = path.with_name(f"{path.name}.new-{secrets.token_hex(4)}")
    try:
        os.close(os.open(scratch, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
        with contextlib.closing(sqlite3.connect(scratch, isolation_level=None)) as connection:
            connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
            connection.execute("BEGIN IMMEDIATE")
            apply_migrations(connection, 0)
            name = secrets.token_hex(16)
            connection.executemany(
                "INSERT INTO meta VALUES (?, ?)", [("uuid", name), ("digest_key", secrets.token_bytes(32))]
            )
            history = History(connection, at=now(), run=None)
            history.append("made", why=why, replaces=replaces, uuid=name)
            history.flush()
            connection.execute("COMMIT")
        try:
            os.link(scratch, path)  # unlike a rename it never replaces a ledger
        except FileExistsError:
            return False
        sync_folder(path.parent)
    except (sqlite3.Error, OSError) as error:
        raise translate(error, path) from error
    finally:
        scratch.unlink(missing_ok=True)
    return True


def compare_with_witness(
    connection: sqlite3.Connection, path: Path, witness: Witness | None, uuid: str
) -> None:
    """Raise LedgerUnusable when an open ledger is a backup, not the one its witness knows, or older.

    `witness` was read before the ledger was opened.
    """
    refuse_backup(connection, path)
    refuse_moved(connection, path)
    (sequence,) = connection.execute("SELECT coalesce(max(seq), 0) FROM history").fetchone()
    row = None
    if witness is None and sequence > 1:
        # Another process may have made the ledger meanwhile. It wrote the witness before its second entry.
        witness = read_witness(path)
        (sequence,) = connection.execute("SELECT max(seq) FROM history").fetchone()
    if witness is not None:
        row = connection.execute("SELECT hash FROM history WHERE seq = ?", (witness.sequence,)).fetchone()
    check_witness(path, witness, uuid=uuid, sequence=sequence, head_at_witness=row[0] if row else None)
