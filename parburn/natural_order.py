"""The order in which people count: ttyUSB2 before ttyUSB10, for ports, slots and whatever is shown. Pure."""

from __future__ import annotations

import re

_DIGITS = re.compile(r"([0-9]+)")


def natural_key(text: str) -> tuple[tuple[int, int, str], ...]:
    """Return the sort key that puts ttyUSB2 before ttyUSB10, and numbers before letters as `ls -v` does."""
    return tuple(
        (0, int(part), part) if "0" <= part[0] <= "9" else (1, 0, part)
        for part in _DIGITS.split(text)
        if part
    )
