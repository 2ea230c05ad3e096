"""StagedBurns: the bits that have been asked for. A container; what may be asked for stands in `staging`.

Nothing of it is in the chip. `force` is what `--force-write-always` gave. As in the original it belongs to
what is staged and not to one command: a command that has the option sets it, one that has not leaves it.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType, TracebackType

from parburn.chips.model import Chip, Field


class StagedBurns:
    """Bits asked for, by block. `recovering` holds blocks whose bits are burned again to mend errors;
    `ignored_rules` says that `burn_efuse --force` was given."""

    __slots__ = ("_bits", "force", "ignored_rules", "recovering")

    def __init__(self) -> None:
        self._bits: dict[int, int] = {}
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
        self.force = other.force
        self.ignored_rules = other.ignored_rules
        self.recovering = other.recovering

    def clear(self) -> None:
        """Forget what was asked for. `force` stays until a command sets it anew, as in the original."""
        self._bits = {}
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
        return (self._bits, self.force, self.ignored_rules, self.recovering) == (
            other._bits,
            other.force,
            other.ignored_rules,
            other.recovering,
        )

    __hash__ = None  # type: ignore[assignment]  # mutable; the usual way to say so

    def __repr__(self) -> str:
        counts = {index: f"{bits.bit_count()} bits" for index, bits in sorted(self._bits.items())}
        return f"StagedBurns({counts}, force={self.force})"


class AllOrNothing:
    """See `StagedBurns.all_or_nothing`."""

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
