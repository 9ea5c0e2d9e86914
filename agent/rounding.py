"""Figures cut to the digits that are known of them."""

from __future__ import annotations

import math


def to_digits(value: float, digits: int) -> float:
    """The value with so many significant digits."""
    if value == 0 or not math.isfinite(value):
        return value
    return round(value, digits - 1 - math.floor(math.log10(abs(value))))
