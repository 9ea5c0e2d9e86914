"""Holds what was dispatched to its promise: sees KPIs get worse beyond noise and says where to go back to."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from statistics import fmean, pstdev

_MIN_HISTORY = 3
_NOISE_DEVIATIONS = 2.0


@dataclass(slots=True, kw_only=True)
class RollbackWatch:
    """Compares each interval's utility with what is normal; learns only from intervals that are normal.

    Policies that follow one another while things are bad don't reset it: the version in force at the last
    good interval stays the one to go back to.
    """

    history_len: int = 6
    """Good intervals that the normal level is taken from."""
    last_good_version: int = 0
    _good: deque[float] = field(default_factory=deque)
    _num_bad: int = 0

    def observe(
        self, utility: float, *, version: int, drop: float, num_intervals: int, expected: float | None = None
    ) -> int | None:
        """The version to go back to, once `num_intervals` in a row are worse by `drop` and by more than noise.

        `utility` is the interval's measured worth under `version`; `expected` is what the twin says the version
        before would have given in the same interval, where known: then a surge of demand is nobody's fault.
        """
        if not self._is_bad(utility, drop=drop, expected=expected) or version == self.last_good_version:
            self._learn(utility, version)
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
        self._good.clear()

    def _is_bad(self, utility: float, *, drop: float, expected: float | None) -> bool:
        if not math.isfinite(utility):
            return True
        if len(self._good) < _MIN_HISTORY:
            return False
        noise = _NOISE_DEVIATIONS * pstdev(self._good)
        normal = fmean(self._good) if expected is None else expected
        return utility < normal - max(drop, noise)

    def _learn(self, utility: float, version: int) -> None:
        self._num_bad = 0
        self.last_good_version = version
        if math.isfinite(utility):
            self._good.append(utility)
        while len(self._good) > self.history_len:
            self._good.popleft()
