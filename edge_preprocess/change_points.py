"""Lasting changes of level: two-sided cumulative sums against a slow level, started anew after each change.

Shapes: S streams.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float64
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Mapping

PerStream = Float64[NDArray[np.float64], " streams"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangePointConfig:
    """One setting for every stream."""

    num_before_use: int = 30
    weight: float = 0.02
    """Of the newest value in the level and the usual distance."""
    slack: float = 1.0
    """Usual distances that a value may be off without adding to the sum."""
    max_step: float = 4.0
    """Most that one value adds, so that a single spike is no change."""
    threshold: float = 16.0
    """Sum that scores 0.5."""


class ChangePointDetector:
    """Source: Page 1954 (CUSUM), with clipped steps."""

    _STATE = ("_level", "_usual", "_count", "_above", "_below")

    def __init__(self, num_streams: int, config: ChangePointConfig | None = None) -> None:
        self._config = config or ChangePointConfig()
        self._level, self._usual, self._count = (np.zeros(num_streams) for _ in range(3))
        self._above, self._below = np.zeros(num_streams), np.zeros(num_streams)

    def score_many(self, values: PerStream) -> PerStream:
        """0-1 for the next value of every stream, 0.5 at a change; 0 for NaN. Nothing is learned."""
        above, below = self._sums(values)
        score = 1.0 - 2.0 ** (-np.maximum(above, below) / self._config.threshold)
        return np.asarray(np.where(np.isnan(values), 0.0, score))

    def learn_many(self, values: PerStream) -> None:
        """Take the next value of every stream; NaN leaves a stream as it is."""
        seen = ~np.isnan(values)
        above, below = self._sums(values)
        changed = seen & (np.maximum(above, below) >= self._config.threshold)
        self._above = np.where(seen, above, self._above)
        self._below = np.where(seen, below, self._below)
        self._count = np.where(changed, 0.0, self._count + seen)
        for name in ("_above", "_below"):
            setattr(self, name, np.where(changed, 0.0, getattr(self, name)))
        step = np.where(seen, values - self._level, 0.0)
        weight = np.where(seen, np.maximum(self._config.weight, 1.0 / np.maximum(self._count, 1.0)), 0.0)
        # After a change the level starts anew at the value; the usual distance stays what it was.
        self._level = np.where(changed, values, self._level + weight * step)
        learns_spread = seen & ~changed & (self._count > 1)
        bound = np.where(self._count > self._config.num_before_use, self._config.max_step * self._usual, np.inf)
        spread = np.minimum(np.abs(step), bound)
        self._usual = np.where(learns_spread, self._usual + weight * (spread - self._usual), self._usual)

    def state(self) -> dict[str, NDArray[np.generic]]:
        """Everything needed to go on after a restart."""
        return {name.removeprefix("_"): getattr(self, name).copy() for name in self._STATE}

    def restore(self, state: Mapping[str, NDArray[np.generic]]) -> None:
        """Go on from `state`."""
        for name in self._STATE:
            setattr(self, name, np.array(state[name.removeprefix("_")], dtype=np.float64))

    def _sums(self, values: PerStream) -> tuple[PerStream, PerStream]:
        floor = 1e-9 * np.abs(self._level) + 1e-150
        off = np.where(np.isnan(values), 0.0, (values - self._level) / (self._usual + floor))
        most, slack = self._config.max_step, self._config.slack
        usable = (self._count >= self._config.num_before_use) & ~np.isnan(values)
        above = np.maximum(self._above + np.clip(off, -most, most) - slack, 0.0)
        below = np.maximum(self._below - np.clip(off, -most, most) - slack, 0.0)
        return np.where(usable, above, self._above), np.where(usable, below, self._below)
