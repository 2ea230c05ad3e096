"""Revision and package come from a few words; the whole chip tells the same."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parburn.chips.describe import chip_revision
from parburn.chips.registry import chip_named, chip_names
from parburn.efuse.image import EfuseImage
from parburn.hardware.silicon import silicon_of, telling_registers

REVISIONS = (0, 1, 100, 101, 199, 200, 300, 301, 399)


@pytest.mark.parametrize("name", chip_names())
@given(data=st.data())
def test_the_telling_words_say_what_the_whole_chip_says(name: str, data: st.DataObject) -> None:
    chip = chip_named(name)
    blocks = {one.index: data.draw(st.integers(0, one.mask), one.name) for one in chip.blocks}
    extra = {a: data.draw(st.integers(0, 2**32 - 1)) for a in chip.extra_registers}
    whole = EfuseImage(chip, blocks, registers=extra)
    reading = {
        address: blocks[index] >> 32 * word & 0xFFFF_FFFF
        for index, addresses in enumerate(chip.read_registers)
        for word, address in enumerate(addresses)
    }
    few = {address: reading[address] for address in telling_registers(chip)}

    def value_of(field: str) -> int:
        return whole.field_bits(chip.field_by_name[field][0])

    package = None if chip.package_field is None else value_of(chip.package_field)
    assert silicon_of(chip, {**few, **extra}) == (*chip_revision(chip, value_of), package)


@pytest.mark.parametrize("name", chip_names())
def test_every_revision_tells_itself_in_the_same_words(name: str) -> None:
    """The words are read before the revision is known."""
    places = {chip_named(name, revision=revision).silicon_words for revision in REVISIONS}
    assert len(places) == 1
