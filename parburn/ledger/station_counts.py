"""What a station asks of its batch: how many passed under its arming, how many indexes are used."""

from __future__ import annotations

from typing import NamedTuple

from parburn.ledger.sql import Sql


class StationCounts(NamedTuple):
    """Units of a batch: those that passed under one arming, and indexes of a range that are not free."""

    passed_under: int
    used: int


def count(connection: Sql, batch: int, arming: str, first: int, last: int) -> StationCounts:
    """Count the units of a batch, by its number; `first` and `last` are of the range of indexes."""
    (passed,) = connection.execute(
        "SELECT count(*) FROM pass_armings JOIN units ON units.id = unit WHERE batch = ? AND arming = ?",
        (batch, arming),
    ).fetchone()
    (used,) = connection.execute(
        "SELECT count(*) FROM units WHERE batch = ? AND idx BETWEEN ? AND ?", (batch, first, last)
    ).fetchone()
    return StationCounts(passed, used)
