"""Which record a chip carries, by its values' bits."""

from __future__ import annotations

import pytest

from parburn.chips.registry import chip_named
from parburn.efuse.image import EfuseImage
from parburn.efuse.user_values import Place, Take, UserValue
from parburn.recovery.record_search import Fit, RecordValues

CHIP = chip_named("esp32c3")
LOW, HIGH, KEY = Place(3, 0, 32), Place(3, 64, 32), Place(4, 0, 256)


def value(place: Place, bits: int, take: Take = Take.UNDECLARED) -> UserValue:
    return UserValue("V", (place,), bits, "", take, secret=False)


def records() -> RecordValues:
    """Index n has n in one place and 100 + n in the other; all have the same week."""
    known = RecordValues()
    for index in range(1, 6):
        week = value(Place(3, 128, 32), 7, Take.SAME)
        known.add(index, [value(LOW, index), value(HIGH, 100 + index), week])
    return known


def chip(low: int, high: int, more: int = 0) -> EfuseImage:
    blocks = dict.fromkeys(range(len(CHIP.blocks)), 0)
    return EfuseImage(CHIP, {**blocks, 3: low | high << 64 | more})


@pytest.mark.parametrize(
    ("image", "fit"),
    [
        (chip(3, 103), Fit((3,), True)),
        (chip(3, 103, 8 << 128), Fit((3,), True)),  # what may be equal tells nothing
        (chip(3, 0), Fit((3,), False)),  # not burned yet
        (chip(3, 0b0100111), Fit((3,), False)),  # a pulse broke off: 103 is 0b1100111
        (chip(3, 104), Fit((), False)),  # parts of two
        (chip(0, 0, 7 << 128), Fit((), False)),
        (chip(9, 109), Fit((), False)),
    ],
)
def test_a_chip_carries_the_record_whose_values_stand_in_it(image: EfuseImage, fit: Fit) -> None:
    assert records().fit(image) == fit


def test_equal_records_are_two_that_fit() -> None:
    known = records()
    known.add(9, [value(LOW, 3), value(HIGH, 103)])
    assert known.fit(chip(3, 103)) == Fit((3, 9), True)


def test_what_a_chip_hides_is_not_compared() -> None:
    known = RecordValues()
    known.add(1, [value(LOW, 1), value(KEY, 0xAA, Take.KEY)])
    known.add(2, [value(LOW, 2), value(KEY, 0xBB, Take.KEY)])
    seen = chip(1, 0)
    assert known.fit(seen.with_blocks({4: 0xBB})) == Fit((), False)  # parts of two
    (rd_dis,) = CHIP.field_by_name["RD_DIS"]
    hidden = seen.with_blocks({0: 1 << (rd_dis.start or 0)})
    assert known.fit(hidden) == Fit((1,), True)
