"""Holds what was dispatched to its promise: sees KPIs get worse beyond noise and says where to go back to."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from statistics import fmean, stdev

MIN_HISTORY = 3
"""Intervals after which it is known what is normal."""
_QUANTILES = (12.85, 6.99, 5.32, 4.57, 4.15, 3.89, 3.7, 3.57, 3.47, 3.39, 3.33, 3.28, 3.23, 3.2, 3.17, 3.14, 3.11, 3.09)
"""Student's t at .997, one-sided, for 2 to 19 degrees of freedom: one bad interval in 300 is chance, two in a row
hardly ever are."""


@dataclass(slots=True, kw_only=True)
class RollbackWatch:
    """Compares each interval's utility with what is normal; learns only from intervals that are normal.

    Policies that follow one another while things are bad don't reset it: the version in force at the last
    good interval stays the one to go back to.
    """

    history_len: int = 20
    """Good intervals that the normal level and its noise are taken from."""
    last_good_version: int = 0
    _levels: deque[float] = field(default_factory=deque)
    """Utilities of good intervals."""
    _surprises: deque[float] = field(default_factory=deque)
    """Utilities of good intervals, less what was expected of them."""
    _num_bad: int = 0

    def observe(
        self, utility: float, *, version: int, drop: float, num_intervals: int, expected: float | None = None
    ) -> int | None:
        """The version to go back to, once `num_intervals` in a row are worse by `drop` and by more than noise.

        `utility` is the interval's measured worth under `version`; `expected` is what the twin says the version
        before would have given in the same interval, where known: then a surge of demand is nobody's fault.
        """
        if not self._is_bad(utility, drop=drop, expected=expected) or version == self.last_good_version:
            self._learn(utility, version, expected)
            return None
        self._num_bad += 1
        if self._num_bad < num_intervals:
            return None
        self._num_bad = 0
        return self.last_good_version

    def restart(self, version: int) -> None:
        """A rollback was sent as this version: what follows is the new normal, for there is nothing older to blame."""
        self.last_good_version = version
        self._num_bad = 0
        self._levels.clear()
        self._surprises.clear()

    def _is_bad(self, utility: float, *, drop: float, expected: float | None) -> bool:
        if not math.isfinite(utility):
            return True
        history = self._levels if expected is None else self._surprises
        if len(history) < MIN_HISTORY:
            return False
        normal = fmean(history) + (expected or 0.0)
        return utility < normal - max(drop, _noise(history))

    def _learn(self, utility: float, version: int, expected: float | None) -> None:
        self._num_bad = 0
        self.last_good_version = version
        if math.isfinite(utility):
            self._keep(self._levels, utility)
            if expected is not None:
                self._keep(self._surprises, utility - expected)

    def _keep(self, history: deque[float], value: float) -> None:
        history.append(value)
        while len(history) > self.history_len:
            history.popleft()


def _noise(history: deque[float]) -> float:
    """How far below its usual level a further value may lie by chance: the bound of a prediction interval."""
    num = len(history)
    return _QUANTILES[min(num - 3, len(_QUANTILES) - 1)] * stdev(history) * math.sqrt(1.0 + 1.0 / num)
