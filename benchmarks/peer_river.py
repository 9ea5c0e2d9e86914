"""River's streaming anomaly detectors: JSON on stdin and stdout, run by `peers.ask_peer`."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

try:
    from river import anomaly, compose, preprocessing
except ImportError:
    sys.exit(3)

_MODELS = {
    "HalfSpaceTrees": lambda: compose.Pipeline(preprocessing.MinMaxScaler(), anomaly.HalfSpaceTrees(seed=1)),
    "StandardAbsoluteDeviation": anomaly.StandardAbsoluteDeviation,
    "LODA": anomaly.LODA,
    "GaussianScorer": lambda: anomaly.GaussianScorer(window_size=None, grace_period=100),
}
_SUPERVISED = frozenset({"StandardAbsoluteDeviation", "GaussianScorer"})


def scored(name: str, values: list[float]) -> list[float]:
    """The score of each value given those before it."""
    model: Any = _MODELS[name]()
    found = []
    for value in values:
        # These two judge a target and take the features for nothing.
        given = ({}, value) if name in _SUPERVISED else ({"x": value},)
        found.append(abs(float(model.score_one(*given))))
        model.learn_one(*given)
    return found


def main() -> None:
    """Answer {"series": [values, ...]} with scores and CPU seconds per model."""
    series = json.load(sys.stdin)["series"]
    answer = {}
    for name in _MODELS:
        began = time.process_time()
        scores = [scored(name, values) for values in series]
        answer[name] = {"scores": scores, "seconds": time.process_time() - began}
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
