"""What `parburn ledger verify` says of what it found."""

from __future__ import annotations

from collections.abc import Sequence

from parburn.errors import LedgerUnusable
from parburn.ledger.verify_share import Found
from parburn.ledger_place import Place

DOUBLES_SHOWN = 20
BREAKS_SHOWN = 5
GOOD_COPY = "Put a good copy back from a backup; do not burn with this one."


def refuse_broken(place: Place, found: Sequence[Found]) -> None:
    """Raise LedgerUnusable with the first places that are broken, if any is."""
    breaks = [what for one in found for what in one.first]
    count = sum(one.count for one in found)
    if count:
        more = f" And {count - BREAKS_SHOWN} more." if count > BREAKS_SHOWN else ""
        raise LedgerUnusable(
            f"The ledger {place} does not verify. {' '.join(breaks[:BREAKS_SHOWN])}{more}", hint=GOOD_COPY
        )


def doubles_text(unknown: str, doubles: Sequence[str]) -> str:
    """Return what is known of values that two chips have, and what cannot be known."""
    shown = doubles[:DOUBLES_SHOWN]
    more = [f"And {len(doubles) - len(shown)} more."] if len(doubles) > len(shown) else []
    lines = [f"Double: {line}" for line in shown] + more
    if unknown:
        lines.append(
            f"{unknown} Until then nobody can say that there are no {'more ' * bool(doubles)}doubles."
        )
    return "".join(f"{line}\n" for line in lines)
