"""Which silicon it is: revision and package, from the few words of the chip that tell. Pure functions.

The block that they stand in is long, and few jobs need more of it than these words.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

from parburn.chips.describe import chip_revision
from parburn.chips.model import Chip
from parburn.efuse.image import EfuseImage


class Silicon(NamedTuple):
    """Revision of the silicon; `package` is the code of its package, None for a chip that does not tell."""

    major: int
    minor: int
    package: int | None


@lru_cache(128)
def telling_registers(chip: Chip) -> tuple[int, ...]:
    """Return the read registers of the words that `silicon_of` needs."""
    return tuple([chip.read_registers[block][word] for block, word in chip.silicon_words])


def silicon_of(chip: Chip, registers: Mapping[int, int]) -> Silicon:
    """Return revision and package.

    Args:
        registers: values by address, of `telling_registers` and `chip.extra_registers`.
    """
    words: dict[int, int] = {}
    for block, word in chip.silicon_words:
        words[block] = words.get(block, 0) | registers[chip.read_registers[block][word]] << 32 * word
    image = EfuseImage(chip, words, registers=registers)
    package = None if chip.package_field is None else image.value_of(chip.package_field)
    return Silicon(*chip_revision(chip, image.value_of), package)
