"""The coding schemes of eFuse blocks. Names and sizes only; the arithmetic stands in its own modules."""

from __future__ import annotations

from enum import Enum


class CodingScheme(Enum):
    """How a block's data become the bits that are burned (TRM, chapter eFuse Controller)."""

    NONE = "none"  # the data are the bits
    THREE_QUARTERS = "3/4"  # 6 data bytes become 8: ESP32 blocks 1-3
    RS = "rs"  # 32 data bytes get 12 check bytes: every chip since ESP32-S2
