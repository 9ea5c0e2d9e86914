"""What the twin foresaw for a policy, and when that is reason enough to refuse it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import fmean, stdev

from agent.errors import PolicyRejected

_ONE_SIDED_95 = 1.645


@dataclass(frozen=True, slots=True, kw_only=True)
class TwinForecast:
    """Utility in each of K futures; the same futures for every contender, so differences are paired."""

    candidate: tuple[float, ...]
    current: tuple[float, ...]
    """Under the policy in force."""
    optimiser: tuple[float, ...] = ()
    """Under the optimiser's plan, where it was asked."""

    def mean_gain(self) -> float:
        return fmean(self._gains())

    def _gains(self) -> list[float]:
        return [ours - theirs for ours, theirs in zip(self.candidate, self.current, strict=True)]

    def is_worse_than_current(self, *, tolerance: float) -> bool:
        """Worse by more than `tolerance` and by more than the spread over the futures explains."""
        gains = self._gains()
        error = stdev(gains) / math.sqrt(len(gains)) if len(gains) > 1 else 0.0
        return fmean(gains) + _ONE_SIDED_95 * error < -tolerance


def refuse_if_worse(forecast: TwinForecast, *, tolerance: float) -> None:
    """Raises PolicyRejected where the twin is sure that the policy makes things worse."""
    values = (*forecast.candidate, *forecast.current)
    if (
        not forecast.candidate
        or len(forecast.candidate) != len(forecast.current)
        or not all(map(math.isfinite, values))
    ):
        sizes = f"{len(forecast.candidate)} and {len(forecast.current)}"
        raise PolicyRejected(f"forecast: the same number of finite utilities is needed, got {sizes}")
    if forecast.is_worse_than_current(tolerance=tolerance):
        raise PolicyRejected(
            f"forecast: utility would fall by {-forecast.mean_gain():.4f} against the policy in force, "
            f"at most {tolerance:g} is tolerated"
        )
