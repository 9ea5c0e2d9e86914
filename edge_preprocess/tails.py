"""How surprising a number is against a stream's own past, on one scale for all streams.

Shapes: S streams.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float64
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Mapping

PerStream = Float64[NDArray[np.float64], "*streams"]

_TAIL_SHARE = 0.1
_SURPRISE_AT_TAIL = -np.log10(_TAIL_SHARE)
_LOG10_E = 0.4342944819
_MIN_WEIGHT = 0.001
"""A stream's past fades over about 1,000 values."""
_QUANTILE_STEP = 5.0
MAX_SURPRISE = 30.0


class ExponentialTail:
    """-log10 of the chance of a value as large, from a running 0.9 quantile and the mean excess over it."""

    def __init__(self, shape: tuple[int, ...], *, num_before_use: int) -> None:
        self._num_before_use = num_before_use
        self._quantile: PerStream = np.zeros(shape)
        self._excess: PerStream = np.zeros(shape)
        self._count = np.zeros(shape)
        self._num_excesses = np.zeros(shape)

    def surprise(self, raw: PerStream) -> PerStream:
        """0 for nothing unusual, 1 at the one-in-ten value, 3 for one in a thousand; 0 where raw is NaN."""
        floor = self._floor(raw)
        beyond = _SURPRISE_AT_TAIL + _LOG10_E * (raw - self._quantile) / (self._excess + floor)
        within = _SURPRISE_AT_TAIL * raw / (self._quantile + floor)
        surprise = np.where(raw > self._quantile, beyond, within)
        usable = (self._count > self._num_before_use) & ~np.isnan(raw)
        return np.where(usable, np.minimum(surprise, MAX_SURPRISE), 0.0)

    def learn(self, raw: PerStream) -> None:
        """Take the newest raw number of every stream; NaN leaves a stream as it is."""
        seen = ~np.isnan(raw)
        raw = np.where(seen, raw, 0.0)
        first = seen & (self._count == 0)
        self._count = self._count + seen
        self._quantile = np.where(first, raw, self._quantile)
        self._excess = np.where(first, np.abs(raw), self._excess)
        weight = np.maximum(_MIN_WEIGHT, 1.0 / np.maximum(self._count, 1.0))
        above = raw > self._quantile
        step = weight * self._excess * _QUANTILE_STEP * np.where(above, 1 - _TAIL_SHARE, -_TAIL_SHARE)
        self._quantile = np.where(seen, np.maximum(self._quantile + step, 0.0), self._quantile)
        over = seen & (raw > self._quantile)
        self._num_excesses = self._num_excesses + over
        rate = np.maximum(_MIN_WEIGHT / _TAIL_SHARE, 1.0 / (1.0 + self._num_excesses))
        self._excess = np.where(over, self._excess + rate * (raw - self._quantile - self._excess), self._excess)

    def _floor(self, raw: PerStream) -> PerStream:
        return 1e-9 * (np.abs(raw) + self._quantile + self._excess) + 1e-300

    def state(self) -> dict[str, NDArray[np.float64]]:
        """Everything needed to go on after a restart."""
        return {
            "quantile": self._quantile,
            "excess": self._excess,
            "count": self._count,
            "num_excesses": self._num_excesses,
        }

    def restore(self, state: Mapping[str, NDArray[np.float64]]) -> None:
        """Go on from `state`."""
        self._quantile, self._excess = state["quantile"].copy(), state["excess"].copy()
        self._count, self._num_excesses = state["count"].copy(), state["num_excesses"].copy()
