"""A copy of a pool in a file of SQLite, for a dry run: it knows what the pool knows, and is thrown away.

The pool is only read. The copy has one chain: entries of all runs in the order in which they were written.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Final

from parburn.errors import ParburnError
from parburn.ledger import schema
from parburn.ledger.pool.reading import reading_pool
from parburn.ledger.reading import name_and_key
from parburn.ledger.witness import Witness, write_witness
from parburn.ledger_place import PoolAddress

ROWS_AT_A_TIME: Final = 5000
_NOT_ALIKE: Final = ("meta", "history")


def copy_pool(address: PoolAddress, to: Path) -> None:
    """Copy a pool as it is at one moment into a new ledger's file.

    Raises:
        LedgerUnusable: there is no pool, it is not what it was, or it cannot be copied.
    """
    with reading_pool(address, trusted=True) as pool:
        uuid, key = name_and_key(pool)
        try:
            schema.make(to, why="a dry run")
            with contextlib.closing(schema.connect(to, durable=False)) as copy:
                copy.execute("BEGIN IMMEDIATE")
                copy.execute("DELETE FROM meta")
                copy.executemany("INSERT INTO meta VALUES (?, ?)", [("uuid", uuid), ("digest_key", key)])
                tables = copy.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
                for (table,) in tables:
                    if table not in _NOT_ALIKE:
                        names = ", ".join(row[1] for row in copy.execute(f"PRAGMA table_info({table})"))
                        marks = ", ".join("?" * len(names.split(", ")))
                        rows = pool.execute(f"SELECT {names} FROM {table}")
                        while some := rows.fetchmany(ROWS_AT_A_TIME):
                            copy.executemany(f"INSERT INTO {table} ({names}) VALUES ({marks})", some)
                (last,) = copy.execute("SELECT max(seq) FROM history").fetchone()
                names = "at, run, unit, event, state, idx, detail, hash"
                rows = pool.execute(f"SELECT seq + ?, {names} FROM history ORDER BY seq", (last,))
                while some := rows.fetchmany(ROWS_AT_A_TIME):
                    copy.executemany(
                        f"INSERT INTO history (seq, {names}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", some
                    )
                end = copy.execute("SELECT seq, hash FROM history ORDER BY seq DESC LIMIT 1").fetchone()
                copy.execute("COMMIT")
            write_witness(to, Witness(uuid, *end))
        except ParburnError:
            raise
        except Exception as error:
            raise schema.translate(error, to) from error
