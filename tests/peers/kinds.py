"""The kinds of chips that sequences are made for: a chip, and a revision where the table depends on it.

A kind's name is the chip's, with the revision behind an `@` where there are two tables. `peers` are the
versions that know the chip: 4.12's tables of H4 and H21 are early ones, and S31 and E22 came with 5.x.
"""

from __future__ import annotations

from dataclasses import dataclass

from parburn.chips.model import Chip
from parburn.chips.registry import chip_named, chip_names

ONLY_5 = frozenset({"esp32h4", "esp32h21", "esp32s31", "esp32e22"})
LATER_TABLES = {"esp32h2": (1, 2), "esp32p4": (3, 0)}  # the revision from which the second table holds


@dataclass(frozen=True, slots=True)
class Kind:
    """A chip as one of its field tables describes it. `revision` None: as the factory bits have it."""

    chip_name: str
    revision: tuple[int, int] | None = None

    @property
    def name(self) -> str:
        """As on the command line: `esp32p4@3.0`."""
        return self.chip_name + ("" if self.revision is None else "@{}.{}".format(*self.revision))

    @property
    def peers(self) -> tuple[int, ...]:
        """The versions of espefuse that this kind is held against."""
        return (5,) if self.chip_name in ONLY_5 else (4, 5)

    @property
    def chip(self) -> Chip:
        """The row, with the overlays of the revision; of the first table where none is named."""
        major, minor = self.revision or (0, 0)
        return chip_named(self.chip_name, revision=100 * major + minor)


KINDS: dict[str, Kind] = {
    kind.name: kind
    for chip in chip_names()
    for kind in (Kind(chip), *([Kind(chip, LATER_TABLES[chip])] if chip in LATER_TABLES else []))
}
