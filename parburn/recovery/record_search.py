"""Which record a chip carries, by its values' bits. Pure; knows no ledger and burns nothing.

Values that may be equal on several chips (`same`) tell nothing. A record fits wholly where each of its other
values is in the chip, as far as its blocks can be read; it fits in part where at least one does and the
rest is not burned, or not whole, yet.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from parburn.efuse.image import EfuseImage
from parburn.efuse.layout import layout_of
from parburn.efuse.user_values import Place, Take, UserValue

Places = tuple[Place, ...]


class Fit(NamedTuple):
    """The records that a chip may carry; `whole`: it holds all of their values."""

    indexes: tuple[int, ...]
    whole: bool


class RecordValues:
    """The values of all records that tell chips apart, for chips of one kind."""

    def __init__(self) -> None:
        self._of: dict[int, tuple[tuple[Places, int], ...]] = {}
        self._by_value: dict[Places, dict[int, list[int]]] = {}

    def add(self, index: int, values: Iterable[UserValue]) -> None:
        """Add the values that a record leaves in a chip."""
        telling = tuple((value.places, value.bits) for value in values if value.take is not Take.SAME)
        self._of[index] = telling
        for places, bits in telling:
            self._by_value.setdefault(places, {}).setdefault(bits, []).append(index)

    def fit(self, image: EfuseImage) -> Fit:
        """Return the records that this chip carries; none where it holds no value of any."""
        held = {places: _held(image, places) for places in self._by_value}
        near: dict[int, None] = {}
        for places, by_value in self._by_value.items():
            bits = held[places]
            if bits:
                near.update(dict.fromkeys(by_value.get(bits, ())))
        whole, part = [], []
        for index in sorted(near):
            shown = [(held[places], bits) for places, bits in self._of[index] if held[places] is not None]
            if all(have == bits for have, bits in shown):
                whole.append(index)
            elif all(have is not None and not have & ~bits for have, bits in shown):
                part.append(index)
        return Fit(tuple(whole or part), bool(whole))


def _held(image: EfuseImage, places: Places) -> int | None:
    """Return what a chip shows in these places; None where any of it is hidden."""
    layout = layout_of(image.chip)
    rd_dis = image.field_bits(layout.rd_dis)
    value = at = 0
    for place in places:
        if layout.hidden(place.block, rd_dis) & place.mask:
            return None
        value |= (image.block(place.block) & place.mask) >> place.start << at
        at += place.bits
    return value
