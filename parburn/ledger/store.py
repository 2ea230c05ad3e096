"""Where a ledger is kept, as the writer's thread and a run see it: a file of SQLite, or a pool in PostgreSQL.

It opens the database, begins and ends transactions, and knows which runs are alive. It knows no rule.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

from parburn.errors import LedgerUnusable
from parburn.ledger.history import History
from parburn.ledger.sql import Sql


class EndedRun(NamedTuple):
    """A run that ended without a word; not `surely`: it was not heard for long, and may still be there."""

    run: int
    surely: bool


class Store(Protocol):
    """All of it is used in the writer's thread, but `close`, `place`, `is_kept`, and what `connect` found."""

    beat_s: float | None  # how often a run must show that it is alive; None: it need not
    row_lock: str  # see `writer.Transaction`
    on_away: Callable[[bool], None] | None  # told in the thread that the ledger is away, or back
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

    def begin(self, connection: Sql, *, at: str, run: int | None, alone: bool) -> History:
        """Begin a transaction, and return the end of the history in it.

        Args:
            connection: What `connect` returned.
            at: The time, as entries tell it.
            run: The run whose works follow.
            alone: No work in it looks at a unit of another run.
        """

    def commit(self, connection: Sql, history: History) -> None:
        """End it; what was written is on disk when this returns."""

    def roll_back(self, connection: Sql) -> None:
        """Undo it, also where the database has done so by itself. Raises nothing."""

    def beat(self, connection: Sql, run: int | None) -> None:
        """Show that a run is alive. Raises nothing."""

    def passes(self, error: Exception) -> bool:
        """Return whether what failed so was certainly not done, and may be done again at once."""

    def after_commit(self, sequence: int, head: str, *, last: bool) -> None:
        """Hear how far the history has come; with `last` once before the end.

        Raises:
            LedgerUnusable: with `last`: what is remembered beside the ledger cannot be written.
        """

    def hold(self, run: int) -> None:
        """Show others that a run is alive, before the commit that shows them the run."""

    def find_ended(self, connection: Sql, own: int | None) -> list[EndedRun]:
        """Return the runs, but for our own, that ended and of which the ledger does not say so."""

    def translate(self, error: Exception) -> LedgerUnusable:
        """Return what a failure of the database means to an operator."""

    def close(self) -> None:
        """Let go of all that shows this run to be alive; remove what is thrown away."""
