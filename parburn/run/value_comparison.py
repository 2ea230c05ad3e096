"""The values of one run's boards side by side: which are planned twice, and how each is taken. Pure.

A value in its range is compared with what every other board of the run will hold there, whatever wrote it;
values of the tables' fields also by their names, over chips of all kinds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from parburn.efuse.user_values import NOT_SHOWN, Place, Take, UserValue
from parburn.errors import ParburnError, UniqueValueTaken
from parburn.run.shared import PlanOfBoard

Where = tuple[str, tuple[Place, ...]]


def doubled_values(plans: Sequence[PlanOfBoard]) -> dict[str, ParburnError]:
    """Return by port why boards of this run must not be burned: two of them plan one value.

    A board whose very plan was begun before is not refused: the value is its own already.
    """
    refused: dict[str, ParburnError] = {}
    places = {
        (plan.layout, value.places): value
        for plan in plans
        for value in plan.values
        if value.take in (Take.OWN, Take.UNDECLARED) and not value.is_key
    }
    for (layout, where), value in places.items():
        _refuse_equal(refused, value, [(_held(plan, where), plan) for plan in plans if plan.layout == layout])
    named = {value.name: value for plan in plans for value in plan.values if _is_named(value)}
    for name, value in named.items():
        _refuse_equal(refused, value, [(plan.unique_values.get(name), plan) for plan in plans])
    for value in _keys(plans):
        held = [(_key_in(plan, value.name), plan) for plan in plans]
        if value.take is Take.OWN or len({bits for bits, _ in held if bits}) > 1:
            _refuse_equal(refused, value, held)
    return refused


def _is_named(value: UserValue) -> bool:
    return value.of_table and value.take is not Take.SAME and value.shown != NOT_SHOWN


def _keys(plans: Iterable[PlanOfBoard]) -> list[UserValue]:
    """Return one key of each name."""
    found = {
        value.name: value
        for plan in plans
        for value in plan.values
        if value.is_key and value.take in (Take.OWN, Take.KEY)
    }
    return list(found.values())


def _key_in(plan: PlanOfBoard, name: str) -> int:
    return next((value.bits for value in plan.values if value.is_key and value.name == name), 0)


def _held(plan: PlanOfBoard, where: tuple[Place, ...]) -> int:
    """Return what a board will hold in a range: what it plans there, else its bits; 0: not known."""
    for value in plan.values:
        if value.places == where:
            return value.bits
    bits = at = 0
    for place in where:
        if place.block not in plan.held:
            return 0
        bits |= (plan.held[place.block] & place.mask) >> place.start << at
        at += place.bits
    return bits


def _refuse_equal(
    refused: dict[str, ParburnError], value: UserValue, boards: Sequence[tuple[object, PlanOfBoard]]
) -> None:
    by_value: dict[object, list[PlanOfBoard]] = {}
    for held, plan in boards:
        if held:
            by_value.setdefault(held, []).append(plan)
    for equal in by_value.values():
        if len(equal) < 2:
            continue
        for plan in equal:
            if not plan.begun:
                others = [f"{one.mac} at {one.port}" for one in equal if one is not plan]
                mine = next((one for one in plan.values if one.places == value.places), value)
                refused.setdefault(plan.port, _refusal(mine, others))


def _refusal(value: UserValue, others: Sequence[str]) -> UniqueValueTaken:
    more = f" and {len(others) - 1} more" if len(others) > 1 else ""
    allow = "" if value.take is Take.OWN else f" If boards may have it in common: --same {value.name}."
    return UniqueValueTaken(
        f"{value.name} {value.shown} is planned for more than one board of this run: "
        f"for {others[0]}{more} too",
        hint="Give each index its own value in the config files. None of these boards was burned." + allow,
    )


def how_taken(plans: Sequence[PlanOfBoard]) -> str:
    """Return in a sentence how the values of these plans are taken; empty where there are none."""
    values = {value.name: value for plan in plans for value in plan.values}
    parts = [_how(value, plans) for value in values.values()]
    return f"Values: {'; '.join(part for part in parts if part)}." if any(parts) else ""


def _how(value: UserValue, plans: Sequence[PlanOfBoard]) -> str:
    name = value.name
    if value.take is Take.OWN:
        return f"{name} own value each"
    if value.take is Take.SAME:
        return f"{name} may be the same" if value.places and _is_long(value) else ""
    if value.take is Take.UNDECLARED:
        return f"{name} undeclared: a second board with it will be refused, or give --same {name}"
    keys = [_key_in(plan, name) for plan in plans]
    if len(keys) > 1 and len(set(keys)) == 1:
        return f"{name}: the same key on every board"
    if len(keys) > 1:
        return f"{name}: a key of its own each"
    return f"{name}: a key; equal on every board or its own on each, until a second board shows which"


def _is_long(value: UserValue) -> bool:
    return sum(place.bits for place in value.places) >= 8
