"""How many more units the disk of a ledger has room for. Looks only."""

from __future__ import annotations

import contextlib
import os
from typing import NamedTuple

from parburn.errors import LedgerUnusable
from parburn.ledger import schema
from parburn.ledger.file_location import LEAST_ROOM, place_of
from parburn.ledger.reading import DAMAGE
from parburn.ledger_place import Place

LEAST_PER_UNIT = 4096  # bytes; a unit with one value takes about 3,000
FEW_UNITS = 100  # of so few nothing is learned


class DiskLeft(NamedTuple):
    """`free`: bytes until no run begins any more; `per_unit`: bytes of one unit, as far as is known."""

    free: int
    per_unit: int

    @property
    def units(self) -> int:
        """How many more units there is room for."""
        return self.free // self.per_unit

    def amber(self, units_to_come: int) -> str | None:
        """Return a sentence where there is no room for so many units; None where there is."""
        if self.units >= units_to_come:
            return None
        return (
            f"The ledger's disk has room for about {self.units} more boards ({self.free / 1e6:.0f} MB), "
            f"and about {units_to_come} may come: make room on it."
        )


def disk_left(path: Place | None) -> DiskLeft:
    """Return what room the disk has that holds the ledger at `path` (None: the user's own). Asks the disk.

    Raises:
        LedgerUnusable: there is no ledger, or it cannot be read.
    """
    place = place_of(path)
    try:
        room = os.statvfs(place.parent)
        free = max(0, room.f_bavail * room.f_frsize - LEAST_ROOM)
        sides = (place, place.with_name(f"{place.name}-wal"))
        size = sum(side.stat().st_size for side in sides if side.exists())
        with contextlib.closing(schema.connect_to_read(place)) as connection:
            (units,) = connection.execute("SELECT coalesce(max(id), 0) FROM units").fetchone()
    except OSError as error:
        raise LedgerUnusable(f"The disk of the ledger {place} cannot be asked: {error.strerror}.") from error
    except DAMAGE as error:
        raise schema.translate(error, place) from error
    per_unit = size // units if units >= FEW_UNITS else 0
    return DiskLeft(free, max(per_unit, LEAST_PER_UNIT))
