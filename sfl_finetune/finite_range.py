"""A command-line number that is really one: neither NaN nor infinite."""

from __future__ import annotations

import math
from typing import Any

import click


class FiniteRange(click.ParamType[float]):
    """As click's FloatRange, which lets NaN through because no comparison holds for it; bounds may be open."""

    name = "float range"

    # The names are click's own, so that a command reads the same with either type.
    def __init__(
        self,
        min: float | None = None,  # noqa: A002 - click's name
        max: float | None = None,  # noqa: A002 - click's name
        *,
        min_open: bool = False,
        max_open: bool = False,
    ) -> None:
        """Both ends belong to the range unless they are open."""
        self._range = click.FloatRange(min, max, min_open=min_open, max_open=max_open)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number; a usage error that names option and value otherwise."""
        number = float(self._range.convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a finite number.", param, ctx)
        return number
