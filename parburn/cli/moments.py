"""A time as the command line has it: a date, a date and a time, or how long ago. Pure but for the clock."""

from __future__ import annotations

import argparse
import re
from datetime import UTC, datetime, timedelta

_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def moment(text: str, now: datetime | None = None) -> str:
    """Return a time as the ledger writes it: UTC, ISO 8601 with milliseconds.

    Args:
        text: `2026-11-29`, `2026-11-29 06:40`, with `Z` or an offset or without (then it is UTC); or `8h`,
            `30m`, `7d`, `2w`: so long ago.
        now: What counts as now; None for the clock.

    Raises:
        ArgumentTypeError: it is none of these.
    """
    found = re.fullmatch(r"(\d{1,5})([mhdw])", text.strip())
    try:
        if found:
            when = (now or datetime.now(UTC)) - timedelta(**{_UNITS[found[2]]: int(found[1])})
        else:
            when = datetime.fromisoformat(text.strip())
        when = when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no time; write 2026-11-29, '2026-11-29 06:40' (UTC) or 8h (ago)"
        ) from None
    return when.isoformat(timespec="milliseconds")
