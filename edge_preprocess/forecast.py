"""What many streams will be at their next step, from O(1) memory a stream.

Shapes: S streams, E experts, L lags.
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
class ForecastConfig:
    """How quickly the forecaster follows."""

    smoothing: tuple[float, ...] = (0.6, 0.3)
    """Weights of the newest value in the exponential means, one expert each."""
    level_weight: float = 0.5
    trend_weight: float = 0.2
    trend_dampings: tuple[float, ...] = (0.8, 0.98)
    """Per step, one expert each. Source: Gardner and McKenzie 1985 (damped trend)."""
    num_lags: int = 24
    """Longest season looked for, in steps."""
    error_memory: float = 0.95
    """Share of an expert's past error that counts after one step."""
    sharpness: float = 8.0
    """How strongly the mixture prefers the expert with the smaller recent error."""


NUM_CLOSING_GUESSES = 5


def closing_guesses(
    by_frame: Float64[NDArray[np.float64], "frames streams"],
) -> Float64[NDArray[np.float64], "5 streams"]:
    """Guesses at the next interval's mean from how the last one ended: its last half, third and fifth, and their trend.

    NaN where the interval has too few frames to tell.
    """
    num_frames, num_streams = by_frame.shape
    third = num_frames // 3
    if third < 1:
        return np.full((NUM_CLOSING_GUESSES, num_streams), np.nan)
    closing = by_frame[-third:].mean(axis=0)
    drift = closing - by_frame[-2 * third : -third].mean(axis=0)
    half = by_frame[num_frames // 2 :].mean(axis=0)
    fifth = by_frame[-max(num_frames // 5, 1) :].mean(axis=0)
    return np.asarray(np.maximum(np.vstack((half, closing, fifth, closing + 0.5 * drift, closing + drift)), 0.0))


class Forecaster:
    """A mixture of exponential means, a damped trend and the best season, weighted by recent error on each stream."""

    def __init__(self, num_streams: int, config: ForecastConfig | None = None, *, num_guesses: int = 0) -> None:
        self._config = config or ForecastConfig()
        self._num_guesses = num_guesses
        num_trends = len(self._config.trend_dampings)
        num_experts = len(self._config.smoothing) + num_trends + 2 + num_guesses
        self._count = np.zeros(num_streams, dtype=np.int64)
        self._means = np.zeros((len(self._config.smoothing), num_streams))
        self._level = np.zeros((num_trends, num_streams))
        self._trend = np.zeros((num_trends, num_streams))
        self._past = np.full((self._config.num_lags, num_streams), np.nan)
        self._lag_error = np.full((self._config.num_lags, num_streams), np.nan)
        self._experts = np.zeros((num_experts, num_streams))
        self._error = np.zeros((num_experts, num_streams))
        self._squared_error = np.zeros(num_streams)

    def learn(self, value: PerStream, guesses: Float64[NDArray[np.float64], "guesses streams"] | None = None) -> None:
        """Take the newest value of every stream; NaN leaves a stream as it is.

        `guesses` at the next value are weighted beside the forecaster's own; a NaN guess counts as the newest value.
        """
        seen = ~np.isnan(value)
        if not seen.any():
            return
        known = np.where(seen, value, 0.0)
        started = seen & (self._count > 0)
        self._judge(known, started)
        self._follow(known, seen, started)
        self._count += seen
        self._experts = np.where(seen, np.vstack((self._predict(), self._completed(guesses))), self._experts)

    def next_value(self) -> PerStream:
        """Expected at the next step; never negative."""
        error = self._error + 1e-9 * (1.0 + np.abs(self._experts))
        log_weight = -self._config.sharpness * np.log(error / error.min(axis=0))
        weight = np.exp(log_weight)
        return np.asarray(np.maximum((weight * self._experts).sum(axis=0) / weight.sum(axis=0), 0.0))

    def deviation(self) -> PerStream:
        """Root mean square of the recent one-step errors."""
        return np.asarray(np.sqrt(self._squared_error))

    def state(self) -> dict[str, NDArray[np.generic]]:
        """Everything needed to go on after a restart."""
        return {name.removeprefix("_"): getattr(self, name).copy() for name in self._STATE}

    def restore(self, state: Mapping[str, NDArray[np.generic]]) -> None:
        """Go on from `state`."""
        for name in self._STATE:
            setattr(self, name, np.array(state[name.removeprefix("_")]))

    _STATE = ("_count", "_means", "_level", "_trend", "_past", "_lag_error", "_experts", "_error", "_squared_error")

    def _judge(self, value: PerStream, started: NDArray[np.bool_]) -> None:
        """Charge every expert with what it got wrong."""
        keep = self._config.error_memory
        missed = np.abs(self._experts - value)
        self._error = np.where(started, keep * self._error + (1 - keep) * missed, self._error)
        surprise = (self.next_value() - value) ** 2
        first = started & (self._count == 1)
        mixed = keep * self._squared_error + (1 - keep) * surprise
        self._squared_error = np.where(first, surprise, np.where(started, mixed, self._squared_error))
        lag_missed = np.abs(self._past - value)
        blended = np.where(np.isnan(self._lag_error), lag_missed, keep * self._lag_error + (1 - keep) * lag_missed)
        self._lag_error = np.where(started, blended, self._lag_error)

    def _follow(self, value: PerStream, seen: NDArray[np.bool_], started: NDArray[np.bool_]) -> None:
        config = self._config
        rate = np.array(config.smoothing)[:, None]
        self._means = np.where(started, self._means + rate * (value - self._means), np.where(seen, value, self._means))
        drift = np.array(config.trend_dampings)[:, None] * self._trend
        level = np.where(
            started, config.level_weight * value + (1 - config.level_weight) * (self._level + drift), value
        )
        trend = np.where(started, config.trend_weight * (level - self._level) + (1 - config.trend_weight) * drift, 0.0)
        self._level = np.where(seen, level, self._level)
        self._trend = np.where(seen, trend, self._trend)
        shifted = np.vstack((value[None, :], self._past[:-1]))
        self._past = np.where(seen, shifted, self._past)

    def _completed(
        self, guesses: Float64[NDArray[np.float64], "guesses streams"] | None
    ) -> Float64[NDArray[np.float64], "guesses streams"]:
        newest = np.tile(self._past[0], (self._num_guesses, 1))
        return newest if guesses is None else np.where(np.isnan(guesses), newest, guesses)

    def _predict(self) -> Float64[NDArray[np.float64], "experts streams"]:
        """One value per expert; the last expert repeats the season that has fitted best."""
        newest = self._past[0]
        trend = self._level + np.array(self._config.trend_dampings)[:, None] * self._trend
        lag_error = np.where(np.isnan(self._lag_error), np.inf, self._lag_error)
        best = np.argmin(lag_error, axis=0)
        season = self._past[best, np.arange(len(newest))]
        season = np.where(np.isnan(season), newest, season)
        return np.vstack((newest[None, :], self._means, trend, season[None, :]))
