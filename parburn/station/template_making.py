"""From shapes that were rehearsed to a plan template, and whether later records fit into one. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from parburn.errors import UsageError
from parburn.station.shapes import BurnShape, Shape, Thing, Value
from parburn.station.template import Fixed, Free, Part, PlanTemplate, TemplateBurn, Variant, fixed

MOST_VARIANTS: Final = 48


def template_of(shapes: Mapping[str, Iterable[tuple[int, Shape]]], digest_key: bytes) -> PlanTemplate:
    """Return the template of what was rehearsed.

    Args:
        shapes: By kind of chip, index and shape of each record, also those of another chip.
        digest_key: The ledger's key for digests.

    Raises:
        UsageError: the records give more different plans than anybody could check.
    """
    return PlanTemplate({chip: _variants(chip, found, digest_key) for chip, found in shapes.items()})


def _variants(chip: str, shapes: Iterable[tuple[int, Shape]], digest_key: bytes) -> tuple[Variant, ...]:
    found: dict[tuple[BurnShape, ...], _Tally] = {}
    for index, shape in shapes:
        tally = found.get(shape.burns)
        if tally is None:
            tally = found[shape.burns] = _Tally(index, list(shape.values))
            if len(found) > MOST_VARIANTS:
                raise UsageError(
                    f"the records give more than {MOST_VARIANTS} different plans on {chip}: nobody can check "
                    "such a template",
                    hint="Give the batch's records the same fields, or make several jobs of it.",
                )
        tally.add(index, shape.values)
    free = _free_things(found)
    return tuple(
        _variant(burns, tally, free, digest_key) for burns, tally in sorted(found.items(), key=_order)
    )


def _free_things(found: Mapping[tuple[BurnShape, ...], _Tally]) -> set[Thing]:
    """Return the things that differ between records, also where these are of different variants."""
    free: set[Thing] = set()
    known: dict[tuple[int, Thing], Value] = {}
    for burns, tally in found.items():
        values = iter(zip(tally.values, tally.differs, strict=True))
        for number, burn in enumerate(burns):
            for thing in burn.things:
                if thing.pinned is None:
                    value, differs = next(values)
                    if differs or known.setdefault((number, thing), value) != value:
                        free.add(thing)
    return free


def _order(item: tuple[tuple[BurnShape, ...], _Tally]) -> tuple[int, int, str]:
    burns, tally = item
    return -len(tally.indexes), min(tally.indexes), repr(burns)


class _Tally:
    """What was seen of one shape."""

    def __init__(self, index: int, values: list[Value]) -> None:
        self.indexes = {index}
        self.values = values
        self.differs = [False] * len(values)
        self.zero = [False] * len(values)

    def add(self, index: int, values: tuple[Value, ...]) -> None:
        self.indexes.add(index)
        for n, value in enumerate(values):
            if value != self.values[n]:
                self.differs[n] = True
            if not value:
                self.zero[n] = True


def _variant(burns: tuple[BurnShape, ...], tally: _Tally, free: set[Thing], digest_key: bytes) -> Variant:
    values = iter(zip(tally.values, tally.zero, strict=True))

    def holds(thing: Thing) -> Fixed | Free:
        if thing.pinned is not None:
            return Fixed(thing.pinned)
        value, zero = next(values)
        return Free(zero) if thing in free else fixed(value, digest_key)

    made = tuple(
        TemplateBurn(tuple(Part(thing, holds(thing)) for thing in burn.things), burn.steps, burn.forced)
        for burn in burns
    )
    return Variant(made, len(tally.indexes), min(tally.indexes))


def admits(template: PlanTemplate, chip: str, shape: Shape, digest_key: bytes) -> bool:
    """Tell whether a record that was rehearsed later gives nothing that is not in the template."""
    return any(_admits(variant, shape, digest_key) for variant in template.chips.get(chip, ()))


def _admits(variant: Variant, shape: Shape, digest_key: bytes) -> bool:
    if len(variant.burns) != len(shape.burns):
        return False
    values = iter(shape.values)
    for burn, other in zip(variant.burns, shape.burns, strict=True):
        if tuple(part.thing for part in burn.parts) != other.things:
            return False
        if burn.steps != other.steps or burn.forced != other.forced:
            return False
        for thing, holds in burn.parts:
            if thing.pinned is not None:
                continue
            value = next(values)
            if isinstance(holds, Free):
                if not value and not holds.may_be_zero:
                    return False
            elif fixed(value, digest_key) != holds:
                return False
    return True
