"""A command-line number that is really one: neither NaN nor infinite."""

from __future__ import annotations

import math
from typing import Any

import click


class FiniteRange(click.ParamType[float]):
    """As click's FloatRange, which lets NaN through because no comparison holds for it."""

    name = "float range"

    # The names are click's own, so that a command reads the same with either type.
    def __init__(self, min: float | None = None, max: float | None = None) -> None:  # noqa: A002
        self._range = click.FloatRange(min, max)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number; a usage error that names the value otherwise."""
        number = float(self._range.convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a finite number.", param, ctx)
        return number
