"""The values that tell one unit from another: where they stand, what a burn leaves there, how each is taken.

A value is what stands in a *range*: a field of the tables (the custom MAC, fields of custom tables), else
what one command wrote. Its bits count, whatever field or command wrote them, so two chips are compared place
by place. Pure; knows no ledger and no other chip.

How a value is taken (`Take`): custom MACs and what was declared unique are each chip's own; what was declared
the same may be equal, and so may flags and fields of fewer than eight bits; keys are equal on all boards or
different on all; the rest is undeclared: an equal one is refused until somebody says what is meant.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from enum import Enum
from functools import lru_cache
from typing import NamedTuple

from parburn.chips.model import Block, Chip, Codec, Field, FieldCategory
from parburn.efuse import values
from parburn.efuse.image import EfuseImage
from parburn.efuse.key_blocks import is_key
from parburn.errors import UsageError

FEWEST_BITS = 8  # of a value that can tell chips apart; shorter ones are flags and small choices
WORD = 32  # bits: single bits are taken together with the words that they stand in
NOT_SHOWN = "(a value that is not shown)"
_RANGE = r"(\w+)\[(\d{1,3}):(\d{1,3})\]"


class Place(NamedTuple):
    """`bits` bits of a block from bit `start` on."""

    block: int
    start: int
    bits: int

    @property
    def end(self) -> int:
        """The bit behind its last one."""
        return self.start + self.bits

    @property
    def mask(self) -> int:
        """Its bits within the block."""
        return ((1 << self.bits) - 1) << self.start

    def within(self, other: Place) -> bool:
        """Tell whether all of it stands in `other`."""
        return self.block == other.block and other.start <= self.start and self.end <= other.end

    def meets(self, other: Place) -> bool:
        """Tell whether any of its bits stands in `other`."""
        return self.block == other.block and self.start < other.end and other.start < self.end


class Kind(Enum):
    """What a command wrote."""

    FIELD = "field"
    DATA = "data"
    BITS = "bits"
    KEY = "key"


class Written(NamedTuple):
    """One place that a command asked for, also where nothing was added because it was there already."""

    kind: Kind
    place: Place
    name: str  # of the field or block
    by_key_command: bool = False  # its bytes are shown nowhere, also where the chip takes them for data


class Take(Enum):
    """How a value is taken; see the module's docstring."""

    OWN = "own"
    SAME = "same"
    KEY = "key"
    UNDECLARED = "undeclared"


class Declared(NamedTuple):
    """What the operator said of values: names of fields and blocks, `BLOCK3[64:96]`, `A+B` in `unique`."""

    same: tuple[str, ...] = ()
    unique: tuple[str, ...] = ()


class UserValue(NamedTuple):
    """What stands in a range, of one chip. `secret`: its block may hold a key, so a digest of it is kept.

    `of_table`: a single field of the tables, which has a name on chips of any kind and is shown in clear.
    """

    name: str
    places: tuple[Place, ...]
    bits: int
    shown: str
    take: Take
    secret: bool
    of_table: bool = False
    is_key: bool = False
    is_mac: bool = False

    def __repr__(self) -> str:  # without the bits, which may be a key's
        return f"UserValue({self.name}, {self.take.value})"


class ValueRules(NamedTuple):
    """What a chip's row and tables, and what was declared, say of its values. Made once for each chip."""

    chip: Chip
    layout: str  # chips of one layout have their user blocks alike, and are compared by bits
    blocks: frozenset[int]  # the user blocks
    clear: frozenset[int]  # those of them that can hold no key
    areas: dict[int, int]  # the user's bits in each of them
    fields: tuple[tuple[Place, Field], ...]
    same: tuple[Place, ...]
    unique: tuple[tuple[str, tuple[Place, ...]], ...]

    def held(self, image: EfuseImage) -> dict[int, int]:
        """Return the user's bits of all blocks that were read and can hold no key, by block."""
        return {n: image.blocks[n] & self.areas[n] for n in sorted(self.clear) if n in image.blocks}


@lru_cache(128)
def rules_of(chip: Chip, declared: Declared) -> ValueRules:
    """Return the rules for a chip. Declared names that it does not know are meant for others."""
    fields = _value_fields(chip)
    areas = _areas(chip, fields)
    unique = []
    for text in declared.unique:
        parts = [place_named(chip, name) for name in text.split("+")]
        places = tuple(part for part in parts if part is not None)
        if len(places) == len(parts):
            unique.append((text, places))
    same = [place for name in declared.same if (place := place_named(chip, name)) is not None]
    macs = sorted({place for place, f in fields if f.codec is Codec.CUSTOM_MAC})
    sizes = ",".join(f"{block.index}:{32 * block.words}" for block in chip.blocks[1:])
    return ValueRules(
        chip=chip,
        layout=f"{sizes};{','.join(f'{block}@{start}' for block, start, _ in macs)}",
        blocks=frozenset(areas),
        clear=frozenset(n for n in areas if not chip.blocks[n].rd_dis and not chip.blocks[n].for_keys),
        areas=areas,
        fields=fields,
        same=tuple(same),
        unique=tuple(unique),
    )


@lru_cache(128)
def _value_fields(chip: Chip) -> tuple[tuple[Place, Field], ...]:
    """Return the fields of the tables that are values, and where they stand."""
    return tuple(
        (Place(f.block, f.start, f.bits), f)
        for f in chip.fields
        if f.start is not None and (f.custom or f.codec is Codec.CUSTOM_MAC)
    )


@lru_cache(1024)
def _fields_meeting(chip: Chip, place: Place) -> tuple[tuple[Place, Field], ...]:
    """Return those that have any bit in a place: the same places are written on board after board."""
    return tuple((own, f) for own, f in _value_fields(chip) if own.meets(place))


def _areas(chip: Chip, fields: Iterable[tuple[Place, Field]]) -> dict[int, int]:
    """Return the user's bits in each user block: all of a data block, the tables' fields in others."""
    areas: dict[int, int] = {}
    for block in chip.blocks:
        if _is_for_data(chip, block):
            areas[block.index] = block.mask
    for place, _ in fields:
        areas[place.block] = areas.get(place.block, 0) | place.mask
    return areas


def _is_for_data(chip: Chip, block: Block) -> bool:
    """Tell whether a block is the user's: it holds a custom MAC, or only fields named as the block is."""
    inside = [f for f in chip.fields if f.block == block.index and f.start is not None and not f.custom]
    if block.index == 0:
        return False
    if any(f.codec is Codec.CUSTOM_MAC for f in inside):
        return True
    return not block.for_keys and all(f.name in block.names for f in inside)


def place_named(chip: Chip, name: str) -> Place | None:
    """Return the place of a field, of a block, or of `BLOCK3[64:96]`; None when the chip has none.

    64 is the first bit, 96 the bit behind the last.
    """
    part = re.fullmatch(_RANGE, name)
    if part is not None:
        block, start, end = chip.block_by_name.get(part[1]), int(part[2]), int(part[3])
        fits = block is not None and start < end <= 32 * block.words
        return Place(block.index, start, end - start) if block is not None and fits else None
    for f in chip.field_by_name.get(name, ()):
        if f.start is not None:
            return Place(f.block, f.start, f.bits)
    block = chip.block_by_name.get(name)
    return None if block is None else Place(block.index, 0, 32 * block.words)


def check_declared(declared: Declared, chips: Iterable[Chip]) -> None:
    """Check what the operator declared against all chips of the run.

    Raises:
        UsageError: no chip knows a name, a name is both same and unique, or a custom MAC may be the same.
    """
    chips = tuple(chips)
    both = set(declared.same) & set(declared.unique)
    if both:
        raise UsageError(f"{min(both)} is named in --same and in --unique", hint="It is one or the other.")
    names = [(f"--same {name}", name) for name in declared.same]
    names += [(f"--unique {text}", name) for text in declared.unique for name in text.split("+")]
    for option, name in names:
        if all(place_named(chip, name) is None for chip in chips):
            raise UsageError(
                f"{option}: no chip and no table has a field or block {name!r}",
                hint="Name a field, a block, or a part of a block as BLOCK3[64:96]. Nothing was burned.",
            )
    for name in declared.same:
        for chip in chips:
            if any(f.codec is Codec.CUSTOM_MAC for f in chip.field_by_name.get(name, ())):
                raise UsageError(
                    f"--same {name}: a custom MAC address is never the same on two chips",
                    hint="Give each index its own MAC address. Nothing was burned.",
                )


def is_value(f: Field) -> bool:
    """Tell whether a field that a command writes is a range of its own to look at."""
    return f.custom or f.codec is Codec.CUSTOM_MAC


def take_of(rules: ValueRules, places: tuple[Place, ...], kind: Kind = Kind.FIELD) -> Take:
    """Return how a value in these places is taken."""
    if any(places == own for _, own in rules.unique):
        return Take.OWN
    if all(any(place.within(same) for same in rules.same) for place in places):
        return Take.SAME
    if any(place in own for place in places for _, own in rules.unique):
        return Take.SAME  # a part of a number that is compared as a whole
    if kind is Kind.KEY:
        return Take.KEY
    return Take.SAME if sum(place.bits for place in places) < FEWEST_BITS else Take.UNDECLARED


def values_of(after: EfuseImage, written: Collection[Written], rules: ValueRules) -> tuple[UserValue, ...]:
    """Return the values that these commands leave in a chip which then shows `after`. A value of 0 is none.

    Raises:
        BlockNotRead: a block that was written is not in the image.
    """
    found: dict[tuple[Place, ...], UserValue] = {}
    for value in (
        *(value for one in written for value in _of_one(after, one, rules)),
        *_of_bits(after, written, rules),
        *_of_numbers(after, written, rules),
    ):
        if value.bits:
            found.setdefault(value.places, value)
    return tuple(found.values())


def values_found(image: EfuseImage, rules: ValueRules) -> tuple[UserValue, ...]:
    """Return the values of the tables' fields in a chip, whoever burned them, of blocks that were read."""
    found = [_of_field(image, place, f, rules) for place, f in rules.fields if _stands(image, place, f)]
    return tuple(value for value in found if value.bits)


def _stands(image: EfuseImage, place: Place, f: Field) -> bool:
    return place.block in image.blocks and image.is_shown(f)


def _of_one(after: EfuseImage, one: Written, rules: ValueRules) -> Iterator[UserValue]:
    """Yield the values that one command left, but for single bits."""
    if one.kind is Kind.KEY:
        yield _value(after, one.name, (one.place,), rules, Kind.KEY)
        return
    inside = _fields_meeting(rules.chip, one.place)
    for place, f in inside:
        named = one.kind is Kind.FIELD and place == one.place
        parts = one.kind is not Kind.FIELD and not any(p.within(place) and p != place for p, _ in inside)
        if named or ((parts or f.codec is Codec.CUSTOM_MAC) and _stands(after, place, f)):
            value = _of_field(after, place, f, rules)
            yield value._replace(shown=NOT_SHOWN, of_table=False) if one.by_key_command else value
    if one.kind is Kind.DATA and _left(after, one.place, rules):
        yield _value(after, _name_of(rules.chip, one.place), (one.place,), rules, Kind.DATA)


def _of_bits(after: EfuseImage, written: Iterable[Written], rules: ValueRules) -> Iterator[UserValue]:
    """Yield the words that bits burned by number stand in, neighbours together. One bit alone is a flag."""
    words: dict[int, set[int]] = {}
    for one in written:
        if one.kind is Kind.BITS:
            first, last = one.place.start // WORD, (one.place.end - 1) // WORD
            words.setdefault(one.place.block, set()).update(range(first, last + 1))
    for block, found in words.items():
        for word in sorted(found):
            if word - 1 in found:
                continue
            end = word
            while end in found:
                end += 1
            place = Place(block, WORD * word, WORD * (end - word))
            left = _left(after, place, rules)
            if left:
                value = _value(after, _name_of(rules.chip, place), (place,), rules, Kind.BITS)
                flag = left.bit_count() == 1 and value.take is Take.UNDECLARED
                yield value._replace(take=Take.SAME) if flag else value


def _name_of(chip: Chip, place: Place) -> str:
    block = chip.blocks[place.block]
    return block.name if place.bits == 32 * block.words else f"{block.name}[{place.start}:{place.end}]"


def _left(after: EfuseImage, place: Place, rules: ValueRules) -> int:
    """Return the bits of a place that belong to no field of the tables and to nothing beside a MAC."""
    block = rules.chip.blocks[place.block]
    if place.block not in rules.areas and not block.for_keys:
        return 0  # the factory's, or BLOCK0
    bits = after.block(place.block) & place.mask & rules.areas.get(place.block, block.mask)
    for one, f in rules.fields:
        if one.block == place.block and _stands(after, one, f):
            bits &= ~one.mask
            if f.codec is Codec.CUSTOM_MAC:
                bits &= ~beside_the_mac(rules.chip, place.block)
    return bits


@lru_cache(128)
def beside_the_mac(chip: Chip, block: int) -> int:
    """Return what a block keeps beside a custom MAC: its version and CRC."""
    mask = 0
    for f in chip.fields:
        if f.block == block and f.category == FieldCategory.MAC and not f.custom:
            mask |= f.mask
    return mask


def _of_numbers(after: EfuseImage, written: Collection[Written], rules: ValueRules) -> Iterator[UserValue]:
    """Yield the ranges that were declared unique, where a command wrote any part of them."""
    for name, places in rules.unique:
        if not any(place.meets(one.place) for place in places for one in written):
            continue
        if all(place.block in after.blocks for place in places):
            yield _value(after, name, places, rules, Kind.DATA)


def _of_field(image: EfuseImage, place: Place, f: Field, rules: ValueRules) -> UserValue:
    value = _value(image, f.name, (place,), rules, Kind.FIELD)
    is_mac = f.codec is Codec.CUSTOM_MAC
    text = shown(image, f, value.bits, rules)
    return value._replace(
        take=Take.OWN if is_mac else value.take, shown=text, of_table=text != NOT_SHOWN, is_mac=is_mac
    )


def shown(image: EfuseImage, f: Field, bits: int, rules: ValueRules) -> str:
    """Return a value of a field of the tables, for people and records.

    Not where it is of a key, or where the chip hides it: what nobody may read from it is a secret.
    """
    if f.block not in rules.clear and (is_key(image, f) or not image.is_readable(f)):
        return NOT_SHOWN
    return str(values.get(image, f, bits)).partition(" (")[0]


def _value(
    image: EfuseImage, name: str, places: tuple[Place, ...], rules: ValueRules, kind: Kind
) -> UserValue:
    bits = at = 0
    for block, start, size in places:
        bits |= (image.block(block) >> start & ((1 << size) - 1)) << at
        at += size
    secret = any(place.block not in rules.clear for place in places)
    return UserValue(
        name=name,
        places=places,
        bits=bits,
        shown=NOT_SHOWN if secret else f"0x{bits:x}",
        take=take_of(rules, places, kind),
        secret=secret,
        is_key=kind is Kind.KEY,
    )
