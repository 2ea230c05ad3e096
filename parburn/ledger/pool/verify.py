"""Checks a pool: each run's chain, the pool's own chain, the units against both, this station's witness.

A run's end that was cut off shows where a later link of the pool's chain knows an entry that is not there.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from parburn.errors import LedgerUnusable
from parburn.ledger.differences import find_differences, find_strays
from parburn.ledger.history import GENESIS, Break, entry_hash
from parburn.ledger.learning import doubles_lines, unknown_note
from parburn.ledger.pool.history import anchor_hash
from parburn.ledger.pool.opening import refuse_rewound, witness_of
from parburn.ledger.pool.reading import reading_pool
from parburn.ledger.sql import Sql
from parburn.ledger.verify_share import Found
from parburn.ledger.verify_texts import doubles_text, refuse_broken
from parburn.ledger_place import PoolAddress

ROWS_AT_A_TIME = 5000
_ENTRIES = (
    "SELECT chain, number, at, run, unit, event, state, idx, detail, hash, seq FROM history"
    " WHERE (chain, number) > (?, ?) ORDER BY chain, number LIMIT ?"
)
_LINKS = (
    "SELECT anchors.sequence, anchors.at, anchors.chain, anchors.number, anchors.head, anchors.hash,"
    " history.hash FROM anchors LEFT JOIN history"
    " ON history.chain = anchors.chain AND history.number = anchors.number"
    " WHERE anchors.sequence > ? ORDER BY anchors.sequence LIMIT ?"
)


def verify_pool(address: PoolAddress) -> str:
    """Check all of a pool; return what was found good. See `verify.verify`."""
    with reading_pool(address) as sql:
        (uuid,) = sql.execute("SELECT value FROM meta WHERE name = 'uuid'").fetchone()
        (entries,) = sql.execute("SELECT count(*) FROM history").fetchone()
        (chains,) = sql.execute("SELECT count(DISTINCT chain) FROM history").fetchone()
        found = [Found.of(one) for one in (find_breaks(sql), find_differences(sql), find_strays(sql))]
        try:
            refuse_rewound(sql, address, witness_of(uuid), uuid)
        except LedgerUnusable as refused:
            found.append(Found(1, [str(refused)]))
        unknown, doubles = unknown_note(sql), doubles_lines(sql)
    refuse_broken(address, found)
    return (
        f"The pool {address} verifies: {entries} entries in {chains} chains, its units and the witness of "
        f"this station agree.\n{doubles_text(unknown, doubles)}"
    )


def find_breaks(sql: Sql) -> Iterator[Break]:
    """Check every entry of every run's chain, and every link of the pool's; yield where one is broken."""
    return chain(_broken_entries(sql), _broken_links(sql))


def _broken_entries(sql: Sql) -> Iterator[Break]:
    at_chain, number, head, last_seq = -1, 0, GENESIS, 0
    place = (-1, 0)
    while rows := sql.execute(_ENTRIES, (*place, ROWS_AT_A_TIME)).fetchall():
        for row in rows:
            if row[0] != at_chain:
                at_chain, number, head, last_seq = row[0], 0, GENESIS, 0
            where = f"of run {at_chain}" if at_chain else "of no run"
            if row[1] != number + 1:
                yield Break(row[10], f"Entry {number + 1} {where} is missing.")
            elif entry_hash(head, row[1:9]) != row[9]:
                yield Break(row[10], f"Entry {row[1]} {where} was changed.")
            elif row[10] <= last_seq:
                yield Break(row[10], f"Entry {row[1]} {where} was moved.")
            number, head, last_seq = row[1], row[9], row[10]
        place = rows[-1][:2]


def _broken_links(sql: Sql) -> Iterator[Break]:
    number, head = 0, GENESIS
    while rows := sql.execute(_LINKS, (number, ROWS_AT_A_TIME)).fetchall():
        for sequence, at, chain_of, entries, known, stored, there in rows:
            if sequence != number + 1:
                yield Break(0, f"Link {number + 1} of the pool's chain is missing.")
            elif anchor_hash(head, sequence, at, chain_of, entries, known) != stored:
                yield Break(0, f"Link {sequence} of the pool's chain was changed.")
            if entries and there != known:
                yield Break(0, f"Entry {entries} of run {chain_of} is not as link {sequence} says: cut off?")
            number, head = sequence, stored
    last = sql.execute("SELECT sequence, head FROM pool").fetchone()
    if tuple(last) != (number, head):
        yield Break(0, f"The pool's chain has {number} links, and {last[0]} were written.")
