"""What a process writes that holds no run: an arming, a resume, the leave for a begun unit to go on.

A station may be at work on the same ledger meanwhile. These functions wait for the disk: call them in a
thread where a loop runs.
"""

from __future__ import annotations

from parburn.ledger import begun, station_entries
from parburn.ledger.base import UnitIdentity
from parburn.ledger.changing import changing
from parburn.ledger.file_location import ledger_place
from parburn.ledger.station_entries import ARMED
from parburn.ledger_place import Place


def note(path: Place | None, event: str, **detail: object) -> None:
    """Write an entry of a station; see `station_entries.write`.

    Args:
        path: The ledger's file; None for the user's own.
        event: One of `station_entries.EVENTS`.
        detail: `batch`, and what else is told: `arming`, `operator`, `station`, `why`.

    Raises:
        LedgerUnusable: there is no ledger, its witness does not know it, or it cannot be written.
        LedgerError: the entry is none of a station's.
    """
    with changing(ledger_place(path)) as transaction:
        station_entries.write(transaction.history, event, **detail)


def note_armed(
    path: Place | None,
    *,
    batch: str,
    arming: str,
    operator: str,
    station: str = "",
    why: str = "",
    **more: object,
) -> None:
    """Write that a job was armed, which ends a halt of its batch; see `note` for what is raised."""
    note(path, ARMED, batch=batch, arming=arming, operator=operator, station=station, why=why, **more)


def allow_to_go_on(path: Place | None, *, batch: str, identity: UnitIdentity, why: str) -> None:
    """Let a begun unit that no run holds go on by itself once more.

    Raises:
        UnitRefused: there is no such unit, it is not INCOMPLETE, or a run holds it.
        LedgerUnusable: there is no ledger, its witness does not know it, or it cannot be written.
    """
    with changing(ledger_place(path)) as transaction:
        begun.allow_unit(transaction, batch, identity, why)
