"""What every streaming detector does: score the next value of many streams in lockstep, then learn it.

Shapes: S streams, T steps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np
from jaxtyping import Float64
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Mapping

PerStream = Float64[NDArray[np.float64], " streams"]
ALARM = 0.5
"""The score from which a value counts as anomalous, on every stream and for every detector."""


class Detector(Protocol):
    """High is anomalous: 0-1 with the alarm threshold at 0.5. Memory does not grow with the number of values."""

    def score_many(self, values: PerStream) -> PerStream:
        """Score of the next value of every stream; 0 where it is NaN. Changes nothing."""
        ...

    def learn_many(self, values: PerStream) -> None:
        """Take the next value of every stream; NaN leaves a stream as it is."""
        ...

    def state(self) -> dict[str, NDArray[np.generic]]:
        """Everything needed to go on after a restart."""
        ...

    def restore(self, state: Mapping[str, NDArray[np.generic]]) -> None:
        """Go on from `state`."""
        ...


def scores_in_order(
    detector: Detector, values: Float64[NDArray[np.float64], "steps streams"]
) -> Float64[NDArray[np.float64], "steps streams"]:
    """The score of each value given those before it: score, learn, next."""
    scores = np.empty_like(values)
    for step, row in enumerate(values):
        scores[step] = detector.score_many(row)
        detector.learn_many(row)
    return scores
