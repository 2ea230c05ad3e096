"""StagedBurns: the bits that have been asked for. A container; what may be asked for stands in `staging`.

Nothing of it is in the chip. Beside the bits stands which values the commands want: a value is more than its
bits, since bits that other commands add, or that are burned already, make another value of it. `force` is
what `--force-write-always` gave. As in the original it belongs to what is staged and not to one command: a
command that has the option sets it, one that has not leaves it.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType, TracebackType
from typing import NamedTuple

from parburn.chips.model import Chip, Field


class Wanted(NamedTuple):
    """What a command wants a chip to hold after the burn: under `mask` of the block exactly `bits`.

    `name` is the field or block that was named. `kept`: no other command of the same script may make it
    another value, not even by more bits (keys and what goes along with them, addresses, block data).
    """

    name: str
    block: int
    mask: int
    bits: int
    kept: bool = False

    def __repr__(self) -> str:  # the bits may be a key's
        return f"Wanted({self.name}, {self.mask.bit_count()} bits)"


class StagedBurns:
    """Bits asked for, by block.

    `recovering` holds blocks whose bits are burned again to repair errors; `ignored_rules` says that
    `burn_efuse --force` was given.
    """

    __slots__ = ("_bits", "_wanted", "force", "ignored_rules", "recovering")

    def __init__(self) -> None:
        self._bits: dict[int, int] = {}
        self._wanted: tuple[Wanted, ...] = ()
        self.force = False
        self.ignored_rules = False
        self.recovering: frozenset[int] = frozenset()

    def block(self, index: int) -> int:
        """Return the bits asked for in a block."""
        return self._bits.get(index, 0)

    def field(self, f: Field) -> int:
        """Return the bits asked for in a field that has a place."""
        return 0 if f.start is None else self._bits.get(f.block, 0) >> f.start & ((1 << f.bits) - 1)

    def value(self, chip: Chip, f: Field) -> int:
        """Return the bits asked for in a field and in the fields that hold the rest of its value."""
        bits = self.field(f)
        for source in f.sources:
            if source.field is not None:
                part = self.field(chip.field_by_name[source.field][0]) >> source.bit
                bits |= (part & ((1 << source.bits) - 1)) << source.shift
        return bits

    def blocks(self) -> Mapping[int, int]:
        """Return the bits asked for by block index, a view that cannot be written to."""
        return MappingProxyType(self._bits)

    @property
    def wanted(self) -> tuple[Wanted, ...]:
        """The values that the commands want, in the order in which they were asked for."""
        return self._wanted

    def want(self, wanted: Wanted) -> None:
        """Note a value that is to stand in the chip, unchecked; its bits are asked for by `add`."""
        if wanted not in self._wanted:
            self._wanted = (*self._wanted, wanted)

    def want_anew(self, name: str) -> None:
        """Forget what was wanted under a name: a command asks for another value. What is kept stays."""
        self._wanted = tuple(one for one in self._wanted if one.kept or one.name != name)

    def only(self, index: int) -> StagedBurns:
        """Return what is asked for in one block, with `force`."""
        other = StagedBurns()
        other.force = self.force
        other.add(index, self.block(index))
        other._wanted = tuple(one for one in self._wanted if one.block == index)
        return other

    def without(self, index: int) -> StagedBurns:
        """Return what is left once one block is burned: its bits are gone, what must stay so is kept."""
        other = StagedBurns()
        other.force = self.force
        other._bits = {block: bits for block, bits in self._bits.items() if block != index}
        other._wanted = tuple(one for one in self._wanted if one.kept or one.block != index)
        return other

    def add(self, index: int, bits: int) -> None:
        """Ask for more bits in a block, unchecked."""
        if bits:
            self._bits[index] = self._bits.get(index, 0) | bits

    def copy(self) -> StagedBurns:
        """Return an independent copy."""
        other = StagedBurns()
        other.assign(self)
        return other

    def assign(self, other: StagedBurns) -> None:
        """Become equal to another."""
        self._bits = dict(other._bits)
        self._wanted = other._wanted
        self.force = other.force
        self.ignored_rules = other.ignored_rules
        self.recovering = other.recovering

    def clear(self) -> None:
        """Forget what was asked for. `force` stays until a command sets it anew, as in the original."""
        self._bits = {}
        self._wanted = ()
        self.recovering = frozenset()
        self.ignored_rules = False

    def all_or_nothing(self) -> AllOrNothing:
        """Return a context in which an exception takes back all that was staged since it was entered."""
        return AllOrNothing(self)

    def __bool__(self) -> bool:
        return bool(self._bits or self.recovering)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, StagedBurns):
            return NotImplemented
        return (self._bits, self._wanted, self.force, self.ignored_rules, self.recovering) == (
            other._bits,
            other._wanted,
            other.force,
            other.ignored_rules,
            other.recovering,
        )

    __hash__ = None  # type: ignore[assignment]  # mutable; the usual way to say so

    def __repr__(self) -> str:
        counts = {index: f"{bits.bit_count()} bits" for index, bits in sorted(self._bits.items())}
        return f"StagedBurns({counts}, force={self.force})"


class AllOrNothing:
    """A context that takes back what was staged in it when an exception leaves it."""

    __slots__ = ("_before", "_staged")

    def __init__(self, staged: StagedBurns) -> None:
        self._staged = staged

    def __enter__(self) -> StagedBurns:
        self._before = self._staged.copy()
        return self._staged

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._staged.assign(self._before)
