"""A plan template as plain values for a file, there and back, and its digest. No key is in it."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from parburn.station.shapes import StepShape, Thing
from parburn.station.template import Fixed, Free, Part, PlanTemplate, TemplateBurn, Variant


def template_rows(template: PlanTemplate) -> dict[str, Any]:
    """Return a template as plain values for a file."""
    return {
        name: [
            {
                "records": variant.records,
                "first": variant.first,
                "burns": [_burn_json(burn) for burn in variant.burns],
            }
            for variant in variants
        ]
        for name, variants in sorted(template.chips.items())
    }


def template_digest(template: PlanTemplate) -> str:
    """Return a digest of what may be burned: not of how many records there are."""
    text = repr(
        [
            (name, sorted(repr([_burn_json(burn) for burn in variant.burns]) for variant in variants))
            for name, variants in sorted(template.chips.items())
        ]
    )
    return sha256(text.encode("utf-8", "backslashreplace")).hexdigest()


def template_from(chips: Mapping[str, Any]) -> PlanTemplate:
    """Return the template that `template_rows` gave.

    Raises:
        KeyError, TypeError, ValueError: it is none.
    """
    return PlanTemplate(
        {
            str(name): tuple(
                Variant(
                    tuple(_burn_from(burn) for burn in one["burns"]), int(one["records"]), int(one["first"])
                )
                for one in variants
            )
            for name, variants in chips.items()
        }
    )


def _burn_json(burn: TemplateBurn) -> dict[str, Any]:
    return {
        "parts": [_part_json(part) for part in burn.parts],
        "steps": [[step.label, step.locks, str(step.ends_link)] for step in burn.steps],
        "forced": list(burn.forced),
    }


def _part_json(part: Part) -> dict[str, Any]:
    thing, holds = part
    row: dict[str, Any] = {"name": thing.name, "block": thing.block, "mask": f"{thing.mask:x}"}
    row["whole"] = thing.whole
    row["pinned"] = thing.pinned is not None
    row["secret"] = thing.secret
    if isinstance(holds, Free):
        return {**row, "free": True, "may_be_zero": holds.may_be_zero}
    return {**row, **({"digest": holds.digest} if holds.bits is None else {"bits": f"{holds.bits:x}"})}


def _burn_from(row: Mapping[str, Any]) -> TemplateBurn:
    steps = tuple(StepShape(str(label), bool(locks), str(end)) for label, locks, end in row["steps"])
    return TemplateBurn(tuple(map(_part_from, row["parts"])), steps, tuple(map(str, row["forced"])))


def _part_from(row: Mapping[str, Any]) -> Part:
    bits = int(row["bits"], 16) if "bits" in row else None
    if row.get("free"):
        holds: Fixed | Free = Free(bool(row["may_be_zero"]))
    else:
        holds = Fixed(bits, "" if bits is not None else str(row["digest"]))
    pinned = bits if row["pinned"] else None
    thing = Thing(
        str(row["name"]), int(row["block"]), int(row["mask"], 16), bool(row["whole"]), pinned,
        bool(row["secret"]),
    )  # fmt: skip
    return Part(thing, holds)
