"""EfuseImage: the bits that a chip shows now, and what follows from them. A value; it never reads a chip.

Blocks that were not read are not guessed: asking for one raises BlockNotRead with its index, and the caller
reads it and tries again with the image that has it.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from parburn.chips.model import Block, Chip, Condition, Field
from parburn.coding import CodingScheme
from parburn.efuse.layout import WR_DIS, layout_of
from parburn.errors import EfuseError, UnknownName
from parburn.nearest import did_you_mean, nearest_names

_CLASSIC_SCHEMES = {
    0: CodingScheme.NONE,
    1: CodingScheme.THREE_QUARTERS,
    3: CodingScheme.NONE,  # NONE_RECOVERY: read and burned like NONE
}


class BlockStatus(NamedTuple):
    """What the controller reports of a block's coding: corrected errors, and whether that failed."""

    errors: int = 0
    fail: bool = False


GOOD = BlockStatus()
_NO_STATUS: Final[Mapping[int, BlockStatus]] = MappingProxyType({})
_NO_REGISTERS: Final[Mapping[int, int]] = MappingProxyType({})


class BlockNotRead(LookupError):
    """A block was asked for that is not in the image. `index` is its number; read it and try again."""

    def __init__(self, index: int) -> None:
        super().__init__(f"block {index} has not been read")
        self.index = index


class EfuseImage(NamedTuple):
    """What a chip shows. `blocks` holds the blocks that were read, as ints with word 0 low.

    `status` is by block index, `block0_errors` the error bits in BLOCK0's own layout, `registers` the values
    of `chip.extra_registers` by address.
    """

    chip: Chip
    blocks: Mapping[int, int]
    status: Mapping[int, BlockStatus] = _NO_STATUS
    block0_errors: int = 0
    registers: Mapping[int, int] = _NO_REGISTERS

    def __repr__(self) -> str:  # without the bits, which may be a key's
        return f"EfuseImage({self.chip.name}, blocks {sorted(self.blocks)})"

    def block(self, index: int) -> int:
        """Return the bits of a block.

        Raises:
            BlockNotRead: the block is not in the image.
        """
        try:
            return self.blocks[index]
        except KeyError:
            raise BlockNotRead(index) from None

    def scheme(self, index: int) -> CodingScheme:
        """Return the coding scheme of a block. BLOCK0 has none of its own.

        Raises:
            EfuseError: the classic controller's scheme is REPEAT, which nothing supports.
        """
        if index == 0:
            return CodingScheme.NONE
        field = self.chip.scheme_field
        if field is None:
            return self.chip.coding
        value = self.field_bits(field)
        if value not in _CLASSIC_SCHEMES:
            raise EfuseError(
                f"this chip's {field.name} is {value}, {field.meanings.get(value, 'which is unknown')}: "
                "nothing can be burned in that scheme",
                hint="only chips with the coding schemes None and 3/4 can be burned",
            )
        return _CLASSIC_SCHEMES[value]

    def block_bits(self, index: int) -> int:
        """Return how many bits a block holds for its user: 192 under 3/4 coding, else all of its words.

        Raises:
            EfuseError: see `scheme`.
        """
        bits = 32 * layout_of(self.chip).blocks[index].words
        return bits * 3 // 4 if self.scheme(index) is CodingScheme.THREE_QUARTERS else bits

    def condition(self, name: str) -> bool:
        """Tell whether a condition of the chip row holds."""
        condition: Condition | None = self.chip.conditions[name]
        while condition is not None:
            if condition.holds(self.field_bits(self.chip.field_by_name[condition.field][0])):
                return True
            condition = condition.or_else
        return False

    def is_shown(self, f: Field) -> bool:
        """Tell whether a field belongs in a listing of this chip."""
        return not f.shown_when or self.condition(f.shown_when)

    def fields(self) -> tuple[Field, ...]:
        """Return the fields shown now, in the order of the table."""
        return tuple(f for f in self.chip.fields if self.is_shown(f))

    def field_named(self, name: str) -> Field:
        """Return the field of a name or alternative name; of several, the one that holds for this chip.

        Raises:
            UnknownName: there is none; the hint has the nearest names.
        """
        candidates = self.chip.field_by_name.get(name, ())
        for candidate in candidates:
            if self.is_shown(candidate):
                return candidate
        for candidate in candidates:
            if candidate.on_request:
                return candidate
        raise UnknownName(f"{self.chip.title} has no eFuse named {name!r}", hint=_nearest(self.chip, name))

    def value_of(self, name: str) -> int:
        """Return the bits of the field of that name, whether or not it belongs in a listing of this chip.

        Raises:
            KeyError: no field has this name.
        """
        return self.field_bits(self.chip.field_by_name[name][0])

    def field_bits(self, f: Field) -> int:
        """Return the bits of a field's own place; a composed field is put together from its sources.

        Raises:
            BlockNotRead: a block of it is not in the image.
        """
        if f.start is not None:
            return self.block(f.block) >> f.start & ((1 << f.bits) - 1)
        value = 0
        for source in f.sources:
            if source.field is not None:
                part = self.field_bits(self.chip.field_by_name[source.field][0]) >> source.bit
            else:
                part = self.registers.get(source.address or 0, 0) >> source.bit
            value |= (part & ((1 << source.bits) - 1)) << source.shift
        return f.value_map.get(value, 0) if f.value_map else value

    def value_bits(self, f: Field) -> int:
        """Return the bits of a field's whole value: for one whose high bits stand elsewhere, those too.

        Raises:
            BlockNotRead: a block of it is not in the image.
        """
        value = self.field_bits(f)
        if f.start is not None:
            for source in f.sources:
                part = self.field_bits(self.chip.field_by_name[source.field or ""][0]) >> source.bit
                value |= (part & ((1 << source.bits) - 1)) << source.shift
        return value

    def is_readable(self, what: Field | Block, part: int | None = None) -> bool:
        """Tell whether software can read a field or block; `part` picks one of its RD_DIS bits."""
        bits = what.rd_dis if part is None else what.rd_dis[part : part + 1]
        if not bits:
            return True
        rd_dis = self.field_bits(layout_of(self.chip).rd_dis)
        return not any(rd_dis >> bit & 1 for bit in bits)

    def is_writeable(self, what: Field | Block) -> bool:
        """Tell whether a field or block can still be burned."""
        if what.wr_dis is None:
            return True
        return not self.field_bits(layout_of(self.chip).wr_dis) >> what.wr_dis & 1

    def as_shown(self) -> EfuseImage:
        """Return this image without the bits that its own RD_DIS hides: what a chip shows of it."""
        layout = layout_of(self.chip)
        rd_dis = self.field_bits(layout.rd_dis)
        if not rd_dis:
            return self
        return self.with_blocks({n: bits & ~layout.hidden(n, rd_dis) for n, bits in self.blocks.items()})

    def is_torn(self, index: int) -> bool:
        """Tell whether the decoder of a coded block reports errors: bits that it shows may not be burned."""
        status = self.status.get(index, GOOD)
        return (status.errors > 0 or status.fail) and self.scheme(index) is not CodingScheme.NONE

    def with_blocks(
        self,
        blocks: Mapping[int, int],
        status: Mapping[int, BlockStatus] | None = None,
        block0_errors: int | None = None,
    ) -> EfuseImage:
        """Return an image in which these blocks are read anew; what is not given stays."""
        return EfuseImage(
            self.chip,
            {**self.blocks, **blocks},
            {**self.status, **status} if status else self.status,
            self.block0_errors if block0_errors is None else block0_errors,
            self.registers,
        )


def _nearest(chip: Chip, name: str) -> str:
    mask, _, guarded = name.upper().replace(".", "_").removeprefix("ESP_EFUSE_").partition("_DIS_")
    if mask in ("WR", "RD") and guarded:  # as ESP-IDF calls the bits of these masks
        return _lock_hint(chip, f"{mask}_DIS", guarded)
    return did_you_mean(name, chip.field_by_name) or "`summary` lists all names"


def _lock_hint(chip: Chip, mask: str, guarded: str) -> str:
    """Return which command sets the bit of a mask that ESP-IDF names by what it guards."""
    known: dict[str, Field | Block] = {**chip.block_by_name}
    known.update((name, found[0]) for name, found in chip.field_by_name.items())
    guards = [
        name for name, what in known.items() if (what.wr_dis is not None if mask == WR_DIS else what.rd_dis)
    ]
    guarded = guarded.replace("BLK", "BLOCK")  # ESP-IDF's short form
    name, *others = [guarded] if guarded in guards else nearest_names(guarded, guards) or ["NAME"]
    command = "write_protect_efuse" if mask == WR_DIS else "read_protect_efuse"
    more = f" (or {', '.join(others)})" if others else ""
    return f"this is a bit of {mask}: write `{command} {name}`{more}"
