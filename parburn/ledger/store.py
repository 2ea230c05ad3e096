"""Where a ledger is kept, as the writer's thread and a run see it: a file of SQLite, or a pool in PostgreSQL.

It opens the database, begins and ends transactions, and knows which runs are alive. It knows no rule.
"""

from __future__ import annotations

from typing import Protocol

from parburn.errors import LedgerUnusable
from parburn.ledger.history import History
from parburn.ledger.sql import Sql


class Store(Protocol):
    """All of it is used in the writer's thread, but `close`, `place`, `is_kept`, and what `connect` found."""

    uuid: str  # which ledger it is, wherever it lies; known after `connect`
    digest_key: bytes  # 32 random bytes, made with the ledger; known after `connect`

    @property
    def name(self) -> str:
        """What messages call the ledger."""

    @property
    def place(self) -> str:
        """Where the ledger lies that is behind it; empty where it is thrown away."""

    @property
    def leaves_a_run(self) -> bool:
        """Whether runs leave something in a ledger: one that is thrown away, or a copy, keeps none."""

    def connect(self) -> tuple[Sql, list[str]]:
        """Open it; return it with sentences for the operator.

        Raises:
            LedgerUnusable: it is missing, foreign, older than its witness, too new, damaged.
        """

    def begin(self, connection: Sql, *, at: str, run: int | None) -> History:
        """Begin a transaction, and return the end of the history in it."""

    def commit(self, connection: Sql) -> None:
        """End it; what was written is on disk when this returns."""

    def roll_back(self, connection: Sql) -> None:
        """Undo it, also where the database has done so by itself. Raises nothing."""

    def after_commit(self, sequence: int, head: str, *, last: bool) -> None:
        """Hear how far the history has come; with `last` once before the end.

        Raises:
            LedgerUnusable: with `last`: what is remembered beside the ledger cannot be written.
        """

    def hold(self, run: int) -> None:
        """Show others that a run is alive, before the commit that shows them the run."""

    def is_alive(self, run: int, process: str) -> bool:
        """Return whether a run goes on; `process` is what its row says of it."""

    def translate(self, error: Exception) -> LedgerUnusable:
        """Return what a failure of the database means to an operator."""

    def close(self) -> None:
        """Let go of all that shows this run to be alive; remove what is thrown away."""
