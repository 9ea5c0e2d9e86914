"""The full detector: a window unlike any the stream has shown before, at several lengths at once.

Shapes: S streams, K scales.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float64
from numpy.typing import NDArray

from edge_preprocess.novelty_kernel import Memory, distances, remember
from edge_preprocess.tails import ExponentialTail

if TYPE_CHECKING:
    from collections.abc import Mapping

PerStream = Float64[NDArray[np.float64], " streams"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """One window length."""

    length: int
    """Rows."""
    width: int
    """Rows of one part; a window is compared by the means of its parts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NoveltyConfig:
    """One setting for every stream."""

    scales: tuple[Scale, ...] = (
        Scale(length=1, width=1),
        Scale(length=20, width=5),
        Scale(length=30, width=30),
        Scale(length=40, width=10),
    )
    num_windows: int = 1000
    """Windows remembered per scale."""
    spacing: int = 4
    """Rows between remembered windows."""
    num_before_use: int = 100
    """Distances a scale must have seen before it counts."""
    threshold: float = 1.6
    """Mean surprise over the scales that scores 0.5."""
    rest: int = 100
    """Rows after an alarm in which the same event is not raised again."""


class NoveltyDetector:
    """Distance to the most similar remembered window, judged by the tail of the stream's own distances.

    Source of the idea: Yeh et al. 2016 (matrix profile), left-sided and with bounded memory.
    """

    def __init__(self, num_streams: int, config: NoveltyConfig | None = None) -> None:
        self._config = config or NoveltyConfig()
        scales = self._config.scales
        self._lengths = np.array([scale.length for scale in scales], dtype=np.int64)
        self._widths = np.array([scale.width for scale in scales], dtype=np.int64)
        self._memory = _empty_memory(num_streams, self._config)
        self._tail = ExponentialTail((num_streams, len(scales)), num_before_use=self._config.num_before_use)
        self._rows_since_alarm = np.full(num_streams, np.inf)
        self._latest: tuple[PerStream, Float64[NDArray[np.float64], "streams scales"]] | None = None

    def score_many(self, values: PerStream) -> PerStream:
        """0-1 for the next value of every stream, 0.5 at the alarm threshold; 0 for NaN. Nothing is learned."""
        return self._score(self._distances(values))

    def learn_many(self, values: PerStream) -> None:
        """Take the next value of every stream; NaN leaves a stream as it is."""
        found = self._distances(values)
        alarm = self._score(found) >= 0.5
        seen = ~np.isnan(values)
        self._rows_since_alarm = np.where(alarm, 0.0, self._rows_since_alarm + seen)
        self._tail.learn(found)
        remember(self._memory, values, self._lengths, self._widths, self._config.spacing)
        self._latest = None

    def state(self) -> dict[str, NDArray[np.generic]]:
        """Everything needed to go on after a restart."""
        found: dict[str, NDArray[np.generic]] = {f"tail_{name}": part for name, part in self._tail.state().items()}
        found.update({f"memory_{name}": part.copy() for name, part in self._memory._asdict().items()})
        found["rows_since_alarm"] = self._rows_since_alarm
        return found

    def restore(self, state: Mapping[str, NDArray[np.generic]]) -> None:
        """Go on from `state`."""
        self._tail.restore({name: np.asarray(state[f"tail_{name}"], dtype=np.float64) for name in self._tail.state()})
        self._memory = Memory(**{name: np.array(state[f"memory_{name}"]) for name in Memory._fields})
        self._rows_since_alarm = np.array(state["rows_since_alarm"], dtype=np.float64)
        self._latest = None

    def _distances(self, values: PerStream) -> Float64[NDArray[np.float64], "streams scales"]:
        """The same search serves the score and the lesson of one value."""
        if self._latest is not None and np.array_equal(self._latest[0], values, equal_nan=True):
            return self._latest[1]
        found = distances(self._memory, values, self._lengths, self._widths)
        self._latest = (values.copy(), found)
        return found

    def _score(self, found: Float64[NDArray[np.float64], "streams scales"]) -> PerStream:
        surprise: PerStream = self._tail.surprise(found).mean(axis=1)
        score = 1.0 - 2.0 ** (-surprise / self._config.threshold)
        resting = self._rows_since_alarm < self._config.rest
        return np.asarray(np.where(resting, np.minimum(score, 0.49), score))


def _empty_memory(num_streams: int, config: NoveltyConfig) -> Memory:
    num_scales = len(config.scales)
    num_parts = max(scale.length // scale.width for scale in config.scales)
    return Memory(
        origin=np.zeros(num_streams),
        newest=np.zeros((num_streams, 4 * max(scale.length for scale in config.scales))),
        num_seen=np.zeros(num_streams, dtype=np.int64),
        parts=np.zeros((num_streams, num_scales, num_parts, config.num_windows), dtype=np.float32),
        num_windows=np.zeros((num_streams, num_scales), dtype=np.int64),
        next_place=np.zeros((num_streams, num_scales), dtype=np.int64),
    )
