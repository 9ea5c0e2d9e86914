"""The cheap detector: distance from a running level in units of its usual size.

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
class EwmaConfig:
    """One setting for every stream."""

    weight: float = 0.05
    """Of the newest value in the level and in the usual distance."""
    num_before_use: int = 20
    threshold: float = 8.0
    """Usual distances that score 0.5; 6 standard deviations of a Gaussian stream."""
    max_step: float = 5.0
    """Usual distances that one value may count for when learned, so that a spike does not hide the next."""


class EwmaDetector:
    """Exponential means of the value and of its absolute deviation."""

    def __init__(self, num_streams: int, config: EwmaConfig | None = None) -> None:
        self._config = config or EwmaConfig()
        self._level = np.zeros(num_streams)
        self._usual = np.zeros(num_streams)
        self._count = np.zeros(num_streams)

    def score_many(self, values: PerStream) -> PerStream:
        """0-1 for the next value of every stream, 0.5 at the alarm threshold; 0 for NaN. Nothing is learned."""
        distance = np.abs(values - self._level)
        distance /= self._usual + self._floor()
        distance *= -1.0 / self._config.threshold
        np.exp2(distance, out=distance)
        np.subtract(1.0, distance, out=distance)
        distance[~(self._count >= self._config.num_before_use) | np.isnan(distance)] = 0.0
        return distance

    def learn_many(self, values: PerStream) -> None:
        """Take the next value of every stream; NaN leaves a stream as it is."""
        step = values - self._level
        seen = ~np.isnan(step)
        self._count += seen
        weight = np.maximum(self._config.weight, 1.0 / np.maximum(self._count, 1.0))
        known = self._count > self._config.num_before_use
        bound = np.where(known, self._config.max_step * self._usual + self._floor(), np.inf)
        np.clip(step, -bound, bound, out=step)
        step[~seen] = 0.0
        weight *= seen
        self._level += weight * step
        # The first value sets the level and says nothing about distances.
        usual = np.abs(step)
        usual -= self._usual
        usual *= weight
        self._usual += np.where(self._count > 1, usual, 0.0)

    def state(self) -> dict[str, NDArray[np.generic]]:
        """Everything needed to go on after a restart."""
        return {"level": self._level.copy(), "usual": self._usual.copy(), "count": self._count.copy()}

    def restore(self, state: Mapping[str, NDArray[np.generic]]) -> None:
        """Go on from `state`."""
        self._level = np.array(state["level"], dtype=np.float64)
        self._usual = np.array(state["usual"], dtype=np.float64)
        self._count = np.array(state["count"], dtype=np.float64)

    def _floor(self) -> PerStream:
        """Keeps a constant stream's rounding from looking like news."""
        return 1e-9 * np.abs(self._level) + 1e-150
