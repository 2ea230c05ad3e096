"""Which units of a ledger are meant: conditions for SQLite, found by its indexes where there is one. Pure."""

from __future__ import annotations

import re
from typing import NamedTuple

from parburn.ledger.sql import Sql

SCRAPPED = "scrapped"  # beside the states: it is written off, whatever its state


class UnitFilter(NamedTuple):
    """Units for which all of this holds; None and empty ask for nothing.

    `indexes` are the first and the last; `states` may have the word `scrapped`; `since` is a time as the
    ledger writes it. `value` is one of the unit's, or `NAME=VALUE`.
    """

    mac: str | None = None
    indexes: tuple[int, int] | None = None
    value: str | None = None
    states: tuple[str, ...] = ()
    batch: str | None = None
    since: str | None = None

    def __bool__(self) -> bool:
        return self != UnitFilter()

    def conditions(self, connection: Sql) -> tuple[str, list[object]]:
        """Return a condition on rows of `units`, without the batch, and its parameters."""
        parts = ["1 = 1"]
        values: list[object] = []

        def add(part: str, *more: object) -> None:
            parts.append(part)
            values.extend(more)

        if self.mac is not None:
            add("units.id IN (SELECT id FROM units WHERE mac = ?)", plain_mac(self.mac))
        if self.indexes is not None:
            add("idx BETWEEN ? AND ?", *self.indexes)
        if self.value is not None:
            condition, found = units_with(connection, self.value)
            add(f"units.id IN ({condition})", *found)
        if self.states:
            marks = ", ".join("?" * len(self.states))
            scrapped = " OR scrapped != ''" if SCRAPPED in self.states else ""
            add(f"(state IN ({marks}){scrapped})", *self.states)
        if self.since is not None:
            add("changed >= ?", self.since)
        return " AND ".join(parts), values


def plain_mac(text: str) -> str:
    """Return a MAC as the ledger writes it: small letters and colons, however it was typed."""
    digits = re.sub(r"[^0-9a-f]", "", text.lower())
    if re.fullmatch(r"[0-9a-fA-F:.\- ]+", text) and len(digits) in (12, 16):
        return ":".join(digits[n : n + 2] for n in range(0, len(digits), 2))
    return text.lower()


def units_with(connection: Sql, text: str) -> tuple[str, list[str]]:
    """Return a statement that gives the numbers of the units that have a value, and its parameters."""
    names = names_of_values(connection)
    name, equals, rest = text.partition("=")
    if equals and name in names:
        names, text = [name], rest
    spelled = list(dict.fromkeys((text, text.lower(), text.upper(), plain_mac(text))))
    named, marks = ", ".join("?" * len(names)) or "NULL", ", ".join("?" * len(spelled))
    statement = f"SELECT unit FROM unique_values WHERE name IN ({named}) AND value IN ({marks}) AND bound = 1"
    return statement, [*names, *spelled]


def names_of_values(connection: Sql) -> list[str]:
    """Return the names that values have, each found by the index: there are few, of very many values."""
    names: list[str] = []
    last = ""
    while True:
        (last,) = connection.execute("SELECT min(name) FROM unique_values WHERE name > ?", (last,)).fetchone()
        if last is None:
            return names
        names.append(last)
